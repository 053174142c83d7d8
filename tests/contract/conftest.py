"""Fixtures: both kinds of memory backend, and a space of its own for every test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from t4dm._backend import MemoryBackend
from t4dm_daemon.runtime import open_embedded
from tests.support.daemon import Daemon


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryBackend]:
    root = tmp_path_factory.mktemp("embedded")
    backend = open_embedded(root / "store", embedding_model="hashing", cache_path=Path(root) / "cache")
    yield backend
    backend.close()


@pytest.fixture(params=["http", "embedded"])
def backend(request: pytest.FixtureRequest) -> Iterator[MemoryBackend]:
    if request.param == "embedded":
        yield request.getfixturevalue("embedded")
        return
    daemon: Daemon = request.getfixturevalue("plain_daemon")
    with daemon.client() as client:
        yield client


@pytest.fixture
def space() -> str:
    """A space of its own for every test."""
    return f"space-{uuid.uuid4()}"
