"""The memory service behind the client's own protocol: embedded mode, and what other doors build on."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError

from t4dm._backend import MemoryBackend
from t4dm.sdk import admin_models as a
from t4dm.sdk import errors as e
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk import namespace_models as n
from t4dm.sdk import ops_models as o
from t4dm.sdk import recall_models as r
from t4dm.sdk import session_models as s
from t4dm.sdk._calls import checked_key
from t4dm_daemon.core.clock import to_micros
from t4dm_daemon.core.errors import BusyError, DaemonError
from t4dm_daemon.core.item import Item
from t4dm_daemon.memory import json_text, records
from t4dm_daemon.memory.graph import GraphService, Step, edge_model
from t4dm_daemon.memory.history import Event
from t4dm_daemon.memory.maintenance import Maintenance, plain_backup, plain_report, plain_verification
from t4dm_daemon.memory.namespaces import NamespaceService
from t4dm_daemon.memory.ops import Counted, Found, Got, Listed, OpsService, Result
from t4dm_daemon.memory.ranking import Hit
from t4dm_daemon.memory.service import MemoryService
from t4dm_daemon.memory.sessions import SessionService
from t4dm_daemon.memory.spaces import SpaceHandle
from t4dm_daemon.memory.views import Views
from t4dm_daemon.memory.views.in_process import ViewsInProcess
from t4dm_daemon.storage.protocol import Outcome, View

T = TypeVar("T")
_SPACE_NAME = TypeAdapter(m.SpaceName)
_SESSION_ID = TypeAdapter(m.Label)
_ID = TypeAdapter(m.Id)


def _check(adapter: TypeAdapter[str], value: object, field: str) -> None:
    """Refuse what HTTP would refuse. Raises t4dm.sdk.errors.ValidationError."""
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise e.ValidationError(f"{field}: {reason}", code="validation_error", status=422) from None


def _check_place(memory_id: object, space: object) -> None:
    _check(_ID, memory_id, "id")
    _check(_SPACE_NAME, space, "space")


_CLASSES: dict[int, type[e.T4DMError]] = {
    400: e.ValidationError,
    404: e.NotFoundError,
    409: e.ConflictError,
    422: e.ValidationError,
    503: e.UnavailableError,
}


def raise_for_caller(error: DaemonError) -> NoReturn:
    """Raise the client's error of the same meaning, code and details."""
    facts: dict[str, Any] = {"code": error.code, "status": error.status, "details": error.details}
    if isinstance(error, BusyError):
        raise e.UnavailableError(error.message, retry_after_s=error.retry_after_s, **facts) from error
    raise _CLASSES.get(error.status, e.ServerError)(error.message, **facts) from error


def history_model(event: Event, space: str) -> m.HistoryEntry:
    """Return the wire model of one event."""
    return m.HistoryEntry.model_validate(
        {
            "event": event.event,
            "version": event.version,
            "recorded_at": records.time_text(event.recorded_at),
            "old": None if event.old is None else records.to_model(event.old, space),
            "new": None if event.new is None else records.to_model(event.new, space),
        }
    )


def node_model(step: Step, space: str) -> g.Node:
    """Return the wire model of one step of a walk."""
    return g.Node(
        id=step.reached.id,
        depth=step.reached.depth,
        edge=edge_model(step.reached.edge),
        memory=None if step.item is None else records.to_model(step.item, space),
    )


def hit_model(hit: Hit, asked: m.SearchRequest) -> m.Hit:
    """Return the wire model of a hit, with what the search asked to include."""
    shown = set(asked.include)
    return m.Hit(
        memory=records.to_model(hit.item, asked.space, with_vector="vector" in shown, with_value="value" in shown),
        score=hit.score,
        similarity=hit.similarity,
        explain=dict(hit.contributions) if "explain" in shown else None,
        ranks=dict(hit.ranks) if "explain" in shown else None,
    )


