"""What a language model may ask of memory: the arguments of every tool, as Pydantic models.

The descriptions are written for the model that fills them in. What it may leave out is null (the strict form of a
schema knows no other way), and null means the same everywhere: not asked for, or not changed. No argument says whose
memory it is: the program that carries a call out binds the owner, so that nothing a model reads can move it to
somebody else's memories.
"""

from __future__ import annotations

import inspect
from typing import Annotated, ClassVar, Final

from pydantic import Field, field_validator

from t4dm.sdk.graph_models import EdgeType
from t4dm.sdk.model_bases import Request
from t4dm.sdk.models import Memory
from t4dm.sdk.wire_types import Kind, Time

__all__ = [
    "MODELS",
    "Forget",
    "Get",
    "Link",
    "Property",
    "Search",
    "Store",
    "Timeline",
    "ToolArguments",
    "Update",
    "description",
]

MOST_IDS: Final = 50
MOST_RESULTS: Final = 50
_IDS: Final = "Ids exactly as another memory tool returned them."


class ToolArguments(Request):
    """The arguments of one tool; the docstring of each is what the model is told of the tool."""

    tool: ClassVar[str]


class Property(Request):
    """One named value."""

    key: Annotated[str, Field(description="Name of the property, for example 'project'.")]
    value: Annotated[str | bool | int | float, Field(description="Its value.")]

    @field_validator("key")
    @classmethod
    def _can_be_searched(cls, value: str) -> str:
        """Refuse what a search would not find again: a filter takes these for the memory's own fields."""
        if not value or value in Memory.model_fields:
            raise ValueError("a property has a name of its own, and this one is taken or empty; choose another")
        return value


Properties = Annotated[list[Property], Field(max_length=64)]
Ids = Annotated[list[str], Field(min_length=1, max_length=MOST_IDS, description=_IDS)]
Categories = Annotated[list[str], Field(max_length=64)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _WithProperties(ToolArguments):
    @field_validator("metadata", check_fields=False)
    @classmethod
    def _named_once(cls, value: list[Property] | None) -> list[Property] | None:
        names = [one.key for one in value or ()]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the key {name!r} is given more than once")
        return value


class Store(_WithProperties):
    """Remember something beyond this conversation.

    Store one fact, preference, event or instruction per call, as a sentence that can be understood without the
    conversation: names instead of pronouns, dates instead of 'yesterday'. Storing what is known already does no harm.
    When it replaces something stored before, find that first and name it in supersedes.
    """

    tool: ClassVar[str] = "memory_store"

    content: str = Field(description="The text to remember: one self-contained statement.")
    kind: Kind | None = Field(
        default=None,
        description="episodic: something that happened. semantic: a fact or preference. procedural: how something is "
        "done. null: episodic.",
    )
    importance: Fraction | None = Field(
        default=None, description="From 0 (trivial) to 1 (must not be forgotten). null: decided by how new it is."
    )
    categories: Categories | None = Field(default=None, description="Short labels, for example ['travel']. null: none.")
    metadata: Properties | None = Field(
        default=None, description="Properties that searches can ask for, each key once. null: none."
    )
    event_time: Time | None = Field(
        default=None, description="When it happened, RFC 3339, for example 2026-05-01T12:00:00Z. null: now."
    )
    valid_from: Time | None = Field(
        default=None, description="From when it is true, RFC 3339. null: from the event time."
    )
    valid_to: Time | None = Field(default=None, description="Until when it is true, RFC 3339. null: no end is known.")
    supersedes: Annotated[list[str], Field(max_length=MOST_IDS)] | None = Field(
        default=None,
        description="Ids of memories that this one takes the place of: they stop being true and stay in the history. "
        "null: none.",
    )


class Search(_WithProperties):
    """Search the long-term memory by meaning, words, names and dates.

    Call it before answering anything that may depend on earlier conversations. The results come best first, with a
    score from 0 to 1; none means that nothing relevant is stored, and it is better to say so than to guess. Long
    memories are shown in part: memory_get has the whole text.
    """

    tool: ClassVar[str] = "memory_search"

    query: str = Field(description="A question or statement in plain language, with the names and dates that matter.")
    limit: Annotated[int, Field(ge=1, le=MOST_RESULTS)] | None = Field(
        default=None, description="The most results to return, up to 50. null: 10."
    )
    kind: Kind | None = Field(default=None, description="Only memories of this kind. null: of every kind.")
    categories: Categories | None = Field(
        default=None, description="Only memories with at least one of these categories. null: any."
    )
    metadata: Properties | None = Field(
        default=None, description="Only memories that have all of these properties. null: any."
    )
    after: Time | None = Field(default=None, description="Only what happened at or after this time, RFC 3339.")
    before: Time | None = Field(default=None, description="Only what happened before this time, RFC 3339.")
    as_of: Time | None = Field(
        default=None, description="What was true at this time, RFC 3339, instead of what is true now."
    )


class Get(ToolArguments):
    """Read memories whole, by their ids, with what they are linked to or how they changed where that is asked for."""

    tool: ClassVar[str] = "memory_get"

    ids: Ids
    history: bool | None = Field(default=None, description="true: also every earlier version of each. null: no.")
    links: bool | None = Field(default=None, description="true: also the memories that each is linked to. null: no.")
    from_character: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="Where to begin in a text that an earlier answer showed in part: its next_character. null: at 0.",
    )


