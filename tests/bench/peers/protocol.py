"""What the benchmark asks of a system. One adapter each; ids are whole numbers from 0."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]
Field = Literal["bucket", "owner", "event_time"]


class UnsupportedError(Exception):
    """The system has no such operation: the table shows a dash."""


class NotInstalledError(Exception):
    """The library behind an adapter is missing; the message is what to install."""


@dataclass(frozen=True, slots=True)
class Record:
    """One item, the same for every system.

    Attributes:
        bucket: 0 to 99, evenly spread: the filter `bucket < 10` passes 10 %.
        owner: A label, `owner-0` to `owner-9`, evenly spread.
        event_time: Microseconds; grows with the id, a minute each.
    """

    id: int
    vector: Vector
    content: str
    bucket: int
    owner: str
    event_time: int


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter: `low <= field < high`; for `owner`, equality with `owner-{low}`."""

    field: Field
    low: int
    high: int

    @property
    def is_equality(self) -> bool:
        return self.high - self.low == 1

    @property
    def value(self) -> str | int:
        """The operand of an equality."""
        return f"owner-{self.low}" if self.field == "owner" else self.low


class Peer(ABC):
    """A store in one directory. Created closed; `open` makes or reopens it.

    The constructor imports the library, so that opening is not charged with it.
    `durability` says in the vendor's terms what a returned write has gone through; `remarks` what else a
    reader of the numbers must know.
    """

    durability: str = ""
    remarks: str = ""

    def __init__(self, directory: Path, dimension: int) -> None:
        self.directory = directory
        self.dimension = dimension

    @abstractmethod
    def open(self) -> None: ...

    def insert_batch(self, records: Sequence[Record]) -> None:
        """Store many items in one call."""
        raise UnsupportedError

    def insert_one(self, record: Record) -> None:
        """Store one item as durably as the system can."""
        self.insert_batch([record])

    def link(self, edges: Sequence[tuple[int, int]]) -> None:
        """Store directed edges between items."""
        raise UnsupportedError

    def settle(self) -> None:
        """Do what the vendor says to do after writing much: flush, index, optimise."""
        raise UnsupportedError

    def search(self, vector: Vector, k: int) -> list[int]:
        """Return the ids of the k most similar items, best first."""
        raise UnsupportedError

    def search_filtered(self, vector: Vector, k: int, condition: Condition) -> list[int]:
        """Return the ids of the k most similar items that pass."""
        raise UnsupportedError

    def get(self, item_id: int) -> str | None:
        """Return the text of an item, None if it is not there."""
        raise UnsupportedError

    def update(self, item_id: int, kappa: float) -> None:
        """Change one number of an item, as durably as the system can."""
        raise UnsupportedError

    def delete(self, item_id: int) -> None:
        """Remove an item, as durably as the system can."""
        raise UnsupportedError

    def traverse(self, item_id: int, depth: int) -> int:
        """Return how many items can be reached over at most `depth` edges."""
        raise UnsupportedError

    @abstractmethod
    def close(self) -> None: ...


def require(module: str, install: str) -> Any:
    """Import a library that may be missing.

    Raises:
        NotInstalledError: It is; `install` is what pip is to be given.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotInstalledError(install) from error
