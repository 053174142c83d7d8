"""The links of one space: an upsert map with both directions.

All fields are guarded by the engine's apply lock; readers take copies under it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from t4dm_daemon.core.ids import key_of
from t4dm_daemon.core.item import EDGE_TYPES, Edge

_Name = tuple[bytes, int, bytes]


class EdgeTable:
    """Edges by (source, type, target)."""

    def __init__(self) -> None:
        self._edges: dict[_Name, Edge] = {}
        self._at: dict[bytes, set[_Name]] = {}
        self.is_dirty = False

    def __len__(self) -> int:
        return len(self._edges)

    def put(self, edge: Edge) -> None:
        """Add an edge; one of the same ends and type is replaced and keeps its creation time."""
        source, target = key_of(edge.source), key_of(edge.target)
        name = (source, EDGE_TYPES.index(edge.type), target)
        before = self._edges.get(name)
        if before is not None:
            edge = Edge(edge.source, edge.target, edge.type, edge.weight, before.created_at)
        self._edges[name] = edge
        self._at.setdefault(source, set()).add(name)
        self._at.setdefault(target, set()).add(name)
        self.is_dirty = True

    def remove_at(self, key: bytes) -> None:
        """Remove every edge at an item."""
        for name in self._at.pop(key, ()):
            del self._edges[name]
            other = name[2] if name[0] == key else name[0]
            if other != key:
                self._at[other].discard(name)
            self.is_dirty = True

    def at(self, key: bytes, direction: Literal["out", "in", "both"]) -> list[Edge]:
        """Return the edges at an item, ordered by ends and type."""
        names = sorted(self._at.get(key, ()))
        return [
            self._edges[name]
            for name in names
            if direction == "both" or (name[0] if direction == "out" else name[2]) == key
        ]

    def dump(self) -> list[tuple[Any, ...]]:
        return [(one.source, one.target, EDGE_TYPES.index(one.type), one.weight, one.created_at) for one in self]

    def load(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for source, target, code, weight, created_at in rows:
            self.put(Edge(source, target, EDGE_TYPES[code], weight, created_at))
        self.is_dirty = False

    def __iter__(self) -> Iterator[Edge]:
        return iter(self._edges.values())
