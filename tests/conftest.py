"""Fixtures for every level of tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.daemon import Daemon

# The same examples in every run; `--hypothesis-profile explore` looks further.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None, max_examples=400)
settings.load_profile("same")


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the model's graph is kept: one place for all daemons of a run."""
    given = os.environ.get("T4DM_CACHE_PATH")
    return Path(given) if given else tmp_path_factory.mktemp("model-cache")


@pytest.fixture
def make_daemon(tmp_path: Path, model_cache: Path) -> Iterator[Callable[..., Daemon]]:
    """Make daemons that end with the test; `home` tells which directory one lives in."""
    made: list[Daemon] = []

    def make(*, home: Path | None = None, model: str = "hashing", settings: Mapping[str, str] | None = None) -> Daemon:
        directory = home or tmp_path / f"home-{len(made)}"
        directory.mkdir(parents=True, exist_ok=True)
        daemon = Daemon(directory, cache=model_cache, model=model, settings=settings)
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        daemon.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> Iterator[Daemon]:
    """A running daemon with the real default embedder, shared by the tests of one file."""
    running = Daemon(tmp_path_factory.mktemp("home"), cache=model_cache, model="minilm").start()
    yield running
    running.close()


@pytest.fixture(scope="module")
def plain_daemon(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> Iterator[Daemon]:
    """A running daemon with the hashing embedder: quick to start, deaf to meaning."""
    running = Daemon(tmp_path_factory.mktemp("home"), cache=model_cache, model="hashing").start()
    yield running
    running.close()
