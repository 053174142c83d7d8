"""What AutoGen's memory asks of a daemon: every operation once."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from autogen_core import Image
from autogen_core.memory import Memory, MemoryContent, MemoryMimeType
from autogen_core.model_context import UnboundedChatCompletionContext
from autogen_core.models import AssistantMessage, UserMessage
from PIL import Image as Picture

from t4dm.adapters.autogen import T4DMAutoGenMemory


def play(url: str) -> Any:
    return asyncio.run(_play(url))


async def _play(url: str) -> Any:
    memory = T4DMAutoGenMemory(url, space="recorded", user_id="ada", namespace=["trips"], k=3)
    outcome: dict[str, Any] = {"before": _told((await memory.query("ferry")).results)}
    for content in (
        MemoryContent(content="The ferry leaves from pier six.", mime_type=MemoryMimeType.TEXT),
        MemoryContent(content="The ferry leaves from pier six.", mime_type="text/plain", metadata={"topic": "travel"}),
        MemoryContent(content="# Ferry\n\nIt has a bar.", mime_type=MemoryMimeType.MARKDOWN, metadata={"id": "bar"}),
        MemoryContent(content={"ferry": {"pier": 6, "fast": None}}, mime_type=MemoryMimeType.JSON),
        MemoryContent(content=b"\x00\xff", mime_type="application/pdf", metadata={"name": "Ferry times"}),
        MemoryContent(content=_picture(), mime_type=MemoryMimeType.IMAGE, metadata={"caption": "A ferry"}),
    ):
        await memory.add(content)
    outcome["found"] = _told((await memory.query("Which pier has the ferry?", k=10)).results)
    outcome["newest"] = _told((await memory.query("")).results)
    travel = {"field": "topic", "op": "eq", "value": "travel"}
    outcome["filtered"] = _told((await memory.query("ferry", filter=travel, mode="lexical", min_score=0.1)).results)

    context = UnboundedChatCompletionContext()
    await context.add_message(UserMessage(content="Which pier has the ferry?", source="user"))
    outcome["recalled"] = [_told((await memory.update_context(context)).memories.results) for _ in range(2)]
    # The day on which a memory was stored stands before it.
    outcome["context"] = [re.sub(r"\d{4}-\d\d-\d\d", "<day>", str(one.content)) for one in await context.get_messages()]
    said = [UserMessage(content="Is it fast?", source="user"), AssistantMessage(content="No.", source="ada")]
    outcome["captured"] = [await memory.capture(said), await memory.capture(said)]

    loaded = Memory.load_component(memory.dump_component())
    outcome["loaded"] = _told((await loaded.query("fast")).results)
    await memory.clear()
    outcome["after"] = _told((await loaded.query("")).results)
    await memory.close()
    await loaded.close()
    return outcome


def _picture() -> Image:
    return Image(Picture.new("RGB", (2, 2), (10, 20, 30)))


def _told(found: list[MemoryContent]) -> list[Any]:
    """Return contents as plain JSON, where bytes are hexadecimal, and no text that depends on a library's PNG."""
    return [
        {
            "type": type(one.content).__name__,
            "content": one.content.hex()
            if isinstance(one.content, bytes)
            else list(one.content.image.size)
            if isinstance(one.content, Image)
            else one.content,
            "mime_type": str(one.mime_type),
            "metadata": one.metadata,
        }
        for one in found
    ]
