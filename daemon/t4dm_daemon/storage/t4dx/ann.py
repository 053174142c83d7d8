"""Graph indexes and the exact scan, by the name that settings use."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np

from t4dm_daemon.storage.t4dx.ann_hnswlib import HnswlibIndex
from t4dm_daemon.storage.t4dx.ann_protocol import (
    EF_CONSTRUCTION,
    AnnIndex,
    M,
    Rows,
    Throttle,
    Vectors,
    check_query,
    check_vectors,
    chunks,
    raise_if_set,
)

__all__ = [
    "BACKENDS",
    "EF_CONSTRUCTION",
    "AnnIndex",
    "FaissIndex",
    "FlatIndex",
    "HnswlibIndex",
    "M",
    "Throttle",
    "Vectors",
    "top_rows",
]


def top_rows(scores: Vectors, k: int) -> Rows:
    """Return the rows of the k best scores, best first; ties by row."""
    if k <= 0:
        return np.empty(0, np.int64)
    if k >= len(scores):
        rows = np.arange(len(scores))
    else:
        rows = np.argpartition(scores, len(scores) - k)[len(scores) - k :]
    return rows[np.lexsort((rows, -scores[rows]))]


class FlatIndex:
    """Exact scan: nothing to build, always right."""

    kind: ClassVar[str] = "flat"

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    @property
    def rows(self) -> int:
        return len(self._vectors)

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        *,
        inv_norm: Vectors | None = None,
        cancel: threading.Event | None = None,
        throttle: Throttle | None = None,  # noqa: ARG003 - nothing to slow down
    ) -> Self:
        """Take unit vectors as they are, without a copy."""
        check_vectors(vectors)
        raise_if_set(cancel)
        return cls(vectors if inv_norm is None else vectors * inv_norm[:, None])

    def extend(
        self,
        vectors: Vectors,
        *,
        inv_norm: Vectors | None = None,
        cancel: threading.Event | None = None,
        throttle: Throttle | None = None,  # noqa: ARG002 - nothing to slow down
    ) -> Self:
        check_vectors(vectors, dimension=self._vectors.shape[1], at_least=0)
        raise_if_set(cancel)
        unit = vectors if inv_norm is None else vectors * inv_norm[:, None]
        return type(self)(np.concatenate((self._vectors, unit)))

    def search(
        self,
        query: Vectors,
        k: int,
        *,
        ef: int = 0,  # noqa: ARG002 - a graph's effort
    ) -> tuple[Rows, Vectors]:
        check_query(query, self._vectors.shape[1])
        scores = self._vectors @ query
        rows = top_rows(scores, k)
        return rows, scores[rows]

    def save(self, path: Path) -> None:
        with path.open("wb") as file:  # np.save would add ".npy" to a path
            np.save(file, self._vectors)

    @classmethod
    def load(cls, path: Path) -> Self:
        try:
            vectors = np.load(path, mmap_mode="r")
        except (ValueError, EOFError) as error:
            raise RuntimeError(f"{path}: not a whole file of vectors: {error}") from error
        if vectors.ndim != 2 or vectors.dtype != np.float32:
            raise RuntimeError(f"{path}: expected (n, D) float32, found {vectors.shape} {vectors.dtype}")
        return cls(vectors)

    def memory_bytes(self) -> int:
        return 0 if isinstance(self._vectors, np.memmap) else self._vectors.nbytes


class FaissIndex:
    """HNSW graph over 8-bit scalar-quantised vectors (faiss-cpu). Approximate: rescore what it returns.

    A code is the position of a number between the least and the greatest one its dimension had in training, and
    what lies outside is clipped. Rows of another topic than the trained ones would all be clipped (measured: recall
    after rescoring .57 instead of .997), so the range has a margin, and `extend` widens it when new rows leave it.

    Files are read, not mapped: faiss 1.15.1 ends the process on some truncated files when it maps them
    (IO_FLAG_MMAP_IFC, cut inside a header), and on adding to a clone of a mapped index.
    """

    kind: ClassVar[str] = "faiss"
    _RANGE_MARGIN: ClassVar[float] = 0.25
    """Added at either end, as a share of the range. It coarsens the codes by half: recall@10 .93 instead of .95
    before rescoring, the same after."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @property
    def rows(self) -> int:
        return int(self._index.ntotal)

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        *,
        inv_norm: Vectors | None = None,
        cancel: threading.Event | None = None,
        throttle: Throttle | None = None,
    ) -> Self:
        faiss = _faiss()
        check_vectors(vectors)
        index = faiss.IndexHNSWSQ(vectors.shape[1], faiss.ScalarQuantizer.QT_8bit, M, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = EF_CONSTRUCTION
        low, high = _bounds(vectors, inv_norm, cancel)
        margin = cls._RANGE_MARGIN * (high - low)
        index.train(np.stack((low - margin, high + margin)))
        for _, chunk in chunks(vectors, cancel, throttle, inv_norm=inv_norm):
            index.add(chunk)
        return cls(index)

    def extend(
        self,
        vectors: Vectors,
        *,
        inv_norm: Vectors | None = None,
        cancel: threading.Event | None = None,
        throttle: Throttle | None = None,
    ) -> Self:
        faiss = _faiss()
        check_vectors(vectors, dimension=self._index.d, at_least=0)
        raise_if_set(cancel)
        index = faiss.clone_index(self._index)
        # A file does not hold the generator's state: without a new seed, each extension of a loaded graph would
        # draw the same levels again.
        index.hnsw.rng = faiss.RandomGenerator(index.ntotal)
        if len(vectors):
            self._widen(index, *_bounds(vectors, inv_norm, cancel), cancel)
        for _, chunk in chunks(vectors, cancel, throttle, inv_norm=inv_norm):
            index.add(chunk)
        return type(self)(index)

    @classmethod
    def _widen(cls, index: Any, low: Vectors, high: Vectors, cancel: threading.Event | None) -> None:
        """Encode the rows of an index again when its range does not hold numbers from `low` to `high`, (D,)."""
        faiss = _faiss()
        storage = faiss.downcast_index(index.storage)
        trained_low, trained_width = faiss.vector_to_array(storage.sq.trained).reshape(2, -1)
        trained_high = trained_low + trained_width
        if (low >= trained_low).all() and (high <= trained_high).all():
            return
        margin = cls._RANGE_MARGIN * (high - low)
        new_low = np.where(low < trained_low, low - margin, trained_low)
        new_high = np.where(high > trained_high, high + margin, trained_high)
        wider = faiss.IndexScalarQuantizer(index.d, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        wider.train(np.stack((new_low, new_high)))
        codes = faiss.rev_swig_ptr(storage.codes.data(), index.ntotal * index.d).reshape(-1, index.d)
        for start, chunk in chunks(codes, cancel, None):
            codes[start : start + len(chunk)] = wider.sa_encode(storage.sa_decode(chunk))
        faiss.copy_array_to_vector(np.concatenate((new_low, new_high - new_low)), storage.sq.trained)

    def search(self, query: Vectors, k: int, *, ef: int = 64) -> tuple[Rows, Vectors]:
        faiss = _faiss()
        check_query(query, self._index.d)
        k = min(k, self.rows)
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        parameters = faiss.SearchParametersHNSW(efSearch=max(ef, k))
        scores, rows = self._index.search(query.reshape(1, -1), k, params=parameters)
        found = rows[0] >= 0
        return rows[0][found], scores[0][found]

    def save(self, path: Path) -> None:
        faiss = _faiss()
        with path.open("wb") as file:  # the library's own writer only prints an error of its last block
            faiss.write_index(self._index, faiss.PyCallbackIOWriter(file.write))

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(_faiss().read_index(str(path)))

    def memory_bytes(self) -> int:
        """Return the bytes of codes and links; what the allocator keeps in reserve is not counted."""
        graph, storage = self._index.hnsw, _faiss().downcast_index(self._index.storage)
        links = 4 * graph.neighbors.size() + 4 * graph.levels.size() + 8 * graph.offsets.size()
        return int(storage.codes.size() + links)


def _bounds(vectors: Vectors, inv_norm: Vectors | None, cancel: threading.Event | None) -> tuple[Vectors, Vectors]:
    """Return the least and the greatest number of each dimension, (D,)."""
    parts = [(chunk.min(axis=0), chunk.max(axis=0)) for _, chunk in chunks(vectors, cancel, None, inv_norm=inv_norm)]
    return np.min([low for low, _ in parts], axis=0), np.max([high for _, high in parts], axis=0)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ImportError(f"faiss cannot be imported ({error}): pip install 't4dm[daemon]'") from error

    # One thread per call: the daemon answers many, and a fork-join per query costs more than it gives.
    faiss.omp_set_num_threads(1)
    return faiss


BACKENDS: Final[dict[str, type[AnnIndex]]] = {"flat": FlatIndex, "faiss": FaissIndex, "hnswlib": HnswlibIndex}
