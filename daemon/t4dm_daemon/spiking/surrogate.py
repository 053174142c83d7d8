"""Spikes with a gradient: a step forwards, the derivative of an arctangent backwards.

    S(x) = 1 if x > 0 else 0
    dS/dx := (α/2) / (1 + (π α x / 2)²)          the derivative of arctan(π α x / 2)/π + 1/2

x is the membrane's distance from its threshold; α = 2 gives a peak of 1 at x = 0.

Source: Fang et al. (2021), "Incorporating learnable membrane time constant", as in snnTorch and SpikingJelly.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def atan_derivative(distance: Tensor, alpha: float) -> Tensor:
    """Return the surrogate derivative at a distance from the threshold."""
    return (alpha / 2.0) / (1.0 + (math.pi / 2.0 * alpha * distance).square())


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: Tensor, alpha: float) -> Tensor:
        ctx.save_for_backward(distance)
        ctx.alpha = alpha
        return (distance > 0).to(distance.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (distance,) = ctx.saved_tensors
        return gradients[0] * atan_derivative(distance, ctx.alpha), None


def spike(distance: Tensor, alpha: float = 2.0) -> Tensor:
    """Return 1 where `distance` is above 0, else 0; differentiable by the surrogate."""
    return cast("Tensor", _Spike.apply(distance, alpha))  # type: ignore[no-untyped-call]
