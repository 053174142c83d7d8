"""Genuine MCP clients (mcp 1.30 and later versions of 1) connected to T4DM's server in three ways."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.memory import create_connected_server_and_client_session

from t4dm._backend import MemoryBackend
from t4dm._connection import Connection
from t4dm_integrations.mcp import wiring
from t4dm_integrations.mcp.knowledge_graph import KnowledgeGraphs
from t4dm_integrations.mcp.reach import InThreads, Reach
from t4dm_integrations.mcp.scope import Scope
from t4dm_integrations.mcp.service import MemoryServer

Heard = list[Any]


@asynccontextmanager
async def in_memory(
    backend: MemoryBackend | str,
    scope: Scope,
    *,
    heard: Heard | None = None,
    deadline_s: float = 10.0,
    watch_s: float = 60.0,
    cache_age_s: float = 30.0,
    memory_file: Any = None,
) -> AsyncIterator[ClientSession]:
    """Connect a client with a server in this process, over a backend or a daemon's URL."""
    is_url = isinstance(backend, str)
    connection = Connection(backend, max_retries=0) if is_url else Connection(client=backend)  # type: ignore[arg-type]
    call = InThreads(connection)
    reach = Reach(call, deadline_s=deadline_s)
    graphs = KnowledgeGraphs(reach, memory_file=memory_file)
    served = MemoryServer(reach, graphs, watch_s=watch_s, cache_age_s=cache_age_s)
    wiring.current_scope.set(scope)
    wiring.current_instructions.set(await served.instructions(scope))
    try:
        async with create_connected_server_and_client_session(
            wiring.make_server(served), message_handler=_listener(heard)
        ) as session:
            yield session
    finally:
        await served.close()
        call.close()


@asynccontextmanager
async def over_stdio(
    *arguments: str, environment: dict[str, str] | None = None, heard: Heard | None = None, python: str = sys.executable
) -> AsyncIterator[ClientSession]:
    """Start `python -m t4dm.mcp.server` and connect a client with it; `session.began` says what it was told."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("T4DM_")}
    parameters = StdioServerParameters(
        command=python, args=["-m", "t4dm.mcp.server", *arguments], env=kept | (environment or {})
    )
    async with (
        stdio_client(parameters) as (incoming, outgoing),
        ClientSession(incoming, outgoing, message_handler=_listener(heard)) as session,
    ):
        yield session


@asynccontextmanager
async def over_http(url: str, *, heard: Heard | None = None) -> AsyncIterator[ClientSession]:
    """Connect a client with the server at an address."""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=30.0) as http,
        streamable_http_client(url, http_client=http) as (incoming, outgoing, _),
        ClientSession(incoming, outgoing, message_handler=_listener(heard)) as session,
    ):
        yield session


async def call(session: ClientSession, name: str, **arguments: Any) -> Any:
    """Call a tool that must succeed, and return its structured answer, which its text repeats."""
    result = await session.call_tool(name, arguments)
    assert not result.isError, result.content
    return result.structuredContent


async def refused(session: ClientSession, name: str, **arguments: Any) -> str:
    """Call a tool that must fail, and return what the model is told."""
    result = await session.call_tool(name, arguments)
    assert result.isError, result.structuredContent
    assert result.structuredContent is None
    return str(result.content[0].text)  # type: ignore[union-attr]


async def text_of(session: ClientSession, uri: str) -> str:
    """Read a resource as text."""
    (content,) = (await session.read_resource(uri)).contents  # type: ignore[arg-type]
    return str(content.text)  # type: ignore[union-attr]


async def json_of(session: ClientSession, uri: str) -> Any:
    """Read a resource as JSON."""
    return json.loads(await text_of(session, uri))


def updated(heard: Heard) -> list[str]:
    """Return the addresses of the resources that were said to have changed."""
    roots = [getattr(one, "root", None) for one in heard]
    return [str(root.params.uri) for root in roots if getattr(root, "method", "") == "notifications/resources/updated"]


def _listener(heard: Heard | None) -> Callable[[Any], Any]:
    async def listen(message: Any) -> None:
        if heard is not None:
            heard.append(message)

    return listen
