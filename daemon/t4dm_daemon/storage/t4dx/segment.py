"""Rows in files: written once (`segment_files.py`), mapped into memory, never changed.

Mutable columns are loaded into memory. A segment that replaces a frozen memtable takes over its arrays, and one
that replaces other segments takes over theirs, so what was changed while the files were written is not lost.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.clock import OPEN
from t4dm_daemon.core.errors import CorruptionError
from t4dm_daemon.core.ids import KEY_BYTES, key_of
from t4dm_daemon.storage.t4dx import container, edges
from t4dm_daemon.storage.t4dx.component import Component, Dictionary, PathColumn
from t4dm_daemon.storage.t4dx.edges import EdgeBlock, EdgeMemtable, EdgeSegment
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.lookup import Lookup, prefix_of, prefixes_of
from t4dm_daemon.storage.t4dx.schema import IMMUTABLE, LABELS, LISTS, MUTABLE, PURGED
from t4dm_daemon.storage.t4dx.segment_files import BLOBS, COLUMNS, EDGES, VECTORS, FileFacts, check_file

Mutable = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a merged segment's rows come from: an older segment, and which rows and links of it were kept."""

    segment: Segment
    rows: npt.NDArray[np.int64]
    links: npt.NDArray[np.int64]


class Segment(Component):
    """Mapped rows with mutable columns in memory.

    Args:
        fs: The file system.
        directory: Of the immutable files.
        number: Its name in the manifest.
        facts: Sizes and checksums of the immutable files.
        mutable: The mutable columns, as `Component.copy_mutable` returns them.
        level: 0 flushed, 1 strengthened (NREM), 2 abstracted (REM).
        verify: Compare checksums.
    """

    def __init__(
        self,
        fs: FileSystem,
        directory: Path,
        *,
        number: int,
        facts: FileFacts,
        mutable: Mutable,
        level: int = 0,
        verify: bool = True,
    ) -> None:
        self.number_in_manifest = number
        self.level = level
        self.facts = facts
        self._directory = directory
        self._bounds: dict[str, tuple[int, int]] = {}
        content = {
            name: check_file(fs, directory / name, one, checksum=verify)
            for name, one in facts.items()
            if not name.startswith("index.")
        }
        meta, arrays = container.unpack(directory / COLUMNS, content[COLUMNS])
        numbers: dict[str, npt.NDArray[Any]] = {name: arrays[f"number.{name}"] for name in IMMUTABLE}
        dictionaries = {
            name: Dictionary([tuple(value) if name in LISTS else value for value in meta["labels"][name]])
            for name in LABELS
        }
        items = {name: mutable[name] for name in MUTABLE}
        links: EdgeBlock = EdgeMemtable()
        if EDGES in content:
            weights = {name: mutable[f"edge.{name}"] for name in edges.MUTABLE}
            links = EdgeSegment(directory / EDGES, content[EDGES], weights)
        super().__init__(numbers | items, {name: arrays[f"label.{name}"] for name in LABELS}, dictionaries, links)
        self.rows = int(meta["rows"])
        self._keys = arrays["keys"]
        self._by_key = Lookup(arrays["key_prefixes"], arrays["key_rows"])
        self._by_hash = Lookup(arrays["hashes"], arrays["hash_rows"])
        self._offsets = arrays["blob_offsets"]
        self._crcs = arrays["blob_crcs"]
        self._blobs = content[BLOBS]
        self._vectors: npt.NDArray[np.float32] | None = None
        if VECTORS in content:
            self._vectors = np.frombuffer(content[VECTORS], np.float32).reshape(self.rows, meta["dimension"])
        self.has_bare_rows = bool((self.number("inv_norm", self.rows) == 0).any())
        self.refresh()

    def take_over(self, before: Component) -> None:
        """Go on from the mutable columns of the component that this segment was written from, row by row.

        They are copied: a reader that still holds the old one sees no later change, and needs none, for what
        changes later lies after the moment it reads at. Requires: the engine's apply lock.
        """
        self._set_mutable(before.copy_mutable())
        self._paths = before.copy_paths()
        self.is_dirty, self.edges.is_dirty = before.is_dirty, before.edges.is_dirty

    def adopt_paths(self, origins: Sequence[Origin]) -> None:
        """Keep the metadata columns that all merged segments have read: they would be read from every text again."""
        known = [one.segment.copy_paths() for one in origins]
        for path in set(known[0]).intersection(*known[1:]):
            parts = [paths[path] for paths in known]
            if all(part.rows == one.segment.rows for part, one in zip(parts, origins, strict=True)):
                self._paths[path] = PathColumn.joined(
                    (part, one.rows) for part, one in zip(parts, origins, strict=True)
                )

    def take_over_merged(self, origins: Sequence[Origin]) -> None:
        """Go on from the kept rows of the segments that were merged. Requires: the engine's apply lock."""
        self._set_mutable(merged_columns(origins))
        self.mark_saved(saved=False)

    def _set_mutable(self, columns: Mutable) -> None:
        for name in MUTABLE:
            self.numbers[name] = columns[name]
        if self.edges.rows:
            for name in edges.MUTABLE:
                self.edges.columns[name] = columns[f"edge.{name}"]
        self.refresh()

    @property
    def purged_rows(self) -> int:
        """Rows that a merge would leave out."""
        return int(np.count_nonzero(self.number("recorded_until", self.rows) == PURGED))

    @property
    def dimension(self) -> int:
        """Of the vectors, 0 when no row has one."""
        return 0 if self._vectors is None else int(self._vectors.shape[1])

    @property
    def directory(self) -> Path:
        return self._directory

    def source_parts(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64], npt.NDArray[np.uint32], memoryview]:
        """Return keys, blob offsets, blob checksums and all blobs, for a merge."""
        return self._keys, self._offsets, self._crcs, self._blobs

    def refresh(self) -> None:
        """Read the flags that masks go by from the mutable columns. Requires: the engine's apply lock."""
        self.closed = int(np.count_nonzero(self.number("recorded_until", self.rows) != OPEN))
        self.may_expire = bool((self.number("expires_at", self.rows) != OPEN).any())
        self.newest = int(self.number("recorded_at", self.rows).max(initial=0))

    def bounds(self, name: str) -> tuple[int, int] | None:
        if name not in IMMUTABLE or not self.rows:
            return None
        found = self._bounds.get(name)
        if found is None:
            column = self.numbers[name]
            found = self._bounds[name] = int(column.min()), int(column.max())
        return found

    def blob(self, row: int) -> bytes:
        blob = bytes(self._blobs[int(self._offsets[row]) : int(self._offsets[row + 1])])
        if zlib.crc32(blob) != self._crcs[row]:
            path = self._directory / BLOBS
            raise CorruptionError(
                f"{path}: the text of row {row} (byte {int(self._offsets[row])}) is damaged; restore a backup",
                file=str(path), offset=int(self._offsets[row]),
            )  # fmt: skip
        return blob

    def _begins(self, row: int, start: bytes) -> bool:
        first = int(self._offsets[row])
        return self._blobs[first : first + len(start)] == start

    def vectors(self) -> npt.NDArray[np.float32] | None:
        return self._vectors

    def rows_of(self, key: bytes) -> Iterator[int]:
        wanted = np.frombuffer(key, np.uint8)
        for row in self._by_key.find(prefix_of(key))[::-1]:
            if np.array_equal(self._keys[row], wanted):
                yield int(row)

    def rows_of_ids(self, identifiers: Sequence[str]) -> list[int]:
        if not identifiers:
            return []
        keys = np.frombuffer(b"".join(map(key_of, identifiers)), np.uint8).reshape(-1, KEY_BYTES)
        rows, which = self._by_key.find_all(prefixes_of(keys))
        same = (self._keys[rows] == keys[which]).all(axis=1)
        found = zip(rows[same].tolist(), which[same].tolist(), strict=True)
        return [row for row, at in found if self.has_id(row, identifiers[at])]

    def which_keys(self, prefixes: npt.NDArray[np.uint64]) -> list[int]:
        """Return the positions of the keys, given by their prefixes, of which there may be rows."""
        return self._by_key.which(prefixes)

    def which_hashes(self, hashes: npt.NDArray[np.uint64]) -> list[int]:
        """Return the positions of the content hashes of which there are rows."""
        return self._by_hash.which(hashes)

    def rows_of_hash(self, content_hash: int) -> Sequence[int]:
        return [int(row) for row in self._by_hash.find(content_hash)]

    def broken_lookups(self) -> Iterator[str]:
        """Yield what is wrong with the sorted arrays that rows are found by."""
        prefixes = prefixes_of(self._keys)
        for name, lookup, values in (
            ("ids", self._by_key, prefixes),
            ("content hashes", self._by_hash, self.numbers["content_hash"]),
        ):
            is_whole = np.array_equal(np.sort(lookup.rows), np.arange(self.rows))
            if not is_whole or not np.array_equal(lookup.ordered, values[lookup.rows]):
                yield f"rows are not found by their {name}"
            elif (lookup.ordered[1:] < lookup.ordered[:-1]).any():
                yield f"the {name} are not in order"

    def disk_bytes(self) -> int:
        return sum(one["size"] for one in list(self.facts.values()))

    def memory_bytes(self) -> int:
        return sum(self.numbers[name].nbytes for name in MUTABLE) + self.edges.memory_bytes()


def load_mutable(path: Path, content: memoryview) -> Mutable:
    """Return mutable columns as arrays that may be written."""
    _, arrays = container.unpack(path, content)
    return {name: np.array(array) for name, array in arrays.items()}


def merged_columns(origins: Sequence[Origin]) -> Mutable:
    """Return the mutable columns of the kept rows and links, as they are now, in order."""
    columns = {name: np.concatenate([one.segment.numbers[name][one.rows] for one in origins]) for name in MUTABLE}
    return columns | {
        f"edge.{name}": np.concatenate([one.segment.edges.columns[name][one.links] for one in origins])
        for name in edges.MUTABLE
    }
