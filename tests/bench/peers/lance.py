"""LanceDB, embedded: scalar indexes on what is filtered, a vector index from 100 000 rows on, then `optimize`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.bench.peers.protocol import Condition, Peer, Record, Vector, require

VECTOR_INDEX_ROWS: Final = 100_000
"""Below this the vendor advises exact search."""
TABLE: Final = "bench"


class Lance(Peer):
    durability = "files are renamed into place without a sync"
    remarks = f"exact search below {VECTOR_INDEX_ROWS} rows, IVF_HNSW_SQ with its defaults from there on"

    def __init__(self, directory: Path, dimension: int) -> None:
        super().__init__(directory, dimension)
        self._library = require("lancedb", "lancedb")
        self._index = require("lancedb.index", "lancedb")
        self._arrow = require("pyarrow", "pyarrow")
        arrow = self._arrow
        self._schema = arrow.schema(
            [
                ("id", arrow.int64()),
                ("vector", arrow.list_(arrow.float32(), dimension)),
                ("content", arrow.string()),
                ("bucket", arrow.int64()),
                ("owner", arrow.string()),
                ("event_time", arrow.int64()),
                ("kappa", arrow.float64()),
            ]
        )
        self._table: Any = None

    def open(self) -> None:
        database = self._library.connect(str(self.directory))
        self._table = database.create_table(TABLE, schema=self._schema, exist_ok=True)

    def insert_batch(self, records: Sequence[Record]) -> None:
        vectors = np.concatenate([record.vector for record in records])
        columns = {
            "id": [record.id for record in records],
            "vector": self._arrow.FixedSizeListArray.from_arrays(vectors, self.dimension),
            "content": [record.content for record in records],
            "bucket": [record.bucket for record in records],
            "owner": [record.owner for record in records],
            "event_time": [record.event_time for record in records],
            "kappa": [0.0] * len(records),
        }
        self._table.add(self._arrow.table(columns, schema=self._schema))

    def settle(self) -> None:
        index = self._index
        self._table.optimize()
        kinds = {"id": index.BTree(), "event_time": index.BTree(), "bucket": index.BTree(), "owner": index.Bitmap()}
        if self._table.count_rows() >= VECTOR_INDEX_ROWS:
            kinds["vector"] = index.HnswSq(distance_type="cosine")
        for column, kind in kinds.items():
            self._table.create_index(column, config=kind)

    def search(self, vector: Vector, k: int) -> list[int]:
        return self._ids(self._table.search(vector).distance_type("cosine").limit(k))

    def search_filtered(self, vector: Vector, k: int, condition: Condition) -> list[int]:
        query = self._table.search(vector).distance_type("cosine").where(_where(condition), prefilter=True)
        return self._ids(query.limit(k))

    def _ids(self, query: Any) -> list[int]:
        found: list[int] = query.select(["id", "content", "_distance"]).to_arrow()["id"].to_pylist()
        return found

    def get(self, item_id: int) -> str | None:
        found = self._table.search().where(f"id = {item_id}").limit(1).select(["content"]).to_arrow()
        return found["content"][0].as_py() if len(found) else None

    def update(self, item_id: int, kappa: float) -> None:
        self._table.update(where=f"id = {item_id}", values={"kappa": kappa})

    def delete(self, item_id: int) -> None:
        self._table.delete(f"id = {item_id}")

    def close(self) -> None:
        self._table = None


def _where(condition: Condition) -> str:
    if condition.is_equality:
        return f"{condition.field} = {condition.value!r}"
    return f"{condition.field} >= {condition.low} AND {condition.field} < {condition.high}"
