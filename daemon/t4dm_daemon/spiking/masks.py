"""Padding: what a mask over tokens means for recurrent state.

A mask is (B, T), True for real tokens. A padded token changes no state and is seen by no other, wherever it stands, so
a text gives the same with and without padding. Without a mask every token is real.
"""

from __future__ import annotations

import torch
from torch import Tensor


def real_tokens_until(mask: Tensor | None, like: Tensor) -> Tensor:
    """Return for each token how many real ones there are up to and with it, (B or 1, T), in the type of `like`.

    Args:
        mask: (B, T), or None.
        like: (B, T, ...), for length, device and type.
    """
    if mask is None:
        return torch.arange(1, like.shape[1] + 1, device=like.device, dtype=like.dtype)[None]
    return mask.to(like.dtype).cumsum(1)


def token_before(x: Tensor, before: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return for each token the last real one before it, (B, T, D), and the last real one of all, (B, D).

    Args:
        x: (B, T, D).
        before: What stands before the first token, (B, D).
        mask: (B, T), or None.
    """
    extended = torch.cat([before[:, None], x], 1)  # (B, 1 + T, D)
    if mask is None:
        return extended[:, :-1], extended[:, -1]
    places = torch.arange(1, x.shape[1] + 1, device=x.device).expand_as(mask)
    last = torch.where(mask, places, 0).cummax(1).values  # (B, T), index into `extended`
    last = torch.nn.functional.pad(last, (1, 0))  # (B, 1 + T)
    picked = extended.gather(1, last[..., None].expand(-1, -1, x.shape[2]))
    return picked[:, :-1], picked[:, -1]
