"""sqlite-vec: one vec0 table with metadata columns, WAL, synchronous=FULL, one transaction a call."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.peers.protocol import Condition, NotInstalledError, Peer, Record, Vector, require

INSTALL: Final = "sqlite-vec pysqlite3-binary"
INSERT: Final = (
    "INSERT INTO items (id, embedding, bucket, owner, event_time, kappa, content) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


class SqliteVec(Peer):
    durability = "WAL, synchronous=FULL: one sync a transaction"
    remarks = "exact search"

    def __init__(self, directory: Path, dimension: int) -> None:
        super().__init__(directory, dimension)
        self._extension = require("sqlite_vec", INSTALL)
        self._sqlite = _with_extensions()
        self._connection: Any = None

    def open(self) -> None:
        connection = self._sqlite.connect(str(self.directory / "items.db"), isolation_level=None)
        connection.enable_load_extension(True)
        self._extension.load(connection)
        connection.enable_load_extension(False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS items USING vec0(id INTEGER PRIMARY KEY,"
            f" embedding FLOAT[{self.dimension}] distance_metric=cosine,"
            " bucket INTEGER, owner TEXT, event_time INTEGER, kappa FLOAT, +content TEXT)"
        )
        self._connection = connection

    def insert_batch(self, records: Sequence[Record]) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany(INSERT, [_row(record) for record in records])
        self._connection.execute("COMMIT")

    def insert_one(self, record: Record) -> None:
        self._connection.execute(INSERT, _row(record))

    def settle(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def search(self, vector: Vector, k: int) -> list[int]:
        return self._query(vector, k, "", ())

    def search_filtered(self, vector: Vector, k: int, condition: Condition) -> list[int]:
        name = condition.field
        if condition.is_equality:
            return self._query(vector, k, f" AND {name} = ?", (condition.value,))
        return self._query(vector, k, f" AND {name} >= ? AND {name} < ?", (condition.low, condition.high))

    def _query(self, vector: Vector, k: int, where: str, operands: tuple[str | int, ...]) -> list[int]:
        found = self._connection.execute(
            f"SELECT id, content FROM items WHERE embedding MATCH ? AND k = ?{where}", (vector.tobytes(), k, *operands)
        )
        return [row[0] for row in found.fetchall()]

    def get(self, item_id: int) -> str | None:
        row = self._connection.execute("SELECT content FROM items WHERE id = ?", (item_id,)).fetchone()
        return None if row is None else row[0]

    def update(self, item_id: int, kappa: float) -> None:
        self._connection.execute("UPDATE items SET kappa = ? WHERE id = ?", (kappa, item_id))

    def delete(self, item_id: int) -> None:
        self._connection.execute("DELETE FROM items WHERE id = ?", (item_id,))

    def close(self) -> None:
        self._connection.close()


def _row(record: Record) -> tuple[object, ...]:
    vector = record.vector.tobytes()
    return record.id, vector, record.bucket, record.owner, record.event_time, 0.0, record.content


def _with_extensions() -> Any:
    """Return an sqlite3 module that can load extensions; many builds of Python cannot."""
    if hasattr(sqlite3.Connection, "enable_load_extension"):
        return sqlite3
    try:
        return require("pysqlite3", INSTALL)
    except NotInstalledError as error:
        raise NotInstalledError(f"{INSTALL}  (this Python's sqlite3 loads no extensions)") from error
