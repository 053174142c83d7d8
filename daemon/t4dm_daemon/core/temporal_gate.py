"""τ(t): how much a moment is worth keeping.

    τ = sigmoid(λ_ε ε + λ_Δ Δ + λ_r r - b)

ε is the prediction error of a model, Δ the novelty (1 - similarity to the nearest memory), r the reward. The bias b
keeps a neutral moment from half opening the gate. A logistic gate over surprise and reward in the manner of
neuromodulated encoding (Lisman & Grace 2005); the analogy ends there: nothing here is fitted to neurons.
"""

from __future__ import annotations

import math
from typing import Final

ERROR_WEIGHT: Final = 1.0
NOVELTY_WEIGHT: Final = 2.0
REWARD_WEIGHT: Final = 1.0
BIAS: Final = 1.0
"""A memory that is half new, expected and unrewarded has τ = .5."""


def temporal_gate(*, novelty: float, prediction_error: float = 0.0, reward: float = 0.0) -> float:
    """Return τ in (0, 1).

    Args:
        novelty: 1 - cosine to the nearest memory, in [0, 2].
        prediction_error: Of a model that read it, >= 0; 0 without one.
        reward: In [-1, 1].
    """
    drive = ERROR_WEIGHT * prediction_error + NOVELTY_WEIGHT * novelty + REWARD_WEIGHT * reward - BIAS
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, drive))))
