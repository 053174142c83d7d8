"""The words of the reference memory server: entities, relations, observations.

Source: `@modelcontextprotocol/server-memory` 2026.8.31, the schemas that it lists. Unknown fields are left out, as
there.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, Strict

Text = Annotated[str, Strict()]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True, serialize_by_alias=True)


class Entity(_Arguments):
    """A node of the graph."""

    name: Text = Field(description="What the entity is called; a name is one entity.")
    entity_type: Text = Field(alias="entityType", description="What it is: person, project, place, …")
    observations: list[Text] = Field(description="What is known of it, one statement each.")


class Relation(_Arguments):
    """A directed edge of the graph; its ends need not exist."""

    source: Text = Field(alias="from", description="Name of the entity that the relation begins at.")
    target: Text = Field(alias="to", description="Name of the entity that it leads to.")
    relation_type: Text = Field(alias="relationType", description="What the one is to the other, in active voice.")


class Observation(_Arguments):
    """What is known of an entity, as it is stored."""

    entity: Text
    text: Text


class Addition(_Arguments):
    entity_name: Text = Field(alias="entityName", description="Name of the entity that something is learnt of.")
    contents: list[Text] = Field(description="What is learnt, one statement each.")


class Deletion(_Arguments):
    entity_name: Text = Field(alias="entityName", description="Name of the entity that something is forgotten of.")
    observations: list[Text] = Field(description="The statements to forget, word for word.")


class CreateEntities(_Arguments):
    """Add entities to the knowledge graph. One whose name exists is left as it is, and not in the answer."""

    entities: list[Entity]


class CreateRelations(_Arguments):
    """Add relations between entities to the knowledge graph, in active voice. Those that exist are left out."""

    relations: list[Relation]


class AddObservations(_Arguments):
    """Add what is learnt of entities that exist. The answer has what was not known before."""

    observations: list[Addition]


class DeleteEntities(_Arguments):
    """Delete entities with their observations and all their relations. Names that do not exist do no harm."""

    names: list[Text] = Field(alias="entityNames", description="Names of the entities to delete.")


class DeleteObservations(_Arguments):
    """Delete single observations of entities. What does not exist does no harm."""

    deletions: list[Deletion]


class DeleteRelations(_Arguments):
    """Delete relations. Those that do not exist do no harm."""

    relations: list[Relation] = Field(description="The relations to delete.")


class ReadGraph(_Arguments):
    """Read the whole knowledge graph."""


class SearchNodes(_Arguments):
    """Find the entities in whose name, type or observations a text occurs, in any case, with all their relations."""

    query: Text = Field(description="The text that must occur in a name, a type or an observation.")


class OpenNodes(_Arguments):
    """Read entities by their names, with all their relations."""

    names: list[Text] = Field(description="Names of the entities to read.")


class Graph(_Arguments):
    entities: list[Entity]
    relations: list[Relation]


class Entities(_Arguments):
    LIST: ClassVar[str] = "entities"

    entities: list[Entity]


class Relations(_Arguments):
    LIST: ClassVar[str] = "relations"

    relations: list[Relation]


class Added(_Arguments):
    entity_name: str = Field(alias="entityName")
    added_observations: list[str] = Field(alias="addedObservations")


class Results(_Arguments):
    LIST: ClassVar[str] = "results"

    results: list[Added]


class Done(_Arguments):
    success: bool
    message: str
