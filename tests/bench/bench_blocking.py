"""What readers and writers feel while the store flushes, merges and builds graphs.

    python -m tests.bench blocking [--items N]

The same reads and writes are timed idle, then beside: flushes of a full memtable; a merge of everything with its
graph; a stream of bulk inserts with its flushes and merges in the background. Aim: the p99 of reads at most 3 times
that of idle. A neighbour that only computes (numpy, without the interpreter's lock) shows what a second busy core
costs by itself; one that counts (Python) what sharing the interpreter costs, whatever the store does. As in the daemon, a
product takes one thread, and one that wants the interpreter waits half a millisecond.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `t4dm serve` does: threads of one product wait for each other

import numpy as np

from t4dm_daemon.api.server import SWITCH_INTERVAL_S
from t4dm_daemon.core.filter import Leaf
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.protocol import FieldUpdate, Write
from t4dm_daemon.storage.t4dx import T4DXEngine
from tests.bench.report import Table, percentiles

DIMENSION = 384
SEED = 7
FLUSHES = 8
"""Each of a memtable over the segments of those before; idle is measured anew before each."""
FLUSH_ROWS = 9_999
"""One less than what would flush by itself."""
COLUMNS = ("beside", "operation", "p50 ms", "p99 ms", "p99 / idle p99", "rounds")


def _items(vectors: np.ndarray, first: int) -> list[Write]:
    return [
        Write(Item(id=f"m{first + n}", content=f"text {first + n}", vector=one, user_id=f"u{n % 10}"))
        for n, one in enumerate(vectors)
    ]


def _measure(engine: T4DXEngine, vectors: np.ndarray, running: Callable[[], bool], most: int) -> dict[str, list[float]]:
    where = Leaf("user_id", "eq", "u3")
    calls: dict[str, Callable[[int], object]] = {
        "get": lambda n: engine.get([f"m{n % 1000}"]),
        "search": lambda n: engine.search(vectors[n % len(vectors)], 10),
        "search, 10 % filter": lambda n: engine.search(vectors[n % len(vectors)], 10, where=where),
        "update one field": lambda n: engine.update_fields([FieldUpdate(f"m{n % 1000}", {"importance": 0.75})]),
        "insert one": lambda n: engine.insert(_items(vectors[n % 100 : n % 100 + 1], 10_000_000 + n)),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    rounds = 0
    while running() and rounds < most:
        for name, call in calls.items():
            start = time.perf_counter()
            call(rounds)
            times[name].append(time.perf_counter() - start)
        rounds += 1
        time.sleep(0.002)  # a reader now and then, not a third load
    return times


Times = dict[str, list[float]]


def _beside(work: Callable[[threading.Event], None], measure: Callable[[Callable[[], bool]], Times]) -> Times:
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,))
    thread.start()
    try:
        return measure(thread.is_alive)
    finally:
        stop.set()
        thread.join()


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="tests.bench blocking")
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=1500)
    options = parser.parse_args(arguments)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    vectors = np.random.default_rng(SEED).standard_normal((options.items, DIMENSION)).astype(np.float32)
    table = Table(f"Beside work in the background, {options.items:,} × {DIMENSION}", COLUMNS)

    def compute(stop: threading.Event) -> None:
        while not stop.is_set():
            vectors @ vectors[0]

    def count(stop: threading.Event) -> None:
        while not stop.is_set():
            sum(range(1000))

    def flush(stop: threading.Event) -> None:
        engine.flush()

    def merge(stop: threading.Event) -> None:
        engine.compact(everything=True)

    def load(stop: threading.Event) -> None:
        for first in range(0, options.items, 500):
            if stop.is_set():
                return
            engine.insert(_items(vectors[first : first + 500], 1_000_000 + first))

    with tempfile.TemporaryDirectory() as directory:
        engine = T4DXEngine(Path(directory) / "space", ann_min_rows=20_000, merge_in_background=False)
        for first in range(0, options.items, 1000):
            engine.insert(_items(vectors[first : first + 1000], first))
        engine.flush()

        def measured(running: Callable[[], bool]) -> dict[str, list[float]]:
            return _measure(engine, vectors, running, options.rounds)

        idle = measured(lambda: True)
        found = {"nothing": idle, "a computing neighbour": _beside(compute, measured)}
        found["a counting neighbour"] = _beside(count, measured)
        found["merging everything, with a graph"] = _beside(merge, measured)
        engine.close()
        engine = T4DXEngine(Path(directory) / "space", ann_min_rows=20_000)
        found["bulk inserts, flushes, merges"] = _beside(load, measured)
        engine.close()

        engine = T4DXEngine(Path(directory) / "flushed", ann_min_rows=20_000, merge_in_background=False)
        full: Times = {name: [] for name in idle}
        flushing: Times = {name: [] for name in idle}
        for again in range(FLUSHES):
            chosen = np.arange(FLUSH_ROWS) % len(vectors)
            engine.insert(_items(vectors[chosen], again * FLUSH_ROWS))
            for name, seconds in _measure(engine, vectors, lambda: True, options.rounds // FLUSHES).items():
                full[name] += seconds
            for name, seconds in _beside(flush, measured).items():
                flushing[name] += seconds
        engine.close()
    rows = [(beside, times, idle) for beside, times in found.items()]
    rows += [("nothing, a memtable is full", full, full), ("flushing it", flushing, full)]
    for beside, times, without in rows:
        for name, seconds in times.items():
            p50, p99 = percentiles(seconds)
            table.row(beside, name, p50, p99, p99 / percentiles(without[name])[1], str(len(seconds)))
    table.print()
