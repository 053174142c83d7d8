"""Fixtures: a fake daemon on 127.0.0.1, and a way to run the command line against it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from t4dm_daemon.cli import app
from tests.unit.client.fake_daemon import FakeDaemon


@dataclass(frozen=True)
class Done:
    """What a run of the command line left behind."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def fake() -> FakeDaemon:
    return FakeDaemon()


@pytest.fixture
def run(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.delenv("T4DM_API_KEY", raising=False)
    runner = CliRunner()

    def invoke(*arguments: str, stdin: str | bytes = "") -> Done:
        result = runner.invoke(app, list(arguments), input=stdin, prog_name="t4dm")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    with fake.serving() as url:
        monkeypatch.setenv("T4DM_URL", url)
        yield invoke


@pytest.fixture
def nobody() -> str:
    """A URL at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
