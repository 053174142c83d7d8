"""CrewAI's memory on T4DM: no model is asked, nothing is lost across restarts, and no failure looks like nothing."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

pytest.importorskip("crewai")

from tests.contract.frameworks.crewai_offline import FERRY, Model, crew_with, embed  # isort: skip

from crewai import Agent
from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.memory_events import MemoryQueryFailedEvent, MemoryRetrievalFailedEvent, MemorySaveFailedEvent
from crewai.memory.memory_scope import MemoryScope, MemorySlice
from crewai.memory.unified_memory import Memory
from crewai.tools.memory_tools import create_memory_tools
from hypothesis import given
from hypothesis import strategies as st

from t4dm.adapters.crewai import T4DMCrewMemory
from t4dm.sdk import StoreRequest, TransportError, ValidationError
from t4dm_integrations.crewai import MemoryAbortedError
from t4dm_integrations.crewai.extraction import MAX_PIECE, statements_of
from tests.support.daemon import Daemon

# CrewAI reads its own deprecated fields.
pytestmark = [
    pytest.mark.filterwarnings("ignore:function_calling_llm is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:deprecated$:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path / "crewai"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def memory(plain_daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[T4DMCrewMemory]:
    made = T4DMCrewMemory(url=plain_daemon.url, space=str(request.node.name))
    yield made
    made.close()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of something that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def contents(matches: Any) -> list[str]:
    return [one.record.content for one in matches]


def remembered(record: Any) -> Any:
    assert record is not None
    return record


# Remembering and recalling ------------------------------------------------------------------------------


def test_what_is_remembered_is_recalled_with_all_that_was_said_of_it(memory: T4DMCrewMemory):
    record = remembered(
        memory.remember(FERRY, "/harbour", ["boats"], {"pier": 6, "when": [1, None]}, importance=0.9, source="ada")
    )

    for depth in ("deep", "shallow"):
        [match] = memory.recall("Which pier does the ferry leave from?", depth=depth)
        assert (match.record.id, match.record.content) == (record.id, FERRY)
        assert match.record.metadata == {"pier": 6, "when": [1, None]}
        assert (match.record.scope, match.record.categories) == ("/harbour", ["boats"])
        assert (match.record.importance, match.record.source, match.record.private) == (0.9, "ada", False)
        assert 0 < match.score <= 1
        assert match.match_reasons[0] in ("semantic", "lexical", "window")
        assert match.record.created_at.tzinfo is None
        assert (datetime.utcnow() - match.record.created_at).total_seconds() < 60
        assert FERRY in match.format()


def test_nothing_relevant_and_nothing_stored_are_empty(memory: T4DMCrewMemory):
    assert memory.recall("ferry") == memory.recall("  ") == memory.list_records() == memory.list_scopes() == []
    assert memory.forget(scope="/a") == 0
    memory.reset()
    assert memory.remember_many([]) == []


def test_the_same_words_are_remembered_once_but_for_another_source(memory: T4DMCrewMemory):
    first, again = (remembered(memory.remember(FERRY)) for _ in range(2))
    memory.remember(FERRY, source="ada", private=True)

    assert first.id == again.id
    assert len(memory.list_records()) == 2


def test_scopes_lie_below_the_root_and_recall_keeps_to_them(plain_daemon: Daemon):
    harbour = T4DMCrewMemory(url=plain_daemon.url, space="scoped", root_scope="/crew/harbour")
    everything = T4DMCrewMemory(url=plain_daemon.url, space="scoped")
    harbour.remember("The ferry is blue.", "times")
    harbour.remember_many(["The ferry is fast.", "The ferry is loud."], "/", root_scope="/crew/harbour/agent/pilot")
    everything.remember("The ferry is old.", "/crew/harbours")

    assert {one.scope for one in everything.list_records()} == {
        "/crew/harbour/times", "/crew/harbour/agent/pilot", "/crew/harbours",
    }  # fmt: skip
    assert len(harbour.recall("ferry")) == len(harbour.list_records()) == 3
    assert contents(harbour.recall("ferry", scope="/times")) == ["The ferry is blue."]
    assert len(everything.recall("ferry")) == 4
    assert harbour.list_scopes() == ["/crew/harbour/agent", "/crew/harbour/times"]
    assert "/crew/harbour (3 records)" in harbour.tree()
    assert harbour.info("/times").record_count == 1
    harbour.reset()
    assert contents(everything.recall("ferry")) == ["The ferry is old."]
    harbour.close()
    everything.close()


def test_private_memories_are_their_sources_alone_and_do_not_cost_others_their_places(memory: T4DMCrewMemory):
    memory.remember_many([f"The ferry has secret {at}." for at in range(6)], source="ada", private=True)
    memory.remember("The ferry has a bar.", source="ada")
    memory.remember("The ferry has no secret, and this is a longer sentence about other things.")

    assert len(memory.recall("ferry secret", limit=2)) == 2
    assert not any(one.record.private for one in memory.recall("ferry secret", limit=20))
    assert len(memory.recall("ferry secret", limit=20, source="ada")) == 8
    assert not any(one.record.private for one in memory.recall("ferry secret", limit=20, source="bob"))
    assert len(memory.recall("ferry secret", limit=20, include_private=True)) == 8


def test_categories_forgetting_and_counts(memory: T4DMCrewMemory):
    memory.remember("The ferry is blue.", "/a", ["colour", "boat"])
    memory.remember("The ferry is fast.", "/a", ["speed"], {"knots": 30})
    memory.remember("The ferry is loud.", "/b", ["sound"])

    assert memory.list_categories() == {"boat": 1, "colour": 1, "sound": 1, "speed": 1}
    assert set(contents(memory.recall("ferry", categories=["speed", "sound"]))) == {
        "The ferry is fast.",
        "The ferry is loud.",
    }
    assert memory.forget(scope="/a", metadata_filter={"knots": 30}) == 1
    assert memory.forget(categories=["boat"]) == 1
    assert memory.forget(older_than=datetime(2020, 1, 1)) == 0
    assert contents(memory.recall("ferry")) == ["The ferry is loud."]


def test_an_update_changes_what_is_given_and_the_daemon_embeds_it_anew(memory: T4DMCrewMemory, plain_daemon: Daemon):
    record = remembered(
        memory.remember(FERRY, "/a", ["boats"], {"pier": 6}, importance=0.9, source="ada", private=True)
    )

    changed = memory.update(record.id, content="The tram has a terminus.", scope="/b", metadata={"tram": 1})

    assert (changed.content, changed.scope, changed.metadata) == ("The tram has a terminus.", "/b", {"tram": 1})
    assert (changed.categories, changed.importance, changed.source, changed.private) == (["boats"], 0.9, "ada", True)
    assert contents(memory.recall("tram terminus", include_private=True, depth="shallow")) == [changed.content]
    assert memory.update(record.id).content == changed.content
    with pytest.raises(ValueError, match="not found"):
        memory.update("nobody", content="x")
    with plain_daemon.client() as client:
        assert [one.event for one in client.history(record.id, space=memory.space)] == ["ADD", "UPDATE"]


def test_a_read_only_memory_writes_nothing(memory: T4DMCrewMemory, plain_daemon: Daemon):
    record = remembered(memory.remember(FERRY))
    reader = T4DMCrewMemory(url=plain_daemon.url, space=memory.space, read_only=True)

    assert reader.remember("More.") is None
    assert reader.remember_many(["More."]) == []
    assert reader.update(record.id, content="Changed.").content == FERRY
    assert contents(reader.recall("ferry")) == [FERRY]
    assert [tool.name for tool in create_memory_tools(reader)] == ["Search memory"]
    reader.close()


def test_memories_of_other_programs_are_recalled_too(memory: T4DMCrewMemory, plain_daemon: Daemon):
    with plain_daemon.client() as client:
        client.store(StoreRequest(content=FERRY, namespace=["notes"], categories=["boats"], space=memory.space))

    [match] = memory.recall("ferry pier")

    assert (match.record.scope, match.record.categories, match.record.source) == ("/notes", ["boats"], None)


def test_awaited_calls_do_the_same(memory: T4DMCrewMemory):
    async def play() -> tuple[Any, ...]:
        one = await memory.aremember(FERRY, "/a")
        many = await memory.aremember_many(["The ferry is blue.", "The ferry is fast."])
        found = await memory.arecall("ferry pier six", limit=1)
        await memory.aclose()
        return one, many, found, await memory.aextract_memories("Task: a\nAgent: b\nResult: c")

    one, many, found, extracted = asyncio.run(play())

    assert (one.content, len(many), contents(found), extracted) == (FERRY, 2, [FERRY], ["a\nc"])


def test_the_tools_views_and_copies_of_crewai_work_on_it(memory: T4DMCrewMemory):
    search, save = create_memory_tools(memory)
    view = MemoryScope(memory=memory, root_path="/view")
    part = MemorySlice(memory=memory, scopes=["/view", "/other"])

    assert save.run(contents=[FERRY]).startswith("Saved to memory (scope=/,")
    assert "2 items" in save.run(contents=["The ferry is blue.", "The ferry is fast."])
    assert FERRY in search.run(queries=["ferry pier"])
    view.remember("The ferry of the view.")
    assert contents(view.recall("ferry")) == contents(part.recall("ferry")) == ["The ferry of the view."]
    copy = memory.model_copy(deep=True)
    assert len(copy.recall("ferry")) == 4
    copy.close()


def test_what_would_have_no_effect_is_refused_and_wrong_settings_too():
    for settings in (
        {"embedder": embed},
        {"storage": "lancedb-elsewhere"},
        {"recency_weight": 0.9},
        {"weights": {"colour": 1.0}},
        {"min_score": 2.0},
        {"spcae": "notes"},
        {"user_id": ""},
    ):
        with pytest.raises((ValueError, ValidationError)):
            T4DMCrewMemory(**settings)  # type: ignore[arg-type]
    again = T4DMCrewMemory.model_validate(T4DMCrewMemory(root_scope="/a", user_id="ada").model_dump())
    assert (again.root_scope, again.user_id) == ("/a", "ada")


def test_the_shared_space_is_not_emptied(plain_daemon: Daemon):
    memory = T4DMCrewMemory(url=plain_daemon.url, space="default")
    memory.remember(FERRY)

    for call in (memory.reset, memory.reset_all, memory.forget):
        with pytest.raises(ValidationError, match="space of its own"):
            call()
    assert contents(memory.recall("ferry")) == [FERRY]
    memory.close()


# In crews -----------------------------------------------------------------------------------------------


def test_a_crew_knows_in_its_second_run_what_it_learned_in_its_first_and_no_model_was_asked_for_it(
    make_daemon: Callable[..., Daemon],
):
    daemon = make_daemon()
    prompts = []
    for _ in range(2):
        daemon.close()
        daemon.start()
        model = Model(model="none")
        memory = T4DMCrewMemory(url=daemon.url, root_scope="/crew/harbour")
        crew_with(memory, model).kickoff()
        assert model.analyses == []
        assert len(model.prompts) == 1
        prompts.append(model.prompts[0])
        memory.close()

    assert FERRY not in prompts[0]
    assert FERRY in prompts[1]
    memory = T4DMCrewMemory(url=daemon.url)
    [record] = memory.list_records()
    assert record.content == f"From which pier does the ferry leave?\n{FERRY}"
    assert record.scope == "/crew/harbour/agent/pilot"
    memory.close()


def test_an_agent_alone_remembers_what_it_was_asked(memory: T4DMCrewMemory):
    model = Model(model="none")
    agent = Agent(role="Pilot", goal="know the harbour", backstory="Old.", llm=model, memory=memory)

    agent.kickoff("From which pier does the ferry leave?")
    agent.kickoff("Which pier was it, of the ferry?")

    assert FERRY not in model.prompts[0]
    assert FERRY in model.prompts[1]
    assert model.analyses == []


# Failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_daemon_that_is_down_or_slow_is_an_error_an_event_and_a_line_in_the_log(
    silent: str, caplog: pytest.LogCaptureFixture, is_slow: bool
):
    url, message = (silent, "0.1") if is_slow else ("http://127.0.0.1:1", "not running")
    memory = T4DMCrewMemory(url=url, max_retries=0, timeout_s=0.1)
    told: list[Any] = []

    with crewai_event_bus.scoped_handlers():
        for kind in (MemoryQueryFailedEvent, MemorySaveFailedEvent):
            crewai_event_bus.on(kind)(lambda source, event: told.append(event))
        for call in (
            lambda: memory.recall("ferry"),
            lambda: memory.recall("ferry", depth="shallow"),
            lambda: memory.remember(FERRY),
            lambda: memory.remember_many([FERRY]),
            lambda: asyncio.run(memory.arecall("ferry")),
            lambda: memory.list_records(),
            lambda: memory.forget(scope="/a"),
        ):
            with pytest.raises(TransportError, match=message):
                call()
        crewai_event_bus.flush()

    assert {type(event) for event in told} == {MemoryQueryFailedEvent, MemorySaveFailedEvent}
    assert all(message in event.error for event in told)
    logged = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert sum(text.startswith("memory recall failed") and message in text for text in logged) == 3
    assert sum(text.startswith("memory save failed") and message in text for text in logged) == 2
    asyncio.run(memory.aclose())
    memory.close()


def test_a_crew_goes_on_without_its_memory_and_says_so(caplog: pytest.LogCaptureFixture):
    memory = T4DMCrewMemory(url="http://127.0.0.1:1", max_retries=0)
    told: list[Any] = []

    with crewai_event_bus.scoped_handlers():
        crewai_event_bus.on(MemoryRetrievalFailedEvent)(lambda source, event: told.append(event.error))
        result = crew_with(memory, Model(model="none")).kickoff()
        crewai_event_bus.flush()

    assert FERRY in str(result.raw)
    assert any("t4dm serve" in error for error in told)
    logged = "\n".join(one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR)
    assert "memory recall failed: T4DM is not running" in logged
    assert "memory save failed: T4DM is not running" in logged
    with pytest.raises(TransportError):  # and not "No relevant memories found."
        create_memory_tools(memory)[0].run(queries=["ferry"])
    memory.close()


def test_a_crew_can_be_told_to_end_when_its_memory_fails(make_daemon: Callable[..., Daemon]):
    daemon = make_daemon().start()
    port = daemon.url.rpartition(":")[2]
    memory = T4DMCrewMemory(url=daemon.url, max_retries=0, abort_on_failure=True)
    crew_with(memory, Model(model="none")).kickoff()

    daemon.kill()
    model = Model(model="none")
    with pytest.raises(MemoryAbortedError, match="t4dm serve") as caught:
        crew_with(memory, model).kickoff()
    daemon.start("--port", port)
    again = Model(model="none")
    crew_with(memory, again).kickoff()

    assert isinstance(caught.value.__cause__, TransportError)
    assert model.prompts == []
    assert FERRY in again.prompts[0]
    memory.close()


# What is worth remembering ------------------------------------------------------------------------------


def test_of_a_run_its_task_and_its_answer_are_remembered():
    raw = "Task: Find the pier.\nAgent: Pilot\nExpected result: a pier\nResult: Thought: hm\nFinal Answer: Pier six.\n"

    assert statements_of(raw) == ["Find the pier.\nPier six."]
    assert statements_of("Input: Hello\nAgent: Pilot\nResult: Hi.\nAgent: no\nResult: two") == [
        "Hello\nHi.\nAgent: no\nResult: two"
    ]
    assert statements_of("Any text.") == ["Any text."]
    assert statements_of("Task: a\nAgent: b\nResult:  ") == statements_of("  ") == []
    [long] = statements_of(f"Task: {'why ' * 200}\nAgent: b\nResult: c")
    assert long.endswith("…\nc")
    assert len(long) < 310


words = st.text(st.sampled_from("ab .\n"), max_size=60).map(lambda text: text * 60)


@given(words)
def test_a_long_text_is_cut_into_pieces_that_lose_nothing(text: str):
    pieces = statements_of(text)

    assert all(0 < len(piece) <= MAX_PIECE for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_crewais_own_memory_is_what_it_is_made_of(memory: T4DMCrewMemory):
    """So that `Crew(memory=…)` takes it; and every method that CrewAI's has and that would ask a model is its own."""
    assert isinstance(memory, Memory)
    for name in ("recall", "remember", "remember_many", "extract_memories", "update"):
        assert getattr(T4DMCrewMemory, name) is not getattr(Memory, name)
