"""Several cortical blocks, one after the other, that read the same memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from t4dm_daemon.spiking.attention import FastWeights
from t4dm_daemon.spiking.block import BlockMetrics, BlockState, CorticalBlock
from t4dm_daemon.spiking.config import StackConfig
from t4dm_daemon.spiking.masks import real_tokens_until
from t4dm_daemon.spiking.modulation import Modulation

_Tree = TypeVar("_Tree")


class StackState(NamedTuple):
    """What a stack carries from token to token."""

    blocks: tuple[BlockState, ...]
    seen: Tensor
    """Real tokens so far, (B,)."""

    def map(self, change: Callable[[Tensor], Tensor]) -> StackState:
        """Return the state with every tensor changed; the first dimension of each is the batch."""
        return map_tensors(self, change)

    def detach(self) -> StackState:
        """Return the state cut off from the graph that made it."""
        return self.map(Tensor.detach)


class StackOutput(NamedTuple):
    """What a stack returns: tokens (B, T, D), the state after the last, and what each block did."""

    x: Tensor
    state: StackState
    metrics: tuple[BlockMetrics, ...]


def map_tensors(tree: _Tree, change: Callable[[Tensor], Tensor]) -> _Tree:
    """Return nested tuples of tensors with every tensor changed."""
    changed: Any
    if isinstance(tree, Tensor):
        changed = change(tree)
    elif isinstance(tree, tuple):
        parts = [map_tensors(part, change) for part in tree]
        changed = type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    else:
        raise TypeError(f"neither tensor nor tuple: {type(tree).__name__}")
    return changed  # type: ignore[no-any-return]


class SpikingStack(nn.Module):
    """N blocks over one memory; holds weights and nothing else."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(CorticalBlock(config) for _ in range(config.n_blocks))

    def initial_state(self, batch: int, like: Tensor) -> StackState:
        """Return the state before the first token, with the type and device of `like`."""
        return StackState(
            tuple(block.initial_state(batch, like) for block in self._blocks()),
            like.new_zeros(batch),
        )

    def remember(self, memory: Tensor, prior: Tensor, mask: Tensor) -> tuple[FastWeights, ...]:
        """Return memory as every block reads it; made once for a text, however many tokens follow.

        Args:
            memory: Tokens of all memories of a text, one after the other, (B, M, D).
            prior: Score of the memory that each belongs to, (B, M).
            mask: (B, M), True for real tokens.
        """
        if memory.shape[:2] != prior.shape or prior.shape != mask.shape or mask.dtype != torch.bool:
            raise ValueError(
                f"memory {tuple(memory.shape)}, prior {tuple(prior.shape)} and mask {tuple(mask.shape)} ({mask.dtype}) "
                "do not belong together: (B, M, D), (B, M) and boolean (B, M)"
            )
        return tuple(block.remember(memory, prior, mask) for block in self._blocks())

    def forward(
        self,
        x: Tensor,
        state: StackState | None = None,
        *,
        memory: tuple[FastWeights, ...] | None = None,
        mask: Tensor | None = None,
        modulation: Modulation | None = None,
    ) -> StackOutput:
        """Return tokens, state and metrics.

        Args:
            x: (B, T, D).
            state: After the token before the first; None begins a text.
            memory: From `remember`; None for no memory.
            mask: (B, T), True for real tokens; None if all are.
            modulation: Levels of the neuromodulators; None is neutral.
        """
        if x.dim() != 3 or x.shape[1] == 0:
            raise ValueError(f"x has the shape {tuple(x.shape)}, not (B, T, D) with T > 0")
        if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != torch.bool):
            raise ValueError(f"the mask is {tuple(mask.shape)} ({mask.dtype}), not boolean {tuple(x.shape[:2])}")
        state = state if state is not None else self.initial_state(x.shape[0], x)
        if state.seen.shape[0] != x.shape[0]:
            raise ValueError(f"the state is of {state.seen.shape[0]} texts, x of {x.shape[0]}")
        modulation = modulation or Modulation()
        count = state.seen[:, None] + real_tokens_until(mask, x)  # (B, T)
        wave = modulation.oscillations.bias(count)
        after, metrics = [], []
        for index, block in enumerate(self._blocks()):
            x, block_state, block_metrics = block(
                x,
                state.blocks[index],
                memory=None if memory is None else memory[index],
                mask=mask,
                modulation=modulation,
                wave=wave,
            )
            after.append(block_state)
            metrics.append(block_metrics)
        return StackOutput(x, StackState(tuple(after), count[:, -1]), tuple(metrics))

    def _blocks(self) -> list[CorticalBlock]:
        return cast("list[CorticalBlock]", list(self.blocks))
