"""Put the adapter before a layer of the model, and take it out again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import Qwen2ForCausalLM

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.qwen.adapter import MemoryAdapter
from t4dm_daemon.qwen.cache import MemoryCache, MemoryContext
from t4dm_daemon.spiking import BlockMetrics, FastWeights, StackState


class AdapterLayer(nn.Module):
    """A decoder layer whose input goes through the adapter first.

    Where the text's state is: in the `MemoryCache` that is passed as `past_key_values`, or, for one pass without a
    cache, in the `MemoryContext` that is passed as `memory_context`. With neither, the text has no memory.

    The adapter is not registered here but where the model keeps it, so that its weights have one name.
    """

    gradient_checkpointing = False

    def __init__(self, layer: nn.Module, adapter: MemoryAdapter, index: int) -> None:
        super().__init__()
        self.layer = layer
        self.index = index
        self._adapter = (adapter,)

    @property
    def adapter(self) -> MemoryAdapter:
        return self._adapter[0]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(
        self,
        hidden_states: Tensor,
        *args: Any,
        past_key_values: Any = None,
        memory_context: MemoryContext | None = None,
        **options: Any,
    ) -> Any:
        """Return what the layer returns for the changed hidden states, (B, T, hidden)."""
        start = past_key_values.get_seq_length(self.index) if past_key_values is not None else 0
        if memory_context is None:
            memory_context = self._context_of(past_key_values, start)
        hidden_states = self._adapt(hidden_states, memory_context, start)
        return self.layer(hidden_states, *args, past_key_values=past_key_values, **options)

    def _context_of(self, cache: Any, start: int) -> MemoryContext:
        if isinstance(cache, MemoryCache):
            return cache.context
        if start:
            raise InvalidInputError(
                f"{type(cache).__name__} has kept {start} tokens but not the memory adapter's state of them: "
                "pass a MemoryCache as past_key_values, or use UnifiedModel.generate()"
            )
        return MemoryContext()

    def _adapt(self, hidden: Tensor, context: MemoryContext, start: int) -> Tensor:
        batch, length = hidden.shape[:2]
        if start == 0:
            context.restart()
            # Made anew with each text: training changes the weights that make them.
            context.weights = None if context.bank is None else self.adapter.remember(context.bank)
        elif context.state is None:
            raise InvalidInputError(f"the cache has kept {start} tokens that the memory adapter has not seen")
        if context.bank is not None and len(context.bank.mask) != batch:
            raise InvalidInputError(f"the bank is of {len(context.bank.mask)} texts, the tokens are of {batch}")
        mask = context.mask_of(start, length)
        if mask is not None and mask.shape[0] != batch:
            raise InvalidInputError(f"the mask is of {mask.shape[0]} texts, the tokens are of {batch}")

        def run(
            hidden: Tensor, state: StackState | None, memory: tuple[FastWeights, ...] | None
        ) -> tuple[Tensor, StackState, tuple[BlockMetrics, ...]]:
            result: tuple[Tensor, StackState, tuple[BlockMetrics, ...]] = self.adapter(
                hidden, state, memory=memory, mask=mask, modulation=context.modulation
            )
            return result

        changed: Tensor
        if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
            changed, context.state, context.metrics = checkpoint(
                run, hidden, context.state, context.weights, use_reentrant=False
            )
        else:
            changed, context.state, context.metrics = run(hidden, context.state, context.weights)
        return changed


def insert_adapter(base: Qwen2ForCausalLM, adapter: MemoryAdapter, split_layer: int) -> AdapterLayer:
    """Put the adapter before layer `split_layer` and return the layer that now is there."""
    layers = base.model.layers
    if not 0 < split_layer < len(layers):
        raise ValueError(f"split_layer={split_layer} is not inside a model of {len(layers)} layers")
    if isinstance(layers[split_layer], AdapterLayer):
        raise ValueError(f"layer {split_layer} has an adapter already")
    wrapped = AdapterLayer(layers[split_layer], adapter, split_layer)
    wrapped.train(layers[split_layer].training)
    layers[split_layer] = wrapped
    return wrapped


def remove_adapter(base: Qwen2ForCausalLM) -> None:
    """Make the model what it was before `insert_adapter`."""
    layers = base.model.layers
    for index, layer in enumerate(layers):
        if isinstance(layer, AdapterLayer):
            layers[index] = layer.layer
