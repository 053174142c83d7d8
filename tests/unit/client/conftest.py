"""Fixtures: a fake daemon, and clients of both kinds that never wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from t4dm.sdk import T4DMClient
from tests.unit.client.fake_daemon import FakeDaemon


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("T4DM_URL", "T4DM_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake() -> FakeDaemon:
    return FakeDaemon()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def client(fake: FakeDaemon, pauses: list[float]) -> Iterator[T4DMClient]:
    with T4DMClient(transport=fake.transport(), sleep=pauses.append) as client:
        yield client
