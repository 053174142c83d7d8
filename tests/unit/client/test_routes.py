"""Each method reaches its route and returns its model."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from t4dm.sdk import (
    AsyncT4DMClient,
    BatchRequest,
    DeleteRequest,
    Filter,
    GetRequest,
    ListRequest,
    NotFoundError,
    ProtocolError,
    RecordIn,
    SearchRequest,
    SpaceRequest,
    StoreRequest,
    T4DMClient,
    TouchRequest,
    TransportError,
    UpdateRequest,
    ValidationError,
)
from t4dm.sdk._export import ExportLine
from t4dm.sdk.models import Memory, Space
from tests.unit.client.fake_daemon import FakeDaemon, Reply

ODD_IDS = [
    ".",
    "..",
    "...",
    "a/b",
    "/",
    "//a//",
    "a b",
    "ä→🙂",
    "%2F",
    "?q=1#x",
    "a\nb",
    "\x00",
    "history",
    "a/history",
    "\u2028",
]


def test_a_memory_can_be_stored_read_changed_and_deleted(client: T4DMClient, fake: FakeDaemon) -> None:
    stored = client.store(StoreRequest(content="Ada likes tea", id="m", user_id="ada", metadata={"n": 1}))
    changed = client.update("m", UpdateRequest(content="Ada likes coffee"))
    read = client.get("m")
    events = client.history("m")
    touched = client.touch(TouchRequest(ids=["m", "none"]))
    client.delete("m")

    assert stored.status == "created"
    assert changed.version == 2
    assert read.content == "Ada likes coffee"
    assert read.metadata == {"n": 1}
    assert events[0].event == "ADD"
    assert touched == 1
    with pytest.raises(NotFoundError):
        client.get("m")


def test_many_can_be_stored_found_listed_and_deleted(client: T4DMClient) -> None:
    answer = client.batch(BatchRequest(records=[RecordIn(content=f"tea {n}", id=f"{n}") for n in range(5)]))
    found = client.search(SearchRequest(query="tea", k=2))
    first = client.list(ListRequest(limit=3))
    rest = client.list(ListRequest(limit=3, cursor=first.cursor))
    some = client.get_many(GetRequest(ids=["3", "none", "1"]))
    dry = client.delete_many(DeleteRequest(all=True, dry_run=True))
    deleted = client.delete_many(DeleteRequest(ids=["1", "2"]))

    assert [item.status for item in answer.results] == ["created"] * 5
    assert len(found.results) == 2
    assert [memory.id for memory in first.results + rest.results] == ["0", "1", "2", "3", "4"]
    assert rest.cursor is None
    assert [memory.id for memory in some] == ["3", "1"]
    assert (dry.deleted, dry.dry_run, deleted.deleted) == (5, True, 2)


def test_spaces_can_be_made_and_unmade(client: T4DMClient) -> None:
    made = client.create_space("a/b", SpaceRequest(embedder="client"))
    again = client.get_space("a/b")
    names = [space.name for space in client.list_spaces()]
    client.delete_space("a/b")

    assert made == again
    assert names == ["a/b"]
    with pytest.raises(NotFoundError):
        client.get_space("a/b")


def test_operations_answer(client: T4DMClient) -> None:
    assert client.health().status == "ok"
    assert client.version().api == "1"
    assert client.stats().items == 0
    assert client.ready().ready


def test_only_the_fields_that_were_given_travel(client: T4DMClient, fake: FakeDaemon) -> None:
    client.store(StoreRequest(content="tea", id="m"))
    client.update("m", UpdateRequest(valid_to=None, expires_at=None))
    client.search(SearchRequest(query="tea", filter=Filter(not_=Filter(field="a", op="eq", value=None))))

    assert fake.seen[0].json == {"content": "tea", "id": "m"}
    assert fake.seen[1].json == {"valid_to": None, "expires_at": None}
    assert fake.seen[2].json["filter"] == {"not": {"field": "a", "op": "eq", "value": None}}


def test_what_was_filled_in_place_travels_too(client: T4DMClient, fake: FakeDaemon) -> None:
    record = RecordIn(content="tea")
    record.metadata["topic"] = "drinks"
    record.categories.append("food")

    client.batch(BatchRequest(records=[record]))

    assert fake.seen[0].json["records"] == [{"content": "tea", "metadata": {"topic": "drinks"}, "categories": ["food"]}]


def test_times_travel_as_utc(client: T4DMClient, fake: FakeDaemon) -> None:
    client.store(StoreRequest(content="tea", id="m"))

    client.get("m", space="default", as_of=datetime(2026, 5, 1), known_at=datetime(2026, 5, 1, 12, tzinfo=UTC))

    assert fake.seen[1].query == {
        "space": "default",
        "as_of": "2026-05-01T00:00:00Z",
        "known_at": "2026-05-01T12:00:00Z",
    }


def test_odd_ids_survive_the_way_to_a_real_server_and_back(fake: FakeDaemon) -> None:
    async def read_all(url: str) -> list[str]:
        async with AsyncT4DMClient(url) as client:
            return [(await client.get(memory_id)).id for memory_id in ODD_IDS]

    with fake.serving() as url, T4DMClient(url) as client:
        for memory_id in ODD_IDS:
            client.store(StoreRequest(content=memory_id, id=memory_id))
        assert asyncio.run(read_all(url)) == ODD_IDS
        for memory_id in ODD_IDS:
            assert client.get(memory_id).id == memory_id
            assert client.update(memory_id, UpdateRequest(importance=1)).version == 2
            assert client.history(memory_id)
            client.delete(memory_id)

    assert fake.spaces["default"] == {}


@pytest.mark.parametrize("memory_id", ["", "\ud800"])
def test_an_id_that_cannot_travel_is_refused_here(client: T4DMClient, fake: FakeDaemon, memory_id: str) -> None:
    with pytest.raises(ValidationError):
        client.get(memory_id)

    assert fake.seen == []


def test_an_export_yields_everything_in_order(client: T4DMClient) -> None:
    hostile = "a\u2028b\u2029c\x85d\x0be\nf"
    client.store(StoreRequest(content=hostile, id="1", vector=[1.0, 0.5]))
    client.store(StoreRequest(content="other", id="2", space="s"))

    everything = list(client.export())
    one_space = list(client.export(space="s", include_vectors=False))

    assert [memory.content for memory in everything] == [hostile, "other"]
    assert everything[0].vector == [1.0, 0.5]
    assert [memory.id for memory in one_space] == ["2"]


@pytest.mark.parametrize(
    "tail", [b"", b'{"end"', b'{"id":"half', b'{"end":true,"count":7}\n', b'{"end":false,"count":1}\n']
)
def test_a_cut_export_is_noticed_by_both_clients(client: T4DMClient, fake: FakeDaemon, tail: bytes) -> None:
    client.store(StoreRequest(content="tea", id="1"))
    fake.export_tail = tail
    received: list[Any] = []

    async def act() -> None:
        async with AsyncT4DMClient(transport=fake.transport()) as client:
            received.extend([memory async for memory in client.export()])

    with pytest.raises((TransportError, ProtocolError)):
        received.extend(client.export())
    with pytest.raises((TransportError, ProtocolError)):
        asyncio.run(act())


def test_an_export_without_a_last_newline_is_complete(client: T4DMClient, fake: FakeDaemon) -> None:
    fake.export_tail = b'{"end":true,"count":0}'

    assert list(client.export()) == []


def test_an_export_of_something_else_is_a_protocol_error(client: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, b"<html>\n</html>\n", {"content-type": "text/html"})]

    with pytest.raises(ProtocolError, match="line 1"):
        list(client.export())


def test_an_export_of_a_missing_space_is_not_found_before_the_first_memory(
    client: T4DMClient, fake: FakeDaemon
) -> None:
    fake.planned = [Reply(404, {"error": {"code": "space_not_found", "message": "no such space"}})]

    with pytest.raises(NotFoundError, match="no such space"):
        next(client.export(space="none"))


def test_raw_requests_reach_routes_without_a_method(client: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, {"jobs": []}), Reply(204)]

    listed = client.request("GET", "/api/v1/jobs", params={"all": True, "n": 3})
    nothing = client.request("DELETE", "/api/v1/jobs/1")

    assert listed == {"jobs": []}
    assert nothing is None
    assert fake.seen[0].query == {"all": "true", "n": "3"}
    with pytest.raises(ValidationError):
        client.request("GET", "api/v1/jobs")


def test_one_asynchronous_client_serves_several_event_loops(fake: FakeDaemon) -> None:
    with fake.serving() as url:
        client = AsyncT4DMClient(url)

        async def act() -> str:
            await client.store(StoreRequest(content="tea", id="m"))
            return (await client.get("m")).content

        async def act_and_close() -> str:
            async with client:
                return await act()

        first = asyncio.Runner()
        assert first.run(act()) == "tea"
        first.run(client._http.aclose())  # keeps the test free of a warning about the loop's open socket
        first.close()
        assert asyncio.run(act_and_close()) == "tea"


def test_the_lines_of_an_export_hold_the_spaces_too(client: T4DMClient, fake: FakeDaemon) -> None:
    client.store(StoreRequest(content="tea", id="1"))

    async def act() -> list[ExportLine]:
        async with AsyncT4DMClient(transport=fake.transport()) as other:
            return [line async for line in other.export_lines()]

    space, memory, end = client.export_lines()

    assert isinstance(space.says, Space)
    assert space.says.name == "default"
    assert isinstance(memory.says, Memory)
    assert end.says is None
    assert end.raw == b'{"end":true,"count":1}'
    assert asyncio.run(act()) == [space, memory, end]
