"""A source in memory, and lines of JSON, for loader tests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import SourceError
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.loaders import Batch, Found, Position, Refusal


def item(item_id: str, content: str = "", *numbers: float, **fields: Any) -> Item:
    vector = np.array(numbers, np.float32) if numbers else None
    return Item(id=item_id, content=content, vector=vector, **fields)


def vectors(rows: int, dimension: int = 8, *, seed: int = 11) -> npt.NDArray[np.float32]:
    """Return vectors of length 1, (rows, dimension)."""
    numbers = np.random.default_rng(seed).standard_normal((rows, dimension))
    return (numbers / np.linalg.norm(numbers, axis=1, keepdims=True)).astype(np.float32)


def write_lines(path: Path, lines: Sequence[Any]) -> Path:
    path.write_bytes(b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in lines))
    return path


class ListSource:
    """Records in memory; `fails_at` breaks the connection before that record."""

    def __init__(
        self,
        records: Sequence[Item | Refusal],
        *,
        name: str = "list",
        dimension: int | None = None,
        fails_at: int | None = None,
        answers: list[list[Found]] | None = None,
    ) -> None:
        self.records = records
        self.name = name
        self.dimension = dimension
        self.fails_at = fails_at
        self.largest_batch = 0
        self._answers = answers

    def count(self) -> int | None:
        return len(self.records)

    def batches(self, size: int, *, after: Position | None = None) -> Iterator[Batch]:
        at = 0 if after is None else after["at"]
        while at < len(self.records):
            if self.fails_at is not None and at + size > self.fails_at:
                raise SourceError("the connection broke")
            part = self.records[at : at + size]
            at += len(part)
            self.largest_batch = max(self.largest_batch, len(part))
            yield Batch(
                [one for one in part if isinstance(one, Item)],
                [one for one in part if isinstance(one, Refusal)],
                {"at": at},
            )

    def search(self, vector: npt.NDArray[np.float32], k: int) -> list[Found] | None:
        return None if self._answers is None else self._answers.pop(0)

    def close(self) -> None:
        pass
