"""The memory adapter: from hidden states to hidden states, through the spiking stack.

    x₀ = encode(h)        x = stack(x₀; memory)        h ← h + γ · decode(RMSNorm(x - x₀))

With γ = 0 the language model is exactly what it was. Like the stack, the adapter is a function: state in, state out.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from t4dm_daemon.qwen.config import ModelSpec
from t4dm_daemon.qwen.memory_bank import MemoryBank
from t4dm_daemon.qwen.projections import MemoryProjection
from t4dm_daemon.spiking import BlockMetrics, FastWeights, Modulation, SpikingStack, StackState

_EPSILON: Final = 1e-6


class MemoryAdapter(nn.Module):
    """Projection and stack; runs in the type of its own weights, whatever the language model's is."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        d_model = spec.stack.d_model
        self.projection = MemoryProjection(spec.shape.hidden_size, d_model)
        self.stack = SpikingStack(spec.stack)
        self.norm = nn.RMSNorm(d_model, eps=_EPSILON)
        self.gate = nn.Parameter(torch.tensor(spec.gate))

    def remember(self, bank: MemoryBank) -> tuple[FastWeights, ...]:
        """Return memory as every block reads it; made once for a text."""
        return self.stack.remember(self.projection.encode(bank.states), bank.prior.to(self.gate.dtype), bank.mask)

    def forward(
        self,
        hidden: Tensor,
        state: StackState | None = None,
        *,
        memory: tuple[FastWeights, ...] | None = None,
        mask: Tensor | None = None,
        modulation: Modulation | None = None,
    ) -> tuple[Tensor, StackState, tuple[BlockMetrics, ...]]:
        """Return changed hidden states, (B, T, hidden), the state after the last token, and what each block did."""
        encoded = self.projection.encode(hidden)
        x, state, metrics = self.stack(encoded, state, memory=memory, mask=mask, modulation=modulation)
        change = self.gate * self.projection.decode(self.norm(x - encoded))
        return hidden + change.to(hidden.dtype), state, metrics
