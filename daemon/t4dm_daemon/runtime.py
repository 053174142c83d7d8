"""The composition root: the only place that builds parts and joins them.

    Settings → Database (recovered) → Spaces ┐
             → Embedder → EmbeddingQueue ────┴→ MemoryService, GraphService, SessionService, NamespaceService,
                                                OpsService, Maintenance, Views
                                                → ServiceBackend (embedded, doors of others) / routes (HTTP)

Phases: `recovering` (open the store), `warming_up` (load the embedder), `ready`, `stopping`, `failed`.
`start` runs them in the calling thread; until it has returned, `service` raises BusyError.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from t4dm._backend import MemoryBackend
from t4dm._version import __version__
from t4dm.sdk import errors as t4dm_errors
from t4dm.sdk import models as m
from t4dm_daemon.config import Settings
from t4dm_daemon.core.errors import BusyError, DaemonError, EmbeddingError, StorageClosedError
from t4dm_daemon.embedding.cache import VectorCache
from t4dm_daemon.embedding.factory import make_embedder
from t4dm_daemon.embedding.queue import EmbeddingQueue
from t4dm_daemon.embedding.served import ServedEmbedder
from t4dm_daemon.memory.backend import ServiceBackend, raise_for_caller
from t4dm_daemon.memory.feedback import FeedbackLog
from t4dm_daemon.memory.graph import GraphService
from t4dm_daemon.memory.maintenance import Maintenance
from t4dm_daemon.memory.namespaces import NamespaceService
from t4dm_daemon.memory.ops import OpsService
from t4dm_daemon.memory.service import MemoryService, SearchDefaults
from t4dm_daemon.memory.sessions import SessionService
from t4dm_daemon.memory.spaces import SpaceHandle, Spaces
from t4dm_daemon.memory.views import EntityService, EpisodeService, ProcedureService, Views
from t4dm_daemon.persistence import data_dir, key_file
from t4dm_daemon.storage.t4dx import FORMAT_VERSION, Database

logger = logging.getLogger(__name__)

T = TypeVar("T")
Phase = Literal["starting", "recovering", "warming_up", "ready", "stopping", "failed"]
API_VERSION: Final = "1"
FEATURES: Final = (
    "memory",
    "spaces",
    "filters",
    "known_at",
    "as_of",
    "idempotency",
    "export",
    "msgpack",
    "graph",
    "purge",
    "compaction",
    "backup",
    "hybrid_search",
    "explain",
    "sessions",
    "ops",
    "namespaces",
    "views",
)
_WARM_UP_TEXT: Final = "a first sentence, so that the first question is fast"


class Runtime:
    """Own every part of a running daemon, or of embedded mode.

    Thread-safe: `_close_lock` guards the parts while they are taken on and released, and `_is_closing`; phases
    are written by `start` and `close` only.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.instance_id = secrets.token_hex(8)
        self._started = time.monotonic()
        self._phase: Phase = "starting"
        self._reason: str | None = None
        self._database: Database | None = None
        self._queue: EmbeddingQueue | None = None
        self._service: MemoryService | None = None
        self._graph: GraphService | None = None
        self._sessions: SessionService | None = None
        self._namespaces: NamespaceService | None = None
        self._ops: OpsService | None = None
        self._maintenance: Maintenance | None = None
        self._embedder: ServedEmbedder | None = None
        self._views: Views | None = None
        self._is_closing = False
        self._close_lock = threading.Lock()

    # Life ---------------------------------------------------------------------------------------------

    def start(self, *, owner: Mapping[str, Any] | None = None, on_claimed: Callable[[], None] | None = None) -> None:
        """Open the store, load the embedder, and become ready.

        Args:
            owner: Facts for whoever finds the directory locked, for example the URL.
            on_claimed: Called when the directory is this process's own, before the store is recovered.

        Raises:
            StorageLockedError, StorageError, EmbeddingError, EmbedderMismatchError: It cannot serve; the reason
                is also in `readiness()`.
        """
        try:
            self._start(dict(owner or {}), on_claimed)
        except BaseException as error:
            self._reason = str(error)
            self._phase = "stopping" if self._is_closing else "failed"
            self._release()
            raise

    def _start(self, owner: dict[str, Any], on_claimed: Callable[[], None] | None) -> None:
        settings = self.settings
        store, embedding = settings.store, settings.embedding
        self._enter("recovering")
        embedder = make_embedder(
            settings.embedding_model,
            cache_dir=settings.cache,
            threads=embedding.threads,
            base_url=embedding.base_url,
            api_key=embedding.api_key.get_secret_value() if embedding.api_key else None,
        )
        database = open_store(settings, owner=owner, on_claimed=on_claimed)
        self._take_on(database)
        self._enter("warming_up")
        queue = EmbeddingQueue(
            embedder,
            cache=VectorCache(embedding.cache_bytes),
            max_batch=embedding.max_batch,
            max_waiting=embedding.max_waiting,
        )
        self._take_on(queue)
        queue.start()
        if not queue.wait_ready():
            raise EmbeddingError(queue.error or "the embedder failed to load", model=settings.embedding_model)
        self._sessions = SessionService(database)
        spaces = Spaces(database, on_delete=self._sessions.clear_space)
        spaces.adopt_embedder(queue.identity, queue.dimension, settings.embedding_model)
        queue.embed([_WARM_UP_TEXT])
        self._graph = GraphService(spaces)
        self._namespaces = NamespaceService(spaces)
        self._maintenance = Maintenance(database, backups=store.parent / "backups")
        self._service = MemoryService(
            spaces,
            queue,
            deadline_s=settings.server.deadline_s,
            bulk_deadline_s=settings.server.bulk_deadline_s,
            feedback=FeedbackLog(database),
            search=SearchDefaults(
                candidates=settings.search.candidates,
                abstain_below=settings.search.abstain_below,
                actor_fields=tuple(settings.search.actor_fields),
            ),
        )
        self._embedder = ServedEmbedder(
            queue, deadline_s=settings.server.deadline_s, bulk_deadline_s=settings.server.bulk_deadline_s
        )
        self._ops = OpsService(self._service, self._namespaces)
        self._views = Views(
            EpisodeService(self._service),
            EntityService(self._service, self._graph, queue, deadline_s=settings.server.deadline_s),
            ProcedureService(self._service),
        )
        self._enter("ready")
        threading.Thread(target=self._service.warm_up, name="t4dm-warm-up", daemon=True).start()
        logger.info("ready", extra={"store": str(store), "embedder": queue.identity, "spaces": len(spaces.names())})

    def _enter(self, phase: Phase) -> None:
        with self._close_lock:
            self._refuse_when_closing()
            self._phase = phase

    def _take_on(self, part: Database | EmbeddingQueue) -> None:
        """Own a part from now on; when `close` was faster, close it instead. Raises BusyError then."""
        with self._close_lock:
            if not self._is_closing:
                if isinstance(part, Database):
                    self._database = part
                else:
                    self._queue = part
                return
        part.close()
        self._refuse_when_closing()

    def _refuse_when_closing(self) -> None:
        if self._is_closing:
            raise BusyError("the daemon is stopping", phase="stopping")

    def stop_accepting(self) -> None:
        """Say that it is going down: `readiness` turns false, calls under way finish."""
        with self._close_lock:
            self._is_closing = True
            if self._phase != "failed":
                self._phase = "stopping"

    def interrupt(self) -> None:
        """End what may take long: texts that wait for the embedder, and a compaction. Their callers learn of it."""
        queue = self._queue
        if self._maintenance is not None:
            self._maintenance.stop()
        if queue is not None:
            queue.close()

    def close(self) -> None:
        """Flush, release the lock and every thread. Safe to call twice."""
        self.stop_accepting()
        self._release()

    def _release(self) -> None:
        with self._close_lock:
            queue, self._queue = self._queue, None
            database, self._database = self._database, None
        if self._maintenance is not None:
            self._maintenance.stop()
        if self._service is not None and database is not None:
            self._service.close()
        if queue is not None:
            queue.close()
        if database is not None:
            database.close()

    # Parts --------------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        return self._phase

    def backend(self) -> MemoryBackend:
        """Return the services as the client's own protocol; closing it closes the runtime. Raises BusyError."""
        return ServiceBackend(
            self.service,
            self.graph,
            self.sessions,
            self.namespaces,
            self.ops,
            self.maintenance,
            self.views,
            stats=self.stats,
            health=self.report,
            version=self.version,
            space_model=self.space_model,
            on_close=self.close,
        )

    @property
    def service(self) -> MemoryService:
        """The memory service. Raises BusyError until it is ready and once it is stopping."""
        return self._when_ready(self._service)

    @property
    def graph(self) -> GraphService:
        """Links and walks. Raises BusyError until it is ready and once it is stopping."""
        return self._when_ready(self._graph)

    @property
    def sessions(self) -> SessionService:
        """Chat histories. Raises BusyError until it is ready and once it is stopping."""
        return self._when_ready(self._sessions)

    @property
    def namespaces(self) -> NamespaceService:
        """Namespaces and categories. Raises BusyError until it is ready and once it is stopping."""
        return self._when_ready(self._namespaces)

    @property
    def ops(self) -> OpsService:
        """Mixed batches. Raises BusyError until it is ready and once it is stopping."""
        return self._when_ready(self._ops)

    @property
    def maintenance(self) -> Maintenance:
        """Operations on the store. Raises BusyError until it is ready and once it is stopping."""
        return self._when_ready(self._maintenance)

    @property
    def views(self) -> Views:
        """Episodes, entities and procedures. Raises BusyError until it is ready and once it is stopping."""
        return self._when_ready(self._views)

    @property
    def embedder(self) -> ServedEmbedder:
        """What texts are embedded with. Raises BusyError until it is ready and once it is stopping."""
        return self._when_ready(self._embedder)

    def _when_ready(self, part: T | None) -> T:
        if part is None or self._phase != "ready":
            hint = {"failed": f"the daemon failed to start: {self._reason}", "stopping": "the daemon is stopping"}
            raise BusyError(hint.get(self._phase, f"the daemon is {self._phase.replace('_', ' ')}"), phase=self._phase)
        return part

    # What it says of itself ---------------------------------------------------------------------------

    def model_state(self) -> m.ModelState:
        queue = self._queue
        if queue is None:
            state: Literal["loading", "failed"] = "failed" if self._phase == "failed" else "loading"
            return m.ModelState(name=self.settings.embedding_model, state=state, error=self._reason)
        ready = queue.state == "ready"
        return m.ModelState(
            name=queue.identity if ready else queue.name,
            state=queue.state,
            dimension=queue.dimension if ready else None,
            error=queue.error,
        )

    @property
    def language_state(self) -> Literal["absent"]:
        """Whether there is a language model: this version has none."""
        return "absent"

    def model_states(self) -> dict[str, m.ModelState]:
        """Return the state of every model, by what it is for."""
        return {
            "embedder": self.model_state(),
            "language": m.ModelState(name="none", state=self.language_state),
        }

    def health(self) -> m.Health:
        return m.Health(status="ok", instance_id=self.instance_id, pid=os.getpid(), uptime_s=self.uptime_s)

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self._started

    def readiness(self) -> m.Readiness:
        return m.Readiness(
            ready=self._phase == "ready",
            phase=self._phase,
            reason=self._reason,
            models=self.model_states(),
        )

    def report(self) -> m.HealthReport:
        status: dict[Phase, Literal["ok", "stopping", "failed"]] = {
            "ready": "ok",
            "stopping": "stopping",
            "failed": "failed",
        }
        return m.HealthReport(
            status=status.get(self._phase, "starting"),
            version=__version__,
            instance_id=self.instance_id,
            pid=os.getpid(),
            uptime_s=self.uptime_s,
            storage_path=str(self.settings.store),
            embedder=self.model_state(),
            signals=["dense", "lexical", "graph"],
        )

    @staticmethod
    def version() -> m.VersionInfo:
        return m.VersionInfo(version=__version__, api=API_VERSION, data_format=FORMAT_VERSION, features=list(FEATURES))

    def stats(self) -> m.Stats:
        """Return counts over all spaces. Raises BusyError until ready."""
        service, queue = self.service, self._queue
        spaces = []
        for handle in service.spaces.open_all():
            with contextlib.suppress(StorageClosedError):  # deleted since the list was made
                spaces.append(m.SpaceStats.model_validate({"space": handle.name, **handle.backend.stats()}))
        messages, own = self.sessions.stats()
        return m.Stats(
            items=sum(one.items for one in spaces),
            versions=sum(one.versions for one in spaces),
            by_kind=_summed([one.by_kind for one in spaces]),
            by_kappa=_summed([one.by_kappa for one in spaces]),
            edges=sum(one.edges for one in spaces),
            segments=sum(one.segments for one in spaces) + own.get("segments", 0),
            wal_bytes=sum(one.wal_bytes for one in spaces) + own.get("wal_bytes", 0),
            disk_bytes=sum(one.disk_bytes for one in spaces) + own.get("disk_bytes", 0),
            memory_bytes=sum(one.memory_bytes for one in spaces) + own.get("memory_bytes", 0),
            messages=messages,
            spaces=spaces,
            models=self.model_states(),
            embedding_cache={} if queue is None else dataclasses.asdict(queue.cache.stats()),
        )

    @staticmethod
    def space_model(handle: SpaceHandle) -> m.Space:
        """Return what there is to say of a space."""
        return m.Space.model_validate(
            {
                "name": handle.name,
                "dimension": handle.backend.dimension,
                "metric": "cosine",
                "embedder": handle.embedder,
                "model": handle.model,
                "items": handle.backend.stats()["items"],
            }
        )


