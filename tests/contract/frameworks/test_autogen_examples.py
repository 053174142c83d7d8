"""The examples for AutoGen run as a user would run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("autogen_agentchat")
pytest.importorskip("autogen_ext")

from tests.support.daemon import Daemon

EXAMPLES = Path(__file__).parents[3] / "examples" / "frameworks"


def test_the_agent_knows_in_a_later_run_what_it_was_told_in_an_earlier_one(daemon: Daemon, tmp_path: Path):
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, EXAMPLES / "autogen_agent.py"],
            env=daemon.env, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip

        assert done.returncode == 0, done.stdout + done.stderr
        assert "captured: 1" in done.stdout
        assert "What must I not eat? -> user: I'm allergic to walnuts." in done.stdout
        assert "lock myself out? -> The spare key hangs behind the fuse box." in done.stdout
