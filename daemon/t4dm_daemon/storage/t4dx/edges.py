"""The links of one component: rows like an item's, in compressed sparse form both ways once they are in a file.

A link is found from either end. The nodes of a block are numbered; a row holds the numbers of its ends, its type,
two times, its weight and the end of its validity. A row never moves, and is visible at T when
`recorded_at <= T < recorded_until`, as an item's version is. The weight is learning state: changed in place, not
versioned. A link lives in the component in whose time it was made, whatever components its ends are in.

    seg/NNNNNN/edges.bin   container: node ids (`node.offsets` into `node.ids`), their keys with sorted prefixes, the
                           immutable columns of the rows, and for each direction the rows by node
                           (`out.rows[out.offsets[n] : out.offsets[n + 1]]`)

Readers need no lock: they take `rows` first and mask by time. Writers hold the engine's apply lock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.clock import OPEN
from t4dm_daemon.core.ids import KEY_BYTES, key_of
from t4dm_daemon.core.item import EDGE_TYPES, Edge
from t4dm_daemon.storage.t4dx import container
from t4dm_daemon.storage.t4dx.lookup import Lookup, prefix_of

Direction = Literal["out", "in", "both"]
Rows = npt.NDArray[np.int64]

IMMUTABLE: Final[dict[str, type]] = {
    "source": np.uint32,
    "target": np.uint32,
    "type": np.uint8,
    "created_at": np.int64,
    "recorded_at": np.int64,
}
MUTABLE: Final[dict[str, type]] = {"weight": np.float64, "recorded_until": np.int64}
_FIRST_CAPACITY: Final = 64
_NONE: Final = np.empty(0, np.int64)


class EdgeBlock(ABC):
    """The links of one component."""

    def __init__(self, columns: dict[str, npt.NDArray[Any]]) -> None:
        self.rows = 0
        self.columns = columns
        self.is_dirty = False
        """Mutable columns have changed since they were last written to a file."""

    @property
    @abstractmethod
    def nodes(self) -> int:
        """How many items have a link in this block."""

    @abstractmethod
    def node(self, key: bytes) -> int:
        """Return the number of an item, -1 when it has no link here."""

    @abstractmethod
    def node_id(self, node: int) -> str:
        """Return the id behind a number."""

    @abstractmethod
    def _rows_out(self, node: int) -> Rows: ...

    @abstractmethod
    def _rows_in(self, node: int) -> Rows: ...

    def incident(self, node: int, direction: Direction) -> Rows:
        """Return the rows at a node, open or not."""
        if direction == "out":
            return self._rows_out(node)
        if direction == "in":
            return self._rows_in(node)
        return np.unique(np.concatenate((self._rows_out(node), self._rows_in(node))))

    def visible_at(self, node: int, direction: Direction, moment: int, codes: npt.NDArray[np.uint8] | None) -> Rows:
        """Return the rows at a node that a reader of `moment` sees, of the given types."""
        rows, columns = self.incident(node, direction), self.columns
        rows = rows[rows < self.rows]
        shown = (columns["recorded_at"][rows] <= moment) & (columns["recorded_until"][rows] > moment)
        if codes is not None:
            shown &= np.isin(columns["type"][rows], codes)
        visible: Rows = rows[shown]
        return visible

    def find_open(self, source: bytes, code: int, target: bytes) -> int:
        """Return the row of the current link of this name, -1 when there is none."""
        start, end = self.node(source), self.node(target)
        if start < 0 or end < 0:
            return -1
        rows, columns = self._fewer_rows(start, end), self.columns
        wanted = (columns["source"][rows] == start) & (columns["target"][rows] == end)
        wanted &= columns["type"][rows] == code
        found = rows[wanted & (columns["recorded_until"][rows] == OPEN)]
        return int(found[-1]) if len(found) else -1

    @abstractmethod
    def _fewer_rows(self, start: int, end: int) -> Rows:
        """Return the rows out of `start` or those into `end`, whichever are fewer: one end may be a hub."""

    def close_at(self, key: bytes, moment: int) -> None:
        """End every current link at an item."""
        node = self.node(key)
        if node >= 0:
            self.close(self.incident(node, "both"), moment)

    def close(self, rows: Rows | Sequence[int], moment: int) -> int:
        """End those of the rows that are current; return how many."""
        until = self.columns["recorded_until"]
        current = np.asarray(rows, np.int64)
        current = current[until[current] == OPEN]
        until[current] = moment
        self.is_dirty = self.is_dirty or bool(len(current))
        return len(current)

    def set_weight(self, row: int, weight: float) -> None:
        self.columns["weight"][row] = weight
        self.is_dirty = True

    def edge(self, row: int) -> Edge:
        columns = self.columns
        return Edge(
            self.node_id(int(columns["source"][row])),
            self.node_id(int(columns["target"][row])),
            EDGE_TYPES[int(columns["type"][row])],
            float(columns["weight"][row]),
            int(columns["created_at"][row]),
        )

    def node_ids(self) -> Iterator[str]:
        return (self.node_id(node) for node in range(self.nodes))

    def count_open(self) -> int:
        return int(np.count_nonzero(self.columns["recorded_until"][: self.rows] == OPEN))

    def copy_mutable(self) -> dict[str, npt.NDArray[Any]]:
        return {f"edge.{name}": np.array(self.columns[name][: self.rows]) for name in MUTABLE}

    def memory_bytes(self) -> int:
        return sum(self.columns[name].nbytes for name in MUTABLE)


class EdgeMemtable(EdgeBlock):
    """Append links. Arrays grow by doubling into new ones, so a reader's old arrays stay whole."""

    def __init__(self) -> None:
        super().__init__({name: np.zeros(_FIRST_CAPACITY, kind) for name, kind in {**IMMUTABLE, **MUTABLE}.items()})
        self._ids: list[str] = []
        self._numbers: dict[bytes, int] = {}
        self._out: list[list[int]] = []
        self._in: list[list[int]] = []
        self._open: dict[tuple[int, int, int], int] = {}
        self.written = 0
        """Rows with those that are not published yet."""

    def append(self, edge: Edge, created_at: int, recorded_at: int) -> None:
        """Add a link; it is not published yet. Requires: the engine's apply lock."""
        row = self.written
        if row == len(self.columns["weight"]):
            self.columns = {name: np.concatenate((one, np.zeros_like(one))) for name, one in self.columns.items()}
        source, target, code = self._number(edge.source), self._number(edge.target), EDGE_TYPES.index(edge.type)
        values = (source, target, code, created_at, recorded_at, edge.weight, OPEN)
        for column, value in zip(self.columns.values(), values, strict=True):
            column[row] = value
        self._out[source].append(row)
        self._in[target].append(row)
        self._open[source, code, target] = row
        self.written += 1

    def _number(self, identifier: str) -> int:
        key = key_of(identifier)
        number = self._numbers.get(key)
        if number is None:
            number = len(self._ids)
            self._ids.append(identifier)
            self._out.append([])
            self._in.append([])
            self._numbers[key] = number  # last: readers, who take no lock, come by it
        return number

    def publish(self) -> None:
        self.rows = self.written

    @property
    def nodes(self) -> int:
        return len(self._ids)

    def node(self, key: bytes) -> int:
        return self._numbers.get(key, -1)

    def node_id(self, node: int) -> str:
        return self._ids[node]

    def _rows_out(self, node: int) -> Rows:
        return np.array(self._out[node], np.int64)

    def _rows_in(self, node: int) -> Rows:
        return np.array(self._in[node], np.int64)

    def _fewer_rows(self, start: int, end: int) -> Rows:
        return self._rows_out(start) if len(self._out[start]) <= len(self._in[end]) else self._rows_in(end)

    def find_open(self, source: bytes, code: int, target: bytes) -> int:
        row = self._open.get((self.node(source), code, self.node(target)), -1)
        return row if row >= 0 and self.columns["recorded_until"][row] == OPEN else -1

    def memory_bytes(self) -> int:
        return sum(column.nbytes for column in self.columns.values()) + 200 * self.nodes + 190 * self.written


