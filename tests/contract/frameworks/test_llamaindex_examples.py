"""The examples for LlamaIndex run as a user would run them: a process of its own, against a real daemon."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("llama_index.core")

from tests.support.daemon import Daemon

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "frameworks"
PAGE = ROOT / "docs" / "frameworks" / "llamaindex.md"
TIMEOUT_S = 100.0


def run(program: Path, daemon: Daemon, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, program],
        env=daemon.env, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_example_is_run_by_a_test_in_this_file() -> None:
    here = Path(__file__).read_text(encoding="utf-8")

    examples = [path.name for path in EXAMPLES.glob("llamaindex_*.py")]

    assert len(examples) == 2
    assert all(f'"{name}"' in here for name in examples)


@pytest.mark.slow
def test_an_index_is_searched_by_meaning_words_and_filters(daemon: Daemon, tmp_path: Path) -> None:
    told = run(EXAMPLES / "llamaindex_index.py", daemon, tmp_path)

    assert re.search(r"^meaning: 0\.\d+  The ferry", told, re.MULTILINE)
    assert "words: The spare key" in told
    assert sorted(re.findall(r"^filtered: (\d+)", told, re.MULTILINE)) == ["2025", "2026"]
    assert "left: 2" in told


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llamaindex_index.py", "llamaindex_memory.py"])
def test_an_example_can_be_run_again(daemon: Daemon, tmp_path: Path, name: str) -> None:
    first, again = (run(EXAMPLES / name, daemon, tmp_path) for _ in range(2))

    assert again == first


@pytest.mark.slow
def test_a_memory_tells_the_model_what_was_said_the_day_before(daemon: Daemon, tmp_path: Path) -> None:
    told = run(EXAMPLES / "llamaindex_memory.py", daemon, tmp_path)

    assert "User: My name is Ragnhild, and I am allergic to walnuts." in told
    assert "weather" not in told.partition("walnuts")[0]


@pytest.mark.slow
def test_the_example_in_the_documentation_runs(daemon: Daemon, tmp_path: Path) -> None:
    program = tmp_path / "page.py"
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    program.write_text("\n".join(blocks), encoding="utf-8")

    told = run(program, daemon, tmp_path)

    assert "pier four" in told
    assert "walnuts" in told
