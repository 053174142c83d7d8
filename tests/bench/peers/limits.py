"""What bounds every system: a graph index alone, a scan in numpy, and the disk.

The indexes keep vectors in memory and write nothing until `settle`; no text, no updates, no durability.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tests.bench.peers.protocol import Condition, Peer, Record, Vector, require
from tests.bench.peers.raw import ZeroFilledFile

M: Final = 16
EF_CONSTRUCTION: Final = 100
EF_SEARCH: Final = 64
"""As the engine's own graph is built and asked."""
Mask = npt.NDArray[np.bool_]


class _InMemory(Peer):
    """Columns to filter by, in lists and arrays."""

    durability = "none: memory until it is saved"

    def __init__(self, directory: Path, dimension: int) -> None:
        super().__init__(directory, dimension)
        self._rows: list[tuple[int, int, int]] = []
        self._columns: dict[str, npt.NDArray[np.int64]] = {}

    def _keep(self, records: Sequence[Record]) -> None:
        self._rows += [
            (record.bucket, int(record.owner.removeprefix("owner-")), record.event_time) for record in records
        ]

    def _save_columns(self) -> None:
        np.save(self.directory / "columns.npy", np.array(self._rows, np.int64).T)

    def _load_columns(self) -> bool:
        path = self.directory / "columns.npy"
        if not path.exists():
            return False
        self._columns = dict(zip(("bucket", "owner", "event_time"), np.load(path), strict=True))
        return True

    def _mask(self, condition: Condition) -> Mask:
        values = self._columns[condition.field]
        return (condition.low <= values) & (values < condition.high)

    def close(self) -> None:
        """Keep nothing: `settle` saved it."""


class NumpyScan(_InMemory):
    remarks = "exact search, X @ q and argpartition; a filter gathers the rows that pass"

    def __init__(self, directory: Path, dimension: int) -> None:
        super().__init__(directory, dimension)
        self._vectors = np.empty((1024, dimension), np.float32)
        self._count = 0

    def open(self) -> None:
        if self._load_columns():
            self._vectors = np.load(self.directory / "vectors.npy")
            self._count = len(self._vectors)

    def insert_batch(self, records: Sequence[Record]) -> None:
        end = self._count + len(records)
        if end > len(self._vectors):
            grown = np.empty((2 * end, self.dimension), np.float32)
            grown[: self._count] = self._vectors[: self._count]
            self._vectors = grown
        for at, record in enumerate(records, self._count):
            self._vectors[at] = record.vector
        self._count = end
        self._keep(records)

    def settle(self) -> None:
        np.save(self.directory / "vectors.npy", self._vectors[: self._count])
        self._save_columns()

    def search(self, vector: Vector, k: int) -> list[int]:
        return [int(row) for row in _top(self._vectors[: self._count] @ vector, k)]

    def search_filtered(self, vector: Vector, k: int, condition: Condition) -> list[int]:
        (rows,) = np.nonzero(self._mask(condition))
        return [int(row) for row in rows[_top(self._vectors[rows] @ vector, k)]]


def _top(scores: Vector, k: int) -> npt.NDArray[np.int64]:
    best = np.argpartition(scores, len(scores) - k)[len(scores) - k :] if k < len(scores) else np.arange(len(scores))
    return best[np.argsort(-scores[best])]


class RawFaiss(_InMemory):
    remarks = f"IndexHNSWFlat, M={M}, efConstruction={EF_CONSTRUCTION}, efSearch={EF_SEARCH}; filters as bitmaps"

    def __init__(self, directory: Path, dimension: int) -> None:
        super().__init__(directory, dimension)
        self._faiss = require("faiss", "faiss-cpu")
        self._faiss.omp_set_num_threads(1)
        self._index: Any = None

    def open(self) -> None:
        if self._load_columns():
            self._index = self._faiss.read_index(str(self.directory / "index.faiss"))
        else:
            self._index = self._faiss.IndexHNSWFlat(self.dimension, M, self._faiss.METRIC_INNER_PRODUCT)
            self._index.hnsw.efConstruction = EF_CONSTRUCTION

    def insert_batch(self, records: Sequence[Record]) -> None:
        self._index.add(np.stack([record.vector for record in records]))
        self._keep(records)

    def settle(self) -> None:
        self._faiss.write_index(self._index, str(self.directory / "index.faiss"))
        self._save_columns()

    def search(self, vector: Vector, k: int) -> list[int]:
        return self._ask(vector, k, None)

    def search_filtered(self, vector: Vector, k: int, condition: Condition) -> list[int]:
        bits = np.packbits(self._mask(condition), bitorder="little")
        return self._ask(vector, k, self._faiss.IDSelectorBitmap(bits))

    def _ask(self, vector: Vector, k: int, selector: Any) -> list[int]:
        parameters = self._faiss.SearchParametersHNSW(efSearch=EF_SEARCH, sel=selector)
        _, rows = self._index.search(vector.reshape(1, -1), k, params=parameters)
        return [row for row in rows[0].tolist() if row >= 0]


class RawHnswlib(_InMemory):
    remarks = f"M={M}, ef_construction={EF_CONSTRUCTION}, ef={EF_SEARCH}; a filter is a Python call per candidate"

    def __init__(self, directory: Path, dimension: int) -> None:
        super().__init__(directory, dimension)
        self._index = require("hnswlib", "hnswlib").Index(space="ip", dim=dimension)

    def open(self) -> None:
        if self._load_columns():
            self._index.load_index(str(self.directory / "index.hnsw"))
        else:
            self._index.init_index(max_elements=1024, M=M, ef_construction=EF_CONSTRUCTION)
        self._index.set_num_threads(1)
        self._index.set_ef(EF_SEARCH)

    def insert_batch(self, records: Sequence[Record]) -> None:
        needed = self._index.element_count + len(records)
        if needed > self._index.max_elements:
            self._index.resize_index(2 * needed)
        ids = [record.id for record in records]
        self._index.add_items(np.stack([record.vector for record in records]), ids, num_threads=1)
        self._keep(records)

    def settle(self) -> None:
        self._index.save_index(str(self.directory / "index.hnsw"))
        self._save_columns()

    def search(self, vector: Vector, k: int) -> list[int]:
        labels, _ = self._index.knn_query(vector, k, num_threads=1)
        return [int(one) for one in labels[0]]

    def search_filtered(self, vector: Vector, k: int, condition: Condition) -> list[int]:
        passing = self._mask(condition).tolist()
        labels, _ = self._index.knn_query(vector, k, num_threads=1, filter=passing.__getitem__)
        return [int(one) for one in labels[0]]


class RawFile(Peer):
    durability = "pwrite + fdatasync"
    remarks = "as many bytes as an item's vector and text have"

    def __init__(self, directory: Path, dimension: int) -> None:
        super().__init__(directory, dimension)
        self._file: ZeroFilledFile | None = None

    def open(self) -> None:
        self._file = ZeroFilledFile(self.directory / "raw", 16 << 20)

    def insert_batch(self, records: Sequence[Record]) -> None:
        assert self._file is not None
        self._file.write(b"".join(record.vector.tobytes() + record.content.encode() for record in records))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
