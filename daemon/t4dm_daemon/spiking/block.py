"""One cortical block: six stages from a token's hidden state to the next block's.

    n = RMSNorm(x)
    1  thalamic gate    I = σ(W_g n + b_g) ⊙ n · (.5 + ACh)
    2  spiking input    s, v = LIF(I · (.5 + NE) + oscillation),  f = s ⊙ I
    3  spike attention  r = what memory and recent tokens hold for q(f, n)
    4  apical           b = W_b(f + r),  a = W_a r,  y = b ⊙ σ(a)
    5  recurrence       y ← y + TimeMix(y)
    6  output           s, v = LIF((y + bias) · (.5 + NE)),  o = W_out(s ⊙ y)
    x ← x + o

"Graded" spikes carry the value that made them, as above; "binary" ones are s alone; "analog" puts GELU in place of both
LIFs, as a control. The block adds to its input, and what exceeds a threshold stays on the membrane for the next token:
nothing is rounded away between blocks (after the residual membrane potential of RMP-SNN).

Stage 4 borrows from pyramidal cells: basal drive b is passed on as far as the apical dendrite, which sees only what was
read from memory, agrees. How far the two differ is the prediction error; G = Σ y² is the goodness of Hinton (2022).

Weights: 12·d² (gate 1, attention 4, basal and apical 2, recurrence 4, output 1), 17·d, three a head.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from t4dm_daemon.spiking.attention import FastWeights, SpikeAttention, recent_chunked
from t4dm_daemon.spiking.config import StackConfig
from t4dm_daemon.spiking.lif import LIF
from t4dm_daemon.spiking.masks import token_before
from t4dm_daemon.spiking.modulation import Modulation
from t4dm_daemon.spiking.recurrence import Averages, TimeMix
from t4dm_daemon.spiking.stdp import trace_chunked, write_strength

_EPSILON: Final = 1e-6


class BlockState(NamedTuple):
    """What a block carries from token to token; nothing in it grows with the text."""

    v_in: Tensor
    """Membrane potential of stage 2, (B, D)."""
    v_out: Tensor
    """Membrane potential of stage 6, (B, D)."""
    normed: Tensor
    """The last token at stage 1, (B, D)."""
    mixed: Tensor
    """The last token at stage 5, (B, D)."""
    averages: Averages
    recent: FastWeights
    trace: Tensor
    """Earlier spikes of each head, (B, H)."""


class BlockMetrics(NamedTuple):
    """What a block did at each token, (B, T) each, differentiable; 0 at padding."""

    rate_in: Tensor
    """Share of neurons that fired in stage 2."""
    rate_out: Tensor
    """Share of neurons that fired in stage 6."""
    prediction_error: Tensor
    """|b - r|² / (|b|² + |r|²): from 0, as memory foretold, to 2."""
    goodness: Tensor
    """Σ y²."""


class ThalamicGate(nn.Module):
    """Stage 1: let through what matters, more of it with acetylcholine."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Linear(d_model, d_model)
        nn.init.ones_(self.weight.bias)  # mostly open at the start

    def forward(self, normed: Tensor, gain: float) -> Tensor:
        """Return the current for stage 2, (B, T, D)."""
        current: Tensor = self.weight(normed).sigmoid() * normed * gain
        return current


