"""What comes of using memories: text for a prompt, pins, and how useful they were."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from t4dm.sdk.model_bases import Answer, Request
from t4dm.sdk.models import Memory, SearchRequest
from t4dm.sdk.wire_types import MAX_LIMIT, Bool, Content, Float, Id, Int, SpaceName

MAX_BUDGET = 100_000

__all__ = [
    "MAX_BUDGET",
    "ContextAnswer",
    "ContextPart",
    "ContextRequest",
    "FeedbackAnswer",
    "FeedbackItem",
    "FeedbackRequest",
    "PinAnswer",
    "PinRequest",
]


class ContextRequest(SearchRequest):
    """Make a block of text for a prompt out of what answers a question."""

    k: Int = Field(default=30, ge=1, le=1000, description="Memories that may go into it.")
    budget_tokens: Int = Field(default=1000, ge=1, le=MAX_BUDGET, description="It has at most so many tokens.")
    header: Annotated[str, Field(max_length=2000)] = Field(default="", description="Goes before the memories.")


class ContextPart(Answer):
    """One memory of a block."""

    id: str
    score: float
    tokens: int
    memory: Memory | None = Field(default=None, description="Only when `include` names `value` or `vector`.")


class ContextAnswer(Answer):
    """A block of text, most useful first, without what says the same twice or has been superseded."""

    text: str = Field(description="Empty when nothing is relevant.")
    parts: list[ContextPart]
    tokens: int
    budget_tokens: int
    left_out: int = Field(description="Relevant memories for which there was no room.")
    counted_by: str = Field(description="The tokenizer that counted; `characters / 4` is an estimate.")
    took_ms: float


class PinRequest(Request):
    """Pin memories: sleep never forgets them; or unpin them."""

    ids: list[Id] = Field(min_length=1, max_length=MAX_LIMIT)
    pinned: Bool = True
    space: SpaceName = "default"


class PinAnswer(Answer):
    pinned: int = Field(description="How many of them exist, and are now as asked.")


class FeedbackItem(Request):
    """How useful one memory was."""

    id: Id
    reward: Annotated[Float, Field(ge=-1.0, le=1.0)] = Field(description="-1 misled, 0 was of no use, 1 helped.")


class FeedbackRequest(Request):
    """Say how useful memories were as answers to a question. It is kept, for learning to draw on."""

    items: list[FeedbackItem] = Field(min_length=1, max_length=MAX_LIMIT)
    query: Content | None = Field(default=None, description="The question that they were found by.")
    space: SpaceName = "default"


class FeedbackAnswer(Answer):
    recorded: int = Field(description="How many of the memories exist; feedback on others is left out.")
