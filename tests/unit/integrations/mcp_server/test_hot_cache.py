"""The hot cache: what it holds, how old it gets, and what it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from t4dm._backend import MemoryBackend
from t4dm.sdk import models as m
from t4dm.sdk.errors import TransportError
from t4dm_integrations.mcp.hot_cache import MOST_USED, Contents, HotCache, read
from t4dm_integrations.mcp.reach import Reach
from t4dm_integrations.mcp.scope import Scope

pytestmark = pytest.mark.asyncio

ADA = Scope(columns=(("user_id", "ada"),))


class Pages:
    """A backend that lists memories with so many uses, newest first, and counts how often it is asked."""

    def __init__(self, uses: list[int]) -> None:
        self.uses = uses
        self.asked = 0

    def list(self, request: m.ListRequest) -> m.ListAnswer:
        self.asked += 1
        least = 0
        if request.filter is not None:
            least = request.filter.value if request.filter.field == "access_count" else 10**9  # type: ignore[assignment]
        found = [memory(number, uses) for number, uses in enumerate(self.uses) if uses >= least]
        return m.ListAnswer(results=found[: request.limit], total=len(found))


def memory(number: int, uses: int) -> m.Memory:
    time = "2026-05-01T00:00:00Z"
    facts = {"id": f"m{number:05}", "space": "default", "content": "x", "metadata": {}, "kind": "episodic",
             "namespace": [], "categories": [], "importance": 0.5, "kappa": 0.0, "event_time": time,
             "recorded_at": time, "created_at": time, "updated_at": time, "access_count": uses, "pinned": False,
             "version": 1}  # fmt: skip
    return m.Memory.model_validate(facts)


def cache_over(backend: Any, clock: Callable[[], float] = lambda: 0.0, **options: Any) -> HotCache:
    async def call(work: Callable[[MemoryBackend], Any], /) -> Any:
        await asyncio.sleep(0)
        return work(backend)

    return HotCache(Reach(call), clock=clock, **options)


@pytest.mark.parametrize("count", [0, 1, MOST_USED, 5000])
async def test_the_most_used_are_found_among_any_number(count: int) -> None:
    uses = [number % 97 for number in range(count)]

    found = read(Pages(uses), ADA).most_used  # type: ignore[arg-type]

    best = sorted((one for one in uses if one), reverse=True)[:MOST_USED]
    assert [one.access_count for one in found] == best


async def test_it_answers_by_itself_until_it_is_too_old() -> None:
    now = [100.0]
    backend = Pages([1, 2])
    cache = cache_over(backend, lambda: now[0], max_age_s=30)

    first = await cache.contents(ADA)
    now[0] = 129.9
    second = await cache.contents(ADA)
    asked = backend.asked
    now[0] = 130.0
    third = await cache.contents(ADA)

    assert second is first
    assert third is not first
    assert backend.asked == 2 * asked
    assert (cache.measured(ADA).hits, cache.measured(ADA).misses) == (1, 2)


async def test_who_asks_at_the_same_time_is_answered_by_one_reading() -> None:
    backend = Pages([1])
    cache = cache_over(backend)

    found = await asyncio.gather(*(cache.contents(ADA) for _ in range(10)))

    assert len({id(one) for one in found}) == 1
    measured = cache.measured(ADA).as_json()
    assert (measured["hits"], measured["misses"], measured["joined"]) == (0, 1, 9)


async def test_scopes_are_apart_and_a_write_drops_those_of_its_space() -> None:
    cache = cache_over(Pages([1]))
    bob, elsewhere = Scope(columns=(("user_id", "bob"),)), Scope("elsewhere")

    before = [await cache.contents(scope) for scope in (ADA, bob, elsewhere)]
    cache.drop("default")
    after = [await cache.contents(scope) for scope in (ADA, bob, elsewhere)]

    assert [one is other for one, other in zip(before, after, strict=True)] == [False, False, True]


async def test_what_was_read_before_a_write_is_not_kept_after_it() -> None:
    backend = Pages([1])
    cache: HotCache

    async def call(work: Callable[[MemoryBackend], Any], /) -> Any:
        found = work(backend)  # type: ignore[arg-type]
        cache.drop("default")  # written while the answer was on its way
        return found

    cache = HotCache(Reach(call))

    first, second = await cache.contents(ADA), await cache.contents(ADA)

    assert first is not second
    assert isinstance(first, Contents)
    assert cache.measured(ADA).misses == 2


async def test_a_failure_is_raised_and_counted_and_never_answered_with_what_is_too_old() -> None:
    now = [0.0]
    backend = Pages([1])
    cache = cache_over(backend, lambda: now[0], max_age_s=30)
    await cache.contents(ADA)

    def fail(request: m.ListRequest) -> m.ListAnswer:
        raise TransportError("gone", code="not_running")

    backend.list = fail  # type: ignore[method-assign]
    now[0] = 31.0
    with pytest.raises(TransportError, match="gone"):
        await cache.contents(ADA)

    assert cache.measured(ADA).failures == 1
