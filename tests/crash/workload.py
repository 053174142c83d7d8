"""A workload whose state is known after every acknowledged step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from t4dm_daemon.core.item import Edge, Item
from t4dm_daemon.storage.protocol import Deletion, EdgeChange, FieldUpdate, Token, Write
from t4dm_daemon.storage.t4dx import T4DXEngine

State = dict[str, Any]


def state_of(engine: T4DXEngine) -> State:
    """Everything a reader can see of the present, in a form that compares."""
    items = engine.scan(limit=10_000, with_vectors=True).items
    return {
        one.id: (
            one.content, one.version, one.seq, one.recorded_at, one.created_at, one.access_count, one.importance,
            one.metadata_json, None if one.vector is None else tuple(one.vector.tolist()),
            tuple((edge.source, edge.type, edge.target, edge.weight) for edge in engine.edges(one.id)),
        )
        for one in items
    }  # fmt: skip


def _vector(number: int) -> Any:
    return np.random.default_rng(number).standard_normal(3).astype(np.float32)


def _item(name: str, number: int) -> Item:
    return Item(id=name, content=f"text {number}", vector=_vector(number), metadata_json=b'{"n":%d}' % number)


def steps() -> list[Callable[[T4DXEngine], Any]]:
    """Inserts, links, replacements, updates, deletions, refusals and flushes; each is one command."""

    def refused(engine: T4DXEngine) -> None:
        engine.delete([Deletion("a", expected_version=99)])

    return [
        lambda engine: engine.insert([Write(_item("a", 1))]),
        lambda engine: engine.insert([Write(_item("b", 2)), Write(_item("c", 3))], [Edge("b", "c", "CAUSES", 0.5)]),
        lambda engine: engine.update_fields([FieldUpdate("a", {"importance": 0.9}, {"access_count": 2})]),
        lambda engine: engine.insert([Write(_item("a", 4))]),
        lambda engine: engine.flush(),
        lambda engine: engine.insert([Write(_item("d", 5))], token=Token(b"key", b"print")),
        refused,
        lambda engine: engine.insert(
            [Write(dataclasses.replace(_item("e", 6), vector=None))], [Edge("e", "a", "USES")]
        ),
        lambda engine: engine.update_fields([FieldUpdate("b", {}, {"access_count": 1})]),
        lambda engine: engine.delete([Deletion("c")]),
        lambda engine: engine.flush(),
        lambda engine: engine.insert([Write(_item("c", 7)), Write(_item("f", 8))], [Edge("c", "f", "PART_OF", 0.25)]),
        lambda engine: engine.update_edges([EdgeChange("c", "f", "PART_OF", add=0.5)]),
        lambda engine: engine.compact(everything=True),
        lambda engine: engine.scale_edges(multiply=0.5),
        lambda engine: engine.remove_edges([("e", "a", "USES")]),
        lambda engine: engine.purge(["a"]),
        lambda engine: engine.insert([Write(_item("g", 9))]),
        lambda engine: engine.compact(everything=True),
        lambda engine: engine.update_fields([FieldUpdate("f", {}, {"access_count": 3})]),
    ]
