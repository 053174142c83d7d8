"""Rows in files: written once from a memtable, mapped into memory, never changed.

    seg/NNNNNN/columns.bin   container: keys, their sorted prefixes, immutable numbers, label codes, blob offsets
                             and checksums; its meta holds the label dictionaries
    seg/NNNNNN/vectors.f32   rows × dimension float32, in row order; absent when no row has a vector
    seg/NNNNNN/blobs.bin     the texts of the rows, one after the other
    seg/NNNNNN/index.<kind>  graph index: derived data, rebuilt when it does not check out
    cols/NNNNNN-M.bin        container: mutable numbers as of manifest M

Mutable columns are loaded into memory. A segment that replaces a frozen memtable takes over its arrays, so what
was changed while the files were written is not lost.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.clock import OPEN
from t4dm_daemon.core.errors import CorruptionError
from t4dm_daemon.core.ids import KEY_BYTES
from t4dm_daemon.storage.t4dx import container
from t4dm_daemon.storage.t4dx.component import Component, Dictionary
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.memtable import Memtable
from t4dm_daemon.storage.t4dx.schema import IMMUTABLE, LABELS, LISTS, MUTABLE, prefix_of

COLUMNS: Final = "columns.bin"
VECTORS: Final = "vectors.f32"
BLOBS: Final = "blobs.bin"

FileFacts = dict[str, dict[str, int]]
"""Per file name: its size and CRC-32, as the manifest keeps them."""


def _facts(parts: Sequence[bytes | memoryview]) -> dict[str, int]:
    crc = size = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
        size += memoryview(part).nbytes
    return {"size": size, "crc32": crc}


class Lookup:
    """Find rows by a 64-bit value: the sorted values, and the rows they belong to."""

    def __init__(self, ordered: npt.NDArray[np.uint64], rows: npt.NDArray[np.uint32]) -> None:
        self.ordered = ordered
        self.rows = rows

    @classmethod
    def build(cls, values: npt.NDArray[np.uint64]) -> Lookup:
        rows = np.argsort(values, kind="stable").astype(np.uint32)
        return cls(values[rows], rows)

    def find(self, value: int) -> npt.NDArray[np.uint32]:
        """Return the rows with a value, oldest first."""
        wanted = np.uint64(value)
        first = self.ordered.searchsorted(wanted, "left")
        last = self.ordered.searchsorted(wanted, "right")
        return self.rows[first:last]


def write_rows(fs: FileSystem, directory: Path, memtable: Memtable, rows: int) -> FileFacts:
    """Write the immutable files of a segment durably and return what the manifest must know of them."""
    fs.make_directory(directory)
    keys, blobs = memtable.keys()[:rows], memtable.blobs()[:rows]
    prefixes = Lookup.build(np.array([prefix_of(key) for key in keys], np.uint64))
    hashes = Lookup.build(np.ascontiguousarray(memtable.number("content_hash", rows)))
    offsets = np.zeros(rows + 1, np.uint64)
    np.cumsum([len(blob) for blob in blobs], out=offsets[1:])
    arrays: dict[str, npt.NDArray[Any]] = {
        "keys": np.frombuffer(b"".join(keys), np.uint8).reshape(rows, KEY_BYTES),
        "key_prefixes": prefixes.ordered,
        "key_rows": prefixes.rows,
        "hashes": hashes.ordered,
        "hash_rows": hashes.rows,
        "blob_offsets": offsets,
        "blob_crcs": np.array([zlib.crc32(blob) for blob in blobs], np.uint32),
    }
    arrays |= {f"number.{name}": memtable.number(name, rows) for name in IMMUTABLE}
    arrays |= {f"label.{name}": memtable.codes[name][:rows] for name in LABELS}
    vectors = memtable.vectors()
    meta = {
        "rows": rows,
        "dimension": 0 if vectors is None else int(vectors.shape[1]),
        "labels": {name: memtable.dictionaries[name].values for name in LABELS},
    }
    files: dict[str, list[bytes | memoryview]] = {COLUMNS: container.pack(meta, arrays), BLOBS: [b"".join(blobs)]}
    if vectors is not None:
        files[VECTORS] = [np.ascontiguousarray(vectors[:rows]).data.cast("B")]
    for name, parts in files.items():
        fs.write_new(directory / name, parts)
    fs.sync_directory(directory)
    fs.sync_directory(directory.parent)
    return {name: _facts(parts) for name, parts in files.items()}


def pack_mutable(numbers: dict[str, npt.NDArray[Any]], rows: int) -> list[bytes | memoryview]:
    """Return the parts of a file of mutable columns."""
    return container.pack({"rows": rows}, {name: numbers[name][:rows] for name in MUTABLE})


def write_mutable(fs: FileSystem, path: Path, parts: Sequence[bytes | memoryview]) -> dict[str, int]:
    """Write mutable columns durably and return what the manifest must know of the file."""
    fs.make_directory(path.parent)
    fs.write_new(path, parts)
    return _facts(parts)


def check_file(fs: FileSystem, path: Path, facts: dict[str, int]) -> memoryview:
    """Return a file's content, mapped, after comparing its size and CRC-32.

    Raises:
        CorruptionError: It is missing, or not what was written.
    """
    if not fs.exists(path):
        raise CorruptionError(f"{path}: this file is missing; restore a backup", file=str(path))
    content = fs.map(path)
    if len(content) != facts["size"]:
        raise CorruptionError(
            f"{path}: {len(content)} bytes found, {facts['size']} expected; restore a backup",
            file=str(path), expected=facts["size"], found=len(content),
        )  # fmt: skip
    if zlib.crc32(content) != facts["crc32"]:
        raise CorruptionError(
            f"{path}: its checksum is wrong; restore a backup",
            file=str(path), expected=facts["crc32"], found=zlib.crc32(content),
        )  # fmt: skip
    return content


class Segment(Component):
    """Mapped rows with mutable columns in memory.

    Args:
        fs: The file system.
        directory: Of the immutable files.
        number: Its name in the manifest.
        facts: Sizes and checksums of the immutable files.
        mutable: The mutable columns: loaded, or taken over from the memtable that became this segment.
        verify: Compare checksums.
    """

    def __init__(
        self,
        fs: FileSystem,
        directory: Path,
        *,
        number: int,
        facts: FileFacts,
        mutable: dict[str, npt.NDArray[Any]],
        verify: bool = True,
    ) -> None:
        self.number_in_manifest = number
        self.facts = facts
        self._directory = directory
        content = {
            name: check_file(fs, directory / name, one) if verify else fs.map(directory / name)
            for name, one in facts.items()
            if not name.startswith("index.")
        }
        meta, arrays = container.unpack(directory / COLUMNS, content[COLUMNS])
        numbers: dict[str, npt.NDArray[Any]] = {name: arrays[f"number.{name}"] for name in IMMUTABLE}
        dictionaries = {
            name: Dictionary([tuple(value) if name in LISTS else value for value in meta["labels"][name]])
            for name in LABELS
        }
        super().__init__(numbers | mutable, {name: arrays[f"label.{name}"] for name in LABELS}, dictionaries)
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

    def take_over(self, memtable: Memtable) -> None:
        """Go on from the mutable columns of the memtable that this segment was written from.

        They are copied: a reader that still holds the memtable sees no later change, and needs none, for what
        changes later lies after the moment it reads at. Requires: the engine's apply lock.
        """
        for name in MUTABLE:
            self.numbers[name] = np.array(memtable.numbers[name][: self.rows])
        self.is_dirty = memtable.is_dirty
        self.refresh()

    def refresh(self) -> None:
        """Read the flags that masks go by from the mutable columns. Requires: the engine's apply lock."""
        self.closed = int(np.count_nonzero(self.number("recorded_until", self.rows) != OPEN))
        self.may_expire = bool((self.number("expires_at", self.rows) != OPEN).any())
        self.newest = int(self.number("recorded_at", self.rows).max(initial=0))

    def blob(self, row: int) -> bytes:
        blob = bytes(self._blobs[int(self._offsets[row]) : int(self._offsets[row + 1])])
        if zlib.crc32(blob) != self._crcs[row]:
            path = self._directory / BLOBS
            raise CorruptionError(
                f"{path}: the text of row {row} (byte {int(self._offsets[row])}) is damaged; restore a backup",
                file=str(path), offset=int(self._offsets[row]),
            )  # fmt: skip
        return blob

    def vectors(self) -> npt.NDArray[np.float32] | None:
        return self._vectors

    def rows_of(self, key: bytes) -> Iterator[int]:
        wanted = np.frombuffer(key, np.uint8)
        for row in self._by_key.find(prefix_of(key))[::-1]:
            if np.array_equal(self._keys[row], wanted):
                yield int(row)

    def rows_of_hash(self, content_hash: int) -> Sequence[int]:
        return [int(row) for row in self._by_hash.find(content_hash)]

    def disk_bytes(self) -> int:
        return sum(one["size"] for one in self.facts.values())

    def memory_bytes(self) -> int:
        return sum(self.numbers[name].nbytes for name in MUTABLE)


def load_mutable(path: Path, content: memoryview) -> dict[str, npt.NDArray[Any]]:
    """Return mutable columns as arrays that may be written."""
    _, arrays = container.unpack(path, content)
    return {name: np.array(arrays[name]) for name in MUTABLE}