class Update(_WithProperties):
    """Correct or complete one memory.

    Only what is not null changes; the version before stays in the history. When the world has changed rather than
    the record was wrong, store the new fact with memory_store and name the old one in supersedes.
    """

    tool: ClassVar[str] = "memory_update"

    id: str = Field(description="Id of the memory, exactly as another memory tool returned it.")
    content: str | None = Field(default=None, description="The whole new text. null: unchanged.")
    kind: Kind | None = Field(default=None, description="The new kind. null: unchanged.")
    importance: Fraction | None = Field(default=None, description="From 0 to 1. null: unchanged.")
    categories: Categories | None = Field(
        default=None, description="All categories from now on; [] removes them. null: unchanged."
    )
    metadata: Properties | None = Field(
        default=None, description="Properties to add or replace; others stay. null: unchanged."
    )
    event_time: Time | None = Field(default=None, description="When it happened, RFC 3339. null: unchanged.")
    valid_from: Time | None = Field(default=None, description="From when it is true, RFC 3339. null: unchanged.")
    valid_to: Time | None = Field(
        default=None, description="When it stopped, or will stop, being true, RFC 3339. null: unchanged."
    )
    pinned: bool | None = Field(
        default=None, description="true: never to be forgotten by itself; false: no longer so. null: unchanged."
    )


class Forget(ToolArguments):
    """Delete memories by their ids.

    Use it when the user asks to forget something, or when a memory was wrong from the beginning. Search first, and
    delete only what was meant. What is merely no longer true is better superseded than deleted.
    """

    tool: ClassVar[str] = "memory_forget"

    ids: Ids


class Timeline(ToolArguments):
    """List memories in the order in which they happened, oldest first.

    Use it for questions about a period ('what did we do last week?'), or to see what happened around one memory.
    Without any time it shows the latest.
    """

    tool: ClassVar[str] = "memory_timeline"

    after: Time | None = Field(default=None, description="Only what happened at or after this time, RFC 3339.")
    before: Time | None = Field(default=None, description="Only what happened before this time, RFC 3339.")
    around_id: str | None = Field(
        default=None, description="Id of a memory in the middle: half of the results come before it, half after."
    )
    limit: Annotated[int, Field(ge=1, le=MOST_RESULTS)] | None = Field(
        default=None, description="The most results to return, up to 50; of more, the latest. null: 20."
    )
    kind: Kind | None = Field(default=None, description="Only memories of this kind. null: of every kind.")


class Link(ToolArguments):
    """Say how two memories belong together; searches and memory_get then follow the link.

    The link leads from the source to the target: the source CAUSES, is PART_OF, SUPPORTS or CONTRADICTS the target.
    Linking again with another weight changes the weight.
    """

    tool: ClassVar[str] = "memory_link"

    source_id: str = Field(description="Id of the memory at which the link begins.")
    target_id: str = Field(description="Id of the memory to which it leads.")
    type: EdgeType = Field(description="What the source is to the target.")
    weight: Fraction | None = Field(default=None, description="How strong the link is, from 0 to 1. null: 1.")


MODELS: Final[dict[str, type[ToolArguments]]] = {
    model.tool: model for model in (Store, Search, Get, Update, Forget, Timeline, Link)
}
"""The tools by their names, in the order in which they are listed."""


def description(model: type[ToolArguments]) -> str:
    """Return what a language model is told of a tool: its docstring, on lines as long as they need to be."""
    paragraphs = inspect.cleandoc(model.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs)
