"""Fifty agents at once on one daemon: nobody waits on the event loop, nobody hears of others, nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

pytest.importorskip("langgraph")
pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain.tools import ToolRuntime, tool
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from t4dm.sdk import AsyncT4DMClient, T4DMError
from t4dm_integrations.langgraph import T4DMStore
from tests.support.daemon import Daemon

# LangGraph's own, when a graph is first imported.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lang.*"),
]

AGENTS = 50
TURNS = 3
PATIENCE_S = 100.0
USERS = [f"user-{at:02}" for at in range(AGENTS)]


class Obedient(BaseChatModel):
    """Call `remember` for what begins with "keep", `recall` for a question, and repeat what a tool has said."""

    @property
    def _llm_type(self) -> str:
        return "obedient"

    def bind_tools(self, tools: Any, **given: Any) -> Obedient:
        return self

    def _generate(self, messages: list[BaseMessage], *given: Any, **more: Any) -> ChatResult:
        last = messages[-1]
        if isinstance(last, ToolMessage):
            answer = AIMessage(last.content)
        else:
            name = "remember" if str(last.content).startswith("keep ") else "recall"
            answer = AIMessage("", tool_calls=[{"name": name, "args": {"text": last.content}, "id": last.id or "1"}])
        return ChatResult(generations=[ChatGeneration(message=answer)])

    async def _agenerate(self, messages: list[BaseMessage], *given: Any, **more: Any) -> ChatResult:
        await asyncio.sleep(0)
        return self._generate(messages)


def an_agent(user: str, store: T4DMStore) -> Any:
    """Return an agent of one user, with tools that await the store."""

    @tool
    async def remember(text: str, runtime: ToolRuntime) -> str:
        """Keep something in mind."""
        assert runtime.store is not None
        await runtime.store.aput(("notes", user), text, {"text": text, "of": user})
        return "kept"

    @tool
    async def recall(text: str, runtime: ToolRuntime) -> str:
        """Return everything that is known."""
        assert runtime.store is not None
        found = await runtime.store.asearch(("notes", user), query=text, filter={"of": user}, limit=100)
        return "\n".join(sorted(one.value["text"] for one in found))

    return create_agent(Obedient(), [remember, recall], store=store)


async def converse(user: str, store: T4DMStore) -> list[str]:
    """Let an agent keep something in each turn and say what it knows; return what it said."""
    agent = an_agent(user, store)
    said = []
    for turn in range(TURNS):
        await agent.ainvoke({"messages": [("user", f"keep {user} likes number {turn}")]})
        result = await agent.ainvoke({"messages": [("user", f"what does {user} like?")]})
        said.append(str(result["messages"][-1].content))
    return said


def expected(user: str) -> list[str]:
    notes = [f"keep {user} likes number {turn}" for turn in range(TURNS)]
    return ["\n".join(notes[: turn + 1]) for turn in range(TURNS)]


@pytest.fixture
def _nothing_waits_on_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse requests of the synchronous client in a thread that runs an event loop."""
    send = httpx.HTTPTransport.handle_request

    def checked(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        with pytest.raises(RuntimeError):  # there is no running event loop
            asyncio.get_running_loop()
        return send(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", checked)


@asynccontextmanager
async def opened(store: T4DMStore) -> AsyncIterator[T4DMStore]:
    try:
        yield store
    finally:
        await store.aclose()


@pytest.fixture(scope="module")
def kept(plain_daemon: Daemon) -> Iterator[T4DMStore]:
    """A store of its own, to look at what was kept."""
    with T4DMStore(plain_daemon.url, space="shared") as store:
        yield store


@pytest.mark.usefixtures("_nothing_waits_on_a_loop")
def test_fifty_agents_share_a_store_and_hear_only_of_themselves(plain_daemon: Daemon, kept: T4DMStore):
    async def play() -> list[list[str]]:
        async with opened(T4DMStore(plain_daemon.url, space="shared")) as store, asyncio.timeout(PATIENCE_S):
            return await asyncio.gather(*(converse(user, store) for user in USERS))

    said = asyncio.run(play())

    assert said == [expected(user) for user in USERS]
    assert kept.list_namespaces() == [("notes", user) for user in USERS]
    found = [one.value["text"] for one in kept.search(("notes",), limit=10_000)]
    assert len(found) == AGENTS * TURNS
    assert set(found) == {f"keep {user} likes number {turn}" for user in USERS for turn in range(TURNS)}


@pytest.mark.usefixtures("_nothing_waits_on_a_loop")
def test_fifty_agents_with_a_store_each_do_not_disturb_one_another(plain_daemon: Daemon):
    async def play(user: str) -> list[str]:
        async with opened(T4DMStore(plain_daemon.url, space="each", index=False)) as store:
            return await converse(user, store)

    async def all_of_them() -> list[list[str]]:
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.gather(*(play(user) for user in USERS))

    assert asyncio.run(all_of_them()) == [expected(user) for user in USERS]


class Meeting(httpx.AsyncHTTPTransport):
    """Hold every request back until as many are under way as there are agents."""

    def __init__(self, barrier: asyncio.Barrier) -> None:
        super().__init__(trust_env=False)
        self._barrier = barrier

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/ops":
            await self._barrier.wait()
        return await super().handle_async_request(request)


def test_the_requests_of_fifty_agents_are_under_way_at_once(plain_daemon: Daemon):
    """A single call that kept the loop waiting would let none of the others come, and time out."""

    async def play() -> list[list[str]]:
        client = AsyncT4DMClient(plain_daemon.url, transport=Meeting(asyncio.Barrier(AGENTS)))
        store = T4DMStore(client=client, space="meeting", index=False)

        async def turns(user: str) -> list[str]:
            for turn in range(TURNS):
                await store.aput(("notes", user), str(turn), {"user": user})
            found = await store.asearch(("notes", user))
            return [f"{one.value['user']} {one.key}" for one in found]

        async with client, asyncio.timeout(PATIENCE_S):
            return await asyncio.gather(*(turns(user) for user in USERS))

    assert asyncio.run(play()) == [[f"{user} {turn}" for turn in range(TURNS)] for user in USERS]


def test_agents_whose_daemon_is_restarted_under_them_lose_nothing_that_was_kept(plain_daemon: Daemon):
    """Each write either says that it was done, and is there afterwards, or is an error."""
    port = plain_daemon.url.rpartition(":")[2]

    async def play() -> tuple[set[str], list[T4DMError]]:
        kept: set[str] = set()
        failures: list[T4DMError] = []
        half = asyncio.Event()
        async with opened(T4DMStore(plain_daemon.url, space="restart", index=False, max_retries=0)) as store:

            async def write(user: str) -> None:
                for turn in range(2 * TURNS):
                    if turn == TURNS:
                        await half.wait()
                    try:
                        await store.aput(("notes", user), str(turn), {"v": turn})
                    except T4DMError as error:
                        failures.append(error)
                    else:
                        kept.add(f"{user} {turn}")

            async def restart() -> None:
                while len(kept) < AGENTS * TURNS // 2:
                    await asyncio.sleep(0)
                await asyncio.to_thread(plain_daemon.kill)
                await asyncio.to_thread(plain_daemon.start, "--port", port)
                half.set()

            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(restart(), *(write(user) for user in USERS))
        return kept, failures

    kept, failures = asyncio.run(play())

    with T4DMStore(plain_daemon.url, space="restart", index=False) as store:
        found = {f"{one.namespace[1]} {one.key}" for one in store.search(("notes",), limit=10_000)}
    assert kept <= found
    assert len(kept) + len(failures) == AGENTS * TURNS * 2
    assert failures
    assert all(one.message for one in failures)
