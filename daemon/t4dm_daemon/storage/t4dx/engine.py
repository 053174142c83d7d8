"""T4DX: one space, one engine.

    write:  validate → log (group commit, synced) → apply to the memtable → visible → acknowledged
    read:   take the present moment, then the components; rows outside the moment are masked
    flush:  freeze the memtable → capture → segment, mutable columns, manifest → release the log

Commands are logged and then applied (`SpaceState`); recovery applies the log again to the same effect.

Locks, in the order in which they may be taken:

    _flush_lock    one checkpoint is written at a time; guards `_checkpoints` and `_became`
    _commit_lock   the log; held by the commit leader, and to release log files
    _apply_lock    all of `_state`, the mutable columns, `_flusher` and `_flush_error`

Readers take none: they read the state's moment first and its components (one reference to a tuple) second.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgpack
import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.clock import OPEN, RecordClock
from t4dm_daemon.core.errors import (
    DaemonError,
    DimensionMismatchError,
    InvalidInputError,
    StorageClosedError,
    StorageError,
)
from t4dm_daemon.core.filter import Filter
from t4dm_daemon.core.ids import key_of
from t4dm_daemon.core.item import MUTABLE_FIELDS, Edge, Item
from t4dm_daemon.storage.protocol import (
    PRESENT,
    Deletion,
    FieldUpdate,
    InsertResult,
    Order,
    Page,
    Scored,
    Token,
    View,
    Write,
)
from t4dm_daemon.storage.t4dx import query
from t4dm_daemon.storage.t4dx.checkpoint import Checkpoints
from t4dm_daemon.storage.t4dx.commit import Command, CommitQueue
from t4dm_daemon.storage.t4dx.component import Component
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.memtable import Memtable
from t4dm_daemon.storage.t4dx.schema import (
    DELETE,
    INSERT,
    UPDATE,
    check_learned,
    check_vector,
    encode_insert,
)
from t4dm_daemon.storage.t4dx.segment import Segment
from t4dm_daemon.storage.t4dx.state import ADDABLE, SpaceState, meaning_of
from t4dm_daemon.storage.t4dx.statistics import count
from t4dm_daemon.storage.t4dx.wal import Wal

logger = logging.getLogger(__name__)

MAX_FROZEN: Final = 2
"""Memtables that may wait to be written; a third makes writers wait."""
FLUSH_BLOB_BYTES: Final = 64 * 1024 * 1024


class T4DXEngine:
    """Store, find and version the items of one space. Implements `StorageBackend`; thread-safe.

    Args:
        root: Directory of the space, owned by this engine alone (`Database` holds the lock).
        store_id: 16 bytes that tie log and store together.
        clock: Transaction times; shared by the spaces of a database.
        dimension: Of the vectors; None lets the first vector fix it.
        sync: False leaves it to the system when the log reaches the disk.
        flush_items: Rows in memory before they become a segment.
        ann: Graph backend, "faiss" or "flat".
        ann_min_rows: Segments smaller than this are scanned exactly.
        verify: Compare every file's checksum on open.
        fs: The file system.

    Raises:
        CorruptionError: The directory holds damaged files.
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
        fs: FileSystem | None = None,
    ) -> None:
        self._fs = fs or FileSystem()
        self._root = root
        self._clock = clock or RecordClock()
        self._flush_items = flush_items
        self._flush_lock = threading.Lock()
        self._commit_lock = threading.Lock()
        self._apply_lock = threading.Lock()
        self._flushed = threading.Condition(self._apply_lock)
        self._is_closed = False
        self._pid = os.getpid()
        self._flush_error: BaseException | None = None
        self._flusher: threading.Thread | None = None
        self._became: dict[Component, Segment] = {}
        self._fs.make_directory(root)
        self._checkpoints = Checkpoints(self._fs, root, ann=ann, ann_min_rows=ann_min_rows, verify=verify)
        segments, counters, stored = self._checkpoints.load()
        self._state = SpaceState(segments, counters, stored, dimension=dimension, lsn=self._checkpoints.lsn)
        self._wal = Wal(self._fs, root / "wal", store_id=store_id, sync=sync)
        self._fs.sync_directory(root)
        self._replay()
        self._clock.advance(self._state.moment)
        self._queue = CommitQueue(self._carry_out)

    # Writing ------------------------------------------------------------------------------------------

    def insert(
        self, writes: Sequence[Write], edges: Sequence[Edge] = (), *, token: Token | None = None
    ) -> InsertResult:
        """Store items and edges, all or nothing; they are on disk when this returns.

        See `StorageBackend.insert`.
        """
        if not writes and not edges and token is None:
            return InsertResult((), self.snapshot())
        dimension = self._state.dimension
        body, command = encode_insert(writes, edges, token)
        for row in command.rows:
            if row.vector is not None and dimension not in (None, len(row.vector)):
                assert dimension is not None
                raise DimensionMismatchError(dimension, len(row.vector))
        result: InsertResult = self._submit(INSERT, body, command)
        return result

    def update_fields(self, updates: Sequence[FieldUpdate]) -> list[bool]:
        """Change learning state of current versions in place, durably; False where an id is not current."""
        if not updates:
            return []
        for update in updates:
            _check_update(update)
        changes = [(key_of(one.id), dict(one.set), dict(one.add)) for one in updates]
        done: list[bool] = self._submit(UPDATE, msgpack.packb(changes), changes)
        return done

    def delete(self, deletions: Sequence[Deletion]) -> list[bool]:
        """Close current versions, durably, and unlink their edges; False where there was nothing to delete."""
        if not deletions:
            return []
        targets = [(key_of(one.id), one.expected_version) for one in deletions]
        done: list[bool] = self._submit(DELETE, msgpack.packb(targets), targets)
        return done

    def _submit(self, kind: int, body: bytes, meaning: Any) -> Any:
        self._require_open()
        if self._state.frozen >= MAX_FROZEN:
            self._wait_for_flush()
        return self._queue.submit(Command(kind, body, meaning))

    def _wait_for_flush(self) -> None:
        with self._flushed:
            while self._state.frozen >= MAX_FROZEN and self._flush_error is None and not self._is_closed:
                self._flushed.wait(1.0)

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
            if self._state.memtable.rows >= self._flush_items or self._state.memtable.blob_bytes >= FLUSH_BLOB_BYTES:
                self._state.capture()
                self._start_flusher()

    # Recovery -----------------------------------------------------------------------------------------

    def _replay(self) -> None:
        replayed = 0
        with self._apply_lock:
            for record in self._wal.recover(self._checkpoints.lsn):
                meaning = meaning_of(record)
                try:
                    self._state.apply(record.type, record.time, meaning)
                except StorageError:
                    raise
                except DaemonError:
                    pass  # it was refused when it was written, too; its caller was told
                self._state.publish(record.lsn, record.time)
                replayed += 1
        if replayed:
            logger.info("log replayed", extra={"records": replayed, "space": self._root.name})

    # Reading ------------------------------------------------------------------------------------------

    @property
    def dimension(self) -> int | None:
        """Dimension of the vectors, None until the first vector fixes it."""
        return self._state.dimension

    def get(self, ids: Sequence[str], *, view: View = PRESENT, with_vectors: bool = False) -> list[Item | None]:
        """Return the visible version of each id, None where there is none."""
        snapshot = self._snapshot(view)
        return [self._visible(snapshot, key_of(one), with_vectors=with_vectors) for one in ids]

    def _visible(self, snapshot: query.Snapshot, key: bytes, *, with_vectors: bool) -> Item | None:
        view = snapshot.view
        for component in reversed(snapshot.components):
            published = component.rows
            for at in component.rows_of(key):
                numbers = component.numbers
                if at >= published or not numbers["recorded_at"][at] <= snapshot.moment < numbers["recorded_until"][at]:
                    continue
                if not view.include_expired and numbers["expires_at"][at] <= snapshot.now:
                    return None
                if view.as_of is not None and not numbers["valid_from"][at] <= view.as_of < numbers["valid_to"][at]:
                    return None
                return component.item(at, with_vector=with_vectors)
        return None

    def _snapshot(self, view: View) -> query.Snapshot:
        self._require_open()
        moment = self._state.moment  # before the components: what it shows is in them
        now = self._clock.now()
        if view.known_at is not None:
            moment, now = min(moment, view.known_at), view.known_at
        return query.Snapshot(self._state.components, moment, now, view)

    def search(
        self,
        vector: npt.NDArray[np.float32],
        k: int,
        *,
        where: Filter | None = None,
        view: View = PRESENT,
        offset: int = 0,
        min_similarity: float = -1.0,
        exact: bool = False,
        with_vectors: bool = False,
    ) -> list[Scored]:
        """Return the k most similar visible items that pass the filter, best first, ties by id."""
        if k < 1 or offset < 0:
            raise InvalidInputError("k is at least 1 and offset at least 0", k=k, offset=offset)
        vector, _ = check_vector(vector)
        snapshot = self._snapshot(view)
        if self._state.dimension is None:
            return []
        if len(vector) != self._state.dimension:
            raise DimensionMismatchError(self._state.dimension, len(vector))
        return query.search(
            snapshot,
            vector,
            k,
            where=where,
            offset=offset,
            min_similarity=min_similarity,
            exact=exact,
            with_vectors=with_vectors,
        )

    def scan(
        self,
        *,
        where: Filter | None = None,
        view: View = PRESENT,
        order: Order = "insertion",
        descending: bool = False,
        limit: int = 100,
        offset: int = 0,
        after: tuple[int, int] | None = None,
        with_vectors: bool = False,
    ) -> Page:
        """Return visible items that pass the filter, ordered, a page at a time."""
        return query.scan(
            self._snapshot(view),
            where=where,
            order=order,
            descending=descending,
            limit=limit,
            offset=offset,
            after=after,
            with_vectors=with_vectors,
        )

    def find_hash(self, content_hash: int) -> str | None:
        """Return the id of a current item with this content hash, None if there is none."""
        self._require_open()
        found = self._state.current_with_hash(content_hash, self._clock.now())
        return None if found is None else found[0]

    def history(self, item_id: str, *, with_vectors: bool = False) -> list[Item]:
        """Return every version of an id, oldest first; empty when it was never stored."""
        snapshot = self._snapshot(PRESENT)
        key = key_of(item_id)
        versions = [
            component.item(at, with_vector=with_vectors)
            for component in snapshot.components
            for at in reversed(list(component.rows_of(key)))
            if at < component.rows and component.numbers["recorded_at"][at] <= snapshot.moment
        ]
        # A version that was closed after the moment of this read is still open in it.
        return [
            dataclasses.replace(one, recorded_until=OPEN) if one.recorded_until > snapshot.moment else one
            for one in versions
        ]

    def edges(self, item_id: str, *, direction: Literal["out", "in", "both"] = "both") -> list[Edge]:
        """Return the edges at an item; edges of deleted items are gone."""
        self._require_open()
        with self._apply_lock:
            return self._state.edges.at(key_of(item_id), direction)

    def snapshot(self) -> int:
        """Return the transaction time of the present."""
        self._require_open()
        return self._state.moment

    def stats(self) -> Mapping[str, Any]:
        """Return counts and sizes; see `StorageBackend.stats`."""
        snapshot = self._snapshot(PRESENT)
        return {
            **count(snapshot),
            "segments": sum(isinstance(one, Segment) for one in snapshot.components),
            "memtable_rows": sum(one.rows for one in snapshot.components if isinstance(one, Memtable)),
            "edges": len(self._state.edges),
            "wal_bytes": self._wal.used_bytes,
            "disk_bytes": self._checkpoints.disk_bytes() + self._wal.disk_bytes,
            "memory_bytes": sum(one.memory_bytes() for one in snapshot.components),
            "is_read_only": self._wal.failure is not None,
            "flush_error": None if self._flush_error is None else str(self._flush_error),
        }

    def _require_open(self) -> None:
        if self._pid != os.getpid():
            raise StorageError("this store was opened by the parent process; open it after the fork")
        if self._is_closed:
            raise StorageClosedError("the store is closed")

    # Flushing -----------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what is in memory to segments and release the log behind it.

        Raises:
            StorageFullError, StorageError: Nothing is lost; the log still has it, and the next flush tries again.
        """
        with self._flush_lock:
            self._require_open()
            self._flush()

    def _flush(self) -> None:
        """Requires: _flush_lock."""
        with self._apply_lock:
            self._state.capture()
        self._write_captures()

    def _write_captures(self) -> None:
        """Write what was captured, oldest first. Requires: _flush_lock."""
        while self._state.captures:
            capture = self._state.captures[0]
            try:
                made = self._checkpoints.write(capture, self._became)
            except StorageError as error:
                self._keep_for_later(error)
                raise
            except Exception as error:  # whatever it was: writers that wait for the flush must go on
                self._keep_for_later(error)
                raise StorageError(f"the flush failed: {error}; nothing is lost, the log has it") from error
            with self._flushed:
                self._state.captures.popleft()
                for memtable, segment in made.items():
                    self._became[memtable] = segment
                self._state.replace_memtables(made)
                self._flush_error = None
                if not self._state.captures:
                    self._became.clear()
                self._flushed.notify_all()
            with self._commit_lock:
                self._wal.release(capture.lsn)

    def _keep_for_later(self, error: BaseException) -> None:
        """Take captures back after a failure: the next flush captures all of it again."""
        with self._flushed:
            self._state.take_back(self._became, self._checkpoints.lsn)
            self._became.clear()
            self._flush_error = error
            self._flushed.notify_all()

    def _start_flusher(self) -> None:
        """Write captures in the background. Requires: _apply_lock."""
        if self._flusher is None:
            self._flusher = threading.Thread(target=self._flush_in_background, name="t4dx-flush", daemon=True)
            self._flusher.start()

    def _flush_in_background(self) -> None:
        try:
            while True:
                with self._flush_lock:
                    self._write_captures()
                with self._apply_lock:
                    if not self._state.captures:
                        self._flusher = None
                        return
        except StorageError as error:
            logger.error(
                "flush failed; the log keeps what is not flushed",
                extra={"reason": str(error)},
                exc_info=error.__cause__,
            )
            with self._apply_lock:
                self._flusher = None

    # The end ------------------------------------------------------------------------------------------

    def close(self, *, discard: bool = False) -> None:
        """Flush and release everything. Safe to call twice; a failed flush is logged, for the log has it all.

        Args:
            discard: Write nothing more: the files are about to be removed.
        """
        if self._pid != os.getpid():
            return
        with self._apply_lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._queue.close()
        with self._apply_lock:
            flusher = self._flusher  # nothing starts another one: the queue is closed
        if flusher is not None:
            flusher.join()
        with self._flush_lock:  # a flush that came before this call ends first
            try:
                if self._wal.failure is None and not discard:
                    self._flush()
            except StorageError as error:
                logger.error("flush on close failed; the log keeps everything", extra={"reason": str(error)})
            finally:
                self._wal.close()


def _check_update(update: FieldUpdate) -> None:
    for name, value in update.set.items():
        if name not in MUTABLE_FIELDS:
            raise InvalidInputError(f"{name} is not learning state", field=name)
        check_learned(name, value)
    for name, increment in update.add.items():
        if name not in ADDABLE:
            raise InvalidInputError(f"{name} cannot be added to", field=name)
        is_whole = type(increment) is int
        if not (is_whole or (type(increment) is float and name != "access_count")) or not abs(increment) < 2**53:
            raise InvalidInputError(f"the increment of {name} is not a number that fits it", field=name)
