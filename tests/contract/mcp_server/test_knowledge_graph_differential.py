"""The profile `knowledge-graph` beside the reference memory server, over generated calls.

Needs `@modelcontextprotocol/server-memory` (2026.8.31 is what it was written for) in the node_modules of the directory
that T4DM_NPM names.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from t4dm._backend import MemoryBackend
from t4dm_integrations.mcp.scope import Scope
from tests.support.mcp_sessions import in_memory

_NPM = Path(os.environ.get("T4DM_NPM", "/nowhere"))
_SERVER = _NPM / "node_modules" / "@modelcontextprotocol" / "server-memory" / "dist" / "index.js"
_NODE = os.environ.get("T4DM_NODE", "node")

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(not _SERVER.is_file(), reason="T4DM_NPM names no directory with the reference memory server"),
]

NAMES = ["Ada", "ada", "Ünal 🦊", "a b", "Bob", "x" * 300]
TYPES = ["person", "Person", "place", "thing"]
TEXTS = ["likes tea", "LIKES TEA", "plays the cello", "«naïve» 100 %", "line\nbreak", '"quoted" \\ back', ""]
RELATIONS = ["knows", "works at", "depends on", "DEPENDS_ON", "part of"]


@asynccontextmanager
async def reference(file: Path) -> AsyncIterator[ClientSession]:
    environment = {**os.environ, "MEMORY_FILE_PATH": str(file)}
    parameters = StdioServerParameters(command=_NODE, args=[str(_SERVER)], env=environment)
    with Path(os.devnull).open("w") as silence:
        async with stdio_client(parameters, errlog=silence) as streams, ClientSession(*streams) as session:
            await session.initialize()
            yield session


def generated(chance: random.Random, count: int) -> list[tuple[str, dict[str, Any]]]:
    """Return calls; within one, nothing is told twice (there the reference server stores it twice, and T4DM once)."""

    def some(of: list[str], most: int) -> list[str]:
        return chance.sample(of, chance.randint(0, most))

    def relations() -> list[dict[str, str]]:
        found = {
            (chance.choice(NAMES), chance.choice(NAMES), chance.choice(RELATIONS)) for _ in range(chance.randint(0, 4))
        }
        return [{"from": one, "to": other, "relationType": kind} for one, other, kind in sorted(found)]

    def entities() -> list[dict[str, Any]]:
        return [
            {"name": name, "entityType": chance.choice(TYPES), "observations": some(TEXTS, 3)}
            for name in some(NAMES, 3)
        ]

    makers = {
        "create_entities": lambda: {"entities": entities()},
        "create_relations": lambda: {"relations": relations()},
        "add_observations": lambda: {
            "observations": [{"entityName": name, "contents": some(TEXTS, 3)} for name in some(NAMES, 2)]
        },
        "delete_entities": lambda: {"entityNames": some(NAMES, 2)},
        "delete_observations": lambda: {
            "deletions": [{"entityName": name, "observations": some(TEXTS, 2)} for name in some(NAMES, 2)]
        },
        "delete_relations": lambda: {"relations": relations()},
        "read_graph": dict,
        "search_nodes": lambda: {"query": chance.choice(["tea", "PERSON", "ü", "", "break", "nowhere", "🦊"])},
        "open_nodes": lambda: {"names": some(NAMES, 3)},
    }
    weights = [4, 4, 4, 1, 2, 2, 1, 2, 2]
    return [(name, makers[name]()) for name in chance.choices(list(makers), weights, k=count)]


@pytest.mark.parametrize("seed", range(8))
async def test_both_servers_answer_the_same(embedded: MemoryBackend, space: str, tmp_path: Path, seed: int) -> None:
    scope = Scope(space, (), "knowledge-graph")

    async with reference(tmp_path / "memory.jsonl") as theirs, in_memory(embedded, scope) as ours:
        for name, arguments in [*generated(random.Random(seed), 40), ("read_graph", {})]:
            expected = await theirs.call_tool(name, arguments)
            found = await ours.call_tool(name, arguments)
            told = f"seed {seed}: {name} {json.dumps(arguments, ensure_ascii=False)}"
            assert found.isError == expected.isError, (told, found.content, expected.content)
            if expected.isError or name.startswith("delete"):
                continue  # the words are each server's own
            assert found.structuredContent == expected.structuredContent, told
            assert [one.text for one in found.content] == [one.text for one in expected.content], told  # type: ignore[union-attr]


async def test_the_file_of_the_reference_server_becomes_the_same_graph(
    embedded: MemoryBackend, space: str, tmp_path: Path
) -> None:
    file = tmp_path / "memory.jsonl"
    async with reference(file) as theirs:
        for name, arguments in generated(random.Random(99), 60):
            await theirs.call_tool(name, arguments)
        expected = await theirs.call_tool("read_graph", {})

    async with in_memory(embedded, Scope(space, (), "knowledge-graph"), memory_file=file) as ours:
        found = await ours.call_tool("read_graph", {})

    assert expected.structuredContent != {"entities": [], "relations": []}
    assert found.structuredContent == expected.structuredContent


async def test_tools_have_the_same_names_arguments_answers_and_hints(
    embedded: MemoryBackend, space: str, tmp_path: Path
) -> None:
    async with (
        reference(tmp_path / "m.jsonl") as theirs,
        in_memory(embedded, Scope(space, (), "knowledge-graph")) as ours,
    ):
        expected = (await theirs.list_tools()).tools
        found = (await ours.list_tools()).tools

    assert [shape(tool) for tool in found] == [shape(tool) for tool in expected]


def shape(tool: Any) -> Any:
    """Return what programs depend on: not the words, and not whether unknown fields are refused or left out."""
    hints = tool.annotations.model_dump(exclude={"title"})
    return tool.name, tool.title, hints, plain(tool.inputSchema), plain(tool.outputSchema)


def plain(schema: Any) -> Any:
    if isinstance(schema, dict):
        left_out = {"description", "additionalProperties", "$schema"}
        return {
            key: sorted(one) if key == "required" else plain(one) for key, one in schema.items() if key not in left_out
        }
    return schema
