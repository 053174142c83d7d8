"""Writing a segment: from a memtable (flush), or from other segments (merge).

seg/NNNNNN/columns.bin   container: keys, their sorted prefixes, immutable numbers, label codes, blob offsets
and checksums; its meta holds the label dictionaries
seg/NNNNNN/vectors.f32   rows × dimension float32, in row order; absent when no row has a vector
seg/NNNNNN/blobs.bin     the texts of the rows, one after the other
seg/NNNNNN/edges.bin     the links of its time (`edges.py`); absent when there are none
seg/NNNNNN/index.<kind>  graph index: derived data, rebuilt when it does not check out
cols/NNNNNN-M.bin        container: mutable numbers as of manifest M
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import CorruptionError
from t4dm_daemon.core.ids import KEY_BYTES
from t4dm_daemon.storage.t4dx import container, edges
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.lookup import Lookup, prefixes_of
from t4dm_daemon.storage.t4dx.memtable import Memtable
from t4dm_daemon.storage.t4dx.schema import IMMUTABLE, LABELS

COLUMNS: Final = "columns.bin"
VECTORS: Final = "vectors.f32"
BLOBS: Final = "blobs.bin"
EDGES: Final = "edges.bin"

Facts = dict[str, int]
"""Size and CRC-32 of a file, as the manifest keeps them."""
FileFacts = dict[str, Facts]
"""Per file name."""
Parts = Iterable[bytes | memoryview]
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class RowSource:
    """What a segment is written from. `blobs` and `vectors` are read once, in row order."""

    keys: npt.NDArray[np.uint8]
    numbers: Arrays
    codes: Arrays
    labels: dict[str, Sequence[Any]]
    blob_lengths: npt.NDArray[np.uint64]
    blob_crcs: npt.NDArray[np.uint32]
    blobs: Parts
    dimension: int
    """0: no row has a vector."""
    vectors: Parts
    link_ids: Sequence[str]
    links: Arrays

    @property
    def rows(self) -> int:
        return len(self.keys)


def source_of(memtable: Memtable) -> RowSource:
    """Return a frozen memtable as a source."""
    rows = memtable.rows
    keys, blobs, vectors = memtable.keys(), memtable.blobs(), memtable.vectors()
    return RowSource(
        keys=np.frombuffer(b"".join(keys), np.uint8).reshape(rows, KEY_BYTES),
        numbers={name: memtable.number(name, rows) for name in IMMUTABLE},
        codes={name: memtable.codes[name][:rows] for name in LABELS},
        labels={name: memtable.dictionaries[name].values for name in LABELS},
        blob_lengths=np.array([len(blob) for blob in blobs], np.uint64),
        blob_crcs=np.array([zlib.crc32(blob) for blob in blobs], np.uint32),
        blobs=[b"".join(blobs)],
        dimension=0 if vectors is None else int(vectors.shape[1]),
        vectors=[] if vectors is None else [np.ascontiguousarray(vectors[:rows]).data.cast("B")],
        link_ids=list(memtable.links.node_ids()),
        links={name: memtable.links.columns[name][: memtable.links.rows] for name in edges.IMMUTABLE},
    )


def write_segment(
    fs: FileSystem, directory: Path, source: RowSource, *, pace: Callable[[], None] = lambda: None
) -> FileFacts:
    """Write the immutable files of a segment durably and return what the manifest must know of them.

    Args:
        fs: The file system.
        directory: Where to.
        source: The rows.
        pace: Called before each part; may wait, or raise to give up.
    """
    fs.make_directory(directory)
    prefixes = Lookup.build(prefixes_of(source.keys))
    hashes = Lookup.build(np.ascontiguousarray(source.numbers["content_hash"]))
    offsets = np.zeros(source.rows + 1, np.uint64)
    np.cumsum(source.blob_lengths, out=offsets[1:])
    arrays: Arrays = {
        "keys": source.keys,
        "key_prefixes": prefixes.ordered,
        "key_rows": prefixes.rows,
        "hashes": hashes.ordered,
        "hash_rows": hashes.rows,
        "blob_offsets": offsets,
        "blob_crcs": source.blob_crcs,
    }
    arrays |= {f"number.{name}": source.numbers[name] for name in IMMUTABLE}
    arrays |= {f"label.{name}": source.codes[name] for name in LABELS}
    meta = {"rows": source.rows, "dimension": source.dimension, "labels": source.labels}
    files: dict[str, Parts] = {COLUMNS: container.pack(meta, arrays), BLOBS: source.blobs}
    if source.dimension:
        files[VECTORS] = source.vectors
    links = len(source.links["type"])
    if links:
        files[EDGES] = edges.pack(source.link_ids, source.links, links)
    facts = {name: write_file(fs, directory / name, parts, pace=pace) for name, parts in files.items()}
    fs.sync_directory(directory)
    fs.sync_directory(directory.parent)
    return facts


def write_file(fs: FileSystem, path: Path, parts: Parts, *, pace: Callable[[], None] = lambda: None) -> Facts:
    """Write a new file durably and return what the manifest must know of it."""
    facts = {"size": 0, "crc32": 0}

    def counted() -> Iterator[bytes | memoryview]:
        for part in parts:
            pace()
            facts["crc32"] = zlib.crc32(part, facts["crc32"])
            facts["size"] += memoryview(part).nbytes
            yield part

    fs.write_new(path, counted())
    return facts


def write_mutable(fs: FileSystem, path: Path, columns: Arrays) -> Facts:
    """Write mutable columns (`Component.copy_mutable`) durably and return what the manifest must know of the file."""
    fs.make_directory(path.parent)
    return write_file(fs, path, container.pack({"rows": len(columns["recorded_until"])}, columns))


def check_file(fs: FileSystem, path: Path, facts: Facts, *, checksum: bool = True) -> memoryview:
    """Return a file's content, mapped, after comparing its size and (with `checksum`) its CRC-32.

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
    if checksum and zlib.crc32(content) != facts["crc32"]:
        raise CorruptionError(
            f"{path}: its checksum is wrong; restore a backup",
            file=str(path), expected=facts["crc32"], found=zlib.crc32(content),
        )  # fmt: skip
    return content
