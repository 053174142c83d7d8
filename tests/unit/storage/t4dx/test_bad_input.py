"""What could be logged but not applied would be refused at every start: it must not come so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.core.item import Edge
from t4dm_daemon.storage.protocol import Deletion, EdgeChange, FieldUpdate, Token
from t4dm_daemon.storage.t4dx import T4DXEngine
from tests.unit.storage.t4dx.items import write

Bad: Any = Edge  # edges of wrong types are the point here


@pytest.mark.parametrize(
    "call",
    [
        lambda engine: engine.insert([], [Edge("a", "b", "USES", 1.0, created_at=2**63)]),
        lambda engine: engine.insert([], [Bad("a", "b", "USES", 1.0, created_at="x")]),
        lambda engine: engine.insert([], [Bad("a", "b", "USES", 1.0, created_at=None)]),
        lambda engine: engine.insert([], [Bad(1, "b", "USES")]),
        lambda engine: engine.insert([], [Edge("a", "\ud800", "USES")]),
        lambda engine: engine.insert([], [Edge("a", "", "USES")]),
        lambda engine: engine.insert([], [Edge("a", "b", "USES", float("nan"))]),
        lambda engine: engine.insert([], [Bad("a", "b", "USES", True)]),
        lambda engine: engine.insert([], [Bad("a", "b", ["USES"])]),
        lambda engine: engine.insert([write("c")], token=Token([1], b"")),
        lambda engine: engine.update_edges([EdgeChange("a", "b", "USES", add=float("inf"))]),
        lambda engine: engine.update_edges([EdgeChange("a", "b", "USES", set=1.5)]),
        lambda engine: engine.update_edges([EdgeChange(None, "b", "USES")]),
        lambda engine: engine.remove_edges([("a", "b", "NOTHING")]),
        lambda engine: engine.scale_edges(multiply=float("nan")),
        lambda engine: engine.scale_edges(low=0.9, high=0.1),
        lambda engine: engine.scale_edges(types="USES"),
        lambda engine: engine.update_fields([FieldUpdate(7, {})]),
        lambda engine: engine.delete([Deletion("a", expected_version=2**70)]),
        lambda engine: engine.delete([Deletion(3)]),
        lambda engine: engine.purge("abc"),
        lambda engine: engine.purge([b"a"]),
        lambda engine: engine.purge(before=1.5),
        lambda engine: engine.purge(before=2**62),
        lambda engine: engine.edges("a", direction="sideways"),
        lambda engine: engine.traverse(["a"], limit=float("nan")),
        lambda engine: engine.traverse(["a"], depth=0),
        lambda engine: engine.path("a", "b", max_depth=1000),
        lambda engine: engine.compact(level=np.int64(1)),
        lambda engine: engine.compact(level=3),
        lambda engine: engine.put_blob("\ud800", b""),
        lambda engine: engine.put_blob("", b""),
    ],
)
def test_it_is_refused_and_the_store_goes_on(
    open_engine: Callable[..., T4DXEngine], call: Callable[[T4DXEngine], object]
) -> None:
    engine = open_engine()
    engine.insert([write("a"), write("b")], [Edge("a", "b", "USES", 0.5)])

    with pytest.raises(InvalidInputError):
        call(engine)

    engine.insert([write("after")])
    engine.close(discard=True)
    again = open_engine()
    assert again.scan(limit=1).total == 3
    assert again.edges("a")[0].weight == 0.5


def test_weights_may_be_numpy_numbers(open_engine: Callable[..., T4DXEngine]) -> None:
    engine = open_engine()
    engine.insert([write("a")], [Edge("a", "a", "USES", float(np.float32(0.5)))])
    assert engine.update_edges([EdgeChange("a", "a", "USES", set=np.float32(0.25))]) == [0.25]  # type: ignore[arg-type]
    assert engine.scale_edges(multiply=np.float64(2)) == 1
    assert engine.edges("a")[0].weight == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: one.scan(limit=0), "the limit is at least 1"),
        (lambda one: one.scan(limit=-1), "the limit is at least 1"),
        (lambda one: one.scan(limit=1.5), "the limit is at least 1"),
        (lambda one: one.scan(offset=-1), "the offset at least 0"),
        (lambda one: one.scan(order="kappa"), "the order is one of insertion, created_at, event_time"),
        (lambda one: one.scan(order=None), "the order is one of"),
        (lambda one: one.get("abc"), "ids is a list of strings"),
        (lambda one: one.get(b"abc"), "ids is a list of strings"),
        (lambda one: one.traverse("abc"), "start is a list of strings"),
        (lambda one: one.traverse(["a"], types="USES"), "types is a list of strings"),
        (lambda one: one.path("a", "b", types="USES"), "types is a list of strings"),
        (lambda one: one.scale_edges(multiply=0.5, types="USES"), "types is a list of strings"),
        (lambda one: one.scale_edges(multiply=0.5, sources="a"), "sources is a list of strings"),
        (lambda one: one.purge("abc"), "ids is a list of strings"),
    ],
)
def test_arguments_that_mean_nothing_are_refused_with_what_would(
    engine: T4DXEngine, call: Callable[[Any], object], message: str
) -> None:
    engine.insert([write(name) for name in "abc"])

    with pytest.raises(InvalidInputError, match=message):
        call(engine)
