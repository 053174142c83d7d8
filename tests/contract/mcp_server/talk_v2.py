"""A conversation by the client of mcp 2, as a program: `python talk_v2.py URL|stdio MODE`. Prints what came of it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from mcp import Client, MCPError, StdioServerParameters

CHANGED = "memory://recent"


async def talk(target: Any, mode: str) -> dict[str, Any]:
    told: list[str] = []

    async def listen(message: Any) -> None:
        if "resources/updated" in str(getattr(message, "method", "")):
            told.append(str(message.params.uri))

    async with Client(target, mode=mode, message_handler=listen) as client:
        found: dict[str, Any] = {
            "protocol": client.protocol_version,
            "instructions": client.instructions,
            "tools": [tool.name for tool in (await client.list_tools()).tools],
            "resources": [str(one.uri) for one in (await client.list_resources()).resources],
            "prompts": [one.name for one in (await client.list_prompts()).prompts],
        }
        stored = await client.call_tool("t4dm_remember", {"content": "The otter sleeps at noon"})
        search = await client.call_tool("t4dm_search", {"query": "When does the otter sleep?"})
        wrong = await client.call_tool("t4dm_search", {"query": 5})
        found["stored"] = stored.structured_content
        found["found"] = search.structured_content["results"][0]["content"]
        found["wrong"] = [wrong.is_error, wrong.content[0].text]
        (content,) = (await client.read_resource("memory://context")).contents
        found["context"] = content.text
        (message,) = (await client.get_prompt("recall", {"topic": "otter"})).messages
        found["prompt"] = message.content.text
        try:
            await client.read_resource("memory://nonsense")
        except MCPError as error:
            found["nonsense"] = str(error)
        found["updated"] = await changes(client, told)
        return found


async def changes(client: Any, told: list[str]) -> list[str]:
    """Return what is said to have changed after a write."""
    async with asyncio.timeout(20):
        if client.protocol_version < "2026":
            await client.session.subscribe_resource(CHANGED)
            await client.call_tool("t4dm_remember", {"content": "Something new"})
            while not told:
                await asyncio.sleep(0.02)
            return told
        async with client.listen(resource_subscriptions=[CHANGED]) as events:
            await client.call_tool("t4dm_remember", {"content": "Something new"})
            async for event in events:
                return [str(event.uri)]
    return []


def main() -> None:
    target, mode = sys.argv[1:3]
    if target == "stdio":
        environment = {**os.environ, "PYTHONPATH": os.environ["SERVER_PYTHONPATH"]}
        server: Any = StdioServerParameters(command=sys.executable, args=["-m", "t4dm.mcp.server"], env=environment)
    else:
        server = target
    print(json.dumps(asyncio.run(talk(server, mode))))


if __name__ == "__main__":
    main()
