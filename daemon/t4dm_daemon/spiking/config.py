"""The shape of a spiking stack, and which of its parts are switched off for an ablation. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Spikes = Literal["graded", "binary", "analog"]
"""`graded`: a spike carries the value that made it. `binary`: 0 or 1. `analog`: no spikes at all, for comparison."""

Part = Literal["recurrence", "apical", "prior", "recent", "stdp"]


@dataclass(frozen=True, slots=True)
class StackConfig:
    """Describe a stack.

    Args:
        d_model: Width of every stage.
        n_blocks: Blocks, one after the other.
        n_heads: Heads of the spike attention; divides `d_model`.
        spikes: What leaves stages 2 and 6.
        alpha: Leak of the membrane at the start of training; learned for each neuron.
        v_threshold: Threshold at the start of training; learned for each neuron.
        surrogate_alpha: Steepness of the surrogate gradient.
        chunk: Tokens that the parallel forms of attention and recurrence take at a time. Changes speed, not results.
        without: Parts that are left out, to measure what they are worth. Their weights stay, so that counts compare.
    """

    d_model: int = 1024
    n_blocks: int = 6
    n_heads: int = 16
    spikes: Spikes = "graded"
    alpha: float = 0.9
    v_threshold: float = 1.0
    surrogate_alpha: float = 2.0
    chunk: int = 16
    without: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        if min(self.d_model, self.n_blocks, self.n_heads, self.chunk) < 1:
            raise ValueError("d_model, n_blocks, n_heads and chunk must be at least 1")
        if self.d_model % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} does not divide d_model={self.d_model}")
        if not 0.0 < self.alpha < 1.0:
            raise ValueError(f"alpha={self.alpha} is not between 0 and 1: the membrane would not leak")
        if self.v_threshold <= 0.0 or self.surrogate_alpha <= 0.0:
            raise ValueError("v_threshold and surrogate_alpha must be positive")
        if self.spikes not in get_args(Spikes):
            raise ValueError(f"spikes={self.spikes!r} is none of {get_args(Spikes)}")
        if unknown := set(self.without) - set(get_args(Part)):
            raise ValueError(f"without={sorted(unknown)} is none of {get_args(Part)}")

    def parameters_per_block(self) -> int:
        """Return the weights of one block: 12·d² in twelve matrices, 17·d in vectors, 3 for each head."""
        return 12 * self.d_model**2 + 17 * self.d_model + 3 * self.n_heads
