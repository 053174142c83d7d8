"""Chroma, persistent client, telemetry off, its default HNSW parameters over cosine distance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.peers.protocol import Condition, Peer, Record, Vector, require


class Chroma(Peer):
    durability = "SQLite, as Chroma sets it up; no option for it"

    def __init__(self, directory: Path, dimension: int) -> None:
        super().__init__(directory, dimension)
        self._library = require("chromadb", "chromadb")
        self._settings = require("chromadb.config", "chromadb").Settings
        self._client: Any = None
        self._items: Any = None

    def open(self) -> None:
        self._client = self._library.PersistentClient(
            path=str(self.directory), settings=self._settings(anonymized_telemetry=False)
        )
        self._items = self._client.get_or_create_collection(
            "bench", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )

    def insert_batch(self, records: Sequence[Record]) -> None:
        self._items.add(
            ids=[str(record.id) for record in records],
            embeddings=[record.vector for record in records],
            documents=[record.content for record in records],
            metadatas=[
                {"bucket": record.bucket, "owner": record.owner, "event_time": record.event_time, "kappa": 0.0}
                for record in records
            ],
        )

    def search(self, vector: Vector, k: int) -> list[int]:
        return self._query(vector, k, None)

    def search_filtered(self, vector: Vector, k: int, condition: Condition) -> list[int]:
        return self._query(vector, k, _where(condition))

    def _query(self, vector: Vector, k: int, where: dict[str, Any] | None) -> list[int]:
        found = self._items.query(query_embeddings=[vector], n_results=k, where=where, include=["documents"])
        return [int(one) for one in found["ids"][0]]

    def get(self, item_id: int) -> str | None:
        documents = self._items.get(ids=[str(item_id)], include=["documents"])["documents"]
        return documents[0] if documents else None

    def update(self, item_id: int, kappa: float) -> None:
        self._items.update(ids=[str(item_id)], metadatas=[{"kappa": kappa}])

    def delete(self, item_id: int) -> None:
        self._items.delete(ids=[str(item_id)])

    def close(self) -> None:
        close = getattr(self._client, "close", None)  # releases before 1.5 have none
        if close is not None:
            close()


def _where(condition: Condition) -> dict[str, Any]:
    name: str = condition.field
    if condition.is_equality:
        return {name: {"$eq": condition.value}}
    below = {name: {"$lt": condition.high}}
    return {"$and": [{name: {"$gte": condition.low}}, below]} if condition.low else below
