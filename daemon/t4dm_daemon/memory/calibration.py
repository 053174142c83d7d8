"""From a fused score to one that means the same on every store.

Fused scores order the memories of one answer and say nothing of another's: the best hit of a hopeless question has as
many points as that of an easy one. How sure one can be of the best hit is told by what was not normalised: how near
its meaning is, and how many of the question's words are there. A logistic curve over both, fitted on questions whose
answer was or was not in the store (docs/ranking.md), gives the confidence of the answer; each hit has its share:

    score = confidence * fused / best fused

Its order is that of the fused scores, it lies in [0, 1], and below the threshold the question has no answer here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from t4dm_daemon.storage.protocol import Candidate

INTERCEPT: Final = -3.8
SIMILARITY: Final = 4.6
COVERAGE: Final = 3.3
CONSIDERED: Final = 3
"""Hits at the top that may show that there is an answer."""


def confidence(best: Iterable[Candidate]) -> float:
    """Return how likely it is that one of the best hits answers the question, in [0, 1]."""
    hits = list(best)
    if not hits:
        return 0.0
    similarity = max(max(0.0, one.similarity or 0.0) for one in hits)
    coverage = max(one.coverage for one in hits)
    return 1.0 / (1.0 + math.exp(-(INTERCEPT + SIMILARITY * similarity + COVERAGE * coverage)))
