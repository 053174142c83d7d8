"""How hard a graph must be searched, measured on the vectors it was built from.

Recall at a given effort depends on the data: on clustered embeddings the smallest effort finds everything; on
noise without structure in 384 dimensions it finds a third. So each graph is asked, once it is built, for the
neighbours of a sample of its own rows and of points between rows (a question is rarely where an answer is), and the
least `ef` that finds enough of both is kept with it. A graph that never does is not used: its rows are scanned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.storage.t4dx.ann import AnnIndex

NEIGHBOURS: Final = 10
DEPTH: Final = 56
"""Candidates asked for; they are scored again exactly, as a search for ten does."""
EFFORTS: Final = (64, 128, 256, 512, 1024)
MIN_RECALL: Final = 0.98
"""Of either sample; .95 is promised, and samples of this size are off by .01 to .02."""
SAMPLE: Final = 32
_SEED: Final = 7

Vectors = npt.NDArray[np.float32]


def least_effort(
    index: AnnIndex,
    vectors: npt.NDArray[np.float32],
    inv_norm: npt.NDArray[np.float32],
    *,
    pace: Callable[[], None] = lambda: None,
) -> int | None:
    """Return the least `ef` at which the graph finds `MIN_RECALL` of the true neighbours, None when none does.

    Args:
        index: A graph over all rows.
        vectors: Its rows, (N, D), of any length.
        inv_norm: 1 / length per row, 0 for rows without a vector.
        pace: Called before each question, of which some scan all rows; may wait, or raise to give up.
    """
    (candidates,) = np.nonzero(inv_norm > 0)
    if len(candidates) <= NEIGHBOURS:
        return EFFORTS[0]
    rng = np.random.default_rng(_SEED)
    own = rng.choice(candidates, min(SAMPLE, len(candidates)), replace=False)
    queries = [(int(row), vectors[row] * inv_norm[row]) for row in own]
    for _ in range(SAMPLE):
        between = (vectors[mixed := rng.choice(candidates, 3)] * inv_norm[mixed, None]).sum(axis=0)
        queries.append((-1, between / max(float(np.linalg.norm(between)), 1e-9)))
    wanted = []
    for row, query in queries:
        pace()
        wanted.append(_least_of_nearest(vectors, inv_norm, row, query))
    for effort in EFFORTS:
        found = []
        for (row, query), least in zip(queries, wanted, strict=True):
            pace()
            found.append(_found(index, vectors, inv_norm, row, query, least, effort))
        if min(np.mean(found[: len(own)]), np.mean(found[len(own) :])) >= MIN_RECALL * NEIGHBOURS:
            return effort
    return None


def _least_of_nearest(vectors: Vectors, inv_norm: Vectors, row: int, query: Vectors) -> float:
    """Return the similarity of the tenth nearest; a row is not its own neighbour."""
    scores = (vectors @ query) * inv_norm
    scores[inv_norm == 0] = -np.inf
    if row >= 0:
        scores[row] = -np.inf
    return float(np.partition(scores, -NEIGHBOURS)[-NEIGHBOURS])


def _found(
    index: AnnIndex, vectors: Vectors, inv_norm: Vectors, row: int, query: Vectors, least: float, effort: int
) -> int:
    rows, _ = index.search(query, DEPTH, ef=effort)
    rows = rows[rows != row]
    scores = (vectors[rows] @ query) * inv_norm[rows]
    return min(NEIGHBOURS, int(np.count_nonzero(scores >= least - 1e-6)))  # ties are as good
