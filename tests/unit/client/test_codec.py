"""Bodies as JSON and as MessagePack."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import msgpack
import pytest

from t4dm.sdk import (
    BatchRequest,
    GetRequest,
    Memory,
    MemoryList,
    RecordIn,
    SearchRequest,
    StoreRequest,
    T4DMClient,
    ValidationError,
    codec,
)
from t4dm.sdk.vectors import pack, to_base64
from tests.unit.client.fake_daemon import FakeDaemon, error

NUMBERS = [0.25, -1.0, 3.0]


@pytest.fixture
def no_msgpack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "has_msgpack", lambda: False)


def test_a_body_with_vectors_is_msgpack_with_raw_float32() -> None:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    request = BatchRequest(records=[RecordIn(content="tea", vector=NUMBERS, event_time=at, metadata={"n": 2**40})])

    body, content_type = codec.encode(request)

    assert content_type == "application/msgpack"
    assert msgpack.unpackb(body) == {
        "records": [
            {"content": "tea", "vector": pack(NUMBERS), "event_time": "2026-05-01T00:00:00Z", "metadata": {"n": 2**40}}
        ]
    }


@pytest.mark.usefixtures("no_msgpack")
def test_without_msgpack_vectors_travel_as_base64() -> None:
    body, content_type = codec.encode(SearchRequest(vector=NUMBERS))

    assert content_type == "application/json"
    assert json.loads(body) == {"vector": to_base64(pack(NUMBERS))}


def test_a_body_without_vectors_is_json() -> None:
    assert codec.encode(StoreRequest(content="tea"))[1] == "application/json"


def test_an_integer_that_msgpack_cannot_carry_travels_as_json() -> None:
    body, content_type = codec.encode(StoreRequest(content="tea", vector=NUMBERS, metadata={"n": 2**70}))

    assert content_type == "application/json"
    assert json.loads(body)["metadata"] == {"n": 2**70}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"\ud800": 1}, [[float("-inf")]]])
def test_what_json_cannot_carry_is_refused_and_not_changed(value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON has no|lone surrogate"):
        StoreRequest.model_validate({"content": "tea", "metadata": {"a": value}})
    with pytest.raises(ValueError, match=r"JSON has no|lone surrogate"):
        StoreRequest.model_validate({"content": "tea", "value": value})


def test_a_raw_body_with_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ValidationError):
        codec.encode({"a": "\ud800"})


def test_vectors_of_an_answer_come_back_from_either_form(client: T4DMClient) -> None:
    client.store(StoreRequest(content="tea", id="m", vector=NUMBERS))
    memory = client.get("m", include_vector=True)
    plain = memory.model_dump(mode="json")

    packed = httpx.Response(
        200,
        headers={"content-type": "application/msgpack"},
        content=msgpack.packb({"results": [{**plain, "vector": pack(NUMBERS)}]}),
    )
    answers = [
        codec.decode(packed, MemoryList).results[0],
        Memory.model_validate({**plain, "vector": to_base64(pack(NUMBERS))}),
    ]

    assert memory.vector == NUMBERS
    assert answers == [memory, memory]


def test_msgpack_answers_are_asked_for_only_where_vectors_are(client: T4DMClient, fake: FakeDaemon) -> None:
    client.get_many(GetRequest(ids=["m"]))
    client.get_many(GetRequest(ids=["m"], include_vectors=True))
    client.search(SearchRequest(query="tea", include=["vector"]))

    accepts = [seen.headers["accept"] for seen in fake.seen]
    assert accepts == ["application/json", *["application/msgpack, application/json;q=0.9"] * 2]


def test_a_daemon_that_knows_no_msgpack_gets_json_from_then_on(client: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [error(415)]

    client.store(StoreRequest(content="tea", vector=NUMBERS))
    client.store(StoreRequest(content="coffee", vector=NUMBERS))

    kinds = [seen.headers["content-type"] for seen in fake.seen]
    assert kinds == ["application/msgpack", "application/json", "application/json"]


def test_vectors_are_taken_in_every_usual_form() -> None:
    from array import array

    class Array:
        def tolist(self) -> list[float]:
            return NUMBERS

    forms = [NUMBERS, tuple(NUMBERS), array("f", NUMBERS), Array(), pack(NUMBERS), to_base64(pack(NUMBERS))]

    assert {SearchRequest.model_validate({"vector": form}).vector for form in forms} == {pack(NUMBERS)}


@pytest.mark.parametrize(
    "form", [[], ["a"], [True], "not base64", b"abc", [1e39], [10**400], [float("nan")], {}, 1.0, [[1.0]]]
)
def test_what_is_no_vector_is_refused(form: object) -> None:
    with pytest.raises(ValueError):
        SearchRequest.model_validate({"vector": form})
