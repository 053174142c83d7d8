"""Between the width of the language model and the width of memory: encoder, decoder, and heads that find."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPSILON: Final = 1e-6


class MemoryProjection(nn.Module):
    """Encode hidden states as memory tokens and decode them again; 2·hidden·d weights.

    The decoder begins as the transpose of an orthogonal encoder: what was encoded comes back as far as it fits.
    """

    def __init__(self, hidden_size: int, d_model: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(hidden_size, eps=_EPSILON)
        self.encoder = nn.Linear(hidden_size, d_model, bias=False)
        self.decoder = nn.Linear(d_model, hidden_size, bias=False)
        nn.init.orthogonal_(self.encoder.weight)
        with torch.no_grad():
            self.decoder.weight.copy_(self.encoder.weight.T)

    def encode(self, hidden: Tensor) -> Tensor:
        """Return memory tokens, (…, d), for hidden states, (…, hidden)."""
        encoded: Tensor = self.encoder(self.norm(hidden.to(self.encoder.weight.dtype)))
        return encoded

    def decode(self, tokens: Tensor) -> Tensor:
        """Return hidden states, (…, hidden), for memory tokens, (…, d)."""
        decoded: Tensor = self.decoder(tokens)
        return decoded

    def reconstruction_loss(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the share of the normalised hidden states that does not come back: 0 is all, 1 nothing.

        Args:
            hidden: (B, T, hidden).
            mask: (B, T), True for real tokens.
        """
        wanted = self.norm(hidden.to(self.encoder.weight.dtype))
        lost: Tensor = (self.decode(self.encoder(wanted)) - wanted).square().sum(-1)
        size: Tensor = wanted.square().sum(-1)
        if mask is not None:
            lost, size = lost * mask, size * mask
        return lost.sum() / size.sum().clamp(min=_EPSILON)


class RetrievalHeads(nn.Module):
    """Compare questions with memories by what the lower half of the model makes of them.

    One vector for a text: its token states, weighted by a learned attention, normalised and projected.
    """

    def __init__(self, hidden_size: int, d_key: int) -> None:
        super().__init__()
        self.query_focus = nn.Parameter(torch.zeros(hidden_size))
        self.key_focus = nn.Parameter(torch.zeros(hidden_size))
        self.query = nn.Sequential(nn.RMSNorm(hidden_size, eps=_EPSILON), nn.Linear(hidden_size, d_key))
        self.key = nn.Sequential(nn.RMSNorm(hidden_size, eps=_EPSILON), nn.Linear(hidden_size, d_key))

    def queries(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return unit vectors of questions, (N, d_key), for states (N, T, hidden) and a boolean mask (N, T)."""
        return functional.normalize(self.query(self._pool(hidden, mask, self.query_focus)), dim=-1)

    def keys(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return unit vectors of memories, (N, d_key), for states (N, T, hidden) and a boolean mask (N, T)."""
        return functional.normalize(self.key(self._pool(hidden, mask, self.key_focus)), dim=-1)

    def _pool(self, hidden: Tensor, mask: Tensor, focus: Tensor) -> Tensor:
        hidden = hidden.to(focus.dtype)
        least = torch.finfo(focus.dtype).min
        weights = (hidden @ focus).masked_fill(~mask, least).softmax(-1)
        return (hidden * weights[..., None]).sum(1)
