"""Measure one system in this process, and append what was found to a file, a JSON object a line.

    python -m tests.bench.peers.measure SYSTEM PHASE --store DIR --data DIR --results FILE

Two processes a system, so that opening starts anew (though from a warm page cache) and the memory is the store's
own: `write` fills a new directory, `read` opens it again. `syncs` only inserts, for strace to count syncs. Memory
is what is resident, pages of mapped files too; what a store reads into the system's cache alone is not in it.
"fresh" searches come right after the inserts, before the store may settle: merge, index, save.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import traceback
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from tests.bench.peers import SYSTEMS
from tests.bench.peers.data import LINKED, QUESTIONS, Data, K, conditions, load
from tests.bench.peers.protocol import NotInstalledError, Peer, Record, UnsupportedError
from tests.bench.peers.raw import ZeroFilledFile
from tests.bench.report import percentiles

BATCH: Final = 1000
WARM_UP: Final = 3
BUILD_BUDGETS: Final = 10
"""Filling a store may take this many budgets."""
SYNC_INSERTS: Final = 20
MARKERS: Final = ("/t4dm-bench-begin", "/t4dm-bench-end")
"""Paths whose lookup marks, in the trace, where the counted inserts begin and end."""


class _Results:
    """Write down one operation after another, at once: what was measured outlives a crash."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, operation: str, **facts: Any) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps({"operation": operation, **facts}) + "\n")

    def attempt(self, operation: str, work: Callable[[], dict[str, Any]]) -> bool:
        """Measure, and return whether that worked; a failure is a finding like another."""
        try:
            self.add(operation, **work())
        except UnsupportedError:
            self.add(operation, note="-")
        except _CutShortError as error:
            self.add(operation, note=f"cut: {error}")
            return False
        except Exception as error:  # noqa: BLE001 - peers raise anything; the next operation may still work
            traceback.print_exc()
            self.add(operation, note=f"failed: {type(error).__name__}: {str(error)[:80]}")
            return False
        return True


class _CutShortError(Exception):
    """The store could not be filled in time."""


def _timed(call: Callable[[int], object], arguments: Iterable[int], budget_s: float) -> list[float]:
    """Time one call after another until the budget is spent."""
    times: list[float] = []
    end = time.perf_counter() + budget_s
    for argument in arguments:
        start = time.perf_counter()
        call(argument)
        done = time.perf_counter()
        times.append(done - start)
        if done > end:
            break
    return times


def _facts(times: list[float], asked: int) -> dict[str, Any]:
    p50, p99 = percentiles(times)
    facts: dict[str, Any] = {"p50_ms": p50, "p99_ms": p99}
    if len(times) < asked:
        facts["note"] = f"cut at {len(times)} of {asked}"
    return facts


