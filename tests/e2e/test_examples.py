"""Every example runs as a user would run it: a process of its own, against a real daemon."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.daemon import Daemon

EXAMPLES = Path(__file__).parents[2] / "examples"
FIRST_RUN = EXAMPLES / "first_run.py"
TIMEOUT_S = 100.0


def run(command: Sequence[str | Path], env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=env, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, encoding="utf-8"
    )


def run_example(name: str, daemon: Daemon, cwd: Path) -> str:
    done = run([sys.executable, EXAMPLES / name], daemon.env, cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def own_env(daemon: Daemon, home: Path, **more: str) -> dict[str, str]:
    """Return the environment of the test's daemon, but with another home and nothing that says where it serves."""
    env = {name: value for name, value in daemon.env.items() if name != "T4DM_URL"}
    return {**env, "T4DM_HOME": str(home), "T4DM_PORT": "0", **more}


def test_every_example_is_run_by_a_test_in_this_file():
    here = Path(__file__).read_text(encoding="utf-8")

    examples = [path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".sh"}]

    assert len(examples) >= 6
    assert all(f'"{name}"' in here for name in examples)


def test_three_lines_finds_what_it_stored(daemon: Daemon, tmp_path: Path):
    told = run_example("three_lines.py", daemon, tmp_path)

    assert "fuse box" in told


def test_three_lines_run_twice_stores_one_memory(daemon: Daemon, tmp_path: Path):
    run_example("three_lines.py", daemon, tmp_path)
    told = run_example("three_lines.py", daemon, tmp_path)

    assert told.count("fuse box") == 1


def test_embedded_finds_its_memories_after_reopening(daemon: Daemon, tmp_path: Path):
    told = run_example("embedded.py", daemon, tmp_path)

    assert "reopened: 2 memories" in told
    assert told.count("nine seconds") >= 2


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_http_stores_finds_and_deletes_with_curl(daemon: Daemon, tmp_path: Path):
    done = run(["sh", EXAMPLES / "http.sh"], daemon.env, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"\[(\d+)\]$", done.stdout, re.MULTILINE) == ["201", "200", "200", "200", "204", "404"]
    assert '"code":"not_found"' in done.stdout.splitlines()[-1]


def test_filters_and_time_tells_now_from_before(daemon: Daemon, tmp_path: Path):
    told = run_example("filters_and_time.py", daemon, tmp_path)

    filtered = told.partition("filtered:")[2].partition("history:")[0]
    assert "07:40" in filtered
    assert "train" not in filtered
    assert re.search(r"^now: .*08:10", told, re.MULTILINE)
    assert re.search(r"^known before: .*07:40", told, re.MULTILINE)
    assert "after delete: 0 found now, 1 known before" in told


def test_filters_and_time_can_be_run_again(daemon: Daemon, tmp_path: Path):
    first = run_example("filters_and_time.py", daemon, tmp_path)
    again = run_example("filters_and_time.py", daemon, tmp_path)

    assert [line.split()[-1] for line in first.splitlines()] == [line.split()[-1] for line in again.splitlines()]


def test_async_agent_recalls_before_it_answers(daemon: Daemon, tmp_path: Path):
    told = run_example("async_agent.py", daemon, tmp_path)

    answers = [line for line in told.splitlines() if line.startswith("agent:")]
    assert len(answers) == 2
    assert "Ragnhild" in answers[0]
    assert "walnuts" in answers[1]


def test_first_run_uses_a_daemon_that_serves_and_leaves_it_running(daemon: Daemon, tmp_path: Path):
    env = {**daemon.env, "ONCE": "1"}

    first = run([sys.executable, EXAMPLES / "first_run.py"], env, tmp_path)
    again = run([sys.executable, FIRST_RUN], env, tmp_path)

    assert first.returncode == 0, first.stdout + first.stderr
    assert "already serves" in first.stdout
    assert "207 of 207 turns" in first.stdout
    assert again.returncode == 0, again.stdout + again.stderr
    assert "there already: 207 turns" in again.stdout
    with daemon.client() as client:
        assert client.get_space("demo").items == 207
        assert client.history("conv-01-001", space="demo")[-1].version == 1


def test_first_run_starts_a_daemon_asks_and_stops_it_cleanly(daemon: Daemon, tmp_path: Path):
    done = run([sys.executable, FIRST_RUN], own_env(daemon, tmp_path / "home", ONCE="1"), tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\n? ") == 6
    assert "stopped with code 0" in done.stdout


def test_first_run_serves_until_a_signal_and_ends_with_the_daemons_code(daemon: Daemon, tmp_path: Path):
    env = own_env(daemon, tmp_path / "home", PYTHONUNBUFFERED="1")
    process = subprocess.Popen(
        [sys.executable, FIRST_RUN],
        env=env, cwd=tmp_path, text=True, encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        told = []
        for line in process.stdout:
            told.append(line)
            if line.startswith("Serving until"):
                break
        assert told, "it said nothing"
        assert told[-1].startswith("Serving until"), "".join(told)

        process.send_signal(signal.SIGINT)

        assert process.wait(20) == 0
        url = re.search(r"serves on (http://\S+)", "".join(told))
        assert url is not None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(url[1].rpartition(":")[2])), timeout=5)
    finally:
        process.kill()
        process.stdout.close()
        process.wait(10)


def test_first_run_passes_on_that_another_program_holds_the_port(daemon: Daemon, tmp_path: Path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        env = own_env(daemon, tmp_path / "home", T4DM_PORT=str(port))

        done = run([sys.executable, FIRST_RUN], env, tmp_path)

    assert done.returncode != 0
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_first_run_says_why_the_daemon_would_not_start(daemon: Daemon, tmp_path: Path):
    (tmp_path / "file").write_text("not a directory")
    env = own_env(daemon, tmp_path / "home", T4DM_STORAGE_PATH=os.fspath(tmp_path / "file"))

    done = run([sys.executable, FIRST_RUN], env, tmp_path)

    assert done.returncode == 1
    assert "before it was ready" in done.stderr
    assert "T4DM_STORAGE_PATH" in done.stderr
