"""AutoGen's agents and teams with T4DM as their memory, on models that answer from a list."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("autogen_agentchat")
pytest.importorskip("autogen_ext")

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import MemoryQueryEvent, TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core.memory import MemoryContent, MemoryMimeType
from autogen_core.models import SystemMessage
from autogen_ext.models.replay import ReplayChatCompletionClient

from t4dm.adapters.autogen import T4DMAutoGenMemory
from t4dm.sdk import TransportError
from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio

KEY = "The spare key hangs behind the fuse box."
QUESTION = "How do I get in if I lock myself out?"


def agent(memory: T4DMAutoGenMemory, *answers: str, name: str = "ada") -> AssistantAgent:
    return AssistantAgent(name, model_client=ReplayChatCompletionClient(list(answers)), memory=[memory])


def prompts(of: AssistantAgent) -> list[list[Any]]:
    """Return what its model was asked, call by call."""
    client = of._model_client
    assert isinstance(client, ReplayChatCompletionClient)
    return [call["messages"] for call in client.create_calls]


def blocks(messages: list[Any]) -> list[str]:
    return [
        one.content for one in messages if isinstance(one, SystemMessage) and one.content.startswith("Memories that")
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of AutoGen's team that failed
async def test_an_agent_recalls_by_meaning_once_fails_without_its_daemon_and_remembers_when_it_is_back(
    make_daemon: Callable[..., Daemon],
):
    daemon = make_daemon(model="minilm").start()
    memory = T4DMAutoGenMemory(daemon.url, user_id="ada", k=2, max_retries=0)
    await memory.add(MemoryContent(content=KEY, mime_type=MemoryMimeType.TEXT))
    await memory.add(MemoryContent(content="Ragnhild loves plum cake.", mime_type=MemoryMimeType.TEXT))
    first = agent(memory, "Look behind the fuse box.", "Behind the fuse box, as I said.", "You are welcome.", "There.")

    await first.run(task=QUESTION)
    await first.run(task="Say again: how do I get in if I lock myself out?")
    result = await first.run(task="Thank you, now I can get in.")

    shown = blocks(prompts(first)[-1])
    assert sum(block.count(KEY) for block in shown) == 1
    assert sum(block.count("plum cake") for block in shown) <= 1
    assert await memory.capture(result) == 2

    port = daemon.url.rpartition(":")[2]
    daemon.kill()
    with pytest.raises(TransportError, match="t4dm serve"):
        await first.run(task="Where is it now?")
    team = RoundRobinGroupChat([first], termination_condition=MaxMessageTermination(2))
    with pytest.raises(RuntimeError, match="t4dm serve"):
        await team.run(task="And now?")
    daemon.start("--port", port)
    assert isinstance((await first.run(task="Where is the key?")).messages[-1], TextMessage)
    await memory.close()

    later = T4DMAutoGenMemory(daemon.url, user_id="ada", k=2)
    second = agent(later, "Behind the fuse box.")
    events = (await second.run(task=QUESTION)).messages

    assert KEY in [one.content for event in events if isinstance(event, MemoryQueryEvent) for one in event.content]
    assert KEY in blocks(prompts(second)[0])[0]
    await later.close()


async def test_an_agent_is_dumped_with_its_memory_and_loaded(plain_daemon: Daemon):
    memory = T4DMAutoGenMemory(plain_daemon.url, space="dumped")
    await memory.add(MemoryContent(content=KEY, mime_type=MemoryMimeType.TEXT))

    dumped = agent(memory, "Behind the fuse box.").dump_component().model_dump_json()
    loaded = AssistantAgent.load_component(json.loads(dumped))
    result = await loaded.run(task="Where does the spare key hang?")

    assert [type(one).__name__ for one in result.messages] == ["TextMessage", "MemoryQueryEvent", "TextMessage"]
    assert loaded._memory is not None
    for one in (memory, *loaded._memory):
        await one.close()


async def test_a_team_shares_a_memory_and_its_state_survives_also_with_bytes(plain_daemon: Daemon):
    memory = T4DMAutoGenMemory(plain_daemon.url, space="team")
    await memory.add(MemoryContent(content=KEY, mime_type=MemoryMimeType.TEXT))
    photo = MemoryContent(content=b"\xff\x00", mime_type="image/raw", metadata={"caption": "The spare key, a photo"})
    await memory.add(photo)

    def team() -> RoundRobinGroupChat:
        members = [agent(memory, "The spare key?", "Yes.", name=name) for name in ("ada", "bob")]
        return RoundRobinGroupChat(members, termination_condition=MaxMessageTermination(5))

    first, second = team(), team()
    result = await first.run(task="Where is the spare key?")
    await second.load_state(json.loads(json.dumps(await first.save_state())))
    again = await second.run(task="Tell me again: where is the spare key?")

    assert sum(isinstance(one, TextMessage) for one in result.messages) == 5
    assert sum(isinstance(one, MemoryQueryEvent) for one in again.messages) >= 2
    state = await second.save_state()
    for name in ("ada", "bob"):
        messages = state["agent_states"][name]["agent_state"]["llm_context"]["messages"]
        shown = "".join(one["content"] for one in messages if one["type"] == "SystemMessage")
        assert shown.count(KEY) == 1
        assert shown.count("[image/raw] The spare key, a photo") == 1
    await memory.close()


async def test_capture_keeps_what_was_said_once_and_by_whom(plain_daemon: Daemon):
    memory = T4DMAutoGenMemory(plain_daemon.url, space="captured")
    result = await agent(memory, "Rover is a fine name.").run(task="My dog is called Rover.")

    assert await memory.capture(result) == 2
    assert await memory.capture(result) == 0
    assert await memory.capture([TextMessage(content="Nobody asked.", source="eve")], sources=["ada"]) == 0
    with pytest.raises(TypeError, match="messages"):
        await memory.capture("My dog is called Rover.")  # type: ignore[arg-type]

    found = (await memory.query("What is the dog called?")).results
    assert {str(one.content) for one in found} == {"user: My dog is called Rover.", "ada: Rover is a fine name."}
    assert all(one.metadata is not None and one.metadata["message_id"] for one in found)
    await memory.close()
