"""Walks along links, across components, as of a moment on both time axes.

Breadth first. A link is followed when it is visible at the moment of the read and the item at its other end is
visible in the view; of several links that reach an item at the same depth the heaviest counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.core.ids import key_of
from t4dm_daemon.core.item import Edge
from t4dm_daemon.storage.protocol import Direction, Reached
from t4dm_daemon.storage.t4dx.query import Snapshot
from t4dm_daemon.storage.t4dx.schema import EDGE_CODES

MAX_DEPTH: Final = 64
IsVisible = Callable[[str], bool]
"""Whether the item of an id is visible in the view."""


def codes_of(types: Sequence[str] | None) -> npt.NDArray[np.uint8] | None:
    """Return the codes of edge types. Raises InvalidInputError for one that does not exist."""
    if types is None:
        return None
    for name in types:
        if name not in EDGE_CODES:
            raise InvalidInputError(f"unknown edge type {name!r}; known: {', '.join(EDGE_CODES)}", type=name)
    return np.array([EDGE_CODES[name] for name in types], np.uint8)


def links(
    snapshot: Snapshot, key: bytes, direction: Direction, codes: npt.NDArray[np.uint8] | None = None
) -> list[Edge]:
    """Return the visible links at an item, by ends and type."""
    found = []
    for component in snapshot.components:
        block = component.edges
        node = block.node(key) if block.rows else -1
        if node >= 0:
            found += [block.edge(int(row)) for row in block.visible_at(node, direction, snapshot.moment, codes)]
    return sorted(found, key=lambda one: (key_of(one.source), EDGE_CODES[one.type], key_of(one.target)))


def _steps(
    snapshot: Snapshot,
    frontier: Sequence[str],
    seen: set[str],
    direction: Direction,
    codes: npt.NDArray[np.uint8] | None,
    is_visible: IsVisible,
) -> Iterator[tuple[str, Edge]]:
    """Yield the items one hop from the frontier that were not seen, the heaviest link first, then by id."""
    found: dict[str, Edge] = {}
    for here in frontier:
        for edge in links(snapshot, key_of(here), direction, codes):
            there = edge.target if edge.source == here else edge.source
            if there in seen:
                continue
            before = found.get(there)
            if before is None or edge.weight > before.weight:
                found[there] = edge
    for there, edge in sorted(found.items(), key=lambda one: (-one[1].weight, one[0])):
        seen.add(there)
        if is_visible(there):
            yield there, edge


def _check(depth: int, direction: str) -> None:
    if type(depth) is not int or not 1 <= depth <= MAX_DEPTH:
        raise InvalidInputError(f"the depth lies in [1, {MAX_DEPTH}]", depth=depth)
    check_direction(direction)


def check_direction(direction: str) -> None:
    """Raise InvalidInputError for what is no direction."""
    if direction not in ("out", "in", "both"):
        raise InvalidInputError("the direction is out, in or both", direction=str(direction))


def traverse(
    snapshot: Snapshot,
    start: Sequence[str],
    *,
    types: Sequence[str] | None,
    direction: Direction,
    depth: int,
    limit: int,
    is_visible: IsVisible,
) -> list[Reached]:
    """See `StorageBackend.traverse`."""
    _check(depth, direction)
    if type(limit) is not int or limit < 1:
        raise InvalidInputError("the limit is at least 1", limit=limit)
    codes = codes_of(types)
    frontier = [one for one in dict.fromkeys(start) if is_visible(one)]
    seen = set(start)
    reached: list[Reached] = []
    for hops in range(1, depth + 1):
        found = []
        for there, edge in _steps(snapshot, frontier, seen, direction, codes, is_visible):
            reached.append(Reached(there, hops, edge))
            if len(reached) == limit:
                return reached
            found.append(there)
        if not found:
            break
        frontier = found
    return reached


def path(
    snapshot: Snapshot,
    source: str,
    target: str,
    *,
    types: Sequence[str] | None,
    direction: Direction,
    max_depth: int,
    is_visible: IsVisible,
) -> list[Edge] | None:
    """See `StorageBackend.path`."""
    _check(max_depth, direction)
    codes = codes_of(types)
    if not (is_visible(source) and is_visible(target)):
        return None
    if source == target:
        return []
    seen, frontier = {source}, [source]
    came_by: dict[str, Edge] = {}
    for _ in range(max_depth):
        found = []
        for there, edge in _steps(snapshot, frontier, seen, direction, codes, is_visible):
            came_by[there] = edge
            if there == target:
                return _trace(came_by, source, target)
            found.append(there)
        if not found:
            return None
        frontier = found
    return None


def _trace(came_by: dict[str, Edge], source: str, target: str) -> list[Edge]:
    steps: list[Edge] = []
    here = target
    while here != source:
        edge = came_by[here]
        steps.append(edge)
        here = edge.source if edge.target == here else edge.target
    return steps[::-1]
