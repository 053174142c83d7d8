"""Everything a text has left behind in the model, in one object: keys and values, memory, and the adapter's state.

The modules hold weights only. Whoever holds the cache holds the text's whole state, so texts that are generated at the
same time, in threads or batches, cannot touch each other's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.qwen.memory_bank import MemoryBank
from t4dm_daemon.spiking import BlockMetrics, FastWeights, Modulation, StackState
from t4dm_daemon.spiking.stack import map_tensors


class MemoryContext:
    """What the adapter knows of a batch of texts; changed by each forward pass.

    Args:
        bank: Their memories, or None.
        mask: (B, T₀), True for real tokens, of the texts' beginnings; every later token is real. None: no padding.
        modulation: Levels of the neuromodulators; may be replaced between passes.
    """

    def __init__(
        self, bank: MemoryBank | None = None, *, mask: Tensor | None = None, modulation: Modulation | None = None
    ) -> None:
        self.bank = bank
        self.mask = _unless_full(mask)
        self.modulation = modulation
        self.weights: tuple[FastWeights, ...] | None = None
        """The bank as the blocks read it; made in the first pass."""
        self.state: StackState | None = None
        self.metrics: tuple[BlockMetrics, ...] = ()
        """Of the last pass."""

    def begin(self, mask: Tensor) -> None:
        """Set the mask of new texts, (B, T₀)."""
        self.mask = _unless_full(mask)

    def mask_of(self, start: int, length: int) -> Tensor | None:
        """Return the mask, (B, length), of the tokens from `start` on; None if all of them are real."""
        if self.mask is None or start >= self.mask.shape[1]:
            return None
        part = self.mask[:, start : start + length]
        return torch.nn.functional.pad(part, (0, length - part.shape[1]), value=True)

    def select(self, indices: Tensor) -> None:
        """Keep the texts at these places of the batch, in the given order."""
        if self.bank is not None:
            self.bank = self.bank.select(indices)
        if self.mask is not None:
            self.mask = self.mask[indices.to(self.mask.device)]
        if self.weights is not None:
            self.weights = map_tensors(self.weights, lambda t: t.index_select(0, indices.to(t.device)))
        if self.state is not None:
            self.state = self.state.map(lambda t: t.index_select(0, indices.to(t.device)))

    def restart(self) -> None:
        """Forget the texts' tokens; memory and mask stay."""
        self.state = None
        self.metrics = ()


def _unless_full(mask: Tensor | None) -> Tensor | None:
    """Return a boolean mask, or None if nothing is padded: the state then need not be held back anywhere."""
    return None if mask is None or bool(mask.all()) else mask.bool()


class MemoryCache(DynamicCache):
    """A key-value cache that carries the adapter's memory and state with it."""

    def __init__(self, context: MemoryContext, **options: Any) -> None:
        super().__init__(**options)
        self.context = context

    @property
    def is_croppable(self) -> bool:
        return False

    def crop(self, tokens_to_remove: int) -> None:
        """Refuse: a recurrent state cannot be taken back by tokens."""
        raise InvalidInputError(
            f"cannot take back {tokens_to_remove} tokens: the memory adapter's state is recurrent. Assisted decoding "
            "and prompt lookup need that, so choose another way to generate"
        )

    def reset(self) -> None:
        """Refuse: the library would fill the keys with zeros and keep their number."""
        raise InvalidInputError("a MemoryCache is of one text: make a new one for the next")

    def reorder_cache(self, beam_idx: Tensor) -> None:
        super().reorder_cache(beam_idx)
        self.context.select(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        self.context.select(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)
        if (batch := self._batch()) is not None:
            self.context.select(torch.arange(batch).repeat_interleave(repeats))

    def _batch(self) -> int | None:
        context = self.context
        for tensor in (
            None if context.state is None else context.state.seen,
            None if context.bank is None else context.bank.mask,
            context.mask,
        ):
            if tensor is not None:
                return tensor.shape[0]
        return None
