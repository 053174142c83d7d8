"""LangChain's conversation memory, for chains such as `ConversationChain`: what was said lately, and what matters now.

The last turns come from the session, word for word; what was said before that, in any conversation of the same owner,
is recalled by the input. Needs `langchain-classic`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self
from uuid import uuid4

from langchain_classic.memory.chat_memory import BaseChatMemory
from langchain_classic.memory.utils import get_prompt_input_key
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, get_buffer_string
from pydantic import ConfigDict, Field, PrivateAttr

from t4dm._connection import Connection
from t4dm._requests import owner_defaults
from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import NotFoundError
from t4dm_integrations.langchain.chat_history import T4DMChatMessageHistory
from t4dm_integrations.langchain.filters import to_filter
from t4dm_integrations.langchain.recollection import HEADER, NOBODYS, Recollection, text_of


class T4DMMemory(BaseChatMemory):
    """Remember conversations: the last turns as they were, older ones as they matter.

    Memories are recalled from all conversations of the owner (`user_id`, `agent_id`, `app_id`, `run_id`); where none of
    these is given, from this conversation alone, because nothing says that two conversations are the same person's.
    """

    url: str | None = Field(default=None, frozen=True)
    """Where the daemon is; `T4DM_URL` when absent. Its key is taken from `T4DM_API_KEY`."""
    storage_path: str | None = Field(default=None, frozen=True)
    """A data directory to serve in this process."""
    client: Any = Field(default=None, exclude=True, repr=False)
    """A client or backend of your own."""
    timeout_s: float = 30.0
    """Longest wait for an answer of the daemon."""
    max_retries: int = 3

    space: str = Field(default="default", frozen=True)
    """A space that the daemon embeds."""
    session_id: str = Field(default="default", frozen=True)
    """This conversation."""
    user_id: str | None = Field(default=None, frozen=True)
    """Whose memories they are; so do the other owner columns say."""
    agent_id: str | None = Field(default=None, frozen=True)
    app_id: str | None = Field(default=None, frozen=True)
    run_id: str | None = Field(default=None, frozen=True)

    memory_key: str = "history"
    human_prefix: str = "Human"
    ai_prefix: str = "AI"
    recent_turns: int = Field(default=5, ge=0, le=1000)
    """Turns of this conversation that are given word for word."""
    k: int = 10
    """Older memories that may be recalled."""
    budget_tokens: int = 1000
    """What is recalled has at most so many tokens."""
    min_score: float | None = None
    """Leave out what scores less; in [0, 1]."""
    abstain_below: float | None = None
    """Recall nothing unless the best memory is at least this likely to answer; None leaves it to the daemon."""
    filter: Any = None
    """What may be recalled: see `filters`."""
    header: str = HEADER
    """Goes before what is recalled."""

    chat_memory: BaseChatMessageHistory = Field(default=None, exclude=True, repr=False)  # type: ignore[assignment]
    """Where the turns are: a session of T4DM, unless another history is given."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    _recollection: Recollection = PrivateAttr()
    _owner: dict[str, str] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        place: dict[str, Any] = {
            "url": self.url,
            "storage_path": self.storage_path,
            "client": self.client,
            "timeout_s": self.timeout_s,
            "max_retries": self.max_retries,
        }
        if "chat_memory" not in self.model_fields_set:
            self.chat_memory = T4DMChatMessageHistory(
                self.session_id,
                space=self.space,
                user_id=self.user_id,
                agent_id=self.agent_id,
                app_id=self.app_id,
                run_id=self.run_id,
                **place,
            )
            self.model_fields_set.discard("chat_memory")
        to_filter(self.filter)  # a wrong one is told at once
        self._owner = owner_defaults(
            user_id=self.user_id, agent_id=self.agent_id, app_id=self.app_id, run_id=self.run_id
        )
        self._recollection = Recollection(
            connection=Connection(**place),
            space=self.space,
            k=self.k,
            budget_tokens=self.budget_tokens,
            min_score=self.min_score,
            abstain_below=self.abstain_below,
            filter=self.filter,
            nobodys=not self._owner,
            header=self.header,
            speakers={"human": self.human_prefix, "ai": self.ai_prefix},
        )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, with other settings where told to, which opens its own connections."""
        copied = super().model_copy(update=update, deep=deep)
        copied.model_post_init(None)
        return copied

    @property
    def memory_variables(self) -> list[str]:
        """The one variable that prompts take, named by `memory_key`."""
        return [self.memory_key]

    # Recalling ----------------------------------------------------------------------------------------

    def load_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return what is recalled by the input, and the last turns: messages or text, as `return_messages` says."""
        recent = self._recent()
        recalled = self._recollection.recall(self._query(inputs), self._scope(), recent)
        return {self.memory_key: self._told(recalled, recent)}

    async def aload_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return what is recalled by the input, and the last turns."""
        recent = await self._arecent()
        recalled = await self._recollection.arecall(self._query(inputs), self._scope(), recent)
        return {self.memory_key: self._told(recalled, recent)}

    def _recent(self) -> list[BaseMessage]:
        if isinstance(self.chat_memory, T4DMChatMessageHistory):
            return self.chat_memory.last(2 * self.recent_turns)
        return self.chat_memory.messages[-2 * self.recent_turns :] if self.recent_turns else []

    async def _arecent(self) -> list[BaseMessage]:
        if isinstance(self.chat_memory, T4DMChatMessageHistory):
            return await self.chat_memory.alast(2 * self.recent_turns)
        return (await self.chat_memory.aget_messages())[-2 * self.recent_turns :] if self.recent_turns else []

    def _query(self, inputs: dict[str, Any]) -> str:
        """Return what to recall by: the input alone, never what memory itself has put beside it."""
        if not set(inputs) - {self.memory_key, "stop"}:
            return ""  # the turns alone are asked for
        return text_of(inputs[self.input_key or get_prompt_input_key(inputs, self.memory_variables)])

    def _scope(self) -> dict[str, str]:
        return self._owner or {"session_id": self.session_id}

    def _told(self, recalled: str, recent: list[BaseMessage]) -> str | list[BaseMessage]:
        if self.return_messages:
            return [SystemMessage(content=recalled), *recent] if recalled else recent
        turns = get_buffer_string(recent, human_prefix=self.human_prefix, ai_prefix=self.ai_prefix)
        return "\n\n".join(filter(None, (recalled, turns)))

    # Remembering --------------------------------------------------------------------------------------

    def save_context(self, inputs: dict[str, Any], outputs: dict[str, str]) -> None:
        """Append the turn to the conversation, and remember it beyond."""
        turn = self._turn(inputs, outputs)
        self.chat_memory.add_messages(turn)
        self._recollection.remember(turn, self._stored_for())

    async def asave_context(self, inputs: dict[str, Any], outputs: dict[str, str]) -> None:
        """Append the turn to the conversation, and remember it beyond."""
        turn = self._turn(inputs, outputs)
        await self.chat_memory.aadd_messages(turn)
        await self._recollection.aremember(turn, self._stored_for())

    def _turn(self, inputs: dict[str, Any], outputs: dict[str, str]) -> list[BaseMessage]:
        said, answered = self._get_input_output(inputs, outputs)
        return [
            HumanMessage(content=text_of(said), id=str(uuid4())),
            AIMessage(content=text_of(answered), id=str(uuid4())),
        ]

    def _stored_for(self) -> dict[str, str]:
        return {**self._owner, "session_id": self.session_id}

    # Forgetting ---------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget this conversation: its turns, and what was remembered of it. Other conversations stay."""
        self.chat_memory.clear()
        try:
            self._recollection.connection.backend().delete_many(self._selection())
        except NotFoundError as error:
            _unless_missing(error)

    async def aclear(self) -> None:
        """Forget this conversation; see `clear`."""
        await self.chat_memory.aclear()
        try:
            await self._recollection.connection.async_backend().delete_many(self._selection())
        except NotFoundError as error:
            _unless_missing(error)

    def _selection(self) -> m.DeleteRequest:
        with as_validation_error():
            restriction = None if self._owner else NOBODYS
            return m.DeleteRequest(space=self.space, filter=restriction, **self._stored_for())

    def close(self) -> None:
        """Close what was opened by calls that wait. Twice does no harm; a later call opens it again."""
        self._recollection.connection.close()
        if isinstance(self.chat_memory, T4DMChatMessageHistory):
            self.chat_memory.close()

    async def aclose(self) -> None:
        """Close everything that was opened."""
        await self._recollection.connection.aclose()
        if isinstance(self.chat_memory, T4DMChatMessageHistory):
            await self.chat_memory.aclose()


def _unless_missing(error: NotFoundError) -> None:
    """Raise the error, unless it says that nothing was ever written to the space."""
    if not error.is_missing_space:
        raise error
