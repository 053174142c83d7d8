"""Every example for LangChain runs as a user would run it: a process of its own, against a real daemon."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_classic")
pytest.importorskip("langchain")

import subprocess
import sys
from pathlib import Path

from tests.support.daemon import Daemon

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "frameworks"
TIMEOUT_S = 100.0


def run(command: list[str | Path], daemon: Daemon, cwd: Path) -> str:
    done = subprocess.run(
        command,
        env=daemon.env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example_is_run_by_a_test_in_this_file():
    here = Path(__file__).read_text(encoding="utf-8")

    assert all(f'"{path.name}"' in here for path in EXAMPLES.glob("langchain_*.py"))


def test_documents_are_found_filtered_and_replaced_and_it_can_be_run_again(daemon: Daemon, tmp_path: Path):
    for _ in range(2):
        told = run([sys.executable, EXAMPLES / "langchain_documents.py"], daemon, tmp_path)

        assert "similar:   The ferry to the island leaves from pier four." in told
        assert "cheap:     ['bread', 'ferry']" in told
        assert "retrieved: The ferry to the island leaves from pier six." in told


def test_an_agent_remembers_each_user_for_themselves(daemon: Daemon, tmp_path: Path):
    told = run([sys.executable, EXAMPLES / "langchain_agent.py"], daemon, tmp_path)

    answers = [line for line in told.splitlines() if line.startswith("  ->")]
    assert "I remember 0 thing(s)" in answers[0]
    assert "walnuts" in answers[1]
    assert "I remember 0 thing(s)" in answers[2]


def test_the_example_of_the_page_runs(daemon: Daemon, tmp_path: Path):
    page = (ROOT / "docs" / "frameworks" / "langchain.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]

    told = run([sys.executable, "-c", code], daemon, tmp_path)

    assert "pier four" in told
