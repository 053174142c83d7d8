"""Subscribers that are in each other's way, and resources that cannot be looked at."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("mcp")

from t4dm_integrations.mcp.scope import Scope
from t4dm_integrations.mcp.watching import Watcher

pytestmark = pytest.mark.asyncio

URI = "memory://recent"


class Resource:
    """Something that looks different whenever it is looked at."""

    def __init__(self) -> None:
        self.looks = 0

    async def look(self, scope: Scope, uri: str) -> str:
        self.looks += 1
        if scope.space == "broken" and self.looks > 2:
            raise RuntimeError("unexpected")
        return str(self.looks)


async def test_a_subscriber_that_does_not_listen_keeps_no_other_waiting() -> None:
    watcher = Watcher(Resource().look, interval_s=0.01, patience_s=0.05)
    heard = asyncio.Event()

    async def hang(uri: str) -> None:
        await asyncio.Event().wait()

    async def hear(uri: str) -> None:
        heard.set()

    await watcher.subscribe(Scope(), URI, "hangs", hang)
    await watcher.subscribe(Scope(), URI, "hears", hear)
    async with asyncio.timeout(10):
        await heard.wait()
    await watcher.close()


async def test_a_resource_that_fails_unexpectedly_silences_no_other(caplog: pytest.LogCaptureFixture) -> None:
    watcher = Watcher(Resource().look, interval_s=0.01)
    times = asyncio.Semaphore(0)

    async def hear(uri: str) -> None:
        times.release()

    await watcher.subscribe(Scope("broken"), URI, "one", hear)
    await watcher.subscribe(Scope(), URI, "other", hear)
    async with asyncio.timeout(10):
        for _ in range(5):
            await times.acquire()
    await watcher.close()

    assert "cannot tell of changes" in caplog.text
