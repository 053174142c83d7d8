"""Items grouped by labels: the same as counting them one by one, wherever they lie."""

from __future__ import annotations

import random
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from t4dm_daemon.core.errors import UnknownFieldError
from t4dm_daemon.core.filter import Leaf
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.protocol import Deletion, View, Write
from t4dm_daemon.storage.t4dx.engine import T4DXEngine

LABELS = ("namespace", "session_id", "categories")


def _counted(items: list[Item]) -> dict[tuple[Any, ...], tuple[int, tuple[tuple[int, int], ...]]]:
    grouped: dict[tuple[Any, ...], list[Item]] = defaultdict(list)
    for item in items:
        grouped[tuple(getattr(item, name) for name in LABELS)].append(item)
    return {
        key: (
            len(group),
            (
                (min(one.event_time for one in group), max(one.event_time for one in group)),
                (min(one.created_at for one in group), max(one.created_at for one in group)),
            ),
        )
        for key, group in grouped.items()
    }


def _groups(engine: T4DXEngine, **given: Any) -> dict[tuple[Any, ...], tuple[int, tuple[tuple[int, int], ...]]]:
    found = engine.groups(LABELS, bounds=("event_time", "created_at"), **given)
    assert len({one.labels for one in found}) == len(found)
    return {one.labels: (one.count, one.bounds) for one in found}


def test_groups_are_what_counting_one_by_one_gives(tmp_path: Path) -> None:
    chance = random.Random(7)
    with closing(T4DXEngine(tmp_path, flush_items=100, merge_in_background=False)) as engine:
        for n in range(300):
            item = Item(
                id=f"{n % 250}",
                namespace=chance.choice([(), ("a",), ("a", "b"), ("b",)]),
                session_id=chance.choice([None, "s", "t"]),
                categories=chance.choice([(), ("x",), ("x", "y")]),
                event_time=chance.randrange(-1000, 1000),
            )
            engine.insert([Write(item)])
            if n in (120, 260):
                engine.flush()
        engine.delete([Deletion(f"{n}") for n in range(0, 250, 9)])
        before = engine.snapshot()
        items = engine.scan(limit=1000).items
        of_s = Leaf("session_id", "eq", "s")
        engine.insert([Write(Item(id="later", namespace=("late",)))])

        assert _groups(engine, view=View(known_at=before)) == _counted(items)
        assert _groups(engine, view=View(known_at=before), where=of_s) == _counted(
            [one for one in items if one.session_id == "s"]
        )
        assert _groups(engine, where=Leaf("session_id", "eq", "never seen")) == {}
        assert sum(group.count for group in engine.groups([])) == len(items) + 1
        with pytest.raises(UnknownFieldError):
            engine.groups(["content"])
        with pytest.raises(UnknownFieldError):
            engine.groups(["kind"], bounds=["nothing"])
