"""Every promise of the memory backend, once, over HTTP and in this process."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from t4dm._backend import MemoryBackend
from t4dm.sdk import ConflictError, NotFoundError, ValidationError
from t4dm.sdk import models as m


def _filter(field: str, op: str, value: object = None) -> m.Filter:
    return m.Filter.model_validate({"field": field, "op": op, "value": value})


def test_both_are_memory_backends(backend: MemoryBackend) -> None:
    assert isinstance(backend, MemoryBackend)
    assert backend.version().api == "1"
    assert backend.health().status == "ok"
    assert backend.health().embedder.state == "ready"


def test_store_answers_the_memory_and_what_it_did(backend: MemoryBackend, space: str) -> None:
    first = backend.store(m.StoreRequest(content="tea at four", metadata={"a": [1]}, user_id="ann", space=space))
    again = backend.store(m.StoreRequest(content="  tea  at four ", user_id="ann", space=space))
    other = backend.store(m.StoreRequest(content="tea at four", user_id="bob", space=space))
    replaced = backend.store(m.StoreRequest(id=first.id, content="tea at five", user_id="ann", space=space))

    assert (first.status, first.version, first.metadata) == ("created", 1, {"a": [1]})
    assert (again.status, again.id, again.access_count) == ("duplicate", first.id, 1)
    assert other.status == "created"
    assert (replaced.status, replaced.version, replaced.created_at) == ("updated", 2, first.created_at)
    assert replaced.updated_at > first.updated_at
    assert replaced.metadata == {}


def test_dedup_can_be_turned_off_and_ids_are_never_deduplicated(backend: MemoryBackend, space: str) -> None:
    texts = [
        m.StoreRequest(content="same", space=space),
        m.StoreRequest(content="same", space=space, dedup="off"),
        m.StoreRequest(content="same", space=space, id="mine"),
        m.StoreRequest(content="", space=space),
        m.StoreRequest(content="", space=space),
    ]
    assert [backend.store(text).status for text in texts] == ["created"] * 5


def test_a_text_that_was_true_once_is_stored_again_when_it_is_true_anew(backend: MemoryBackend, space: str) -> None:
    text = "Bob lives in Rome"
    times = [(2020, 2023), (2025, None), (2026, None), (2022, 2024)]
    stored = [
        backend.store(
            m.StoreRequest(
                content=text,
                space=space,
                valid_from=datetime(start, 1, 1, tzinfo=UTC),
                valid_to=None if end is None else datetime(end, 1, 1, tzinfo=UTC),
            )
        )
        for start, end in times
    ]

    assert [one.status for one in stored] == ["created", "created", "duplicate", "duplicate"]
    assert [stored[2].id, stored[3].id] == [stored[1].id, stored[0].id]


def test_batch_is_all_or_nothing_and_in_order(backend: MemoryBackend, space: str) -> None:
    answer = backend.batch(
        m.BatchRequest(
            space=space,
            records=[m.RecordIn(content="one"), m.RecordIn(id="two", content="two"), m.RecordIn(content="one")],
        )
    )
    assert [one.status for one in answer.results] == ["created", "created", "duplicate"]
    assert answer.results[0].id == answer.results[2].id

    with pytest.raises(ConflictError) as refused:
        backend.batch(
            m.BatchRequest(
                space=space, on_conflict="error", records=[m.RecordIn(id="new", content="x"), m.RecordIn(id="two")]
            )
        )
    assert refused.value.details["id"] == "two"
    assert [one.id for one in backend.get_many(m.GetRequest(ids=["new", "two"], space=space))] == ["two"]


def test_an_empty_batch_is_an_empty_answer(backend: MemoryBackend, space: str) -> None:
    backend.create_space(space)
    assert backend.batch(m.BatchRequest(records=[], space=space)).results == []


def test_merge_keeps_what_is_not_given(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="a", content="text", metadata={"x": 1, "y": 2}, importance=0.9, space=space))
    record = m.RecordIn(id="a", metadata={"y": 3})
    answer = backend.batch(m.BatchRequest(records=[record], on_conflict="merge", space=space))

    merged = backend.get("a", space=space)
    assert answer.results[0].status == "updated"
    assert (merged.content, merged.metadata, merged.importance) == ("text", {"x": 1, "y": 3}, 0.9)
    assert backend.search(m.SearchRequest(query="text", space=space)).results[0].memory.id == "a"


def test_storing_again_what_is_there_makes_no_version(backend: MemoryBackend, space: str) -> None:
    record = m.RecordIn(
        id="a", content="the cat sleeps", metadata={"x": [1]}, event_time=datetime(2024, 1, 1, tzinfo=UTC), pinned=True
    )
    backend.batch(m.BatchRequest(records=[record], space=space))
    backend.touch(m.TouchRequest(ids=["a"], space=space))
    other = record.model_copy(update={"id": "b"})

    again = backend.batch(m.BatchRequest(records=[record, other], space=space)).results
    merged = backend.batch(
        m.BatchRequest(records=[m.RecordIn(id="a", pinned=True)], on_conflict="merge", space=space)
    ).results
    twice = backend.batch(
        m.BatchRequest(records=[record, record.model_copy(update={"content": "it wakes"}), record], space=space)
    ).results

    assert [(one.status, one.version) for one in again] == [("duplicate", 1), ("created", 1)]
    assert [(one.status, one.version) for one in merged] == [("duplicate", 1)]
    assert [(one.status, one.version) for one in twice] == [("updated", 2), ("updated", 3), ("updated", 4)]
    assert backend.get("b", space=space).access_count == 0
    assert len(backend.history("b", space=space)) == 1


@pytest.mark.parametrize("key", ["", "schlüssel", "k" * 5000, "a\nb", 5])
def test_a_key_that_no_header_can_carry_is_refused(backend: MemoryBackend, space: str, key: Any) -> None:
    with pytest.raises(ValidationError, match="idempotency key"):
        backend.store(m.StoreRequest(content="x", space=space), idempotency_key=key)


@pytest.mark.parametrize("wrong", ["", None, 5, "x" * 513, "\ud800"])
def test_what_is_no_id_is_refused_and_not_looked_for(backend: MemoryBackend, wrong: Any) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: backend.get(wrong),
        lambda: backend.update(wrong, m.UpdateRequest(content="x")),
        lambda: backend.delete(wrong),
        lambda: backend.history(wrong),
        lambda: backend.get("a", space=wrong),
        lambda: backend.get_space(wrong),
        lambda: backend.delete_space(wrong),
    ]
    for call in calls:
        with pytest.raises(ValidationError):
            call()


def test_an_idempotency_key_of_a_purged_memory_says_that_it_is_gone(backend: MemoryBackend, space: str) -> None:
    key = str(uuid.uuid4())
    request = m.StoreRequest(content="once", space=space)
    stored = backend.store(request, idempotency_key=key)
    backend.delete(stored.id, space=space, purge=True)

    with pytest.raises(ConflictError, match="has been purged") as gone:
        backend.store(request, idempotency_key=key)

    assert gone.value.code == "gone"
    assert gone.value.details["id"] == stored.id
    assert backend.store(request, idempotency_key=str(uuid.uuid4())).status == "created"


def test_an_idempotency_key_returns_the_first_answer(backend: MemoryBackend, space: str) -> None:
    key = str(uuid.uuid4())
    request = m.StoreRequest(content="once", dedup="off", space=space)
    first = backend.store(request, idempotency_key=key)
    backend.update(first.id, m.UpdateRequest(content="changed since"), space=space)

    second = backend.store(request, idempotency_key=key)

    assert second == first
    with pytest.raises(ConflictError) as refused:
        backend.store(m.StoreRequest(content="something else", space=space), idempotency_key=key)
    assert refused.value.code == "idempotency_mismatch"
    assert backend.list(m.ListRequest(space=space)).total == 1


def test_get_many_keeps_order_and_leaves_out_what_is_missing(backend: MemoryBackend, space: str) -> None:
    for name in "abc":
        backend.store(m.StoreRequest(id=name, content=name, space=space))
    found = backend.get_many(m.GetRequest(ids=["c", "zzz", "a"], space=space))
    assert [one.id for one in found] == ["c", "a"]
    with pytest.raises(NotFoundError):
        backend.get("zzz", space=space)


def test_update_makes_a_version_and_learning_state_does_not(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="a", content="the cat sleeps", metadata={"x": 1, "y": 1}, space=space))
    learned = backend.update("a", m.UpdateRequest(importance=0.8, pinned=True), space=space)
    changed = backend.update("a", m.UpdateRequest(content="the dog barks", metadata={"y": 2}), space=space)
    same = backend.update("a", m.UpdateRequest(content="the dog barks"), space=space)
    replaced = backend.update("a", m.UpdateRequest(metadata={"z": 0}, metadata_mode="replace"), space=space)

    assert (learned.version, learned.importance, learned.pinned) == (1, 0.8, True)
    assert (changed.version, changed.metadata, changed.importance) == (2, {"x": 1, "y": 2}, 0.8)
    assert same.version == 2
    assert (replaced.version, replaced.metadata) == (3, {"z": 0})
    hit = backend.search(m.SearchRequest(query="the dog barks", space=space)).results[0]
    assert hit.similarity == pytest.approx(1.0, abs=1e-6)


def test_update_of_an_expected_version_refuses_another(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="a", content="one", space=space))
    backend.update("a", m.UpdateRequest(content="two", expected_version=1), space=space)
    with pytest.raises(ConflictError) as refused:
        backend.update("a", m.UpdateRequest(content="three", expected_version=1), space=space)
    assert refused.value.details["found"] == 2
    with pytest.raises(NotFoundError):
        backend.update("zzz", m.UpdateRequest(content="x"), space=space)


def test_expiry_hides_and_null_clears_it(backend: MemoryBackend, space: str) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    backend.store(m.StoreRequest(id="old", content="milk", expires_at=past, space=space))
    backend.store(m.StoreRequest(id="new", content="milk", ttl_s=3600, space=space))

    assert [one.id for one in backend.list(m.ListRequest(space=space)).results] == ["new"]
    assert backend.list(m.ListRequest(space=space, show_expired=True)).total == 2
    assert [hit.memory.id for hit in backend.search(m.SearchRequest(query="milk", space=space)).results] == ["new"]
    with pytest.raises(NotFoundError):
        backend.get("old", space=space)
    assert backend.update("old", m.UpdateRequest(expires_at=None), space=space).expires_at is None
    assert backend.get("old", space=space).content == "milk"


def test_the_past_can_be_asked_on_both_axes(backend: MemoryBackend, space: str) -> None:
    first = backend.store(
        m.StoreRequest(
            id="home", content="lives in Oslo", space=space,
            valid_from=datetime(2020, 1, 1, tzinfo=UTC), valid_to=datetime(2024, 1, 1, tzinfo=UTC),
        )
    )  # fmt: skip
    backend.store(
        m.StoreRequest(id="home2", content="lives in Bergen", space=space, valid_from=datetime(2024, 1, 1, tzinfo=UTC))
    )
    changed = backend.update("home", m.UpdateRequest(content="lived in Oslo"), space=space)
    backend.delete("home", space=space)

    known = [first.recorded_at, changed.recorded_at]
    assert [backend.get("home", space=space, known_at=at).content for at in known] == ["lives in Oslo", "lived in Oslo"]
    with pytest.raises(NotFoundError):
        backend.get("home", space=space)
    as_of_2022 = datetime(2022, 6, 1, tzinfo=UTC)
    at_first = m.SearchRequest(query="lives", space=space, as_of=as_of_2022, known_at=first.recorded_at)
    assert [hit.memory.id for hit in backend.search(at_first).results] == ["home"]
    now = m.ListRequest(space=space, as_of=as_of_2022)
    assert backend.list(now).results == []
    assert [one.id for one in backend.list(m.ListRequest(space=space, as_of=datetime.now(UTC))).results] == ["home2"]


def test_history_tells_the_whole_life(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="a", content="one", space=space))
    backend.update("a", m.UpdateRequest(content="two"), space=space)
    backend.delete("a", space=space)
    backend.store(m.StoreRequest(id="a", content="three", space=space))

    told = backend.history("a", space=space)

    assert [(entry.event, entry.version) for entry in told] == [("ADD", 1), ("UPDATE", 2), ("DELETE", 2), ("ADD", 3)]
    assert told[1].old is not None
    assert told[1].old.content == "one"
    assert told[2].new is None
    with pytest.raises(NotFoundError):
        backend.history("zzz", space=space)


def test_delete_by_selection(backend: MemoryBackend, space: str) -> None:
    for number in range(10):
        backend.store(
            m.StoreRequest(
                id=str(number), content=f"fact {number}", metadata={"n": number}, namespace=["a", str(number % 2)], space=space
            )
        )  # fmt: skip
    by_filter = m.DeleteRequest(space=space, filter=_filter("n", "gte", 8), dry_run=True)
    assert backend.delete_many(by_filter).deleted == 2
    assert backend.list(m.ListRequest(space=space)).total == 10
    assert backend.delete_many(by_filter.model_copy(update={"dry_run": False})).deleted == 2
    assert backend.delete_many(m.DeleteRequest(space=space, namespace_prefix=["a", "1"])).deleted == 4
    only_some = m.DeleteRequest(space=space, ids=["0", "2", "nope"], filter=_filter("n", "lt", 2))
    assert backend.delete_many(only_some).deleted == 1
    assert backend.delete_many(m.DeleteRequest(space=space, ids=["2", "nope"])).deleted == 1
    with pytest.raises(ValidationError):
        backend.delete_many(m.DeleteRequest(space=space))
    assert backend.delete_many(m.DeleteRequest(space=space, all=True)).deleted == 2
    with pytest.raises(NotFoundError):
        backend.delete("0", space=space)


def test_filters_are_evaluated_before_ranking(backend: MemoryBackend, space: str) -> None:
    records = [m.RecordIn(id=f"{n:03}", content=f"river stone {n}", metadata={"even": n % 2 == 0}) for n in range(60)]
    records += [
        m.RecordIn(id=f"far-{n}", content=f"unrelated {n}", metadata={"rare": True}, user_id="ann") for n in range(3)
    ]
    backend.batch(m.BatchRequest(records=records, space=space))

    rare = backend.search(m.SearchRequest(query="river stone", k=3, filter=_filter("rare", "eq", True), space=space))
    scoped = backend.search(m.SearchRequest(query="river stone", k=50, scopes=[m.Owner(user_id="ann")], space=space))
    even = backend.search(m.SearchRequest(query="river stone", k=30, filter=_filter("even", "eq", True), space=space))

    assert {hit.memory.id for hit in rare.results} == {"far-0", "far-1", "far-2"}
    assert {hit.memory.id for hit in scoped.results} == {"far-0", "far-1", "far-2"}
    assert len(even.results) == 30
    assert all(hit.memory.metadata["even"] for hit in even.results)
    paged = m.SearchRequest(query="river stone", k=10, offset=5, filter=_filter("even", "eq", True), space=space)
    assert [hit.memory.id for hit in backend.search(paged).results] == [hit.memory.id for hit in even.results[5:15]]


def test_scores_lie_between_zero_and_one_and_explain_themselves(backend: MemoryBackend, space: str) -> None:
    for text in ("river stone", "river", "lamp"):
        backend.store(m.StoreRequest(content=text, value={"t": text}, space=space))
    request = m.SearchRequest(query="river stone", include=["explain", "value", "vector"], space=space)
    hits = backend.search(request).results
    assert [hit.memory.content for hit in hits][:2] == ["river stone", "river"]
    for hit in hits:
        assert 0 <= hit.score <= 1
        assert hit.explain is not None
        assert sum(hit.explain.values()) == pytest.approx(hit.score)
        assert hit.memory.value == {"t": hit.memory.content}
        assert hit.memory.vector is not None
    least = hits[1].score
    kept = backend.search(request.model_copy(update={"min_score": least})).results
    assert [hit.score for hit in kept] == [hit.score for hit in hits if hit.score >= least]
    plain = backend.search(m.SearchRequest(query="river stone", space=space)).results[0]
    assert (plain.explain, plain.memory.value, plain.memory.vector) == (None, None, None)


def test_lists_page_without_gaps_or_repeats(backend: MemoryBackend, space: str) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    records = [
        m.RecordIn(id=f"{n:02}", content=f"n {n}", event_time=start + timedelta(days=n * 7 % 25)) for n in range(25)
    ]
    backend.batch(m.BatchRequest(records=records, space=space))
    for order in ("insertion", "-insertion", "created_at", "-created_at", "event_time", "-event_time"):
        whole = [one.id for one in backend.list(m.ListRequest(order_by=order, space=space)).results]  # type: ignore[arg-type]
        assert len(set(whole)) == 25
        paged: list[str] = []
        cursor = None
        while True:
            page = backend.list(m.ListRequest(order_by=order, limit=7, cursor=cursor, space=space))  # type: ignore[arg-type]
            assert page.total == 25
            paged += [one.id for one in page.results]
            cursor = page.cursor
            if cursor is None:
                break
        assert paged == whole
        skipped = backend.list(m.ListRequest(order_by=order, limit=5, offset=20, space=space))  # type: ignore[arg-type]
        assert [one.id for one in skipped.results] == whole[20:]
    by_time = backend.list(m.ListRequest(order_by="event_time", space=space)).results
    assert [one.event_time for one in by_time] == sorted(one.event_time for one in by_time)


def test_touch_counts_uses(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="a", content="x", space=space))
    assert backend.touch(m.TouchRequest(ids=["a", "nope"], space=space)) == 1
    assert backend.touch(m.TouchRequest(ids=["a"], space=space)) == 1
    memory = backend.get("a", space=space)
    assert memory.access_count == 2
    assert memory.last_accessed is not None


def test_touch_can_leave_alone_what_never_expires(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="for good", content="x", space=space))
    backend.store(m.StoreRequest(id="for a while", content="y", ttl_s=60, space=space))
    ids = ["for good", "for a while", "nope"]

    assert backend.touch(m.TouchRequest(ids=ids, ttl_s=3600, only_expiring=True, space=space)) == 1

    kept, extended = backend.get_many(m.GetRequest(ids=ids, space=space))
    assert (kept.expires_at, kept.access_count) == (None, 0)
    assert extended.expires_at is not None
    assert extended.expires_at > datetime.now(UTC) + timedelta(minutes=50)
    assert backend.touch(m.TouchRequest(ids=ids, ttl_s=3600, space=space)) == 2
    assert backend.get("for good", space=space).expires_at is not None


def test_spaces_are_created_listed_refused_and_deleted(backend: MemoryBackend, space: str) -> None:
    made = backend.create_space(space, m.SpaceRequest(dimension=6, embedder="client"))
    assert (made.dimension, made.embedder, made.model, made.items) == (6, "client", None, 0)
    assert backend.create_space(space, m.SpaceRequest(dimension=6, embedder="client")) == made
    with pytest.raises(ConflictError):
        backend.create_space(space, m.SpaceRequest(dimension=7, embedder="client"))
    with pytest.raises(ConflictError) as refused:
        backend.store(m.StoreRequest(vector=[1, 2], space=space))
    assert refused.value.code == "dimension_mismatch"
    assert (refused.value.details["stored"], refused.value.details["given"]) == (6, 2)
    assert space in {one.name for one in backend.list_spaces()}
    backend.delete_space(space)
    with pytest.raises(NotFoundError):
        backend.get_space(space)
    with pytest.raises(NotFoundError):
        backend.delete_space(space)


def test_a_record_may_have_no_vector(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="silent", content="river", embed=False, space=space))
    backend.store(m.StoreRequest(id="spoken", content="river", space=space))
    by_meaning = backend.search(m.SearchRequest(query="river", space=space, mode="vector")).results
    by_words = backend.search(m.SearchRequest(query="river", space=space, mode="lexical")).results
    assert [hit.memory.id for hit in by_meaning] == ["spoken"]
    assert {hit.memory.id for hit in by_words} == {"spoken", "silent"}
    assert backend.list(m.ListRequest(space=space)).total == 2


def test_export_gives_everything_in_order(backend: MemoryBackend, space: str) -> None:
    records = [m.RecordIn(id=f"{n:04}", content=f"n {n}", value=n) for n in range(1200)]
    backend.batch(m.BatchRequest(records=records, space=space))
    exported = list(backend.export(space=space))
    assert [one.id for one in exported] == [record.id for record in records]
    assert [one.value for one in exported] == list(range(1200))
    assert exported[0].vector is not None
    assert next(iter(backend.export(space=space, include_vectors=False))).vector is None
    with pytest.raises(NotFoundError):
        list(backend.export(space="nowhere"))


def test_stats_count_what_is_there(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="a", content="x", kind="semantic", kappa=0.9, space=space))
    backend.store(m.StoreRequest(id="b", content="y", space=space))
    backend.update("b", m.UpdateRequest(content="z"), space=space)
    backend.store(m.StoreRequest(id="c", content="w", space=space))
    backend.delete("c", space=space)
    (mine,) = [one for one in backend.stats().spaces if one.space == space]
    assert (mine.items, mine.versions) == (2, 4)
    assert (mine.by_kind["semantic"], mine.by_kind["episodic"]) == (1, 1)
    assert sum(mine.by_kappa.values()) == 2
