"""Rows of one space, in memory or in files: what memtable and segment have in common.

Rows are appended and never move. `rows` is the number of published ones: it is written after everything it
counts, so a reader that takes it first sees whole rows. Numbers live in arrays by column; the mutable ones are
changed in place. Which version a reader sees is decided by transaction time alone: a row is visible at T when
`recorded_at <= T < recorded_until`.
"""

from __future__ import annotations

import json
import re
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.clock import OPEN
from t4dm_daemon.core.filter import MISSING, metadata_value
from t4dm_daemon.core.ids import key_of
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.protocol import View
from t4dm_daemon.storage.t4dx.analysis import Analyzer
from t4dm_daemon.storage.t4dx.ann import AnnIndex
from t4dm_daemon.storage.t4dx.edges import EdgeBlock
from t4dm_daemon.storage.t4dx.schema import LABELS, LISTS, MUTABLE, NUMBERS, PURGED, blob_start, unpack_blob
from t4dm_daemon.storage.t4dx.text_index import GrowingTextIndex, TextIndex

MAX_CACHED_PATHS: Final = 32
_WORD: Final = re.compile(r"[^\W\d_]+")
_ITEM_NUMBERS: Final = tuple(name for name in NUMBERS if name != "inv_norm")

Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int32]
Numbers = dict[str, npt.NDArray[Any]]


