"""Measures of a ranking, with their spread.

    recall@k   share of the evidence among the first k hits
    MRR        1 / place of the first hit that is evidence, 0 when none is
    nDCG@k     sum of 1 / log2(place + 1) over evidence among the first k, over the same of the best order
    AUC        chance that a question with an answer has the higher confidence of the two (ties count half)

The interval of a mean is that of the percentile bootstrap over questions (Efron & Tibshirani 1993, ch. 13).
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
RESAMPLES = 2000


def recall(found: Sequence[str], evidence: Set[str], k: int) -> float:
    return len(evidence & set(found[:k])) / len(evidence)


def reciprocal_rank(found: Sequence[str], evidence: Set[str]) -> float:
    return next((1.0 / place for place, one in enumerate(found, 1) if one in evidence), 0.0)


def ndcg(found: Sequence[str], evidence: Set[str], k: int) -> float:
    gained = sum(1.0 / math.log2(place + 1) for place, one in enumerate(found[:k], 1) if one in evidence)
    return gained / sum(1.0 / math.log2(place + 1) for place in range(1, min(k, len(evidence)) + 1))


def interval(values: Sequence[float], *, seed: int, share: float = 0.95) -> tuple[float, float]:
    """Return the bounds that hold this share of the means of resampled values."""
    given = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = given[rng.integers(0, len(given), (RESAMPLES, len(given)))].mean(axis=1)
    low, high = np.quantile(means, ((1 - share) / 2, (1 + share) / 2))
    return float(low), float(high)


def auc(yes: Sequence[float], no: Sequence[float]) -> float:
    """Return the area under the ROC curve of the scores of those that are and of those that are not."""
    higher, other = np.asarray(yes, np.float64)[:, None], np.asarray(no, np.float64)[None, :]
    return float((higher > other).mean() + (higher == other).mean() / 2)


def share_kept(scores: Sequence[float], threshold: float) -> float:
    """Return the share of scores that a threshold lets pass."""
    return float((np.asarray(scores) >= threshold).mean())


def threshold_keeping(scores: Sequence[float], share: float) -> float:
    """Return the highest threshold that lets at least this share of the scores pass."""
    ordered = np.sort(np.asarray(scores, np.float64))[::-1]
    return float(ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)])
