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
import dataclasses
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.clock import OPEN, UNBOUNDED, RecordClock
from t4dm_daemon.core.errors import (
    DaemonError,
    DimensionMismatchError,
    InvalidInputError,
    SpaceDeletedError,
    StorageClosedError,
    StorageError,
)
from t4dm_daemon.core.filter import Filter
from t4dm_daemon.core.ids import key_of
from t4dm_daemon.core.item import Edge, Item
from t4dm_daemon.storage.protocol import (
    PRESENT,
    Deletion,
    Direction,
    EdgeChange,
    FieldUpdate,
    Group,
    InsertResult,
    Nearby,
    Order,
    Outcome,
    Page,
    Reached,
    Scored,
    Token,
    View,
    Write,
)
from t4dm_daemon.storage.t4dx import graph, query
from t4dm_daemon.storage.t4dx.analysis import analyzer
from t4dm_daemon.storage.t4dx.checkpoint import MAX_BLOB_NAME, Checkpoints
from t4dm_daemon.storage.t4dx.commit import Command, CommitQueue
from t4dm_daemon.storage.t4dx.compaction import MAX_LEVEL, CompactionReport, Compactor, MergePolicy, SizeTiered
from t4dm_daemon.storage.t4dx.component import Component
from t4dm_daemon.storage.t4dx.flusher import Flusher
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.memtable import Memtable
from t4dm_daemon.storage.t4dx.probe import TextProbe
from t4dm_daemon.storage.t4dx.schema import (
    DELETE,
    INSERT,
    PURGE,
    SCALE,
    UNLINK,
    UPDATE,
    WEIGH,
    check_vector,
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
from t4dm_daemon.storage.t4dx.statistics import count, count_values, groups, values_with
from t4dm_daemon.storage.t4dx.verify import find_broken
from t4dm_daemon.storage.t4dx.wal import Wal
from t4dm_daemon.storage.t4dx.wal_mac import LogKey

logger = logging.getLogger(__name__)

T = TypeVar("T")

FLUSH_LOG_BYTES: Final = 64 * 1024 * 1024
"""Bytes of commands after which a checkpoint is written, whatever the commands were."""
LINKS_PER_ROW: Final = 4
"""A memtable is full, too, when it holds so many links for each row that it may hold."""


class T4DXEngine:
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
        _require_list("types", types)
        _require_list("sources", sources)
        body, meaning = encode_scale(multiply, add, low, high, types, sources)
        count: int = self._submit(SCALE, body, meaning)
        return count

    def purge(self, ids: Sequence[str] = (), *, before: int | None = None) -> int:
        """Forget ended versions for good; see `StorageBackend.purge`. Returns how many versions."""
        _require_list("ids", ids)
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

    # Reading ------------------------------------------------------------------------------------------

    @property
    def dimension(self) -> int | None:
        """Dimension of the vectors, None until the first vector fixes it."""
        return self._state.dimension

    def get(self, ids: Sequence[str], *, view: View = PRESENT, with_vectors: bool = False) -> list[Item | None]:
        """Return the visible version of each id, None where there is none."""
        _require_list("ids", ids)
        snapshot = self._snapshot(view)
        return [self._visible(snapshot, one, with_vectors=with_vectors) for one in ids]

    def _visible(self, snapshot: query.Snapshot, item_id: str, *, with_vectors: bool) -> Item | None:
        found = self._row(snapshot, key_of(item_id))
        if found is None or not found[0].has_id(found[1], item_id):
            return None
        return found[0].item(found[1], with_vector=with_vectors)

    def _is_visible(self, snapshot: query.Snapshot, item_id: str) -> bool:
        found = self._row(snapshot, key_of(item_id))
        return found is not None and found[0].has_id(found[1], item_id)

    def _row(self, snapshot: query.Snapshot, key: bytes) -> tuple[Component, int] | None:
        """Return where the visible version of a key is."""
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
                return component, at
        return None

    def _snapshot(self, view: View) -> query.Snapshot:
        self._require_open()
        moment = self._state.moment  # before the components: what it shows is in them
        now = self._clock.now()
        if view.known_at is not None:
            if view.known_at < self._state.purged_before:
                raise InvalidInputError(
                    "what was known then has been purged: ask for a later known_at",
                    known_at=view.known_at,
                    purged_before=self._state.purged_before,
                )
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

    def probe(
        self,
        *,
        vector: npt.NDArray[np.float32] | None,
        text: str | None,
        k: int,
        where: Filter | None = None,
        view: View = PRESENT,
        with_vectors: bool = False,
    ) -> TextProbe:
        """Put a question to all signals at once; each proposes `k` candidates. See `StorageBackend.probe`."""
        if k < 1:
            raise InvalidInputError("k is at least 1", k=k)
        if vector is not None:
            vector, _ = check_vector(vector)
            if self._state.dimension is None:
                vector = None
            elif len(vector) != self._state.dimension:
                raise DimensionMismatchError(self._state.dimension, len(vector))
        return TextProbe(
            self._snapshot(view),
            self._analyzer,
            vector=vector,
            text=text,
            where=where,
            k=k,
            with_vectors=with_vectors,
        )

    def near(
        self,
        vectors: npt.NDArray[np.float32],
        *,
        least: float,
        limit: int,
        where: Filter | None = None,
        view: View = PRESENT,
    ) -> list[Nearby]:
        """Return what is near each vector. See `StorageBackend.near`."""
        if self._state.dimension is None:
            return [Nearby(-1.0, ()) for _ in vectors]
        if vectors.ndim != 2 or vectors.shape[1] != self._state.dimension:
            raise DimensionMismatchError(self._state.dimension, vectors.shape[-1])
        return query.near(self._snapshot(view), vectors, least=least, limit=limit, where=where)

    def values_with(
        self, fields: Sequence[str], words: Sequence[str], *, where: Filter | None = None, view: View = PRESENT
    ) -> set[str]:
        """Return the values of the fields that hold one of the words. See `StorageBackend.values_with`."""
        return values_with(self._snapshot(view), fields, words, where)

    def count_values(
        self, fields: Sequence[str], *, where: Filter | None = None, view: View = PRESENT
    ) -> list[list[tuple[Any, int]]]:
        """Return for each field its distinct values with their counts. See `StorageBackend.count_values`."""
        return count_values(self._snapshot(view), fields, where)

    def groups(
        self,
        labels: Sequence[str],
        *,
        bounds: Sequence[str] = (),
        where: Filter | None = None,
        view: View = PRESENT,
    ) -> list[Group]:
        """Return the items that pass, grouped by label columns. See `StorageBackend.groups`."""
        return groups(self._snapshot(view), labels, bounds, where)

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
        """Return visible items that pass the filter, ordered, a page at a time.

        Raises:
            InvalidInputError: The limit is below 1, the offset below 0, or there is no such order.
        """
        if type(limit) is not int or limit < 1 or type(offset) is not int or offset < 0:
            raise InvalidInputError("the limit is at least 1 and the offset at least 0", limit=limit, offset=offset)
        if order not in get_args(Order):
            raise InvalidInputError(f"the order is one of {', '.join(get_args(Order))}", order=str(order))
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

    def find_hash(self, content_hash: int, *, valid_from: int = UNBOUNDED, valid_to: int = OPEN) -> str | None:
        """Return the id of a current item with this content hash that is true within the interval, None if none is."""
        self._require_open()
        if not 0 < content_hash < 2**64:
            return None  # 0 stands for no hash
        found = self._state.current_with_hash(content_hash, self._clock.now(), valid=(valid_from, valid_to))
        return None if found is None else found[0]

    def history(self, item_id: str, *, with_vectors: bool = False) -> list[Item]:
        """Return every version of an id, oldest first; empty when it was never stored."""
        snapshot = self._snapshot(PRESENT)
        key = key_of(item_id)
        versions = [
            component.item(at, with_vector=with_vectors)
            for component in snapshot.components
            for at in reversed(list(component.rows_of(key)))
            if at < component.rows
            and component.numbers["recorded_at"][at] <= snapshot.moment
            and not component.is_purged(at)
        ]
        versions = [one for one in versions if one.id == item_id]
        # A version that was closed after the moment of this read is still open in it.
        return [
            dataclasses.replace(one, recorded_until=OPEN) if one.recorded_until > snapshot.moment else one
            for one in versions
        ]

    def edges(self, item_id: str, *, direction: Direction = "both", view: View = PRESENT) -> list[Edge]:
        """Return the links at an item that are visible in the view, by ends and type."""
        graph.check_direction(direction)
        found = graph.links(self._snapshot(view), key_of(item_id), direction)
        return [one for one in found if item_id in (one.source, one.target)]

    def traverse(
        self,
        start: Sequence[str],
        *,
        types: Sequence[str] | None = None,
        direction: Direction = "out",
        depth: int = 1,
        limit: int = 1000,
        view: View = PRESENT,
    ) -> list[Reached]:
        """Return the visible items within `depth` hops; see `StorageBackend.traverse`."""
        _require_list("start", start)
        _require_list("types", types)
        snapshot = self._snapshot(view)
        return graph.traverse(
            snapshot,
            start,
            types=types,
            direction=direction,
            depth=depth,
            limit=limit,
            is_visible=lambda one: self._is_visible(snapshot, one),
        )

    def path(
        self,
        source: str,
        target: str,
        *,
        types: Sequence[str] | None = None,
        direction: Direction = "out",
        max_depth: int = 6,
        view: View = PRESENT,
    ) -> list[Edge] | None:
        """Return a shortest path as its links in order; see `StorageBackend.path`."""
        _require_list("types", types)
        snapshot = self._snapshot(view)
        return graph.path(
            snapshot,
            source,
            target,
            types=types,
            direction=direction,
            max_depth=max_depth,
            is_visible=lambda one: self._is_visible(snapshot, one),
        )

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


def _require_list(name: str, value: object) -> None:
    """Refuse one string where several are wanted: its letters would be taken for them."""
    if isinstance(value, str | bytes):
        raise InvalidInputError(f"{name} is a list of strings, not one string", **{name: ascii(value)[:100]})


def _batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of up to `size` values."""
    rest = iter(values)
    while some := list(itertools.islice(rest, size)):
        yield some
