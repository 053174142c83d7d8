"""The second graph backend, of the optional package hnswlib."""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np

from t4dm_daemon.storage.t4dx.ann_protocol import (
    EF_CONSTRUCTION,
    M,
    Rows,
    Throttle,
    Vectors,
    check_query,
    check_vectors,
    chunks,
    raise_if_set,
)

HEADER: Final = struct.Struct("@6N")
"""size_t of the writing machine: level-0 offset, capacity, rows, bytes per row, label offset, data offset."""


class HnswlibIndex:
    """HNSW graph over float32 vectors (hnswlib): four times the memory of `FaissIndex`, and no rounding.

    Of the library's own ways, these are avoided: `set_ef` is state of the index, shared by all threads; fewer than k
    found rows are an error; a full disk at saving is none. Copying, saving and loading hold the interpreter lock,
    about 1 s per GB.
    """

    kind: ClassVar[str] = "hnswlib"
    _ROW_BYTES: ClassVar[int] = 100
    """Per row beside vector and links: a lock (40), the label table (about 40), pointers, level, visited mark."""

    def __init__(self, index: Any) -> None:
        index.set_num_threads(1)  # one thread per call, as for faiss
        self._index = index

    @property
    def rows(self) -> int:
        return int(self._index.element_count)

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        *,
        inv_norm: Vectors | None = None,
        cancel: threading.Event | None = None,
        throttle: Throttle | None = None,
    ) -> Self:
        hnswlib = _hnswlib()
        check_vectors(vectors)
        index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), M=M, ef_construction=EF_CONSTRUCTION)
        made = cls(index)
        made._add(vectors, inv_norm, cancel, throttle)
        return made

    def extend(
        self,
        vectors: Vectors,
        *,
        inv_norm: Vectors | None = None,
        cancel: threading.Event | None = None,
        throttle: Throttle | None = None,
    ) -> Self:
        hnswlib = _hnswlib()
        check_vectors(vectors, dimension=self._index.dim, at_least=0)
        raise_if_set(cancel)
        (state,) = self._index.__getstate__()
        # The copy starts its level generator again from the seed: the same one would draw the same levels.
        index = hnswlib.Index(state | {"seed": self.rows})
        del state  # a whole copy of the index
        index.resize_index(self.rows + len(vectors))
        made = type(self)(index)
        made._add(vectors, inv_norm, cancel, throttle)
        return made

    def _add(
        self,
        vectors: Vectors,
        inv_norm: Vectors | None,
        cancel: threading.Event | None,
        throttle: Throttle | None,
    ) -> None:
        first = self.rows
        for start, chunk in chunks(vectors, cancel, throttle, inv_norm=inv_norm):
            self._index.add_items(chunk, np.arange(first + start, first + start + len(chunk)))

    def search(self, query: Vectors, k: int, *, ef: int = 64) -> tuple[Rows, Vectors]:
        check_query(query, self._index.dim)
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        rows, scores = self._nearest(query, min(max(k, ef), self.rows))
        return rows[:k], scores[:k]

    def _nearest(self, query: Vectors, depth: int) -> tuple[Rows, Vectors]:
        """Return up to `depth` rows. The library searches with the greater of its `ef`, left at 10, and k."""
        while depth:
            try:
                labels, distances = self._index.knn_query(query.reshape(1, -1), k=depth)
            except RuntimeError:  # fewer were reached from the entry point; it does not say how many
                depth //= 2
            else:
                return labels[0].astype(np.int64), 1 - distances[0]
        return np.empty(0, np.int64), np.empty(0, np.float32)

    def save(self, path: Path) -> None:
        self._index.save_index(str(path))
        written, expected = path.stat().st_size, self._index.index_file_size()
        if written != expected:
            raise OSError(f"{path}: {written} bytes were written, expected {expected}")

    @classmethod
    def load(cls, path: Path) -> Self:
        hnswlib = _hnswlib()
        with path.open("rb") as file:
            header = file.read(HEADER.size)
        if len(header) < HEADER.size:
            raise RuntimeError(f"{path}: {len(header)} bytes are no index")
        *_, label_offset, data_offset = HEADER.unpack(header)
        dimension, rest = divmod(label_offset - data_offset, 4)
        if dimension < 1 or rest:
            raise RuntimeError(f"{path}: vectors of {label_offset - data_offset} bytes are no float32")
        index = hnswlib.Index(space="ip", dim=dimension)
        index.load_index(str(path))
        return cls(index)

    def memory_bytes(self) -> int:
        """Return an estimate: the file's size is exact for vectors and links, the rest is counted per row."""
        return int(self._index.index_file_size()) + self._ROW_BYTES * self.rows


def _hnswlib() -> Any:
    try:
        import hnswlib
    except ImportError as error:
        raise ImportError(f"hnswlib cannot be imported ({error}): pip install 't4dm[hnswlib]'") from error
    return hnswlib
