"""How a knowledge graph lies in T4DM: as memories that every other door finds, and links between them.

    entity        a memory of kind `semantic` that the entities view shows as well
    observation   a memory of kind `semantic`, its text after the entity's name; PART_OF its entity
    relation      a memory of kind `semantic` that says it in words; between its ends, where both exist, a link of the
                  type with its name, else RELATES_TO

The records are the truth; links are made from them. Ids follow from what a record says, so that two servers that learn
the same at once store it once. Everything is in the metadata under `knowledge_graph`; `graph` there names the owner,
so that a graph holds exactly what its own scope has told it. Others can write the same metadata, so a memory belongs to
a graph only if its owner and its id, too, are what its value says.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Literal, TypeAlias, cast, get_args
from urllib.parse import urlencode

import pydantic

from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk.errors import ConflictError
from t4dm_integrations.mcp.knowledge_graph.models import Entity, Observation, Relation
from t4dm_integrations.mcp.scope import Scope

Told: TypeAlias = Entity | Observation | Relation

KEY: Final = "knowledge_graph"
_KAPPA: Final = 0.85
"""What is told as knowledge counts as such: as in the entities view."""
_TOLD: Final[dict[str, type[Told]]] = {"entity": Entity, "observation": Observation, "relation": Relation}
_TYPES: Final = frozenset(get_args(g.EdgeType))


class Shape:
    """Make the records of one graph, and their ids."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.graph = urlencode(scope.columns)

    def entity_id(self, name: str) -> str:
        return self._id("entity", name)

    def observation_id(self, name: str, text: str) -> str:
        return self._id("observation", name, text)

    def relation_id(self, relation: Relation) -> str:
        return self._id("relation", relation.source, relation.target, relation.relation_type)

    def entity(self, entity: Entity) -> m.RecordIn:
        labels = {"name": entity.name, "entity_type": entity.entity_type}
        return self._record(
            "entity",
            self.entity_id(entity.name),
            content=f"{entity.name} ({entity.entity_type})",
            own={"name": entity.name},
            value=labels,
            entity=labels,
        )

    def observation(self, name: str, text: str) -> m.RecordIn:
        return self._record(
            "observation",
            self.observation_id(name, text),
            content=f"{name}: {text}",
            own={"entity": name},
            value={"entity": name, "text": text},
        )

    def relation(self, relation: Relation) -> m.RecordIn:
        told = relation.model_dump()
        return self._record(
            "relation",
            self.relation_id(relation),
            content=f"{relation.source} {relation.relation_type} {relation.target}",
            own={"from": relation.source, "to": relation.target},
            value=told,
        )

    def read(self, memory: m.Memory) -> Told | None:
        """Return what a memory of this graph says; None for one that only looks like one.

        Raises:
            ConflictError: It was one, and its value has been changed.
        """
        kind = str(cast("dict[str, Any]", memory.metadata[KEY])["type"])
        value = {**memory.value, "observations": []} if isinstance(memory.value, dict) else memory.value
        told: Told | None = None
        with suppress(pydantic.ValidationError):
            told = _TOLD[kind].model_validate(value)
        if told is not None and memory.id == self._id_of(told):
            return told
        if not memory.id.startswith("kg-"):
            return None
        raise ConflictError(
            f"the memory {memory.id!r} is of this knowledge graph, but its value has been changed since, so the graph "
            "cannot be read; restore or delete that memory",
            code="broken_graph",
            details={"id": memory.id},
        )

    def _id_of(self, told: Told) -> str:
        if isinstance(told, Entity):
            return self.entity_id(told.name)
        return self.relation_id(told) if isinstance(told, Relation) else self.observation_id(told.entity, told.text)

    def part_of(self, name: str, text: str) -> g.EdgeIn:
        return g.EdgeIn(source=self.observation_id(name, text), target=self.entity_id(name), type="PART_OF")

    def edge(self, relation: Relation) -> g.EdgeIn:
        return g.EdgeIn(
            source=self.entity_id(relation.source),
            target=self.entity_id(relation.target),
            type=edge_type(relation.relation_type),
        )

    def where(self, *more: m.Filter, types: Sequence[str] = ("entity", "observation", "relation")) -> m.Filter:
        """Return the filter of this graph's records."""
        return m.Filter(
            and_=[
                m.Filter(field=f"{KEY}.graph", op="eq", value=self.graph),
                m.Filter(field=f"{KEY}.type", op="in", value=list(types)),
                *more,
            ]
        )

    def _id(self, *parts: str) -> str:
        told = json.dumps([self.graph, *parts])
        return f"kg-{parts[0]}-{hashlib.sha256(told.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"

    def _record(
        self,
        type: Literal["entity", "observation", "relation"],
        id: str,
        *,
        content: str,
        own: dict[str, str],
        value: dict[str, Any],
        **labels: dict[str, str],
    ) -> m.RecordIn:
        metadata: dict[str, Any] = {KEY: {"graph": self.graph, "type": type, **own}, **labels}
        return m.RecordIn(
            id=id,
            content=content,
            kind="semantic",
            kappa=_KAPPA,
            metadata=metadata,
            value=value,
            **self._scope.owner_fields,
        )


def edge_type(relation_type: str) -> g.EdgeType:
    """Return the type of link that a relation's name means: `depends on` is DEPENDS_ON; any other is RELATES_TO."""
    name = re.sub(r"[^A-Z]+", "_", relation_type.upper()).strip("_")
    return cast("g.EdgeType", name) if name in _TYPES else "RELATES_TO"
