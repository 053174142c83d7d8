from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from t4dm_daemon.storage.t4dx import T4DXEngine
from tests.support.copies import copy_store


@pytest.fixture
def open_engine(tmp_path: Path) -> Iterator[Callable[..., T4DXEngine]]:
    """Open engines on one directory (or on `root`), closed when the test ends."""
    opened: list[T4DXEngine] = []

    def open_one(root: Path | None = None, **options: Any) -> T4DXEngine:
        engine = T4DXEngine(root or tmp_path / "space", **{"merge_in_background": False, **options})
        opened.append(engine)
        return engine

    yield open_one
    for engine in opened:
        engine.close(discard=True)


@pytest.fixture
def engine(open_engine: Callable[..., T4DXEngine]) -> T4DXEngine:
    return open_engine()


@pytest.fixture
def after_crash(tmp_path: Path, open_engine: Callable[..., T4DXEngine]) -> Callable[..., T4DXEngine]:
    """Open a copy of the engine's files as they are now: what a killed process would leave."""
    copies = 0

    def reopen(**options: Any) -> T4DXEngine:
        nonlocal copies
        copies += 1
        root = tmp_path / f"copy-{copies}"
        copy_store(tmp_path / "space", root)
        return open_engine(root, **options)

    return reopen
