"""The examples for CrewAI run as a user would run them."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("crewai") is None:  # it takes long to import, and the examples do that themselves
    pytest.skip("crewai is not installed", allow_module_level=True)

from tests.support.daemon import Daemon

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[3] / "examples" / "frameworks"


def run(name: str, daemon: Daemon, tmp_path: Path) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name],
        env={**daemon.env, "CREWAI_STORAGE_DIR": str(tmp_path / "crewai")}, cwd=tmp_path, capture_output=True, text=True,
        timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_crew_remembers_what_it_found_out(daemon: Daemon, tmp_path: Path):
    told = run("crewai_crew.py", daemon, tmp_path)

    assert [line for line in told.splitlines() if line.startswith("the agent")] == [
        "the agent looks it up",
        "the agent remembers",
    ]
    assert "/crew/town/agent/clerk  The harbour office moved" in told


def test_crewais_own_memory_is_kept_in_t4dm(daemon: Daemon, tmp_path: Path):
    told = run("crewai_storage.py", daemon, tmp_path)

    assert "/harbour  The ferry leaves from pier six." in told
    assert "/ (2 records)" in told
