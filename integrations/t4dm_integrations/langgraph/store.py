"""`T4DMStore`: LangGraph's long-term store, kept by the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore, IndexConfig, Op, Result, TTLConfig

from t4dm._async_backend import AsyncMemoryBackend
from t4dm._backend import MemoryBackend
from t4dm._connection import Connected, Connection
from t4dm._steps import adrive, drive
from t4dm.sdk import models as m
from t4dm.sdk.errors import NotFoundError, ValidationError
from t4dm_integrations.langgraph.batches import Ask, Embed, Remove, Vectors, steps
from t4dm_integrations.langgraph.records import Partition
from t4dm_integrations.langgraph.texts import Indexing

_TTL_KEYS = frozenset(TTLConfig.__annotations__)


class T4DMStore(Connected, BaseStore):
    """Keep what agents know across threads: items in namespaces, found by key, by filter and by meaning.

    A batch is one request to the daemon, and everything it reads is as it was before what it puts. Calls that are
    awaited never wait on the event loop. Thread-safe; may be used in any number of event loops.

    Raises:
        InvalidNamespaceError: A namespace that LangGraph or T4DM does not take.
        T4DMError: Whatever else fails says so; a failure is never None or an empty list.
    """

    supports_ttl = True

    def __init__(
        self,
        url: str | None = None,
        *,
        storage_path: str | Path | None = None,
        client: MemoryBackend | AsyncMemoryBackend | None = None,
        space: str = "langgraph",
        app_id: str = "langgraph",
        index: IndexConfig | Literal[False] | None = None,
        ttl: TTLConfig | None = None,
        timeout_s: float = 30.0,
        max_retries: int = 3,
    ) -> None:
        """Note where the items are; nothing is opened or sent before the first call.

        Args:
            url: Where the daemon is; `T4DM_URL` when absent, else http://127.0.0.1:8765. Its key comes from
                `T4DM_API_KEY`.
            storage_path: A data directory to serve in this process, instead.
            client: A client or backend of your own, instead; it stays open when the store closes.
            space: Where the items are kept. Stores that index differently need different spaces.
            app_id: Whose items they are: stores in one space with another `app_id` do not see them. Users and agents
                are told apart by namespaces, as everywhere in LangGraph.
            index: What items are found by: by default the whole value, embedded by the daemon. `{"fields": […]}`
                chooses fields, `{"dims", "embed", "fields"}` takes an embedder of yours, False embeds nothing.
            ttl: `default_ttl` in minutes and `refresh_on_read`. What has expired is never returned, whatever
                `omit_expired` says, and the daemon needs no sweeps, whatever `sweep_interval_minutes` says.
            timeout_s: Longest wait for an answer of the daemon.
            max_retries: How often a call is tried again where that does no harm.

        Raises:
            TypeError: More than one of url, storage_path and client is given.
            ValueError: `index` or `ttl` has something that nobody would read.
        """
        if not app_id:
            raise ValueError("app_id is not empty: it tells the items of this store from other memories")
        if unknown := sorted(set(ttl or ()) - _TTL_KEYS):
            raise ValueError(f"ttl has {', '.join(map(repr, unknown))}; it takes {', '.join(sorted(_TTL_KEYS))}")
        self._connection = Connection(
            url, storage_path=storage_path, client=client, timeout_s=timeout_s, max_retries=max_retries
        )
        self._partition = Partition(space, app_id)
        self._indexing = Indexing(index)
        self._has_space = False
        self.ttl_config = ttl

    @property
    def index_config(self) -> IndexConfig | Literal[False] | None:
        """The `index` that was given."""
        return self._indexing.config

    @property
    def embeddings(self) -> Embeddings | None:
        """The embedder of `index`; None where the daemon embeds."""
        return self._indexing.embeddings

    @property
    def settings(self) -> dict[str, Any]:
        """What `T4DMStore(**settings)` makes one like this of: plain JSON, unless `index` holds an embedder object.

        Raises:
            ValidationError: It was made of a `client`, which no settings describe.
        """
        return {
            **self._connection.settings,
            **self._partition.fields,
            "index": self._indexing.config,
            "ttl": self.ttl_config,
        }

    # Batches ------------------------------------------------------------------------------------------

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations; the results are in the order given, reads see what was there before the puts."""
        return drive(steps(ops, self._partition, self._indexing), self._carry_out)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations as `batch` does, awaited."""
        return await adrive(steps(ops, self._partition, self._indexing), self._acarry_out)

    def _carry_out(self, step: Embed | Ask | Remove) -> Any:
        if isinstance(step, Embed):
            return self._embed(step)
        backend = self._connection.backend()
        if not self._has_space:
            backend.create_space(self._partition.space, self._indexing.space)
            self._has_space = True
        if isinstance(step, Remove):
            return backend.delete_many(step.request)
        try:
            return backend.ops(step.request).results
        except NotFoundError as error:
            if not error.is_missing_space:
                raise
            # Somebody has deleted it: nothing was done, and it is empty now.
            backend.create_space(self._partition.space, self._indexing.space)
            return backend.ops(step.request).results

    async def _acarry_out(self, step: Embed | Ask | Remove) -> Any:
        if isinstance(step, Embed):
            return await self._aembed(step)
        backend = self._connection.async_backend()
        if not self._has_space:
            await backend.create_space(self._partition.space, self._indexing.space)
            self._has_space = True
        if isinstance(step, Remove):
            return await backend.delete_many(step.request)
        try:
            return (await backend.ops(step.request)).results
        except NotFoundError as error:
            if not error.is_missing_space:
                raise
            # Somebody has deleted it: nothing was done, and it is empty now.
            await backend.create_space(self._partition.space, self._indexing.space)
            return (await backend.ops(step.request)).results

    def _embed(self, step: Embed) -> Vectors:
        assert self.embeddings is not None
        texts = self.embeddings.embed_documents(step.texts) if step.texts else []
        return texts, [self.embeddings.embed_query(query) for query in step.queries]

    async def _aembed(self, step: Embed) -> Vectors:
        assert self.embeddings is not None
        texts = await self.embeddings.aembed_documents(step.texts) if step.texts else []
        return texts, await asyncio.gather(*(self.embeddings.aembed_query(query) for query in step.queries))

    # What has expired ---------------------------------------------------------------------------------

    def sweep_ttl(self) -> int:
        """Delete what has expired, and return how many items that were; it was hidden before."""
        backend, items, texts = self._connection.backend(), self._expired("semantic"), self._expired("procedural")
        try:
            swept = backend.delete_many(items).deleted
            backend.delete_many(texts)
        except NotFoundError as error:
            if not error.is_missing_space:
                raise
            return 0
        return swept

    async def asweep_ttl(self) -> int:
        """Delete what has expired as `sweep_ttl` does, awaited."""
        backend, items, texts = self._connection.async_backend(), self._expired("semantic"), self._expired("procedural")
        try:
            swept = (await backend.delete_many(items)).deleted
            await backend.delete_many(texts)
        except NotFoundError as error:
            if not error.is_missing_space:
                raise
            return 0
        return swept

    def _expired(self, kind: m.Kind) -> m.DeleteRequest:
        return m.DeleteRequest(**self._partition.fields, kind=kind, expired=True)

    # Copies -------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return self.settings

    def __setstate__(self, state: dict[str, Any]) -> None:
        T4DMStore.__init__(self, **state)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        try:
            return type(self)(**self.settings)
        except ValidationError:  # a client of the caller's own is shared, not copied
            return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}(space={self._partition.space!r}, app_id={self._partition.app_id!r})"
