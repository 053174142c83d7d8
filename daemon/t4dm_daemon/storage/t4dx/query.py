"""Reads over components: search and scan.

Filters are evaluated first. Then, per component with m of n rows left: an exact scan of those rows when they
are few (m <= 2000, or m < 20 % of n), when there is no graph, or when it would take longer; else the graph is asked for
more rows than wanted, in proportion to n / m, and those that do not pass are dropped. Enough that pass among the
nearest of all rows are the nearest of those that pass; too few, as when a filter leaves out the surroundings of the
query, lead to the exact scan after all. Every candidate is scored again in double precision, so that order does not
depend on where a row lives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.filter import Filter
from t4dm_daemon.storage.protocol import Nearby, Order, Page, Scored, View
from t4dm_daemon.storage.t4dx.ann import AnnIndex
from t4dm_daemon.storage.t4dx.calibration import DEPTH
from t4dm_daemon.storage.t4dx.component import Component, Mask
from t4dm_daemon.storage.t4dx.predicate import mask_of
from t4dm_daemon.storage.t4dx.schema import unpack_blob

EXACT_ROWS: Final = 2000
EXACT_SHARE: Final = 0.2
GATHER_SHARE: Final = 0.5
"""Below this share of rows, gathering them costs less than scoring all."""
OVERSAMPLING: Final = 4
"""Candidates per row wanted, for the graph's rounded codes; they are scored again."""
FILTER_OVERSAMPLING: Final = 3
MAX_FILTER_DEPTH: Final = 500
"""A filter for which more candidates than this are needed is not worth a walk through the graph."""
MIN_EF: Final = 64
ROWS_PER_EFFORT: Final = 16
"""Rows that are scanned in the time that a graph takes for one unit of `ef_search`. Measured on one core at 384
dimensions, 30,000 rows: 2.0 to 3.1 µs a unit (faiss, hnswlib), 0.15 to 0.19 µs a row. At 64 dimensions, 0.9 µs and
0.01 µs: a graph pays later. Rows that pass a filter are gathered, which takes about twice as long a row (0.45 beside
0.23 µs, on a slower day): scanning the half of them costs about as much as all."""
GATHERED_ROWS: Final = 512
BLOCKS: Final = 16
SHORTLIST: Final = 8
TIE: Final = 2e-6
"""Twice the rounding error of a float32 cosine: rows this close to the k-th are scored again."""
DECIMALS: Final = 9
NEAR_ROWS: Final = 16_384
"""Rows compared with all vectors at once: bounds what `near` holds in memory."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one read sees: components, oldest first, as of a transaction time."""

    components: Sequence[Component]
    moment: int
    now: int
    view: View

    def masks(self, where: Filter | None) -> list[tuple[Component, int, Mask | None]]:
        """Return per component its row count and the rows to consider; None stands for all of them."""
        found: list[tuple[Component, int, Mask | None]] = []
        for component in self.components:
            rows = component.rows
            if not rows:
                continue
            mask = component.visible(self.view, self.moment, self.now, rows)
            if where is not None and (mask is None or mask.any()):
                passing = mask_of(where, component, rows)
                mask = passing if mask is None else mask & passing
            if mask is None or mask.any():
                found.append((component, rows, mask))
        return found


def search(
    snapshot: Snapshot,
    vector: npt.NDArray[np.float32],
    k: int,
    *,
    where: Filter | None,
    offset: int,
    min_similarity: float,
    exact: bool,
    with_vectors: bool,
) -> list[Scored]:
    """Return hits `offset` to `offset + k`, best first, ties by id."""
    wanted = k + offset
    found: list[tuple[float, int, Component]] = []
    for component, rows, mask in snapshot.masks(where):
        candidates = nearest(component, rows, mask, vector, wanted, exact=exact)
        found += [
            (similarity, row, component)
            for similarity, row in zip(
                similarities(component, candidates, vector).tolist(), candidates.tolist(), strict=True
            )
            if similarity >= min_similarity
        ]
    best = _best(found, wanted)[offset:]
    return [
        Scored(component.item(row, with_vector=with_vectors), max(-1.0, min(1.0, similarity)))
        for similarity, row, component in best
    ]


def _best(found: list[tuple[float, int, Component]], wanted: int) -> list[tuple[float, int, Component]]:
    """Order by similarity, ties by id; ids are read only where similarities are equal."""
    found.sort(key=lambda hit: -hit[0])
    if len(found) > wanted:
        least = found[wanted - 1][0]
        while len(found) > wanted and found[-1][0] < least:
            found.pop()
    similarities = [hit[0] for hit in found]
    if len(set(similarities)) < len(similarities):
        found.sort(key=lambda hit: (-hit[0], unpack_blob(hit[2].blob(hit[1]))[0]))
    return found[:wanted]


