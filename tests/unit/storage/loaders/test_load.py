from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t4dm_daemon.core.errors import ConflictError, DimensionMismatchError, InvalidInputError, SourceError
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.loaders import LoadReport, Refusal, load
from t4dm_daemon.storage.protocol import Deletion, FieldUpdate, Write
from t4dm_daemon.storage.t4dx import T4DXEngine
from tests.unit.storage.loaders.records import ListSource, item


def _many(count: int) -> list[Item]:
    return [item(f"r{number}", f"text {number}", 1.0, float(number)) for number in range(count)]


def _adds_up(report: LoadReport) -> bool:
    return report.read == report.created + report.updated + report.unchanged + report.kept + report.refused


def _contents(engine: T4DXEngine) -> dict[str, str]:
    return {one.id: one.content for one in engine.scan(limit=10_000).items}


def test_every_record_is_stored_and_counted(engine: T4DXEngine) -> None:
    report = load(ListSource(_many(25)), engine, batch_size=10)

    assert (report.read, report.created, report.written) == (25, 25, 25)
    assert _adds_up(report)
    assert _contents(engine) == {f"r{number}": f"text {number}" for number in range(25)}


def test_a_second_run_writes_nothing(engine: T4DXEngine) -> None:
    load(ListSource(_many(25)), engine, batch_size=10)
    before = engine.snapshot()

    report = load(ListSource(_many(25)), engine, batch_size=7)

    assert (report.unchanged, report.written) == (25, 0)
    assert engine.snapshot() == before


def test_a_run_does_not_undo_what_was_learnt_since(engine: T4DXEngine) -> None:
    load(ListSource([item("a", "x", 1.0)]), engine)
    engine.update_fields([FieldUpdate("a", set={"importance": 0.9, "pinned": True}, add={"access_count": 4})])

    same = load(ListSource([item("a", "x", 1.0)]), engine)
    changed = load(ListSource([item("a", "y", 1.0)]), engine)

    (stored,) = engine.get(["a"])
    assert (same.unchanged, changed.updated) == (1, 1)
    assert stored is not None
    assert (stored.content, stored.importance, stored.pinned, stored.access_count) == ("y", 0.9, True, 4)


@pytest.mark.parametrize(
    ("mode", "count", "content"), [("replace", "updated", "new"), ("keep", "kept", "old"), ("refuse", "refused", "old")]
)
def test_an_id_that_holds_something_else_is_treated_as_asked(
    engine: T4DXEngine, mode: Any, count: str, content: str
) -> None:
    engine.insert([Write(item("a", "old", 1.0))])

    report = load(ListSource([item("a", "new", 1.0), item("b", "b", 1.0)]), engine, on_conflict=mode)

    assert getattr(report, count) == 1
    assert report.created == 1
    assert _adds_up(report)
    assert _contents(engine)["a"] == content


@pytest.mark.parametrize(
    "change",
    [
        {"content": "other"},
        {"vector": np.array([2.0], np.float32)},
        {"vector": None},
        {"metadata_json": b'{"n":2}'},
        {"metadata_json": b'{"n":1.0}'},
        {"metadata_json": b'{"n":true}'},
        {"value_json": b"[]"},
        {"kind": "semantic"},
        {"user_id": "ann"},
        {"namespace": ("x",)},
        {"categories": ("x",)},
        {"event_time": 8},
        {"valid_to": 99},
    ],
)
def test_any_change_of_a_record_is_noticed(engine: T4DXEngine, change: dict[str, Any]) -> None:
    first = item("a", "x", 1.0, metadata_json=b'{"n":1}', event_time=7)
    load(ListSource([first]), engine)

    changed = dataclasses.replace(first, **change)
    report = load(ListSource([changed]), engine)
    again = load(ListSource([changed]), engine)

    assert (report.updated, again.unchanged) == (1, 1)


def test_the_order_of_keys_is_no_change(engine: T4DXEngine) -> None:
    load(ListSource([item("a", metadata_json=b'{"a":1,"b":2}')]), engine)

    assert load(ListSource([item("a", metadata_json=b'{"b": 2, "a": 1}')]), engine).unchanged == 1


