"""The asynchronous face of a memory backend, and how a synchronous one gets it.

`AsyncT4DMClient` is an `AsyncMemoryBackend` of its own; `InThread` makes one of any `MemoryBackend`.
"""

from __future__ import annotations

import asyncio
import builtins
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from datetime import datetime
from typing import Protocol, cast

from t4dm._async_view_backend import AsyncViewBackend, ViewsInThread
from t4dm._backend import MemoryBackend
from t4dm.sdk import admin_models as a
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk import namespace_models as n
from t4dm.sdk import ops_models as o
from t4dm.sdk import recall_models as r
from t4dm.sdk import session_models as s
from t4dm.sdk.errors import TransportError


class AsyncMemoryBackend(AsyncViewBackend, Protocol):
    """What `MemoryBackend` does, awaited. The methods are described there."""

    async def store(self, request: m.StoreRequest, *, idempotency_key: str | None = None) -> m.Memory: ...

    async def batch(self, request: m.BatchRequest) -> m.BatchAnswer: ...

    async def get(
        self,
        memory_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        include_vector: bool = False,
    ) -> m.Memory: ...

    async def get_many(self, request: m.GetRequest) -> builtins.list[m.Memory]: ...

    async def search(self, request: m.SearchRequest) -> m.SearchAnswer: ...

    async def context(self, request: r.ContextRequest) -> r.ContextAnswer: ...

    async def pin(self, request: r.PinRequest) -> int: ...

    async def feedback(self, request: r.FeedbackRequest) -> int: ...

    async def list(self, request: m.ListRequest) -> m.ListAnswer: ...

    async def update(self, memory_id: str, request: m.UpdateRequest, *, space: str = "default") -> m.Memory: ...

    async def delete(self, memory_id: str, *, space: str = "default", purge: bool = False) -> None: ...

    async def delete_many(self, request: m.DeleteRequest) -> m.DeleteAnswer: ...

    async def history(self, memory_id: str, *, space: str = "default") -> builtins.list[m.HistoryEntry]: ...

    async def touch(self, request: m.TouchRequest) -> int: ...

    def export(self, *, space: str | None = None, include_vectors: bool = True) -> AsyncIterator[m.Memory]: ...

    async def ops(self, request: o.OpsRequest, *, idempotency_key: str | None = None) -> o.OpsAnswer: ...

    async def namespaces(self, request: n.NamespacesRequest | None = None) -> n.NamespaceList: ...
    async def owners(self, request: n.OwnersRequest | None = None) -> n.OwnerList: ...

    async def categories(self, request: n.CategoriesRequest | None = None) -> dict[str, int]: ...

    async def append_messages(
        self, session_id: str, request: s.AppendRequest, *, idempotency_key: str | None = None
    ) -> s.AppendAnswer: ...

    async def messages(self, session_id: str, request: s.MessagesRequest | None = None) -> s.MessagePage: ...

    async def clear_messages(self, session_id: str, *, space: str = "default") -> int: ...

    async def sessions(self, request: s.SessionsRequest | None = None) -> s.SessionList: ...

    async def restore_messages(self, request: s.RestoreRequest) -> s.RestoreAnswer: ...

    async def link(self, request: g.LinkRequest) -> int: ...

    async def reweigh(self, request: g.ReweighRequest) -> builtins.list[float | None]: ...

    async def unlink(self, request: g.UnlinkRequest) -> int: ...

    async def scale_links(self, request: g.ScaleRequest) -> int: ...

    async def links(
        self,
        memory_id: str,
        *,
        direction: g.Direction = "both",
        space: str = "default",
        known_at: datetime | None = None,
    ) -> builtins.list[g.Edge]: ...

    async def traverse(self, request: g.TraverseRequest) -> g.TraverseAnswer: ...

    async def path(self, request: g.PathRequest) -> builtins.list[g.Edge] | None: ...

    async def provenance(
        self,
        memory_id: str,
        *,
        direction: g.Lineage = "backward",
        depth: int = 6,
        limit: int = 100,
        known_at: datetime | None = None,
        include_memories: bool = False,
        space: str = "default",
    ) -> builtins.list[g.Node]: ...

    async def create_space(self, name: str, request: m.SpaceRequest | None = None) -> m.Space: ...

    async def get_space(self, name: str) -> m.Space: ...

    async def list_spaces(self) -> Sequence[m.Space]: ...

    async def delete_space(self, name: str) -> None: ...

    async def stats(self) -> m.Stats: ...

    async def health(self) -> m.HealthReport: ...

    async def version(self) -> m.VersionInfo: ...

    async def flush(self, *, space: str | None = None) -> None: ...

    async def compact(
        self, *, space: str | None = None, everything: bool = False
    ) -> builtins.list[a.SpaceCompaction]: ...

    async def backup(self, *, path: str | None = None) -> a.BackupReport: ...

    async def verify(self) -> a.VerifyReport: ...

    async def close(self) -> None: ...