def open_store(
    settings: Settings, *, owner: Mapping[str, Any], on_claimed: Callable[[], None] | None = None
) -> Database:
    """Open the store of these settings, and own it; made when absent.

    Args:
        settings: Say where it is and how it is kept.
        owner: Facts for whoever finds the directory locked.
        on_claimed: Called when it is locked, before it is recovered.

    Raises:
        StorageLockedError, StorageError: It cannot be opened.
    """
    storage = settings.storage
    return Database(
        data_dir.prepare(settings.store, setting="T4DM_STORAGE_PATH"),
        sync=storage.sync,
        flush_items=storage.flush_items,
        ann=storage.ann,
        ann_min_rows=storage.ann_min_rows,
        verify=storage.verify,
        archive=storage.archive,
        language=settings.search.language,
        wal_key=wal_key(settings),
        owner=owner,
        on_claimed=on_claimed,
    )


def wal_key(settings: Settings) -> bytes | None:
    """Return the key of the log, None when it is not authenticated.

    Raises:
        StorageError: The file that should hold it cannot be used.
    """
    storage = settings.storage
    if storage.wal_mac == "off" or storage.wal_key_file is None:
        return None
    kept = [settings.store, *([] if storage.archive is None else [storage.archive])]
    return key_file.read(storage.wal_key_file, setting="T4DM_STORAGE__WAL_KEY_FILE", outside=kept)


def _summed(counts: list[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for count in counts:
        for name, number in count.items():
            total[name] = total.get(name, 0) + number
    return total


def open_embedded(storage_path: str | Path, **settings: Any) -> MemoryBackend:
    """Run the memory service in this process, on a directory of its own.

    Args:
        storage_path: The store; created when absent.
        **settings: Fields of `Settings`, for example `embedding_model="hashing"`.

    Raises:
        t4dm.sdk.errors.T4DMError: The directory is in use by another process, written by another embedder, or
            not usable; `code` says which.
    """
    try:
        runtime = Runtime(Settings(storage_path=Path(storage_path), **settings))
    except ValueError as error:
        raise t4dm_errors.ValidationError(f"wrong settings: {error}", code="wrong_settings") from None
    try:
        runtime.start(owner={"kind": "embedded"})
    except DaemonError as error:
        raise_for_caller(error)
    return runtime.backend()
