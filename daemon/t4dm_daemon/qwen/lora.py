"""LoRA on the frozen model, quantised or not, with a way to switch it off for one thread.

QLoRA (Dettmers et al., 2023) is this on weights in NF4: the frozen matrices are four bits wide, the trained ones 32.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import Qwen2ForCausalLM

from t4dm_daemon.qwen.config import LoraSpec
from t4dm_daemon.qwen.libraries import LoraConfig, LoraLayer, inject_adapter_in_model

ADAPTER: Final = "default"
_base_only: Final = contextvars.ContextVar("base_only", default=False)


@contextmanager
def base_only() -> Iterator[None]:
    """Compute with the frozen weights alone, in this thread; others keep their LoRA."""
    token = _base_only.set(True)
    try:
        yield
    finally:
        _base_only.reset(token)


class _Switchable:
    """Mixed into a layer of peft. peft's own switch is an attribute of the layer, which every thread would see."""

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        layer: Any = super()
        result: Tensor = self.base_layer(x) if _base_only.get() else layer.forward(x, *args, **options)  # type: ignore[attr-defined]
        return result


def _switchable(kind: type) -> type:
    return type(kind.__name__, (_Switchable, kind), {"__module__": kind.__module__})


def attach_lora(base: Qwen2ForCausalLM, spec: LoraSpec) -> list[str]:
    """Freeze the model, put LoRA beside its target matrices, and return the names of those.

    Must come before the adapter is inserted. The trained matrices are float32; B begins at 0, so nothing changes yet.
    """
    base.requires_grad_(False)
    config = LoraConfig(
        r=spec.r, lora_alpha=spec.alpha, target_modules=list(spec.targets), lora_dropout=spec.dropout, bias="none"
    )
    inject_adapter_in_model(config, base, adapter_name=ADAPTER)
    names = []
    for name, layer in lora_layers(base):
        layer.__class__ = _switchable(type(layer))
        for weights in (layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]):
            weights.to(torch.float32)
        names.append(name)
    if not names:
        raise ValueError(f"the model has no layer called {' or '.join(spec.targets)}")
    return names


def lora_layers(model: nn.Module) -> list[tuple[str, Any]]:
    """Return the layers that have LoRA, with their names."""
    return [(name, layer) for name, layer in model.named_modules() if isinstance(layer, LoraLayer)]


def lora_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained matrices by name."""
    return {
        f"{name}.{part}": getattr(layer, part)[ADAPTER].weight
        for name, layer in lora_layers(model)
        for part in ("lora_A", "lora_B")
    }
