from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t4dm_daemon.core.errors import (
    ConflictError,
    DimensionMismatchError,
    EmptySelectorError,
    InvalidInputError,
    ModeNotAvailableError,
    NotFoundError,
    UnknownFieldError,
)
from t4dm_daemon.core.filter import And, Leaf, Not, Or
from t4dm_daemon.core.item import Item
from t4dm_daemon.core.protocols import Collection, VectorStore
from t4dm_daemon.storage.protocol import FieldUpdate, Write
from t4dm_daemon.storage.t4dx import Database
from t4dm_daemon.storage.t4dx.vector_store import T4DXVectorStore


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "data", sync="off") as database:
        yield database


@pytest.fixture
def store(database: Database) -> VectorStore:
    store = T4DXVectorStore(database)
    store.create_collection("notes", 3)
    return store


def _abc(store: VectorStore) -> None:
    store.add(
        "notes",
        ["a", "b", "c"],
        [[1, 0, 0], [0.9, 0.1, 0], [0, 0, 1]],
        [{"text": "alpha", "n": 1}, {"n": 2, "tags": ["x"]}, {"n": 3, "kind": "mine"}],
    )


def test_the_store_has_the_methods_of_the_protocol_with_their_signatures() -> None:
    for name, method in vars(VectorStore).items():
        if not name.startswith("_") and inspect.isfunction(method):
            assert inspect.signature(getattr(T4DXVectorStore, name)) == inspect.signature(method), name


def test_collections_are_spaces_whose_vectors_come_from_their_callers(store: VectorStore, database: Database) -> None:
    database.create_space("another")

    assert store.collections() == [Collection("another", None), Collection("notes", 3)]
    assert database.attributes("notes")["embedder"] == "client"


def test_a_deleted_collection_is_gone(store: VectorStore) -> None:
    store.delete_collection("notes")

    assert store.collections() == []
    with pytest.raises(NotFoundError):
        store.delete_collection("notes")
    with pytest.raises(NotFoundError):
        store.count("notes")


def test_a_collection_is_created_once_and_properly(store: VectorStore) -> None:
    with pytest.raises(ConflictError):
        store.create_collection("notes", 3)
    for dimension in (0, -1, True, 2.5):
        with pytest.raises(InvalidInputError):
            store.create_collection("other", dimension)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        store.create_collection("", 3)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"text": "hello", "n": 1},
        {"text": ""},
        {"text": None},
        {"text": 5},
        {"text": {"de": "hallo"}},
        {"text": ["a"]},
        {"n": 2**70, "f": 1.0, "deep": {"a": [1, {"b": None}]}, "ünï": "☃"},
        {"kind": "mine", "content": "not the content", "id": 7},
    ],
)
def test_a_payload_comes_back_as_it_went_in(store: VectorStore, payload: dict[str, Any]) -> None:
    store.add("notes", ["a"], [[1, 2, 3]], [payload])

    (record,) = store.get("notes", ["a"], with_vectors=True)

    assert record is not None
    assert record.payload == payload
    assert [type(one) for one in record.payload.values()] == [type(payload[key]) for key in record.payload]
    assert record.vector is not None
    assert record.vector.tolist() == [1.0, 2.0, 3.0]


def test_the_text_of_a_payload_is_the_content_of_the_memory(store: VectorStore, database: Database) -> None:
    _abc(store)

    (item,) = database.space("notes").get(["a"])

    assert item is not None
    assert (item.content, item.metadata_json) == ("alpha", b'{"n":1}')


def test_vectors_come_only_when_asked_for(store: VectorStore) -> None:
    _abc(store)

    (record,) = store.get("notes", ["a"])
    (hit,) = store.search("notes", [1, 0, 0], 1)

    assert record is not None
    assert record.vector is None
    assert hit.vector is None
    assert store.search("notes", [1, 0, 0], 1, with_vectors=True)[0].vector is not None


def test_adding_again_replaces_vector_and_payload_whole(store: VectorStore) -> None:
    _abc(store)
    store.add("notes", ["a"], np.array([[0, 1, 0]], np.float64))

    (record,) = store.get("notes", ["a"], with_vectors=True)

    assert record is not None
    assert record.payload == {}
    assert record.vector is not None
    assert record.vector.tolist() == [0.0, 1.0, 0.0]
    assert store.count("notes") == 3


