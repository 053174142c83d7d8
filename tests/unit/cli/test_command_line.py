"""The command line as a whole: help, exit codes, streams, and the commands about the daemon itself."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import types
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from t4dm_daemon import cli
from t4dm_daemon.cli import output
from t4dm_daemon.cli.command import Command
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_daemon import FakeDaemon, Reply, error

COMMANDS = [
    "serve",
    "status",
    "add",
    "search",
    "list",
    "get",
    "update",
    "delete",
    "history",
    "stats",
    "export",
    "version",
    "link",
    "unlink",
    "links",
    "traverse",
    "path",
    "provenance",
    "flush",
    "compact",
    "backup",
    "verify",
    "restore",
]
SOURCES = [
    "mem0",
    "openmemory",
    "langchain-history",
    "mcp-memory",
    "letta",
    "chatgpt",
    "claude",
    "jsonl",
    "markdown",
]


def t4dm(*arguments: str, url: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "t4dm", *arguments],
        input=stdin,
        capture_output=True,
        env={**os.environ, "T4DM_URL": url, **environment},
        timeout=60,
        check=False,
    )


def test_the_bare_command_prints_the_help(run: Run) -> None:
    done = run()

    assert done.exit_code == 0
    assert all(command in done.out for command in COMMANDS)


def test_a_source_that_does_not_exist_is_told_with_those_that_do(run: Run) -> None:
    done = run("import", "chatgtp", "export.zip")

    assert done.exit_code == 2
    assert "neither a source nor a file" in done.err
    assert "chatgpt" in done.err


def test_the_bare_import_lists_its_sources(run: Run) -> None:
    for done in (run("import"), run("import", "--help")):
        assert all(source in done.out for source in (*SOURCES, "export", "qdrant", "chroma", "vectors"))


@pytest.mark.parametrize("command", [*COMMANDS, "import export", *(f"import {source}" for source in SOURCES)])
def test_every_command_explains_itself(run: Run, command: str) -> None:
    done = run(*command.split(), "--help")

    assert done.exit_code == 0
    if command != "serve":
        assert "--json" in done.out
        assert "--url" in done.out or command == "restore"


def test_a_daemon_that_does_not_run_ends_with_3_and_the_command_that_starts_it(run: Run, nobody: str) -> None:
    done = run("status", "--url", nobody)
    as_json = run("--url", nobody, "--json", "search", "tea")

    assert done.exit_code == as_json.exit_code == 3
    assert f"T4DM is not running at {nobody}; start it with: t4dm serve" in done.err
    assert as_json.json["error"]["code"] == "not_running"


@pytest.mark.parametrize(("status", "exit_code"), [(401, 4), (403, 4), (404, 5), (409, 6), (422, 2), (500, 1)])
def test_each_kind_of_refusal_has_its_exit_code(run: Run, fake: FakeDaemon, status: int, exit_code: int) -> None:
    fake.planned = [error(status), error(status)]

    done = run("stats")
    as_json = run("stats", "--json")

    assert done.exit_code == as_json.exit_code == exit_code
    assert f"the reason for {status}" in done.err
    assert as_json.json["error"]["code"] == "refused"
    assert as_json.json["error"]["details"]["fact"] == 1


def test_a_wrong_use_names_the_command_whose_help_to_see(run: Run) -> None:
    done = run("add", "  ")

    assert done.exit_code == 2
    assert done.err == "t4dm: the text to remember is empty\n  See: t4dm add --help\n"


def test_a_missing_space_points_to_the_list_of_spaces(run: Run, fake: FakeDaemon) -> None:
    body = {"error": {"code": "not_found", "message": "no such space", "details": {"space": "none"}}}
    fake.planned = [Reply(404, body)]

    assert "See which spaces there are: t4dm stats" in run("search", "tea", "--space", "none").err


def test_debug_shows_the_traceback(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [error(409), error(409)]

    assert "Traceback" not in run("stats").err
    assert "Traceback" in run("stats", "--debug").err


def test_status_tells_where_and_what(run: Run) -> None:
    done = run("status")

    assert "store\t/data/store" in done.out
    assert "up\t0:01:01" in done.out
    assert run("status", "--json").json["data"]["pid"] == 7


def test_stats_counts_each_space(run: Run) -> None:
    run("add", "tea")

    assert run("stats").out == "1\t1\t1\t2048\t4096\t1024\tdefault\n"
    assert run("stats", "--json").json["data"]["items"] == 1


def test_version_is_no_failure_without_a_daemon(run: Run, nobody: str) -> None:
    done = run("version", "--url", nobody)

    assert done.exit_code == 0
    assert f"daemon: not running at {nobody}" in done.out
    assert run("version", "--json").json["data"]["daemon"]["api"] == "1"
    assert run("--version").out.startswith("t4dm ")


def test_serve_passes_on_what_was_given_and_nothing_else(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def serve(**overrides: Any) -> int:
        given.update(overrides)
        return 7

    monkeypatch.setitem(sys.modules, "t4dm_daemon.api.server", types.SimpleNamespace(serve=serve))  # type: ignore[arg-type]

    done = run("serve", "-p", "0", "--storage-path", "/data", "--log-format", "json")

    assert done.exit_code == 7
    assert {name: str(value) for name, value in given.items()} == {
        "port": "0",
        "storage_path": "/data",
        "log_format": "json",
    }


def test_a_mistyped_option_with_json_still_gives_one_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["t4dm", "search", "tea", "--kk", "3", "--json"])

    exit_code = cli.main()

    assert exit_code == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_output_survives_a_terminal_without_unicode(fake: FakeDaemon) -> None:
    with fake.serving() as url:
        added = t4dm("add", "Tee → ü", "--id", "m", url=url, PYTHONIOENCODING="ascii")
        shown = t4dm("get", "m", url=url, PYTHONIOENCODING="ascii")
        as_json = t4dm("get", "m", "--json", url=url, PYTHONIOENCODING="ascii")

    assert added.returncode == shown.returncode == 0
    assert b"Tee \\u2192 \\xfc" in shown.stdout
    assert json.loads(as_json.stdout)["data"]["content"] == "Tee → ü"


def test_input_that_is_not_utf8_is_refused_in_words(fake: FakeDaemon) -> None:
    with fake.serving() as url:
        piped = t4dm("add", url=url, stdin=b"\xff\xfe")
        typed = subprocess.run(
            [sys.executable.encode(), b"-m", b"t4dm", b"add", b"\xff"],
            capture_output=True,
            env={**os.environ, "T4DM_URL": url},
            timeout=60,
            check=False,
        )

    assert piped.returncode == typed.returncode == 2
    assert b"not UTF-8" in piped.stderr
    assert b"lone surrogate" in typed.stderr


def test_a_reader_that_goes_away_is_no_traceback(fake: FakeDaemon) -> None:
    with fake.serving() as url:
        t4dm("add", "--id", "m", url=url, stdin=b"x" * 200_000)
        process = subprocess.Popen(
            [sys.executable, "-m", "t4dm", "list"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "T4DM_URL": url},
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        complaint = process.stderr.read()
        process.stderr.close()
        exit_code = process.wait(timeout=60)

    assert complaint == b""
    assert exit_code == 141


def at_a_terminal(*arguments: str, url: str, typed: bytes = b"", **environment: str) -> tuple[int, str]:
    """Run the command line as a person does; return the exit code and what was on the screen."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "t4dm", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "T4DM_URL": url, "TERM": "xterm", "COLUMNS": "100", **environment},
    )
    os.close(theirs)
    os.write(ours, typed)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the other side has ended
        while chunk := os.read(ours, 65_536):
            shown += chunk
    os.close(ours)
    return process.wait(timeout=60), shown.decode()


