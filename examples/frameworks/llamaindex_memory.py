"""Give a LlamaIndex agent a memory that outlives its context window and its conversations.

Needs `pip install 't4dm[llamaindex]'` and a running daemon (`t4dm serve`) at T4DM_URL, by default
http://127.0.0.1:8765.
`MockLLM` answers with its own prompt, so that it can be seen what the model is told.
"""

import asyncio

from llama_index.core import Settings
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.memory import Memory

from t4dm.adapters.llamaindex import T4DMMemoryBlock

Settings.tokenizer = str.split  # LlamaIndex's own would be downloaded
SAID = [
    ("user", "My name is Ragnhild, and I am allergic to walnuts."),
    ("assistant", "I will keep that in mind."),
    ("user", "Let us talk about the weather for a while."),
    ("assistant", "It is cold and windy today, with snow in the hills."),
]


def conversation(session_id: str, block: T4DMMemoryBlock) -> Memory:
    """Return a memory whose window is so narrow that what is said soon leaves it."""
    return Memory.from_defaults(
        session_id=session_id,
        token_limit=200,
        token_flush_size=10,
        chat_history_token_ratio=0.1,
        memory_blocks=[block],
    )


async def main() -> None:
    block = T4DMMemoryBlock(space="example-llamaindex-memory", user_id="ragnhild")

    monday = conversation("monday", block)
    for role, text in SAID:
        await monday.aput(ChatMessage(role=role, content=text))

    tuesday = conversation("tuesday", block)
    engine = SimpleChatEngine.from_defaults(llm=MockLLM(), memory=tuesday)
    answer = await engine.achat("Am I allergic to anything?")
    print(answer)

    await block.aclose()


asyncio.run(main())