@pytest.mark.parametrize(
    ("ids", "vectors", "payloads"),
    [
        (["a", "a"], [[1, 0, 0], [1, 0, 0]], None),
        (["a"], [[1, 0, 0], [1, 0, 0]], None),
        (["a", "b"], [[1, 0, 0], [1, 0]], None),
        (["a"], [1, 0, 0], None),
        (["a"], [["x", "y", "z"]], None),
        (["a"], [[True, False, True]], None),
        (["a"], [[0, 0, 0]], None),
        (["a"], [[1, float("nan"), 0]], None),
        (["a"], [[1e300, 0, 0]], None),
        (["a"], [[1, 0, 0]], []),
        (["a"], [[1, 0, 0]], [{"when": date(2026, 1, 1)}]),
        (["a"], [[1, 0, 0]], [{"n": float("inf")}]),
        (["a"], [[1, 0, 0]], [{1: 2}]),
        (["a"], [[1, 0, 0]], [{"pair": (1, 2)}]),
        (["a"], [[1, 0, 0]], ["not an object"]),
        (["a"], [[1, 0, 0]], [{"text": "\ud800"}]),
        ([""], [[1, 0, 0]], None),
        (["x" * 513], [[1, 0, 0]], None),
        ([7], [[1, 0, 0]], None),
        ("a", [[1, 0, 0]], None),
    ],
)
def test_what_cannot_be_stored_is_refused_and_nothing_is_stored(
    store: VectorStore, ids: Any, vectors: Any, payloads: Any
) -> None:
    with pytest.raises(InvalidInputError):
        store.add("notes", ids, vectors, payloads)

    assert store.count("notes") == 0


def test_a_batch_is_stored_whole_or_not_at_all(store: VectorStore) -> None:
    with pytest.raises(InvalidInputError, match="'b'"):
        store.add("notes", ["a", "b"], [[1, 0, 0], [0, 1, 0]], [{}, {"bad": {1, 2}}])

    assert store.get("notes", ["a", "b"]) == [None, None]


def test_adding_nothing_does_nothing(store: VectorStore) -> None:
    store.add("notes", [], [])
    store.add("notes", [], np.empty((0, 3)))

    assert store.count("notes") == 0


def test_vectors_of_another_dimension_are_refused(store: VectorStore) -> None:
    with pytest.raises(DimensionMismatchError) as raised:
        store.add("notes", ["a"], [[1, 2]])
    with pytest.raises(DimensionMismatchError):
        store.search("notes", [1, 2])

    assert raised.value.details == {"stored": 3, "given": 2}


def test_search_returns_the_most_similar_first_and_obeys_its_threshold(store: VectorStore) -> None:
    _abc(store)

    hits = store.search("notes", [1, 0, 0], 3)

    assert [hit.id for hit in hits] == ["a", "b", "c"]
    assert hits[0].score == pytest.approx(1.0)
    assert hits[0].payload == {"text": "alpha", "n": 1}
    assert [hit.id for hit in store.search("notes", [1, 0, 0], score_threshold=0.5)] == ["a", "b"]
    assert [hit.id for hit in store.search("notes", [1, 0, 0], filter=Leaf("n", "gte", 2))] == ["b", "c"]


def test_a_search_of_no_records_or_no_direction_is_refused(store: VectorStore) -> None:
    for limit in (0, -1, True, 1.5):
        with pytest.raises(InvalidInputError):
            store.search("notes", [1, 0, 0], limit)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        store.search("notes", [0, 0, 0])
    with pytest.raises(NotFoundError):
        store.search("absent", [1, 0, 0])


def test_hybrid_search_is_refused_in_clear_words(store: VectorStore) -> None:
    with pytest.raises(ModeNotAvailableError, match="no lexical index"):
        store.search_hybrid("notes", [1, 0, 0], "alpha")


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (Leaf("text", "eq", "alpha"), ["a"]),
        (Leaf("metadata.text", "itext_match", "ALP"), ["a"]),
        (Leaf("text", "exists"), ["a", "e", "f"]),
        (Not(Leaf("text", "exists")), ["b", "c"]),
        (Leaf("text", "ne", "alpha"), ["b", "c", "e", "f"]),
        (Leaf("text", "is_empty"), ["b", "c", "e"]),
        (Leaf("text", "eq", 5), ["f"]),
        (And((Leaf("n", "lte", 2), Or((Leaf("text", "eq", "alpha"), Leaf("tags", "contains", "x"))))), ["a", "b"]),
        (Leaf("metadata.kind", "eq", "mine"), ["c"]),
        (Leaf("kind", "eq", "episodic"), ["a", "b", "c", "e", "f"]),
    ],
)
def test_filters_mean_the_payload_as_it_was_given(store: VectorStore, tree: Any, expected: list[str]) -> None:
    _abc(store)
    store.add("notes", ["e", "f"], [[1, 1, 1], [1, 1, 2]], [{"text": ""}, {"text": 5}])

    page = store.scroll("notes", filter=tree)

    assert [one.id for one in page.records] == expected
    assert page.total == store.count("notes", filter=tree) == len(expected)


def test_a_wrong_filter_is_refused(store: VectorStore) -> None:
    with pytest.raises(UnknownFieldError):
        store.count("notes", filter=Leaf("n", "like", 1))


def test_scrolling_visits_every_record_once_whatever_is_written_meanwhile(store: VectorStore) -> None:
    ids = [f"r{number:03}" for number in range(25)]
    store.add("notes", ids, np.random.default_rng(3).standard_normal((25, 3)))

    page = store.scroll("notes", limit=10)
    seen = [one.id for one in page.records]
    store.add("notes", ["r002", "r020"], [[1, 0, 0], [0, 1, 0]])
    store.delete("notes", ["r001"])
    while page.cursor is not None:
        page = store.scroll("notes", limit=10, cursor=page.cursor)
        seen += [one.id for one in page.records]

    assert seen == ids