def test_the_rounding_of_a_source_is_no_change(engine: T4DXEngine) -> None:
    load(ListSource([item("a", "x", 0.6, 0.8)]), engine)

    assert load(ListSource([item("a", "x", float(np.nextafter(np.float32(0.6), 1)), 0.8)]), engine).unchanged == 1
    assert load(ListSource([item("a", "x", 0.60001, 0.8)]), engine).updated == 1


def test_an_expired_memory_is_there_already(engine: T4DXEngine) -> None:
    records = [item("a", "x", 1.0, expires_at=5)]
    load(ListSource(records), engine)

    assert load(ListSource(records), engine).unchanged == 1


def test_a_deleted_memory_comes_back(engine: T4DXEngine) -> None:
    load(ListSource([item("a", "x", 1.0)]), engine)
    engine.delete([Deletion("a")])

    report = load(ListSource([item("a", "x", 1.0)]), engine)

    assert report.written == 1
    assert _contents(engine) == {"a": "x"}


def test_of_records_with_one_id_the_last_stays(engine: T4DXEngine) -> None:
    report = load(ListSource([item("a", "1"), item("b", "2"), item("a", "3"), item("a", "3")]), engine)

    assert _contents(engine) == {"a": "3", "b": "2"}
    assert (report.created, report.updated, report.unchanged) == (2, 1, 1)
    assert _adds_up(report)


def test_what_cannot_be_stored_is_refused_by_id_and_reason_and_the_rest_is_stored(engine: T4DXEngine) -> None:
    told: list[Refusal] = []
    records = [
        item("a", "a", 1.0, 2.0),
        Refusal("b", "not JSON"),
        item("c", "c", 1.0, 2.0, 3.0),
        item("d", "d", 0.0, 0.0),
        item("e", "e", 3.0, 4.0),
        item("f", "f", access_count=-1),
    ]

    report = load(ListSource(records), engine, on_refused=told.append)

    assert {one.id for one in report.refusals} == {"b", "c", "d", "f"}
    assert {one.id: one.reason for one in told} == {one.id: one.reason for one in report.refusals}
    assert "dimension 3" in next(one.reason for one in told if one.id == "c")
    assert report.reasons["not JSON"] == 1
    assert sum(report.reasons.values()) == report.refused == 4
    assert set(_contents(engine)) == {"a", "e"}
    assert _adds_up(report)


def test_the_report_stays_small_and_the_counts_true(engine: T4DXEngine) -> None:
    told: list[Refusal] = []
    records = [Refusal(f"r{number}", f"reason {number}") for number in range(1500)]

    report = load(ListSource(records), engine, on_refused=told.append)

    assert report.refused == len(told) == 1500
    assert len(report.refusals) == 1000
    assert len(report.reasons) == 101
    assert sum(report.reasons.values()) == 1500


def test_a_source_of_another_dimension_is_refused_as_a_whole(engine: T4DXEngine) -> None:
    engine.insert([Write(item("a", "", 1.0, 2.0))])

    with pytest.raises(DimensionMismatchError):
        load(ListSource([item("b", "", 1.0, 2.0, 3.0)], dimension=3), engine)


def test_a_broken_load_goes_on_where_it_stopped(engine: T4DXEngine, tmp_path: Path) -> None:
    resume = tmp_path / "resume"

    with pytest.raises(SourceError):
        load(ListSource(_many(50), fails_at=35), engine, batch_size=10, resume_file=resume)
    assert len(_contents(engine)) == 30
    report = load(ListSource(_many(50)), engine, batch_size=10, resume_file=resume)

    assert report.resumed
    assert (report.read, report.created) == (20, 20)
    assert len(_contents(engine)) == 50
    assert not resume.exists()


def test_without_a_resume_file_a_broken_load_is_repeated_without_harm(engine: T4DXEngine) -> None:
    with pytest.raises(SourceError):
        load(ListSource(_many(50), fails_at=35), engine, batch_size=10)

    report = load(ListSource(_many(50)), engine, batch_size=10)

    assert (report.unchanged, report.created) == (30, 20)


