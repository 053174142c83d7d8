from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from t4dm_daemon.storage.t4dx import Database, T4DXEngine


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "store", sync="off") as database:
        yield database


@pytest.fixture
def engine(database: Database) -> T4DXEngine:
    return database.create_space("loaded")
