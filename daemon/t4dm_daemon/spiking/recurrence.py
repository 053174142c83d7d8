"""Stage 5, the recurrence: a decaying average over all earlier tokens, one for each channel.

    k, v, r = W_k x', W_v x', W_r x'          x' mixes each token with the one before it, by a learned vector for each
    wkv[t] = (Σ_{i<t} e^{(t-1-i)w + k[i]} v[i] + e^{u + k[t]} v[t]) / (the same without v)          w = -e^{decay}
    y[t] = W_o (σ(r[t]) ⊙ wkv[t])

The sums are kept divided by e^max, so no exponent is ever large: any k is safe. State: numerator, denominator and max,
which does not grow with the text.

Source: RWKV-4's time mixing, Peng et al. (2023). Its channel mixing is left out: the language model has MLPs.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from t4dm_daemon.spiking.masks import real_tokens_until, token_before

_LEAST: Final = -1e30
"""Stands for the logarithm of nothing: finite, so that differences of it are."""


class Averages(NamedTuple):
    """Σ e^{…} v and Σ e^{…}, both divided by e^{maximum}; (B, D) each."""

    numerator: Tensor
    denominator: Tensor
    maximum: Tensor

    @classmethod
    def empty(cls, batch: int, d: int, like: Tensor) -> Averages:
        """Return the state before the first token, with the type and device of `like`."""
        zero = like.new_zeros(batch, d)
        return cls(zero, zero.clone(), torch.full_like(zero, _LEAST))


def wkv_naive(
    w: Tensor, u: Tensor, k: Tensor, v: Tensor, state: Averages, mask: Tensor | None = None
) -> tuple[Tensor, Averages]:
    """Return wkv, (B, T, D), and the state after the last token; 0 at padding.

    Args:
        w: Logarithm of the decay for each token, (D,), below 0.
        u: Bonus of the token itself, (D,).
        k: (B, T, D).
        v: (B, T, D).
        state: Of the tokens before.
        mask: (B, T), True for real tokens.
    """
    outputs = []
    for t in range(k.shape[1]):
        numerator, denominator, maximum = state
        here = u + k[:, t]
        top = torch.maximum(maximum, here)
        old, new = torch.exp(maximum - top), torch.exp(here - top)
        output = (old * numerator + new * v[:, t]) / (old * denominator + new)
        top = torch.maximum(maximum + w, k[:, t])
        old, new = torch.exp(maximum + w - top), torch.exp(k[:, t] - top)
        after = Averages(old * numerator + new * v[:, t], old * denominator + new, top)
        if mask is not None:
            real = mask[:, t, None]
            output = output * real
            after = Averages(*(torch.where(real, a, b) for a, b in zip(after, state, strict=True)))
        state = after
        outputs.append(output)
    return torch.stack(outputs, 1), state


def wkv_chunked(
    w: Tensor, u: Tensor, k: Tensor, v: Tensor, state: Averages, mask: Tensor | None = None, *, chunk: int
) -> tuple[Tensor, Averages]:
    """Return what `wkv_naive` returns, `chunk` tokens at a time: T·chunk·D numbers instead of T steps."""
    outputs = []
    for start in range(0, k.shape[1], chunk):
        part = slice(start, start + chunk)
        part_mask = None if mask is None else mask[:, part]
        output, state = _wkv_part(w, u, k[:, part], v[:, part], state, part_mask)
        outputs.append(output)
    return torch.cat(outputs, 1), state


def _wkv_part(
    w: Tensor, u: Tensor, k: Tensor, v: Tensor, state: Averages, mask: Tensor | None
) -> tuple[Tensor, Averages]:
    numerator, denominator, maximum = state
    length = k.shape[1]
    count = real_tokens_until(mask, k)[..., None]  # (B or 1, C, 1)
    real = torch.ones_like(count, dtype=torch.bool) if mask is None else mask[..., None]
    distance = (count[:, :, None] - 1 - count[:, None, :]).clamp(min=0)  # (B or 1, C, C, 1), tokens between i and t
    earlier = torch.ones(length, length, dtype=torch.bool, device=k.device).tril(-1)[..., None] & real[:, None]
    exponents = (distance * w + k[:, None]).masked_fill(~earlier, _LEAST)  # (B, C, C, D)
    old = maximum[:, None] + (count - 1).clamp(min=0) * w  # (B, C, D)
    here = u + k
    top = torch.maximum(torch.maximum(exponents.amax(2), old), here)
    weights = torch.exp(exponents - top[:, :, None])
    of_old, of_here = torch.exp(old - top), torch.exp(here - top)
    above = torch.einsum("btid,bid->btd", weights, v) + of_old * numerator[:, None] + of_here * v
    below = weights.sum(2) + of_old * denominator[:, None] + of_here
    output = above / below * real

    last = count[:, -1:]
    exponents = (k + (last - count) * w).masked_fill(~real, _LEAST)  # (B, C, D)
    old = maximum + last[:, 0] * w
    top = torch.maximum(exponents.amax(1), old)
    weights = torch.exp(exponents - top[:, None]) * real
    of_old = torch.exp(old - top)
    after = Averages((weights * v).sum(1) + of_old * numerator, weights.sum(1) + of_old * denominator, top)
    return output, after


class TimeMix(nn.Module):
    """Mix each token with those before it; 4·d² weights in r, k, v, o, and five vectors."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.receptance = nn.Linear(d_model, d_model, bias=False)
        self.key = nn.Linear(d_model, d_model, bias=False)
        self.value = nn.Linear(d_model, d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)
        self.mix = nn.Parameter(torch.full((3, d_model), 0.5))
        # From a half-life of 14 tokens to forgetting at once.
        self.decay = nn.Parameter(torch.linspace(-3.0, 2.0, d_model))
        self.bonus = nn.Parameter(torch.zeros(d_model))
        nn.init.zeros_(self.out.weight)  # the block begins as one without recurrence

    def forward(
        self, x: Tensor, before: Tensor, state: Averages, mask: Tensor | None, *, decay_gain: float, chunk: int
    ) -> tuple[Tensor, Tensor, Averages]:
        """Return the mixture, (B, T, D), the last token, (B, D), and the state after it.

        Args:
            x: (B, T, D).
            before: The token before the first, (B, D).
            state: Of the tokens before.
            mask: (B, T), or None.
            decay_gain: Above 1 forgets faster.
            chunk: Tokens at a time.
        """
        earlier, last = token_before(x, before, mask)
        for_r, for_k, for_v = (torch.lerp(earlier, x, share) for share in self.mix)
        w = -self.decay.exp() * decay_gain
        average, state = wkv_chunked(w, self.bonus, self.key(for_k), self.value(for_v), state, mask, chunk=chunk)
        mixed: Tensor = self.out(self.receptance(for_r).sigmoid() * average)
        return mixed, last, state
