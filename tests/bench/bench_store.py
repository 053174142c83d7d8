"""T4DX against its limits, in one run: what the disk and numpy cost without it.

    python -m tests.bench store

Every measured operation alternates with its raw limit in the same loop, so that noise meets both alike; trust
the ratios. `raw pwrite+fdatasync` writes as many bytes as the log does into a zero-filled file; `append+fsync`
is what a log without that preparation costs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from t4dm_daemon.core.filter import Leaf
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.protocol import FieldUpdate, Write
from t4dm_daemon.storage.t4dx import Database, T4DXEngine
from t4dm_daemon.storage.t4dx.ann import FlatIndex
from t4dm_daemon.storage.t4dx.commit import Command, CommitQueue
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.schema import INSERT
from tests.bench.report import Table, percentiles

DIMENSION = 384
CONTENT = "We walked along the harbour until the lamps came on, and she told me about the winter in Tromsø. " * 3
SEED = 7
WRITERS = (1, 4, 16)
WRITES = 1600
INSERT_BYTES = 2056
COLUMNS = ("operation", "p50 ms", "p99 ms", "limit", "limit p50 ms", "ratio p50", "aim")


class RawFile:
    """A file written with nothing but system calls."""

    def __init__(self, path: Path, size: int, *, zero_filled: bool) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        self._offset = 0
        if zero_filled:
            for offset in range(0, size, 1 << 20):
                os.pwrite(self._descriptor, bytes(1 << 20), offset)
            os.fsync(self._descriptor)

    def overwrite(self, content: bytes) -> None:
        os.pwrite(self._descriptor, content, self._offset)
        os.fdatasync(self._descriptor)
        self._offset += len(content)

    def write_with(self, fs: FileSystem, content: bytes) -> None:
        fs.write_at(self._descriptor, content, self._offset)
        fs.sync(self._descriptor)
        self._offset += len(content)

    def append(self, content: bytes) -> None:
        os.write(self._descriptor, content)
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def _alternate(calls: Sequence[Callable[[int], object]], rounds: int) -> list[list[float]]:
    """Time the calls in turn, in an order that changes every round, so that none always follows another."""
    times: list[list[float]] = [[] for _ in calls]
    for number in range(rounds):
        for step in range(len(calls)):
            at = (number + step) % len(calls)
            start = time.perf_counter()
            calls[at](number)
            times[at].append(time.perf_counter() - start)
    return times


def _item(number: int, vector: np.ndarray) -> Item:
    return Item(id=f"item-{number}", content=CONTENT, vector=vector, metadata_json=b'{"n":%d}' % (number % 100))


def _against(table: Table, name: str, ours: list[float], limit: str, raw: list[float], aim: str) -> None:
    p50, p99 = percentiles(ours)
    raw_p50, _ = percentiles(raw)
    table.row(name, p50, p99, limit, raw_p50, p50 / raw_p50, aim)


def run(rows: int = 10_000, rounds: int = 600) -> None:
    rng = np.random.default_rng(SEED)
    vectors = rng.standard_normal((rows + 4 * rounds + 4096, DIMENSION)).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="t4dx-bench-") as name:
        directory = Path(name)
        table = Table(f"T4DX at {rows} × {DIMENSION}, one thread, every write synced", COLUMNS)
        with Database(directory / "store", flush_items=2 * rows) as database:
            engine = database.create_space("bench")
            _measure_inserts(table, engine, directory, vectors, rounds)
            with Database(directory / "authenticated", flush_items=2 * rows, wal_key=bytes(32)) as other:
                _measure_macs(table, other.create_space("bench"), engine, vectors, rounds)
        with Database(directory / "search", flush_items=rows) as database:
            engine = database.create_space("bench")
            start = time.perf_counter()
            for at in range(0, rows, 500):
                engine.insert([Write(_item(n, vectors[n])) for n in range(at, at + 500)])
            bulk = rows / (time.perf_counter() - start)
            engine.flush()
            _measure_reads(table, engine, vectors, rows, rounds)
        start = time.perf_counter()
        with Database(directory / "search") as database:
            database.space("bench").search(vectors[0], 10)
            reopened = time.perf_counter() - start
        table.print()
        print(f"\nbatches of 500: {bulk:,.0f} items/s · reopen and first search: {reopened:.3f} s")
        _measure_writers(directory, vectors)


def _measure_inserts(table: Table, engine: T4DXEngine, directory: Path, vectors: np.ndarray, rounds: int) -> None:
    before = engine.stats()["wal_bytes"]
    engine.insert([Write(_item(-1, vectors[-1]))])
    engine.insert([Write(_item(-2, vectors[-2]))])
    size = (engine.stats()["wal_bytes"] - before) // 2
    content = os.urandom(size)
    zeroed = RawFile(directory / "zeroed", 3 * rounds * size + (1 << 20), zero_filled=True)
    appended = RawFile(directory / "appended", 0, zero_filled=False)
    insert, raw = _alternate(
        [lambda n: engine.insert([Write(_item(n, vectors[n]))]), lambda _: zeroed.overwrite(content)], rounds
    )
    insert_again, append = _alternate(
        [lambda n: engine.insert([Write(_item(rounds + n, vectors[n]))]), lambda _: appended.append(content)], rounds
    )
    update, raw_small = _alternate(
        [
            lambda n: engine.update_fields([FieldUpdate(f"item-{n}", add={"access_count": 1})]),
            lambda _: zeroed.overwrite(content[:100]),
        ],
        rounds,
    )
    zeroed.close()
    appended.close()
    _against(table, f"durable insert ({size} bytes)", insert, "raw pwrite+fdatasync", raw, "≤ 1.5")
    _against(table, "  the same", insert_again, "raw append+fsync", append, "")
    _against(table, "update_fields", update, "raw pwrite+fdatasync, 100 bytes", raw_small, "≤ 1.4")


def _measure_macs(table: Table, with_macs: T4DXEngine, without: T4DXEngine, vectors: np.ndarray, rounds: int) -> None:
    first = 2 * rounds
    on, off = _alternate(
        [
            lambda n: with_macs.insert([Write(_item(first + n, vectors[n]))]),
            lambda n: without.insert([Write(_item(first + n, vectors[n]))]),
        ],
        rounds,
    )
    _against(table, "insert, WAL_MAC=hmac-sha256", on, "insert, WAL_MAC=off", off, "≤ 1.1")


def _measure_reads(table: Table, engine: T4DXEngine, vectors: np.ndarray, rows: int, rounds: int) -> None:
    stored = np.ascontiguousarray(vectors[:rows])
    unit = stored / np.linalg.norm(stored, axis=1, keepdims=True)
    index = FlatIndex.build(unit)
    rng = np.random.default_rng(SEED + 1)
    questions = rng.standard_normal((rounds, DIMENSION)).astype(np.float32)

    def scan(question: np.ndarray) -> np.ndarray:
        scores = unit @ question
        best = np.argpartition(scores, len(scores) - 10)[-10:]
        ordered: np.ndarray = best[np.argsort(-scores[best])]
        return ordered

    directions = questions / np.linalg.norm(questions, axis=1, keepdims=True)
    ours, raw = _alternate(
        [lambda at: engine.search(questions[at], 10), lambda at: index.search(directions[at], 10)], rounds
    )
    ours_again, plain = _alternate(
        [lambda at: engine.search(questions[at], 10), lambda at: scan(directions[at])], rounds
    )
    filtered, plain_again = _alternate(
        [lambda at: engine.search(questions[at], 10, where=Leaf("n", "eq", 7)), lambda at: scan(directions[at])], rounds
    )
    (got,) = _alternate([lambda at: engine.get([f"item-{at}"])], rounds)
    _against(table, "search, k = 10", ours, "raw AnnIndex call", raw, "≤ 1.3")
    _against(table, "  the same", ours_again, "numpy X@q + argpartition", plain, "≤ 1.3")
    _against(table, "search, filter of 1 %", filtered, "numpy X@q + argpartition", plain_again, "")
    p50, p99 = percentiles(got)
    table.row("get", p50, p99, "", None, None, "≤ 0.05 ms")


class _SlowDisk(FileSystem):
    """A disk whose sync takes longer: this machine's may be quicker than most."""

    def __init__(self, more_s: float) -> None:
        self._more_s = more_s

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        if self._more_s:
            time.sleep(self._more_s)


