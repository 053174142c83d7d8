"""Leaky integrate-and-fire neurons along the tokens of a text.

    v[t] = α v[t-1] + I[t]
    s[t] = 1 if v[t] > θ else 0
    v[t] ← v[t] - θ s[t]                 soft reset: what exceeds the threshold stays on the membrane

One token is one step. α and θ are learned for each neuron. Equals snnTorch's `Leaky(reset_mechanism="subtract",
reset_delay=False)`; its default resets a step later.

The residual that a soft reset keeps is the residual membrane potential of Han, Srinivasan & Roy (2020), RMP-SNN.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from t4dm_daemon.spiking.surrogate import atan_derivative, spike


def lif_naive(
    current: Tensor, v: Tensor, alpha: Tensor, threshold: Tensor, mask: Tensor | None = None, surrogate: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Return spikes and the last membrane potential, as the equations read; differentiable by autograd.

    Args:
        current: I, (B, T, D).
        v: Membrane potential before the first token, (B, D).
        alpha: Leak, (D,).
        threshold: θ, (D,).
        mask: (B, T), True for real tokens; at the others nothing fires or changes.
        surrogate: Steepness of the surrogate gradient.
    """
    spikes = []
    for t in range(current.shape[1]):
        risen = alpha * v + current[:, t]
        fired = spike(risen - threshold, surrogate)
        reset = risen - threshold * fired
        if mask is not None:
            real = mask[:, t, None]
            fired, reset = fired * real, torch.where(real, reset, v)
        v = reset
        spikes.append(fired)
    return torch.stack(spikes, 1), v


class _Scan(torch.autograd.Function):
    """The same with its gradient written out: no graph of T steps is built, which is several times faster."""

    @staticmethod
    def forward(
        ctx: Any, current: Tensor, v: Tensor, alpha: Tensor, threshold: Tensor, mask: Tensor | None, surrogate: float
    ) -> tuple[Tensor, Tensor]:
        before, risen_all, spikes = torch.empty_like(current), torch.empty_like(current), torch.empty_like(current)
        for t in range(current.shape[1]):
            before[:, t] = v
            risen = torch.addcmul(current[:, t], alpha, v)
            fired = (risen > threshold).to(current.dtype)
            reset = torch.addcmul(risen, threshold, fired, value=-1.0)
            if mask is not None:
                real = mask[:, t, None]
                fired, reset = fired * real, torch.where(real, reset, v)
            risen_all[:, t], spikes[:, t], v = risen, fired, reset
        ctx.save_for_backward(before, risen_all, spikes, alpha, threshold, mask)
        ctx.surrogate = surrogate
        return spikes, v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_spikes, of_v = gradients
        before, risen, spikes, alpha, threshold, mask = ctx.saved_tensors
        slope = atan_derivative(risen - threshold, ctx.surrogate)
        of_current = torch.empty_like(risen)
        of_threshold = torch.zeros_like(risen[:, 0])
        for t in range(risen.shape[1] - 1, -1, -1):
            of_fired = (of_spikes[:, t] - threshold * of_v) * slope[:, t]
            of_risen = of_v + of_fired
            share = -of_fired - of_v * spikes[:, t]
            carried = alpha * of_risen
            if mask is not None:
                real = mask[:, t, None]
                of_risen, share, carried = of_risen * real, share * real, torch.where(real, carried, of_v)
            of_current[:, t] = of_risen
            of_threshold += share
            of_v = carried
        of_alpha = (of_current * before).sum((0, 1))
        return of_current, of_v, of_alpha, of_threshold.sum(0), None, None


def lif_scan(
    current: Tensor, v: Tensor, alpha: Tensor, threshold: Tensor, mask: Tensor | None = None, surrogate: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Return what `lif_naive` returns, with the same gradients, faster."""
    outcome = _Scan.apply(current, v, alpha, threshold, mask, surrogate)  # type: ignore[no-untyped-call]
    return cast("tuple[Tensor, Tensor]", outcome)


class LIF(nn.Module):
    """A layer of neurons with a leak in (0, 1) and a threshold above 0, learned for each."""

    def __init__(self, d: int, *, alpha: float = 0.9, v_threshold: float = 1.0, surrogate: float = 2.0) -> None:
        super().__init__()
        self.surrogate = surrogate
        self.leak = nn.Parameter(torch.full((d,), math.log(alpha / (1.0 - alpha))))
        self.threshold = nn.Parameter(torch.full((d,), math.log(math.expm1(v_threshold))))

    def forward(self, current: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return spikes in {0, 1}, (B, T, D), and the membrane potential after the last token, (B, D)."""
        return lif_scan(current, v, self.leak.sigmoid(), functional.softplus(self.threshold), mask, self.surrogate)
