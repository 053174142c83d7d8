"""What agents said, as records: AutoGen itself writes nothing into a memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeAlias, runtime_checkable

from autogen_core.models import AssistantMessage, FunctionExecutionResultMessage, SystemMessage, UserMessage

from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm_integrations.autogen.context import SOURCE, spoken


@runtime_checkable
class ChatMessage(Protocol):
    """What agents tell each other: `autogen_agentchat.messages.BaseChatMessage`. Events are none."""

    id: str
    source: str
    created_at: datetime

    def to_model_text(self) -> str: ...


class Outcome(Protocol):
    """What a run came to: `autogen_agentchat.base.TaskResult`."""

    @property
    def messages(self) -> Sequence[Any]: ...


class Answered(Protocol):
    """What one agent answered: `autogen_agentchat.base.Response`."""

    @property
    def chat_message(self) -> Any: ...


Said: TypeAlias = Outcome | Answered | ChatMessage | UserMessage | AssistantMessage | Iterable[Any]


def spoken_records(
    said: Said, owner: Mapping[str, str], namespace: list[str], sources: Collection[str] | None
) -> list[m.RecordIn]:
    """Return a record for each message that has a text, `speaker: text`, as an event at its time.

    Raises:
        TypeError: There are no messages in it.
        ValidationError: A message cannot be stored.
    """
    records = []
    for message in _messages(said):
        text, metadata, when = _told(message)
        if text.strip() and (sources is None or message.source in sources):
            with as_validation_error():
                records.append(
                    m.RecordIn(
                        content=spoken(message.source, text.strip()),
                        metadata={"speaker": message.source, **metadata},
                        event_time=when,
                        namespace=namespace,
                        **owner,
                    )
                )
    return records


def _messages(said: Said) -> Iterable[Any]:
    if isinstance(said, ChatMessage | UserMessage | AssistantMessage):
        return [said]
    if (messages := getattr(said, "messages", None)) is not None:
        return list(messages)
    if (message := getattr(said, "chat_message", None)) is not None:
        return [message]
    if isinstance(said, Iterable) and not isinstance(said, str | bytes | Mapping):
        return said
    raise TypeError(
        f"capture takes a TaskResult, a Response, a message or a list of messages, not {type(said).__name__}"
    )


def _told(message: Any) -> tuple[str, dict[str, Any], datetime | None]:
    """Return the text of a message, what its metadata say, and when it was sent.

    There is no text for what nobody said: an event, an instruction, a tool's result, a block of memories.
    """
    if isinstance(message, ChatMessage):
        return message.to_model_text(), {"type": type(message).__name__, "message_id": message.id}, message.created_at
    if isinstance(message, UserMessage | AssistantMessage):
        is_said = message.source != SOURCE and isinstance(message.content, str)
        return str(message.content) if is_said else "", {"type": message.type}, None
    if isinstance(message, SystemMessage | FunctionExecutionResultMessage) or hasattr(message, "to_text"):
        return "", {}, None
    raise TypeError(f"capture takes messages, not {type(message).__name__}")
