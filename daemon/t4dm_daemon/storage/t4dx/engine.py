"""T4DX: one space, one engine.

    write:  validate → log (group commit, synced) → apply to the memtable → visible → acknowledged
    read:   take the present moment, then the components; rows outside the moment are masked
    flush:  freeze the memtable → capture → segment, mutable columns, manifest → release the log
    merge:  neighbouring segments → one, without what was purged → manifest; in the background

Commands are logged and then applied (`SpaceState`); recovery applies the log again to the same effect.

Locks, in the order in which they may be taken:

    Compactor._lock   one merge at a time
    Flusher.lock      one checkpoint is written at a time; guards `_checkpoints`
    _commit_lock      the log; held by the commit leader, and to release log files
    _apply_lock       all of `_state` and the mutable columns

Readers take none: they read the state's moment first and its components (one reference to a tuple) second.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from t4dm_daemon.core.clock import UNBOUNDED, RecordClock
from t4dm_daemon.core.errors import (
    DaemonError,
    DimensionMismatchError,
    InvalidInputError,
    SpaceDeletedError,
    StorageClosedError,
    StorageError,
)
from t4dm_daemon.core.item import Edge, Item
from t4dm_daemon.storage.protocol import (
    PRESENT,
    Deletion,
    EdgeChange,
    FieldUpdate,
    InsertResult,
    Outcome,
    Token,
    Write,
)
from t4dm_daemon.storage.t4dx.analysis import analyzer
from t4dm_daemon.storage.t4dx.checkpoint import MAX_BLOB_NAME, Checkpoints
from t4dm_daemon.storage.t4dx.commit import Command, CommitQueue
from t4dm_daemon.storage.t4dx.compaction import MAX_LEVEL, CompactionReport, Compactor, MergePolicy, SizeTiered
from t4dm_daemon.storage.t4dx.flusher import Flusher
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.memtable import Memtable
from t4dm_daemon.storage.t4dx.reads import Reads, require_list
from t4dm_daemon.storage.t4dx.schema import (
    DELETE,
    INSERT,
    PURGE,
    SCALE,
    UNLINK,
    UPDATE,
    WEIGH,
    encode_delete,
    encode_insert,
    encode_purge,
    encode_scale,
    encode_unlink,
    encode_update,
    encode_weigh,
)
from t4dm_daemon.storage.t4dx.segment import Segment
from t4dm_daemon.storage.t4dx.segment_files import Facts, check_file
from t4dm_daemon.storage.t4dx.state import SpaceState, meaning_of
from t4dm_daemon.storage.t4dx.statistics import count
from t4dm_daemon.storage.t4dx.verify import find_broken
from t4dm_daemon.storage.t4dx.wal import Wal
from t4dm_daemon.storage.t4dx.wal_mac import LogKey

logger = logging.getLogger(__name__)

T = TypeVar("T")

FLUSH_LOG_BYTES: Final = 64 * 1024 * 1024
"""Bytes of commands after which a checkpoint is written, whatever the commands were."""
LINKS_PER_ROW: Final = 4
"""A memtable is full, too, when it holds so many links for each row that it may hold."""


class T4DXEngine(Reads):
    """Store, find and version the items of one space. Implements `StorageBackend`; thread-safe.

    Args:
        root: Directory of the space, owned by this engine alone (`Database` holds the lock).
        store_id: 16 bytes that tie log and store together.
        clock: Transaction times; shared by the spaces of a database.
        dimension: Of the vectors; None lets the first vector fix it.
        sync: False leaves it to the system when the log reaches the disk.
        flush_items: Rows in memory before they become a segment.
        ann: Graph backend, "faiss", "hnswlib" or "flat".
        ann_min_rows: Segments smaller than this are scanned exactly.
        verify: Compare every file's checksum on open.
        merge_policy: Which segments to merge; None takes `SizeTiered()`.
        merge_in_background: False merges and builds graphs only on `compact`.
        archive: Where log files go after they have been written to segments; None removes them.
        recover_until: Replay the log up to this transaction time, and drop what is later.
        read_only: Take no writes, and write nothing on close.
        language: Of the texts, for stemming and stop words; see `analysis.languages`.
        wal_key: Authenticates the log, at least 32 bytes; None writes it without.
        fs: The file system.

    Raises:
        CorruptionError: The directory holds damaged files.
        WalKeyError: Its log needs another key.
    """

    def __init__(
        self,
        root: Path,
        *,
        store_id: bytes = bytes(16),
        clock: RecordClock | None = None,
        dimension: int | None = None,
        sync: bool = True,
        flush_items: int = 10_000,
        ann: str = "faiss",
        ann_min_rows: int = 50_000,
        verify: bool = True,
        merge_policy: MergePolicy | None = None,
        merge_in_background: bool = True,
        archive: Path | None = None,
        recover_until: int | None = None,
        read_only: bool = False,
        language: str = "english",
        wal_key: bytes | None = None,
        fs: FileSystem | None = None,
    ) -> None:
        self._fs = fs or FileSystem()
        self._root = root
        self._clock = clock or RecordClock()
        self._flush_items = flush_items
        self._commit_lock = threading.Lock()
        self._apply_lock = threading.Lock()
        self._is_closed = False
        self._deleted_as: str | None = None
        self._log_bytes = 0
        self._pid = os.getpid()
        self._fs.make_directory(root)
        self._analyzer = analyzer(language)
        self._checkpoints = Checkpoints(
            self._fs, root, ann=ann, ann_min_rows=ann_min_rows, verify=verify, analyzer=self._analyzer
        )
        segments, counters, stored = self._checkpoints.load()
        self._state = SpaceState(segments, counters, stored, dimension=dimension, lsn=self._checkpoints.lsn)
        key = None if wal_key is None else LogKey(wal_key)
        self._wal = Wal(self._fs, root / "wal", store_id=store_id, sync=sync, archive=archive, key=key)
        self._fs.sync_directory(root)
        self._replay(recover_until)
        self._is_read_only = read_only
        self._clock.advance(self._state.moment)
        self._flusher = Flusher(
            self._state,
            self._checkpoints,
            self._wal,
            commit_lock=self._commit_lock,
            apply_lock=self._apply_lock,
            on_flushed=lambda: self._compactor.start(),
        )
        self._compactor = Compactor(
            self._fs,
            self._state,
            self._checkpoints,
            self._flusher,
            apply_lock=self._apply_lock,
            policy=merge_policy or SizeTiered(),
            in_background=merge_in_background,
        )
        self._queue = CommitQueue(self._carry_out)
        if self._state.captures and not read_only:
            with self._apply_lock:
                self._flusher.start()
        if not read_only:
            self._compactor.start()

    # Writing ------------------------------------------------------------------------------------------

    def insert(
        self,
        writes: Sequence[Write],
        edges: Sequence[Edge] = (),
        *,
        optional_edges: Sequence[Edge] = (),
        token: Token | None = None,
    ) -> InsertResult:
        """Store items and edges, all or nothing; they are on disk when this returns.

        See `StorageBackend.insert`.
        """
        if not writes and not edges and not optional_edges and token is None:
            return InsertResult((), self.snapshot())
        dimension = self._state.dimension
        body, command = encode_insert(writes, edges, token, optional_edges)
        for row in command.rows:
            if row.vector is not None and dimension not in (None, len(row.vector)):
                assert dimension is not None
                raise DimensionMismatchError(dimension, len(row.vector))
        result: InsertResult = self._submit(INSERT, body, command)
        return result

    def batch_insert(
        self, items: Iterable[Item], edges: Iterable[Edge] = (), *, batch_rows: int = 1000
    ) -> list[Outcome]:
        """Store any number of items and then the edges, in batches; return what became of each item, in order.

        Each batch is one `insert`: durable when the next begins, and there whole or not at all. All items come before
        the first edge, so that an edge may lead to any of them; what is stored already may be at its ends as well.
        Items replace those of the same id, as with `insert`. The iterables are read a batch at a time.

        Args:
            items: Of any length.
            edges: Of any length.
            batch_rows: Items, or edges, of a batch.

        Raises:
            DaemonError: As `insert` does. What came before the batch stays; the message, and `stored_items` and
                `stored_edges` in the details, say how many those are.
        """
        if type(batch_rows) is not int or batch_rows < 1:
            raise InvalidInputError("a batch has at least one row", batch_rows=batch_rows)
        outcomes: list[Outcome] = []
        linked = 0
        try:
            for some in _batches(items, batch_rows):
                outcomes += self.insert([Write(one) for one in some]).outcomes
            for links in _batches(edges, batch_rows):
                self.insert((), links)
                linked += len(links)
        except DaemonError as error:
            stored = f"{len(outcomes)} items and {linked} edges were stored before"
            raise error.with_facts(stored, stored_items=len(outcomes), stored_edges=linked) from error
        return outcomes

    def update_fields(self, updates: Sequence[FieldUpdate]) -> list[bool]:
        """Change learning state of current versions in place, durably; False where an id is not current."""
        if not updates:
            return []
        body, changes = encode_update(updates)
        done: list[bool] = self._submit(UPDATE, body, changes)
        return done

    def delete(self, deletions: Sequence[Deletion]) -> list[bool]:
        """Close current versions, durably, and unlink their edges; False where there was nothing to delete."""
        if not deletions:
            return []
        body, targets = encode_delete(deletions)
        done: list[bool] = self._submit(DELETE, body, targets)
        return done

    def update_edges(self, changes: Sequence[EdgeChange]) -> list[float | None]:
        """Change weights in place, durably; return the new ones, None where there is no such link."""
        if not changes:
            return []
        body, meaning = encode_weigh(changes)
        weights: list[float | None] = self._submit(WEIGH, body, meaning)
        return weights

    def remove_edges(self, names: Sequence[tuple[str, str, str]]) -> list[bool]:
        """End links named (source, target, type), durably; False where there was none."""
        if not names:
            return []
        body, meaning = encode_unlink(names)
        done: list[bool] = self._submit(UNLINK, body, meaning)
        return done

    def scale_edges(
        self,
        *,
        multiply: float = 1.0,
        add: float = 0.0,
        low: float = 0.0,
        high: float = 1.0,
        types: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
    ) -> int:
        """Set the weight w of every current link chosen to clip(w * multiply + add, low, high); return how many.

        One record in the log, whatever the number of links: a function could not be logged.
        """
        require_list("types", types)
        require_list("sources", sources)
        body, meaning = encode_scale(multiply, add, low, high, types, sources)
        count: int = self._submit(SCALE, body, meaning)
        return count

    def purge(self, ids: Sequence[str] = (), *, before: int | None = None) -> int:
        """Forget ended versions for good; see `StorageBackend.purge`. Returns how many versions."""
        require_list("ids", ids)
        body, meaning = encode_purge(ids, before)
        if before is not None and before > self._state.moment:
            raise InvalidInputError("only the past can be purged", before=before, now=self._state.moment)
        if not ids and before is None:
            return 0
        count: int = self._submit(PURGE, body, meaning)
        self._compactor.start()
        return count

    def _submit(self, kind: int, body: bytes, meaning: Any) -> Any:
        self._require_writable()
        try:
            self._flusher.wait_for_room()
            return self._queue.submit(Command(kind, body, meaning))
        except StorageClosedError:
            self._require_open()  # says why
            raise

    def _carry_out(self, group: Sequence[Command]) -> None:
        """Log and apply a group of commands. Called by the commit leader."""
        with self._commit_lock:
            records = [(command.type, self._clock.tick(), command.body) for command in group]
            try:
                first_lsn = self._wal.append(records)
            except BaseException as error:  # noqa: BLE001 - every writer of the group must learn of it
                for command in group:
                    command.error = error
                return
            try:
                self._apply_group(group, [time for _, time, _ in records], first_lsn)
            except BaseException as error:
                self._wal.poison(error)  # logged, but not all applied: only a replay can put that right
                raise

    def _apply_group(self, group: Sequence[Command], times: Sequence[int], first_lsn: int) -> None:
        """Apply logged commands in order and let readers see them. Requires: _commit_lock."""
        with self._apply_lock:
            for command, time in zip(group, times, strict=True):
                try:
                    command.result = self._state.apply(command.type, time, command.meaning)
                except DaemonError as error:
                    command.error = error
            self._state.publish(first_lsn + len(group) - 1, times[-1])
            self._log_bytes += sum(len(command.body) for command in group)
            if self._is_memtable_full():
                self._capture()
                self._flusher.start()

    def _capture(self) -> None:
        """Requires: _apply_lock."""
        self._state.capture()
        self._log_bytes = 0

    def _is_memtable_full(self) -> bool:
        memtable = self._state.memtable
        return (
            memtable.rows >= self._flush_items
            or memtable.links.rows >= self._flush_items * LINKS_PER_ROW
            or self._log_bytes >= FLUSH_LOG_BYTES
        )

    # Recovery -----------------------------------------------------------------------------------------

    def _replay(self, until: int | None) -> None:
        replayed = 0
        if until is not None and self._state.moment > until:
            raise InvalidInputError(
                "this moment lies before the backup: restore an earlier one", until=until, backup=self._state.moment
            )
        with self._apply_lock:
            for record in self._wal.recover(self._checkpoints.lsn, until=until):
                if until is not None and record.time > until:
                    self._wal.restart(record.lsn)
                    return
                meaning = meaning_of(record)
                try:
                    self._state.apply(record.type, record.time, meaning)
                except StorageError:
                    raise
                except DaemonError:
                    pass  # it was refused when it was written, too; its caller was told
                self._state.publish(record.lsn, record.time)
                replayed += 1
                self._log_bytes += len(record.body)
                if self._is_memtable_full():
                    self._capture()
            if until is not None:
                self._wal.restart(self._wal.last_lsn + 1)  # a history of its own from here, also in the archive
        if replayed:
            logger.info("log replayed", extra={"records": replayed, "space": self._root.name})

    # What there is -----------------------------------------------------------------------------------

    def stats(self) -> Mapping[str, Any]:
        """Return counts and sizes; see `StorageBackend.stats`."""
        snapshot = self._snapshot(PRESENT)
        return {
            **count(snapshot),
            "segments": sum(isinstance(one, Segment) for one in snapshot.components),
            "memtable_rows": sum(one.rows for one in snapshot.components if isinstance(one, Memtable)),
            "edges": self._state.count_links(),
            "wal_bytes": self._wal.used_bytes,
            "disk_bytes": self._checkpoints.disk_bytes() + self._wal.disk_bytes,
            "memory_bytes": sum(one.memory_bytes() for one in snapshot.components),
            "is_read_only": self._wal.failure is not None,
            "purged_before": None if self._state.purged_before == UNBOUNDED else self._state.purged_before,
            "flush_error": None if self._flusher.error is None else str(self._flusher.error),
        }

    @property
    def is_saved(self) -> bool:
        """Everything applied is in the manifest in force."""
        return self._checkpoints.lsn == self._state.applied_lsn

    def _require_writable(self) -> None:
        self._require_open()
        if self._is_read_only:
            raise StorageError("this store was opened to be read only")

    def _require_open(self) -> None:
        if self._pid != os.getpid():
            raise StorageError("this store was opened by the parent process; open it after the fork")
        if self._is_closed and self._deleted_as is not None:
            raise SpaceDeletedError(f"there is no space {self._deleted_as!r}: it was deleted", space=self._deleted_as)
        if self._is_closed:
            raise StorageClosedError("the store is closed")

    # Files --------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what is in memory to segments and release the log behind it.

        Raises:
            StorageFullError, StorageError: Nothing is lost; the log still has it, and the next flush tries again.
        """
        self._require_writable()
        self._flusher.flush()
        self._compactor.start()

    def compact(
        self,
        *,
        everything: bool = False,
        level: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> CompactionReport:
        """Flush, then merge segments until the policy is content; with `everything`, all of them.

        Readers and writers go on meanwhile. Consolidation calls this with its level after it has written what it
        learned: 1 after NREM, 2 after REM; a PRUNE purges and then compacts everything.

        Args:
            everything: Merge all segments and leave every purged row out.
            level: Raise every segment to at least this level.
            progress: Called with (merges done, segments left).
            cancel: Set to stop.

        Raises:
            InterruptedError: Cancelled; what was merged until then stays.
            StorageError: Nothing is lost, and it may be tried again.
        """
        if level is not None and (type(level) is not int or not 0 <= level <= MAX_LEVEL):
            raise InvalidInputError(f"a level lies in [0, {MAX_LEVEL}]", level=level)
        self._require_writable()
        self._flusher.flush()
        report = self._compactor.run(everything=everything, level=level, progress=progress, cancel=cancel)
        if everything:
            self._forget_log()
        return report

    def _forget_log(self) -> None:
        """Release even the log file in use, for it holds the texts of what was purged."""
        with self._commit_lock:
            self._wal.rotate()
        self._flusher.flush()
        with self._flusher.lock, self._commit_lock:
            self._flusher.require_open()
            self._wal.release(self._checkpoints.lsn)

    @contextlib.contextmanager
    def files_held(self) -> Iterator[list[str]]:
        """Keep the files of a flushed checkpoint as they are; yields their names, the manifest's among them."""
        self._require_writable()
        self._flusher.flush()
        with self._flusher.lock:
            self._flusher.require_open()
            yield [*self._checkpoints.files(), self._checkpoints.manifest_name, "CURRENT"]

    @contextlib.contextmanager
    def log_held(self) -> Iterator[list[tuple[str, int]]]:
        """Let no write be acknowledged; yields the log files and how many bytes of each have been."""
        with self._commit_lock:
            yield self._wal.acknowledged()

    @property
    def root(self) -> Path:
        return self._root

    def named_files(self) -> list[tuple[str, Facts]]:
        """Return the files that the manifest in force names, with their sizes and checksums."""
        return list(self._checkpoints.files().items())

    def check_file(self, name: str, facts: Facts) -> None:
        """Compare a file with what was written. Raises CorruptionError."""
        check_file(self._fs, self._root / name, facts)

    def broken_references(self) -> list[tuple[str, str]]:
        """Return (where, what) of every reference inside the segments that leads nowhere, and every damaged text."""
        return [broken for one in self._compactor.segments() for broken in find_broken(one)]

    def put_blob(self, name: str, content: bytes | None) -> None:
        """Keep named bytes beside the items, durably and as a whole; None removes them.

        For state that learning and models save: a checkpoint of theirs, not a log.
        """
        if not 1 <= len(name) <= MAX_BLOB_NAME or not name.isprintable():
            raise InvalidInputError(f"a blob's name has 1 to {MAX_BLOB_NAME} printable characters", name=ascii(name))
        self._require_writable()
        with self._flusher.lock:
            self._flusher.require_open()
            try:
                self._checkpoints.put_blob(name, content)
            except OSError as error:
                raise StorageError(f"{name!r} could not be kept: {error}", name=name) from error

    def blob(self, name: str) -> bytes | None:
        """Return named bytes, None when there are none of that name. Raises CorruptionError."""
        self._require_open()
        with self._flusher.lock:
            return self._checkpoints.blob(name)

    def blob_names(self) -> list[str]:
        """Return the names of what `put_blob` keeps, sorted."""
        return self._checkpoints.blob_names()

    # The end ------------------------------------------------------------------------------------------

    def close(self, *, discard: bool = False, deleted_as: str | None = None) -> None:
        """Flush and release everything. Safe to call twice; a failed flush is logged, for the log has it all.

        Args:
            discard: Write nothing more: the files are about to be removed.
            deleted_as: The name of the space, when it is deleted: calls raise SpaceDeletedError from now on.
        """
        if self._pid != os.getpid():
            return
        with self._apply_lock:
            if self._is_closed:
                return
            self._deleted_as = deleted_as
            self._is_closed = True
        self._queue.close()
        self._compactor.close()
        self._flusher.close(flush=self._wal.failure is None and not discard and not self._is_read_only)


def _batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of up to `size` values."""
    rest = iter(values)
    while some := list(itertools.islice(rest, size)):
        yield some
