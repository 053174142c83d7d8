"""AutoGen's `Memory` on T4DM: what agents keep across runs, found by meaning, words and time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from autogen_core import CancellationToken, Component
from autogen_core.memory import Memory, MemoryContent, MemoryQueryResult, UpdateContextResult
from autogen_core.model_context import ChatCompletionContext
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from t4dm._async_backend import AsyncMemoryBackend
from t4dm._backend import MemoryBackend
from t4dm._connection import Connection
from t4dm._owners import check_owned
from t4dm._requests import owner_defaults
from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import ConflictError, NotFoundError, ValidationError
from t4dm_integrations.autogen import contents as c
from t4dm_integrations.autogen import context as x
from t4dm_integrations.autogen.conversation import Said, spoken_records

_ASKABLE: Final = frozenset(m.SearchRequest.model_fields) - {"query", "space", "include"}
"""What `query` may say for one call."""
_LISTABLE: Final = frozenset(m.ListRequest.model_fields) & _ASKABLE
_BATCH: Final = 100
"""Messages of a request: the daemon embeds them, and answers in seconds."""
_MAX_ALREADY_SAID: Final = 100
"""So many hits more are asked for, because some may stand in the conversation anyway."""

_T = TypeVar("_T")


class T4DMAutoGenMemoryConfig(BaseModel):
    """What a saved memory is made of again: plain JSON, without secrets."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    url: str | None = None
    storage_path: str | None = None
    timeout_s: float = Field(default=30.0, gt=0)
    max_retries: int = Field(default=3, ge=0)
    space: m.SpaceName = "default"
    user_id: m.Label | None = None
    agent_id: m.Label | None = None
    app_id: m.Label | None = None
    run_id: m.Label | None = None
    session_id: m.Label | None = None
    namespace: list[m.Label] = Field(default_factory=list, max_length=32)
    k: int = Field(default=5, ge=1, le=m.MAX_K)
    min_score: float | None = Field(default=None, ge=0, le=1)
    mode: m.SearchMode | None = None
    filter: dict[str, JsonValue] | None = None
    header: str = Field(default=x.HEADER, min_length=1)
    role: x.Role = "system"