class EdgeSegment(EdgeBlock):
    """Mapped links with mutable columns in memory."""

    def __init__(self, path: Path, content: memoryview, mutable: dict[str, npt.NDArray[Any]]) -> None:
        meta, arrays = container.unpack(path, content)
        super().__init__({name: arrays[f"number.{name}"] for name in IMMUTABLE} | mutable)
        self.rows = int(meta["rows"])
        self._offsets, self._ids = arrays["node.offsets"], arrays["node.ids"]
        self._keys = arrays["node.keys"]
        self._by_key = Lookup(arrays["node.prefixes"], arrays["node.order"])
        self._out = arrays["out.offsets"], arrays["out.rows"]
        self._in = arrays["in.offsets"], arrays["in.rows"]

    @property
    def nodes(self) -> int:
        return len(self._keys)

    def node(self, key: bytes) -> int:
        wanted = np.frombuffer(key, np.uint8)
        for node in self._by_key.find(prefix_of(key)):
            if np.array_equal(self._keys[node], wanted):
                return int(node)
        return -1

    def node_id(self, node: int) -> str:
        return self._ids[int(self._offsets[node]) : int(self._offsets[node + 1])].tobytes().decode()

    def _rows_out(self, node: int) -> Rows:
        offsets, rows = self._out
        return rows[int(offsets[node]) : int(offsets[node + 1])].astype(np.int64)

    def _rows_in(self, node: int) -> Rows:
        offsets, rows = self._in
        return rows[int(offsets[node]) : int(offsets[node + 1])].astype(np.int64)

    def _fewer_rows(self, start: int, end: int) -> Rows:
        out, into = self._out[0], self._in[0]
        if int(out[start + 1] - out[start]) <= int(into[end + 1] - into[end]):
            return self._rows_out(start)
        return self._rows_in(end)


