"""The wire models of sessions: chat histories, ordered lists of opaque JSON messages that are only appended to.

A session is named by any string within a space; it is there as long as it holds messages.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, JsonValue, model_validator

from t4dm.sdk.model_bases import Answer, Request
from t4dm.sdk.wire_types import MAX_BATCH, MAX_LIMIT, Int, Json, Label, SpaceName, Time

MAX_SEQ: Final = 2**53 - 1
"""The greatest integer that every JSON reader keeps."""

__all__ = [
    "MAX_SEQ",
    "AppendAnswer",
    "AppendRequest",
    "ClearAnswer",
    "Message",
    "MessagePage",
    "MessageStamp",
    "MessagesRequest",
    "RestoreAnswer",
    "RestoreRequest",
    "RestoredMessage",
    "Session",
    "SessionList",
    "SessionsRequest",
]


class AppendRequest(Request):
    """Append messages to a session, all or none, in the order given."""

    messages: list[Json] = Field(max_length=MAX_BATCH, description="Opaque JSON, each stored verbatim.")
    space: SpaceName = "default"


class MessageStamp(Answer):
    """What a message was given: its place in the session, and its time."""

    seq: int
    created_at: Time


class AppendAnswer(Answer):
    """What each message was given, in the order appended."""

    results: list[MessageStamp]
    replayed: bool = Field(
        default=False, description="True: this idempotency key had been used; nothing new was written."
    )


class MessagesRequest(Request):
    """Which messages of a session. (Numbers come from a query string, so their texts are read, too.)"""

    space: SpaceName = "default"
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] | None = Field(
        default=None, description="The oldest so many of those that match; 100 when absent."
    )
    last: Annotated[int, Field(ge=1, le=MAX_LIMIT)] | None = Field(
        default=None, description="Instead of `limit`: the newest so many, in order all the same."
    )
    after: Annotated[int, Field(ge=0, le=MAX_SEQ)] | None = Field(
        default=None, description="Only with a greater `seq`."
    )
    before: Annotated[int, Field(ge=0, le=MAX_SEQ)] | None = Field(
        default=None, description="Only with a lesser `seq`."
    )

    @model_validator(mode="after")
    def _has_one_end(self) -> MessagesRequest:
        if self.limit is not None and self.last is not None:
            raise ValueError("give limit (the oldest) or last (the newest), not both")
        return self


class Message(Answer):
    """One message, as it was appended."""

    seq: int = Field(description="Its place: grows by one, and is never given twice in a session.")
    created_at: Time
    value: JsonValue


class MessagePage(Answer):
    """Messages in order."""

    session_id: str
    space: str
    results: list[Message]
    total: int = Field(description="How many match altogether.")
    after: int | None = Field(
        default=None, description="Give it back for the next page; null at the end, and with `last`."
    )


class ClearAnswer(Answer):
    deleted: int = Field(description="How many messages there were.")


class SessionsRequest(Request):
    """Which part of the list of sessions."""

    space: SpaceName = "default"
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 100
    offset: Annotated[int, Field(ge=0, le=MAX_SEQ)] = 0


class Session(Answer):
    """A session that holds messages."""

    id: str
    messages: int
    first_seq: int
    last_seq: int
    first_at: Time
    last_at: Time


class SessionList(Answer):
    """Sessions, the one with the newest message first."""

    results: list[Session]
    total: int


class RestoredMessage(Request):
    """A message with the place and the time that it had, as an export tells them."""

    session_id: Label
    space: SpaceName = "default"
    seq: Int = Field(ge=1, le=MAX_SEQ)
    created_at: Time
    value: Json


class RestoreRequest(Request):
    """Put messages back where they were, all or none. One that is there already is left alone."""

    messages: list[RestoredMessage] = Field(max_length=MAX_BATCH)


class RestoreAnswer(Answer):
    created: int
    duplicate: int = Field(description="How many were there already, with the same value.")