def op_model(op: o.Op, result: Result) -> Any:
    """Return the wire model of what became of one operation."""
    if isinstance(result, Found):
        assert isinstance(op, o.SearchOp)
        return o.SearchResult(results=[hit_model(hit, op) for hit in result.hits])
    if isinstance(result, Got | Listed):
        assert isinstance(op, o.GetOp | o.ListOp)
        memories = [records.to_model(item, op.space, with_vector=op.include_vectors) for item in result.items]
        if isinstance(result, Got):
            return o.GetResult(results=memories)
        return o.ListResult(results=memories, total=result.total, cursor=result.cursor)
    if isinstance(result, Outcome):
        return o.PutResult(id=result.id, status=result.status, version=result.version)
    if isinstance(result, Counted):
        is_deletion = isinstance(op, o.DeleteOp)
        return o.DeleteResult(deleted=result.count) if is_deletion else o.TouchResult(touched=result.count)
    return o.ListNamespacesResult(results=result.results, total=result.total)


class ServiceBackend(ViewsInProcess, MemoryBackend):
    """Answer like `T4DMClient`, without HTTP.

    Args:
        service, graph, maintenance, views: What carries the calls out.
        stats, health, version: What only the runtime can tell.
        on_close: Releases the runtime; called once.
    """

    def __init__(
        self,
        service: MemoryService,
        graph: GraphService,
        sessions: SessionService,
        namespaces: NamespaceService,
        ops: OpsService,
        maintenance: Maintenance,
        views: Views,
        *,
        stats: Callable[[], m.Stats],
        health: Callable[[], m.HealthReport],
        version: Callable[[], m.VersionInfo],
        space_model: Callable[[SpaceHandle], m.Space],
        on_close: Callable[[], None],
    ) -> None:
        self._service = service
        self._graph = graph
        self._sessions = sessions
        self._namespaces = namespaces
        self._ops = ops
        self._maintenance = maintenance
        self._views = views
        self._stats = stats
        self._health = health
        self._version = version
        self._space_model = space_model
        self._on_close = on_close
        self._is_closed = False

    def _call(self, work: Callable[[], T]) -> T:
        if self._is_closed:
            raise e.TransportError("this memory is closed", code="client_closed")
        try:
            return work()
        except DaemonError as error:
            raise_for_caller(error)

    def store(self, request: m.StoreRequest, *, idempotency_key: str | None = None) -> m.Memory:
        key = None if idempotency_key is None else checked_key(idempotency_key)

        def work() -> m.Memory:
            stored = self._service.store(request, idempotency_key=key)
            return records.to_model(stored.item, request.space, status=stored.outcome.status)

        return self._call(work)

    def batch(self, request: m.BatchRequest) -> m.BatchAnswer:
        result = self._call(lambda: self._service.batch(request))
        return m.BatchAnswer(
            results=[m.BatchItem(id=one.id, status=one.status, version=one.version) for one in result.outcomes],
            replayed=result.replayed,
        )

    def get(
        self,
        memory_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        include_vector: bool = False,
    ) -> m.Memory:
        _check_place(memory_id, space)
        view = View(None if as_of is None else to_micros(as_of), None if known_at is None else to_micros(known_at))
        item = self._call(lambda: self._service.get(memory_id, space=space, view=view, with_vector=include_vector))
        return records.to_model(item, space, with_vector=include_vector)

    def get_many(self, request: m.GetRequest) -> builtins.list[m.Memory]:
        items = self._call(lambda: self._service.get_many(request))
        return [records.to_model(item, request.space, with_vector=request.include_vectors) for item in items]

    def search(self, request: m.SearchRequest) -> m.SearchAnswer:
        started = time.perf_counter()
        hits = self._call(lambda: self._service.search(request))
        return m.SearchAnswer(
            results=[hit_model(hit, request) for hit in hits], took_ms=(time.perf_counter() - started) * 1e3
        )

    def context(self, request: r.ContextRequest) -> r.ContextAnswer:
        started = time.perf_counter()
        block = self._call(lambda: self._service.context(request))
        shown = set(request.include)
        parts = [
            r.ContextPart(
                id=hit.item.id,
                score=hit.score,
                tokens=tokens,
                memory=records.to_model(
                    hit.item, request.space, with_vector="vector" in shown, with_value="value" in shown
                )
                if shown & {"vector", "value"}
                else None,
            )
            for hit, tokens in block.parts
        ]
        return r.ContextAnswer(
            text=block.text,
            parts=parts,
            tokens=block.tokens,
            budget_tokens=request.budget_tokens,
            left_out=block.left_out,
            counted_by=self._service.counted_by,
            took_ms=(time.perf_counter() - started) * 1e3,
        )

    def pin(self, request: r.PinRequest) -> int:
        return self._call(lambda: self._service.pin(request))

    def feedback(self, request: r.FeedbackRequest) -> int:
        return self._call(lambda: self._service.feedback(request))

    def list(self, request: m.ListRequest) -> m.ListAnswer:
        items, total, cursor = self._call(lambda: self._service.list(request))
        found = [records.to_model(item, request.space, with_vector=request.include_vectors) for item in items]
        return m.ListAnswer(results=found, total=total, cursor=cursor)

    def update(self, memory_id: str, request: m.UpdateRequest, *, space: str = "default") -> m.Memory:
        _check_place(memory_id, space)
        return records.to_model(self._call(lambda: self._service.update(memory_id, request, space=space)), space)

    def delete(self, memory_id: str, *, space: str = "default", purge: bool = False) -> None:
        _check_place(memory_id, space)
        self._call(lambda: self._service.delete(memory_id, space=space, purge=purge))

    def delete_many(self, request: m.DeleteRequest) -> m.DeleteAnswer:
        removed = self._call(lambda: self._service.delete_many(request))
        return m.DeleteAnswer(deleted=removed.deleted, dry_run=request.dry_run, purged=removed.purged)

    def history(self, memory_id: str, *, space: str = "default") -> builtins.list[m.HistoryEntry]:
        _check_place(memory_id, space)
        found = self._call(lambda: self._service.history(memory_id, space=space))
        return [history_model(event, space) for event in found]

    def touch(self, request: m.TouchRequest) -> int:
        return self._call(lambda: self._service.touch(request))

    def export(self, *, space: str | None = None, include_vectors: bool = True) -> Iterator[m.Memory]:
        stream = self._service.export(space=space, with_vectors=include_vectors)
        while (entry := self._call(lambda: next(stream, None))) is not None:
            handle, item = entry
            if isinstance(item, Item):
                yield records.to_model(item, handle.name, with_vector=include_vectors)

    def ops(self, request: o.OpsRequest, *, idempotency_key: str | None = None) -> o.OpsAnswer:
        started = time.perf_counter()
        results = self._call(lambda: self._ops.run(request, idempotency_key=idempotency_key))
        models = [op_model(op, result) for op, result in zip(request.ops, results, strict=True)]
        return o.OpsAnswer(results=models, took_ms=(time.perf_counter() - started) * 1e3)

    def namespaces(self, request: n.NamespacesRequest | None = None) -> n.NamespaceList:
        return self._call(lambda: self._namespaces.namespaces(request or n.NamespacesRequest()))

    def owners(self, request: n.OwnersRequest | None = None) -> n.OwnerList:
        return self._call(lambda: self._namespaces.owners(request or n.OwnersRequest()))

    def categories(self, request: n.CategoriesRequest | None = None) -> dict[str, int]:
        return self._call(lambda: self._namespaces.categories(request or n.CategoriesRequest())).categories

    def append_messages(
        self, session_id: str, request: s.AppendRequest, *, idempotency_key: str | None = None
    ) -> s.AppendAnswer:
        _check(_SESSION_ID, session_id, "session_id")
        done = self._call(lambda: self._sessions.append(session_id, request, idempotency_key=idempotency_key))
        stamps = [
            s.MessageStamp.model_validate({"seq": seq, "created_at": records.time_text(done.created_at)})
            for seq in done.seqs
        ]
        return s.AppendAnswer(results=stamps, replayed=done.replayed)

    def messages(self, session_id: str, request: s.MessagesRequest | None = None) -> s.MessagePage:
        _check(_SESSION_ID, session_id, "session_id")
        asked = request or s.MessagesRequest()
        page = self._call(lambda: self._sessions.page(session_id, asked))
        found = [
            s.Message.model_validate(
                {
                    "seq": one.seq,
                    "created_at": records.time_text(one.created_at),
                    "value": json_text.decode(one.value),
                }
            )
            for one in page.messages
        ]
        return s.MessagePage(
            session_id=session_id, space=asked.space, results=found, total=page.total, after=page.after
        )

    def clear_messages(self, session_id: str, *, space: str = "default") -> int:
        _check(_SESSION_ID, session_id, "session_id")
        _check(_SPACE_NAME, space, "space")
        return self._call(lambda: self._sessions.clear(session_id, space=space))

    def sessions(self, request: s.SessionsRequest | None = None) -> s.SessionList:
        found, total = self._call(lambda: self._sessions.sessions(request or s.SessionsRequest()))
        models = [
            s.Session.model_validate(
                {
                    "id": one.name.session,
                    "messages": one.messages,
                    "first_seq": one.seqs[0],
                    "last_seq": one.seqs[1],
                    "first_at": records.time_text(one.times[0]),
                    "last_at": records.time_text(one.times[1]),
                }
            )
            for one in found
        ]
        return s.SessionList(results=models, total=total)

    def restore_messages(self, request: s.RestoreRequest) -> s.RestoreAnswer:
        created, duplicate = self._call(lambda: self._sessions.restore(request))
        return s.RestoreAnswer(created=created, duplicate=duplicate)

    def link(self, request: g.LinkRequest) -> int:
        return self._call(lambda: self._graph.link(request))

    def reweigh(self, request: g.ReweighRequest) -> builtins.list[float | None]:
        return self._call(lambda: self._graph.reweigh(request))

    def unlink(self, request: g.UnlinkRequest) -> int:
        return self._call(lambda: self._graph.unlink(request))

    def scale_links(self, request: g.ScaleRequest) -> int:
        return self._call(lambda: self._graph.scale(request))

    def links(
        self,
        memory_id: str,
        *,
        direction: g.Direction = "both",
        space: str = "default",
        known_at: datetime | None = None,
    ) -> builtins.list[g.Edge]:
        _check_place(memory_id, space)
        found = self._call(lambda: self._graph.links(memory_id, direction=direction, space=space, known_at=known_at))
        return [edge_model(edge) for edge in found]

    def traverse(self, request: g.TraverseRequest) -> g.TraverseAnswer:
        started = time.perf_counter()
        steps = self._call(lambda: self._graph.traverse(request))
        nodes = [node_model(step, request.space) for step in steps]
        return g.TraverseAnswer(nodes=nodes, took_ms=(time.perf_counter() - started) * 1e3)

    def path(self, request: g.PathRequest) -> builtins.list[g.Edge] | None:
        found = self._call(lambda: self._graph.path(request))
        return None if found is None else [edge_model(edge) for edge in found]

    def provenance(
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
        _check_place(memory_id, space)
        steps = self._call(
            lambda: self._graph.provenance(
                memory_id,
                direction=direction,
                depth=depth,
                limit=limit,
                known_at=known_at,
                include_memories=include_memories,
                space=space,
            )
        )
        return [node_model(step, space) for step in steps]

    def create_space(self, name: str, request: m.SpaceRequest | None = None) -> m.Space:
        wanted = request or m.SpaceRequest()
        _check(_SPACE_NAME, name, "space")
        self._call(lambda: self._service.spaces.create(name, embedder=wanted.embedder, dimension=wanted.dimension))
        return self.get_space(name)

    def get_space(self, name: str) -> m.Space:
        _check(_SPACE_NAME, name, "space")
        return self._call(lambda: self._space_model(self._service.spaces.open(name)))

    def list_spaces(self) -> Sequence[m.Space]:
        return self._call(lambda: [self._space_model(handle) for handle in self._service.spaces.open_all()])

    def delete_space(self, name: str) -> None:
        _check(_SPACE_NAME, name, "space")
        self._call(lambda: self._service.spaces.delete(name))

    def stats(self) -> m.Stats:
        return self._call(self._stats)

    def health(self) -> m.HealthReport:
        return self._call(self._health)

    def version(self) -> m.VersionInfo:
        return self._call(self._version)

    def flush(self, *, space: str | None = None) -> None:
        self._call(lambda: self._maintenance.flush(space=space))

    def compact(self, *, space: str | None = None, everything: bool = False) -> builtins.list[a.SpaceCompaction]:
        done = self._call(lambda: self._maintenance.compact(space=space, everything=everything))
        return [a.SpaceCompaction(**plain_report(space, report)) for space, report in done]

    def backup(self, *, path: str | None = None) -> a.BackupReport:
        return a.BackupReport(**plain_backup(self._call(lambda: self._maintenance.backup(path))))

    def verify(self) -> a.VerifyReport:
        return a.VerifyReport.model_validate(plain_verification(self._call(self._maintenance.verify)))

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._on_close()
