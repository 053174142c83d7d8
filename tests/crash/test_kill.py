"""A process of several writers, killed at random moments: what it said was stored is stored."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from t4dm_daemon.storage.t4dx import Database
from tests.crash import writers


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_loses_nothing_acknowledged_and_keeps_batches_whole(tmp_path: Path, rounds: int) -> None:
    rng = random.Random(5)
    acknowledged: dict[int, int] = {}
    for turn in range(rounds):
        process = subprocess.Popen(
            [sys.executable, writers.__file__, str(tmp_path / "store"), str(turn * 1_000_000)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(rng.randrange(1, 300))]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.readlines()
        process.stdout.close()
        process.wait()
        last: dict[int, int] = {}
        for line in lines:
            if line.endswith("\n"):
                writer, number = map(int, line.split())
                last[writer] = number
        acknowledged |= {turn * 10 + writer: number for writer, number in last.items()}

        assert last
        with Database(tmp_path / "store", flush_items=50) as database:
            engine = database.space("s")
            items = {item.id: item for item in engine.scan(limit=1_000_000).items}
            for name, newest in acknowledged.items():
                for number in range(name // 10 * 1_000_000, newest + 1):
                    item = items[f"{name % 10}-{number}-a"]
                    assert item.access_count == 1
                    assert f"{name % 10}-{number}-b" in items
            for item_id in items:
                if item_id.endswith("-a"):
                    assert f"{item_id[:-1]}b" in items
                    assert [edge.target for edge in engine.edges(item_id)] == [f"{item_id[:-1]}b"]
