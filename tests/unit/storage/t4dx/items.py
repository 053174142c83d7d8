"""Small items and vectors for storage tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.protocol import Write
from t4dm_daemon.storage.t4dx.fs import FileSystem

DIMENSION = 4


class UnsyncedFileSystem(FileSystem):
    """The real file system without waiting for the disk: for tests that open a store a thousand times."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_directory(self, path: Any) -> None:
        pass


def vector(*numbers: float) -> npt.NDArray[np.float32]:
    return np.array(numbers, np.float32)


def vectors(rows: int, *, dimension: int = DIMENSION, seed: int = 7) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)


def write(item_id: str, content: str = "", *, expected: int | None = None, dedup: bool = False, **fields: Any) -> Write:
    return Write(Item(id=item_id, content=content, **fields), expected_version=expected, dedup=dedup)
