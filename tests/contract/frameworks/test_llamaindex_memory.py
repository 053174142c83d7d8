"""LlamaIndex's `Memory` with T4DM's block of long-term memory, against a real daemon."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_index.core")
pytest_asyncio = pytest.importorskip("pytest_asyncio")

from llama_index.core import MockEmbedding, Settings
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.llms import MockLLM
from llama_index.core.memory import Memory, VectorMemoryBlock
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

from t4dm.sdk import models as m
from t4dm.sdk.errors import TransportError, ValidationError
from t4dm_integrations.llamaindex import T4DMMemoryBlock, T4DMVectorStore
from tests.support.daemon import Daemon

CHAT = [
    ("user", "Hello, my name is Ragnhild and I keep bees in Tromsø."),
    ("assistant", "Nice to meet you, Ragnhild."),
    ("user", "I am allergic to walnuts."),
    ("assistant", "I will keep that in mind."),
    ("user", "Let us talk about the weather for a while."),
    ("assistant", "It is cold and windy today, with some snow in the hills."),
]


@pytest.fixture(autouse=True)
def offline() -> Iterator[None]:
    before = Settings._tokenizer, Settings._embed_model, Settings._llm
    Settings.tokenizer = str.split
    Settings.embed_model = MockEmbedding(embed_dim=8)
    Settings.llm = MockLLM()
    yield
    Settings._tokenizer, Settings._embed_model, Settings._llm = before


def remembering(session: str, *blocks: Any, **options: Any) -> Memory:
    """Return a memory with a window so narrow that all but the last turn leaves it."""
    return Memory.from_defaults(
        session_id=session,
        tokenizer_fn=str.split,
        memory_blocks=[*blocks],
        **{"token_limit": 30, "token_flush_size": 5, "chat_history_token_ratio": 0.5, **options},
    )


async def talk(memory: Memory) -> None:
    for role, text in CHAT:
        await memory.aput(ChatMessage(role=role, content=text))


async def prompt(memory: Memory, question: str) -> str:
    return "\n".join(str(message.content) for message in await memory.aget(input=question))


class Counting:
    """A client that keeps what it is given."""

    def __init__(self) -> None:
        self.parts: list[list[m.RecordIn]] = []

    async def store(self, request: m.StoreRequest) -> None:
        raise NotImplementedError

    async def batch(self, request: m.BatchRequest) -> None:
        self.parts.append(request.records)


def kept_in(block: T4DMMemoryBlock, daemon: Daemon) -> list[str]:
    with daemon.client() as client:
        return [one.content for one in client.list(m.ListRequest(space=block.space, order_by="insertion")).results]


@pytest_asyncio.fixture
async def block(plain_daemon: Daemon, request: pytest.FixtureRequest) -> AsyncIterator[T4DMMemoryBlock]:
    block = T4DMMemoryBlock(url=plain_daemon.url, space=request.node.name, user_id="ragnhild")
    yield block
    await block.aclose()


@pytest.mark.asyncio
async def test_what_left_the_window_is_recalled_when_it_matters(block: T4DMMemoryBlock) -> None:
    memory = remembering("monday", block)
    await talk(memory)

    told = await prompt(memory, "Am I allergic to anything?")

    assert "<LongTermMemory>" in told
    assert "User: I am allergic to walnuts." in told
    assert len(await memory.aget_all()) == len(CHAT)


@pytest.mark.asyncio
@pytest.mark.slow
async def test_memories_outlive_a_restart_of_the_daemon_and_the_session(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(home=tmp_path / "home").start()
    block = T4DMMemoryBlock(url=daemon.url, user_id="ragnhild")
    await talk(remembering("monday", block))
    await block.aclose()
    daemon.terminate()

    block = T4DMMemoryBlock(url=daemon.start().url, user_id="ragnhild")
    stranger = T4DMMemoryBlock(url=daemon.url, user_id="bob")
    told = await prompt(remembering("tuesday", block), "Am I allergic to anything?")
    of_stranger = await prompt(remembering("tuesday", stranger), "Am I allergic to anything?")
    await block.aclose()
    await stranger.aclose()

    assert "walnuts" in told
    assert "walnuts" not in of_stranger


@pytest.mark.asyncio
async def test_without_an_owner_a_conversation_recalls_itself_alone(plain_daemon: Daemon) -> None:
    block = T4DMMemoryBlock(url=plain_daemon.url, space="no owner")
    monday, tuesday = remembering("monday", block), remembering("tuesday", block)
    await talk(monday)

    assert "walnuts" in await prompt(monday, "Am I allergic to anything?")
    assert "walnuts" not in await prompt(tuesday, "Am I allergic to anything?")
    assert "walnuts" in await prompt(monday, "Am I allergic to anything?")
    shared = T4DMMemoryBlock(url=plain_daemon.url, space="no owner", across_sessions=True)
    assert "walnuts" in await prompt(remembering("tuesday", shared), "Am I allergic to anything?")
    await block.aclose()
    await shared.aclose()


@pytest.mark.asyncio
async def test_an_owner_may_keep_conversations_apart(plain_daemon: Daemon) -> None:
    block = T4DMMemoryBlock(url=plain_daemon.url, space="apart", user_id="ragnhild", across_sessions=False)
    await talk(remembering("monday", block))

    assert "walnuts" not in await prompt(remembering("tuesday", block), "Am I allergic to anything?")
    assert "walnuts" in await prompt(remembering("monday", block), "Am I allergic to anything?")
    await block.aclose()


@pytest.mark.asyncio
async def test_what_nothing_answers_recalls_nothing(block: T4DMMemoryBlock) -> None:
    assert await block.aget([ChatMessage(content="Anything?")], session_id="monday") == ""
    await talk(remembering("monday", block))

    assert await block.aget([], session_id="monday") == ""
    assert await block.aget([ChatMessage(role="assistant", content="walnuts")], session_id="monday") == ""
    assert await block.aget([ChatMessage(content=" ")], session_id="monday") == ""
    assert await block.aget([ChatMessage(content="zxqv ghjk wrtp")], session_id="monday") == ""


@pytest.mark.asyncio
async def test_messages_are_kept_with_their_session_and_their_speaker(
    block: T4DMMemoryBlock, plain_daemon: Daemon
) -> None:
    await block.aput(
        [
            ChatMessage(role="system", content="Be kind."),
            ChatMessage(role="user", content="Größe 🚀"),
            ChatMessage(role="tool", content="42"),
            ChatMessage(role="user", blocks=[ImageBlock(image=b"aGVsbG8="), TextBlock(text="a"), TextBlock(text="b")]),
            ChatMessage(role="assistant", content=""),
        ],
        session_id="monday",
    )
    await block.aput([ChatMessage(role="user", content="Größe 🚀")], session_id="monday")
    await block.aput([])

    with plain_daemon.client() as client:
        kept = client.list(m.ListRequest(space=block.space, order_by="insertion")).results
    assert [(one.content, one.metadata, one.session_id, one.user_id) for one in kept] == [
        ("User: Größe 🚀", {"role": "user"}, "monday", "ragnhild"),
        ("User: a\nb", {"role": "user"}, "monday", "ragnhild"),
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("letter", ["a", "漢", "🚀"])
async def test_a_text_that_is_too_long_for_one_memory_becomes_several(
    block: T4DMMemoryBlock, plain_daemon: Daemon, letter: str
) -> None:
    words = [f"{at:07} {letter * 12}" for at in range(60_000)]

    await block.aput([ChatMessage(content=text) for text in ("Before.", "\n".join(words), "After.")], session_id="x")

    contents = kept_in(block, plain_daemon)
    assert contents[0] == "User: Before."
    assert contents[-1] == "User: After."
    assert len(contents) > 3
    assert all(one.startswith("User: ") for one in contents)
    assert " ".join(one.removeprefix("User: ") for one in contents[1:-1]).split() == " ".join(words).split()


@pytest.mark.asyncio
async def test_what_is_private_in_a_text_that_is_too_long_is_not_stored(
    block: T4DMMemoryBlock, plain_daemon: Daemon
) -> None:
    private = f"<private>{'secret ' * 150_000}</private>"
    long = "".join(f"{at:07}" for at in range(143_000))

    await block.aput([ChatMessage(content=f"Open. {private} End."), ChatMessage(content=private)], session_id="x")
    await block.aput([ChatMessage(content=f"Open. {private}{long}")], session_id="y")

    first, *others = kept_in(block, plain_daemon)
    assert first == "User: Open. End."
    assert "".join(one.removeprefix("User: ") for one in others) == f"Open.{long}"


@pytest.mark.asyncio
async def test_more_messages_than_fit_into_one_request_are_all_stored() -> None:
    client = Counting()
    block = T4DMMemoryBlock(client=client)

    await block.aput([ChatMessage(content=f"Message {at}.") for at in range(1200)])
    await block.aput([ChatMessage(content="漢" * 340_000) for _ in range(20)])

    assert [one.content for part in client.parts for one in part][:1200] == [
        f"User: Message {at}." for at in range(1200)
    ]
    assert sum(len(part) for part in client.parts) == 1220
    assert all(len(part) <= 500 for part in client.parts)
    assert all(sum(len(one.content.encode()) for one in part) <= 8 * 1024 * 1024 for part in client.parts)


@pytest.mark.asyncio
async def test_a_message_that_cannot_be_stored_is_told_and_keeps_no_other_from_being_stored(
    block: T4DMMemoryBlock, plain_daemon: Daemon
) -> None:
    with pytest.raises(ValidationError, match="surrogate"):
        await block.aput([ChatMessage(content=text) for text in ("Before.", "\ud800", "After.")], session_id="x")

    assert kept_in(block, plain_daemon) == ["User: Before.", "User: After."]


@pytest.mark.asyncio
async def test_without_a_session_no_other_sessions_are_recalled(block: T4DMMemoryBlock) -> None:
    await block.aput([ChatMessage(content="I am allergic to walnuts.")], session_id="monday")
    asked = [ChatMessage(content="What about walnuts?")]

    for update in ({"across_sessions": False}, {"user_id": None}, {"user_id": None, "across_sessions": False}):
        with pytest.raises(ValueError, match="give session_id"):
            await block.model_copy(update=update).aget(asked)
    assert "walnuts" in await block.aget(asked)
    assert "walnuts" in await block.model_copy(update={"across_sessions": False}).aget(asked, session_id="monday")


@pytest.mark.asyncio
async def test_the_owner_and_the_place_are_those_of_the_settings_when_a_block_is_used(block: T4DMMemoryBlock) -> None:
    asked = [ChatMessage(content="What about walnuts?")]
    await block.aput([ChatMessage(content="I am allergic to walnuts.")], session_id="x")
    bob = block.model_copy(update={"user_id": "bob"})
    elsewhere = block.model_copy(update={"url": "http://127.0.0.1:1", "max_retries": 0})

    assert await bob.aget(asked) == ""
    await bob.aput([ChatMessage(content="I sell walnuts.")], session_id="x")
    assert "sell" not in await block.aget(asked)
    with pytest.raises(TransportError):
        await elsewhere.aget(asked)
    with pytest.raises(ValueError, match="frozen"):
        block.url = "http://127.0.0.1:1"
    block.user_id = "bob"
    told = await block.aget(asked)
    assert "sell" in told
    assert "allergic" not in told
    await elsewhere.aclose()


@pytest.mark.asyncio
async def test_what_is_remembered_and_recalled_can_be_narrowed(block: T4DMMemoryBlock) -> None:
    quiet = block.model_copy(update={"accept_short_term_memory": False})
    await quiet.aput([ChatMessage(content="I am allergic to walnuts.")], from_short_term_memory=True, session_id="x")
    await block.aput([ChatMessage(role="assistant", content="Walnuts are nuts.")], session_id="x")
    asked = [ChatMessage(content="Tell me of walnuts.")]

    settings = block.model_dump(exclude={"filters"})
    of_users = T4DMMemoryBlock(**settings, filters=MetadataFilters(filters=[MetadataFilter(key="role", value="user")]))

    assert "Walnuts are nuts." in await block.aget(asked)
    assert "allergic" not in await block.aget(asked)
    assert await of_users.aget(asked) == ""
    await of_users.aclose()


@pytest.mark.asyncio
async def test_blocks_beside_each_other_all_learn_the_session(block: T4DMMemoryBlock, plain_daemon: Daemon) -> None:
    store = T4DMVectorStore(url=plain_daemon.url, space="beside")
    other = VectorMemoryBlock(vector_store=store)
    last = T4DMMemoryBlock(url=plain_daemon.url, name="Last", space="beside, last")
    await talk(remembering("monday", other, block, last))

    with plain_daemon.client() as client:
        for space in (block.space, last.space):
            kept = client.list(m.ListRequest(space=space)).results
            assert {one.session_id for one in kept} == {"monday"}
    await store.aclose()
    await last.aclose()


@pytest.mark.asyncio
async def test_content_that_is_too_long_loses_its_least_useful_memories(plain_daemon: Daemon) -> None:
    block = T4DMMemoryBlock(url=plain_daemon.url, space="cut", user_id="ragnhild", priority=1, header="Notes:")
    for fruit in ("apples", "pears", "plums", "quinces"):
        await block.aput([ChatMessage(content=f"In the garden there are {fruit}.")], session_id="monday")
    question = "What is there in the garden?"
    whole = await block.aget([ChatMessage(content=question)])

    cut = await prompt(remembering("tuesday", block, token_limit=30), question)
    gone = await prompt(remembering("tuesday", block, token_limit=5), question)

    assert len(whole.splitlines()) == 5
    lines = [line for line in cut.splitlines() if line.startswith(("Notes:", "- ["))]
    assert lines == whole.splitlines()[: len(lines)]
    assert 2 <= len(lines) <= 3
    assert "garden" not in gone
    await block.aclose()


@pytest.mark.asyncio
async def test_a_block_is_made_of_plain_json_and_constructing_it_sends_nothing() -> None:
    plain = {
        "name": "T4DM", "url": "http://127.0.0.1:1", "space": "s", "user_id": "ada", "roles": ["user"], "priority": 2,
        "filters": {"filters": [{"key": "role", "value": "user"}]},
    }  # fmt: skip

    block = T4DMMemoryBlock(**json.loads(json.dumps(plain)))
    saved = json.loads(block.model_dump_json())

    assert T4DMMemoryBlock(**saved).model_dump(mode="json") == saved
    assert pickle.loads(pickle.dumps(block)).model_dump(mode="json") == saved
    assert block.roles == [MessageRole.USER]
    assert isinstance(block.filters, MetadataFilters)
    for wrong in ({"spaces": "x"}, {"roles": ["usr"]}, {"budget_tokens": 0}):
        with pytest.raises(ValueError, match="validation error"):
            T4DMMemoryBlock(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        T4DMMemoryBlock(user_id="")


def test_a_memory_that_waits_can_be_used_again_and_again(plain_daemon: Daemon) -> None:
    """`Memory.get` and `Memory.put` run an event loop each."""
    with plain_daemon.client() as client:
        block = T4DMMemoryBlock(client=client, space="waiting", user_id="ragnhild")
        memory = remembering("monday", block)
        for role, text in CHAT:
            memory.put(ChatMessage(role=role, content=text))

        told = "\n".join(str(message.content) for message in memory.get(input="Am I allergic to walnuts?"))

    assert "User: I am allergic to walnuts." in told


@pytest.mark.asyncio
async def test_twenty_conversations_at_once_keep_to_themselves(plain_daemon: Daemon) -> None:
    block = T4DMMemoryBlock(url=plain_daemon.url, space="twenty")

    async def one(at: int) -> str:
        await block.aput([ChatMessage(content=f"My number is {at}.")], session_id=f"s{at}")
        return await block.aget([ChatMessage(content="What is my number?")], session_id=f"s{at}")

    told = await asyncio.gather(*(one(at) for at in range(20)))

    assert all(text.endswith(f"User: My number is {at}.") for at, text in enumerate(told))
    assert all(text.count("My number is") == 1 for text in told)
    await block.aclose()
