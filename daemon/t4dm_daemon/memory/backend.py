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
from t4dm.sdk._calls import checked_key
from t4dm_daemon.core.clock import to_micros
from t4dm_daemon.core.errors import BusyError, DaemonError
from t4dm_daemon.core.item import Edge, Item
from t4dm_daemon.memory import records
from t4dm_daemon.memory.graph import GraphService, Step, plain_edge
from t4dm_daemon.memory.history import Event
from t4dm_daemon.memory.maintenance import Maintenance, plain_backup, plain_report, plain_verification
from t4dm_daemon.memory.service import MemoryService
from t4dm_daemon.memory.spaces import SpaceHandle
from t4dm_daemon.storage.protocol import View

T = TypeVar("T")
_SPACE_NAME = TypeAdapter(m.SpaceName)
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


def edge_model(edge: Edge) -> g.Edge:
    """Return the wire model of one link."""
    return g.Edge.model_validate(plain_edge(edge))


def node_model(step: Step, space: str) -> g.Node:
    """Return the wire model of one step of a walk."""
    return g.Node(
        id=step.reached.id,
        depth=step.reached.depth,
        edge=edge_model(step.reached.edge),
        memory=None if step.item is None else records.to_model(step.item, space),
    )


class ServiceBackend(MemoryBackend):
    """Answer like `T4DMClient`, without HTTP.

    Args:
        service, graph, maintenance: What carries the calls out.
        stats, health, version: What only the runtime can tell.
        on_close: Releases the runtime; called once.
    """

    def __init__(
        self,
        service: MemoryService,
        graph: GraphService,
        maintenance: Maintenance,
        *,
        stats: Callable[[], m.Stats],
        health: Callable[[], m.HealthReport],
        version: Callable[[], m.VersionInfo],
        space_model: Callable[[SpaceHandle], m.Space],
        on_close: Callable[[], None],
    ) -> None:
        self._service = service
        self._graph = graph
        self._maintenance = maintenance
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
        shown = set(request.include)
        return m.SearchAnswer(
            results=[
                m.Hit(
                    memory=records.to_model(
                        hit.item, request.space, with_vector="vector" in shown, with_value="value" in shown
                    ),
                    score=hit.score,
                    similarity=hit.similarity,
                    explain=dict(hit.contributions) if "explain" in shown else None,
                )
                for hit in hits
            ],
            took_ms=(time.perf_counter() - started) * 1e3,
        )

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