def test_a_load_stops_when_asked_and_goes_on_later(engine: T4DXEngine, tmp_path: Path) -> None:
    resume = tmp_path / "resume"
    seen: list[int] = []

    def progress(report: LoadReport, total: int | None) -> None:
        assert total == 50
        seen.append(report.read)

    stopped = load(
        ListSource(_many(50)),
        engine,
        batch_size=10,
        resume_file=resume,
        progress=progress,
        cancelled=lambda: len(seen) == 2,
    )
    finished = load(ListSource(_many(50)), engine, batch_size=10, resume_file=resume)

    assert stopped.cancelled
    assert seen == [10, 20]
    assert stopped.position == {"at": 20}
    assert not finished.cancelled
    assert finished.created == 30


def test_a_resume_file_of_another_source_is_refused(engine: T4DXEngine, tmp_path: Path) -> None:
    resume = tmp_path / "resume"
    load(ListSource(_many(20), name="one"), engine, batch_size=10, resume_file=resume, cancelled=_after(1))

    with pytest.raises(InvalidInputError, match="belongs to another load"):
        load(ListSource(_many(20), name="two"), engine, resume_file=resume)
    resume.write_text("nonsense")
    with pytest.raises(InvalidInputError, match="no resume file"):
        load(ListSource(_many(20), name="one"), engine, resume_file=resume)


def _after(batches: int) -> Any:
    asked = iter(range(1000))
    return lambda: next(asked) >= batches


def test_no_more_than_a_batch_is_asked_for(engine: T4DXEngine) -> None:
    source = ListSource(_many(50))
    load(source, engine, batch_size=8)

    assert source.largest_batch == 8
    with pytest.raises(InvalidInputError):
        load(source, engine, batch_size=0)


def test_texts_without_vectors_are_embedded_once(engine: T4DXEngine) -> None:
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> Any:
        asked.extend(texts)
        return np.array([[len(text), 1.0] for text in texts], np.float32)

    records = [item("a", "one"), item("b", "two", 5.0, 5.0), item("c"), item("d", "three")]
    first = load(ListSource(records), engine, embed=embed)
    second = load(ListSource(records), engine, embed=embed)

    stored = {one.id: one.vector for one in engine.scan(with_vectors=True).items}
    assert asked == ["one", "three"]
    assert stored["a"] is not None
    assert stored["a"].tolist() == [3.0, 1.0]
    assert stored["b"] is not None
    assert stored["b"].tolist() == [5.0, 5.0]
    assert stored["c"] is None
    assert (first.created, first.bare, second.unchanged) == (4, 1, 4)


def test_all_texts_are_embedded_anew_when_asked(engine: T4DXEngine) -> None:
    records = [item("a", "one", 1.0, 2.0, 3.0), item("b", "", 1.0, 2.0, 3.0)]

    report = load(
        ListSource(records, dimension=3),
        engine,
        embed=lambda texts: np.ones((len(texts), 2), np.float32),
        embed_all=True,
    )

    assert engine.dimension == 2
    assert (report.created, report.refused) == (1, 1)
    assert "no text to embed" in report.refusals[0].reason
    with pytest.raises(InvalidInputError):
        load(ListSource(records), engine, embed_all=True)


def test_stored_items_get_the_identity_of_their_text(engine: T4DXEngine) -> None:
    load(ListSource([item("a", "x", 1.0)]), engine, content_hash=lambda one: 4711)

    assert engine.find_hash(4711) == "a"


def test_a_record_that_another_writer_changes_meanwhile_is_looked_at_again(
    engine: T4DXEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, interrupted = engine.insert, []

    def insert_after_another(writes: Any, *rest: Any, **options: Any) -> Any:
        if not interrupted:
            interrupted.append(True)
            insert([Write(item("b", "theirs"))])
        return insert(writes, *rest, **options)

    monkeypatch.setattr(engine, "insert", insert_after_another)
    report = load(ListSource([item("a", "mine"), item("b", "mine")]), engine, on_conflict="keep")

    assert (report.created, report.kept) == (1, 1)
    assert _contents(engine) == {"a": "mine", "b": "theirs"}


def test_a_space_that_never_stands_still_is_an_error(engine: T4DXEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def always_late(*_: Any, **__: Any) -> Any:
        raise ConflictError("somebody was faster")

    monkeypatch.setattr(engine, "insert", always_late)

    with pytest.raises(ConflictError):
        load(ListSource([item("a", "mine")]), engine)
