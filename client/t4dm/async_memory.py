"""The three-line API, awaited.

from t4dm import AsyncT4DM
memory = AsyncT4DM()
await memory.add("Ada likes tea")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from t4dm._async_backend import AsyncMemoryBackend, InThread, as_async
from t4dm._backend import MemoryBackend
from t4dm._requests import (
    ChangeFields,
    Defaults,
    DeleteFields,
    FilterLike,
    ListFields,
    Record,
    RecordFields,
    SearchFields,
    Time,
    moment,
    owner_defaults,
)
from t4dm.sdk import models as m
from t4dm.sdk import recall_models as r


class AsyncT4DM:
    """Remember and find, from asyncio.

    `AsyncT4DM()` speaks to the daemon of this machine (`T4DM_URL`, else http://127.0.0.1:8765);
    `AsyncT4DM(storage_path=…)` runs the same service in this process. Methods take the fields of the wire's
    models by keyword and return the wire's models; all raise `t4dm.sdk.T4DMError`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        storage_path: str | Path | None = None,
        client: AsyncMemoryBackend | MemoryBackend | None = None,
        space: str = "default",
        user_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        run_id: str | None = None,
        session_id: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        max_retries: int = 3,
        headers: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Open a memory. Give at most one of url, storage_path and client.

        Args:
            url: Where the daemon is.
            storage_path: A data directory to serve in this process; one process at a time may hold it.
            client: A client or backend of your own; it stays open when this closes.
            space: Where memories live, unless a call says otherwise.
            user_id: Stored with every memory, and restricts every search, list and delete_all; so do agent_id,
                app_id, run_id and session_id. A call may give another, or None for none.
            agent_id: See user_id.
            app_id: See user_id.
            run_id: See user_id.
            session_id: See user_id.
            api_key: For the daemon; `T4DM_API_KEY` when absent.
            timeout_s: Longest wait for an answer of the daemon.
            max_retries: How often a call is tried again where that does no harm.
            headers: Sent to the daemon with every request.
            settings: With storage_path: the daemon's settings by name, for example `embedding_model`.
        """
        if sum(given is not None for given in (url, storage_path, client)) > 1:
            raise TypeError("give at most one of url, storage_path and client")
        if settings is not None and storage_path is None:
            raise TypeError("settings are for storage_path; a daemon has its own")
        self._defaults = Defaults(
            space,
            owner_defaults(user_id=user_id, agent_id=agent_id, app_id=app_id, run_id=run_id, session_id=session_id),
        )
        self._owns_backend = client is None
        self._backend: AsyncMemoryBackend
        if client is not None:
            self._backend = as_async(client)
        elif storage_path is not None:
            from t4dm._embedded import open_embedded

            self._backend = InThread(partial(open_embedded, storage_path, **(settings or {})))
        else:
            from t4dm.sdk.async_client import AsyncT4DMClient

            self._backend = AsyncT4DMClient(
                url, timeout_s=timeout_s, max_retries=max_retries, api_key=api_key, headers=headers
            )

    @property
    def backend(self) -> AsyncMemoryBackend:
        """What carries the calls out: a `AsyncT4DMClient`, or the service in this process."""
        return self._backend

    @property
    def space(self) -> str:
        """Where memories live, unless a call says otherwise."""
        return self._defaults.space

    @property
    def owner(self) -> Mapping[str, str]:
        """The owner columns given at construction: whose memories these are."""
        return dict(self._defaults.owner)

    async def add(
        self,
        content: str,
        *,
        id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        space: str | None = None,
        idempotency_key: str | None = None,
        **fields: Unpack[RecordFields],
    ) -> m.Memory:
        """Store one memory and return it; an existing id is replaced by a new version."""
        request = self._defaults.store(content, space, id, metadata, fields)
        return await self._backend.store(request, idempotency_key=idempotency_key)

    async def add_many(
        self,
        records: Iterable[Record],
        *,
        space: str | None = None,
        on_conflict: m.OnConflict = "replace",
        idempotency_key: str | None = None,
    ) -> m.BatchAnswer:
        """Store up to 10,000 memories, all or none: texts, mappings of the fields of `add`, or `RecordIn`."""
        return await self._backend.batch(self._defaults.batch(records, space, on_conflict, idempotency_key))

    async def search(
        self,
        query: str | None = None,
        k: int = 10,
        *,
        filter: FilterLike | None = None,
        space: str | None = None,
        **fields: Unpack[SearchFields],
    ) -> list[m.Hit]:
        """Return the best hits, best first; an empty list means that nothing is relevant."""
        return (await self._backend.search(self._defaults.search(query, k, space, filter, fields))).results

    async def context(
        self,
        query: str,
        budget_tokens: int = 1000,
        *,
        filter: FilterLike | None = None,
        space: str | None = None,
        **fields: Unpack[SearchFields],
    ) -> r.ContextAnswer:
        """Return text for a prompt, made of what answers a question, within a budget of tokens."""
        return await self._backend.context(self._defaults.context(query, budget_tokens, space, filter, fields))

    async def pin(self, *ids: str, pinned: bool = True, space: str | None = None) -> int:
        """Pin memories so that sleep never forgets them, or unpin them; return how many exist."""
        return await self._backend.pin(self._defaults.pin(ids, pinned, space))

    async def feedback(self, id: str, reward: float, *, query: str | None = None, space: str | None = None) -> int:
        """Say how useful a memory was, from -1 (misled) to 1 (helped); return 0 when it does not exist."""
        return await self._backend.feedback(self._defaults.feedback(id, reward, query, space))

    async def get(
        self,
        id: str,
        *,
        space: str | None = None,
        as_of: Time | None = None,
        known_at: Time | None = None,
        include_vector: bool = False,
    ) -> m.Memory:
        """Return one memory. Raises NotFoundError."""
        return await self._backend.get(
            id,
            space=self._defaults.in_space(space),
            as_of=moment(as_of),
            known_at=moment(known_at),
            include_vector=include_vector,
        )

    async def get_all(
        self,
        *,
        filter: FilterLike | None = None,
        limit: int | None = None,
        order_by: m.OrderBy = "-created_at",
        space: str | None = None,
        **fields: Unpack[ListFields],
    ) -> list[m.Memory]:
        """Return all memories that match, newest first, or the first `limit` of them."""
        pages = self._defaults.pages(space, filter, limit, order_by, fields)
        while (request := pages.next_request()) is not None:
            pages.add(await self._backend.list(request))
        return pages.memories

    async def update(self, id: str, *, space: str | None = None, **changes: Unpack[ChangeFields]) -> m.Memory:
        """Change what is given and return the result. Raises NotFoundError, ConflictError."""
        request = self._defaults.change(changes)
        return await self._backend.update(id, request, space=self._defaults.in_space(space))

    async def delete(self, id: str, *, space: str | None = None, purge: bool = False) -> None:
        """Delete one memory; with `purge`, forget its history too. Raises NotFoundError."""
        await self._backend.delete(id, space=self._defaults.in_space(space), purge=purge)

    async def delete_all(self, *, space: str | None = None, **selector: Unpack[DeleteFields]) -> int:
        """Delete what matches and return how many; without any restriction only with `all=True`."""
        return (await self._backend.delete_many(self._defaults.deletion(space, selector))).deleted

    async def history(self, id: str, *, space: str | None = None) -> list[m.HistoryEntry]:
        """Return every event of one memory's life, oldest first. Raises NotFoundError."""
        return await self._backend.history(id, space=self._defaults.in_space(space))

    async def status(self) -> m.HealthReport:
        """Return whether the service is well, where it stores, and what it embeds with."""
        return await self._backend.health()

    async def close(self) -> None:
        """Close what this opened. Twice does no harm."""
        if self._owns_backend:
            await self._backend.close()

    async def aclose(self) -> None:
        """Close what this opened: `close` by the name that `contextlib.aclosing` looks for."""
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
