"""An agent's memory as middleware for `langchain.agents.create_agent`. Needs `langchain`.

Before the model is called, what the user's last message calls to mind is put behind the system prompt, for this call
alone; when the agent is done, the message and the answer are remembered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.runtime import Runtime

from t4dm._async_backend import AsyncMemoryBackend
from t4dm._backend import MemoryBackend
from t4dm._connection import Connection
from t4dm._requests import OwnerFields, owner_defaults
from t4dm_integrations.langchain.filters import FilterLike, to_filter
from t4dm_integrations.langchain.recollection import HEADER, Recollection, text_of

OwnerOf = Callable[[Any], Mapping[str, str]]
"""Tells whose memories a run reads and writes, from its `Runtime`."""
_SESSION = "session_id"


class T4DMMemoryMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Give an agent a memory that lasts beyond its thread. One instance serves any number of threads and users.

    Whose memories a run sees is said at construction (`user_id`, …) or, where an agent serves many, by `owner_of`:

        T4DMMemoryMiddleware(owner_of=lambda runtime: {"user_id": runtime.context.user_id})

    Memories are recalled from all threads of that owner. Without any owner there is one memory for everybody.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        storage_path: str | Path | None = None,
        client: MemoryBackend | AsyncMemoryBackend | None = None,
        space: str = "default",
        user_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        run_id: str | None = None,
        owner_of: OwnerOf | None = None,
        k: int = 10,
        budget_tokens: int = 1000,
        min_score: float | None = None,
        abstain_below: float | None = None,
        filter: FilterLike | None = None,
        header: str = HEADER,
        recall: bool = True,
        capture: bool = True,
        capture_answers: bool = True,
        timeout_s: float = 30.0,
        max_retries: int = 3,
    ) -> None:
        """Note where the memories are; nothing is sent. Give at most one of url, storage_path and client.

        Args:
            url: Where the daemon is; `T4DM_URL` when absent. Its key is taken from `T4DM_API_KEY`.
            storage_path: A data directory to serve in this process.
            client: A client or backend of your own.
            space: A space that the daemon embeds.
            user_id: Whose memories; so do agent_id, app_id and run_id say.
            agent_id: See user_id.
            app_id: See user_id.
            run_id: See user_id.
            owner_of: Tells these columns for each run; what it tells is added to the others.
            k: Memories that may be recalled.
            budget_tokens: What is recalled has at most so many tokens.
            min_score: Leave out what scores less; in [0, 1].
            abstain_below: Recall nothing unless the best memory is at least this likely to answer; None leaves it to
                the daemon.
            filter: What may be recalled: see `filters`.
            header: Goes before what is recalled.
            recall: Recall before the model is called.
            capture: Remember what the user says.
            capture_answers: And what the agent answers.
            timeout_s: Longest wait for an answer of the daemon.
            max_retries: How often a call is tried again where that does no harm.
        """
        super().__init__()
        to_filter(filter)  # a wrong one is told at once
        self._owner = owner_defaults(user_id=user_id, agent_id=agent_id, app_id=app_id, run_id=run_id)
        self._owner_of = owner_of
        self._recalls = recall
        self._captures = capture
        self._captures_answers = capture_answers
        self._recollection = Recollection(
            connection=Connection(
                url, storage_path=storage_path, client=client, timeout_s=timeout_s, max_retries=max_retries
            ),
            space=space,
            k=k,
            budget_tokens=budget_tokens,
            min_score=min_score,
            abstain_below=abstain_below,
            filter=filter,
            header=header,
        )

    # Recalling ----------------------------------------------------------------------------------------

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the model with what the user's last message calls to mind."""
        query = _question(request.messages) if self._recalls else ""
        if not query:
            return handler(request)
        owner = self._owned_by(request.runtime)
        known, touch = request.messages, _is_first_call(request.messages)
        return handler(_reminded(request, self._recollection.recall(query, owner, known, touch=touch)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Call the model with what the user's last message calls to mind."""
        query = _question(request.messages) if self._recalls else ""
        if not query:
            return await handler(request)
        owner = self._owned_by(request.runtime)
        known, touch = request.messages, _is_first_call(request.messages)
        return await handler(_reminded(request, await self._recollection.arecall(query, owner, known, touch=touch)))

    # Remembering --------------------------------------------------------------------------------------

    def after_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Remember the user's last message and the answer."""
        if self._captures:
            self._recollection.remember(self._exchange(state), self._stored_for(runtime))

    async def aafter_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Remember the user's last message and the answer."""
        if self._captures:
            await self._recollection.aremember(self._exchange(state), self._stored_for(runtime))

    def _exchange(self, state: AgentState[Any]) -> list[BaseMessage]:
        """Return the last message of the user and, of what followed, the last that says something."""
        messages: Sequence[BaseMessage] = state["messages"]
        asked = _last_question(messages)
        if asked is None:
            return []
        answers = [one for one in messages[asked:] if isinstance(one, AIMessage) and text_of(one).strip()]
        return [messages[asked], *(answers[-1:] if self._captures_answers else [])]

    # Whose --------------------------------------------------------------------------------------------

    def _owned_by(self, runtime: Runtime[Any]) -> dict[str, str]:
        """Return the owner columns of a run.

        Raises:
            ValueError: `owner_of` names none: nobody's memories are not everybody's.
        """
        if self._owner_of is None:
            return self._owner
        told = dict(self._owner_of(runtime))
        if unknown := told.keys() - OwnerFields.__annotations__.keys():
            raise ValueError(f"owner_of told columns that no memory has: {', '.join(sorted(unknown))}")
        if absent := [column for column, value in told.items() if value is None]:
            raise ValueError(f"owner_of told no {', '.join(sorted(absent))}: leave out a column that says nothing")
        owner = {**self._owner, **owner_defaults(**told)}  # type: ignore[typeddict-item]  # checked above
        if not owner_defaults(**told):  # type: ignore[typeddict-item]
            raise ValueError("owner_of told no owner; to share one memory between all, leave it out")
        return owner

    def _stored_for(self, runtime: Runtime[Any]) -> dict[str, str]:
        owner = self._owned_by(runtime)
        thread = runtime.execution_info.thread_id if runtime.execution_info is not None else None
        return {_SESSION: thread, **owner} if thread else owner

    def close(self) -> None:
        """Close what was opened by calls that wait. Twice does no harm; a later call opens it again."""
        self._recollection.connection.close()

    async def aclose(self) -> None:
        """Close everything that was opened."""
        await self._recollection.connection.aclose()


def _last_question(messages: Sequence[BaseMessage]) -> int | None:
    """Return the position of the user's last message."""
    return next((at for at in reversed(range(len(messages))) if isinstance(messages[at], HumanMessage)), None)


def _question(messages: Sequence[BaseMessage]) -> str:
    at = _last_question(messages)
    return "" if at is None else text_of(messages[at]).strip()


def _is_first_call(messages: Sequence[BaseMessage]) -> bool:
    """Say whether nothing has followed the user's message: what is recalled again after a tool is no further use."""
    return bool(messages) and isinstance(messages[-1], HumanMessage)


def _reminded(request: ModelRequest[Any], recalled: str) -> ModelRequest[Any]:
    """Return the request with memories behind its system prompt, whose blocks stay as they are."""
    if not recalled:
        return request
    prompt = request.system_message
    if prompt is None:
        return request.override(system_message=SystemMessage(content=recalled))
    if isinstance(prompt.content, str):
        content: Any = f"{prompt.content}\n\n{recalled}"
    else:
        content = [*prompt.content, {"type": "text", "text": recalled}]
    return request.override(system_message=prompt.model_copy(update={"content": content}))
