"""Neuromodulators and oscillations: a few numbers for the whole stack that change how its stages work.

| signal | from the bus | acts on | as |
|---|---|---|---|
| acetylcholine | attention to input | stage 1, thalamic gate | gain .5 + ACh |
| noradrenaline | arousal | stages 2 and 6, input of the neurons | gain .5 + NE |
| dopamine | reward | stage 3, how strongly tokens write | gain .5 + DA |
| serotonin | patience | stage 5, decay | gain 1.5 - 5-HT: more of it remembers longer |
| θ, γ, δ | a clock that ticks with the tokens | stage 2 | a bias current, amplitude · cos(2π f t) |

All levels lie in [0, 1]; at .5 every gain is 1, and the amplitudes begin at 0, so that a neutral bus changes nothing.
They are scalars with a named target; the likeness to what nuclei of the brain release ends there.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field, fields, replace
from typing import Final

import torch
from torch import Tensor

from t4dm_daemon.spiking.stdp import TOKEN_MS

NEUTRAL: Final = 0.5
THETA_HZ: Final = 6.0
GAMMA_HZ: Final = 40.0
DELTA_HZ: Final = 2.0


@dataclass(frozen=True, slots=True)
class Oscillations:
    """Amplitudes of the bias current that stage 2 gets, in units of its input."""

    theta: float = 0.0
    gamma: float = 0.0
    delta: float = 0.0

    def bias(self, count: Tensor) -> Tensor | None:
        """Return the current for tokens that are the `count`-th of their text, in its shape; None if there is none."""
        waves = ((self.theta, THETA_HZ), (self.gamma, GAMMA_HZ), (self.delta, DELTA_HZ))
        if not any(amplitude for amplitude, _ in waves):
            return None
        seconds = count * (TOKEN_MS / 1000.0)
        total = torch.zeros_like(seconds)
        for amplitude, frequency_hz in waves:
            total = total + amplitude * torch.cos(2.0 * math.pi * frequency_hz * seconds)
        return total


@dataclass(frozen=True, slots=True)
class Modulation:
    """The levels of one moment, and the gains that follow."""

    dopamine: float = NEUTRAL
    noradrenaline: float = NEUTRAL
    acetylcholine: float = NEUTRAL
    serotonin: float = NEUTRAL
    oscillations: Oscillations = field(default_factory=Oscillations)

    def __post_init__(self) -> None:
        for name in LEVELS:
            level = getattr(self, name)
            if not 0.0 <= level <= 1.0:
                raise ValueError(f"{name}={level} is not between 0 and 1")

    @property
    def plasticity_gain(self) -> float:
        return 0.5 + self.dopamine

    @property
    def input_gain(self) -> float:
        return 0.5 + self.noradrenaline

    @property
    def gate_gain(self) -> float:
        return 0.5 + self.acetylcholine

    @property
    def decay_gain(self) -> float:
        return 1.5 - self.serotonin


LEVELS: Final = tuple(part.name for part in fields(Modulation) if part.name != "oscillations")


class NeuromodulatorBus:
    """Hold the levels of one mind: signals raise or lower them, time brings them back to neutral.

    Safe for several threads. A reader takes a `Modulation`, which does not change under it.
    """

    def __init__(self, *, recovery_ms: float = 1000.0) -> None:
        """`recovery_ms`: after it, 1/e of a deviation is left. Chosen, not fitted."""
        if recovery_ms <= 0.0:
            raise ValueError("recovery_ms must be positive")
        self._recovery_ms = recovery_ms
        self._now = Modulation()
        self._lock = threading.Lock()

    def release(self, **amounts: float) -> Modulation:
        """Add to levels, by name, within [0, 1]; return what they are then."""
        if unknown := set(amounts) - set(LEVELS):
            raise ValueError(f"there is no {sorted(unknown)}: the bus has {', '.join(LEVELS)}")
        if bad := [name for name, amount in amounts.items() if not math.isfinite(amount)]:
            raise ValueError(f"the amount of {bad} is not a finite number")
        with self._lock:
            levels = {name: min(1.0, max(0.0, getattr(self._now, name) + by)) for name, by in amounts.items()}
            self._now = replace(self._now, **levels)
            return self._now

    def oscillate(self, oscillations: Oscillations) -> Modulation:
        """Set the amplitudes of the oscillations; return what holds then."""
        with self._lock:
            self._now = replace(self._now, oscillations=oscillations)
            return self._now

    def advance(self, elapsed_ms: float) -> Modulation:
        """Let time pass; return what the levels are then."""
        if elapsed_ms < 0.0:
            raise ValueError("time does not run backwards")
        left = math.exp(-elapsed_ms / self._recovery_ms)
        with self._lock:
            levels = {name: NEUTRAL + (getattr(self._now, name) - NEUTRAL) * left for name in LEVELS}
            self._now = replace(self._now, **levels)
            return self._now

    def modulation(self) -> Modulation:
        """Return the levels as they are."""
        with self._lock:
            return self._now
