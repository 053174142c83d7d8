"""Qdrant's local mode: the client library alone, vectors in numpy, points in SQLite."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.peers.protocol import Condition, Peer, Record, Vector, require

COLLECTION: Final = "bench"


class Qdrant(Peer):
    durability = "SQLite, as the client sets it up; no option for it"
    remarks = "exact search; the vendor advises local mode up to 20 000 points"

    def __init__(self, directory: Path, dimension: int) -> None:
        super().__init__(directory, dimension)
        self._library = require("qdrant_client", "qdrant-client")
        self._models = self._library.models
        self._client: Any = None

    def open(self) -> None:
        warnings.filterwarnings("ignore", message=".*more than 20,000 points.*")
        self._client = self._library.QdrantClient(path=str(self.directory))
        if not self._client.collection_exists(COLLECTION):
            size = self._models.VectorParams(size=self.dimension, distance=self._models.Distance.COSINE)
            self._client.create_collection(COLLECTION, vectors_config=size)

    def insert_batch(self, records: Sequence[Record]) -> None:
        points = self._models.Batch(
            ids=[record.id for record in records],
            vectors=[record.vector.tolist() for record in records],
            payloads=[
                {
                    "content": record.content,
                    "bucket": record.bucket,
                    "owner": record.owner,
                    "event_time": record.event_time,
                    "kappa": 0.0,
                }
                for record in records
            ],
        )
        self._client.upsert(COLLECTION, points=points)

    def search(self, vector: Vector, k: int) -> list[int]:
        return self._query(vector, k, None)

    def search_filtered(self, vector: Vector, k: int, condition: Condition) -> list[int]:
        models = self._models
        if condition.is_equality:
            field = models.FieldCondition(key=condition.field, match=models.MatchValue(value=condition.value))
        else:
            field = models.FieldCondition(key=condition.field, range=models.Range(gte=condition.low, lt=condition.high))
        return self._query(vector, k, models.Filter(must=[field]))

    def _query(self, vector: Vector, k: int, where: Any) -> list[int]:
        found = self._client.query_points(COLLECTION, query=vector, limit=k, query_filter=where)
        return [point.id for point in found.points]

    def get(self, item_id: int) -> str | None:
        found = self._client.retrieve(COLLECTION, ids=[item_id])
        return found[0].payload["content"] if found else None

    def update(self, item_id: int, kappa: float) -> None:
        self._client.set_payload(COLLECTION, payload={"kappa": kappa}, points=[item_id])

    def delete(self, item_id: int) -> None:
        self._client.delete(COLLECTION, points_selector=[item_id])

    def close(self) -> None:
        self._client.close()
