"""Spike-timing-dependent plasticity: what comes shortly before a spike is strengthened, what comes after is weakened.

    Δw = A₊ exp(-Δt/τ₊)   for Δt > 0         Δt = t_post - t_pre
    Δw = -A₋ exp(Δt/τ₋)   for Δt < 0

The attention over recent tokens uses it as follows. Each head is a population; r[t] in [0, 1] is the share of its
neurons that fired at token t. The synapse that token i leaves behind has, when token t > i reads it, the weight

    w(t, i) = r[i] · exp(-A₋/A₊ · y[i]) · exp(-(t-i)Δ/τ₊)          y[i] = Σ_{p<i} r[p] exp(-(i-p)Δ/τ₋)

The last factor is the potentiating half of the window (the reading spike comes after the writing one), the middle one
the depressing half (spikes that came before the writing one), multiplicative as in van Rossum, Bi & Turrigiano (2000),
so that weights stay positive. Attention divides by the sum of weights, so A₊ itself cancels.

Where the analogy ends: pairs are heads and tokens, not single neurons, and Δ = 10 ms for a token is a convention.

Source: Bi & Poo (1998); time constants near the fits of Morrison, Diesmann & Gerstner (2008), 16.8 and 33.7 ms.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from t4dm_daemon.spiking.masks import real_tokens_until

A_PLUS: Final = 0.777
A_MINUS: Final = 0.273
TAU_PLUS_MS: Final = 17.0
TAU_MINUS_MS: Final = 34.0
TOKEN_MS: Final = 10.0
POTENTIATION_PER_TOKEN: Final = math.exp(-TOKEN_MS / TAU_PLUS_MS)
DEPRESSION_PER_TOKEN: Final = math.exp(-TOKEN_MS / TAU_MINUS_MS)


def stdp_window(delta_ms: Tensor) -> Tensor:
    """Return Δw for t_post - t_pre in milliseconds; 0 at 0, where the order is unknown."""
    after = A_PLUS * torch.exp(-delta_ms.clamp(min=0.0) / TAU_PLUS_MS)
    before = -A_MINUS * torch.exp(delta_ms.clamp(max=0.0) / TAU_MINUS_MS)
    return torch.where(delta_ms > 0, after, torch.where(delta_ms < 0, before, torch.zeros_like(delta_ms)))


def trace_naive(rate: Tensor, trace: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the trace of earlier spikes that each token meets, (B, T, H), and the one after the last, (B, H).

    Args:
        rate: r, (B, T, H).
        trace: The trace after the token before, (B, H).
        mask: (B, T), True for real tokens.
    """
    met = []
    for t in range(rate.shape[1]):
        fading = DEPRESSION_PER_TOKEN * trace
        after = fading + rate[:, t]
        if mask is not None:
            real = mask[:, t, None]
            fading, after = torch.where(real, fading, trace), torch.where(real, after, trace)
        met.append(fading)
        trace = after
    return torch.stack(met, 1), trace


def trace_chunked(rate: Tensor, trace: Tensor, mask: Tensor | None = None, *, chunk: int) -> tuple[Tensor, Tensor]:
    """Return what `trace_naive` returns, `chunk` tokens at a time."""
    met = []
    for start in range(0, rate.shape[1], chunk):
        part = rate[:, start : start + chunk]
        part_mask = None if mask is None else mask[:, start : start + chunk]
        if part_mask is not None:
            part = part * part_mask[..., None]
        count = real_tokens_until(part_mask, part)  # (B or 1, C)
        fading = DEPRESSION_PER_TOKEN ** (count[:, :, None] - count[:, None, :]).clamp(min=0)  # (B or 1, C, C)
        earlier = torch.tril(fading, diagonal=-1)
        arriving = DEPRESSION_PER_TOKEN ** count[..., None]  # (B or 1, C, 1)
        met.append(arriving * trace[:, None] + earlier @ part)
        trace = arriving[:, -1] * trace + (fading[:, -1, :, None] * part).sum(1)
    return torch.cat(met, 1), trace


def write_strength(rate: Tensor, met: Tensor) -> Tensor:
    """Return how strongly each token writes: silent heads not at all, heads that fired just before less, (B, T, H)."""
    return rate * torch.exp(-(A_MINUS / A_PLUS) * met)