def _measure_writers(directory: Path, vectors: np.ndarray) -> None:
    """Print how many inserts a second many writers get, beside threads that only queue, write and sync."""
    table = Table(
        "Group commit", ("a sync takes", *(f"{n} writers /s" for n in WRITERS), "16 to 1", "bare threads", "aim")
    )
    for more_s in (0.0, 0.001, 0.004):
        fs = _SlowDisk(more_s)
        with Database(directory / f"slow-{more_s}", fs=fs, flush_items=1_000_000) as database:
            engine = database.create_space("bench")
            ours = [_rate(n, _inserter(engine, vectors)) for n in WRITERS]
        queue, raw = _bare_queue(fs, directory / f"bare-{more_s}")
        bare = [_rate(n, _submitter(queue)) for n in WRITERS]
        raw.close()
        name = "what it takes here" if not more_s else f"{more_s * 1000:.0f} ms more"
        table.row(name, *ours, f"{ours[-1] / ours[0]:.1f}", f"{bare[-1] / bare[0]:.1f}", "≥ 3.5")
    table.print()


def _inserter(engine: T4DXEngine, vectors: np.ndarray) -> Callable[[int], object]:
    return lambda at: engine.insert([Write(_item(at, vectors[at % len(vectors)]))])


def _submitter(queue: CommitQueue) -> Callable[[int], object]:
    return lambda _: queue.submit(Command(INSERT, b"", None))


def _bare_queue(fs: FileSystem, path: Path) -> tuple[CommitQueue, RawFile]:
    """Return a queue whose leader writes as many bytes as inserts have, and syncs: what sharing a sync can give."""
    raw = RawFile(path, 32 << 20, zero_filled=True)
    content = os.urandom(INSERT_BYTES)

    def carry_out(group: Sequence[Command]) -> None:
        raw.write_with(fs, content * len(group))
        for command in group:
            command.result = True

    return CommitQueue(carry_out), raw


def _rate(writers: int, call: Callable[[int], object]) -> float:
    """Return calls a second of so many threads together."""
    each = WRITES // writers

    def work(writer: int) -> None:
        for n in range(each):
            call(100_000 * writers + writer * each + n)

    with ThreadPoolExecutor(writers) as pool:
        start = time.perf_counter()
        list(pool.map(work, range(writers)))
        return writers * each / (time.perf_counter() - start)


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=600)
    options = parser.parse_args(given)
    run(options.rows, options.rounds)


if __name__ == "__main__":
    main()
