"""Items that expire: after minutes without use, as LangGraph counts them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

pytest.importorskip("langgraph")

from langgraph.store.base import GetOp, PutOp, SearchOp

from t4dm.sdk import T4DMClient
from t4dm.sdk import models as m
from t4dm_integrations.langgraph import T4DMStore
from t4dm_integrations.langgraph.records import Partition, text_id
from tests.support.daemon import Daemon

USERS = ("users", "ada")
SHORT_MIN = 0.05 / 60
"""50 ms: long enough to be put and looked at once, short enough to wait for."""
PATIENCE_S = 20.0


@pytest.fixture
def space(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def make_store(plain_daemon: Daemon, space: str) -> Iterator[Callable[..., T4DMStore]]:
    made = []

    def make(**given: Any) -> T4DMStore:
        made.append(T4DMStore(plain_daemon.url, space=space, **given))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def client(plain_daemon: Daemon) -> Iterator[T4DMClient]:
    with plain_daemon.client() as client:
        yield client


class Clock:
    """Say and set when an item expires, so that no test has to wait for a minute."""

    def __init__(self, client: T4DMClient, space: str) -> None:
        self._client, self._space = client, space

    def memory(self, key: str, number: int = 0) -> m.Memory:
        name = Partition(self._space, "langgraph").id_of(USERS, key)
        return self._client.get(text_id(name, number) if number else name, space=self._space)

    def left_s(self, key: str, number: int = 0) -> float | None:
        expires_at = self.memory(key, number).expires_at
        return None if expires_at is None else (expires_at - datetime.now(UTC)).total_seconds()

    def set_left_s(self, key: str, seconds: float) -> None:
        memory = self.memory(key)
        when = datetime.now(UTC) + timedelta(seconds=seconds)
        self._client.update(memory.id, m.UpdateRequest(expires_at=when), space=self._space)


@pytest.fixture
def clock(client: T4DMClient, space: str) -> Clock:
    return Clock(client, space)


def test_an_item_expires_by_itself(make_store: Callable[..., T4DMStore]):
    store = make_store()
    store.put(USERS, "k", {"v": 1}, ttl=SHORT_MIN)

    deadline = time.monotonic() + PATIENCE_S
    while store.get(USERS, "k", refresh_ttl=False) is not None:
        assert time.monotonic() < deadline

    assert store.search(USERS) == []
    assert store.list_namespaces() == []


def test_reading_lets_an_item_live_anew(make_store: Callable[..., T4DMStore], clock: Clock):
    store = make_store()
    store.put(USERS, "k", {"v": 1}, ttl=1)
    store.put(USERS, "stays", {"v": 1})
    before = clock.memory("k")
    reads: list[Callable[[], object]] = [
        lambda: store.get(USERS, "k"),
        lambda: store.search(USERS),
        lambda: store.search(USERS, filter={"v": 1}),
        lambda: store.search(USERS, query="v"),
        lambda: asyncio.run(_read(store)),
    ]

    for read in reads:
        clock.set_left_s("k", 5)
        read()
        left_s = clock.left_s("k")
        assert left_s is not None
        assert 50 < left_s <= 60

    assert clock.left_s("stays") is None
    after = clock.memory("k")
    assert (after.version, after.updated_at) == (before.version, before.updated_at)


async def _read(store: T4DMStore) -> None:
    await store.aget(USERS, "k")
    await store.aclose()


def test_reading_without_refresh_leaves_the_time_to_live(make_store: Callable[..., T4DMStore], clock: Clock):
    store = make_store()
    cold = make_store(ttl={"refresh_on_read": False})
    store.put(USERS, "k", {"v": 1}, ttl=1)
    clock.set_left_s("k", 5)

    store.get(USERS, "k", refresh_ttl=False)
    store.search(USERS, refresh_ttl=False)
    cold.get(USERS, "k")
    cold.search(USERS)

    left_s = clock.left_s("k")
    assert left_s is not None
    assert left_s <= 5


def test_only_what_is_on_the_page_lives_anew(make_store: Callable[..., T4DMStore], clock: Clock):
    store = make_store()
    for key in ("a", "b", "c"):
        store.put(USERS, key, {"odd": key != "b"}, ttl=1)
        clock.set_left_s(key, 5)

    store.search(USERS, filter={"odd": True}, limit=1, offset=1)

    refreshed = [key for key in ("a", "b", "c") if (clock.left_s(key) or 0) > 5]
    assert refreshed == ["c"]


def test_the_default_is_taken_where_nothing_is_said(make_store: Callable[..., T4DMStore], clock: Clock):
    store = make_store(ttl={"default_ttl": 10})
    store.put(USERS, "default", {"v": 1})
    store.put(USERS, "given", {"v": 1}, ttl=1)
    store.put(USERS, "never", {"v": 1}, ttl=None)

    left = {key: clock.left_s(key) for key in ("default", "given", "never")}

    assert left["default"] == pytest.approx(600, abs=30)
    assert left["given"] == pytest.approx(60, abs=30)
    assert left["never"] is None


def test_writing_sets_the_time_to_live_anew(make_store: Callable[..., T4DMStore], clock: Clock):
    store = make_store()
    store.put(USERS, "k", {"v": 1}, ttl=1)

    store.put(USERS, "k", {"v": 2}, ttl=5)
    longer = clock.left_s("k")
    store.put(USERS, "k", {"v": 3})

    assert longer == pytest.approx(300, abs=30)
    assert clock.left_s("k") is None


def test_reading_what_the_same_batch_overwrites_does_not_let_it_expire(
    make_store: Callable[..., T4DMStore], clock: Clock
):
    store = make_store()
    store.put(USERS, "k", {"v": 1}, ttl=1)

    store.batch([GetOp(USERS, "k"), SearchOp(USERS), PutOp(USERS, "k", {"v": 2})])

    assert clock.left_s("k") is None


def test_what_expired_is_gone_and_can_be_put_again(make_store: Callable[..., T4DMStore], clock: Clock):
    store = make_store()
    store.put(USERS, "k", {"v": 1}, ttl=1)
    clock.set_left_s("k", -1)

    assert store.get(USERS, "k") is None
    assert store.search(USERS) == store.search(USERS, query="v") == []
    assert store.list_namespaces() == []
    store.put(USERS, "k", {"v": 2})
    assert [one.value for one in store.search(USERS)] == [{"v": 2}]


def test_all_texts_of_an_item_live_as_long_as_it(make_store: Callable[..., T4DMStore], clock: Clock):
    store = make_store(index={"fields": ["a", "b"]})
    store.put(USERS, "k", {"a": "one", "b": "two"}, ttl=1)
    store.put(USERS, "k", {"a": "one", "b": "two"}, ttl=5)

    store.get(USERS, "k")

    assert clock.left_s("k", 1) == pytest.approx(clock.left_s("k"), abs=1)
    assert clock.left_s("k", 1) == pytest.approx(300, abs=30)


def test_sweeping_deletes_what_expired_and_counts_items(
    make_store: Callable[..., T4DMStore], client: T4DMClient, clock: Clock, space: str
):
    store = make_store(index={"fields": ["a", "b"]})
    assert store.sweep_ttl() == 0
    for key in ("gone", "stays"):
        store.put(USERS, key, {"a": "one", "b": "two"}, ttl=1)
    name = clock.memory("gone").id
    past = m.UpdateRequest(expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    for one in (name, text_id(name, 1)):
        client.update(one, past, space=space)

    swept = store.sweep_ttl()

    assert swept == 1
    assert client.list(m.ListRequest(space=space, show_expired=True)).total == 2
    assert asyncio.run(_sweep(store)) == 0


async def _sweep(store: T4DMStore) -> int:
    swept = await store.asweep_ttl()
    await store.aclose()
    return swept


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), 1e9])
def test_a_time_to_live_that_makes_no_sense_is_refused(make_store: Callable[..., T4DMStore], minutes: float):
    with pytest.raises(ValueError, match="ttl is a number of minutes"):
        make_store().put(USERS, "k", {"v": 1}, ttl=minutes)


def test_expired_items_are_omitted_whatever_the_configuration_says(make_store: Callable[..., T4DMStore], clock: Clock):
    store = make_store(ttl={"omit_expired": False, "sweep_interval_minutes": 5, "default_ttl": 1})
    store.put(USERS, "k", {"v": 1})
    clock.set_left_s("k", -1)

    assert store.get(USERS, "k") is None
