"""The newest rows, in memory; the log has them too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.clock import OPEN, UNBOUNDED
from t4dm_daemon.storage.t4dx.component import Component, Dictionary
from t4dm_daemon.storage.t4dx.edges import EdgeMemtable
from t4dm_daemon.storage.t4dx.schema import GIVEN, LABELS, LEARNED, NUMBERS, Row

_FIRST_CAPACITY: Final = 256


_SCANNED: Final = ("recorded_at", "recorded_until", "inv_norm")
"""Columns that every search reads, in arrays of their own; the rest of a row is written in one assignment."""
_ROW: Final = np.dtype(
    [
        *((name, NUMBERS[name]) for name in (*GIVEN, *LEARNED, "seq", "version")),
        *((f"label.{name}", np.int32) for name in LABELS),
    ],
    align=True,
)
_EVENT_TIME: Final = GIVEN.index("event_time")
_CREATED_AT: Final = GIVEN.index("created_at")
_UPDATED_AT: Final = GIVEN.index("updated_at")
_CONTENT_HASH: Final = GIVEN.index("content_hash")
_EXPIRES_AT: Final = LEARNED.index("expires_at")


class Memtable(Component):
    """Append rows. Arrays grow by doubling into new ones, so a reader's old arrays stay whole."""

    def __init__(self) -> None:
        self._capacity = _FIRST_CAPACITY
        self._table = np.empty(self._capacity, _ROW)
        self._scanned: dict[str, npt.NDArray[Any]] = {
            name: np.empty(self._capacity, NUMBERS[name]) for name in _SCANNED
        }
        self.links = EdgeMemtable()
        super().__init__({}, {}, {name: Dictionary() for name in LABELS}, self.links)
        self._point_columns()
        self._vectors: npt.NDArray[np.float32] | None = None
        self._blobs: list[bytes] = []
        self._keys: list[bytes] = []
        self._newest_row: dict[bytes, int] = {}
        self._older_row: list[int] = []
        """Per row, the row of the same key before it, -1 for none."""
        self._hashes: dict[int, list[int]] = {}
        self.blob_bytes = 0

    def _point_columns(self) -> None:
        self.numbers = {name: self._table[name] for name in (*GIVEN, *LEARNED, "seq", "version")} | self._scanned
        self.codes = {name: self._table[f"label.{name}"] for name in LABELS}

    def append(self, row: Row, *, recorded_at: int, created_at: int, seq: int, version: int) -> int:
        """Add a row and return its number; it is not published yet. Requires: the engine's apply lock."""
        at = len(self._blobs)
        if at == self._capacity:
            self._grow()
        given = list(row.given)
        given[_CREATED_AT] = created_at
        if given[_EVENT_TIME] == UNBOUNDED:
            given[_EVENT_TIME] = recorded_at
        if given[_UPDATED_AT] == UNBOUNDED:
            given[_UPDATED_AT] = recorded_at
        dictionaries = self.dictionaries
        codes = [
            -1 if label is None else dictionaries[name].code(label)
            for name, label in zip(LABELS, row.labels, strict=True)
        ]
        self._table[at] = (*given, *row.learned, seq, version, *codes)
        scanned = self._scanned
        scanned["recorded_at"][at] = recorded_at
        scanned["recorded_until"][at] = OPEN
        scanned["inv_norm"][at] = row.inv_norm
        if row.vector is None:
            self.has_bare_rows = True
        else:
            if self._vectors is None:
                self._vectors = np.zeros((self._capacity, row.vector.shape[0]), np.float32)
            self._vectors[at] = row.vector
        if row.learned[_EXPIRES_AT] != OPEN:
            self.may_expire = True
        self.newest = max(self.newest, recorded_at)
        self._blobs.append(row.blob)
        self._keys.append(row.key)
        self._older_row.append(self._newest_row.get(row.key, -1))
        self._newest_row[row.key] = at
        content_hash = given[_CONTENT_HASH]
        if content_hash:
            self._hashes.setdefault(content_hash, []).append(at)
        self.blob_bytes += len(row.blob)
        return at

    def publish(self) -> None:
        """Let readers see the rows that were added."""
        self.rows = len(self._blobs)
        self.links.publish()

    @property
    def written(self) -> int:
        """Rows with those that are not published yet."""
        return len(self._blobs)

    @property
    def is_empty(self) -> bool:
        return not self.rows and not self.links.rows

    def _grow(self) -> None:
        self._capacity *= 2
        self._table = self._larger(self._table)
        self._scanned = {name: self._larger(array) for name, array in self._scanned.items()}
        self._point_columns()
        if self._vectors is not None:
            self._vectors = self._larger(self._vectors)

    def _larger(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        larger = np.zeros((self._capacity, *array.shape[1:]), array.dtype)
        larger[: len(array)] = array
        return larger

    def blob(self, row: int) -> bytes:
        return self._blobs[row]

    def _begins(self, row: int, start: bytes) -> bool:
        return self._blobs[row].startswith(start)

    def blobs(self) -> list[bytes]:
        return self._blobs[: self.rows]

    def keys(self) -> list[bytes]:
        return self._keys[: self.rows]

    def vectors(self) -> npt.NDArray[np.float32] | None:
        return self._vectors

    def rows_of(self, key: bytes) -> Iterator[int]:
        row = self._newest_row.get(key, -1)
        while row >= 0:
            yield row
            row = self._older_row[row]

    def rows_of_hash(self, content_hash: int) -> Sequence[int]:
        return tuple(self._hashes.get(content_hash, ()))

    def memory_bytes(self) -> int:
        columns = self._table.nbytes + sum(array.nbytes for array in self._scanned.values())
        return (
            self.links.memory_bytes()
            + columns
            + self.blob_bytes
            + (0 if self._vectors is None else self._vectors.nbytes)
        )
