"""The examples for LangGraph, run as a user would run them: a process of their own, against a real daemon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("langgraph")
pytest.importorskip("langchain")

from tests.support.daemon import Daemon

EXAMPLES = Path(__file__).parents[3] / "examples" / "frameworks"
TIMEOUT_S = 100.0


def run_example(name: str, daemon: Daemon, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name],
        env=daemon.env, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_agent_remembers_what_makes_ada_ill(daemon: Daemon, tmp_path: Path):
    first = run_example("langgraph_agent.py", daemon, tmp_path)
    again = run_example("langgraph_agent.py", daemon, tmp_path)

    assert "tool: Walnuts make Ada ill." in first
    assert again == first


def test_the_store_finds_by_key_by_filter_and_by_meaning(daemon: Daemon, tmp_path: Path):
    told = run_example("langgraph_store.py", daemon, tmp_path)

    assert "by key:     ['engines', 'poetry']" in told
    assert "by filter:  ['note-2']" in told
    assert "by meaning: She keeps the spare key" in told
    assert "note-1 is read before it is deleted; 3 items were there" in told
    assert "namespaces: [('users', 'ada')]" in told
