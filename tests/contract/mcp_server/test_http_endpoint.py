"""The endpoint's sessions: how many there are, and what becomes of the one too many."""

from __future__ import annotations

import httpx
import pytest

pytest.importorskip("mcp")

from t4dm._backend import MemoryBackend
from t4dm._connection import Connection
from t4dm_integrations.mcp.http import HttpEndpoint
from t4dm_integrations.mcp.reach import InThreads
from tests.e2e.test_mcp_http import HEADERS, INITIALIZE

pytestmark = pytest.mark.asyncio


async def test_one_session_too_many_ends_the_one_that_is_idle_longest(embedded: MemoryBackend) -> None:
    call = InThreads(Connection(client=embedded))
    endpoint = HttpEndpoint(call, max_body_bytes=10_000, max_sessions=3)
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}

    async with (
        endpoint.run(),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(endpoint), base_url="http://127.0.0.1", headers=HEADERS
        ) as http,
    ):

        async def begun() -> str:
            return str((await http.post("/mcp", json=INITIALIZE)).raise_for_status().headers["mcp-session-id"])

        async def status(session: str) -> int:
            return (await http.post("/mcp", json=listing, headers={"mcp-session-id": session})).status_code

        sessions = [await begun() for _ in range(3)]
        assert await status(sessions[0]) == 200
        sessions += [await begun(), await begun()]
        statuses = [await status(session) for session in sessions]

    assert statuses == [200, 404, 404, 200, 200]