def test_a_person_is_asked_before_something_is_deleted(fake: FakeDaemon) -> None:
    with fake.serving() as url:
        t4dm("add", "tea", "--id", "m", url=url)
        refused = at_a_terminal("delete", "--all", url=url, typed=b"n\n")
        left = list(fake.spaces["default"])
        confirmed = at_a_terminal("delete", "m", url=url, typed=b"y\n")

    assert refused[0] == 1
    assert "Delete 1 memory from space default?" in refused[1]
    assert left == ["m"]
    assert confirmed[0] == 0
    assert fake.spaces["default"] == {}


def test_a_person_sees_a_table_and_colour_only_where_it_is_wanted(fake: FakeDaemon) -> None:
    with fake.serving() as url:
        t4dm("add", "Ada likes tea", "--id", "m", url=url)
        coloured = at_a_terminal("list", url=url)[1]
        plain = at_a_terminal("list", url=url, NO_COLOR="1", TERM="dumb")[1]

    assert "Content" in coloured
    assert "\x1b[" in coloured
    assert "ago)" in plain
    assert "\x1b[" not in plain


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=5), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=5, minutes=59), "5 hours ago"),
        (timedelta(days=3), "3 days ago"),
        (timedelta(days=800), "2 years ago"),
        (-timedelta(days=40), "in 1 month"),
        (-timedelta(seconds=5), "in a moment"),
    ],
)
def test_ages_are_told_in_one_unit(ago: timedelta, text: str) -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)

    assert output.age(now - ago, now) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (2048, "2.0 KiB"), (3 * 1024**3, "3.0 GiB")])
