"""What the nine tools do, over a backend. Written for a thread: it waits for every answer.

Each call is one write, all or nothing, as in the reference server. Two differences are meant: the same name, relation
or observation twice in one call is stored once; and servers may share a graph, because nothing is read, changed and
written back as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from t4dm._backend import MemoryBackend
from t4dm._privacy import without_private
from t4dm._request_parts import ids_in_requests, records_in_requests
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import ConflictError, NotFoundError, ValidationError
from t4dm_integrations.mcp.knowledge_graph import models as k
from t4dm_integrations.mcp.knowledge_graph.records import KEY, Shape
from t4dm_integrations.mcp.scope import Scope

T = TypeVar("T")

_PAGE: Final = 1000
_ATTEMPTS: Final = 5
_NAMES: Final = 5000
"""Of a filter's list; the daemon takes 10,000 values."""


class KnowledgeGraph:
    """One graph: the one of a scope."""

    def __init__(self, backend: MemoryBackend, scope: Scope) -> None:
        self._backend = backend
        self._scope = scope
        self._shape = Shape(scope)

    # Reading ------------------------------------------------------------------------------------------

    def read(self) -> k.Graph:
        """Return all of it, in the order in which it was told."""
        return self._assembled(self._memories(self._shape.where()))

    def search(self, query: str) -> k.Graph:
        """Return the entities in which a text occurs, and all their relations."""
        wanted = query.lower()

        def is_meant(entity: k.Entity) -> bool:
            texts = (entity.name, entity.entity_type, *entity.observations)
            return any(wanted in text.lower() for text in texts)

        return _part(self.read(), is_meant)

    def open(self, names: Sequence[str]) -> k.Graph:
        """Return the entities of these names, and all their relations."""
        wanted = {without_private(name) for name in names}
        found: list[m.Memory] = []
        for part in _parts(sorted(wanted)):
            found += self._memories(self._shape.where(self._about(part)))
        # A relation between entities of two parts was found twice.
        graph = self._assembled({memory.id: memory for memory in found}.values())
        return _part(graph, lambda entity: entity.name in wanted)

    # Writing ------------------------------------------------------------------------------------------

    def create_entities(self, entities: Sequence[k.Entity]) -> list[k.Entity]:
        """Add those whose names are new, and return them."""
        given: dict[str, k.Entity] = {}
        for entity in map(_public_entity, entities):
            given.setdefault(entity.name, entity)

        def create() -> list[k.Entity]:
            known = self._existing([self._shape.entity_id(name) for name in given])
            new = [entity for name, entity in given.items() if self._shape.entity_id(name) not in known]
            self._store(
                record
                for entity in new
                for record in (
                    self._shape.entity(entity),
                    *(self._shape.observation(entity.name, text) for text in entity.observations),
                )
            )
            return new

        new = _repeated(create)
        edges = [self._shape.part_of(entity.name, text) for entity in new for text in entity.observations]
        names = [entity.name for entity in new]
        self._link([*edges, *self._edges(self._relations_of(names))])
        return new

    def create_relations(self, relations: Sequence[k.Relation]) -> list[k.Relation]:
        """Add those that are new, and return them."""
        given = {self._shape.relation_id(one): one for one in map(_public_relation, relations)}

        def create() -> list[k.Relation]:
            known = self._existing(list(given))
            new = [relation for one, relation in given.items() if one not in known]
            self._store(self._shape.relation(one) for one in new)
            return new

        new = _repeated(create)
        self._link(self._edges(new))
        return new

    def add_observations(self, additions: Sequence[k.Addition]) -> list[k.Added]:
        """Add what was not known, and return that for each of the additions.

        Raises:
            NotFoundError: One of the entities does not exist; nothing was added.
        """
        given = [(without_private(one.entity_name), _public_texts(one.contents)) for one in additions]
        names = list(dict.fromkeys(name for name, _ in given))
        ids = {self._shape.observation_id(name, text): (name, text) for name, texts in given for text in texts}

        def add() -> list[k.Added]:
            there = self._existing([self._shape.entity_id(name) for name in names])
            for name in names:
                if self._shape.entity_id(name) not in there:
                    raise NotFoundError(
                        f"there is no entity named {name!r}, so nothing was added; make it with create_entities",
                        code="entity_not_found",
                        details={"name": name},
                    )
            known = self._existing(list(ids))
            self._store(self._shape.observation(*told) for one, told in ids.items() if one not in known)
            answer = []
            for name, texts in given:
                new = [text for text in texts if self._shape.observation_id(name, text) not in known]
                known |= {self._shape.observation_id(name, text) for text in new}
                answer.append(k.Added(entity_name=name, added_observations=new))
            return answer

        answer = _repeated(add)
        self._link([self._shape.part_of(one.entity_name, text) for one in answer for text in one.added_observations])
        return answer

    def delete_entities(self, names: Sequence[str]) -> None:
        """Delete entities, their observations and their relations."""
        for part in _parts([without_private(name) for name in names]):
            meant = self._shape.where(self._about(part))
            self._delete(m.DeleteRequest(filter=meant, space=self._scope.space, **self._scope.owner_fields))

    def delete_observations(self, deletions: Sequence[k.Deletion]) -> None:
        """Delete single observations."""
        self._delete_ids(
            [
                self._shape.observation_id(without_private(one.entity_name), text)
                for one in deletions
                for text in _public_texts(one.observations)
            ]
        )

    def delete_relations(self, relations: Sequence[k.Relation]) -> None:
        """Delete relations, and links that no other relation stands for."""
        given = [_public_relation(one) for one in relations]
        self._delete_ids([self._shape.relation_id(one) for one in given])
        left = {_end(self._shape.edge(one)) for one in self._relations_of([one.source for one in given])}
        edges = {_end(edge): edge for edge in map(self._shape.edge, given)}
        gone = [
            g.EdgeName(source=e.source, target=e.target, type=e.type) for end, e in edges.items() if end not in left
        ]
        for at in range(0, len(gone), m.MAX_BATCH):
            with _unless_missing_space():
                self._backend.unlink(g.UnlinkRequest(edges=gone[at : at + m.MAX_BATCH], space=self._scope.space))

    # Parts --------------------------------------------------------------------------------------------

    def _assembled(self, memories: Iterable[m.Memory]) -> k.Graph:
        entities: dict[str, k.Entity] = {}
        relations: list[k.Relation] = []
        observations: list[tuple[str, str]] = []
        for told in map(self._shape.read, memories):
            if isinstance(told, k.Entity):
                entities[told.name] = told
            elif isinstance(told, k.Relation):
                relations.append(told)
            elif told is not None:
                observations.append((told.entity, told.text))
        for name, text in observations:
            if name in entities:
                entities[name].observations.append(text)
        return k.Graph(entities=list(entities.values()), relations=relations)

    def _about(self, names: Sequence[str]) -> m.Filter:
        """Return the filter of what is told of entities: themselves, their observations, their relations."""
        places = ("name", "entity", "from", "to")
        return m.Filter(or_=[m.Filter(field=f"{KEY}.{place}", op="in", value=list(names)) for place in places])

    def _relations_of(self, names: Sequence[str]) -> list[k.Relation]:
        found: dict[str, k.Relation] = {}
        for part in _parts(list(dict.fromkeys(names))):
            ends = [m.Filter(field=f"{KEY}.{place}", op="in", value=list(part)) for place in ("from", "to")]
            for memory in self._memories(self._shape.where(m.Filter(or_=ends), types=("relation",))):
                if isinstance(told := self._shape.read(memory), k.Relation):
                    found[memory.id] = told
        return list(found.values())

    def _edges(self, relations: Sequence[k.Relation]) -> list[g.EdgeIn]:
        """Return the links of those relations whose ends both exist."""
        edges = {_end(edge): edge for edge in map(self._shape.edge, relations)}
        there = self._existing(
            list(dict.fromkeys(end for edge in edges.values() for end in (edge.source, edge.target)))
        )
        return [edge for edge in edges.values() if {edge.source, edge.target} <= there]

    def _memories(self, where: m.Filter) -> list[m.Memory]:
        found: list[m.Memory] = []
        cursor: str | None = None
        while True:
            request = m.ListRequest(
                filter=where,
                order_by="insertion",
                limit=_PAGE,
                cursor=cursor,
                space=self._scope.space,
                **self._scope.owner_fields,
            )
            try:
                page = self._backend.list(request)
            except NotFoundError as error:
                if not error.is_missing_space:
                    raise
                return []
            found += page.results
            cursor = page.cursor
            if cursor is None:
                return found

    def _existing(self, ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for part in ids_in_requests(list(ids), name="ids"):
            with _unless_missing_space():
                there = self._backend.get_many(m.GetRequest(ids=part, space=self._scope.space))
                found |= {one.id for one in self._scope.of_tools.visible(there)}
        return found

    def _store(self, new: Iterator[m.RecordIn]) -> None:
        with as_validation_error():
            given = list(new)
        for part in records_in_requests(given):
            self._backend.batch(m.BatchRequest(records=part, on_conflict="error", space=self._scope.space))

    def _link(self, edges: Sequence[g.EdgeIn]) -> None:
        for at in range(0, len(edges), m.MAX_BATCH):
            self._backend.link(g.LinkRequest(edges=list(edges[at : at + m.MAX_BATCH]), space=self._scope.space))

    def _delete_ids(self, ids: Sequence[str]) -> None:
        for part in ids_in_requests(list(dict.fromkeys(ids)), name="ids"):
            self._delete(m.DeleteRequest(ids=part, space=self._scope.space))

    def _delete(self, request: m.DeleteRequest) -> None:
        with _unless_missing_space():
            self._backend.delete_many(request)


class _unless_missing_space:  # noqa: N801 - it is used as a statement
    """Leave out what cannot be found where nothing was ever written."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        return isinstance(error, NotFoundError) and error.is_missing_space


def _repeated(work: Callable[[], T]) -> T:
    """Do it again when another server has stored one of the same ids meanwhile. Raises ConflictError."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return work()
        except ConflictError:
            continue
    return work()


def _part(graph: k.Graph, is_meant: Callable[[k.Entity], bool]) -> k.Graph:
    """Return some entities, and the relations that one of them is an end of."""
    entities = [entity for entity in graph.entities if is_meant(entity)]
    names = {entity.name for entity in entities}
    return k.Graph(
        entities=entities,
        relations=[one for one in graph.relations if one.source in names or one.target in names],
    )


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(names), _NAMES):
        yield names[at : at + _NAMES]


def _end(edge: g.EdgeIn) -> tuple[str, str, str]:
    return edge.source, edge.target, edge.type


def _public_entity(entity: k.Entity) -> k.Entity:
    return k.Entity(
        name=_public_name(entity.name, "the name of an entity"),
        entity_type=without_private(entity.entity_type),
        observations=_public_texts(entity.observations),
    )


def _public_relation(relation: k.Relation) -> k.Relation:
    return k.Relation(
        source=_public_name(relation.source, "from"),
        target=_public_name(relation.target, "to"),
        relation_type=without_private(relation.relation_type),
    )


def _public_name(name: str, what: str) -> str:
    public = without_private(name)
    if not public:
        raise ValidationError(f"{what} is empty, or private throughout", code="validation_error")
    return public


def _public_texts(texts: Iterable[str]) -> list[str]:
    """Return each text once, without its private spans; one that is private throughout is left out."""
    public = ((text, without_private(text)) for text in texts)
    return list(dict.fromkeys(told for text, told in public if told or not text))
