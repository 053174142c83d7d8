"""Links between memories, walks along them, and where a memory came from.

Lineage is told by four types of link. Three point from the later memory to its origin: "a DERIVED_FROM b",
"p MERGED_FROM e", "new SUPERSEDES old". One points the other way: "e CONSOLIDATED_INTO p" goes from the origin to
what was made of it. To walk towards the origins is therefore to follow the first three along their direction and
the fourth against it; to walk forward is the reverse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from t4dm.sdk import graph_models as g
from t4dm_daemon.core.clock import UNBOUNDED, to_micros
from t4dm_daemon.core.errors import InvalidInputError, NotFoundError
from t4dm_daemon.core.item import Edge, Item
from t4dm_daemon.memory import records
from t4dm_daemon.memory.spaces import SpaceHandle, Spaces
from t4dm_daemon.storage.protocol import Direction, EdgeChange, Reached, StorageBackend, View

TO_ORIGIN: Final = ("DERIVED_FROM", "MERGED_FROM", "SUPERSEDES")
FROM_ORIGIN: Final = ("CONSOLIDATED_INTO",)


@dataclass(frozen=True, slots=True)
class Step:
    """A memory that a walk came to; `item` only when it was asked for."""

    reached: Reached
    item: Item | None = None


class GraphService:
    """Everything one can do with links. Thread-safe: it holds no state of its own."""

    def __init__(self, spaces: Spaces) -> None:
        self._spaces = spaces

    # Links --------------------------------------------------------------------------------------------

    def link(self, request: g.LinkRequest) -> int:
        """Link memories, all or none, and return how many links were named.

        Raises:
            InvalidInputError: An end does not exist; `details` names all that do not.
        """
        handle = self._spaces.open(request.space)
        edges = [
            Edge(
                one.source,
                one.target,
                one.type,
                one.weight,
                UNBOUNDED if one.created_at is None else to_micros(one.created_at),
            )
            for one in request.edges
        ]
        try:
            handle.backend.insert([], edges)
        except InvalidInputError as error:
            missing = _missing(handle, _ends(edges), View(include_expired=True)) if "id" in error.details else []
            if not missing:
                raise
            raise InvalidInputError(
                f"there is no memory {_quoted(missing)} in space {handle.name!r}: links lead from memory to memory",
                ids=missing,
                space=handle.name,
            ) from None
        return len(edges)

    def reweigh(self, request: g.ReweighRequest) -> list[float | None]:
        """Change weights in place and return the new ones; None where there is no such link."""
        changes = [
            EdgeChange(one.source, one.target, one.type, add=one.add or 0.0, set=one.set) for one in request.changes
        ]
        return self._spaces.open(request.space).backend.update_edges(changes)

    def unlink(self, request: g.UnlinkRequest) -> int:
        """End links and return how many of them there were."""
        names = [(one.source, one.target, one.type) for one in request.edges]
        return sum(self._spaces.open(request.space).backend.remove_edges(names))

    def scale(self, request: g.ScaleRequest) -> int:
        """Change the weight of every link chosen in one write; return how many were chosen."""
        return self._spaces.open(request.space).backend.scale_edges(
            multiply=request.multiply,
            add=request.add,
            low=request.low,
            high=request.high,
            types=request.types,
            sources=request.sources,
        )

    def links(
        self,
        memory_id: str,
        *,
        direction: Direction = "both",
        space: str = "default",
        known_at: datetime | None = None,
    ) -> list[Edge]:
        """Return the links at one memory, by ends and type. Raises NotFoundError."""
        handle = self._spaces.open(space)
        view = View(known_at=_micros(known_at), include_expired=True)
        _require(handle, [memory_id], view)
        return handle.backend.edges(memory_id, direction=direction, view=view)

    # Walks --------------------------------------------------------------------------------------------

    def traverse(self, request: g.TraverseRequest) -> list[Step]:
        """Return the memories within reach, nearest first. Raises NotFoundError for a start that is not visible."""
        handle = self._spaces.open(request.space)
        view = View(_micros(request.as_of), _micros(request.known_at))
        start = [request.start] if isinstance(request.start, str) else request.start
        _require(handle, start, view)
        reached = handle.backend.traverse(
            start,
            types=request.edge_types,
            direction=request.direction,
            depth=request.depth,
            limit=request.limit,
            view=view,
        )
        return _steps(handle.backend, reached, view, with_memories=request.include_memories)

    def path(self, request: g.PathRequest) -> list[Edge] | None:
        """Return a shortest path, None when there is none. Raises NotFoundError for its ends."""
        handle = self._spaces.open(request.space)
        _require(handle, [request.source, request.target], View())
        return handle.backend.path(
            request.source,
            request.target,
            types=request.edge_types,
            direction=request.direction,
            max_depth=request.max_depth,
        )

    def provenance(
        self,
        memory_id: str,
        *,
        direction: g.Lineage = "backward",
        depth: int = 6,
        limit: int = 100,
        known_at: datetime | None = None,
        include_memories: bool = False,
        space: str = "default",
    ) -> list[Step]:
        """Return what a memory was made from, or what was made of it, nearest first. Raises NotFoundError."""
        handle = self._spaces.open(space)
        view = View(known_at=_micros(known_at))
        _require(handle, [memory_id], view)
        reached = _lineage(handle.backend, memory_id, direction, depth, limit, view)
        return _steps(handle.backend, reached, view, with_memories=include_memories)


def plain_edge(edge: Edge) -> dict[str, Any]:
    """Return a link's wire fields."""
    return {
        "source": edge.source,
        "target": edge.target,
        "type": edge.type,
        "weight": edge.weight,
        "created_at": records.time_text(edge.created_at),
    }


