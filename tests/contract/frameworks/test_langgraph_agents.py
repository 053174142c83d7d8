"""Real graphs and agents with T4DMStore as their store; only the language model is a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import pytest

pytest.importorskip("langgraph")
pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain.tools import ToolRuntime, tool
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.config import get_store
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore

from t4dm.sdk import TransportError
from t4dm_integrations.langgraph import T4DMStore
from tests.support.daemon import Daemon

# LangGraph's own, when a graph is first imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:lang.*")


class Scripted(GenericFakeChatModel):
    """Say what was written down for it; tools make no difference."""

    def bind_tools(self, tools: Any, **given: Any) -> Scripted:
        return self


def scripted(*turns: AIMessage) -> Scripted:
    return Scripted(messages=iter(turns))


def calling(name: str, **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{name}"}])


@tool
def remember(text: str, user: str, runtime: ToolRuntime) -> str:
    """Keep something in mind."""
    assert runtime.store is not None
    runtime.store.put(("memories", user), text[:20], {"text": text})
    return "kept"


@tool
def recall(question: str, user: str, runtime: ToolRuntime) -> str:
    """Look for what is known."""
    assert runtime.store is not None
    found = runtime.store.search(("memories", user), query=question, limit=2)
    return " | ".join(one.value["text"] for one in found) or "nothing"


def answers(result: dict[str, Any]) -> list[str]:
    return [str(one.content) for one in result["messages"] if isinstance(one, ToolMessage)]


@pytest.fixture
def store(plain_daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[T4DMStore]:
    with T4DMStore(plain_daemon.url, space=request.node.name) as store:
        yield store


def test_an_agent_remembers_over_threads_and_a_restart_of_the_daemon(make_daemon: Callable[..., Daemon]):
    daemon = make_daemon().start()
    told = scripted(calling("remember", text="Ada is allergic to walnuts.", user="ada"), AIMessage("Noted."))
    with T4DMStore(daemon.url) as store:
        agent = create_agent(told, [remember, recall], store=store)
        kept = agent.invoke({"messages": [("user", "I am allergic to walnuts.")]})
    daemon.terminate()
    daemon.start()
    asked = scripted(calling("recall", question="walnuts", user="ada"), AIMessage("No walnut cake."))
    with T4DMStore(daemon.url) as store:
        agent = create_agent(asked, [remember, recall], store=store)
        recalled = agent.invoke({"messages": [("user", "Which cake should I bake?")]})

    assert answers(kept) == ["kept"]
    assert answers(recalled) == ["Ada is allergic to walnuts."]


def test_an_awaited_agent_remembers_too(store: T4DMStore):
    async def play() -> list[str]:
        agent = create_agent(
            scripted(
                calling("remember", text="Bob plays the viola.", user="bob"),
                AIMessage("Nice."),
                calling("recall", question="viola", user="bob"),
                AIMessage("The viola."),
                calling("recall", question="viola", user="eve"),
                AIMessage("I do not know."),
            ),
            [remember, recall],
            store=store,
        )
        found = []
        for text in ("I play the viola.", "What do I play?", "And I?"):
            found += answers(await agent.ainvoke({"messages": [("user", text)]}))
        await store.aclose()
        return found

    assert asyncio.run(play()) == ["kept", "Bob plays the viola.", "nothing"]


class State(TypedDict, total=False):
    user: str
    said: str
    known: list[str]


def test_nodes_of_a_graph_reach_the_store_in_every_way_there_is(store: T4DMStore):
    def keep(state: State, *, store: BaseStore) -> State:
        store.put(("said", state["user"]), state["said"], {"text": state["said"]})
        return {}

    def look(state: State, runtime: Runtime[None]) -> State:
        assert runtime.store is not None
        return {"known": [one.value["text"] for one in runtime.store.search(("said", state["user"]))]}

    def count(state: State) -> State:
        return {"known": [*state["known"], str(len(get_store().list_namespaces(prefix=("said",))))]}

    graph = StateGraph(State)
    graph.add_sequence([keep, look, count])
    graph.add_edge(START, "keep")
    graph.add_edge("count", END)
    app = graph.compile(store=store)

    app.invoke({"user": "ada", "said": "one"})
    app.invoke({"user": "bob", "said": "two"})
    result = app.invoke({"user": "ada", "said": "three"})

    assert result["known"] == ["one", "three", "2"]


def test_awaited_nodes_await_the_store(store: T4DMStore):
    async def keep(state: State, *, store: BaseStore) -> State:
        await store.aput(("said", state["user"]), state["said"], {"text": state["said"]})
        found = await store.asearch(("said", state["user"]))
        return {"known": [one.value["text"] for one in found]}

    graph = StateGraph(State)
    graph.add_node("keep", keep)
    graph.add_edge(START, "keep")
    app = graph.compile(store=store)

    async def play() -> list[Any]:
        results = [await app.ainvoke({"user": "ada", "said": said}) for said in ("one", "two")]
        await store.aclose()
        return [one["known"] for one in results]

    assert asyncio.run(play()) == [["one"], ["one", "two"]]


def test_a_graph_is_told_when_the_daemon_is_gone():
    def look(state: State, runtime: Runtime[None]) -> State:
        assert runtime.store is not None
        return {"known": [one.key for one in runtime.store.search(("said",))]}

    graph = StateGraph(State)
    graph.add_node("look", look)
    graph.add_edge(START, "look")
    app = graph.compile(store=T4DMStore("http://127.0.0.1:1", max_retries=0))

    with pytest.raises(TransportError, match="t4dm serve"):
        app.invoke({"user": "ada", "said": "one"})
