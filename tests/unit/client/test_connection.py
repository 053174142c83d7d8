"""Where an adapter's memories are: settings that travel, and backends that open when they are first used."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
from pathlib import Path

import pytest

from t4dm._connection import Connection
from t4dm.sdk import (
    AsyncT4DMClient,
    NotFoundError,
    StoreRequest,
    T4DMClient,
    T4DMError,
    TransportError,
    ValidationError,
)
from t4dm_daemon.runtime import open_embedded

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _quick_embedder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("T4DM_EMBEDDING_MODEL", "hashing")
    monkeypatch.setenv("T4DM_CACHE_PATH", str(tmp_path / "cache"))


def test_nothing_is_opened_before_it_is_used(tmp_path: Path):
    Connection(NOWHERE)
    Connection(storage_path=tmp_path / "store")

    assert not (tmp_path / "store").exists()


def test_two_places_are_refused(tmp_path: Path):
    with pytest.raises(TypeError, match="at most one"):
        Connection(NOWHERE, storage_path=tmp_path)


def test_connections_to_one_directory_share_it_and_the_last_to_close_closes_it(tmp_path: Path):
    first, second = Connection(storage_path=tmp_path / "store"), Connection(storage_path=tmp_path / "store")
    stored = first.backend().store(StoreRequest(content="The kettle is in the shed."))

    assert second.backend() is first.backend()
    first.close()
    first.close()
    assert second.backend().get(stored.id).content == "The kettle is in the shed."
    second.close()

    again = Connection(storage_path=tmp_path / "store")
    assert again.backend().get(stored.id).content == "The kettle is in the shed."
    again.close()


def test_a_directory_is_reached_with_await_too_and_in_two_event_loops(tmp_path: Path):
    connection = Connection(storage_path=tmp_path / "store")

    async def store(content: str) -> str:
        return (await connection.async_backend().store(StoreRequest(content=content))).id

    stored = asyncio.run(store("Ada plays the viola."))
    another = asyncio.run(store("Bob does not."))
    assert connection.backend().get(stored).id == stored != another
    asyncio.run(connection.aclose())
    assert connection.backend().get(stored).id == stored  # opened again
    connection.close()


def test_what_is_open_closes_with_the_last_reference(tmp_path: Path):
    connection = Connection(storage_path=tmp_path / "store")
    backend = connection.backend()

    del connection
    gc.collect()

    with pytest.raises(T4DMError, match="closed"):
        backend.store(StoreRequest(content="x"))


@pytest.mark.parametrize("carry", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_reach_the_same_place(carry, tmp_path: Path):
    here, there = Connection(storage_path=tmp_path / "store"), Connection(NOWHERE, timeout_s=2.0, max_retries=0)
    stored = here.backend().store(StoreRequest(content="x"))

    copied = carry(here)
    assert copied.backend().get(stored.id).id == stored.id
    copied.close()
    here.close()
    assert carry(there).settings == there.settings == {
        "url": NOWHERE,
        "storage_path": None,
        "timeout_s": 2.0,
        "max_retries": 0,
    }  # fmt: skip


def test_a_client_of_ones_own_is_used_stays_open_and_cannot_be_saved():
    with T4DMClient(NOWHERE, max_retries=0) as client:
        connection = Connection(client=client)

        assert connection.backend() is client
        connection.close()
        with pytest.raises(TransportError, match=r"127\.0\.0\.1:1"):
            client.health()
        with pytest.raises(ValidationError, match="url="):
            pickle.dumps(connection)


def test_an_awaited_client_is_refused_where_nothing_awaits():
    client = AsyncT4DMClient(NOWHERE)
    connection = Connection(client=client)

    assert connection.async_backend() is client
    with pytest.raises(TypeError, match="T4DMClient"):
        connection.backend()
    asyncio.run(connection.aclose())
    asyncio.run(client.close())


@pytest.mark.parametrize(
    ("details", "is_space"),
    [({"space": "s"}, True), ({"space": "s", "id": "m"}, False), ({}, False)],
    ids=["a space", "a memory", "a route"],
)
def test_what_was_not_found_is_told_apart(details: dict[str, str], is_space: bool):
    assert NotFoundError("there is none", code="not_found", details=details).is_missing_space is is_space


def test_two_spellings_of_one_directory_are_one(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "store")
    connections = [Connection(storage_path=tmp_path / name) for name in ("store", "link", "link/../store")]

    assert len({id(one.backend()) for one in connections}) == 1
    for one in connections:
        one.close()


def test_opening_a_directory_never_stops_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from t4dm import _connection

    entered, go_on = threading.Event(), threading.Event()

    def open_slowly(path: Path) -> object:
        entered.set()
        assert go_on.wait(30)
        return open_embedded(path, embedding_model="hashing", cache_path=tmp_path / "cache")

    monkeypatch.setattr("t4dm._embedded.open_embedded", open_slowly)
    connection = _connection.Connection(storage_path=tmp_path / "slow")

    async def two_at_once() -> list[int]:
        calls = [asyncio.ensure_future(connection.async_backend().stats()) for _ in range(1)]
        await asyncio.to_thread(entered.wait, 30)
        calls.append(asyncio.ensure_future(connection.async_backend().stats()))  # waits for no lock
        go_on.set()
        return [one.items for one in await asyncio.gather(*calls)]

    assert asyncio.run(two_at_once()) == [0, 0]
    asyncio.run(connection.aclose())
