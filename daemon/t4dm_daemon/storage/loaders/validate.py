"""Compare a space with the source that was loaded into it.

Every record of the source is looked up in the space; a random sample is compared field by field; and random
queries are asked on both sides. A query lies between two vectors of the source, so that it is like the data and
equal to none of it. When the source cannot search, its side is answered by an exact scan of its records.

overlap@k of a query is the share of the source's k best that the space finds among its own k best. A hit of the
space that is as similar as the source's k-th (to 1e-5, where similarities are comparable) counts as found: which
of equals comes first is nobody's promise.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.loaders.base import Found, Refusal, Source, Vector
from t4dm_daemon.storage.loaders.load import BATCH_SIZE, MAX_EXAMPLES, differences, vector_gap
from t4dm_daemon.storage.protocol import StorageBackend, View

SIMILARITY_TOLERANCE: Final = 1e-5
"""Stores compute cosines in float32: sums of a thousand products differ by some 1e-6."""
_EVERYTHING: Final = View(include_expired=True)


@dataclass(frozen=True, slots=True)
class Difference:
    """A sampled record that the space holds otherwise: the names of the fields."""

    id: str
    fields: list[str]


@dataclass(slots=True)
class ValidationReport:
    """How far a space is the source it was loaded from.

    Attributes:
        read: Records of the source.
        refused: Of these, what no space can hold.
        missing: Of the rest, how many the space does not hold.
        missing_ids: The first 1000 of them.
        sampled: Records compared field by field.
        differing: Those that were not equal; vectors count as equal up to `load.VECTOR_TOLERANCE`.
        vector_gap: The largest |sent - stored| / |stored| of a sampled vector; 0 when all are equal to the bit.
        queries: How many were asked.
        overlaps: overlap@k of each.
        similarity_gap: The largest difference of similarity between the sides, over hits found by both; None when
            the source's similarities are no cosines.
    """

    source: str
    k: int
    read: int = 0
    refused: int = 0
    missing: int = 0
    missing_ids: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    sampled: int = 0
    differing: list[Difference] = field(default_factory=list)
    vector_gap: float = 0.0
    queries: int = 0
    overlaps: list[float] = field(default_factory=list)
    similarity_gap: float | None = None

    @property
    def mean_overlap(self) -> float | None:
        """The mean of the overlaps; None without queries."""
        return sum(self.overlaps) / len(self.overlaps) if self.overlaps else None

    @property
    def worst_overlap(self) -> float | None:
        """The least of the overlaps; None without queries."""
        return min(self.overlaps, default=None)

    def holds(self, *, min_overlap: float = 0.95) -> bool:
        """Return whether nothing is missing or different, and the mean overlap is large enough."""
        overlap = self.mean_overlap
        return not self.missing and not self.differing and (overlap is None or overlap >= min_overlap)


def validate(
    source: Source,
    engine: StorageBackend,
    *,
    queries: int | npt.NDArray[np.float32] = 100,
    k: int = 10,
    samples: int = 100,
    seed: int = 0,
    exact: bool = False,
    compare_vectors: bool = True,
    batch_size: int = BATCH_SIZE,
) -> ValidationReport:
    """Compare a source with the space it was loaded into.

    Args:
        source: Read once from its beginning, and once more when it cannot search.
        engine: The space.
        queries: How many random queries, or the queries themselves, (Q, D).
        k: Hits compared per query.
        samples: Records compared field by field.
        seed: Of what is random.
        exact: Let the space scan instead of using its graph.
        compare_vectors: False for a space that embedded the texts anew; then ask no queries, either.
        batch_size: Records held in memory.

    Raises:
        SourceError: The source could not be read.
        InvalidInputError: `k` is not positive, or the queries are no (Q, D) array.
    """
    if k < 1:
        raise InvalidInputError("k is at least 1", k=k)
    report = ValidationReport(source.name, k)
    chance = random.Random(seed)
    wanted = 0 if isinstance(queries, np.ndarray) else 2 * queries
    kept = _read(source, engine, report, _Reservoirs(samples, wanted, chance), batch_size)
    for item in kept.items:
        _compare(item, engine, report, compare_vectors=compare_vectors)
    asked = queries if isinstance(queries, np.ndarray) else _between(kept.vectors, queries, seed)
    if asked.ndim != 2:
        raise InvalidInputError("queries are a (Q, D) array", shape=list(asked.shape))
    report.queries = len(asked)
    for query, theirs in zip(asked, _answers(source, asked, k, batch_size), strict=True):
        ours = [Found(hit.item.id, hit.similarity) for hit in engine.search(query, k, view=_EVERYTHING, exact=exact)]
        report.overlaps.append(_overlap(theirs, ours))
        _measure_gap(theirs, ours, report)
    return report


class _Reservoirs:
    """Uniform samples of records and of vectors, from a stream of unknown length (algorithm R).

    Of an id's records the last one counts, so it takes the place of an earlier one in the sample.
    """

    def __init__(self, items: int, vectors: int, chance: random.Random) -> None:
        self._sizes = (items, vectors)
        self._chance = chance
        self._seen = [0, 0]
        self._places: dict[str, int] = {}
        self.items: list[Item] = []
        self.vectors: list[Vector] = []

    def add(self, item: Item) -> None:
        at = self._places[item.id] if item.id in self._places else self._place(0)
        if at is not None:
            for replaced in self.items[at : at + 1]:
                del self._places[replaced.id]
            self.items[at : at + 1] = [item]
            self._places[item.id] = at
        if item.vector is not None:
            at = self._place(1)
            if at is not None:
                self.vectors[at : at + 1] = [item.vector]

    def _place(self, which: int) -> int | None:
        seen = self._seen[which]
        self._seen[which] += 1
        at = seen if seen < self._sizes[which] else self._chance.randrange(seen + 1)
        return at if at < self._sizes[which] else None


def _read(
    source: Source, engine: StorageBackend, report: ValidationReport, kept: _Reservoirs, batch_size: int
) -> _Reservoirs:
    for batch in source.batches(batch_size):
        report.read += len(batch.items) + len(batch.refused)
        report.refused += len(batch.refused)
        report.refusals += batch.refused[: MAX_EXAMPLES - len(report.refusals)]
        found = engine.get([one.id for one in batch.items], view=_EVERYTHING)
        for item, stored in zip(batch.items, found, strict=True):
            if stored is None:
                report.missing += 1
                if len(report.missing_ids) < MAX_EXAMPLES:
                    report.missing_ids.append(item.id)
            else:
                kept.add(item)
    return kept


def _compare(item: Item, engine: StorageBackend, report: ValidationReport, *, compare_vectors: bool) -> None:
    (stored,) = engine.get([item.id], view=_EVERYTHING, with_vectors=True)
    report.sampled += 1
    fields = ["deleted"] if stored is None else differences(item, stored, compare_vectors=compare_vectors)
    if compare_vectors and stored is not None and item.vector is not None and stored.vector is not None:
        report.vector_gap = max(report.vector_gap, vector_gap(item.vector, stored.vector))
    if fields:
        report.differing.append(Difference(item.id, fields))


def _between(vectors: list[Vector], queries: int, seed: int) -> npt.NDArray[np.float32]:
    """Return queries between pairs of vectors, each scaled to length 1 first."""
    if not vectors or not queries:
        return np.empty((0, 0), np.float32)
    matrix = np.stack(vectors).astype(np.float64)  # (N, D)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    numbers = np.random.default_rng(seed)
    first, second = numbers.integers(len(matrix), size=(2, queries))
    mixed = matrix[first] + numbers.uniform(0.2, 0.8, size=(queries, 1)) * matrix[second]  # (Q, D)
    lengths = np.linalg.norm(mixed, axis=1)
    mixed[lengths < 1e-6] = matrix[first][lengths < 1e-6]  # two opposite vectors
    queries_made: npt.NDArray[np.float32] = mixed.astype(np.float32)
    return queries_made


def _answers(source: Source, queries: npt.NDArray[np.float32], k: int, batch_size: int) -> list[list[Found]]:
    answers = []
    for query in queries:
        answer = source.search(query, k)
        if answer is None:
            return _scan(source, queries, k, batch_size)
        answers.append(answer)
    return answers


def _scan(source: Source, queries: npt.NDArray[np.float32], k: int, batch_size: int) -> list[list[Found]]:
    """Return the k best of the source for each query, by an exact scan; of an id's records the last one counts."""
    directions = queries.astype(np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    best: list[dict[str, float]] = [{} for _ in queries]
    for batch in source.batches(batch_size):
        items = [one for one in batch.items if one.vector is not None and len(one.vector) == directions.shape[1]]
        if not items:
            continue
        matrix = np.stack([one.vector for one in items if one.vector is not None]).astype(np.float64)  # (B, D)
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        for held, row in zip(best, directions @ matrix.T, strict=True):  # (Q, B)
            for item, similarity in zip(items, row.tolist(), strict=True):
                held[item.id] = similarity
            for item_id in sorted(held, key=lambda one: (-held[one], one))[k:]:
                del held[item_id]
    return [
        [Found(item_id, similarity) for item_id, similarity in sorted(held.items(), key=lambda one: (-one[1], one[0]))]
        for held in best
    ]


def _overlap(theirs: list[Found], ours: list[Found]) -> float:
    if not theirs:
        return 1.0 if not ours else 0.0
    known = {one.id for one in theirs}
    last = theirs[-1].similarity
    found = sum(
        one.id in known
        or (last is not None and one.similarity is not None and abs(one.similarity - last) <= SIMILARITY_TOLERANCE)
        for one in ours
    )
    return min(1.0, found / len(theirs))


def _measure_gap(theirs: list[Found], ours: list[Found], report: ValidationReport) -> None:
    similarities = {one.id: one.similarity for one in theirs}
    for one in ours:
        other = similarities.get(one.id)
        if other is not None and one.similarity is not None:
            report.similarity_gap = max(report.similarity_gap or 0.0, abs(one.similarity - other))
