"""T4DX, with the engine's defaults."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from t4dm_daemon.core.filter import Filter, Leaf, all_of
from t4dm_daemon.core.item import Edge, Item
from t4dm_daemon.storage.protocol import Deletion, FieldUpdate, Write
from t4dm_daemon.storage.t4dx import T4DXEngine
from tests.bench.peers.protocol import Condition, Peer, Record, Vector


class Ours(Peer):
    durability = "pwrite + fdatasync before a write returns"
    remarks = "`bucket` is metadata (JSON), `owner` and `event_time` are columns"

    def __init__(self, directory: Path, dimension: int) -> None:
        super().__init__(directory, dimension)
        self._engine: T4DXEngine | None = None

    @property
    def engine(self) -> T4DXEngine:
        assert self._engine is not None
        return self._engine

    def open(self) -> None:
        self._engine = T4DXEngine(self.directory / "space")

    def insert_batch(self, records: Sequence[Record]) -> None:
        self.engine.insert([Write(_item(record)) for record in records])

    def link(self, edges: Sequence[tuple[int, int]]) -> None:
        self.engine.insert([], [Edge(_name(source), _name(target), "RELATES_TO") for source, target in edges])

    def settle(self) -> None:
        self.engine.compact()

    def search(self, vector: Vector, k: int) -> list[int]:
        return [_number(hit.item.id) for hit in self.engine.search(vector, k)]

    def search_filtered(self, vector: Vector, k: int, condition: Condition) -> list[int]:
        return [_number(hit.item.id) for hit in self.engine.search(vector, k, where=_filter(condition))]

    def get(self, item_id: int) -> str | None:
        (item,) = self.engine.get([_name(item_id)])
        return None if item is None else item.content

    def update(self, item_id: int, kappa: float) -> None:
        self.engine.update_fields([FieldUpdate(_name(item_id), set={"kappa": kappa})])

    def delete(self, item_id: int) -> None:
        self.engine.delete([Deletion(_name(item_id))])

    def traverse(self, item_id: int, depth: int) -> int:
        return len(self.engine.traverse([_name(item_id)], depth=depth))

    def close(self) -> None:
        self.engine.close()


def _item(record: Record) -> Item:
    return Item(
        id=_name(record.id),
        content=record.content,
        vector=record.vector,
        metadata_json=json.dumps({"bucket": record.bucket}).encode(),
        user_id=record.owner,
        event_time=record.event_time,
    )


def _name(number: int) -> str:
    return f"item-{number}"


def _number(name: str) -> int:
    return int(name.removeprefix("item-"))


def _filter(condition: Condition) -> Filter | None:
    field = "user_id" if condition.field == "owner" else condition.field
    if condition.is_equality:
        return Leaf(field, "eq", condition.value)
    above = Leaf(field, "gte", condition.low) if condition.low else None
    return all_of(above, Leaf(field, "lt", condition.high))
