"""What Mem0's clients send, of every version that is served; what is not named here is accepted and not used."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from t4dm.sdk import models as m

ENTITIES: Final = ("user_id", "agent_id", "app_id", "run_id")
MAX_BATCH: Final = 1000


def _as_text(value: object) -> object:
    """Read a number as its digits: clients pass database keys as they are."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


EntityId = Annotated[m.Label, BeforeValidator(_as_text)]
Filters = dict[str, JsonValue]
Moment = int | float | str
"""Seconds since 1970, or RFC 3339."""


class Body(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Owned(Body):
    """Whose memories, at the top level or in `filters`."""

    user_id: EntityId | None = None
    agent_id: EntityId | None = None
    app_id: EntityId | None = None
    run_id: EntityId | None = None
    filters: Filters | None = None

    def entities(self) -> dict[str, str]:
        return {name: value for name in ENTITIES if (value := getattr(self, name)) is not None}


class Part(Body):
    """One part of a message that has several."""

    type: str = "text"
    text: str | None = None


class Message(Body):
    role: str = "user"
    content: str | Part | list[Part] | None = None
    name: str | None = None


class AddBody(Owned):
    """Messages to remember; the oldest clients send a bare string."""

    messages: str | Message | list[Message]
    metadata: m.Metadata | None = None
    infer: bool | None = Field(default=True, description="Also keep what the rules find in the user's messages.")
    immutable: bool | None = None
    timestamp: Moment | None = Field(default=None, description="When it was said.")
    expiration_date: str | None = Field(default=None, description="YYYY-MM-DD: the last day it is shown.")


class Narrowed(Owned):
    """What a search and a list have in common."""

    categories: str | list[str] | None = Field(default=None, description="Any of these.")
    metadata: Filters | None = Field(default=None, description="Keys that must have these values.")
    fields: str | list[str] | None = Field(default=None, description="Show these of each memory, and its id.")
    show_expired: bool | None = None
    output_format: str | None = Field(default=None, description="v1.1 wraps a list in `results`.")
    top_k: int | None = Field(default=None, ge=1, le=m.MAX_K)
    limit: int | None = Field(default=None, ge=1, le=m.MAX_K, description="An older name of top_k.")


class SearchBody(Narrowed):
    query: str
    threshold: float | None = Field(default=None, ge=0, le=1, description="The least score of a hit.")


class ListBody(Narrowed):
    start_date: str | None = Field(default=None, description="Created then or later.")
    end_date: str | None = Field(default=None, description="Created then or before; a date is its whole day.")
    keywords: str | None = Field(default=None, description="A text that the memory holds, whatever its case.")
    page: int | None = Field(default=None, ge=1, le=2**31)
    page_size: int | None = Field(default=None, ge=1, le=m.MAX_LIMIT)


class UpdateBody(Body):
    text: m.Content | None = None
    metadata: m.Metadata | None = Field(default=None, description="Joined with what is there, key by key.")
    timestamp: Moment | None = None
    expiration_date: str | None = Field(default=None, description="null clears it.")


class BatchUpdateItem(Body):
    memory_id: m.Id
    text: m.Content | None = None
    metadata: m.Metadata | None = None


class BatchUpdateBody(Body):
    memories: list[BatchUpdateItem] = Field(min_length=1, max_length=MAX_BATCH)


class BatchDeleteItem(Body):
    memory_id: m.Id


class BatchDeleteBody(Body):
    memories: list[BatchDeleteItem] = Field(min_length=1, max_length=MAX_BATCH)


class FeedbackBody(Body):
    memory_id: m.Id
    feedback: Literal["POSITIVE", "NEGATIVE", "VERY_NEGATIVE"] | None = None
    feedback_reason: str | None = None


class ExportBody(ListBody):
    """Which memories, and for a new export the form that they are to take."""

    schema_: JsonValue = Field(default=None, alias="schema", description="A JSON Schema, or its text.")
    memory_export_id: str | None = Field(default=None, description="An export that was asked for before.")


class ListQuery(BaseModel):
    """The oldest way to list: everything in the query string."""

    user_id: EntityId | None = None
    agent_id: EntityId | None = None
    app_id: EntityId | None = None
    run_id: EntityId | None = None
    filters: str | None = Field(default=None, description="JSON.")
    metadata: str | None = Field(default=None, description="JSON: keys that must have these values.")
    categories: list[str] | None = None
    keywords: str | None = None
    fields: list[str] | None = None
    start_date: str | None = None
    end_date: str | None = None
    show_expired: bool | None = None
    output_format: str | None = None
    top_k: Annotated[int, Field(ge=1, le=m.MAX_K)] | None = None
    limit: Annotated[int, Field(ge=1, le=m.MAX_K)] | None = None
    page: Annotated[int, Field(ge=1, le=2**31)] | None = None
    page_size: Annotated[int, Field(ge=1, le=m.MAX_LIMIT)] | None = None


class PageQuery(BaseModel):
    page: Annotated[int, Field(ge=1, le=2**31)] | None = None
    page_size: Annotated[int, Field(ge=1, le=m.MAX_LIMIT)] | None = None


class OwnQuery(BaseModel):
    """What clients add to every request; the rest is noted, to be refused."""

    model_config = ConfigDict(extra="allow")

    org_id: str | None = None
    project_id: str | None = None


class DeleteQuery(OwnQuery):
    """Whose memories to delete. Anything else in the query string is refused, so nothing is deleted by mistake."""

    user_id: str | None = None
    agent_id: str | None = None
    app_id: str | None = None
    run_id: str | None = None
    filters: str | None = Field(default=None, description="JSON, or what Python prints of a dictionary.")
    metadata: str | None = Field(default=None, description="The same: keys that must have these values.")


class DeleteOneQuery(OwnQuery):
    delete_linked: bool | None = Field(default=None, description="Also what this one took the place of.")