def pack(ids: Sequence[str], columns: dict[str, npt.NDArray[Any]], rows: int) -> list[bytes | memoryview]:
    """Return the parts of an `edges.bin` with these nodes and the first `rows` rows of the immutable columns."""
    encoded = [one.encode() for one in ids]
    offsets = np.zeros(len(ids) + 1, np.uint64)
    np.cumsum([len(one) for one in encoded], out=offsets[1:])
    keys = [key_of(one) for one in ids]
    by_key = Lookup.build(np.array([prefix_of(key) for key in keys], np.uint64))
    arrays: dict[str, npt.NDArray[Any]] = {
        "node.ids": np.frombuffer(b"".join(encoded), np.uint8),
        "node.offsets": offsets,
        "node.keys": np.frombuffer(b"".join(keys), np.uint8).reshape(len(ids), KEY_BYTES),
        "node.prefixes": by_key.ordered,
        "node.order": by_key.rows,
    }
    for name, end in (("out", "source"), ("in", "target")):
        numbers = columns[end][:rows]
        arrays[f"{name}.rows"] = np.argsort(numbers, kind="stable").astype(np.uint32)
        counts = np.bincount(numbers, minlength=len(ids))
        arrays[f"{name}.offsets"] = np.concatenate((np.zeros(1, np.uint64), np.cumsum(counts, dtype=np.uint64)))
    arrays |= {f"number.{name}": columns[name][:rows] for name in IMMUTABLE}
    return container.pack({"rows": rows}, arrays)


def merge(blocks: Sequence[EdgeBlock], kept: Sequence[Rows]) -> tuple[list[str], dict[str, npt.NDArray[Any]]]:
    """Return the nodes and immutable columns of blocks joined in order, of the rows to keep in each."""
    numbers: dict[str, int] = {}
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [np.empty(0, kind)] for name, kind in IMMUTABLE.items()}
    for block, rows in zip(blocks, kept, strict=True):
        used = np.unique(np.concatenate((block.columns["source"][rows], block.columns["target"][rows])))
        renumbered = np.zeros(block.nodes, np.uint32)
        renumbered[used] = [numbers.setdefault(block.node_id(int(node)), len(numbers)) for node in used]
        for name in IMMUTABLE:
            values = block.columns[name][rows]
            parts[name].append(renumbered[values] if name in ("source", "target") else values)
    return list(numbers), {name: np.concatenate(arrays) for name, arrays in parts.items()}
