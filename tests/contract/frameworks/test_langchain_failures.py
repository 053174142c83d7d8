"""A daemon that is down, slow, or gone in the middle: always an error of ours with our message, never an empty answer."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_classic")
pytest.importorskip("langchain")

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage

from t4dm.sdk import T4DMError, TransportError
from t4dm_integrations.langchain import (
    T4DMChatMessageHistory,
    T4DMMemory,
    T4DMMemoryMiddleware,
    T4DMRetriever,
    T4DMVectorStore,
)
from tests.contract.frameworks.scenario_langchain import ByHash, Listener
from tests.support.daemon import Daemon

Adapters = dict[str, Any]


def adapters(url: str, **options: Any) -> Adapters:
    options = {"url": url, "max_retries": 0} | options
    return {
        "vectors": T4DMVectorStore(ByHash(), **options),
        "texts": T4DMVectorStore(space="texts", **options),
        "retriever": T4DMRetriever(**options),
        "history": T4DMChatMessageHistory("1", **options),
        "memory": T4DMMemory(**options),
        "middleware": T4DMMemoryMiddleware(**options),
        "silent": T4DMMemoryMiddleware(recall=False, **options),
    }


def agent_with(middleware: T4DMMemoryMiddleware) -> Any:
    return create_agent(Listener(), middleware=[middleware])


HELLO = {"messages": [HumanMessage("hello")]}
CALLS: dict[str, Callable[[Adapters], Any]] = {
    "add": lambda a: a["vectors"].add_texts(["a"]),
    "add texts": lambda a: a["texts"].add_documents([Document("a")]),
    "get": lambda a: a["vectors"].get_by_ids(["1"]),
    "delete": lambda a: a["vectors"].delete(["1"]),
    "search": lambda a: a["vectors"].similarity_search("a"),
    "search texts": lambda a: a["texts"].similarity_search_with_relevance_scores("a"),
    "mmr": lambda a: a["texts"].max_marginal_relevance_search("a"),
    "as retriever": lambda a: a["vectors"].as_retriever().invoke("a"),
    "retrieve": lambda a: a["retriever"].invoke("a"),
    "messages": lambda a: a["history"].messages,
    "last": lambda a: a["history"].last(3),
    "append": lambda a: a["history"].add_messages([HumanMessage("a")]),
    "clear": lambda a: a["history"].clear(),
    "load": lambda a: a["memory"].load_memory_variables({"input": "a"}),
    "save": lambda a: a["memory"].save_context({"input": "a"}, {"output": "b"}),
    "forget": lambda a: a["memory"].clear(),
    "recall": lambda a: agent_with(a["middleware"]).invoke(HELLO),
    "capture": lambda a: agent_with(a["silent"]).invoke(HELLO),
}
AWAITED: dict[str, Callable[[Adapters], Awaitable[Any]]] = {
    "add": lambda a: a["vectors"].aadd_texts(["a"]),
    "get": lambda a: a["vectors"].aget_by_ids(["1"]),
    "delete": lambda a: a["vectors"].adelete(["1"]),
    "search": lambda a: a["vectors"].asimilarity_search("a"),
    "mmr": lambda a: a["texts"].amax_marginal_relevance_search("a"),
    "retrieve": lambda a: a["retriever"].ainvoke("a"),
    "messages": lambda a: a["history"].aget_messages(),
    "append": lambda a: a["history"].aadd_messages([HumanMessage("a")]),
    "clear": lambda a: a["history"].aclear(),
    "load": lambda a: a["memory"].aload_memory_variables({"input": "a"}),
    "save": lambda a: a["memory"].asave_context({"input": "a"}, {"output": "b"}),
    "forget": lambda a: a["memory"].aclear(),
    "recall": lambda a: agent_with(a["middleware"]).ainvoke(HELLO),
    "capture": lambda a: agent_with(a["silent"]).ainvoke(HELLO),
}


@asynccontextmanager
async def closing(made: Adapters) -> AsyncIterator[Adapters]:
    try:
        yield made
    finally:
        for one in made.values():
            await one.aclose()


@pytest.fixture
def silent_url() -> Iterator[str]:
    """The address of something that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed_url() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("name", CALLS)
def test_a_daemon_that_is_down_is_told(name: str, closed_url: str):
    made = adapters(closed_url)

    with pytest.raises(TransportError, match=closed_url):
        CALLS[name](made)


@pytest.mark.parametrize("name", CALLS)
def test_a_daemon_that_does_not_answer_in_time_is_told(name: str, silent_url: str):
    made = adapters(silent_url, timeout_s=0.05)

    with pytest.raises(TransportError, match=silent_url):
        CALLS[name](made)
    for one in made.values():
        one.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("name", AWAITED)
async def test_a_daemon_that_is_down_or_slow_is_told_to_who_awaits(name: str, closed_url: str, silent_url: str):
    for url in (closed_url, silent_url):
        async with closing(adapters(url, timeout_s=0.05)) as made:
            with pytest.raises(TransportError, match=url):
                await AWAITED[name](made)


@pytest.mark.slow
def test_after_a_restart_in_the_middle_everything_works_again(make_daemon: Callable[..., Daemon]):
    daemon = make_daemon().start()
    port = daemon.url.rpartition(":")[2]
    made = adapters(daemon.url)
    calls = {name: call for name, call in CALLS.items() if name not in ("delete", "clear", "forget")}
    before = {name: call(made) for name, call in calls.items()}
    assert before["save"] is None

    daemon.terminate()
    for name, call in calls.items():
        with pytest.raises(T4DMError, match=daemon.url):
            print(name, call(made))  # shown when it raises nothing
    daemon.start("--port", port)

    after = {name: call(made) for name, call in calls.items()}
    assert len(after["search"]) == 2
    assert [one.page_content for one in after["retrieve"]]
    assert [one.text for one in after["messages"]] == ["a"]
    assert after["load"]["history"].startswith("Human: a\nAI: b")

    async def awaited() -> None:
        async with closing(made):
            assert len(await made["vectors"].asimilarity_search("a")) == 2
            daemon.kill()
            with pytest.raises(T4DMError, match=daemon.url):
                await made["vectors"].asimilarity_search("a")
            daemon.start("--port", port)
            assert len(await made["vectors"].asimilarity_search("a")) == 2

    asyncio.run(awaited())
