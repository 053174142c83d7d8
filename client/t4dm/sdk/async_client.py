"""The asynchronous client. `client.py` has the same methods; a test compares them."""

from __future__ import annotations

import asyncio
import builtins
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

import httpx
from pydantic import JsonValue

from t4dm.sdk import _calls as calls
from t4dm.sdk import _graph_calls as graph_calls
from t4dm.sdk import _session_calls as session_calls
from t4dm.sdk import admin_models as a
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk import namespace_models as n
from t4dm.sdk import ops_models as o
from t4dm.sdk import recall_models as r
from t4dm.sdk import session_models as s
from t4dm.sdk._async_view_client import AsyncViewClient
from t4dm.sdk._base import Attempt, BaseClient, Connection
from t4dm.sdk._calls import Call
from t4dm.sdk._export import ExportLine, ExportReader
from t4dm.sdk._waiting import Waiting
from t4dm.sdk.errors import T4DMError, TransportError, UnavailableError

T = TypeVar("T")


class AsyncT4DMClient(AsyncViewClient, BaseClient):
    """Speak to a T4DM daemon from asyncio. Safe to share between tasks; connections are pooled.

    It may outlive an event loop (`asyncio.run` twice, a notebook): connections are made anew in each.

    Every method raises `t4dm.sdk.T4DMError`, by kind: `NotFoundError`, `ValidationError`, `TransportError`, …
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 2.0,
        max_retries: int = 3,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: Where the daemon is; `T4DM_URL` when absent, else http://127.0.0.1:8765.
            timeout_s: For each try: the longest wait for the next bytes of an answer.
            connect_timeout_s: For each try: the longest wait for a connection.
            max_retries: How often a call is tried again where that does no harm; 0 never.
            api_key: Sent as `Authorization: Bearer`; `T4DM_API_KEY` when absent.
            headers: Sent with every request, over the client's own.
            transport: What carries requests instead of the network, for tests or special TLS.
            sleep: Waits between tries.
            clock: Seconds that only grow.
        """
        self._connection = Connection(
            url,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            max_retries=max_retries,
            api_key=api_key,
            headers=headers,
        )
        self._sleep = sleep
        self._clock = clock
        self._transport = transport
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http = self._connect()
        self._is_closed = False

    # Memories -----------------------------------------------------------------------------------------

    async def store(self, request: m.StoreRequest, *, idempotency_key: str | None = None) -> m.Memory:
        """Store one memory and return it; `status` says whether it was created, updated or a duplicate."""
        return await self._run(calls.store(request, idempotency_key))

    async def batch(self, request: m.BatchRequest) -> m.BatchAnswer:
        """Store many, all or none; the answer is in the order given."""
        return await self._run(calls.batch(request))

    async def get(
        self,
        memory_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        include_vector: bool = False,
    ) -> m.Memory:
        """Return one memory. Raises NotFoundError."""
        return await self._run(calls.get(memory_id, space, as_of, known_at, include_vector))

    async def get_many(self, request: m.GetRequest) -> builtins.list[m.Memory]:
        """Return those of the ids that exist, in the order given."""
        return await self._run(calls.get_many(request))

    async def search(self, request: m.SearchRequest) -> m.SearchAnswer:
        """Return the best hits, best first; an empty answer means nothing relevant."""
        return await self._run(calls.search(request))

    async def context(self, request: r.ContextRequest) -> r.ContextAnswer:
        """Return a block of text for a prompt, made of what answers a question, within a budget of tokens."""
        return await self._run(calls.context(request))

    async def pin(self, request: r.PinRequest) -> int:
        """Pin memories so that sleep never forgets them, or unpin them; return how many exist."""
        return await self._run(calls.pin(request))

    async def feedback(self, request: r.FeedbackRequest) -> int:
        """Say how useful memories were; return how many of them exist."""
        return await self._run(calls.feedback(request))

    async def list(self, request: m.ListRequest) -> m.ListAnswer:
        """Return one page, the total, and the cursor of the next page."""
        return await self._run(calls.list_memories(request))

    async def update(self, memory_id: str, request: m.UpdateRequest, *, space: str = "default") -> m.Memory:
        """Change what is set in the request and return the result. Raises NotFoundError, ConflictError."""
        return await self._run(calls.update(memory_id, request, space))

    async def delete(self, memory_id: str, *, space: str = "default", purge: bool = False) -> None:
        """Delete one memory; with `purge`, forget its history too. Raises NotFoundError."""
        await self._run(calls.delete(memory_id, space, purge))

    async def delete_many(self, request: m.DeleteRequest) -> m.DeleteAnswer:
        """Delete what matches; an empty selector is refused unless `all` is true."""
        return await self._run(calls.delete_many(request))

    async def history(self, memory_id: str, *, space: str = "default") -> builtins.list[m.HistoryEntry]:
        """Return every event of one memory's life, oldest first. Raises NotFoundError."""
        return await self._run(calls.history(memory_id, space))

    async def touch(self, request: m.TouchRequest) -> int:
        """Record that memories were used; return how many exist."""
        return await self._run(calls.touch(request))

    async def export(self, *, space: str | None = None, include_vectors: bool = True) -> AsyncIterator[m.Memory]:
        """Yield every present memory as of one moment, in order of insertion; all spaces when none is named.

        Raises TransportError if the stream was cut, after yielding what arrived.
        """
        async for line in self.export_lines(space=space, include_vectors=include_vectors):
            if isinstance(line.says, m.Memory):
                yield line.says

    async def export_lines(
        self, *, space: str | None = None, include_vectors: bool = True
    ) -> AsyncIterator[ExportLine]:
        """Yield an export line by line as the daemon wrote it: also the spaces' settings, and the last line.

        Raises TransportError if the stream was cut, after yielding what arrived.
        """
        attempt = self._attempt(calls.export(space, include_vectors))
        reader = ExportReader(self.url)
        response = await self._exchange(attempt, stream=True)
        try:
            async for chunk in response.aiter_bytes():
                for line in reader.feed(chunk):
                    yield line
            for line in reader.finish():
                yield line
        except httpx.RequestError as error:
            raise reader.cut() from error
        finally:
            await response.aclose()

    async def ops(self, request: o.OpsRequest, *, idempotency_key: str | None = None) -> o.OpsAnswer:
        """Carry out reads and writes in one request; the results are in the order given.

        All reads see the state before the batch's writes; the puts of a space are stored in one write, all or none.
        An operation that is wrong refuses the whole batch.
        """
        return await self._run(session_calls.ops(request, idempotency_key))

    async def namespaces(self, request: n.NamespacesRequest | None = None) -> n.NamespaceList:
        """Return the namespaces that hold memories, in the order of their labels, with what they hold."""
        return await self._run(session_calls.namespaces(request))

    async def owners(self, request: n.OwnersRequest | None = None) -> n.OwnerList:
        """Return the users, agents, apps, runs and sessions that have memories, and how many."""
        return await self._run(session_calls.owners(request))

    async def categories(self, request: n.CategoriesRequest | None = None) -> dict[str, int]:
        """Return how many memories have each category, most first."""
        return await self._run(session_calls.categories(request))

    # Sessions ---------------------------------------------------------------------------------------

    async def append_messages(
        self, session_id: str, request: s.AppendRequest, *, idempotency_key: str | None = None
    ) -> s.AppendAnswer:
        """Append messages to a session, all or none, and return the place of each."""
        return await self._run(session_calls.append_messages(session_id, request, idempotency_key))

    async def messages(self, session_id: str, request: s.MessagesRequest | None = None) -> s.MessagePage:
        """Return messages of a session in order: the oldest that match, or the newest with `last`. None is no error."""
        return await self._run(session_calls.messages(session_id, request))

    async def clear_messages(self, session_id: str, *, space: str = "default") -> int:
        """Forget the messages of a session for good, and return how many there were."""
        return await self._run(session_calls.clear_messages(session_id, space))

    async def sessions(self, request: s.SessionsRequest | None = None) -> s.SessionList:
        """Return the sessions that hold messages, the one with the newest message first."""
        return await self._run(session_calls.sessions(request))

    async def restore_messages(self, request: s.RestoreRequest) -> s.RestoreAnswer:
        """Put messages back where an export says they were, all or none. Raises ConflictError (a place is taken)."""
        return await self._run(session_calls.restore_messages(request))

    # Links --------------------------------------------------------------------------------------------

    async def link(self, request: g.LinkRequest) -> int:
        """Link memories, all or none, and return how many links were named; one that exists takes the new weight.

        Raises NotFoundError (no such space), ValidationError (an end that does not exist; `details` says which).
        """
        return await self._run(graph_calls.link(request))

    async def reweigh(self, request: g.ReweighRequest) -> builtins.list[float | None]:
        """Change weights in place and return the new ones, in order; None where there is no such link."""
        return await self._run(graph_calls.reweigh(request))

    async def unlink(self, request: g.UnlinkRequest) -> int:
        """End links and return how many of them there were."""
        return await self._run(graph_calls.unlink(request))

    async def scale_links(self, request: g.ScaleRequest) -> int:
        """Change the weight of every link chosen in one step; return how many were chosen."""
        return await self._run(graph_calls.scale_links(request))

    async def links(
        self,
        memory_id: str,
        *,
        direction: g.Direction = "both",
        space: str = "default",
        known_at: datetime | None = None,
    ) -> builtins.list[g.Edge]:
        """Return the links at one memory, by ends and type. Raises NotFoundError."""
        return await self._run(graph_calls.links(memory_id, direction, space, known_at))

    async def traverse(self, request: g.TraverseRequest) -> g.TraverseAnswer:
        """Return the memories within `depth` links, nearest first. Raises NotFoundError for the start."""
        return await self._run(graph_calls.traverse(request))

    async def path(self, request: g.PathRequest) -> builtins.list[g.Edge] | None:
        """Return a shortest path as its links in order, None when there is none. Raises NotFoundError for its ends."""
        return await self._run(graph_calls.path(request))

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
        """Return what a memory was made from, or with `forward` what was made of it. Raises NotFoundError."""
        return await self._run(
            graph_calls.provenance(memory_id, direction, depth, limit, known_at, include_memories, space)
        )

    # Spaces -------------------------------------------------------------------------------------------

    async def create_space(self, name: str, request: m.SpaceRequest | None = None) -> m.Space:
        """Create a space, or return it if it exists with the same settings. Raises ConflictError otherwise."""
        return await self._run(calls.create_space(name, request))

    async def get_space(self, name: str) -> m.Space:
        """Return one space. Raises NotFoundError."""
        return await self._run(calls.get_space(name))

    async def list_spaces(self) -> builtins.list[m.Space]:
        """Return all spaces."""
        return await self._run(calls.list_spaces())

    async def delete_space(self, name: str) -> None:
        """Delete a space and everything in it, for good. Raises NotFoundError."""
        await self._run(calls.delete_space(name))

    # Operations ---------------------------------------------------------------------------------------

    async def stats(self) -> m.Stats:
        """Return counts over all spaces, and each space's own."""
        return await self._run(calls.stats())

    async def health(self) -> m.HealthReport:
        """Return what a client wants to know before it starts."""
        return await self._run(calls.health())

    async def version(self) -> m.VersionInfo:
        """Return the daemon's version and what it can do."""
        return await self._run(calls.version())

    async def flush(self, *, space: str | None = None) -> None:
        """Write what is in memory to segments and release the log behind it."""
        await self._run(graph_calls.flush(space))

    async def compact(self, *, space: str | None = None, everything: bool = False) -> builtins.list[a.SpaceCompaction]:
        """Merge segments, and say for each space what that did; answers when it is done, which may take minutes."""
        return await self._run(graph_calls.compact(space, everything))

    async def backup(self, *, path: str | None = None) -> a.BackupReport:
        """Copy the store as it is at one moment; without a path, beside the store, named by the time."""
        return await self._run(graph_calls.backup(path))

    async def verify(self) -> a.VerifyReport:
        """Compare every file of the store with what was written, and say what is wrong."""
        return await self._run(graph_calls.verify())

    async def ready(self) -> m.Readiness:
        """Return whether the daemon serves yet, and what it is doing if not. One try, no retries."""
        return await self._run(calls.ready())

    async def wait_ready(self, timeout_s: float = 30.0) -> m.Readiness:
        """Wait until the daemon serves.

        Raises:
            TransportError: It did not answer within the time.
            UnavailableError: It answered, but was not ready within the time.
            ServerError: It failed to start.
        """
        waiting = Waiting(self.url, timeout_s, self._clock)
        while True:
            outcome: m.Readiness | T4DMError
            try:
                outcome = await self._run(calls.ready(waiting.try_s()))
            except (TransportError, UnavailableError) as error:
                outcome = error
            pause_s = waiting.pause_s(outcome)
            if pause_s is None:
                return waiting.result(outcome)
            await self._sleep(pause_s)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int | float | bool] | None = None,
        json: JsonValue = None,
        idempotency_key: str | None = None,
    ) -> JsonValue:
        """Call a route that has no method here, and return its JSON; null for an empty answer.

        Args:
            method: GET, POST, …; tried again like any reading call if it is GET, HEAD or OPTIONS.
            path: Begins with `/` and is percent-encoded.
            params: The query.
            json: The body; none when null.
            idempotency_key: Makes a writing call repeatable, where the route honours it.
        """
        return await self._run(calls.raw(method, path, params, json, idempotency_key))

    async def close(self) -> None:
        """Close the connections. Twice does no harm."""
        self._is_closed = True
        if self._loop in (None, asyncio.get_running_loop()):  # those of an earlier loop died with it
            await self._http.aclose()

    async def aclose(self) -> None:
        """Close the connections: `close` by the name that `contextlib.aclosing` looks for."""
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, call: Call[T]) -> T:
        attempt = self._attempt(call)
        return attempt.result(await self._exchange(attempt))

    async def _exchange(self, attempt: Attempt[T], *, stream: bool = False) -> httpx.Response:
        while True:
            http = self._of_this_loop()
            outcome: httpx.Response | httpx.RequestError
            try:
                outcome = await http.send(attempt.request(), stream=stream)
                if stream and not outcome.is_success:
                    await outcome.aread()
            except httpx.RequestError as error:
                outcome = error
            pause_s = attempt.pause_s(outcome)
            if pause_s is None:
                return attempt.answer(outcome)
            await self._sleep(pause_s)

    def _connect(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=self._transport,
            verify=self._connection.verify,
            trust_env=self._connection.trust_env,
            limits=self._connection.limits,
        )

    def _of_this_loop(self) -> httpx.AsyncClient:
        """Return connections that belong to the running event loop; those of an earlier one cannot be used."""
        if self._is_closed:
            raise TransportError("this client is closed", code="client_closed")
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None and self._transport is None:
                self._http = self._connect()
            self._loop = loop
        return self._http
