"""Whatever goes wrong between the store and its daemon is an error with a message, never None and never an empty list."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("langgraph")

from langgraph.store.base import GetOp, PutOp, SearchOp

from t4dm.sdk import NotFoundError, ServerError, T4DMError, TransportError
from t4dm_integrations.langgraph import T4DMStore
from tests.support.daemon import Daemon

USERS = ("users", "ada")
CALLS: dict[str, Callable[[T4DMStore], object]] = {
    "get": lambda store: store.get(USERS, "k"),
    "search": lambda store: store.search(USERS),
    "filtered search": lambda store: store.search(USERS, filter={"v": 1}),
    "search by meaning": lambda store: store.search(USERS, query="v"),
    "list_namespaces": lambda store: store.list_namespaces(),
    "put": lambda store: store.put(USERS, "k", {"v": 1}),
    "delete": lambda store: store.delete(USERS, "k"),
    "batch": lambda store: store.batch([GetOp(USERS, "k"), PutOp(USERS, "k", {}), SearchOp(USERS)]),
    "sweep_ttl": lambda store: store.sweep_ttl(),
    "aget": lambda store: asyncio.run(_ending(store, "get")),
    "asearch": lambda store: asyncio.run(_ending(store, "search")),
    "aput": lambda store: asyncio.run(_ending(store, "put")),
}


async def _ending(store: T4DMStore, name: str) -> object:
    try:
        if name == "get":
            return await store.aget(USERS, "k")
        if name == "search":
            return await store.asearch(USERS, query="v")
        return await store.aput(USERS, "k", {"v": 1})
    finally:
        await store.aclose()


@pytest.fixture
def silent() -> Iterator[str]:
    """Something that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("name", CALLS)
def test_no_daemon_is_an_error_that_says_so(name: str):
    with T4DMStore("http://127.0.0.1:1", max_retries=0) as store, pytest.raises(TransportError) as told:
        CALLS[name](store)

    assert "127.0.0.1:1" in told.value.message
    assert "t4dm serve" in told.value.message


@pytest.mark.parametrize("name", CALLS)
def test_a_daemon_that_does_not_answer_in_time_is_an_error(silent: str, name: str):
    with T4DMStore(silent, timeout_s=0.2, max_retries=0) as store, pytest.raises(TransportError):
        CALLS[name](store)


@pytest.mark.parametrize("name", CALLS)
def test_something_else_at_the_address_is_an_error(name: str):
    server = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def answer() -> None:
        while not stop.is_set():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    address = server.getsockname()
    try:
        with T4DMStore(f"http://127.0.0.1:{address[1]}", max_retries=0) as store, pytest.raises(T4DMError):
            CALLS[name](store)
    finally:
        stop.set()
        with socket.create_connection(address):
            pass
        thread.join(10)
        server.close()


@pytest.mark.slow
def test_a_daemon_that_goes_away_is_missed_and_found_again(make_daemon: Callable[..., Daemon]):
    daemon = make_daemon().start()
    port = daemon.url.rpartition(":")[2]
    with T4DMStore(daemon.url, max_retries=0, ttl={"default_ttl": 60}) as store:
        store.put(USERS, "k", {"v": 1})
        daemon.kill()

        for name, call in CALLS.items():
            if name.startswith("a"):
                continue
            with pytest.raises(TransportError):
                call(store)

        daemon.start("--port", port)
        item = store.get(USERS, "k")
        assert item is not None
        assert item.value == {"v": 1}
        store.put(USERS, "k", {"v": 2})
        assert [one.value for one in store.search(USERS, query="v")] == [{"v": 2}]


@pytest.mark.slow
def test_a_call_in_flight_when_the_daemon_dies_is_an_error(make_daemon: Callable[..., Daemon]):
    """None of the writes that were acknowledged is lost, none of the others says that it was done."""
    daemon = make_daemon().start()
    port = daemon.url.rpartition(":")[2]
    acknowledged: list[int] = []
    failed: list[T4DMError] = []
    enough = threading.Event()

    def write() -> None:
        with T4DMStore(daemon.url, max_retries=0, index=False) as store:
            for at in range(100_000):
                try:
                    store.put(USERS, str(at), {"v": at})
                except T4DMError as error:
                    failed.append(error)
                    return
                acknowledged.append(at)
                if at == 30:
                    enough.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert enough.wait(60)
    daemon.kill()
    thread.join(60)
    daemon.start("--port", port)

    with T4DMStore(daemon.url, index=False) as store:
        kept = {one.value["v"] for one in store.search(USERS, limit=100_000)}
    assert len(failed) == 1
    assert isinstance(failed[0], TransportError)
    assert set(acknowledged) <= kept <= {*acknowledged, len(acknowledged)}


def test_a_model_that_cannot_be_reached_is_not_an_empty_answer(make_daemon: Callable[..., Daemon]):
    daemon = make_daemon(model="openai:none", settings={"T4DM_EMBEDDING__BASE_URL": "http://127.0.0.1:1/v1"})
    daemon.start(wait=False)

    with T4DMStore(daemon.url, max_retries=0) as store, pytest.raises(ServerError):
        store.search(USERS, query="v")


def test_errors_of_the_daemon_keep_their_kind(plain_daemon: Daemon):
    with T4DMStore(plain_daemon.url, space="t4dm:messages") as store, pytest.raises(T4DMError) as told:
        store.get(USERS, "k")

    assert not isinstance(told.value, NotFoundError)
    assert "t4dm:messages" in told.value.message
