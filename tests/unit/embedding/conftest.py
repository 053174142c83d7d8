"""One loaded all-MiniLM-L6-v2 for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from t4dm_daemon.embedding import MiniLM


@pytest.fixture(scope="session")
def graph_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("T4DM_CACHE_PATH")
    return Path(given) if given else tmp_path_factory.mktemp("model-cache")


@pytest.fixture(scope="session")
def minilm(graph_cache: Path) -> Iterator[MiniLM]:
    embedder = MiniLM(graph_cache, threads=2)
    embedder.load()
    yield embedder
    embedder.close()
