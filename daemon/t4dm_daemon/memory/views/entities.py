"""Entities: who or what there is, what is known of it, and how it is related to others.

Knowledge changes. `supersede` ends what was true and begins what is true now, in one write; the new record is linked
to the old one, and takes over its relations, so that it stands where the old one stood.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk import view_models as v
from t4dm_daemon.core.clock import UNBOUNDED, to_micros
from t4dm_daemon.core.errors import ConflictError, InvalidInputError, NotFoundError, VectorRequiredError
from t4dm_daemon.core.ids import new_id
from t4dm_daemon.core.item import ENTITY_COLUMNS, Edge, Item
from t4dm_daemon.memory import records
from t4dm_daemon.memory.graph import GraphService
from t4dm_daemon.memory.ranking import Hit
from t4dm_daemon.memory.service import MemoryService
from t4dm_daemon.memory.spaces import SpaceHandle
from t4dm_daemon.memory.superseding import succession
from t4dm_daemon.memory.turns import MAX_ATTEMPTS, Turns
from t4dm_daemon.memory.views.shape import Shape, present, seen
from t4dm_daemon.memory.writing import Stored, TextEmbedder
from t4dm_daemon.storage.protocol import View, Write

ENTITY: Final = Shape("semantic", "entity", v.EntityFields)
OF_THE_RECORD: Final = frozenset(
    ("SUPERSEDES", "MERGED_FROM", "DERIVED_FROM", "CONSOLIDATED_INTO", "SIMILAR_TO", "TEMPORAL_BEFORE")
)
"""Links that say where a record came from and what it stands beside. All others say something of the entity."""


@dataclasses.dataclass(frozen=True, slots=True)
class Neighbour:
    """An entity at the other end of a link, after how many of them."""

    item: Item
    edge: Edge
    depth: int = 1


class EntityService:
    """Everything one can do with entities.

    Thread-safe: it holds no state of its own beside the turns of those who supersede.

    Args:
        service, graph: What carries the calls out.
        embedder: Embeds what supersedes.
        deadline_s: Longest wait for the embedder.
    """

    def __init__(
        self, service: MemoryService, graph: GraphService, embedder: TextEmbedder, *, deadline_s: float
    ) -> None:
        self._service = service
        self._graph = graph
        self._embedder = embedder
        self._deadline_s = deadline_s
        self._turns = Turns()

    # Writing ------------------------------------------------------------------------------------------

    def add(self, request: v.EntityIn, *, idempotency_key: str | None = None) -> Stored:
        """Store an entity; two may have the same name. Raises as `MemoryService.store`."""
        return self._service.store(_record(request, ENTITY.told(request)), idempotency_key=idempotency_key)

    def supersede(self, entity_id: str, request: v.SupersedeRequest, *, space: str = "default") -> Item:
        """End what was true of an entity, store what is true now, and return that: all in one write.

        Raises:
            NotFoundError: There is no such entity.
            ConflictError: It has ended before, or the new id exists.
            InvalidInputError: It only begins at that moment.
        """
        handle = self._service.spaces.open(space)
        fresh_id = new_id() if request.id is None else request.id
        vector = None if request.vector is None else records.to_vector(request.vector)
        embedded: tuple[str, Any] | None = None
        for lost in range(MAX_ATTEMPTS):
            with self._turns.attempt(lost):
                old, own = ENTITY.get(self._service, entity_id, space=space, view=View())
                moment = time.time_ns() // 1000 if request.valid_from is None else to_micros(request.valid_from)
                closing, edges = succession(handle.backend, entity_id, fresh_id, moment)
                item = _successor(old, own, request, fresh_id, moment)
                if vector is not None or item.content == old.content:
                    item = dataclasses.replace(item, vector=closing.item.vector if vector is None else vector)
                elif closing.item.vector is not None:
                    if embedded is None or embedded[0] != item.content:
                        embedded = item.content, self._embed(handle, item.content)
                    item = dataclasses.replace(item, vector=embedded[1])
                carried = self._carried(handle, entity_id, fresh_id) if request.carry_relations else []
                try:
                    result = handle.backend.insert(
                        [Write(item, expected_version=0), closing], edges, optional_edges=carried
                    )
                except ConflictError as error:
                    if error.details.get("id") != entity_id:
                        raise
                    continue  # the old one was changed meanwhile
            written = View(known_at=result.recorded_at, include_expired=True)
            return self._service.get(fresh_id, space=space, view=written)
        raise ConflictError(f"entity {entity_id!r} keeps changing; try again", id=entity_id)

    def _embed(self, handle: SpaceHandle, text: str) -> Any:
        if not handle.embeds:
            raise VectorRequiredError(
                f"the vectors of space {handle.name!r} come from its callers: a new summary needs a new vector",
                space=handle.name,
            )
        return self._embedder.embed([text], timeout_s=self._deadline_s)[0]

    def _carried(self, handle: SpaceHandle, old_id: str, fresh_id: str) -> list[Edge]:
        """Return the relations of the old record as relations of the new one."""
        carried = []
        for edge in handle.backend.edges(old_id, view=View(include_expired=True)):
            if edge.type in OF_THE_RECORD:
                continue
            source, target = (fresh_id if end == old_id else end for end in (edge.source, edge.target))
            carried.append(Edge(source, target, edge.type, edge.weight))
        return carried

    def delete(self, entity_id: str, *, space: str = "default") -> None:
        """Delete one entity. Raises NotFoundError."""
        self.get(entity_id, space=space)
        self._service.delete(entity_id, space=space)

    # Reading ------------------------------------------------------------------------------------------

    def get(
        self, entity_id: str, *, space: str = "default", as_of: datetime | None = None, known_at: datetime | None = None
    ) -> Item:
        """Return one entity, superseded or not. Raises NotFoundError, also for a memory that is none."""
        return ENTITY.get(self._service, entity_id, space=space, view=seen(as_of, known_at))[0]

    def search(self, request: v.EntitySearchRequest) -> list[Hit]:
        """Return the best entities, best first: by default those that are well consolidated and true now."""
        changes = {
            "kind": ENTITY.kind,
            "filter": ENTITY.where(_labels(request.name, request.entity_type), request.filter),
            "as_of": present(request.as_of, request.known_at, show_ended=request.show_superseded),
        }
        found = self._service.search(request.model_copy(update=changes))
        return [hit for hit in found if ENTITY.own(hit.item) is not None]

    def list(self, request: v.EntityListRequest) -> tuple[list[Item], int, str | None]:
        """Return one page, the total, and the cursor of the next page (None at the end)."""
        as_of = present(request.as_of, request.known_at, show_ended=request.show_superseded)
        labels = _labels(request.name, request.entity_type)
        items, total, cursor = self._service.list(ENTITY.listing(request, labels, as_of=as_of))
        return [item for item in items if ENTITY.own(item) is not None], total, cursor

    # Relations ----------------------------------------------------------------------------------------

    def relate(self, entity_id: str, request: v.RelationIn, *, space: str = "default") -> Edge:
        """Link one entity to another and return the link; one that exists takes the new weight.

        Raises:
            NotFoundError: There is no such entity.
            InvalidInputError: The target is no entity.
        """
        self.get(entity_id, space=space)
        try:
            self.get(request.target, space=space)
        except NotFoundError as error:
            raise InvalidInputError(
                f"there is no entity {request.target!r} in space {space!r} to be related to",
                field="target",
                ids=[request.target],
            ) from error
        named = g.EdgeIn(source=entity_id, target=request.target, type=request.type, weight=request.weight)
        self._graph.link(g.LinkRequest(edges=[named], space=space))
        for edge in self._graph.links(entity_id, direction="out", space=space):
            if (edge.target, edge.type) == (request.target, request.type):
                return edge
        raise ConflictError("the relation was taken back while it was made", source=entity_id, target=request.target)

    def relations(self, entity_id: str, request: v.RelationListRequest) -> Sequence[Neighbour]:
        """Return the links of an entity with the entities at their other ends, the heaviest first.

        Raises:
            NotFoundError: There is no such entity.
        """
        self.get(entity_id, space=request.space, known_at=request.known_at)
        edges = [
            edge
            for edge in self._graph.links(
                entity_id, direction=request.direction, space=request.space, known_at=request.known_at
            )
            if request.type in (None, edge.type)
        ]
        edges.sort(key=lambda edge: (-edge.weight, edge.source, edge.type, edge.target))
        others = [edge.source if edge.target == entity_id else edge.target for edge in edges]
        view = seen(_as_of(request), request.known_at)
        items = self._service.spaces.open(request.space).backend.get(others, view=view)
        found = [
            Neighbour(item, edge)
            for edge, item in zip(edges, items, strict=True)
            if item is not None and ENTITY.own(item) is not None
        ]
        return found[: request.limit]

    def related(self, entity_id: str, request: v.RelatedRequest) -> Sequence[Neighbour]:
        """Return the entities within reach, nearest first. Raises NotFoundError, also when it is not true then."""
        as_of = _as_of(request)
        self.get(entity_id, space=request.space, as_of=as_of, known_at=request.known_at)
        walk = g.TraverseRequest(
            start=entity_id,
            edge_types=None if request.type is None else [request.type],
            direction=request.direction,
            depth=request.depth,
            limit=g.MAX_NODES,  # some of them may be no entities
            as_of=as_of,
            known_at=request.known_at,
            include_memories=True,
            space=request.space,
        )
        found = [
            Neighbour(step.item, step.reached.edge, step.reached.depth)
            for step in self._graph.traverse(walk)
            if step.item is not None and ENTITY.own(step.item) is not None
        ]
        return found[: request.limit]

    @staticmethod
    def plain(item: Item, space: str, *, status: str | None = None) -> dict[str, Any]:
        """Return an entity's wire fields."""
        own = ENTITY.own(item)
        assert own is not None  # every reader has asked
        return ENTITY.plain(item, space, own.model_dump(mode="json"), status=status)


