"""Structures that one might expect in the store, beside what it has instead.

    python -m tests.bench indexes [--rows N] [--scans]

- Finding a row by id: two sorted arrays (`Lookup`), a dictionary, and a Bloom filter in front of either for ids that
  are not there.
- Choosing rows by κ: a mask over the column, and a sorted list of (κ, row).
- Changing a field: a store into a column, and an overlay that every read has to merge.
- Scanning vectors: float32 rows, and 8-bit companions of them whose best rows are scored again; by numpy, and by
  simsimd where that can be imported (it is no dependency: `pip install --target DIR simsimd`, DIR on PYTHONPATH).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sortedcontainers import SortedList

from t4dm_daemon.storage.t4dx.lookup import Lookup, prefix_of
from tests.bench.report import Table

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int8]
Rows = npt.NDArray[np.int64]

HASHES = 7
BITS_PER_KEY = 10
SEED = 7
BLOCK = 4096


class Bloom:
    """A Bloom filter of 1 % false positives."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._size = len(keys) * BITS_PER_KEY
        self._bits = bytearray(self._size // 8 + 1)
        for key in keys:
            for at in self._places(key):
                self._bits[at >> 3] |= 1 << (at & 7)

    def _places(self, key: bytes) -> list[int]:
        first, second = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
        return [(first + n * second) % self._size for n in range(HASHES)]

    def may_contain(self, key: bytes) -> bool:
        return all(self._bits[at >> 3] >> (at & 7) & 1 for at in self._places(key))

    def memory_bytes(self) -> int:
        return len(self._bits)


def _micros(call: Callable[[int], object], rounds: int = 20_000) -> float:
    start = time.perf_counter()
    for number in range(rounds):
        call(number)
    return (time.perf_counter() - start) / rounds * 1e6


def _keys(count: int, salt: bytes) -> list[bytes]:
    return [hashlib.blake2b(salt + n.to_bytes(8, "little"), digest_size=16).digest() for n in range(count)]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="tests.bench indexes")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--scans", action="store_true", help="only the scans of vectors")
    options = parser.parse_args(arguments)
    if options.scans:
        _scans()
        return
    rows = options.rows
    present, absent = _keys(rows, b"+"), _keys(10_000, b"-")
    lookup = Lookup.build(np.array([prefix_of(key) for key in present], np.uint64))
    dictionary = {key: row for row, key in enumerate(present)}
    bloom = Bloom(present)

    table = Table(f"An id among {rows:,}", ("structure", "there, µs", "not there, µs", "bytes a row"))
    size = (lookup.ordered.nbytes + lookup.rows.nbytes) / rows
    table.row(
        "two sorted arrays",
        _micros(lambda n: lookup.find(prefix_of(present[n]))),
        _micros(lambda n: lookup.find(prefix_of(absent[n % 10_000]))),
        size,
    )
    entry = sys.getsizeof(dictionary) / rows + sys.getsizeof(present[0]) + sys.getsizeof(rows)
    table.row(
        "dictionary",
        _micros(lambda n: dictionary.get(present[n])),
        _micros(lambda n: dictionary.get(absent[n % 10_000])),
        entry,
    )
    table.row(
        "Bloom filter, alone",
        _micros(lambda n: bloom.may_contain(present[n])),
        _micros(lambda n: bloom.may_contain(absent[n % 10_000])),
        bloom.memory_bytes() / rows,
    )
    table.print()

    kappa = np.random.default_rng(SEED).random(rows)
    ordered = SortedList(zip(kappa.tolist(), range(rows), strict=True))
    table = Table(f"Rows with κ in [.7, 1] of {rows:,}", ("structure", "choose all, ms", "change one, µs"))

    def change(n: int) -> None:
        ordered.remove((float(kappa[n]), n))
        ordered.add((float(kappa[n]), n))

    def store(n: int) -> None:
        kappa[n] = kappa[n]

    table.row("mask over the column", _micros(lambda _: np.nonzero(kappa >= 0.7)[0], 20) / 1e3, _micros(store))
    table.row(
        "sorted list",
        _micros(lambda _: [row for _, row in ordered.irange((0.7, 0), None)], 3) / 1e3,
        _micros(change, 5000),
    )
    table.print()

    overlay = dict.fromkeys(range(0, rows, 100), 0.5)
    table = Table(f"One field of {rows:,} rows, 1 % of them changed", ("structure", "change one, µs", "read all, ms"))
    table.row("column, changed in place", _micros(store), _micros(lambda _: kappa >= 0.7, 20) / 1e3)

    def merged(_: int) -> object:
        column = kappa.copy()
        column[list(overlay)] = list(overlay.values())
        return column >= 0.7

    table.row("overlay, merged by readers", _micros(lambda n: overlay.__setitem__(n, 0.5)), _micros(merged, 20) / 1e3)
    table.print()
    _scans()


def _scans(wanted: int = 10, rescored: int = 40) -> None:
    """Time scans on one core: numpy's own threads are switched off by OPENBLAS_NUM_THREADS=1."""
    for rows, dimension in ((10_000, 384), (10_000, 1024), (100_000, 384), (100_000, 1024)):
        rng = np.random.default_rng(SEED)
        vectors = rng.standard_normal((rows, dimension), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        scale = np.abs(vectors).max(axis=1) / 127
        codes = np.rint(vectors / scale[:, None]).astype(np.int8)
        queries = vectors[rng.integers(0, rows, 30)] + rng.standard_normal((30, dimension), np.float32) / 30

        def best(scores: Floats, count: int) -> Rows:
            return np.argpartition(scores, len(scores) - count)[len(scores) - count :]

        def plain(query: Floats, vectors: Floats = vectors) -> Rows:
            return best(vectors @ query, wanted)

        def again(query: Floats, scores: Floats, vectors: Floats = vectors) -> Rows:
            near = best(scores, rescored)
            return near[best(vectors[near] @ query, wanted)]

        def in_blocks(query: Floats, codes: Codes = codes, scale: Floats = scale) -> Rows:
            parts = [codes[at : at + BLOCK].astype(np.float32) @ query for at in range(0, len(codes), BLOCK)]
            return again(query, np.concatenate(parts) * scale)

        ways: dict[str, Callable[[Floats], Rows]] = {
            "numpy, float32": plain,
            "numpy, 8 bits cast in blocks, 40 scored again": in_blocks,
        }
        if (simsimd := _simsimd()) is not None:

            def by_kernel(query: Floats, codes: Codes = codes, scale: Floats = scale) -> Rows:
                rounded = np.rint(query / (np.abs(query).max() / 127)).astype(np.int8)
                products = np.asarray(simsimd.cdist(rounded[None], codes, "dot"), np.float32)[0]
                return again(query, products * scale)

            ways["simsimd, 8 bits, 40 scored again"] = by_kernel
        table = Table(
            f"The nearest {wanted} of {rows:,} × {dimension}", ("scan", "p50, ms of CPU", "fastest", "found", "MB")
        )
        exact = [set(plain(one).tolist()) for one in queries]
        for name, way in ways.items():
            seconds, found = [], 0
            for one, right in zip(queries, exact, strict=True):
                start = time.thread_time()
                rows_found = way(one)
                seconds.append(time.thread_time() - start)
                found += len(right & set(rows_found.tolist()))
            size = vectors.nbytes if way is plain else vectors.nbytes + codes.nbytes + scale.nbytes
            table.row(
                name, float(np.median(seconds)) * 1e3, min(seconds) * 1e3, found / (wanted * len(queries)), size / 1e6
            )
        table.print()


def _simsimd() -> Any:
    try:
        return importlib.import_module("simsimd")
    except ImportError:
        return None