def _write(peer: Peer, data: Data, results: _Results, rounds: int, budget_s: float) -> None:
    singles = min(rounds, data.rows // 4)
    peer.open()
    if not results.attempt("batch", lambda: _fill(peer, data, data.rows - singles, BUILD_BUDGETS * budget_s)):
        return
    results.attempt("insert_one", lambda: _insert_singly(peer, data, data.rows - singles, results, budget_s))
    results.attempt("fresh", lambda: _searches(peer, data, "search", budget_s))
    start = time.perf_counter()
    results.attempt("settle", lambda: _settle(peer, start))
    results.attempt("link", lambda: _link(peer, data))
    peer.close()


def _fill(peer: Peer, data: Data, rows: int, budget_s: float) -> dict[str, Any]:
    spent = 0.0
    for start in range(0, rows, BATCH):
        records = [data.record(number) for number in range(start, min(start + BATCH, rows))]
        begun = time.perf_counter()
        peer.insert_batch(records)
        spent += time.perf_counter() - begun
        done = start + len(records)
        if spent > budget_s and done < rows:
            raise _CutShortError(f"{done} of {rows} rows in {spent:.0f} s")
    return {"value": rows / spent, "seconds": spent}


def _insert_singly(peer: Peer, data: Data, first: int, results: _Results, budget_s: float) -> dict[str, Any]:
    """Insert one by one; after each, write as many bytes to a raw file, which tells how busy the disk is."""
    asked = data.rows - first
    records = [data.record(number) for number in range(first, data.rows)]
    content = os.urandom(_bytes_of(records[0]))
    raw = ZeroFilledFile(peer.directory.parent / f"{peer.directory.name}.raw", asked * len(content))
    raw_times: list[float] = []

    def insert(at: int) -> None:
        peer.insert_one(records[at])

    times: list[float] = []
    end = time.perf_counter() + budget_s
    for at in range(asked):
        times += _timed(insert, [at], 0)
        raw_times += _timed(lambda _: raw.write(content), [at], 0)
        if time.perf_counter() > end:
            break
    raw.close()
    if len(times) < asked:
        peer.insert_batch(records[len(times) :])
    results.add("raw_meanwhile", **_facts(raw_times, len(raw_times)))
    return _facts(times, asked)


def _bytes_of(record: Record) -> int:
    return record.vector.nbytes + len(record.content) + 100


def _settle(peer: Peer, start: float) -> dict[str, Any]:
    peer.settle()
    return {"value": time.perf_counter() - start}


def _link(peer: Peer, data: Data) -> dict[str, Any]:
    edges = [(int(source), int(target)) for source, target in data.edges]
    start = time.perf_counter()
    for at in range(0, len(edges), BATCH):
        peer.link(edges[at : at + BATCH])
    return {"value": len(edges) / (time.perf_counter() - start)}


def _read(peer: Peer, data: Data, results: _Results, rounds: int, budget_s: float) -> None:
    before = _memory()
    start = time.perf_counter()
    peer.open()
    opened = time.perf_counter() - start
    results.attempt("reopen", lambda: _first_search(peer, data, start, opened))
    results.attempt("search", lambda: _searches(peer, data, "search", budget_s))
    for name in conditions(data.rows):
        results.attempt(name, lambda name=name: _searches(peer, data, name, budget_s))  # type: ignore[misc]
    ids = list(_spread(data.rows, rounds))
    results.attempt("get", lambda: _gets(peer, ids, budget_s))
    linked = list(_spread(min(data.rows, LINKED), rounds))
    results.attempt("traverse_2", lambda: _walks(peer, linked, budget_s))
    after = _memory()
    if before and after:
        private = after["RssAnon"] - before["RssAnon"]
        mapped = after["RssFile"] - before["RssFile"]
        results.add("memory", resident=after["VmRSS"], private=private, mapped=mapped, per_item=private / data.rows)
    results.attempt("update", lambda: _facts(_timed(lambda one: peer.update(one, 0.5), ids, budget_s), len(ids)))
    results.attempt("delete", lambda: _deletes(peer, ids, budget_s))
    peer.close()


def _spread(rows: int, count: int) -> range:
    """Return about `count` ids, evenly spread."""
    return range(0, rows, max(1, rows // count))[:count]


def _first_search(peer: Peer, data: Data, start: float, opened: float) -> dict[str, Any]:
    peer.search(data.questions[0], K)
    return {"value": time.perf_counter() - start, "open_s": opened}


def _searches(peer: Peer, data: Data, name: str, budget_s: float) -> dict[str, Any]:
    condition = conditions(data.rows).get(name)
    found: dict[int, list[int]] = {}

    def search(at: int) -> None:
        question = data.questions[at]
        found[at] = peer.search(question, K) if condition is None else peer.search_filtered(question, K, condition)

    _timed(search, range(WARM_UP), budget_s / 10)
    times = _timed(search, range(QUESTIONS), budget_s)
    recalls = []
    for at, ids in found.items():
        right = {one for one in data.answers[name][at].tolist() if one >= 0}
        recalls.append(len(right & set(ids)) / max(1, len(right)))
    return {**_facts(times, QUESTIONS), "recall": sum(recalls) / len(recalls)}


def _gets(peer: Peer, ids: list[int], budget_s: float) -> dict[str, Any]:
    text = peer.get(ids[-1])
    if text is None or not text.startswith(f"{ids[-1]}: "):
        raise ValueError(f"item {ids[-1]} came back as {text!r}")
    return _facts(_timed(peer.get, ids, budget_s), len(ids))


def _walks(peer: Peer, ids: list[int], budget_s: float) -> dict[str, Any]:
    if not peer.traverse(ids[0], 2):
        raise ValueError(f"nothing is linked to item {ids[0]}")
    return _facts(_timed(lambda one: peer.traverse(one, 2), ids, budget_s), len(ids))


def _deletes(peer: Peer, ids: list[int], budget_s: float) -> dict[str, Any]:
    times = _timed(peer.delete, ids, budget_s)
    if peer.get(ids[0]) is not None:
        raise ValueError(f"item {ids[0]} is still there")
    return _facts(times, len(ids))


def _count_syncs(peer: Peer, data: Data) -> None:
    peer.open()
    peer.insert_batch([data.record(number) for number in range(64)])
    Path(MARKERS[0]).exists()
    for number in range(64, 64 + SYNC_INSERTS):
        peer.insert_one(data.record(number))
    Path(MARKERS[1]).exists()
    peer.close()


def _memory() -> dict[str, int]:
    """Return what this process holds in memory, in bytes: all (VmRSS), its own (RssAnon), and pages of files that the
    system may take back (RssFile). Empty where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines if line.startswith(("VmRSS:", "RssAnon:", "RssFile:")))
    return {name.rstrip(":"): int(kib) * 1024 for name, kib, *_ in fields}


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "from this tree"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("phase", choices=("write", "read", "syncs"))
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--budget-s", type=float, default=60)
    options = parser.parse_args()
    system = SYSTEMS[options.system]
    results = _Results(options.results)
    data = load(options.data)
    try:
        peer = system.load()(options.store, data.dimension)
    except NotInstalledError as error:
        results.add("missing", note=f"not installed: pip install {error}")
        return
    if options.phase == "syncs":
        _count_syncs(peer, data)
        return
    if options.phase == "write":
        found = _version(system.distribution) if system.distribution else ""
        results.add("about", version=found, durability=peer.durability, remarks=peer.remarks)
        _write(peer, data, results, options.rounds, options.budget_s)
    else:
        _read(peer, data, results, options.rounds, options.budget_s)


if __name__ == "__main__":
    main()
