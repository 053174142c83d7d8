"""A session over `/mcp`, as a genuine client and the daemon said it: `python -m tests.contract.mcp_server.recorded_session`.

record     let the client talk to a daemon and note every message
replay     let it talk to the recording alone: it must say the same again, and understand the same
resend     send what it said to a daemon: its answers must be the same
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCMessage
from pydantic import AnyUrl

from tests.support.daemon import Daemon
from tests.support.recording import Exchange, Recording

NAME: Final = "mcp_http"
_TARGET: Final = "/mcp?user_id=ada&space=recorded"
_HEADERS: Final = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


async def play(session: ClientSession) -> Any:
    """Talk, and return what came of it."""
    began = await session.initialize()
    outcome: dict[str, Any] = {"server": began.serverInfo.name, "capabilities": _plain(began.capabilities)}
    outcome["tools"] = _plain(await session.list_tools())
    outcome["resources"] = _plain(await session.list_resources())
    outcome["templates"] = _plain(await session.list_resource_templates())
    outcome["prompts"] = _plain(await session.list_prompts())
    stored = await session.call_tool("t4dm_remember", {"content": "The ferry leaves from pier six."})
    for name, arguments in (
        ("t4dm_search", {"query": "Which pier has the ferry?"}),
        ("t4dm_get", {"ids": [(stored.structuredContent or {})["id"]]}),
        ("t4dm_search", {"query": 5}),
        ("t4dm_nonsense", {}),
    ):
        outcome[f"{len(outcome)} {name}"] = _plain(await session.call_tool(name, arguments))
    recent = await session.read_resource(AnyUrl("memory://recent"))
    outcome["recent"] = len(json.loads(recent.contents[0].text)["results"])  # type: ignore[union-attr]
    await session.send_ping()
    return outcome


def _plain(model: Any) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


# Recording --------------------------------------------------------------------------------------------


async def record(url: str) -> Recording:
    recording = Recording(None)
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        streamable_http_client(url + _TARGET, http_client=http) as (incoming, outgoing, _),
        _noted(recording, incoming, outgoing) as streams,
        ClientSession(*streams) as session,
    ):
        recording.outcome = await play(session)
    return recording


@asynccontextmanager
async def _noted(recording: Recording, incoming: Any, outgoing: Any) -> AsyncIterator[tuple[Any, Any]]:
    """Pass messages on, and note what was said and what was answered."""
    to_client, from_server = anyio.create_memory_object_stream[Any](100)
    to_server, from_client = anyio.create_memory_object_stream[Any](100)
    asked: dict[Any, Exchange] = {}

    async def out() -> None:
        async with from_client:
            async for message in from_client:
                said = _json(message)
                exchange = Exchange("POST", _TARGET, said, 200 if "id" in said else 202, None)
                recording.exchanges.append(exchange)
                asked[said.get("id")] = exchange
                await outgoing.send(message)

    async def back() -> None:
        async with to_client:
            async for message in incoming:
                answer = _json(message)
                asked[answer["id"]].answer = answer
                await to_client.send(message)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(out)
        tasks.start_soon(back)
        yield from_server, to_server
        tasks.cancel_scope.cancel()


def _json(message: SessionMessage) -> dict[str, Any]:
    found: dict[str, Any] = message.message.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found


# Replaying and sending again --------------------------------------------------------------------------


async def replay(recording: Recording) -> tuple[Any, list[Any]]:
    """Let the client talk to the recording. Return the outcome, and what the client said."""
    to_client, from_server = anyio.create_memory_object_stream[Any](100)
    to_server, from_client = anyio.create_memory_object_stream[Any](100)
    said: list[Any] = []

    async def answer() -> None:
        async with to_client, from_client:
            async for message in from_client:
                said.append(_json(message))
                expected = recording.exchanges[len(said) - 1]
                if expected.answer is not None:
                    await to_client.send(SessionMessage(JSONRPCMessage.model_validate(expected.answer)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answer)
        async with ClientSession(from_server, to_server) as session:
            outcome = await play(session)
        tasks.cancel_scope.cancel()
    return outcome, said


class Sender:
    """Send messages to a daemon as a client does, within one session."""

    def __init__(self) -> None:
        self._headers = dict(_HEADERS)

    def __call__(self, http: httpx.Client, method: str, target: str, request: Any) -> tuple[int, Any]:
        response = http.request(method, target, json=request, headers=self._headers, timeout=30)
        if session := response.headers.get("mcp-session-id"):
            self._headers["mcp-session-id"] = session
        data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")]
        return response.status_code, json.loads(data[-1]) if data else None


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory) / "home"
        home.mkdir()
        daemon = Daemon(home, cache=Path(directory) / "cache", model="hashing").start()
        try:
            recording = asyncio.run(record(daemon.url))
        finally:
            daemon.close()
    recording.save(NAME)
    print(f"{NAME}: {len(recording.exchanges)} exchanges")


if __name__ == "__main__":
    main()
