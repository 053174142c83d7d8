from __future__ import annotations

import dataclasses
import multiprocessing
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t4dm_daemon.core.clock import RecordClock
from t4dm_daemon.core.errors import (
    ConflictError,
    DimensionMismatchError,
    InvalidInputError,
    StorageClosedError,
    StorageError,
)
from t4dm_daemon.core.filter import Leaf
from t4dm_daemon.core.ids import key_of
from t4dm_daemon.core.item import Edge, Item
from t4dm_daemon.storage.protocol import Deletion, EdgeChange, FieldUpdate, View
from t4dm_daemon.storage.t4dx import T4DXEngine
from t4dm_daemon.storage.t4dx.segment import Segment
from tests.unit.storage.t4dx.items import vector, vectors, write

Open = Callable[..., T4DXEngine]


@pytest.mark.parametrize(
    "fields",
    [
        {"event_time": 2**63},
        {"event_time": 1.5},
        {"content_hash": -1},
        {"content_hash": 2**64},
        {"access_count": 2**62},
        {"importance": float("nan")},
        {"kappa": 1.01},
        {"pinned": 1},
        {"kind": None},
        {"user_id": 5},
        {"namespace": ["a"]},
        {"categories": ("a", None)},
        {"categories": ("\ud800",)},
        {"content": "\ud800"},
        {"metadata_json": b"{"},
        {"metadata_json": b"[]"},
        {"vector": vector(1, float("nan"))},
        {"vector": vector(0, 0)},
        {"vector": vector(1e38, 1e38)},
        {"vector": vector(1e-40, 0)},
        {"vector": np.ones((2, 2), np.float32)},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_cannot_be_stored_is_refused_before_the_log(engine: T4DXEngine, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        engine.insert([write("good"), write("bad", **fields)])

    assert engine.stats()["wal_bytes"] == 0
    assert engine.insert([write("after")]).outcomes[0].status == "created"


@pytest.mark.parametrize("item_id", ["", "x" * 513, "é" * 257, "\ud800"])
def test_ids_that_are_none_are_refused_and_not_found(engine: T4DXEngine, item_id: str) -> None:
    with pytest.raises(InvalidInputError):
        engine.insert([write(item_id)])
    assert engine.get([item_id]) == [None]


@pytest.mark.parametrize(
    "update",
    [
        {"set": {"access_count": 1e300}},
        {"set": {"expires_at": 2**63}},
        {"set": {"importance": "x"}},
        {"set": {"version": 1}},
        {"set": {"pinned": "yes"}},
        {"add": {"access_count": 0.5}},
        {"add": {"kappa": float("inf")}},
        {"add": {"access_count": 2**70}},
        {"add": {"pinned": 1}},
    ],
    ids=str,
)
def test_updates_that_do_not_fit_are_refused_before_the_log(engine: T4DXEngine, update: dict[str, Any]) -> None:
    engine.insert([write("a")])

    with pytest.raises(InvalidInputError):
        engine.update_fields([FieldUpdate("a", **update)])

    assert engine.update_fields([FieldUpdate("a", {}, {"access_count": 1})]) == [True]


def test_an_id_of_512_bytes_and_an_empty_batch_are_fine(engine: T4DXEngine) -> None:
    assert engine.insert([]).outcomes == ()
    engine.insert([write("é" * 256)])
    engine.flush()
    assert engine.get(["é" * 256]) != [None]


def test_ten_thousand_items_in_one_batch_and_sixteen_megabytes_in_one_item(open_engine: Open) -> None:
    engine = open_engine(flush_items=1000)
    engine.insert([write(str(number), vector=one) for number, one in enumerate(vectors(10_000))])
    engine.insert([write("large", "x" * 2**24)])
    engine.close()

    again = open_engine()
    assert again.scan(limit=1).total == 10_001
    assert again.get(["large"])[0].content == "x" * 2**24  # type: ignore[union-attr]


def test_everything_deleted_flushed_and_opened_again_is_empty(open_engine: Open) -> None:
    engine = open_engine()
    engine.insert([write("a", vector=vector(1, 0)), write("b")], [Edge("a", "b", "CAUSES")])
    engine.flush()
    engine.delete([Deletion("a"), Deletion("b")])
    engine.close()

    again = open_engine()
    assert again.scan().items == []
    assert again.search(vector(1, 0), 3) == []
    assert again.edges("a") == []
    assert len(again.history("a")) == 1
    assert again.insert([write("a")]).outcomes[0].version == 2


def test_a_replacement_in_a_batch_frees_its_text_for_a_later_row(engine: T4DXEngine) -> None:
    engine.insert([write("x", "old", content_hash=1)])

    result = engine.insert([write("x", "new", content_hash=2), write("y", "old", content_hash=1, dedup=True)])

    assert [one.status for one in result.outcomes] == ["updated", "created"]


@pytest.mark.parametrize("is_flushed_between", [False, True])
def test_of_several_duplicates_the_first_inserted_is_named_wherever_it_lives(
    open_engine: Open, after_crash: Open, is_flushed_between: bool
) -> None:
    engine = open_engine()
    engine.insert([write("a", content_hash=1)])
    if is_flushed_between:
        engine.flush()
    engine.insert([write("b", content_hash=1)])
    engine.insert([write("a", "again", content_hash=1)])

    by_c = engine.insert([write("c", content_hash=1, dedup=True)]).outcomes[0]
    by_a = engine.insert([write("a", content_hash=1, dedup=True)]).outcomes[0]

    assert (by_c.id, by_c.status) == ("a", "duplicate")
    assert (by_a.id, by_a.status) == ("b", "duplicate")
    assert engine.find_hash(1) == "a"
    assert after_crash().find_hash(1) == "a"


@pytest.mark.parametrize("is_flushed_between", [False, True])
def test_a_duplicate_is_true_at_some_moment_of_the_new_one_also_after_a_replay(
    open_engine: Open, after_crash: Open, is_flushed_between: bool
) -> None:
    engine = open_engine()
    engine.insert([write("a", content_hash=1, valid_from=10, valid_to=20)])
    if is_flushed_between:
        engine.flush()

    statuses = [
        engine.insert([write(name, content_hash=1, valid_from=start, valid_to=end, dedup=True)]).outcomes[0].status
        for name, start, end in (("b", 19, 30), ("c", 20, 30), ("d", 5, 10), ("e", 29, 40), ("f", 5, 8))
    ]
    at_once = [write("x", content_hash=2, valid_to=5), write("y", content_hash=2, valid_from=5, dedup=True)]
    together = [one.status for one in engine.insert(at_once).outcomes]

    assert statuses == ["duplicate", "created", "created", "duplicate", "duplicate"]
    assert together == ["created", "created"]
    assert engine.find_hash(1, valid_from=25) == "c"
    assert engine.find_hash(1, valid_from=30) is None
    found = after_crash().get(["a", "b", "c", "d", "e", "f", "x", "y"])
    assert [one is not None for one in found] == [True, False, True, True, False, False, True, True]


def test_a_write_of_what_is_there_is_reported_and_refused_once_it_has_changed(
    open_engine: Open, after_crash: Open
) -> None:
    engine = open_engine()
    engine.insert([write("a", "one")])
    confirmed = dataclasses.replace(write("a", expected=1), unchanged=True)

    result = engine.insert([confirmed, write("b")])
    engine.insert([write("a", "two")])
    with pytest.raises(ConflictError):
        engine.insert([confirmed, write("c")])

    assert [(one.id, one.status, one.version) for one in result.outcomes] == [
        ("a", "duplicate", 1),
        ("b", "created", 1),
    ]
    for one in (engine, after_crash()):
        assert [item and (item.content, item.version) for item in one.get(["a", "b", "c"])] == [
            ("two", 2),
            ("", 1),
            None,
        ]


def test_an_edge_to_a_row_that_was_a_duplicate_is_refused(engine: T4DXEngine) -> None:
    engine.insert([write("a", content_hash=1)])

    with pytest.raises(InvalidInputError, match="does not exist"):
        engine.insert([write("b", content_hash=1, dedup=True), write("c")], [Edge("c", "b", "CAUSES")])

    assert engine.get(["c"]) == [None]


def test_a_conflict_changes_nothing_and_says_what_was_found(engine: T4DXEngine) -> None:
    engine.insert([write("a")])

    with pytest.raises(ConflictError) as caught:
        engine.insert([write("new"), write("a", expected=7)])

    assert caught.value.details == {"id": "a", "expected": 7, "found": 1}
    assert engine.get(["new"]) == [None]


def test_vectors_of_another_dimension_are_refused(engine: T4DXEngine) -> None:
    with pytest.raises(DimensionMismatchError):
        engine.insert([write("a", vector=vector(1, 0)), write("b", vector=vector(1, 0, 0))])
    engine.insert([write("a", vector=vector(1, 0))])
    with pytest.raises(DimensionMismatchError):
        engine.search(vector(1, 0, 0), 1)
    assert engine.dimension == 2


def test_a_version_is_read_at_every_moment_it_was_current(open_engine: Open) -> None:
    engine = open_engine(clock=RecordClock(lambda: 100), flush_items=2)
    moments = [engine.insert([write("a", str(number))]).recorded_at for number in range(6)]
    engine.delete([Deletion("a")])

    for number, moment in enumerate(moments):
        found = engine.get(["a"], view=View(known_at=moment))[0]
        assert found is not None
        assert found.content == str(number)
    assert engine.get(["a"]) == [None]
    assert engine.get(["a"], view=View(known_at=moments[0] - 1)) == [None]


def test_an_item_replaced_thousands_of_times_stays_quick_to_replace(engine: T4DXEngine) -> None:
    engine.insert([write("a", str(number)) for number in range(9_000)])

    rows = engine._state.memtable.rows_of(next(iter(engine._state.memtable._newest_row)))
    assert next(iter(rows)) == 8_999  # the newest first, without walking the others
    assert engine.get(["a"])[0].version == 9_000  # type: ignore[union-attr]


def test_a_closed_engine_says_so_and_closes_twice(engine: T4DXEngine) -> None:
    engine.insert([write("a")])
    engine.close()
    engine.close()

    calls: list[Callable[[], Any]] = [
        lambda: engine.get(["a"]),
        lambda: engine.insert([write("b")]),
        lambda: engine.flush(),
        lambda: engine.edges("a"),
        lambda: engine.find_hash(1),
        lambda: engine.stats(),
    ]
    for call in calls:
        with pytest.raises(StorageClosedError):
            call()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_may_not_use_its_parents_engine(engine: T4DXEngine) -> None:
    engine.insert([write("a")])
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def child() -> None:
        for call in (lambda: engine.insert([write("b")]), lambda: engine.get(["a"]), lambda: engine.flush()):
            try:
                call()
                answers.put("done")
            except StorageError as error:
                answers.put(str(error))
        engine.close()

    process = context.Process(target=child)
    process.start()
    process.join(20)

    assert all("after the fork" in answers.get() for _ in range(3))
    assert engine.get(["b"]) == [None]
    engine.flush()


def test_a_fault_while_applying_ends_in_a_read_only_store_and_no_waiting(
    engine: T4DXEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.insert([write("a")])
    monkeypatch.setattr(engine._state, "_append", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        engine.insert([write("b")])
    with pytest.raises(StorageError, match="restart"):
        engine.insert([write("c")])

    assert engine.stats()["is_read_only"]
    assert engine.get(["a"]) != [None]


def test_a_flush_that_fails_for_any_reason_keeps_writers_going_and_is_tried_again(
    open_engine: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(flush_items=5)
    monkeypatch.setattr(engine._checkpoints, "_write_files", lambda *_: 1 / 0)
    for number in range(40):
        engine.insert([write(str(number))])
    with pytest.raises(StorageError, match="nothing is lost"):
        engine.flush()
    assert engine.stats()["flush_error"]
    monkeypatch.undo()

    engine.flush()
    engine.close()

    assert open_engine().scan(limit=1).total == 40


def test_readers_see_whole_batches_only_and_never_fewer_than_before(open_engine: Open) -> None:
    engine = open_engine(flush_items=200)
    size, batches, writers = 7, 40, 3
    done = threading.Event()
    wrong: list[str] = []

    def insert(writer: int) -> None:
        for batch in range(batches):
            rows = vectors(size, seed=batch)
            engine.insert(
                [write(f"{writer}-{batch}-{at}", run_id=f"{writer}-{batch}", vector=rows[at]) for at in range(size)]
            )

    def read() -> None:
        last = 0
        while not done.is_set():
            total = engine.scan(limit=1).total
            hits = len(engine.search(vectors(1)[0], 10_000))
            if total % size or hits % size or total < last or hits < total:
                wrong.append(f"{last} → {total}, {hits}")
            last = total

    def flush() -> None:
        while not done.is_set():
            engine.flush()

    workers = [threading.Thread(target=insert, args=(writer,)) for writer in range(writers)]
    others = [threading.Thread(target=read), threading.Thread(target=read), threading.Thread(target=flush)]
    for thread in (*others, *workers):
        thread.start()
    for thread in workers:
        thread.join(60)
    done.set()
    for thread in others:
        thread.join(60)

    assert wrong == []
    assert not any(thread.is_alive() for thread in (*workers, *others))
    assert engine.scan(limit=1).total == size * batches * writers


def test_items_of_any_number_and_their_links_are_stored_in_batches(open_engine: Open) -> None:
    engine = open_engine()
    read: list[int] = []

    def items() -> Iterator[Item]:
        for number in range(25):
            read.append(number)
            yield Item(id=f"{number}", content="x")

    links = (Edge(f"{number}", f"{(number + 13) % 25}", "CAUSES") for number in range(25))

    outcomes = engine.batch_insert(items(), links, batch_rows=10)

    assert [(one.id, one.status) for one in outcomes] == [(f"{number}", "created") for number in range(25)]
    assert read == list(range(25))
    assert len({item.recorded_at for item in engine.scan().items}) == 3
    assert engine.stats()["edges"] == 25
    assert engine.batch_insert([]) == []
    engine.close()
    assert open_engine().scan(limit=1).total == 25


def test_a_batch_that_fails_leaves_those_before_it_and_says_how_many(engine: T4DXEngine) -> None:
    items = [Item(id=f"{number}" if number != 17 else "") for number in range(25)]

    with pytest.raises(InvalidInputError, match=r"an id is .*; 10 items and 0 edges were stored before") as caught:
        engine.batch_insert(items, batch_rows=10)

    assert (caught.value.details["stored_items"], caught.value.details["stored_edges"]) == (10, 0)
    assert engine.scan(limit=1).total == 10

    with pytest.raises(DimensionMismatchError, match="1 items and 0 edges were stored before"):
        engine.batch_insert([Item(id="a", vector=vectors(1)[0]), Item(id="b", vector=vector(1, 2))], batch_rows=1)
    with pytest.raises(InvalidInputError, match="'none' does not exist; 1 items and 1 edges were stored before"):
        engine.batch_insert([Item(id="c")], [Edge("a", "c", "CAUSES"), Edge("a", "none", "CAUSES")], batch_rows=1)
    assert [one.target for one in engine.edges("a")] == ["c"]


@pytest.mark.parametrize("rows", [0, -1, 1.5, True])
def test_a_batch_has_a_row_at_least(engine: T4DXEngine, rows: Any) -> None:
    with pytest.raises(InvalidInputError, match="at least one row"):
        engine.batch_insert([Item(id="a")], batch_rows=rows)


OTHER = str(uuid.UUID(bytes=key_of("hello")))
"""A UUID that is the hash of another id."""


@pytest.mark.parametrize("is_flushed", [False, True])
@pytest.mark.parametrize(("first", "second"), [("hello", OTHER), (OTHER, "hello")])
def test_of_two_ids_with_one_key_the_first_is_stored_and_alone_found(
    engine: T4DXEngine, first: str, second: str, is_flushed: bool
) -> None:
    engine.insert([write(first, content="A"), write("b")], [Edge(first, "b", "CAUSES")])
    if is_flushed:
        engine.flush()

    for refused in (lambda: engine.insert([write(second)]), lambda: engine.insert([], [Edge("b", second, "CAUSES")])):
        with pytest.raises(InvalidInputError, match="have the same key") as caught:
            refused()
        assert (caught.value.details["id"], caught.value.details["stored"]) == (second, first)

    assert engine.insert([write(first, content="B")]).outcomes[0].version == 2
    assert [None if one is None else one.content for one in engine.get([second, first])] == [None, "B"]
    assert engine.history(second) == []
    assert engine.edges(second) == []
    assert engine.traverse([second]) == []
    assert engine.path(second, "b") is None
    assert engine.scan(where=Leaf("id", "in", [second])).total == 0
    assert [one.id for one in engine.scan(where=Leaf("id", "in", [second, first])).items] == [first]


@pytest.mark.parametrize("is_flushed", [False, True])
@pytest.mark.parametrize(("first", "second"), [("hello", OTHER), (OTHER, "hello")])
def test_of_two_ids_with_one_key_the_other_reaches_nothing_with_any_command(
    tmp_path: Path, first: str, second: str, is_flushed: bool
) -> None:
    engine = T4DXEngine(tmp_path / "0")
    engine.insert([write(first, content="A"), write("b")], [Edge(first, "b", "CAUSES", 0.5)])
    engine.insert([write(first, content="B")])
    if is_flushed:
        engine.flush()

    for life in range(2):
        assert engine.update_fields([FieldUpdate(second, add={"access_count": 1})]) == [False]
        assert engine.delete([Deletion(second)]) == [False]
        assert engine.update_edges([EdgeChange(second, "b", "CAUSES", set=0.75)]) == [None]
        assert engine.remove_edges([(second, "b", "CAUSES")]) == [False]
        assert engine.scale_edges(multiply=0.1, sources=[second]) == 0
        assert engine.purge([second]) == 0
        shutil.copytree(tmp_path / str(life), tmp_path / str(life + 1))
        engine.close(discard=True)
        engine = T4DXEngine(tmp_path / str(life + 1))  # and a replay decides as before

        assert [one.content for one in engine.history(first)] == ["A", "B"]
        assert engine.edges(first) == [Edge(first, "b", "CAUSES", 0.5, engine.edges(first)[0].created_at)]
        assert engine.get([first])[0].access_count == 0  # type: ignore[union-attr]
    assert engine.delete([Deletion(first)]) == [True]
    engine.close()


@pytest.mark.parametrize("call", ["update_fields", "delete", "purge"])
def test_an_id_that_no_item_can_have_is_not_there(engine: T4DXEngine, call: str) -> None:
    engine.insert([write("a")])

    for name in ("\ud800", ""):
        given: Any = {"update_fields": FieldUpdate(name, {"kappa": 0.5}), "delete": Deletion(name), "purge": name}[call]
        assert getattr(engine, call)([given]) in ([False], 0)


def test_two_ids_with_one_key_are_refused_in_one_batch(engine: T4DXEngine) -> None:
    with pytest.raises(InvalidInputError, match="have the same key"):
        engine.insert([write("hello"), write(OTHER)])
    with pytest.raises(InvalidInputError, match="have the same key"):
        engine.insert([write("hello"), write("b")], [Edge("b", OTHER, "CAUSES")])
    assert engine.scan(limit=1).total == 0


def test_a_batch_looks_once_into_each_segment(open_engine: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_engine(merge_in_background=False)
    for first in range(0, 40, 4):
        engine.insert([write(f"i{n}", content=f"text {n}", content_hash=n + 1) for n in range(first, first + 4)])
        engine.flush()
    looks: list[bytes] = []
    look = Segment.rows_of
    monkeypatch.setattr(Segment, "rows_of", lambda self, key: looks.append(key) or look(self, key))

    found = engine.insert(
        [write(f"n{n}", dedup=True, content_hash=1000 + n) for n in range(200)]
        + [write("i5", content="new"), write("n7", dedup=True, content_hash=8), write("i6", expected=1)],
        [Edge("n0", "n1", "CAUSES"), Edge("i7", "n2", "CAUSES")],
    ).outcomes

    assert len(looks) < 20
    assert {one.status for one in found[:200]} == {"created"}
    assert [(one.id, one.status, one.version) for one in found[200:]] == [
        ("i5", "updated", 2), ("i7", "duplicate", 1), ("i6", "updated", 2)
    ]  # fmt: skip
    assert [edge.target for edge in engine.edges("i7")] == ["n2"]


@pytest.mark.parametrize("call", ["update_fields", "delete"])
def test_a_batch_of_changes_looks_once_into_each_segment(
    open_engine: Open, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    engine = open_engine(merge_in_background=False)
    for first in range(0, 40, 4):
        engine.insert([write(f"i{n}") for n in range(first, first + 4)])
        engine.flush()
    looks: list[bytes] = []
    look = Segment.rows_of
    monkeypatch.setattr(Segment, "rows_of", lambda self, key: looks.append(key) or look(self, key))
    names = ["i1", "none", "i39", *(f"none {n}" for n in range(100))]
    given: list[Any] = [FieldUpdate(one, {"kappa": 0.5}) if call == "update_fields" else Deletion(one) for one in names]

    assert getattr(engine, call)(given) == [True, False, True, *([False] * 100)]
    assert len(looks) == 2
