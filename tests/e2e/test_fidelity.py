"""What comes back is what went in: ids, metadata, values, vectors."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import httpx
import pytest

from t4dm.sdk import T4DMClient
from t4dm.sdk import models as m
from tests.support.daemon import Daemon

IDS = [
    "1",
    "a/b c",
    "ключ/鍵/🔑" * 20 + "x" * 60,
    "..",
    ".",
    "a?b#c%2F",
    "%",
    "+ &=;",
    "line\nbreak",
    " lead",
    "store",
    "x/history",
    "é" * 250,
]


@pytest.fixture(scope="module")
def client(plain_daemon: Daemon) -> Iterator[T4DMClient]:
    with plain_daemon.client() as opened:
        yield opened


@pytest.mark.parametrize("identifier", IDS, ids=range(len(IDS)))
def test_any_string_is_an_id(client: T4DMClient, identifier: str) -> None:
    stored = client.store(m.StoreRequest(id=identifier, content=f"content of {identifier!r}", space="ids"))
    assert stored.id == identifier
    assert [one.id for one in client.get_many(m.GetRequest(ids=[identifier], space="ids"))] == [identifier]
    if identifier not in (".", ".."):
        assert client.get(identifier, space="ids").content == f"content of {identifier!r}"
        assert client.update(identifier, m.UpdateRequest(metadata={"seen": True}), space="ids").version == 2
        assert [entry.event for entry in client.history(identifier, space="ids")] == ["ADD", "UPDATE"]
    assert client.delete_many(m.DeleteRequest(ids=[identifier], space="ids")).deleted == 1


def test_metadata_and_values_come_back_byte_for_byte(plain_daemon: Daemon) -> None:
    metadata = (
        '{"z":1,"a":1.0,"big":123456789012345678901234567890,"small":5e-324,"neg":-0.0,"none":null,"t":true,'
        '"nested":{"b":[1,[2.5,{"c":"ü"}],[]],"":{}},"text":"日本語 \\u0000 🎈 é","list":[],"id":"mine","space":"own"}'
    )
    value = '[{"_node_content":"{\\"a\\": 1}"},3,2.0,null,"x",{"k":[true,false]}]'
    body = f'{{"id":"m","content":"c","space":"bytes","metadata":{metadata},"value":{value}}}'
    with httpx.Client(base_url=plain_daemon.url, trust_env=False) as http:
        created = http.post("/api/v1/memory/store", content=body.encode(), headers={"content-type": "application/json"})
        assert created.status_code == 201, created.text
        text = http.get("/api/v1/memory/m", params={"space": "bytes"}).text

    answer = json.loads(text)
    assert json.dumps(answer["metadata"], ensure_ascii=False) == json.dumps(json.loads(metadata), ensure_ascii=False)
    assert json.dumps(answer["value"], ensure_ascii=False) == json.dumps(json.loads(value), ensure_ascii=False)
    assert math.copysign(1, answer["metadata"]["neg"]) == -1
    assert type(answer["metadata"]["a"]) is float


@pytest.mark.parametrize("packed", [False, True])
def test_spaces_of_different_dimensions_stand_side_by_side(plain_daemon: Daemon, packed: bool) -> None:
    accept = {"accept": "application/msgpack"} if packed else {}
    with plain_daemon.client(headers=accept) as client:
        six, wide = f"six-{packed}", f"wide-{packed}"
        vectors = {six: [0.1, -0.2, 0.3, 1e-7, 5.0, -6.5], wide: [math.sin(n + 1) for n in range(384)]}
        for space, vector in vectors.items():
            client.store(m.StoreRequest(id="v", space=space, vector=vector))
            found = client.search(m.SearchRequest(vector=vector, space=space, include=["vector"]))
            back = found.results[0].memory.vector
            assert back is not None
            assert back == pytest.approx(vector, rel=1e-7)
            assert found.results[0].similarity == pytest.approx(1.0, abs=1e-6)
            again = client.get("v", space=space, include_vector=True).vector
            assert again == back
        assert client.get_space(six).dimension == 6
        assert client.get_space(wide).dimension == 384
        assert client.get_space(six).embedder == "client"


def test_learning_numbers_come_back_as_given(client: T4DMClient) -> None:
    stored = client.store(m.StoreRequest(content="numbers", importance=0.7, kappa=0.15, space="numbers"))
    assert (stored.importance, stored.kappa) == (0.7, 0.15)


def test_times_keep_their_microseconds_and_their_meaning(client: T4DMClient) -> None:
    stored = client.store(
        m.StoreRequest.model_validate(
            {
                "content": "times", "space": "times",
                "event_time": "2026-05-01T12:00:00.123456+02:00",
                "valid_to": "9999-12-31T23:59:59.999999Z",
            }
        )
    )  # fmt: skip
    assert stored.event_time.isoformat() == "2026-05-01T10:00:00.123456+00:00"
    assert stored.valid_from == stored.event_time
    assert stored.valid_to is not None
    assert stored.valid_to.year == 9999
