"""Stage 3, spike attention: read retrieved memory and recent tokens at a cost that is linear in their number.

    r[t] = W_o · N[t] / (D[t] + ε)
    N[t] = Σ_j p[j] φ(q[t])·φ(k[j]) v[j]  +  c Σ_{i<t} w(t,i) φ(q[t])·φ(k[i]) v[i]          D[t]: the same without v

j runs over the tokens of retrieved memories, i over earlier tokens of the text. φ is the feature map of Hedgehog,
softmax over [x, -x], so a sum over keys is a matrix that is made once (`FastWeights`) and no pair of tokens is compared
across chunks.

p[j] = exp(β · (score[j] - max score)) is what the search already knows: the score of the memory that token j belongs
to is the strength of its synapses. w(t,i) is spike-timing-dependent (`stdp`): a token writes as far as the head fired,
less after other spikes, and fades in 17 ms. c, β and the sharpness of φ are learned for each head.

Queries come from the spikes of stage 2 plus the token and the one before it, keys from a token and the one before it:
one layer then can look up what followed the current word (induction).

Nothing matches: D is small against ε and r goes to 0, which means "nothing was read".

Source: linear attention, Katharopoulos et al. (2020); φ, Zhang et al. (2024), Hedgehog; token shift, Peng et al.
(2023), RWKV. The prior and the spike timing are ours. The prior lets a small model choose among several memories.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from t4dm_daemon.spiking.masks import real_tokens_until
from t4dm_daemon.spiking.stdp import POTENTIATION_PER_TOKEN

_EPSILON: Final = 1e-4
_SHARPNESS: Final = 2.0
"""Of φ at the start of training."""
_RECENT: Final = -2.0
"""Logit of c at the start of training: recent tokens weigh .12 of memory."""


class FastWeights(NamedTuple):
    """Keys and values as one matrix for each head: Σ w φ(k) vᵀ, (B, H, F, D/H), and Σ w φ(k), (B, H, F)."""

    values: Tensor
    norm: Tensor

    @classmethod
    def empty(cls, batch: int, n_heads: int, d_head: int, like: Tensor) -> FastWeights:
        """Return weights to which nothing was written, with the type and device of `like`."""
        return cls(
            like.new_zeros(batch, n_heads, 2 * d_head, d_head),
            like.new_zeros(batch, n_heads, 2 * d_head),
        )


def features(x: Tensor, sharpness: Tensor) -> Tensor:
    """Return φ(x), positive, (B, H, T, 2·D/H), for x of (B, H, T, D/H) and sharpness of (H,)."""
    scaled = x * sharpness[:, None, None]
    return torch.cat([scaled.softmax(-1), (-scaled).softmax(-1)], -1)


def write(keys: Tensor, values: Tensor, strength: Tensor) -> FastWeights:
    """Return fast weights that hold all keys and values at once.

    Args:
        keys: φ(k), (B, H, M, F).
        values: (B, H, M, D/H).
        strength: Weight of each key, (B, H, M); 0 leaves it out.
    """
    weighted = keys * strength[..., None]
    return FastWeights(weighted.transpose(-1, -2) @ values, weighted.sum(2))


def read(queries: Tensor, weights: FastWeights) -> tuple[Tensor, Tensor]:
    """Return numerator, (B, H, T, D/H), and denominator, (B, H, T), of the attention for φ(q)."""
    return queries @ weights.values, (queries @ weights.norm[..., None])[..., 0]


def recent_naive(
    queries: Tensor, keys: Tensor, values: Tensor, strength: Tensor, state: FastWeights, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, FastWeights]:
    """Return what every token reads from those before it, and the weights after the last.

    Args:
        queries: φ(q), (B, H, T, F).
        keys: φ(k), (B, H, T, F).
        values: (B, H, T, D/H).
        strength: How strongly each token writes, (B, H, T).
        state: What was written before the first token.
        mask: (B, T), True for real tokens.

    Returns:
        Numerator (B, H, T, D/H), denominator (B, H, T), fast weights.
    """
    numerators, denominators = [], []
    for t in range(queries.shape[2]):
        fade = queries.new_full((queries.shape[0], 1, 1), POTENTIATION_PER_TOKEN)
        wanted = strength[:, :, t]
        if mask is not None:
            real = mask[:, t, None]
            fade, wanted = torch.where(real[..., None], fade, 1.0), wanted * real
        state = FastWeights(fade[..., None] * state.values, fade * state.norm)
        numerator, denominator = read(queries[:, :, t : t + 1], state)
        numerators.append(numerator)
        denominators.append(denominator)
        written = write(keys[:, :, t : t + 1], values[:, :, t : t + 1], wanted[..., None])
        state = FastWeights(state.values + written.values, state.norm + written.norm)
    return torch.cat(numerators, 2), torch.cat(denominators, 2), state


def recent_chunked(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    strength: Tensor,
    state: FastWeights,
    mask: Tensor | None = None,
    *,
    chunk: int,
) -> tuple[Tensor, Tensor, FastWeights]:
    """Return what `recent_naive` returns, `chunk` tokens at a time."""
    numerators, denominators = [], []
    for start in range(0, queries.shape[2], chunk):
        part = slice(start, start + chunk)
        q, k, v, wanted = queries[:, :, part], keys[:, :, part], values[:, :, part], strength[:, :, part]
        part_mask = None if mask is None else mask[:, part]
        if part_mask is not None:
            wanted = wanted * part_mask[:, None]
        count = real_tokens_until(part_mask, q[:, 0])[:, None]  # (B or 1, 1, C)
        fading = POTENTIATION_PER_TOKEN ** (count[..., :, None] - count[..., None, :]).clamp(min=0)
        arriving = POTENTIATION_PER_TOKEN ** count[..., None]  # (B or 1, 1, C, 1)
        pairs = (q @ k.transpose(-1, -2)) * torch.tril(fading, diagonal=-1) * wanted[:, :, None]  # (B, H, C, C)
        numerator, denominator = read(q, state)
        numerators.append(arriving * numerator + pairs @ v)
        denominators.append(arriving[..., 0] * denominator + pairs.sum(-1))
        written = write(k, v, wanted * fading[..., -1, :])
        last = arriving[..., -1, :]  # (B or 1, 1, 1)
        state = FastWeights(last[..., None] * state.values + written.values, last * state.norm + written.norm)
    return torch.cat(numerators, 2), torch.cat(denominators, 2), state


class SpikeAttention(nn.Module):
    """Read memory and recent tokens; 4·d² weights in q, k, v, o, two token-shift vectors, three numbers a head."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.key = nn.Linear(d_model, d_model, bias=False)
        self.value = nn.Linear(d_model, d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)
        # Share of the token itself, the rest is the one before. A fan over the channels gives the heads both to choose.
        self.query_mix = nn.Parameter(torch.linspace(0.5, 1.0, d_model))
        self.key_mix = nn.Parameter(torch.linspace(0.0, 1.0, d_model))
        self.prior_gain = nn.Parameter(torch.full((n_heads,), 0.5413248546129181))  # softplus(.) = 1
        self.sharpness = nn.Parameter(torch.full((n_heads,), _SHARPNESS).log())
        self.recent = nn.Parameter(torch.full((n_heads,), _RECENT))
        # What is read is passed on as it is, and equal contents match: without this start training did not find a way
        # to copy from memory.
        nn.init.orthogonal_(self.query.weight)
        with torch.no_grad():
            self.key.weight.copy_(self.query.weight)
        for layer in (self.value, self.out):
            nn.init.eye_(layer.weight)

    def heads(self, x: Tensor) -> Tensor:
        """Return (B, T, D) as (B, H, T, D/H)."""
        return x.view(*x.shape[:2], self.n_heads, -1).transpose(1, 2)

    def queries(self, spiking: Tensor, x: Tensor, before: Tensor) -> Tensor:
        """Return φ(q) from the spikes, the tokens and the tokens before them, each (B, T, D)."""
        q = self.query(spiking + torch.lerp(before, x, self.query_mix))
        return features(self.heads(q), self.sharpness.exp())

    def keys_and_values(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Return φ(k) and v of tokens and those before them, each (B, T, D)."""
        k = self.key(torch.lerp(before, x, self.key_mix))
        return features(self.heads(k), self.sharpness.exp()), self.heads(self.value(x))

    def remember(self, memory: Tensor, prior: Tensor, mask: Tensor) -> FastWeights:
        """Return memory as fast weights, made once for a text.

        Args:
            memory: Tokens of all memories of a text, one after the other, (B, M, D).
            prior: Score of the memory that each belongs to, (B, M); what matters is the difference to the highest.
            mask: (B, M), True for real tokens.
        """
        if memory.shape[1] == 0:
            return FastWeights.empty(memory.shape[0], self.n_heads, memory.shape[2] // self.n_heads, memory)
        before = functional.pad(memory, (0, 0, 1, 0))[:, :-1]
        keys, values = self.keys_and_values(memory, before)
        highest = prior.masked_fill(~mask, -torch.inf).amax(1, keepdim=True)
        behind = (prior - highest).masked_fill(~mask, 0.0)  # <= 0
        gain = functional.softplus(self.prior_gain)
        strength = torch.exp(gain[:, None] * behind[:, None]) * mask[:, None]  # (B, H, M)
        return write(keys, values, strength)

    def forward(
        self,
        queries: Tensor,
        memory: FastWeights | None,
        recent: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """Return what is read, (B, T, D).

        Args:
            queries: φ(q), (B, H, T, F).
            memory: From `remember`, or None.
            recent: Numerator and denominator of `recent_chunked`, or None.
        """
        batch, _, length, wide = queries.shape
        numerator = queries.new_zeros(batch, self.n_heads, length, wide // 2)
        denominator = queries.new_zeros(batch, self.n_heads, length)
        if memory is not None:
            numerator, denominator = read(queries, memory)
        if recent is not None:
            share = self.recent.sigmoid()[:, None]  # (H, 1)
            numerator = numerator + share[..., None] * recent[0]
            denominator = denominator + share * recent[1]
        found = numerator / (denominator + _EPSILON)[..., None]
        taken: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return taken
