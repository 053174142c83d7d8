"""An AutoGen agent that remembers: what one run was told, the next one knows.

`ReplayChatCompletionClient` stands where a language model would, so that this runs offline. Needs a running daemon
(`t4dm serve`) at T4DM_URL, by default http://127.0.0.1:8765, and: pip install 't4dm[autogen]' autogen-ext
"""

import asyncio

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import MemoryQueryEvent
from autogen_core.memory import MemoryContent, MemoryMimeType
from autogen_ext.models.replay import ReplayChatCompletionClient

from t4dm.adapters.autogen import T4DMAutoGenMemory


async def main() -> None:
    async with T4DMAutoGenMemory(space="autogen-example", user_id="ada", k=2) as memory:
        await memory.clear()  # so that running it again begins afresh
        await memory.add(
            MemoryContent(
                content="The spare key hangs behind the fuse box.",
                mime_type=MemoryMimeType.TEXT,
                metadata={"topic": "house"},
            )
        )

        first = AssistantAgent("assistant", ReplayChatCompletionClient(["Walnuts, noted."]), memory=[memory])
        said = await first.run(task="I'm allergic to walnuts.")
        print("captured:", await memory.capture(said, sources=["user"]))

        # Another agent, as after a restart: its context is empty, its memory is not.
        second = AssistantAgent("assistant", ReplayChatCompletionClient(["…", "…"]), memory=[memory])
        for question in ("What must I not eat?", "How do I get in if I lock myself out?"):
            result = await second.run(task=question)
            for event in result.messages:
                if isinstance(event, MemoryQueryEvent):
                    print(f"{question} -> {event.content[0].content}")


if __name__ == "__main__":
    asyncio.run(main())