class InThread(ViewsInThread):
    """Run a synchronous backend in asyncio's threads, so that the event loop never waits for a disk or a model.

    The backend is opened when first used, in a thread as well, because opening recovers a log and loads models.
    """

    def __init__(self, open_backend: Callable[[], MemoryBackend]) -> None:
        self._open_backend = open_backend
        self._lock = threading.Lock()
        self._backend: MemoryBackend | None = None
        self._is_closed = False

    async def store(self, request: m.StoreRequest, *, idempotency_key: str | None = None) -> m.Memory:
        return await asyncio.to_thread(lambda: self._opened().store(request, idempotency_key=idempotency_key))

    async def batch(self, request: m.BatchRequest) -> m.BatchAnswer:
        return await asyncio.to_thread(lambda: self._opened().batch(request))

    async def get(
        self,
        memory_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        include_vector: bool = False,
    ) -> m.Memory:
        return await asyncio.to_thread(
            lambda: self._opened().get(
                memory_id, space=space, as_of=as_of, known_at=known_at, include_vector=include_vector
            )
        )

    async def get_many(self, request: m.GetRequest) -> builtins.list[m.Memory]:
        return await asyncio.to_thread(lambda: self._opened().get_many(request))

    async def search(self, request: m.SearchRequest) -> m.SearchAnswer:
        return await asyncio.to_thread(lambda: self._opened().search(request))

    async def context(self, request: r.ContextRequest) -> r.ContextAnswer:
        return await asyncio.to_thread(lambda: self._opened().context(request))

    async def pin(self, request: r.PinRequest) -> int:
        return await asyncio.to_thread(lambda: self._opened().pin(request))

    async def feedback(self, request: r.FeedbackRequest) -> int:
        return await asyncio.to_thread(lambda: self._opened().feedback(request))

    async def list(self, request: m.ListRequest) -> m.ListAnswer:
        return await asyncio.to_thread(lambda: self._opened().list(request))

    async def update(self, memory_id: str, request: m.UpdateRequest, *, space: str = "default") -> m.Memory:
        return await asyncio.to_thread(lambda: self._opened().update(memory_id, request, space=space))

    async def delete(self, memory_id: str, *, space: str = "default", purge: bool = False) -> None:
        await asyncio.to_thread(lambda: self._opened().delete(memory_id, space=space, purge=purge))

    async def delete_many(self, request: m.DeleteRequest) -> m.DeleteAnswer:
        return await asyncio.to_thread(lambda: self._opened().delete_many(request))

    async def history(self, memory_id: str, *, space: str = "default") -> builtins.list[m.HistoryEntry]:
        return await asyncio.to_thread(lambda: self._opened().history(memory_id, space=space))

    async def touch(self, request: m.TouchRequest) -> int:
        return await asyncio.to_thread(lambda: self._opened().touch(request))

    async def export(self, *, space: str | None = None, include_vectors: bool = True) -> AsyncIterator[m.Memory]:
        memories = await asyncio.to_thread(
            lambda: iter(self._opened().export(space=space, include_vectors=include_vectors))
        )
        try:
            while (memory := await asyncio.to_thread(next, memories, None)) is not None:
                yield memory
        finally:
            if isinstance(memories, Generator):
                await asyncio.to_thread(memories.close)

    async def ops(self, request: o.OpsRequest, *, idempotency_key: str | None = None) -> o.OpsAnswer:
        return await asyncio.to_thread(lambda: self._opened().ops(request, idempotency_key=idempotency_key))

    async def namespaces(self, request: n.NamespacesRequest | None = None) -> n.NamespaceList:
        return await asyncio.to_thread(lambda: self._opened().namespaces(request))

    async def owners(self, request: n.OwnersRequest | None = None) -> n.OwnerList:
        return await asyncio.to_thread(lambda: self._opened().owners(request))

    async def categories(self, request: n.CategoriesRequest | None = None) -> dict[str, int]:
        return await asyncio.to_thread(lambda: self._opened().categories(request))

    async def append_messages(
        self, session_id: str, request: s.AppendRequest, *, idempotency_key: str | None = None
    ) -> s.AppendAnswer:
        return await asyncio.to_thread(
            lambda: self._opened().append_messages(session_id, request, idempotency_key=idempotency_key)
        )

    async def messages(self, session_id: str, request: s.MessagesRequest | None = None) -> s.MessagePage:
        return await asyncio.to_thread(lambda: self._opened().messages(session_id, request))

    async def clear_messages(self, session_id: str, *, space: str = "default") -> int:
        return await asyncio.to_thread(lambda: self._opened().clear_messages(session_id, space=space))

    async def sessions(self, request: s.SessionsRequest | None = None) -> s.SessionList:
        return await asyncio.to_thread(lambda: self._opened().sessions(request))

    async def restore_messages(self, request: s.RestoreRequest) -> s.RestoreAnswer:
        return await asyncio.to_thread(lambda: self._opened().restore_messages(request))

    async def link(self, request: g.LinkRequest) -> int:
        return await asyncio.to_thread(lambda: self._opened().link(request))

    async def reweigh(self, request: g.ReweighRequest) -> builtins.list[float | None]:
        return await asyncio.to_thread(lambda: self._opened().reweigh(request))

    async def unlink(self, request: g.UnlinkRequest) -> int:
        return await asyncio.to_thread(lambda: self._opened().unlink(request))

    async def scale_links(self, request: g.ScaleRequest) -> int:
        return await asyncio.to_thread(lambda: self._opened().scale_links(request))

    async def links(
        self,
        memory_id: str,
        *,
        direction: g.Direction = "both",
        space: str = "default",
        known_at: datetime | None = None,
    ) -> builtins.list[g.Edge]:
        return await asyncio.to_thread(
            lambda: self._opened().links(memory_id, direction=direction, space=space, known_at=known_at)
        )

    async def traverse(self, request: g.TraverseRequest) -> g.TraverseAnswer:
        return await asyncio.to_thread(lambda: self._opened().traverse(request))

    async def path(self, request: g.PathRequest) -> builtins.list[g.Edge] | None:
        return await asyncio.to_thread(lambda: self._opened().path(request))

    async def provenance(
        self,
        memory_id: str,
        *,
        direction: g.Lineage = "backward",
        depth: int = 6,
        limit: int = 100,
        known_at: datetime | None = None,
        include_memories: bool = False,
        space: str = "default",
    ) -> builtins.list[g.Node]:
        return await asyncio.to_thread(
            lambda: self._opened().provenance(
                memory_id,
                direction=direction,
                depth=depth,
                limit=limit,
                known_at=known_at,
                include_memories=include_memories,
                space=space,
            )
        )

    async def create_space(self, name: str, request: m.SpaceRequest | None = None) -> m.Space:
        return await asyncio.to_thread(lambda: self._opened().create_space(name, request))

    async def get_space(self, name: str) -> m.Space:
        return await asyncio.to_thread(lambda: self._opened().get_space(name))

    async def list_spaces(self) -> Sequence[m.Space]:
        return await asyncio.to_thread(lambda: self._opened().list_spaces())

    async def delete_space(self, name: str) -> None:
        await asyncio.to_thread(lambda: self._opened().delete_space(name))

    async def stats(self) -> m.Stats:
        return await asyncio.to_thread(lambda: self._opened().stats())

    async def health(self) -> m.HealthReport:
        return await asyncio.to_thread(lambda: self._opened().health())

    async def version(self) -> m.VersionInfo:
        return await asyncio.to_thread(lambda: self._opened().version())

    async def flush(self, *, space: str | None = None) -> None:
        return await asyncio.to_thread(lambda: self._opened().flush(space=space))

    async def compact(self, *, space: str | None = None, everything: bool = False) -> builtins.list[a.SpaceCompaction]:
        return await asyncio.to_thread(lambda: self._opened().compact(space=space, everything=everything))

    async def backup(self, *, path: str | None = None) -> a.BackupReport:
        return await asyncio.to_thread(lambda: self._opened().backup(path=path))

    async def verify(self) -> a.VerifyReport:
        return await asyncio.to_thread(lambda: self._opened().verify())

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _opened(self) -> MemoryBackend:
        with self._lock:
            if self._is_closed:
                raise TransportError("this memory is closed", code="client_closed")
            if self._backend is None:
                self._backend = self._open_backend()
            return self._backend

    def _close(self) -> None:
        with self._lock:
            self._is_closed = True
            backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()


def as_async(backend: AsyncMemoryBackend | MemoryBackend) -> AsyncMemoryBackend:
    """Return the backend as an asynchronous one."""
    if inspect.iscoroutinefunction(backend.store):
        return cast("AsyncMemoryBackend", backend)
    synchronous = cast("MemoryBackend", backend)
    return InThread(lambda: synchronous)
