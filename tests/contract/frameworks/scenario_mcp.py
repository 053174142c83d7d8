"""What the MCP server asks of a daemon: every tool, resource and prompt once, and the knowledge graph's."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from mcp import ClientSession

from t4dm_integrations.mcp.scope import Scope
from tests.support.mcp_sessions import in_memory, text_of

DAY = r"\d{4}-\d\d-\d\d(T[\d:.]+Z| \d\d:\d\d(:\d\d)?)?"
ENTITY = {"name": "Ada", "entityType": "person", "observations": ["likes tea"]}
RELATION = {"from": "Ada", "to": "Acme", "relationType": "works at"}


def play(url: str) -> Any:
    return asyncio.run(_play(url))


async def _play(url: str) -> Any:
    outcome: dict[str, Any] = {}
    async with in_memory(url, Scope("recorded", (("user_id", "ada"),))) as session:
        outcome["instructions"] = _undated((await session.initialize()).instructions or "")
        call = _caller(session, outcome)
        await call("t4dm_search", query="ferry")
        project = [{"key": "project", "value": "trips"}]
        ferry = await call(
            "t4dm_remember", content="The ferry leaves from pier six.", kind="semantic", categories=["travel"],
            importance=0.8, metadata=project, event_time="2026-05-01T10:00:00Z",
        )  # fmt: skip
        bar = await call("t4dm_remember", content="The ferry has a bar.")
        await call("t4dm_remember", content="The ferry leaves from pier seven.", supersedes=[ferry["id"]])
        await call("t4dm_search", query="Which pier has the ferry?", limit=2, categories=["travel"], metadata=project)
        await call("t4dm_update", id=bar["id"], content="The ferry has two bars.", pinned=True)
        await call("t4dm_link", source_id=bar["id"], target_id=ferry["id"], type="PART_OF", weight=0.5)
        await call("t4dm_related", id=bar["id"], direction="out", depth=2)
        await call("t4dm_get", ids=[bar["id"], "nobody"], history=True, links=True)
        await call("t4dm_timeline", after="2026-01-01T00:00:00Z", limit=5)
        await call("t4dm_capture", turns=[{"role": "user", "content": "Is it fast?"}])
        await call("t4dm_forget", ids=["nobody"])
        await call("t4dm_forget", ids=[bar["id"]])
        for uri in ("memory://context", "memory://recent", "memory://project/trips"):
            outcome[uri] = _undated(await text_of(session, uri))
        (message,) = (await session.get_prompt("recall", {"topic": "ferry"})).messages
        outcome["recall"] = _undated(str(message.content.text))  # type: ignore[union-attr]
    async with in_memory(url, Scope("graph", (), "knowledge-graph")) as session:
        call = _caller(session, outcome)
        await call("create_relations", relations=[RELATION])
        await call("create_entities", entities=[ENTITY, {**ENTITY, "name": "Acme"}])
        await call("add_observations", observations=[{"entityName": "Ada", "contents": ["likes tea", "is tall"]}])
        await call("search_nodes", query="TALL")
        await call("open_nodes", names=["Acme"])
        await call("delete_observations", deletions=[{"entityName": "Ada", "observations": ["is tall"]}])
        await call("delete_relations", relations=[RELATION])
        await call("delete_entities", entityNames=["Acme"])
        await call("read_graph")
    return outcome


def _caller(session: ClientSession, outcome: dict[str, Any]) -> Any:
    async def call(name: str, **arguments: Any) -> Any:
        result = await session.call_tool(name, arguments)
        text = str(result.content[0].text)  # type: ignore[union-attr]
        outcome[f"{len(outcome)} {name}"] = text if result.isError else result.structuredContent
        return result.structuredContent

    return call


def _undated(text: str) -> str:
    """Return a text without days and ages."""
    return re.sub(DAY + r"|\d+ (second|minute|hour|day|month|year)s? ago|just now", "<time>", text)
