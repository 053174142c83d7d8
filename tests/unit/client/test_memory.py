"""The three-line API, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t4dm import T4DM, AsyncT4DM, _embedded
from t4dm.sdk import AsyncT4DMClient, MissingExtraError, NotFoundError, RecordIn, T4DMClient, T4DMError, ValidationError
from tests.unit.client.fake_daemon import FakeDaemon


@pytest.fixture
def memory(client: T4DMClient) -> T4DM:
    return T4DM(client=client)


def test_three_lines_are_enough(memory: T4DM) -> None:
    memory.add("Ada likes tea")

    hits = memory.search("tea")

    assert hits[0].memory.content == "Ada likes tea"


def test_every_field_can_be_given_by_keyword(memory: T4DM, fake: FakeDaemon) -> None:
    stored = memory.add(
        "Ada likes tea",
        id="m",
        metadata={"topic": "drinks"},
        kind="semantic",
        namespace=("work", "notes"),
        categories=["food"],
        importance=0.9,
        valid_from="2026-01-01",
        user_id="ada",
        idempotency_key="k",
    )

    assert stored.namespace == ["work", "notes"]
    assert stored.kind == "semantic"
    assert fake.seen[0].headers["idempotency-key"] == "k"
    assert fake.seen[0].json["valid_from"] == "2026-01-01T00:00:00Z"


def test_the_constructors_owner_and_space_hold_for_every_call(client: T4DMClient, fake: FakeDaemon) -> None:
    memory = T4DM(client=client, user_id="ada", agent_id="a1", space="s")

    memory.add("tea", id="1")
    memory.add_many(["coffee", {"content": "milk", "user_id": "bob"}, RecordIn(content="juice", agent_id=None)])
    memory.search("tea", agent_id=None)
    memory.get_all()
    memory.get("1")
    count = memory.delete_all()

    owners = [(one.get("user_id"), one.get("agent_id")) for one in fake.seen[1].json["records"]]
    assert owners == [("ada", "a1"), ("bob", "a1"), ("ada", None)]
    assert fake.seen[2].json == {"query": "tea", "k": 10, "space": "s", "user_id": "ada", "agent_id": None}
    assert fake.seen[4].query == {"space": "s"}
    assert count == 2
    assert [one.content for one in fake.spaces["s"].values()] == ["milk", "juice"]


def test_get_all_walks_through_every_page(client: T4DMClient, memory: T4DM, fake: FakeDaemon) -> None:
    memory.add_many([{"content": f"{n}", "id": f"{n}"} for n in range(2500)])
    before = len(fake.seen)

    everything = memory.get_all(order_by="insertion")
    some = memory.get_all(limit=1001)

    assert [one.id for one in everything] == [f"{n}" for n in range(2500)]
    assert len(some) == 1001
    assert len(fake.seen) - before == 3 + 2
    assert memory.get_all(limit=0) == []
    with pytest.raises(ValidationError):
        memory.get_all(limit=-1)


def test_a_memory_can_be_changed_and_deleted(memory: T4DM) -> None:
    memory.add("tea", id="m")

    changed = memory.update("m", content="coffee", valid_to=None)
    events = memory.history("m")
    memory.delete("m")

    assert changed.content == "coffee"
    assert events[0].event == "ADD"
    with pytest.raises(NotFoundError):
        memory.get("m")


def test_status_is_the_health_report(memory: T4DM) -> None:
    assert memory.status().storage_path == "/data/store"


def test_a_purge_travels_with_every_kind_of_deletion(memory: T4DM, fake: FakeDaemon) -> None:
    memory.add("tea", id="m")

    memory.delete("m", purge=True)
    memory.delete_all(ids=["n"], purge=True)

    assert fake.seen[1].query["purge"] == "true"
    assert fake.seen[2].json == {"ids": ["n"], "purge": True, "space": "default"}


def test_delete_all_without_a_restriction_is_refused(memory: T4DM) -> None:
    memory.add("tea")

    with pytest.raises(ValidationError):
        memory.delete_all()

    assert memory.delete_all(all=True) == 1


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("add", ("tea",)),
        ("add_many", ([],)),
        ("search", ("tea",)),
        ("get", ("m",)),
        ("get_all", ()),
        ("update", ("m",)),
        ("delete", ("m",)),
        ("delete_all", ()),
        ("history", ("m",)),
    ],
)
def test_a_keyword_that_does_not_exist_is_a_type_error(
    memory: T4DM, fake: FakeDaemon, method: str, arguments: tuple[Any, ...]
) -> None:
    async def act() -> None:
        async with AsyncT4DM(client=AsyncT4DMClient(transport=fake.transport())) as memory:
            await getattr(memory, method)(*arguments, user="ada")

    with pytest.raises(TypeError, match=r"unexpected keyword argument 'user'"):
        getattr(memory, method)(*arguments, user="ada")
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'user'"):
        asyncio.run(act())

    assert fake.seen == []


def test_a_value_out_of_range_is_a_validation_error_that_says_where(memory: T4DM) -> None:
    with pytest.raises(ValidationError, match=r"importance: Input should be less than or equal to 1") as caught:
        memory.add("tea", importance=5)

    assert caught.value.details["errors"][0]["field"] == "importance"
    with pytest.raises(ValidationError, match="give a query"):
        memory.search()
    with pytest.raises(ValidationError, match="RFC 3339"):
        memory.get("m", as_of="yesterday")
    with pytest.raises(ValidationError):
        T4DM(user_id="")
    with pytest.raises(TypeError):
        memory.update("m")
    with pytest.raises(TypeError):
        memory.add_many("tea")


def test_only_one_place_can_be_given(client: T4DMClient, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        T4DM("http://127.0.0.1:1", client=client)
    with pytest.raises(TypeError):
        T4DM(storage_path=tmp_path, client=client)
    with pytest.raises(TypeError):
        T4DM(settings={"embedding_model": "hashing"})


def test_closing_leaves_a_given_client_open(client: T4DMClient) -> None:
    with T4DM(client=client) as memory:
        memory.add("tea")
    memory.close()

    assert client.health().status == "ok"


def test_it_finds_the_daemon_by_itself(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act() -> str:
        async with AsyncT4DM(user_id="ada") as memory:
            await memory.add("tea", id="m")
            return (await memory.get("m")).content

    with fake.serving() as url:
        monkeypatch.setenv("T4DM_URL", url)
        with T4DM() as memory:
            assert memory.status().status == "ok"
        assert asyncio.run(act()) == "tea"


@pytest.fixture
def opened(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, ...]]]:
    """Stand in for the service in this process: a client over the fake."""
    calls: list[tuple[Any, ...]] = []

    def open_embedded(storage_path: Path, **settings: Any) -> T4DMClient:
        calls.append((storage_path, settings))
        return T4DMClient(transport=fake.transport())

    monkeypatch.setattr(_embedded, "open_embedded", open_embedded)
    return calls


def test_a_storage_path_opens_the_service_in_this_process(opened: list[tuple[Any, ...]], tmp_path: Path) -> None:
    with T4DM(storage_path=tmp_path, settings={"embedding_model": "hashing"}) as memory:
        memory.add("tea", id="m")
        assert memory.get("m").content == "tea"

    assert opened == [(tmp_path, {"embedding_model": "hashing"})]
    with pytest.raises(T4DMError, match="closed"):
        memory.get("m")


def test_the_asynchronous_one_opens_it_in_a_thread_when_first_used(
    opened: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    async def act() -> None:
        async with AsyncT4DM(storage_path=tmp_path, user_id="ada") as memory:
            assert opened == []
            await asyncio.gather(*(memory.add(f"tea {n}", id=f"{n}") for n in range(5)))
            assert len(await memory.get_all()) == 5
            assert len(await memory.search("tea", 3)) == 3
            assert (await memory.update("1", importance=0.1)).version == 2
            assert (await memory.history("1"))[0].event == "ADD"
            assert (await memory.status()).status == "ok"
            assert sorted([one.id async for one in memory.backend.export()]) == ["0", "1", "2", "3", "4"]
            await memory.delete("1")
            assert await memory.delete_all() == 4
        await memory.aclose()
        with pytest.raises(T4DMError, match="closed"):
            await memory.get("1")

    asyncio.run(act())

    assert len(opened) == 1


def test_a_synchronous_backend_serves_the_asynchronous_one(client: T4DMClient) -> None:
    async def act() -> str:
        async with AsyncT4DM(client=client) as memory:
            await memory.add_many(["tea"])
            return (await memory.search("tea"))[0].memory.content

    assert asyncio.run(act()) == "tea"


def test_a_missing_dependency_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "t4dm_daemon.runtime", None)

    with pytest.raises(MissingExtraError, match=r"pip install 't4dm\[daemon\]'") as caught:
        T4DM(storage_path=tmp_path)

    assert isinstance(caught.value, ImportError)