def _labels(name: str | None, entity_type: str | None) -> dict[str, str | None]:
    return {"name": name, "entity_type": entity_type}


def _content(own: v.EntityFields) -> str:
    return f"{own.name}: {own.summary}" if own.summary else own.name


def _record(request: v.EntityIn, own: v.EntityFields) -> m.StoreRequest:
    return ENTITY.record(
        request,
        own,
        _labels(own.name, own.entity_type),
        content=_content(own),
        importance=request.importance,
        kappa=request.kappa,
    )


def _successor(old: Item, own: v.EntityFields, request: v.SupersedeRequest, fresh_id: str, moment: int) -> Item:
    """Return the record that takes the old one's place, without a vector; the owner and all labels stay."""
    changes = {
        name: getattr(request, name)
        for name in v.EntityFields.model_fields
        if name in request.model_fields_set and (getattr(request, name) is not None or name in ("details", "source"))
    }
    told = ENTITY.told(own.model_copy(update=changes))
    metadata = ENTITY.plain(old, "", {})["metadata"] if request.metadata is None else request.metadata
    record = v.EntityIn(
        **told.model_dump(),
        **{name: getattr(old, name) for name in ENTITY_COLUMNS},
        id=fresh_id,
        metadata=metadata,
        namespace=list(old.namespace),
        categories=list(old.categories),
        importance=old.importance if request.importance is None else request.importance,
        kappa=old.kappa,
        pinned=old.pinned,
    )
    item = records.new_item(_record(record, told), item_id=fresh_id, now=moment, vector=None)
    return dataclasses.replace(item, expires_at=old.expires_at, created_at=UNBOUNDED)


def _as_of(request: v.RelationListRequest) -> datetime | None:
    return present(request.as_of, request.known_at, show_ended=request.show_superseded)