class T4DMAutoGenMemory(Memory, Component[T4DMAutoGenMemoryConfig]):
    """Keep what agents know in T4DM, and recall it into their model contexts.

    Give it to an agent in a list, `AssistantAgent(…, memory=[memory])`. AutoGen writes nothing into a memory: use
    `add`, or `capture` for what was said. Close it yourself; agents do not.
    """

    component_type = "memory"
    component_config_schema = T4DMAutoGenMemoryConfig
    component_provider_override = "t4dm.adapters.autogen.T4DMAutoGenMemory"
    component_description = "Memories of a T4DM daemon."

    def __init__(
        self,
        url: str | None = None,
        *,
        storage_path: str | Path | None = None,
        client: AsyncMemoryBackend | MemoryBackend | None = None,
        name: str | None = None,
        space: str = "default",
        user_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        run_id: str | None = None,
        session_id: str | None = None,
        namespace: Collection[str] = (),
        k: int = 5,
        min_score: float | None = None,
        mode: m.SearchMode | None = None,
        filter: m.Filter | Mapping[str, Any] | None = None,
        header: str = x.HEADER,
        role: x.Role = "system",
        timeout_s: float = 30.0,
        max_retries: int = 3,
    ) -> None:
        """Note where the memories are; nothing is sent before the first call.

        Args:
            url: Where the daemon is; `T4DM_URL` when absent, else http://127.0.0.1:8765.
            storage_path: A data directory to serve in this process.
            client: A client or backend of your own; such a memory cannot be dumped.
            name: What you call it.
            space: Where memories live.
            user_id: Stored with every memory, and restricts all that is found and cleared; so do agent_id, app_id,
                run_id, session_id and namespace.
            agent_id: See user_id.
            app_id: See user_id.
            run_id: See user_id.
            session_id: See user_id.
            namespace: Labels, outermost first.
            k: At most so many memories are recalled.
            min_score: Leave out what scores less; in [0, 1].
            mode: How to search: hybrid (the default), vector, lexical or graph.
            filter: What may be found: T4DM's filter tree, for example `{"field": "topic", "op": "eq", "value": "tea"}`.
            header: Goes before the memories in a model context, on lines of its own.
            role: Whose message that is: `user` for models that take only one system message.
            timeout_s: Longest wait for an answer of the daemon.
            max_retries: How often a call is tried again where that does no harm.

        Raises:
            ValidationError: A setting is wrong.
            TypeError: More than one of url, storage_path and client is given.
        """
        self._connection = Connection(
            url, storage_path=storage_path, client=client, timeout_s=timeout_s, max_retries=max_retries
        )
        with as_validation_error():
            self._filter = None if filter is None else m.Filter.model_validate(filter)
            self._settings = T4DMAutoGenMemoryConfig(
                name=name,
                timeout_s=timeout_s,
                max_retries=max_retries,
                space=space,
                user_id=user_id,
                agent_id=agent_id,
                app_id=app_id,
                run_id=run_id,
                session_id=session_id,
                namespace=list(namespace),
                k=k,
                min_score=min_score,
                mode=mode,
                filter=None if self._filter is None else self._filter.model_dump(mode="json", exclude_unset=True),
                header=header,
                role=role,
            )
        self._owner = owner_defaults(
            user_id=user_id, agent_id=agent_id, app_id=app_id, run_id=run_id, session_id=session_id
        )

    @property
    def name(self) -> str:
        """What it is called: the name that was given, else that of its space."""
        return self._settings.name or self._settings.space

    # Recalling ----------------------------------------------------------------------------------------

    async def update_context(self, model_context: ChatCompletionContext) -> UpdateContextResult:
        """Recall what answers the last user's message, and add to the context what does not stand in it yet.

        Returns:
            All that was recalled, also what an earlier block shows. Bytes are told by their words, as in the context:
            AutoGen keeps this in the states of teams, which cannot hold bytes.
        """
        messages = await model_context.get_messages()
        question = x.question_in(messages, self._settings.header)
        if not question:
            return UpdateContextResult(memories=MemoryQueryResult(results=[]))
        said = x.said_in(messages)
        k = min(self._settings.k + min(len(said), _MAX_ALREADY_SAID), m.MAX_K)
        hits = await self._search(question, {"k": k})
        hits = [hit for hit in hits if hit.memory.content.strip() not in said][: self._settings.k]
        recalled = [c.to_content(hit.memory, hit.score) for hit in hits]
        entries = [_entry(hit.memory, content) for hit, content in zip(hits, recalled, strict=True)]
        shown = x.shown_in(messages, self._settings.header)
        if new := [entry for entry in dict.fromkeys(entries) if entry not in shown]:
            await model_context.add_message(x.as_message(new, self._settings.header, self._settings.role))
        for hit, content in zip(hits, recalled, strict=True):
            if isinstance(content.content, bytes):
                content.content = hit.memory.content
        return UpdateContextResult(memories=MemoryQueryResult(results=recalled))

    async def query(
        self, query: str | MemoryContent = "", cancellation_token: CancellationToken | None = None, **kwargs: Any
    ) -> MemoryQueryResult:
        """Return what answers a question, best first, with `id` and `score` where the metadata have none.

        Args:
            query: The question; an empty text asks for the newest memories, which have no score.
            cancellation_token: Ends the wait.
            **kwargs: For this call: `k`, `min_score`, `mode`, `filter`, `as_of`, `known_at` and all else that
                `t4dm.sdk.SearchRequest` has. A `filter` must hold beside this memory's own.

        Raises:
            TypeError: An argument is unknown, or an owner column or a namespace that this memory has already.
            T4DMError: The search failed; nothing found is an empty result and no error.
        """
        own = self._selection().keys() - {"filter"}
        for name in kwargs:
            if name not in _ASKABLE:
                raise TypeError(f"query() got an unexpected keyword argument {name!r}")
            if name in own:
                raise TypeError(f"query() got the keyword argument {name!r}, which this memory restricts already")
        return await _cancellable(self._query(query, kwargs), cancellation_token)

    async def _query(self, query: str | MemoryContent, asked: dict[str, Any]) -> MemoryQueryResult:
        text = query if isinstance(query, str) else c.text_of(query)
        if text.strip() or asked.get("vector") is not None:
            found = [c.to_content(hit.memory, hit.score) for hit in await self._search(text, asked)]
        elif isinstance(query, str):
            found = [c.to_content(memory, None) for memory in await self._newest(asked)]
        else:
            raise ValidationError(
                f"a content of {c.mime_text(query)} without texts in its metadata has no words to search for",
                code="validation_error",
            )
        return MemoryQueryResult(results=found)

    async def _search(self, text: str, asked: Mapping[str, Any]) -> list[m.Hit]:
        fields: dict[str, Any] = {
            "k": self._settings.k,
            "min_score": self._settings.min_score,
            "mode": self._settings.mode,
            **asked,
            **self._selection(asked.get("filter")),
        }
        if text.strip():
            fields["query"] = text
        with as_validation_error():
            request = m.SearchRequest(
                include=["value"], **{name: value for name, value in fields.items() if value is not None}
            )
        try:
            return (await self._connection.async_backend().search(request)).results
        except NotFoundError as error:
            return _nothing(error)

    async def _newest(self, asked: Mapping[str, Any]) -> list[m.Memory]:
        fields = {**asked, **self._selection(asked.get("filter"))}
        fields["limit"] = fields.pop("k", self._settings.k)
        if unusable := fields.keys() - _LISTABLE - {"limit", "space"}:
            raise ValidationError(
                f"an empty query lists the newest memories, which takes no {', '.join(sorted(unusable))}",
                code="validation_error",
            )
        with as_validation_error():
            request = m.ListRequest(**fields)
        try:
            return (await self._connection.async_backend().list(request)).results
        except NotFoundError as error:
            return _nothing(error)

    def _selection(self, filter: m.Filter | Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what restricts everything that is found, with a filter that must hold, too."""
        selection: dict[str, Any] = {"space": self._settings.space, **self._owner}
        with as_validation_error():
            filters = [m.Filter.model_validate(one) for one in (self._filter, filter) if one is not None]
        if filters:
            selection["filter"] = filters[0] if len(filters) == 1 else m.Filter(and_=filters)
        if self._settings.namespace:
            selection["namespace_prefix"] = self._settings.namespace
        return selection

    # Remembering --------------------------------------------------------------------------------------

    async def add(self, content: MemoryContent, cancellation_token: CancellationToken | None = None) -> None:
        """Store a content. What this memory's owner has stored in the same words already is not stored twice.

        A text `id` in the metadata names the memory: adding again replaces it.

        Raises:
            ConflictError: The id is another owner's, or in another namespace.
            T4DMError: It was not stored.
        """
        await _cancellable(self._add(content), cancellation_token)

    async def _add(self, content: MemoryContent) -> None:
        backend, space = self._connection.async_backend(), self._settings.space
        record = c.to_record(content, self._owner, self._settings.namespace)
        if record.id is not None:
            await self._check_own(backend, record.id)
        stored = await backend.store(_in_space(record, space))
        if stored.status == "duplicate" and not c.says_the_same(record, stored):
            await backend.store(_in_space(c.with_digest(record), space))

    async def _check_own(self, backend: AsyncMemoryBackend, id: str) -> None:
        space = self._settings.space
        try:
            found = await backend.get_many(m.GetRequest(ids=[id], space=space))
        except NotFoundError as error:
            found = _nothing(error)
        check_owned(found, self._owner)
        for memory in found:
            if memory.namespace != self._settings.namespace:
                raise ConflictError(
                    f"the id {id!r} is in the namespace {memory.namespace}, and this memory stores in "
                    f"{self._settings.namespace}: ids are unique in space {space!r}, so take another id, or a memory "
                    "of that namespace",
                    code="id_of_another_namespace",
                    details={"id": id, "space": space, "namespace": memory.namespace},
                )

    async def capture(
        self,
        said: Said,
        cancellation_token: CancellationToken | None = None,
        *,
        sources: Collection[str] | None = None,
    ) -> int:
        """Store what was said in a run, a memory for each message, and return how many were new.

        Args:
            said: A `TaskResult`, a `Response`, a message, or messages. Events, such as calls of tools, are left out.
            cancellation_token: Ends the wait.
            sources: Keep only what these said; everyone when absent.

        Raises:
            TypeError: There are no messages in it.
            T4DMError: It was not all stored; to capture it again does no harm.
        """
        records = spoken_records(said, self._owner, self._settings.namespace, sources)
        return await _cancellable(self._store(records), cancellation_token)

    async def _store(self, records: list[m.RecordIn]) -> int:
        new = 0
        for at in range(0, len(records), _BATCH):
            request = m.BatchRequest(records=records[at : at + _BATCH], space=self._settings.space)
            answer = await self._connection.async_backend().batch(request)
            new += sum(one.status == "created" for one in answer.results)
        return new

    # Forgetting ---------------------------------------------------------------------------------------

    async def clear(self) -> None:
        """Delete every memory that this one can find: those of its space, owner, namespace and filter.

        Raises:
            ValidationError: Nothing restricts it to less than the whole default space, which others use, too.
        """
        selection = self._selection()
        is_all = selection.keys() == {"space"}
        if is_all and self._settings.space == "default":
            raise ValidationError(
                "clear() would delete everything in the space 'default', whoever stored it: give this memory a space "
                "of its own, or user_id, agent_id, app_id, run_id, session_id or namespace",
                code="empty_selector",
            )
        try:
            await self._connection.async_backend().delete_many(m.DeleteRequest(all=is_all, **selection))
        except NotFoundError as error:
            _nothing(error)

    async def close(self) -> None:
        """Close what was opened. Twice does no harm; another call opens it again."""
        await self._connection.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Saved configurations -----------------------------------------------------------------------------

    def _to_config(self) -> T4DMAutoGenMemoryConfig:
        """Return the configuration. Raises ValidationError when this was made of a `client`."""
        return self._settings.model_copy(update=self._connection.settings)

    @classmethod
    def _from_config(cls, config: T4DMAutoGenMemoryConfig) -> Self:
        return cls(**{name: getattr(config, name) for name in T4DMAutoGenMemoryConfig.model_fields})


def _entry(memory: m.Memory, content: MemoryContent) -> str:
    text = memory.content.strip()
    if not isinstance(content.content, str | dict):
        text = f"[{c.mime_text(content)}] {text}".strip()
    return x.entry_of(text, memory.event_time.date().isoformat())


def _in_space(record: m.RecordIn, space: str) -> m.StoreRequest:
    return m.StoreRequest(space=space, **{name: getattr(record, name) for name in record.model_fields_set})


def _nothing(error: NotFoundError) -> list[Any]:
    """Return what is found in a space that nothing was ever written to. Raises the error if it is about another."""
    if error.is_missing_space:
        return []
    raise error


async def _cancellable(work: Coroutine[Any, Any, _T], token: CancellationToken | None) -> _T:
    """Wait for the work, unless the token is cancelled before it is done. Raises CancelledError then."""
    task = asyncio.ensure_future(work)
    if token is not None:
        token.link_future(task)
    return await task
