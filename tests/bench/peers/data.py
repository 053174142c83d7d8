"""The items, the questions and the right answers; made once per size, read by every system.

Vectors lie in clusters of about a hundred: v = unit(centre + noise), with a noise as long as the centre, so that
the cosine within a cluster is near 0.5 and between clusters near 0. Questions come from the same clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tests.bench.peers.protocol import Condition, Record

SEED: Final = 7
K: Final = 10
QUESTIONS: Final = 200
CONTENT: Final = "They kept the shop open all winter, though hardly anybody came up the road before the thaw. " * 3
EPOCH_US: Final = 1_700_000_000_000_000
MINUTE_US: Final = 60_000_000
CLUSTER_SIZE: Final = 100
BLOCK: Final = 50_000
MILLION: Final = 1_000_000
LINKED: Final = 2000
"""So many of the items have edges, five each."""


def conditions(rows: int) -> dict[str, Condition]:
    """Return the filters to measure, by operation."""
    found = {
        "filter_1": Condition("bucket", 7, 8),
        "filter_10": Condition("bucket", 0, 10),
        "filter_10_label": Condition("owner", 3, 4),
        "filter_21": Condition("bucket", 0, 21),
        "filter_50": Condition("bucket", 0, 50),
        "time_10": Condition("event_time", _time(rows * 45 // 100), _time(rows * 55 // 100)),
    }
    if rows < MILLION:  # just above where the planner changes its mind, which matters when scans are dear
        del found["filter_21"]
    return found


def _time(number: int) -> int:
    return EPOCH_US + number * MINUTE_US


@dataclass(frozen=True, slots=True)
class Data:
    """One data set.

    Attributes:
        vectors: (N, D) float32, of length 1, mapped from the file.
        buckets, owners: (N,), 0 to 99 and 0 to 9.
        questions: (Q, D) float32, of length 1.
        answers: Per search, (Q, K) ids, best first, -1 where fewer pass.
        edges: (E, 2) ids.
    """

    vectors: npt.NDArray[np.float32]
    buckets: npt.NDArray[np.int64]
    owners: npt.NDArray[np.int64]
    questions: npt.NDArray[np.float32]
    answers: dict[str, npt.NDArray[np.int64]]
    edges: npt.NDArray[np.int64]

    @property
    def rows(self) -> int:
        return len(self.vectors)

    @property
    def dimension(self) -> int:
        return int(self.vectors.shape[1])

    def record(self, number: int) -> Record:
        return Record(
            number,
            np.array(self.vectors[number]),
            f"{number}: {CONTENT}",
            int(self.buckets[number]),
            f"owner-{self.owners[number]}",
            _time(number),
        )

    def passing(self, condition: Condition) -> npt.NDArray[np.bool_]:
        """Return which rows pass."""
        values: npt.NDArray[Any] = {
            "bucket": self.buckets,
            "owner": self.owners,
            "event_time": EPOCH_US + np.arange(self.rows) * MINUTE_US,
        }[condition.field]
        return (condition.low <= values) & (values < condition.high)


def make(directory: Path, rows: int, dimension: int) -> None:
    """Write a data set."""
    rng = np.random.default_rng((SEED, rows, dimension))
    centres = _unit(rng.standard_normal((max(16, rows // CLUSTER_SIZE), dimension), np.float32))
    vectors = np.lib.format.open_memmap(directory / "vectors.npy", mode="w+", dtype=np.float32, shape=(rows, dimension))
    for start in range(0, rows, BLOCK):
        vectors[start : start + BLOCK] = _around(centres, min(BLOCK, rows - start), rng)
    vectors.flush()
    linked = min(rows, LINKED)
    made = Data(
        vectors,
        rng.integers(0, 100, rows),
        rng.integers(0, 10, rows),
        _around(centres, QUESTIONS, rng),
        {},
        np.column_stack((np.repeat(np.arange(linked), 5), rng.integers(0, linked, 5 * linked))),
    )
    answers = {"search": _nearest(made, None)}
    for name, condition in conditions(rows).items():
        answers[name] = _nearest(made, made.passing(condition))
    np.savez(
        directory / "rest.npz",
        buckets=made.buckets,
        owners=made.owners,
        questions=made.questions,
        edges=made.edges,
        **{f"answers_{name}": ids for name, ids in answers.items()},  # type: ignore[arg-type]
    )


def load(directory: Path) -> Data:
    """Read a data set; the vectors stay in the file."""
    with np.load(directory / "rest.npz") as rest:
        arrays = {name: rest[name] for name in rest.files}
    return Data(
        np.load(directory / "vectors.npy", mmap_mode="r"),
        arrays["buckets"],
        arrays["owners"],
        arrays["questions"],
        {name.removeprefix("answers_"): ids for name, ids in arrays.items() if name.startswith("answers_")},
        arrays["edges"],
    )


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths: npt.NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, dtype=np.float32)


def _around(centres: npt.NDArray[np.float32], count: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    noise = rng.standard_normal((count, centres.shape[1]), np.float32) / np.float32(np.sqrt(centres.shape[1]))
    return _unit(centres[rng.integers(0, len(centres), count)] + noise)


def _blocks(rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]


def _nearest(data: Data, passing: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.int64]:
    """Return the exact answers, (Q, K)."""
    chosen = np.arange(data.rows) if passing is None else np.nonzero(passing)[0]
    best_ids = np.full((len(data.questions), K), -1, np.int64)
    best = np.full((len(data.questions), K), -np.inf, np.float32)
    for rows in _blocks(chosen):
        scores = np.concatenate((best, data.questions @ data.vectors[rows].T), axis=1)
        ids = np.concatenate((best_ids, np.broadcast_to(rows, (len(scores), len(rows)))), axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        best, best_ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
    return best_ids
