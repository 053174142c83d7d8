"""Every promise about chat histories, once, over HTTP and in this process."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pydantic
import pytest

from t4dm._backend import MemoryBackend
from t4dm.sdk import ConflictError, NotFoundError, ValidationError
from t4dm.sdk import models as m
from t4dm.sdk import session_models as s

ODD_IDS = [
    "1",
    ".",
    "..",
    "a/b c",
    "ключ/鍵/🔑",
    "a?b#c%2F",
    "%",
    "+ &=;",
    "line\nbreak",
    " lead",
    "restore",
    "messages",
    "é" * 256,
]
VALUES: list[Any] = [
    {"role": "user", "content": "ü 🎈 \u2028\u0000", "tool_calls": [{"id": None, "args": "{}"}]},
    "text",
    "",
    None,
    True,
    0,
    -0.0,
    1.0,
    5e-324,
    2**80,
    [],
    {},
    [[1, 2.5], {"": {"b": []}}],
]


def _append(backend: MemoryBackend, space: str, *values: Any, session: str = "s", key: str | None = None) -> list[int]:
    request = s.AppendRequest(messages=list(values), space=space)
    return [one.seq for one in backend.append_messages(session, request, idempotency_key=key).results]


def _page(backend: MemoryBackend, space: str, session: str = "s", **given: int) -> s.MessagePage:
    return backend.messages(session, s.MessagesRequest(space=space, **given))


def _values(backend: MemoryBackend, space: str, session: str = "s", **given: int) -> list[Any]:
    return [one.value for one in _page(backend, space, session, **given).results]


def test_messages_come_back_in_order_and_verbatim(backend: MemoryBackend, space: str) -> None:
    before = datetime.now(UTC)

    assert _append(backend, space, *VALUES[:5]) == [1, 2, 3, 4, 5]
    assert _append(backend, space, *VALUES[5:]) == list(range(6, len(VALUES) + 1))

    page = _page(backend, space)
    assert json.dumps([one.value for one in page.results]) == json.dumps(VALUES)
    assert [one.seq for one in page.results] == list(range(1, len(VALUES) + 1))
    assert (page.session_id, page.space, page.total, page.after) == ("s", space, len(VALUES), None)
    times = [one.created_at for one in page.results]
    assert times == sorted(times)
    assert all(abs(time - before) < timedelta(minutes=5) for time in times)


def test_a_part_is_chosen_by_number_from_either_end(backend: MemoryBackend, space: str) -> None:
    _append(backend, space, *range(1, 11))

    assert _values(backend, space, limit=3) == [1, 2, 3]
    assert _values(backend, space, last=3) == [8, 9, 10]
    assert _values(backend, space, after=7) == [8, 9, 10]
    assert _values(backend, space, before=4) == [1, 2, 3]
    assert _values(backend, space, after=2, before=9, last=2) == [7, 8]
    assert _values(backend, space, after=10) == _values(backend, space, before=1) == []
    assert _page(backend, space, after=2, before=9, last=2).total == 6
    assert _page(backend, space, last=3).after is None
    with pytest.raises(pydantic.ValidationError, match="not both"):
        s.MessagesRequest(limit=1, last=1)


def test_pages_follow_each_other_without_gap_or_overlap(backend: MemoryBackend, space: str) -> None:
    _append(backend, space, *range(250))  # more than the store is read by at once
    found: list[Any] = []
    after: int | None = 0

    while after is not None:
        page = _page(backend, space, after=after, limit=120)
        found += [one.value for one in page.results]
        after = page.after

    assert found == list(range(250))
    assert _values(backend, space, last=240) == list(range(10, 250))
    assert len(_values(backend, space)) == 100


def test_a_session_that_was_never_written_to_is_empty(backend: MemoryBackend, space: str) -> None:
    assert _page(backend, space) == s.MessagePage(session_id="s", space=space, results=[], total=0)
    assert backend.sessions(s.SessionsRequest(space=space)).results == []
    assert backend.clear_messages("s", space=space) == 0


def test_appending_nothing_does_nothing(backend: MemoryBackend, space: str) -> None:
    answer = backend.append_messages("s", s.AppendRequest(messages=[], space=space))

    assert (answer.results, answer.replayed) == ([], False)
    assert backend.sessions(s.SessionsRequest(space=space)).total == 0


def test_one_message_that_cannot_be_stored_refuses_all(backend: MemoryBackend, space: str) -> None:
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    for bad in (deep, "x" * (m.MAX_VALUE_BYTES + 1)):
        with pytest.raises(ValidationError) as refused:
            _append(backend, space, "fine", bad)
        assert refused.value.status == 422
        assert refused.value.details["field"] == "messages.1"

    assert _values(backend, space) == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "\ud800", {"a": ["\udfff"]}, object(), b"bytes"])
def test_what_is_no_json_is_refused_before_it_travels(bad: Any) -> None:
    with pytest.raises(pydantic.ValidationError):
        s.AppendRequest(messages=[bad])


def test_a_message_as_large_as_a_value_may_be_comes_back(backend: MemoryBackend, space: str) -> None:
    large = "x" * (m.MAX_VALUE_BYTES - 2)

    _append(backend, space, large)

    assert _values(backend, space) == [large]


def test_a_page_of_huge_messages_ends_early_and_says_where_to_go_on(backend: MemoryBackend, space: str) -> None:
    for number in range(5):
        _append(backend, space, f"{number}" * 7_500_000)

    first = _page(backend, space, limit=5)
    rest = _page(backend, space, limit=5, after=first.after or 0)

    assert [one.seq for one in first.results] == [1, 2, 3, 4]
    assert (first.total, first.after) == (5, 4)
    assert [one.seq for one in rest.results] == [5]
    assert [one.seq for one in _page(backend, space, last=5).results] == [2, 3, 4, 5]


@pytest.mark.parametrize("session", ODD_IDS, ids=range(len(ODD_IDS)))
def test_any_string_is_a_session(backend: MemoryBackend, space: str, session: str) -> None:
    _append(backend, space, "mine", session=session)
    _append(backend, space, "another's", session=f"{session[:100]}x")

    assert _values(backend, space, session) == ["mine"]
    assert {one.id for one in backend.sessions(s.SessionsRequest(space=space)).results} >= {session}
    assert backend.clear_messages(session, space=space) == 1
    assert _values(backend, space, session) == []


@pytest.mark.parametrize("session", ["", "é" * 257, "\ud800"])
def test_what_is_no_name_of_a_session_is_refused(backend: MemoryBackend, space: str, session: str) -> None:
    with pytest.raises(ValidationError):
        _append(backend, space, "x", session=session)
    with pytest.raises(ValidationError):
        backend.messages(session)
    with pytest.raises(ValidationError):
        backend.clear_messages(session)


def test_a_session_belongs_to_its_space(backend: MemoryBackend, space: str) -> None:
    _append(backend, space, "here")
    _append(backend, f"{space}-2", "there", "and there")

    assert _values(backend, space) == ["here"]
    assert _values(backend, f"{space}-2") == ["there", "and there"]
    assert backend.clear_messages("s", space=space) == 1
    assert _values(backend, f"{space}-2") == ["there", "and there"]


def test_a_session_makes_no_space_of_memories(backend: MemoryBackend, space: str) -> None:
    _append(backend, space, "x")

    assert {"t4dm:messages", space}.isdisjoint(one.name for one in backend.list_spaces())
    with pytest.raises(NotFoundError):
        backend.get_space(space)
    backend.store(m.StoreRequest(id="1", content="", vector=[1.0, 0.0], space=space))
    assert backend.get_space(space).dimension == 2


def test_the_store_keeps_its_own_space_to_itself(backend: MemoryBackend, space: str) -> None:
    _append(backend, space, "x")
    internal = "t4dm:messages"

    with pytest.raises(NotFoundError):
        backend.get_space(internal)
    with pytest.raises(NotFoundError):
        backend.delete_space(internal)
    with pytest.raises(NotFoundError):
        backend.list(m.ListRequest(space=internal))
    with pytest.raises(NotFoundError):
        backend.delete_many(m.DeleteRequest(space=internal, all=True))
    with pytest.raises(ValidationError):
        backend.create_space(internal)
    with pytest.raises(ValidationError):
        backend.store(m.StoreRequest(content="x", space=internal))
    assert _values(backend, space) == ["x"]


def test_clearing_forgets_and_numbers_go_on(backend: MemoryBackend, space: str) -> None:
    _append(backend, space, "a", "b", "c")

    assert backend.clear_messages("s", space=space) == 3
    assert backend.clear_messages("s", space=space) == 0

    assert _page(backend, space).total == 0
    assert backend.sessions(s.SessionsRequest(space=space)).total == 0
    assert _append(backend, space, "d") == [4]
    assert backend.clear_messages("s", space=space) == 1
    assert _append(backend, space, "e") == [5]
    assert _values(backend, space) == ["e"]


def test_deleting_a_space_forgets_its_sessions(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(content="x", space=space))
    _append(backend, space, "a", "b")
    _append(backend, f"{space}-2", "stays")

    backend.delete_space(space)

    assert _values(backend, space) == []
    assert _values(backend, f"{space}-2") == ["stays"]
    assert _append(backend, space, "new") == [1]
    backend.delete_space(space)  # it holds a message, and no memories
    with pytest.raises(NotFoundError):
        backend.delete_space(space)


def test_the_same_key_appends_once(backend: MemoryBackend, space: str) -> None:
    request = s.AppendRequest(messages=["a", "b"], space=space)
    first = backend.append_messages("s", request, idempotency_key="k")
    _append(backend, space, "c")

    again = backend.append_messages("s", request, idempotency_key="k")
    other = backend.append_messages("t", request, idempotency_key="k")

    assert again.replayed
    assert again.results == first.results
    assert not first.replayed
    assert not other.replayed
    assert _values(backend, space) == ["a", "b", "c"]
    assert _append(backend, space, "d") == [4]
    with pytest.raises(ConflictError) as refused:
        _append(backend, space, "something else", key="k")
    assert refused.value.code == "idempotency_mismatch"


def test_many_writers_of_one_session_lose_nothing_and_share_no_number(backend: MemoryBackend, space: str) -> None:
    def write(writer: int) -> list[list[int]]:
        return [_append(backend, space, f"{writer}.{n}.a", f"{writer}.{n}.b") for n in range(10)]

    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(write, range(8)))

    found = {one.seq: one.value for one in _page(backend, space, limit=1000).results}
    assert sorted(found) == list(range(1, 161))
    for writer, batches in enumerate(given):
        assert batches == sorted(batches)
        for n, (one, two) in enumerate(batches):
            assert two == one + 1
            assert (found[one], found[two]) == (f"{writer}.{n}.a", f"{writer}.{n}.b")


def test_clearing_beside_writers_gives_no_number_twice(backend: MemoryBackend, space: str) -> None:
    def write(writer: int) -> list[int]:
        return [seq for n in range(15) for seq in _append(backend, space, f"{writer}.{n}")]

    with ThreadPoolExecutor(5) as pool:
        writers = [pool.submit(write, writer) for writer in range(4)]
        cleared = sum(pool.submit(backend.clear_messages, "s", space=space).result(30) for _ in range(5))
        given = sorted(seq for one in writers for seq in one.result(30))

    assert given == list(range(1, 61))
    assert cleared + _page(backend, space, limit=1000).total == 60


def test_sessions_are_listed_the_newest_first_page_by_page(backend: MemoryBackend, space: str) -> None:
    for name in ("one", "two", "three", "one"):
        _append(backend, space, "x", "y", session=name)
    backend.clear_messages("two", space=space)

    listed = backend.sessions(s.SessionsRequest(space=space))
    second = backend.sessions(s.SessionsRequest(space=space, limit=1, offset=1))

    one, three = listed.results
    assert (one.id, one.messages, one.first_seq, one.last_seq) == ("one", 4, 1, 4)
    assert one.first_at < three.first_at <= three.last_at < one.last_at
    assert (three.id, three.messages) == ("three", 2)
    assert listed.total == second.total == 2
    assert second.results == [three]


def test_messages_are_put_back_where_they_were(backend: MemoryBackend, space: str) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)

    def one(seq: int, value: Any, session: str = "s") -> s.RestoredMessage:
        return s.RestoredMessage(session_id=session, space=space, seq=seq, created_at=past, value=value)

    request = s.RestoreRequest(messages=[one(3, "c"), one(1, "a"), one(7, "t", "t"), one(1, "a")])

    assert backend.restore_messages(request) == s.RestoreAnswer(created=3, duplicate=1)
    assert backend.restore_messages(request) == s.RestoreAnswer(created=0, duplicate=4)

    assert [(got.seq, got.value, got.created_at) for got in _page(backend, space).results] == [
        (1, "a", past),
        (3, "c", past),
    ]
    assert _append(backend, space, "d") == [4]
    assert _append(backend, space, "u", session="t") == [8]
    with pytest.raises(ConflictError) as refused:
        backend.restore_messages(s.RestoreRequest(messages=[one(2, "b"), one(3, "not c")]))
    assert refused.value.details.items() >= {"session_id": "s", "space": space, "seq": 3}.items()
    with pytest.raises(ConflictError):
        backend.restore_messages(s.RestoreRequest(messages=[one(9, "x"), one(9, "y")]))
    assert _values(backend, space) == ["a", "c", "d"]
    assert backend.restore_messages(s.RestoreRequest(messages=[])) == s.RestoreAnswer(created=0, duplicate=0)


def test_what_was_cleared_can_be_put_back_and_numbers_still_go_on(backend: MemoryBackend, space: str) -> None:
    _append(backend, space, "a", "b", "c")
    saved = [
        s.RestoredMessage(session_id="s", space=space, seq=one.seq, created_at=one.created_at, value=one.value)
        for one in _page(backend, space).results[:2]
    ]
    backend.clear_messages("s", space=space)

    backend.restore_messages(s.RestoreRequest(messages=saved))

    assert _values(backend, space) == ["a", "b"]
    assert _append(backend, space, "d") == [4]


def test_a_session_whose_numbers_are_used_up_says_so(backend: MemoryBackend, space: str) -> None:
    last = s.RestoredMessage(session_id="s", space=space, seq=s.MAX_SEQ, created_at=datetime.now(UTC), value="last")
    backend.restore_messages(s.RestoreRequest(messages=[last]))

    with pytest.raises(ValidationError, match="no numbers left"):
        _append(backend, space, "one more")

    assert [one.seq for one in _page(backend, space, after=s.MAX_SEQ - 1).results] == [s.MAX_SEQ]


def test_messages_are_counted_beside_memories(backend: MemoryBackend, space: str) -> None:
    before = backend.stats()

    _append(backend, space, *range(7))

    after = backend.stats()
    assert (after.messages - before.messages, after.items - before.items) == (7, 0)
    assert "t4dm:messages" not in {one.space for one in after.spaces}
    assert after.wal_bytes > before.wal_bytes
