from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.loaders import Found, Refusal, load, validate
from t4dm_daemon.storage.protocol import Deletion, Write
from t4dm_daemon.storage.t4dx import T4DXEngine
from tests.unit.storage.loaders.records import ListSource, item, vectors


def _records(count: int = 200) -> list[Item | Refusal]:
    return [Item(id=f"r{number}", content=f"text {number}", vector=row) for number, row in enumerate(vectors(count))]


def test_a_space_that_was_loaded_holds_what_the_source_holds(engine: T4DXEngine) -> None:
    source = ListSource([*_records(), Refusal("x", "no")])
    load(source, engine)

    report = validate(source, engine, queries=20, k=5, samples=30, batch_size=16)

    assert (report.read, report.refused, report.missing, report.sampled, report.queries) == (201, 1, 0, 30, 20)
    assert report.mean_overlap == report.worst_overlap == 1.0
    assert report.similarity_gap is not None
    assert report.similarity_gap < 1e-6  # both sides compute in double precision
    assert report.holds(min_overlap=1.0)
    assert report.vector_gap == 0.0


def test_what_is_missing_or_different_is_named(engine: T4DXEngine) -> None:
    records = _records(20)
    source = ListSource(records)
    load(source, engine)
    engine.delete([Deletion("r3")])
    (stored,) = engine.get(["r5"], with_vectors=True)
    assert stored is not None
    engine.insert([Write(dataclasses.replace(stored, content="other", vector=vectors(1, seed=3)[0]))])

    report = validate(source, engine, queries=5, samples=20)

    assert report.missing_ids == ["r3"]
    assert [(one.id, one.fields) for one in report.differing] == [("r5", ["content", "vector"])]
    assert not report.holds(min_overlap=0.0)


def test_a_space_of_other_vectors_overlaps_little(engine: T4DXEngine) -> None:
    load(ListSource(_records()), engine)
    others = [
        Item(id=f"r{number}", content=f"text {number}", vector=row) for number, row in enumerate(vectors(200, seed=99))
    ]

    report = validate(ListSource(others), engine, queries=20, samples=0)

    assert report.mean_overlap is not None
    assert report.mean_overlap < 0.5  # chance gives 10 of 200: 0.05
    assert not report.holds()


def test_the_source_answers_for_itself_when_it_can_search(engine: T4DXEngine) -> None:
    load(ListSource([item("a", "", 1.0, 0.0), item("b", "", 0.0, 1.0)]), engine)
    answers = [[Found("a", 0.5)], [Found("b", None)]]
    source = ListSource([], answers=answers)

    report = validate(source, engine, queries=np.array([[1, 0], [1, 0]], np.float32), k=1)

    assert report.overlaps == [1.0, 0.0]
    assert report.similarity_gap == pytest.approx(0.5)


def test_which_of_equals_comes_first_is_no_difference(engine: T4DXEngine) -> None:
    load(ListSource([item("a", "", 1.0, 0.0), item("b", "", 2.0, 0.0)]), engine)

    report = validate(ListSource([], answers=[[Found("b", 1.0)]]), engine, queries=np.array([[1, 0]], np.float32), k=1)

    assert report.overlaps == [1.0]


def test_the_same_seed_gives_the_same_report(engine: T4DXEngine) -> None:
    source = ListSource(_records())
    load(source, engine)

    assert validate(source, engine, queries=5, seed=7) == validate(source, engine, queries=5, seed=7)


def test_an_empty_source_is_held_by_any_space(engine: T4DXEngine) -> None:
    report = validate(ListSource([]), engine)

    assert (report.read, report.queries, report.mean_overlap, report.worst_overlap) == (0, 0, None, None)
    assert report.holds()


def test_queries_make_sense(engine: T4DXEngine) -> None:
    with pytest.raises(InvalidInputError):
        validate(ListSource([]), engine, k=0)
    with pytest.raises(InvalidInputError):
        validate(ListSource([]), engine, queries=np.ones(3, np.float32))
