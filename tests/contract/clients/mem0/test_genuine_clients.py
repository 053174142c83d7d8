"""Mem0's own clients, unpatched, over a real socket: every version that is promised, synchronous and asynchronous.

The installed one is run always. Others are run from directories that the environment names (`make test-clients`
fetches them): T4DM_MEM0_1 (mem0ai 1.0.11), T4DM_MEM0_0 (0.1.118), T4DM_NPM (where `node_modules` has mem0ai).
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon

HERE = Path(__file__).parent
ROOT = Path(__file__).parents[4]


def _walk(command: list[str], tmp_path: Path, *, path: str = "", cwd: Path = ROOT) -> dict[str, Any]:
    """Run a scenario in a process of its own, with the client's telemetry off, and return what came of it."""
    found = [path, *sys.path, os.environ.get("PYTHONPATH", "")]
    env = {
        **os.environ,
        "MEM0_TELEMETRY": "False" if command[0] == sys.executable else "false",
        "MEM0_DIR": str(tmp_path / "mem0"),
        "PYTHONPATH": os.pathsep.join(one for one in found if one),
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _python(daemon: Daemon, tmp_path: Path, kind: str, variable: str = "") -> dict[str, Any]:
    path = os.environ.get(variable, "") if variable else ""
    if variable and not path:
        pytest.skip(f"{variable} names no directory with this version of mem0ai")
    if not variable and importlib.util.find_spec("mem0") is None:
        pytest.skip("mem0ai is not installed")
    command = [sys.executable, "-m", "tests.contract.clients.mem0.scenario", daemon.url, kind]
    return _walk(command, tmp_path, path=path)


def _texts(answer: Any) -> list[str]:
    return [one["memory"] for one in (answer["results"] if isinstance(answer, dict) else answer)]


def _is_refused(refusal: dict[str, str], status: int, words: str) -> bool:
    """Say whether a call was refused. (Asynchronous clients before 2.0 pass on the status alone.)"""
    return words in refusal["said"] or f"error '{status} " in refusal["said"]


def _check_common(told: dict[str, Any]) -> None:
    """What every version must have seen."""
    first = told["added"]["results"][0]
    assert [(one["event"], one["memory"]) for one in told["added"]["results"]] == [
        ("ADD", "My name is Alice and I love green tea."),
        ("ADD", "The user's name is Alice"),
        ("ADD", "The user loves green tea"),
    ]
    assert [one["event"] for one in told["again"]["results"]] == ["NOOP"] * 3
    assert told["got"]["memory"] == first["memory"]
    assert told["got"]["metadata"] == {"topic": "drinks", "cups": 3}
    assert told["got"]["user_id"] == "alice"
    assert len(_texts(told["all"])) == 5
    assert "green tea" in _texts(told["found"])[0]
    assert _texts(told["nobody"]) == []
    assert [one["event"] for one in told["history"]] == ["ADD"]
    assert {(one["type"], one["name"], one["total_memories"]) for one in told["users"]["results"]} == {
        ("user", "alice", 5),
        ("user", "bob", 3),
        ("agent", "helper", 1),
        ("run", "r/1", 1),
    }
    assert _is_refused(told["everybody"], 400, "nothing was deleted")
    assert told["updated"]["memory"] == "Alice loves black tea."
    assert told["updated"]["metadata"] == {"topic": "drinks", "cups": 4}
    assert told["batch"] == {"message": "Successfully updated 2 memories"}
    assert told["past"][0]["new_memory"] == told["past"][1]["old_memory"] == first["memory"]
    assert (told["past"][-1]["event"], told["past"][-1]["new_memory"]) == ("UPDATE", "Alice drinks tea.")
    assert _is_refused(told["unserved"], 501, "language model")
    assert _is_refused(told["gone"], 404, "Memory not found")
    assert (told["remembered"][-1]["event"], told["remembered"][-1]["new_memory"]) == ("DELETE", None)
    assert told["batch_deleted"] == {"message": "Successfully deleted 2 memories"}
    assert sorted(_texts(told["rest"])) == ["The user loves green tea", "The user's name is Alice"]
    assert _texts(told["none"]) == []
    assert sorted(_texts(told["others"])) == ["Bob repairs bicycles.", "The ticket is valid."]
    assert told["reset"]["message"].startswith("Client reset successful")
    assert told["nobody_left"]["results"] == []


def _check_filters(told: dict[str, Any]) -> None:
    """What the versions with filters must have seen, too."""
    assert len(_texts(told["filtered"])) == 5
    assert len(_texts(told["drinks"])) == 1
    assert told["page"]["count"] == 5
    assert len(told["page"]["results"]) == 2
    assert sorted(_texts(told["expired"])) == ["Bob repairs bicycles.", "The offer is open.", "The ticket is valid."]
    assert told["moved"]["memory"] == "Alice loves black tea."


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_installed_client_does_everything_it_can(plain_daemon: Daemon, tmp_path: Path, kind: str) -> None:
    told = _python(plain_daemon, tmp_path, kind)

    _check_common(told)
    _check_filters(told)
    assert told["added"]["status"] == "SUCCEEDED"
    assert told["expiring"]["expiration_date"] == "2999-12-31"
    assert told["kept"]["expiration_date"] is None
    assert told["page"]["next"].startswith(f"{plain_daemon.url}/v3/memories/?page=3&")
    assert told["page"]["previous"].startswith(f"{plain_daemon.url}/v3/memories/?page=1&")
    assert told["feedback"]["feedback"] == "POSITIVE"
    assert told["missing"]["error"] == told["gone"]["error"] == "MemoryNotFoundError"
    assert told["everybody"]["error"] == "ValidationError"
    assert _texts(told["dan"]) == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_client_of_1_0_11_does_everything_it_can(plain_daemon: Daemon, tmp_path: Path, kind: str) -> None:
    told = _python(plain_daemon, tmp_path, kind, "T4DM_MEM0_1")

    _check_common(told)
    _check_filters(told)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_client_of_0_1_118_does_everything_it_can(plain_daemon: Daemon, tmp_path: Path, kind: str) -> None:
    told = _python(plain_daemon, tmp_path, kind, "T4DM_MEM0_0")

    _check_common(told)
    assert isinstance(told["all"], list)
    assert isinstance(told["found"], list)


def test_the_javascript_client_does_everything_it_can(plain_daemon: Daemon, tmp_path: Path) -> None:
    node, packages = shutil.which("node"), os.environ.get("T4DM_NPM", "")
    if node is None or not packages:
        pytest.skip("T4DM_NPM names no directory with the npm package mem0ai, or there is no node")

    told = _walk([node, str(HERE / "scenario.mjs"), plain_daemon.url], tmp_path, cwd=Path(packages))

    assert [one["memory"] for one in told["added"]["results"]] == ["My name is Alice.", "The user's name is Alice"]
    assert told["got"]["metadata"] == {"snake_case": 1, "camelCase": 2}
    assert told["got"]["createdAt"]
    assert told["all"]["count"] == 3
    assert told["page"]["previous"].startswith(f"{plain_daemon.url}/v3/memories/?page=1&")
    assert len(told["found"]["results"]) == 1
    assert told["users"]["totalUsers"] == 2
    assert told["missing"]["error"] == "MemoryNotFoundError"
    assert told["everybody"]["error"] == told["printed"]["error"] == "ValidationError"
    assert (told["updated"]["memory"], told["updated"]["expirationDate"]) == ("Alice drinks tea.", "2999-12-31")
    assert told["kept"]["expirationDate"] is None
    assert told["rest"]["results"][0]["memory"] == "The user's name is Alice"
    assert told["none"]["results"] == []
    assert told["nobodyLeft"]["count"] == 0
