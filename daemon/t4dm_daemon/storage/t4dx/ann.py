"""Nearest-neighbour indexes behind one interface. Labels are row numbers; ids and filters live outside.

An index file is derived data: its checksum is compared before a library may read it, and a bad one is rebuilt.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, Self

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

M: Final = 16
EF_CONSTRUCTION: Final = 100
"""100 builds twice as fast as 200 and lost no recall at 100k × 384 and × 1024."""


class AnnIndex(Protocol):
    """Find the nearest rows by inner product of unit vectors."""

    kind: ClassVar[str]

    @classmethod
    def build(cls, vectors: Vectors, *, cancel: threading.Event | None = None) -> Self:
        """Index unit vectors, (n, D). A set `cancel` raises InterruptedError."""
        ...

    def search(self, query: Vectors, k: int, *, ef: int, mask: Mask | None) -> tuple[npt.NDArray[np.int64], Vectors]:
        """Return rows and inner products, best first; fewer than k when fewer pass the mask."""
        ...

    def save(self, path: Path) -> None:
        """Write the file; the caller syncs and renames it."""
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file whose checksum is right."""
        ...


def top_rows(scores: Vectors, k: int) -> npt.NDArray[np.int64]:
    """Return the rows of the k best scores, best first; ties by row."""
    if k >= len(scores):
        rows = np.arange(len(scores))
    else:
        rows = np.argpartition(scores, len(scores) - k)[len(scores) - k :]
    return rows[np.lexsort((rows, -scores[rows]))]


class FlatIndex:
    """Exact scan: nothing to build, any mask, always right."""

    kind: ClassVar[str] = "flat"

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    @classmethod
    def build(cls, vectors: Vectors, *, cancel: threading.Event | None = None) -> Self:  # noqa: ARG003 - nothing to cancel
        return cls(vectors)

    def search(
        self,
        query: Vectors,
        k: int,
        *,
        ef: int = 0,  # noqa: ARG002 - a graph's effort
        mask: Mask | None = None,
    ) -> tuple[npt.NDArray[np.int64], Vectors]:
        scores = self._vectors @ query
        if mask is not None:
            scores[~mask] = -np.inf
            k = min(k, int(np.count_nonzero(mask)))
        rows = top_rows(scores, k)
        return rows, scores[rows]

    def save(self, path: Path) -> None:
        np.save(path, self._vectors)

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(np.load(path, mmap_mode="r"))


class FaissIndex:
    """HNSW graph over 8-bit scalar-quantised vectors (faiss-cpu). Approximate: rescore what it returns."""

    kind: ClassVar[str] = "faiss"

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, vectors: Vectors, *, cancel: threading.Event | None = None) -> Self:
        faiss = _faiss()
        index = faiss.IndexHNSWSQ(vectors.shape[1], faiss.ScalarQuantizer.QT_8bit, M, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = EF_CONSTRUCTION
        index.train(vectors)
        for start in range(0, len(vectors), 4096):
            if cancel is not None and cancel.is_set():
                raise InterruptedError("the index build was cancelled")
            index.add(vectors[start : start + 4096])
        return cls(index)

    def search(
        self, query: Vectors, k: int, *, ef: int = 64, mask: Mask | None = None
    ) -> tuple[npt.NDArray[np.int64], Vectors]:
        faiss = _faiss()
        selector = None
        if mask is not None:
            bits = np.packbits(mask, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
        parameters = faiss.SearchParametersHNSW(efSearch=max(ef, k), sel=selector)
        scores, rows = self._index.search(query.reshape(1, -1), k, params=parameters)
        found = rows[0] >= 0
        return rows[0][found], scores[0][found]

    def save(self, path: Path) -> None:
        _faiss().write_index(self._index, str(path))

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(_faiss().read_index(str(path)))


def _faiss() -> Any:
    import faiss

    # One thread per call: the daemon answers many, and a fork-join per query costs more than it gives.
    faiss.omp_set_num_threads(1)
    return faiss


BACKENDS: Final[dict[str, type[FlatIndex] | type[FaissIndex]]] = {"flat": FlatIndex, "faiss": FaissIndex}