def test_sizes_are_told_in_binary_units(count: int, text: str) -> None:
    assert output.size(count) == text


@pytest.mark.parametrize("command", ["status", "version"])
def test_a_daemon_that_is_stopped_is_asked_once_and_told_apart(
    run: Run, fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    answer = threading.Event()
    fake.before = lambda _: answer.wait(30) and None
    whole = Command.__init__
    monkeypatch.setattr(Command, "__init__", lambda self, **given: whole(self, **given | {"timeout_s": 0.2}))

    done = run(command)
    answer.set()

    assert "not answer" in done.out + done.err
    assert "not running" not in done.out + done.err
    assert len(fake.seen) == 1


@pytest.mark.parametrize("arguments", [["serve", "--json"], ["--json", "serve"]])
def test_serve_can_announce_itself_to_programs(run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    given: dict[str, Any] = {}

    def serve(**overrides: Any) -> int:
        given.update(overrides)
        return 0

    monkeypatch.setitem(sys.modules, "t4dm_daemon.api.server", types.SimpleNamespace(serve=serve))  # type: ignore[arg-type]

    run(*arguments)

    assert given == {"announce_json": True}


def in_a_shell(line: str, *, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line.replace("t4dm", f"{sys.executable} -m t4dm", 1)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "T4DM_URL": url},
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "exit_code", "told"),
    [
        ("t4dm add <&-", 2, "t4dm: standard input is closed\n  See: t4dm add --help\n"),
        ("t4dm import - <&-", 2, "t4dm: standard input is closed\n  See: t4dm import --help\n"),
        ("t4dm delete --all <&-", 2, None),
        ("t4dm list >&-", 0, ""),
        ("t4dm list --json >&-", 0, ""),
        ("t4dm export >&-", 2, "t4dm: standard output is closed; name a file\n  See: t4dm export --help\n"),
        ("t4dm list >/dev/full", 1, "t4dm: No space left on device\n"),
        ("t4dm list --json >/dev/full", 1, "t4dm: No space left on device\n"),
        ("t4dm get none --json >/dev/full", 1, "t4dm: No space left on device\n"),
        ("t4dm export >/dev/full", 1, "t4dm: No space left on device\n"),
    ],
)
def test_closed_and_full_streams_are_told_in_a_line(
    fake: FakeDaemon, line: str, exit_code: int, told: str | None
) -> None:
    with fake.serving() as url:
        t4dm("add", "tea", "--id", "m", url=url)
        done = in_a_shell(line, url=url)

    assert done.returncode == exit_code
    assert "Traceback" not in done.stderr
    assert told is None or done.stderr.replace("standard output: ", "") == told
