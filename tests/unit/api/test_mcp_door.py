"""`/mcp` where MCP is not installed, and once the daemon stops."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from t4dm._backend import MemoryBackend
from t4dm_daemon.api.mcp import McpDoor

pytestmark = pytest.mark.asyncio


async def never(work: Callable[[MemoryBackend], Any], /) -> Any:
    raise AssertionError("memory is not asked")


async def asked(door: McpDoor) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(door)) as client:
        return await client.post("http://127.0.0.1/mcp", json={})


async def test_without_the_extra_the_answer_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    for name in [name for name in sys.modules if name.startswith("mcp.")]:
        monkeypatch.delitem(sys.modules, name)
    door = McpDoor(never, max_body_bytes=1024)

    answer = await asked(door)
    await door.close()

    assert answer.status_code == 501
    assert "pip install 't4dm[mcp]'" in answer.json()["error"]["message"]


async def test_a_door_that_is_closed_says_that_the_daemon_stops() -> None:
    pytest.importorskip("mcp")
    door = McpDoor(never, max_body_bytes=1024)

    before = await asked(door)
    await door.close()
    await door.close()
    after = await asked(door)

    assert before.status_code == 406  # it is open: the SDK answers, here that a client must accept event streams
    assert after.status_code == 503
    assert "stopping" in after.json()["error"]["message"]
