from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from t4dm_daemon.core.filter import Leaf, leaf_holds
from t4dm_daemon.storage.t4dx import T4DXEngine, predicate
from tests.unit.storage.t4dx.items import write


@pytest.mark.parametrize("op", ["eq", "ne", "gt", "gte", "lt", "lte"])
@pytest.mark.parametrize("operand", [4, 5, 7, 9, 10, 4.5, 9.5, math.inf, -math.inf, True, "7"])
def test_what_the_bounds_of_a_segment_settle_is_true(op: str, operand: object) -> None:
    settled = predicate._settled(Leaf("event_time", op, operand), 5, 9)
    answers = {leaf_holds(op, value, operand) for value in (5, 6, 7, 8, 9)}
    assert settled is None or answers == {settled}


@pytest.mark.parametrize(("op", "operand"), [("lt", 1000), ("gte", 2000), ("eq", 1500), ("ne", -3)])
def test_segments_outside_the_range_are_not_scanned(
    open_engine: Callable[..., T4DXEngine], monkeypatch: pytest.MonkeyPatch, op: str, operand: int
) -> None:
    engine = open_engine()
    for start in (0, 1000, 2000):
        engine.insert([write(f"{start + n}", event_time=start + n) for n in range(10)])
        engine.flush()
    looked_at: list[int] = []
    compare = predicate._number

    def counting(leaf: Leaf, column: object, missing: int | None) -> object:
        looked_at.append(len(column))  # type: ignore[arg-type]
        return compare(leaf, column, missing)  # type: ignore[arg-type]

    monkeypatch.setattr(predicate, "_number", counting)

    total = engine.scan(where=Leaf("event_time", op, operand)).total

    assert total == sum(leaf_holds(op, start + n, operand) for start in (0, 1000, 2000) for n in range(10))
    assert looked_at == []