def edge_model(edge: Edge) -> g.Edge:
    """Return the wire model of a link."""
    return g.Edge.model_validate(plain_edge(edge))


def _lineage(
    backend: StorageBackend, start: str, lineage: g.Lineage, depth: int, limit: int, view: View
) -> list[Reached]:
    """Walk breadth first, each type of link in its own direction; the heaviest link to a memory counts."""
    along: Direction = "out" if lineage == "backward" else "in"
    against: Direction = "in" if lineage == "backward" else "out"
    seen, frontier = {start}, [start]
    walked: list[Reached] = []
    for hops in range(1, depth + 1):
        found: dict[str, Edge] = {}
        room = limit - len(walked)
        for types, direction in ((TO_ORIGIN, along), (FROM_ORIGIN, against)):
            for one in backend.traverse(
                frontier, types=types, direction=direction, limit=room + len(seen), view=view
            ):  # at most len(seen) of them are known already
                before = found.get(one.id)
                if one.id not in seen and (before is None or one.edge.weight > before.weight):
                    found[one.id] = one.edge
        nearest = sorted(found.items(), key=lambda one: (-one[1].weight, one[0]))[:room]
        walked += [Reached(item_id, hops, edge) for item_id, edge in nearest]
        if not nearest or len(walked) == limit:
            break
        frontier = [item_id for item_id, _ in nearest]
        seen.update(frontier)
    return walked


def _steps(backend: StorageBackend, reached: Sequence[Reached], view: View, *, with_memories: bool) -> list[Step]:
    """Return the walk; with memories, without one that was deleted since it was reached."""
    if not with_memories:
        return [Step(one) for one in reached]
    items = backend.get([one.id for one in reached], view=view)
    return [Step(one, item) for one, item in zip(reached, items, strict=True) if item is not None]


def _require(handle: SpaceHandle, ids: Sequence[str], view: View) -> None:
    missing = _missing(handle, ids, view)
    if missing:
        raise NotFoundError(
            f"there is no memory {_quoted(missing)} in space {handle.name!r}", ids=missing, space=handle.name
        )


def _missing(handle: SpaceHandle, ids: Sequence[str], view: View) -> list[str]:
    return [one for one, item in zip(ids, handle.backend.get(ids, view=view), strict=True) if item is None]


def _ends(edges: Iterable[Edge]) -> list[str]:
    return list(dict.fromkeys(end for edge in edges for end in (edge.source, edge.target)))


def _quoted(ids: Sequence[str]) -> str:
    return repr(ids[0]) if len(ids) == 1 else f"{ids[0]!r} (and {len(ids) - 1} more)"


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)
