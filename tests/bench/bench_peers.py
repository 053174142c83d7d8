"""T4DX beside embedded stores and beside the limits, one table a size.

    python -m tests.bench peers --sizes 10000x384,100000x384
    python -m tests.bench peers --sizes 1000000x384 --only t4dx --budget-s 600
    python -m tests.bench peers --only t4dx,chroma --peers-python ~/peers/bin/python --out docs/benchmarks.md

The same items, questions and filters for all; each system in processes of its own, one after the other, with one
thread for BLAS and OpenMP. Whatever is not installed is named and left out; `--peers-python` lends another
environment's packages. What takes longer than its budget is cut short and says so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.bench.peers import SYSTEMS
from tests.bench.peers.comparison import compare
from tests.bench.peers.data import make
from tests.bench.peers.measure import BUILD_BUDGETS, MARKERS, SYNC_INSERTS

ROOT: Final = Path(__file__).parents[2]
OPERATIONS: Final = 15
"""Budgets that a phase may spend, together, before its process is ended."""
ENVIRONMENT: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ANONYMIZED_TELEMETRY": "False",
    "RUST_LOG": "error",
    "PYTHONWARNINGS": "ignore",
}
SYNC_CALLS: Final = ("fsync", "fdatasync", "msync", "sync_file_range")
Facts = dict[str, Any]


class _Bench:
    """Run one system after another over one data set."""

    def __init__(self, directory: Path, options: argparse.Namespace) -> None:
        self._directory = directory
        self._options = options

    def measure(self, name: str) -> dict[str, Facts]:
        """Return what was found, by operation."""
        store = self._directory / name
        store.mkdir()
        try:
            ended = self._run(name, "write", store)
            found = self._results(name)
            if "missing" in found:
                return found
            if _worked(found, "batch"):
                found["disk"] = {"value": _disk_bytes(store)}
                seconds = found["batch"]["seconds"] + found.get("settle", {}).get("value", 0.0)
                found["build"] = {"value": seconds}
                if name != "raw":
                    ended = ended or self._run(name, "read", store)
                found |= self._results(name)
                found |= self._syncs(name)
            if ended:
                found["ended"] = {"note": ended}
            return found
        finally:
            shutil.rmtree(store)
            (self._directory / f"{name}.raw").unlink(missing_ok=True)

    def _command(self, name: str, phase: str, store: Path) -> list[str]:
        python = str(self._options.peers_python) if SYSTEMS[name].install else sys.executable
        return [
            *(python, "-m", "tests.bench.peers.measure", name, phase),
            *("--store", str(store), "--data", str(self._directory / "data")),
            *("--results", str(self._directory / f"{name}.jsonl")),
            *("--rounds", str(self._options.rounds), "--budget-s", str(self._options.budget_s)),
        ]

    def _run(self, name: str, phase: str, store: Path) -> str:
        """Run one phase in a process of its own; return what went wrong, empty for nothing."""
        limit_s = (BUILD_BUDGETS + OPERATIONS) * self._options.budget_s + 60
        log = self._directory / f"{name}.{phase}.log"
        with log.open("wb") as output:
            try:
                done = subprocess.run(
                    self._command(name, phase, store),
                    cwd=ROOT,
                    env={**os.environ, **ENVIRONMENT},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=limit_s,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return f"the {phase} process was ended after {limit_s:.0f} s"
        text = log.read_text(errors="replace").strip()
        if "Traceback" in text or done.returncode:
            print(f"--- {name}, {phase}:\n{text[-2000:]}\n---", file=sys.stderr)
        if not done.returncode:
            return ""
        return f"the {phase} process ended with {done.returncode}: {text.splitlines()[-1] if text else 'no output'}"

    def _results(self, name: str) -> dict[str, Facts]:
        path = self._directory / f"{name}.jsonl"
        found: dict[str, Facts] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                facts = json.loads(line)
                found[facts.pop("operation")] = facts
        return found

    def _syncs(self, name: str) -> dict[str, Facts]:
        """Count, with strace, the syncs that one insert waits for or starts. Nothing where strace is not allowed."""
        strace = shutil.which("strace")
        if strace is None:
            return {}
        trace, store = self._directory / f"{name}.strace", self._directory / f"{name}.syncs"
        store.mkdir()
        calls = ",".join((*SYNC_CALLS, "?stat", "?newfstatat", "?statx"))
        command = [strace, "-f", "-qq", "-e", f"trace={calls}", "-o", str(trace), *self._command(name, "syncs", store)]
        environment = {**os.environ, **ENVIRONMENT}
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120, check=False)
            return _counted(trace.read_text(errors="replace")) if trace.exists() else {}
        finally:
            shutil.rmtree(store)


def _worked(found: Mapping[str, Facts], operation: str) -> bool:
    return "value" in found.get(operation, {})


def _counted(trace: str) -> dict[str, Facts]:
    _, begin, rest = trace.partition(MARKERS[0])
    counted, end, _ = rest.partition(MARKERS[1])
    if not begin or not end:
        return {}
    calls = Counter(call for line in counted.splitlines() for call in SYNC_CALLS if f" {call}(" in line)
    return {"syncs": {"value": sum(calls.values()) / SYNC_INSERTS}}


def _disk_bytes(directory: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


def _machine() -> str:
    model = platform.processor() or platform.machine()
    memory = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
        kib = int(Path("/proc/meminfo").read_text().split()[1])
        memory = f", {kib / 2**20:.0f} GiB"
    load = f"; load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} cores, {model}{memory}, {platform.system()}, Python {platform.python_version()}{load}"


def _size(text: str) -> tuple[int, int]:
    rows, _, dimension = text.partition("x")
    return int(rows), int(dimension)


def _options(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000x384", help="rows x dimension, with commas between")
    parser.add_argument("--only", default=",".join(SYSTEMS), help="systems, with commas between: " + ", ".join(SYSTEMS))
    parser.add_argument("--rounds", type=int, default=300, help="single inserts, gets, updates and deletes")
    parser.add_argument("--budget-s", type=float, default=60, help=f"per operation; filling gets {BUILD_BUDGETS}")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable), help="where the peers are installed")
    parser.add_argument("--directory", type=Path, help="put the stores here, on the disk to be measured")
    parser.add_argument("--out", type=Path, help="write the tables as Markdown, too")
    options = parser.parse_args(given)
    unknown = set(options.only.split(",")) - SYSTEMS.keys()
    if unknown:
        parser.error(f"no system is called {', '.join(sorted(unknown))}; there are {', '.join(SYSTEMS)}")
    return options


def main(given: list[str] | None = None) -> None:
    options = _options(given)
    arguments = sys.argv[1:] if given is None else given
    command = shlex.join(["python", "-m", "tests.bench", "peers", *arguments])
    heading = f"{datetime.now(UTC):%Y-%m-%d}, `{command}`, {_machine()}"
    print(heading)
    tables: list[str] = []
    for rows, dimension in map(_size, options.sizes.split(",")):
        tables.append(_measure_size(rows, dimension, options))
        print(tables[-1])
    if options.out is not None:
        note = (
            "Each system in processes of its own; reopening is measured in a new one. A ratio is theirs to ours: above 1"
            " ours is better. Single inserts alternate with writes of as many bytes to a raw file, so compare a system"
            " with the raw time in its own column."
        )
        options.out.write_text(f"# Benchmarks\n\n{heading}\n\n{note}\n" + "".join(tables))


def _measure_size(rows: int, dimension: int, options: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory(prefix="t4dx-peers-", dir=options.directory) as name:
        directory = Path(name)
        (directory / "data").mkdir()
        make(directory / "data", rows, dimension)
        bench = _Bench(directory, options)
        found: dict[str, dict[str, Facts]] = {}
        for system in options.only.split(","):
            start = time.perf_counter()
            found[system] = bench.measure(system)
            print(f"{system}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        return compare(f"{rows:,} × {dimension}", found)


if __name__ == "__main__":
    main()
