"""What LlamaIndex's users see when the daemon is not there, does not answer, or goes away: an error, never nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core import MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MockLLM
from llama_index.core.memory import Memory
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import VectorStoreQuery

from t4dm.sdk.errors import T4DMError, TransportError
from t4dm_integrations.llamaindex import T4DMMemoryBlock, T4DMVectorStore
from tests.support.daemon import Daemon

NODE = TextNode(id_="a", text="text", embedding=[1.0, 0.0])
QUERY = VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=1)
QUESTION = [ChatMessage(content="Which pier?")]
QUICK: dict[str, Any] = {"timeout_s": 0.3, "max_retries": 1}

WAITING: dict[str, Callable[[T4DMVectorStore], object]] = {
    "add": lambda store: store.add([NODE]),
    "get_nodes": lambda store: store.get_nodes(["a"]),
    "get all nodes": lambda store: store.get_nodes(),
    "query": lambda store: store.query(QUERY),
    "delete": lambda store: store.delete("doc"),
    "delete_nodes": lambda store: store.delete_nodes(["a"]),
    "clear": lambda store: store.clear(),
}
AWAITED: dict[str, Callable[[T4DMVectorStore], Awaitable[object]]] = {
    "async_add": lambda store: store.async_add([NODE]),
    "aget_nodes": lambda store: store.aget_nodes(["a"]),
    "aquery": lambda store: store.aquery(QUERY),
    "adelete": lambda store: store.adelete("doc"),
    "adelete_nodes": lambda store: store.adelete_nodes(["a"]),
    "aclear": lambda store: store.aclear(),
}


@pytest.fixture(params=["down", "slow"])
def unanswered(request: pytest.FixtureRequest) -> Iterator[str]:
    """An address where nobody listens, or nobody answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "slow":
            listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("name", WAITING)
def test_every_call_tells_that_nobody_answers(unanswered: str, name: str) -> None:
    store = T4DMVectorStore(url=unanswered, **QUICK)

    with pytest.raises(TransportError, match=unanswered):
        WAITING[name](store)

    store.close()


@pytest.mark.parametrize("name", AWAITED)
def test_every_awaited_call_tells_that_nobody_answers(unanswered: str, name: str) -> None:

    async def play() -> None:
        store = T4DMVectorStore(url=unanswered, **QUICK)
        with pytest.raises(TransportError, match=unanswered):
            await AWAITED[name](store)
        await store.aclose()

    asyncio.run(play())


def test_an_index_and_a_memory_pass_the_error_on(unanswered: str) -> None:
    before = Settings._tokenizer, Settings._embed_model, Settings._llm
    Settings.tokenizer, Settings.embed_model, Settings.llm = str.split, MockEmbedding(embed_dim=2), MockLLM()

    async def play() -> None:
        block = T4DMMemoryBlock(user_id="ada", url=unanswered, **QUICK)
        memory = Memory.from_defaults(
            session_id="s", token_limit=4, token_flush_size=1, tokenizer_fn=str.split, memory_blocks=[block]
        )
        with pytest.raises(TransportError, match=unanswered):
            await memory.aget(input="Which pier?")
        said = [ChatMessage(content=text) for text in ("one two three", "four five six", "seven eight nine")]
        with pytest.raises(TransportError, match=unanswered):
            await memory.aput_messages(said)
        with pytest.raises(TransportError, match=unanswered):
            await block.aget(QUESTION)
        await block.aclose()

    try:
        with T4DMVectorStore(url=unanswered, **QUICK) as store:
            engine = VectorStoreIndex.from_vector_store(store).as_query_engine()
            with pytest.raises(TransportError, match=unanswered):
                engine.query("Which pier?")
        asyncio.run(play())
    finally:
        Settings._tokenizer, Settings._embed_model, Settings._llm = before


@pytest.mark.slow
def test_a_daemon_that_goes_away_is_told_and_one_that_comes_back_is_used(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(home=tmp_path / "home").start()
    url, port = daemon.url, urlsplit(daemon.url).port
    store = T4DMVectorStore(url=url, max_retries=0)
    block = T4DMMemoryBlock(url=url, max_retries=0, user_id="ada")

    async def play() -> tuple[list[str] | None, str]:
        await store.async_add([NODE])
        await block.aput([ChatMessage(content="The ferry leaves from pier four.")])
        assert store.query(QUERY).ids == ["a"]
        daemon.kill()
        for call in (store.aquery(QUERY), block.aget(QUESTION), block.aput(QUESTION), store.async_add([NODE])):
            with pytest.raises(T4DMError, match=url):
                await call
        for name, attempt in WAITING.items():
            with pytest.raises(T4DMError, match=url):
                attempt(store)
            assert name
        daemon.start("--port", str(port))
        found, told = await store.aquery(QUERY), await block.aget([ChatMessage(content="Which pier for the ferry?")])
        await store.aclose()
        await block.aclose()
        return found.ids, told

    ids, told = asyncio.run(play())

    assert ids == ["a"]
    assert "pier four" in told