class ApicalModulation(nn.Module):
    """Stage 4: pass on the basal drive as far as what was read from memory agrees."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.basal = nn.Linear(d_model, d_model)
        self.apical = nn.Linear(d_model, d_model)
        nn.init.eye_(self.basal.weight)
        nn.init.zeros_(self.basal.bias)
        nn.init.constant_(self.apical.bias, 2.0)  # open at the start

    def forward(self, drive: Tensor, read: Tensor, *, gated: bool) -> tuple[Tensor, Tensor]:
        """Return the modulated drive, (B, T, D), and the prediction error, (B, T)."""
        basal: Tensor = self.basal(drive + read)
        size = basal.square().sum(-1) + read.square().sum(-1)
        error = (basal - read).square().sum(-1) / (size + _EPSILON)
        return (basal * self.apical(read).sigmoid() if gated else basal), error


class CorticalBlock(nn.Module):
    """Six stages; a function of tokens, memory and state."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.config = config
        d = config.d_model
        neurons = {"alpha": config.alpha, "v_threshold": config.v_threshold, "surrogate": config.surrogate_alpha}
        self.norm = nn.RMSNorm(d, eps=_EPSILON)
        self.norm_memory = nn.RMSNorm(d, eps=_EPSILON)
        self.gate = ThalamicGate(d)
        self.spiking_in = LIF(d, **neurons)
        self.attention = SpikeAttention(d, config.n_heads)
        self.apical = ApicalModulation(d)
        self.time_mix = TimeMix(d)
        self.bias_out = nn.Parameter(torch.full((d,), 0.3))  # keeps stage 6 from falling silent at the start
        self.spiking_out = LIF(d, **neurons)
        self.out = nn.Linear(d, d, bias=False)
        nn.init.eye_(self.out.weight)

    def initial_state(self, batch: int, like: Tensor) -> BlockState:
        """Return the state before the first token, with the type and device of `like`."""
        d, heads = self.config.d_model, self.config.n_heads
        v_in, v_out, normed, mixed = (like.new_zeros(batch, d) for _ in range(4))
        return BlockState(
            v_in,
            v_out,
            normed,
            mixed,
            Averages.empty(batch, d, like),
            FastWeights.empty(batch, heads, d // heads, like),
            like.new_zeros(batch, heads),
        )

    def remember(self, memory: Tensor, prior: Tensor, mask: Tensor) -> FastWeights:
        """Return memory, (B, M, D), as the fast weights that `forward` reads; see `SpikeAttention.remember`."""
        if "prior" in self.config.without:
            prior = torch.zeros_like(prior)
        return self.attention.remember(self.norm_memory(memory), prior, mask)

    def forward(
        self,
        x: Tensor,
        state: BlockState,
        *,
        memory: FastWeights | None,
        mask: Tensor | None,
        modulation: Modulation,
        wave: Tensor | None,
    ) -> tuple[Tensor, BlockState, BlockMetrics]:
        """Return the tokens after this block, (B, T, D), the state after the last, and what happened.

        Args:
            x: (B, T, D).
            state: After the token before the first.
            memory: From `remember`, or None for no memory.
            mask: (B, T), True for real tokens, or None if all are.
            modulation: Levels of the neuromodulators.
            wave: Bias current of the oscillations, (B, T), or None.
        """
        normed = self.norm(x)
        current = self.gate(normed, modulation.gate_gain)
        driving = current * modulation.input_gain
        if wave is not None:
            driving = driving + wave[..., None]
        spikes_in, v_in = self._fire(self.spiking_in, driving, state.v_in, mask)
        fired = self._carry(spikes_in, current)

        earlier, last_normed = token_before(normed, state.normed, mask)
        queries = self.attention.queries(fired, normed, earlier)
        recent, weights, trace = self._recent(queries, normed, earlier, spikes_in, state, mask, modulation)
        read = self.attention(queries, memory, recent)

        y, error = self.apical(fired, read, gated="apical" not in self.config.without)
        if "recurrence" in self.config.without:
            last_mixed, averages = state.mixed, state.averages
        else:
            mixture, last_mixed, averages = self.time_mix(
                y, state.mixed, state.averages, mask, decay_gain=modulation.decay_gain, chunk=self.config.chunk
            )
            y = y + mixture

        driving = (y + self.bias_out) * modulation.input_gain
        spikes_out, v_out = self._fire(self.spiking_out, driving, state.v_out, mask)
        out = self.out(self._carry(spikes_out, y))
        metrics = BlockMetrics(spikes_in.mean(-1), spikes_out.mean(-1), error, y.square().sum(-1))
        if mask is not None:
            out = out * mask[..., None]
            metrics = BlockMetrics(*(value * mask for value in metrics))
        after = BlockState(v_in, v_out, last_normed, last_mixed, averages, weights, trace)
        return x + out, after, metrics

    def _fire(self, neurons: LIF, current: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.config.spikes == "analog":
            return functional.gelu(current), v
        spikes, after = neurons(current, v, mask)
        return spikes, after

    def _carry(self, spikes: Tensor, value: Tensor) -> Tensor:
        return spikes * value if self.config.spikes == "graded" else spikes

    def _recent(
        self,
        queries: Tensor,
        normed: Tensor,
        earlier: Tensor,
        spikes: Tensor,
        state: BlockState,
        mask: Tensor | None,
        modulation: Modulation,
    ) -> tuple[tuple[Tensor, Tensor] | None, FastWeights, Tensor]:
        """Return what is read from recent tokens, the fast weights and the spike traces after them."""
        if "recent" in self.config.without:
            return None, state.recent, state.trace
        chunk = self.config.chunk
        rate = spikes.reshape(*spikes.shape[:2], self.config.n_heads, -1).mean(-1)  # (B, T, H)
        if "stdp" in self.config.without or self.config.spikes == "analog":
            strength, trace = torch.ones_like(rate), state.trace
        else:
            met, trace = trace_chunked(rate, state.trace, mask, chunk=chunk)
            strength = write_strength(rate, met)
        strength = strength.transpose(1, 2) * modulation.plasticity_gain  # (B, H, T)
        keys, values = self.attention.keys_and_values(normed, earlier)
        numerator, denominator, weights = recent_chunked(
            queries, keys, values, strength, state.recent, mask, chunk=chunk
        )
        return (numerator, denominator), weights, trace