class Words:
    """Which of a growing list of values hold a word. Thread-safe; `_lock` guards every field."""

    __slots__ = ("_codes", "_known", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._codes: dict[str, list[int]] = {}
        self._known = 0

    def codes(self, values: list[Any], words: Iterable[str]) -> list[int]:
        """Return the positions of the strings among `values` that hold one of the words, case folded."""
        with self._lock:
            for code in range(self._known, len(values)):
                value = values[code]
                for word in set(_WORD.findall(value.casefold())) if isinstance(value, str) else ():
                    self._codes.setdefault(word, []).append(code)
                self._known = code + 1
            return sorted({code for word in words for code in self._codes.get(word, ())})


class Dictionary:
    """The distinct values of one label column, by code. Appended to by the writer only."""

    __slots__ = ("_codes", "values", "words")

    def __init__(self, values: Sequence[Any] = ()) -> None:
        self.values: list[Any] = list(values)
        self.words = Words()
        self._codes = {value: code for code, value in enumerate(self.values)}

    def find(self, value: Any) -> int:
        """Return the code of a value, -1 if it was not seen."""
        return self._codes.get(value, -1)

    def code(self, value: Any) -> int:
        """Return the code of a value, a new one if it was not seen before; -1 for None."""
        if value is None:
            return -1
        code = self._codes.get(value)
        if code is None:
            code = len(self.values)
            self.values.append(value)
            self._codes[value] = code
        return code


class PathColumn:
    """A metadata path as a label column: code per row (-1 where it is missing) and the distinct values."""

    __slots__ = ("_codes_of", "codes", "rows", "values", "words")

    def __init__(self) -> None:
        self.words = Words()
        self.codes: Codes = np.empty(0, np.int32)
        self.rows = 0
        self.values: list[Any] = []
        self._codes_of: dict[tuple[type, Any], int] = {}

    def extend(self, values: Iterator[Any], rows: int) -> None:
        """Add the values of the rows from `self.rows` up to `rows`."""
        fresh = np.full(rows - self.rows, -1, np.int32)
        for at, value in enumerate(values):
            if value is MISSING:
                continue
            name = (type(value), repr(value) if isinstance(value, list | dict) else value)
            code = self._codes_of.get(name)
            if code is None:
                code = self._codes_of[name] = len(self.values)
                self.values.append(value)
            fresh[at] = code
        self.codes = np.concatenate((self.codes, fresh))
        self.rows = rows

    @classmethod
    def joined(cls, parts: Iterable[tuple[PathColumn, npt.NDArray[np.int64]]]) -> PathColumn:
        """Return the columns of chosen rows, one after the other."""
        joined = cls()
        codes = [joined.codes]
        for part, rows in parts:
            renumbered = np.full(len(part.values) + 1, -1, np.int32)
            for name, code in part._codes_of.items():
                renumbered[code] = joined._codes_of.setdefault(name, len(joined.values))
                if renumbered[code] == len(joined.values):
                    joined.values.append(part.values[code])
            codes.append(renumbered[part.codes[rows]])  # -1 is the last entry
        joined.codes = np.concatenate(codes)
        joined.rows = len(joined.codes)
        return joined

    def copy(self) -> PathColumn:
        copied = PathColumn()
        copied.codes, copied.rows = self.codes, self.rows
        copied.values, copied._codes_of = list(self.values), dict(self._codes_of)
        return copied


class Component(ABC):
    """Rows with their columns. Memtable and segment say where texts and vectors come from.

    `_paths` and the making of `text` are guarded by `_paths_lock`; everything else is written by the engine's writer
    only.
    """

    def __init__(
        self, numbers: Numbers, codes: dict[str, Codes], dictionaries: dict[str, Dictionary], edges: EdgeBlock
    ) -> None:
        self.rows = 0
        self.edges = edges
        self.numbers = numbers
        self.codes = codes
        self.dictionaries = dictionaries
        self.closed = 0
        """Rows whose version has ended. While it is 0, no mask is needed for it."""
        self.may_expire = False
        self.newest = 0
        """Greatest `recorded_at` of the published rows."""
        self.has_bare_rows = False
        """Some rows have no vector."""
        self.is_dirty = False
        """Mutable columns have changed since they were last written to a file."""
        self.index: AnnIndex | None = None
        self.effort = 0
        """`ef` at which the graph finds enough of ten neighbours (`calibration.py`)."""
        self.text: TextIndex | None = None
        """The terms of the rows; None until they are first asked for, or loaded."""
        self._paths: OrderedDict[str, PathColumn] = OrderedDict()
        self._paths_lock = threading.Lock()

    # What the two kinds say for themselves ------------------------------------------------------------

    @abstractmethod
    def blob(self, row: int) -> bytes:
        """Return the packed texts of a row."""

    @abstractmethod
    def vectors(self) -> npt.NDArray[np.float32] | None:
        """Return the vectors, (>= rows, D), None while no row has one."""

    @abstractmethod
    def rows_of(self, key: bytes) -> Iterator[int]:
        """Yield the rows of a key, newest first."""

    def rows_of_ids(self, identifiers: Sequence[str]) -> list[int]:
        """Return the rows of many ids, of every version, in no order."""
        return [row for one in identifiers for row in self.rows_of(key_of(one)) if self.has_id(row, one)]

    @abstractmethod
    def rows_of_hash(self, content_hash: int) -> Sequence[int]:
        """Return the rows with a content hash."""

    @abstractmethod
    def _begins(self, row: int, start: bytes) -> bool:
        """Return whether the packed texts of a row begin with some bytes; they are not compared with a checksum."""

    def has_id(self, row: int, identifier: str) -> bool:
        """Return whether a row is of an item of this id.

        A UUID may be chosen so that it is the hash of another id: then both have one key.
        """
        start = blob_start(identifier)
        return start is not None and (self._begins(row, start) or unpack_blob(self.blob(row))[0] == identifier)

    # Columns ------------------------------------------------------------------------------------------

    def number(self, name: str, rows: int) -> npt.NDArray[Any]:
        return self.numbers[name][:rows]

    def bounds(self, name: str) -> tuple[int, int] | None:  # noqa: ARG002 - the memtable grows, and knows none
        """Return the least and the greatest value of an immutable number, None when that is not known."""
        return None

    def visible(self, view: View, moment: int, now: int, rows: int) -> Mask | None:
        """Return which of the first `rows` rows a reader sees, None when it sees them all.

        Args:
            view: What the reader asked for.
            moment: Its transaction time.
            now: What expiry is compared with.
            rows: Published rows, taken before `moment` is applied.
        """
        masks: list[Mask] = []
        if self.newest > moment:
            masks.append(self.number("recorded_at", rows) <= moment)
        if self.closed:
            masks.append(self.number("recorded_until", rows) > moment)
        if self.may_expire and not view.include_expired:
            masks.append(self.number("expires_at", rows) > now)
        if view.as_of is not None:
            masks.append(self.number("valid_from", rows) <= view.as_of)
            masks.append(self.number("valid_to", rows) > view.as_of)
        if not masks:
            return None
        first, *others = masks
        for mask in others:
            first &= mask
        return first

    def path_column(self, path: str, rows: int) -> PathColumn:
        """Return a metadata path as a column, read from the texts when it is first asked for."""
        (column,) = self.read_paths([path], rows)
        return column

    def read_paths(self, paths: Sequence[str], rows: int) -> list[PathColumn]:
        """Return several metadata paths as columns; what is not known yet of any of them is read in one pass."""
        with self._paths_lock:
            columns = []
            for path in paths:
                columns.append(self._paths.setdefault(path, PathColumn()))
                self._paths.move_to_end(path)
            while len(self._paths) > max(MAX_CACHED_PATHS, len(paths)):
                self._paths.popitem(last=False)
            behind = [(path, one, one.rows) for path, one in zip(paths, columns, strict=True) if one.rows < rows]
            if behind:
                first = min(known for _, _, known in behind)
                found: list[list[Any]] = [[] for _ in behind]
                for row in range(first, rows):
                    metadata = self.metadata(row)
                    for (path, _, known), values in zip(behind, found, strict=True):
                        if row >= known:
                            values.append(metadata_value(metadata, path) if metadata else MISSING)
                for (_, column, _), values in zip(behind, found, strict=True):
                    column.extend(iter(values), rows)
            return columns

    def copy_paths(self) -> OrderedDict[str, PathColumn]:
        """Return the metadata columns that have been read."""
        with self._paths_lock:
            return OrderedDict((path, column.copy()) for path, column in self._paths.items())

    def text_index(self, analyzer: Analyzer, rows: int, *, pace: Callable[[], None] = lambda: None) -> TextIndex:
        """Return the terms of at least the first `rows` rows, read from the texts where they are not indexed yet."""
        with self._paths_lock:
            index = self.text
            if index is None:
                index = self.text = GrowingTextIndex(analyzer)
        if isinstance(index, GrowingTextIndex):
            index.extend(self.content, rows, pace=pace)
        return index

    def content(self, row: int) -> str:
        return unpack_blob(self.blob(row))[1]

    def metadata(self, row: int) -> Any:
        text = unpack_blob(self.blob(row))[2]
        return json.loads(text) if text != b"{}" else {}

    # Items --------------------------------------------------------------------------------------------

    def item(self, row: int, *, with_vector: bool) -> Item:
        """Return the row as an item."""
        identifier, content, metadata_json, value_json = unpack_blob(self.blob(row))
        numbers, codes, dictionaries = self.numbers, self.codes, self.dictionaries
        vector = None
        if with_vector and numbers["inv_norm"][row] > 0:
            stored = self.vectors()
            assert stored is not None
            vector = np.array(stored[row])
        fields: dict[str, Any] = {name: numbers[name].item(row) for name in _ITEM_NUMBERS}
        for name in LABELS:
            code = codes[name].item(row)
            fields[name] = None if code < 0 else dictionaries[name].values[code]
        return Item(
            id=identifier,
            content=content,
            vector=vector,
            metadata_json=metadata_json,
            value_json=value_json,
            **fields,
        )

    def close_row(self, row: int, moment: int) -> None:
        """End a version. Requires: the engine's apply lock."""
        self.numbers["recorded_until"][row] = moment
        self.closed += 1
        self.is_dirty = True

    def is_open(self, row: int) -> bool:
        return bool(self.numbers["recorded_until"][row] == OPEN)

    def is_purged(self, row: int) -> bool:
        return bool(self.numbers["recorded_until"][row] == PURGED)

    def purge_rows(self, rows: npt.NDArray[np.int64]) -> int:
        """Hide rows from every moment, for the next merge to leave out. Requires: the engine's apply lock."""
        until = self.numbers["recorded_until"]
        rows = rows[until[rows] != PURGED]
        if len(rows):
            self.closed += int(np.count_nonzero(until[rows] == OPEN))
            until[rows] = PURGED
            self.is_dirty = True
        return len(rows)

    @property
    def has_unsaved_changes(self) -> bool:
        """Mutable columns, of items or links, have changed since they were last written to a file."""
        return self.is_dirty or self.edges.is_dirty

    def mark_saved(self, *, saved: bool = True) -> None:
        self.is_dirty = self.edges.is_dirty = not saved

    def copy_mutable(self) -> Numbers:
        """Return the mutable columns as they are now. Requires: the engine's apply lock."""
        return {name: np.array(self.numbers[name][: self.rows]) for name in MUTABLE} | self.edges.copy_mutable()

    @abstractmethod
    def memory_bytes(self) -> int:
        """Return the bytes held in memory (mapped files are the system's)."""


def label_value(name: str, value: Any) -> Any:
    """Return a label as filters see it: lists are lists, what is not set is missing."""
    if name in LISTS:
        return list(value or ())
    return MISSING if value is None else value
