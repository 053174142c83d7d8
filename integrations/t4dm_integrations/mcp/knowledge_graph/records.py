"""How a knowledge graph lies in T4DM: as memories that every other door finds, and links between them.

    entity        a memory of kind `semantic` that the entities view shows as well
    observation   a memory of kind `semantic`, its text after the entity's name; PART_OF its entity
    relation      a memory of kind `semantic` that says it in words; between its ends, where both exist, a link of the
                  type with its name, else RELATES_TO

The records are the truth; links are made from them. Ids follow from what a record says, so that two servers that learn
the same at once store it once. Everything is in the metadata under `knowledge_graph`; `graph` there names the owner,
so that a graph holds exactly what its own scope has told it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, Final, Literal, cast, get_args

from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm_integrations.mcp.knowledge_graph.models import Entity, Relation
from t4dm_integrations.mcp.scope import Scope

KEY: Final = "knowledge_graph"
_KAPPA: Final = 0.85
"""What is told as knowledge counts as such: as in the entities view."""
_TYPES: Final = frozenset(get_args(g.EdgeType))


class Shape:
    """Make the records of one graph, and their ids."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.graph = "&".join(f"{column}={value}" for column, value in scope.columns)

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


def type_of(memory: m.Memory) -> str:
    """Return which record of a graph a memory is."""
    return str(cast("dict[str, Any]", memory.metadata[KEY])["type"])


def entity_of(memory: m.Memory) -> Entity:
    """Return an entity without its observations."""
    value = cast("dict[str, str]", memory.value)
    return Entity(name=value["name"], entity_type=value["entity_type"], observations=[])


def observation_of(memory: m.Memory) -> tuple[str, str]:
    """Return the name of the entity, and what is known of it."""
    value = cast("dict[str, str]", memory.value)
    return value["entity"], value["text"]


def relation_of(memory: m.Memory) -> Relation:
    return Relation.model_validate(memory.value)


def edge_type(relation_type: str) -> g.EdgeType:
    """Return the type of link that a relation's name means: `depends on` is DEPENDS_ON; any other is RELATES_TO."""
    name = re.sub(r"[^A-Z]+", "_", relation_type.upper()).strip("_")
    return cast("g.EdgeType", name) if name in _TYPES else "RELATES_TO"
