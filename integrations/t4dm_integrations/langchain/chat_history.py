"""LangChain's chat history in a session of T4DM: messages as they were, in order, appended and never rewritten."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import pydantic
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict

from t4dm._async_backend import AsyncMemoryBackend
from t4dm._backend import MemoryBackend
from t4dm._connection import Connected, Connection
from t4dm._request_parts import in_requests, size_of_json
from t4dm._requests import owner_defaults
from t4dm.sdk import session_models as s
from t4dm.sdk._validation import as_validation_error, problems, sentence
from t4dm.sdk.errors import ValidationError

_LIKE_AN_OWNERS: Final = re.compile(r"/|(user_id|agent_id|app_id|run_id)=")
_PAGE: Final = 1000


class T4DMChatMessageHistory(Connected, BaseChatMessageHistory):
    """Keep the messages of one conversation. Thread-safe; any number of processes may append."""

    def __init__(
        self,
        session_id: str,
        *,
        url: str | None = None,
        storage_path: str | Path | None = None,
        client: MemoryBackend | AsyncMemoryBackend | None = None,
        space: str = "default",
        user_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        run_id: str | None = None,
        timeout_s: float = 30.0,
        max_retries: int = 3,
    ) -> None:
        """Note which conversation; nothing is sent. Give at most one of url, storage_path and client.

        Args:
            session_id: Any string that names the conversation.
            url: Where the daemon is; `T4DM_URL` when absent. Its key is taken from `T4DM_API_KEY`.
            storage_path: A data directory to serve in this process.
            client: A client or backend of your own; it stays open when this closes.
            space: Sessions of different spaces are different, whatever they are called.
            user_id: So are those of different owners: the daemon knows this one as `user_id=USER/SESSION`.
            agent_id: See user_id.
            app_id: See user_id.
            run_id: See user_id.
            timeout_s: Longest wait for an answer of the daemon.
            max_retries: How often a call is tried again where that does no harm.
        """
        self.session_id = session_id
        self.space = space
        owner_defaults(session_id=session_id)
        self._owner = owner_defaults(user_id=user_id, agent_id=agent_id, app_id=app_id, run_id=run_id)
        self._session = _session_of(session_id, self._owner)
        owner_defaults(session_id=self._session)
        self._connection = Connection(
            url, storage_path=storage_path, client=client, timeout_s=timeout_s, max_retries=max_retries
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Plain JSON from which `T4DMChatMessageHistory(**settings)` makes one like this."""
        own = {"session_id": self.session_id, "space": self.space}
        return own | self._owner | self._connection.settings

    # Reading ------------------------------------------------------------------------------------------

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # the framework's own histories do the same
        """Every message, oldest first, read page by page."""
        backend, reading = self._connection.backend(), _Reading(self.space)
        while (request := reading.next_request()) is not None:
            reading.add(backend.messages(self._session, request))
        return reading.messages()

    async def aget_messages(self) -> list[BaseMessage]:
        """Return every message, oldest first."""
        backend, reading = self._connection.async_backend(), _Reading(self.space)
        while (request := reading.next_request()) is not None:
            reading.add(await backend.messages(self._session, request))
        return reading.messages()

    def last(self, count: int) -> list[BaseMessage]:
        """Return the newest messages, oldest first."""
        if not count:
            return []
        return _messages(self._connection.backend().messages(self._session, self._newest(count)).results)

    async def alast(self, count: int) -> list[BaseMessage]:
        """Return the newest messages, oldest first."""
        if not count:
            return []
        page = await self._connection.async_backend().messages(self._session, self._newest(count))
        return _messages(page.results)

    def _newest(self, count: int) -> s.MessagesRequest:
        with as_validation_error():
            return s.MessagesRequest(space=self.space, last=count)

    # Writing ------------------------------------------------------------------------------------------

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages: all or none, unless they take more than one request (8 MiB).

        Raises:
            ValidationError: A message holds what JSON cannot carry; nothing was appended.
        """
        for request in self._appends(messages):
            self._connection.backend().append_messages(self._session, request)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages; see `add_messages`."""
        for request in self._appends(messages):
            await self._connection.async_backend().append_messages(self._session, request)

    def _appends(self, messages: Sequence[BaseMessage]) -> list[s.AppendRequest]:
        values = [_value(at, message) for at, message in enumerate(messages)]
        parts = in_requests((value, size_of_json(value)) for value in values)
        return [s.AppendRequest.model_construct(messages=part, space=self.space) for part in parts]

    def clear(self) -> None:
        """Forget the messages of this conversation for good."""
        self._connection.backend().clear_messages(self._session, space=self.space)

    async def aclear(self) -> None:
        """Forget the messages of this conversation for good."""
        await self._connection.async_backend().clear_messages(self._session, space=self.space)


class _Reading:
    """Walk through a session page by page."""

    def __init__(self, space: str) -> None:
        self._next: s.MessagesRequest | None = s.MessagesRequest(space=space, limit=_PAGE)
        self._found: list[s.Message] = []

    def next_request(self) -> s.MessagesRequest | None:
        return self._next

    def add(self, page: s.MessagePage) -> None:
        self._found += page.results
        is_last = page.after is None or self._next is None
        self._next = None if is_last or self._next is None else self._next.model_copy(update={"after": page.after})

    def messages(self) -> list[BaseMessage]:
        return _messages(self._found)


def _messages(found: Sequence[s.Message]) -> list[BaseMessage]:
    values: list[Any] = [one.value for one in found]  # what `message_to_dict` made
    messages: list[BaseMessage] = messages_from_dict(values)
    return messages


def _session_of(session_id: str, owner: Mapping[str, str]) -> str:
    """Return the name of an owner's session; no two owners' sessions, nor one of nobody's, have the same."""
    if owner:
        return f"{urlencode(sorted(owner.items()), quote_via=quote)}/{session_id}"
    return f"/{session_id}" if _LIKE_AN_OWNERS.match(session_id) else session_id


def _value(at: int, message: BaseMessage) -> Any:
    value = message_to_dict(message)
    try:
        s.AppendRequest(messages=[value])
        messages_from_dict([value])  # what could not be read again would make the whole history unreadable
    except pydantic.ValidationError as error:
        raise ValidationError(
            f"message {at} cannot be stored: {sentence(error)}",
            code="validation_error",
            details={"message": at, "errors": problems(error)},
        ) from error
    except ValueError as error:
        raise ValidationError(
            f"message {at} cannot be stored, because it could not be read again: {error}",
            code="validation_error",
            details={"message": at},
        ) from error
    return value
