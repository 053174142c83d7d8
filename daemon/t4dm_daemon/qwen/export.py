"""Fold LoRA into the frozen weights and write them as an ordinary model, the adapter beside it.

Four-bit weights are unpacked first and stay dense: what LoRA adds is finer than a step of NF4, so folding it into
packed weights loses part of it. The written model can be quantised again when it is loaded; `logit_drift` tells what
that costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from t4dm_daemon.qwen.checkpoint import save_trained
from t4dm_daemon.qwen.insert import AdapterLayer
from t4dm_daemon.qwen.libraries import LoraLayer, no_progress_bars
from t4dm_daemon.qwen.lora import ADAPTER
from t4dm_daemon.qwen.unified import UnifiedModel


@dataclass(frozen=True, slots=True)
class Drift:
    """How far logits are from what they should be."""

    largest: float
    """Greatest difference of a logit."""
    relative: float
    """Root mean square of the difference, by that of the logits."""


def logit_drift(expected: Tensor, got: Tensor) -> Drift:
    """Return the difference of two sets of logits."""
    difference = got.double() - expected.double()
    relative = difference.square().mean().sqrt() / expected.double().square().mean().sqrt()
    return Drift(difference.abs().max().item(), relative.item())


def merged_base(model: UnifiedModel, *, dtype: torch.dtype | None = None) -> Qwen2ForCausalLM:
    """Return a dense copy of the frozen model with LoRA folded in and without the adapter; `model` stays as it is.

    Args:
        model: To copy.
        dtype: Of the copy; None for that of its embeddings.
    """
    base = model.base
    dtype = dtype or base.get_input_embeddings().weight.dtype
    tensors: dict[str, Tensor] = {}
    with torch.no_grad():
        _collect(base, "", tensors, dtype)
    config = Qwen2Config.from_dict({k: v for k, v in base.config.to_dict().items() if k != "quantization_config"})
    with torch.device("meta"):
        copy: Qwen2ForCausalLM = Qwen2ForCausalLM._from_config(config, dtype=dtype)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    outcome = copy.load_state_dict({k: v for k, v in tensors.items() if k not in tied}, assign=True, strict=False)
    if outcome.unexpected_keys or set(outcome.missing_keys) - tied:
        raise AssertionError(f"the copy does not fit: {outcome}")
    copy.model.rotary_emb = type(base.model.rotary_emb)(config)
    copy.tie_weights()
    copy.generation_config = base.generation_config
    copy.requires_grad_(False)
    return copy.eval()


def export_merged(
    model: UnifiedModel, folder: Path, tokenizer: PreTrainedTokenizerBase | None = None
) -> Qwen2ForCausalLM:
    """Write the merged model, its tokenizer and the adapter's weights to a folder; return the merged model.

    `load_base(folder)` reads it, and `load_adapter` what is left to train once the spec has `lora=None`.
    """
    merged = merged_base(model)
    with no_progress_bars():
        merged.save_pretrained(folder)
    if (tokenizer := tokenizer or model.tokenizer) is not None:
        tokenizer.save_pretrained(folder)
    kept = {name: p for name, p in model.trained_parameters().items() if not name.startswith("lora.")}
    save_trained(kept, model.spec, folder)
    return merged


def _collect(module: nn.Module, name: str, into: dict[str, Tensor], dtype: torch.dtype) -> None:
    """Add the weights of a module under the names that the plain model has for them."""
    if isinstance(module, AdapterLayer):
        _collect(module.layer, name, into, dtype)
        return
    if isinstance(module, LoraLayer):
        layer: Any = module
        inner = layer.base_layer
        weight = _dense(inner).float() + layer.get_delta_weight(ADAPTER).float()
        _put(inner, name, weight, into, dtype)
        return
    if isinstance(module, nn.Linear):
        _put(module, name, _dense(module), into, dtype)
        return
    prefix = f"{name}." if name else ""
    for own, parameter in module.named_parameters(recurse=False):
        into[prefix + own] = parameter.detach().to(dtype)
    for child_name, child in module.named_children():
        _collect(child, prefix + child_name, into, dtype)


def _put(linear: nn.Module, name: str, weight: Tensor, into: dict[str, Tensor], dtype: torch.dtype) -> None:
    into[f"{name}.weight"] = weight.detach().to(dtype)
    bias = getattr(linear, "bias", None)
    if bias is not None:
        into[f"{name}.bias"] = bias.detach().to(dtype)


def _dense(linear: Any) -> Tensor:
    """Return the weights of a linear layer, unpacked if they are quantised."""
    weight = linear.weight
    if hasattr(weight, "quant_state"):
        from bitsandbytes.functional import dequantize_4bit

        unpacked: Tensor = dequantize_4bit(weight.data, weight.quant_state)
        return unpacked
    dense: Tensor = weight.data
    return dense
