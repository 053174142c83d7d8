"""Mem0 over HTTP: the cloud's lists of three ages, and hosted servers, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from t4dm_daemon.core.errors import SourceError
from t4dm_daemon.sources.mem0_http import ATTEMPTS
from t4dm_daemon.sources.mem0_server import Mem0Server
from tests.support.foreign_exports import mem0_memory
from tests.support.mem0_stub import KEY, Mem0Stub, serving
from tests.unit.sources.reading import Read


@pytest.fixture
def stub(request: pytest.FixtureRequest) -> Iterator[Mem0Stub]:
    memories = [mem0_memory(n, user_id="ada" if n % 2 else "bob") for n in range(250)]
    with serving(Mem0Stub(getattr(request, "param", "v3"), memories)) as running:
        yield running


def read(stub: Mem0Stub, *owners: dict[str, str], key: str | None = KEY, pauses: list[float] | None = None) -> Read:
    waited = [] if pauses is None else pauses
    return Read(Mem0Server(stub.url, key, owners=owners, pause=waited.append).entries())


@pytest.mark.parametrize("stub", ["v3", "v2", "v1", "hosted"], indirect=True)
def test_all_memories_come_once_whatever_the_servers_age(stub: Mem0Stub) -> None:
    found = read(stub)

    assert found.wrong == []
    assert sorted(one.identity for one in found.records) == sorted(one["id"] for one in stub.memories)


@pytest.mark.parametrize("stub", ["v3", "v2", "v1", "hosted", "hosted-old"], indirect=True)
def test_only_the_owners_asked_for_come(stub: Mem0Stub) -> None:
    found = read(stub, {"user_id": "ada"}, {"user_id": "nobody"})

    assert {one.fields["user_id"] for one in found.records} == {"ada"}
    assert len(found.records) == 125
    assert found.wrong == []


def test_pages_are_followed_on_the_same_server_with_the_key_in_a_header(stub: Mem0Stub) -> None:
    read(stub)

    lists = [one for one in stub.asked if one.path == "/v3/memories/"]
    assert [one.query["page"] for one in lists] == ["1", "2", "3"]
    assert all(one.headers["authorization"] == f"Token {KEY}" for one in lists)
    assert lists[0].body == {
        "filters": {"OR": [{"user_id": "*"}, {"agent_id": "*"}, {"app_id": "*"}, {"run_id": "*"}]},
        "show_expired": True,
    }


@pytest.mark.parametrize("stub", ["v3", "hosted"], indirect=True)
@pytest.mark.parametrize("key", ["wrong", None])
def test_a_refused_key_is_told_with_where_it_comes_from(stub: Mem0Stub, key: str | None) -> None:
    with pytest.raises(SourceError, match=r"401: Given token not valid.*MEM0_API_KEY"):
        read(stub, key=key)


def test_a_busy_server_is_waited_for_as_long_as_it_says(stub: Mem0Stub) -> None:
    stub.faults, stub.retry_after = [429, 503, "cut"], "7"
    pauses: list[float] = []

    found = read(stub, pauses=pauses)

    assert len(found.records) == 250
    assert pauses[0] == 7.0
    assert len(pauses) == 3


@pytest.mark.parametrize("fault", [429, 500, "cut"])
def test_a_server_that_stays_away_ends_the_reading_with_an_error(stub: Mem0Stub, fault: int | str) -> None:
    stub.faults = [fault] * ATTEMPTS

    with pytest.raises(SourceError, match=rf"/v3/memories/: .*\(attempt {ATTEMPTS}\)"):
        read(stub)


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(SourceError, match=r"no answer: .*refused.*\(attempt 1\)"):
        Read(Mem0Server("http://127.0.0.1:9", KEY, pause=lambda _: None).entries())


@pytest.mark.parametrize(("url", "key"), [("http://[", KEY), ("http://127.0.0.1:9", "schlüssel"), ("http://x", "a\nb")])
def test_a_url_or_a_key_that_cannot_be_one_is_told(url: str, key: str) -> None:
    with pytest.raises(SourceError):
        list(Mem0Server(url, key).entries())


@pytest.mark.parametrize("stub", ["hosted-old"], indirect=True)
def test_a_hosted_server_that_wants_owners_says_which_options_name_them(stub: Mem0Stub) -> None:
    with pytest.raises(SourceError, match="--from-user"):
        read(stub)


@pytest.mark.parametrize("stub", ["hosted"], indirect=True)
def test_an_answer_that_may_have_been_cut_short_is_told(stub: Mem0Stub) -> None:
    stub.memories = [mem0_memory(n) for n in range(1200)]

    found = read(stub)

    assert len(found.records) == 1000
    assert "gave exactly 1000 memories" in found.wrong[0].reason


@pytest.mark.parametrize("answer", [{"results": 5}, "hello", {"message": "welcome"}])
def test_an_answer_of_another_shape_is_an_error_and_not_nothing(
    stub: Mem0Stub, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stub, "_listing", lambda asked: (200, answer))

    with pytest.raises(SourceError, match="its answer holds no memories"):
        read(stub)


def test_a_page_that_is_missing_is_told(stub: Mem0Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    page = stub._listing
    monkeypatch.setattr(
        stub,
        "_listing",
        lambda asked: (404, {"detail": "Invalid page."}) if asked.query["page"] == "2" else page(asked),
    )

    found = read(stub)

    assert len(found.records) == 100
    assert [one.place for one in found.wrong] == ["page 2"]