def similarities(
    component: Component, rows: npt.NDArray[np.int64], vector: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Return the cosines of rows with a vector, in double precision, rounded: wherever a row lies, it has the same."""
    vectors = component.vectors()
    if vectors is None or not len(rows):
        return np.empty(0)
    gathered = vectors[rows].astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", gathered, gathered))
    cosines: npt.NDArray[np.float64] = np.round(np.einsum("ij,j->i", gathered, _unit(vector)) / norms, DECIMALS)
    return cosines


def _unit(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    wide = vector.astype(np.float64)
    return wide / math.sqrt(wide.dot(wide))


def nearest(
    component: Component,
    rows: int,
    mask: Mask | None,
    vector: npt.NDArray[np.float32],
    wanted: int,
    *,
    exact: bool = False,
) -> npt.NDArray[np.int64]:
    """Return the rows that may be among the `wanted` nearest, with those that tie with the last."""
    vectors = component.vectors()
    if vectors is None:
        return np.empty(0, np.int64)
    query = _unit(vector).astype(np.float32)
    inverse = component.number("inv_norm", rows)
    if component.index is not None and not exact:
        near = _by_graph(
            component.index, component.effort, rows, _with_vectors(component, mask, inverse), query, wanted
        )
        if near is not None:
            return near
    if mask is not None and np.count_nonzero(mask) < GATHER_SHARE * rows:
        (chosen,) = np.nonzero(mask & (inverse > 0))
        scores = _products(vectors, chosen, query) * inverse[chosen]
        return chosen[_near_top(scores, wanted)]
    scores = vectors[:rows] @ query
    scores *= inverse
    if mask is not None:
        scores[~mask] = -np.inf
    if component.has_bare_rows:
        scores[inverse == 0] = -np.inf
    return _near_top(scores, wanted)


def _products(
    vectors: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], query: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the dot products of some rows with the query.

    Gathered in parts that stay in the processor's cache: all at once, they would go to memory and come back (measured:
    40,000 rows of 384 dimensions 41 ms at once, 18 ms in parts).
    """
    products = np.empty(len(rows), np.float32)
    part = np.empty((min(GATHERED_ROWS, len(rows)), vectors.shape[1]), np.float32)
    for first in range(0, len(rows), GATHERED_ROWS):
        some = rows[first : first + GATHERED_ROWS]
        gathered = part[: len(some)]
        np.take(vectors, some, axis=0, out=gathered, mode="clip")  # "raise" would gather into a copy
        np.dot(gathered, query, out=products[first : first + len(some)])
    return products


def _with_vectors(component: Component, mask: Mask | None, inverse: npt.NDArray[np.float32]) -> Mask | None:
    if not component.has_bare_rows:
        return mask
    return inverse > 0 if mask is None else mask & (inverse > 0)


def _by_graph(
    index: AnnIndex, least_effort: int, rows: int, mask: Mask | None, query: npt.NDArray[np.float32], wanted: int
) -> npt.NDArray[np.int64] | None:
    """Return the rows near the query that pass the mask, None when an exact scan costs less or is needed.

    The graph itself gets no mask: it would be walked through the rows that pass, and those near the query may not
    be reached through them (measured: recall@10 .03 to .2 where the surroundings of the query are left out).
    """
    count = rows if mask is None else int(np.count_nonzero(mask))
    if count <= EXACT_ROWS or count < EXACT_SHARE * rows:
        return None
    wanted = min(wanted, count)
    depth, deeper = OVERSAMPLING * wanted + 16, math.ceil(FILTER_OVERSAMPLING * wanted * rows / count)
    if deeper > max(depth, MAX_FILTER_DEPTH):
        return None
    depth = min(rows, max(depth, deeper))
    effort = max(MIN_EF, 2 * depth, least_effort * depth // DEPTH)
    if effort * ROWS_PER_EFFORT > rows:
        return None
    near, _ = index.search(query, depth, ef=effort)
    if mask is not None:
        near = near[mask[near]]
    return near if len(near) >= wanted else None


def _near_top(scores: npt.NDArray[np.float32], wanted: int) -> npt.NDArray[np.int64]:
    """Return the rows whose score may be among the `wanted` best."""
    if wanted >= len(scores):
        near = np.arange(len(scores))
    else:
        (near,) = np.nonzero(scores >= _lower_bound(scores, wanted) - TIE)
        if len(near) > SHORTLIST * wanted:
            kept = scores[near]
            least = np.partition(kept, len(kept) - wanted)[len(kept) - wanted]
            near = near[kept >= least - TIE]
    return near[scores[near] > -np.inf]


def _lower_bound(scores: npt.NDArray[np.float32], wanted: int) -> float:
    """Return a number that at least `wanted` scores reach, and not many more.

    The `wanted`-th largest of the maxima of blocks: each of those blocks has one score that large. It costs one
    pass, a seventh of what partitioning all scores does at 10 000 rows.
    """
    size = len(scores) // (BLOCKS * wanted)
    if size < 2:
        return float(np.partition(scores, len(scores) - wanted)[len(scores) - wanted])
    blocks = len(scores) // size
    maxima = scores[: blocks * size].reshape(blocks, size).max(axis=1)
    return float(np.partition(maxima, blocks - wanted)[blocks - wanted])


def near(
    snapshot: Snapshot, vectors: npt.NDArray[np.float32], *, least: float, limit: int, where: Filter | None
) -> list[Nearby]:
    """Return what is near each of several vectors."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found: list[list[tuple[float, int, Component]]] = [[] for _ in vectors]
    best = np.full(len(vectors), -1.0)
    for component, rows, mask in snapshot.masks(where):
        stored = component.vectors()
        if stored is None:
            continue
        if component.index is not None:
            for at, unit in enumerate(units):
                chosen = nearest(component, rows, mask, unit, limit)
                cosines = similarities(component, chosen, unit)
                best[at] = max(best[at], cosines.max(initial=-1.0))
                found[at] += [
                    (cosine, row, component)
                    for cosine, row in zip(cosines.tolist(), chosen.tolist(), strict=True)
                    if cosine >= least
                ]
            continue
        inverse = component.number("inv_norm", rows)
        for first in range(0, rows, NEAR_ROWS):
            part = slice(first, min(first + NEAR_ROWS, rows))
            scores = stored[part] @ units.T
            scores *= inverse[part, None]
            scores[inverse[part] == 0] = -1.0
            if mask is not None:
                scores[~mask[part]] = -1.0
            best = np.maximum(best, scores.max(axis=0))
            for row, at in zip(*(one.tolist() for one in np.nonzero(scores >= least)), strict=True):
                found[at].append((float(scores[row, at]), first + row, component))
    return [
        Nearby(
            float(nearest_one),
            tuple((unpack_blob(component.blob(row))[0], cosine) for cosine, row, component in _best(hits, limit)),
        )
        for nearest_one, hits in zip(best, found, strict=True)
    ]


def scan(
    snapshot: Snapshot,
    *,
    where: Filter | None,
    order: Order,
    descending: bool,
    limit: int,
    offset: int,
    after: tuple[int, int] | None,
    with_vectors: bool,
) -> Page:
    """Return one page of the rows that pass, in order of (sort value, seq)."""
    name = "seq" if order == "insertion" else order
    parts: list[tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], int]] = []
    components: list[Component] = []
    total = 0
    for component, rows, mask in snapshot.masks(where):
        chosen = np.arange(rows) if mask is None else np.nonzero(mask)[0]
        total += len(chosen)
        values, seqs = component.numbers[name][chosen], component.numbers["seq"][chosen]
        if after is not None:
            value, seq = after
            later = (values < value) | ((values == value) & (seqs < seq)) if descending else (
                (values > value) | ((values == value) & (seqs > seq))
            )  # fmt: skip
            chosen, values, seqs = chosen[later], values[later], seqs[later]
        parts.append((values, seqs, chosen, len(components)))
        components.append(component)
    if not parts:
        return Page([], total, None)
    values = np.concatenate([part[0] for part in parts])
    seqs = np.concatenate([part[1] for part in parts])
    chosen = np.concatenate([part[2] for part in parts])
    owners = np.concatenate([np.full(len(part[2]), part[3]) for part in parts])
    ordered = np.lexsort((seqs, values))
    if descending:
        ordered = ordered[::-1]
    page = ordered[offset : offset + limit]
    items = [components[owners[at]].item(int(chosen[at]), with_vector=with_vectors) for at in page]
    is_last = offset + limit >= len(ordered)
    last = page[-1] if len(page) else None
    return Page(items, total, None if is_last or last is None else (int(values[last]), int(seqs[last])))