@pytest.mark.parametrize("cursor", ["", "x", "WzFd", "eyJhIjogMX0=", "☃"])
def test_a_foreign_cursor_is_refused(store: VectorStore, cursor: str) -> None:
    with pytest.raises(InvalidInputError, match="cursor"):
        store.scroll("notes", cursor=cursor)


def test_deleting_by_ids_counts_what_was_there(store: VectorStore) -> None:
    _abc(store)

    assert store.delete("notes", ["a", "a", "absent"]) == 1
    assert store.delete("notes", []) == 0
    assert store.count("notes") == 2


def test_deleting_by_filter_takes_what_matches_over_many_pages(store: VectorStore) -> None:
    numbers = list(range(2300))
    ids = [f"r{number}" for number in numbers]
    store.add("notes", ids, np.ones((2300, 3)), [{"n": number} for number in numbers])

    assert store.delete("notes", filter=Leaf("n", "lt", 2200)) == 2200
    assert store.count("notes") == 100


def test_a_deletion_names_what_it_deletes(store: VectorStore) -> None:
    _abc(store)

    with pytest.raises(EmptySelectorError):
        store.delete("notes")
    with pytest.raises(InvalidInputError):
        store.delete("notes", ["a"], filter=Leaf("n", "eq", 1))
    assert store.count("notes") == 3


def test_payloads_are_merged_by_key_and_vectors_stay(store: VectorStore) -> None:
    _abc(store)
    store.update_payloads("notes", {"a": {"n": None, "new": [1]}, "b": {"text": "beta"}})

    first, second = store.get("notes", ["a", "b"], with_vectors=True)

    assert first is not None
    assert second is not None
    assert first.payload == {"text": "alpha", "n": None, "new": [1]}
    assert second.payload == {"text": "beta", "n": 2, "tags": ["x"]}
    assert first.vector is not None
    assert first.vector.tolist() == [1.0, 0.0, 0.0]


def test_replacing_a_payload_removes_its_keys(store: VectorStore) -> None:
    _abc(store)
    store.update_payloads("notes", {"a": {"m": 1}}, replace=True)

    (record,) = store.get("notes", ["a"])

    assert record is not None
    assert record.payload == {"m": 1}


def test_updating_payloads_is_all_or_nothing(store: VectorStore) -> None:
    _abc(store)

    with pytest.raises(NotFoundError) as raised:
        store.update_payloads("notes", {"a": {"n": 9}, "absent": {}})
    with pytest.raises(InvalidInputError, match="'b'"):
        store.update_payloads("notes", {"a": {"n": 9}, "b": {"n": object()}})

    (record,) = store.get("notes", ["a"])
    assert raised.value.details["ids"] == ["absent"]
    assert record is not None
    assert record.payload["n"] == 1


def test_updating_a_payload_keeps_all_else_of_the_memory(store: VectorStore, database: Database) -> None:
    engine = database.space("notes")
    vector = np.array([1, 0, 0], np.float32)
    before = Item(id="m", content="text", vector=vector, user_id="ann", kind="semantic", event_time=5, content_hash=99)
    engine.insert([Write(before)])
    engine.update_fields([FieldUpdate("m", set={"importance": 0.9})])

    store.update_payloads("notes", {"m": {"k": 1}})
    (same_text,) = engine.get(["m"])
    store.update_payloads("notes", {"m": {"text": "other"}})
    (other_text,) = engine.get(["m"])

    assert same_text is not None
    assert other_text is not None
    assert (same_text.user_id, same_text.kind, same_text.event_time, same_text.importance) == (
        "ann", "semantic", 5, 0.9
    )  # fmt: skip
    assert same_text.content_hash == 99
    assert other_text.content_hash == 0
    assert other_text.version == 3


def test_a_change_that_meets_another_writer_is_tried_again(
    store: VectorStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _abc(store)
    engine = database.space("notes")
    get, interrupted = engine.get, []

    def get_and_be_overtaken(ids: Any, **options: Any) -> Any:
        found = get(ids, **options)
        if not interrupted:
            interrupted.append(True)
            store.add("notes", ["a"], [[0, 1, 0]], [{"from": "another"}])
        return found

    monkeypatch.setattr(engine, "get", get_and_be_overtaken)
    store.update_payloads("notes", {"a": {"mine": 1}})

    (record,) = store.get("notes", ["a"])
    assert record is not None
    assert record.payload == {"from": "another", "mine": 1}


def test_records_are_there_after_the_database_was_closed(tmp_path: Path) -> None:
    with Database(tmp_path / "again") as database:
        store = T4DXVectorStore(database, text_key="document")
        store.create_collection("notes", 2)
        store.add("notes", ["a"], [[3, 4]], [{"document": "kept", "text": "an ordinary key"}])

    with Database(tmp_path / "again") as database:
        (hit,) = T4DXVectorStore(database, text_key="document").search("notes", [3, 4], with_vectors=True)

    assert hit.payload == {"document": "kept", "text": "an ordinary key"}
    assert hit.vector is not None
    assert hit.vector.tolist() == [3.0, 4.0]
