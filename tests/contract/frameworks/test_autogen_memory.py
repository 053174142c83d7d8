"""AutoGen's memory against a real daemon: what it finds, keeps, forgets, saves and refuses."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("autogen_core")

from autogen_core import CancellationToken
from autogen_core.memory import Memory, MemoryContent, MemoryMimeType
from autogen_core.model_context import BufferedChatCompletionContext, UnboundedChatCompletionContext
from autogen_core.models import AssistantMessage, SystemMessage, UserMessage

from t4dm.adapters.autogen import T4DMAutoGenMemory
from t4dm.sdk import ConflictError, StoreRequest, TransportError, ValidationError
from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio

FERRY = "The ferry leaves from pier six."


@pytest.fixture
def space(request: pytest.FixtureRequest) -> str:
    """A space for each test, so that they may share a daemon."""
    return str(request.node.name)


@pytest.fixture
def memory(plain_daemon: Daemon, space: str) -> T4DMAutoGenMemory:
    return T4DMAutoGenMemory(plain_daemon.url, space=space)


def text(content: str, **metadata: Any) -> MemoryContent:
    return MemoryContent(content=content, mime_type=MemoryMimeType.TEXT, metadata=metadata or None)


async def contents_of(memory: T4DMAutoGenMemory, query: str = "", **asked: Any) -> list[Any]:
    return [found.content for found in (await memory.query(query, **asked)).results]


async def test_query_finds_what_was_added_with_its_id_and_score(memory: T4DMAutoGenMemory):
    given = text(FERRY, topic="travel")
    await memory.add(given)

    [found] = (await memory.query("Which pier does the ferry leave from?")).results

    assert (found.content, found.mime_type) == (FERRY, MemoryMimeType.TEXT)
    assert found.metadata is not None
    assert found.metadata["topic"] == "travel"
    assert 0 < found.metadata["score"] <= 1
    assert found.metadata["id"]
    assert given.metadata == {"topic": "travel"}
    await memory.close()


async def test_a_space_that_nothing_was_written_to_is_empty(memory: T4DMAutoGenMemory):
    assert await contents_of(memory, "ferry") == []
    assert await contents_of(memory) == []
    await memory.clear()
    await memory.close()


async def test_an_empty_query_returns_the_newest_without_scores(memory: T4DMAutoGenMemory):
    for at in range(7):
        await memory.add(text(f"Ferry {at}"))

    found = (await memory.query("")).results

    assert [one.content for one in found] == [f"Ferry {at}" for at in (6, 5, 4, 3, 2)]
    assert all(one.metadata is not None and one.metadata["score"] is None for one in found)
    assert len(await contents_of(memory, k=7)) == 7
    with pytest.raises(ValidationError, match="min_score"):
        await memory.query("", min_score=0.5)
    await memory.close()


async def test_the_same_text_is_stored_once_unless_it_says_more(memory: T4DMAutoGenMemory):
    for metadata in ({}, {"topic": "travel"}, {}, {"topic": "travel"}, {"topic": "boats"}):
        await memory.add(text(FERRY, **metadata))

    found = (await memory.query("", k=10)).results

    assert len(found) == 3
    assert {(one.metadata or {}).get("topic") for one in found} == {None, "travel", "boats"}
    await memory.close()


async def test_adding_what_was_found_again_replaces_it(memory: T4DMAutoGenMemory):
    await memory.add(text(FERRY))
    [found] = (await memory.query("ferry")).results

    found.content = "The ferry leaves from pier four."
    await memory.add(found)

    assert await contents_of(memory) == ["The ferry leaves from pier four."]
    await memory.close()


async def test_a_score_of_the_callers_is_kept_and_one_of_a_search_is_not_stored(memory: T4DMAutoGenMemory):
    await memory.add(text(FERRY, score="9 of 10"))
    await memory.add(text("The tram leaves from the square."))

    found = {str(one.content): one for one in (await memory.query("ferry tram")).results}
    tram = found["The tram leaves from the square."]
    await memory.add(tram)

    assert (found[FERRY].metadata or {})["score"] == "9 of 10"
    assert (tram.metadata or {})["score"] > 0
    assert json.loads(tram.model_dump_json())["metadata"] == tram.metadata
    scores = {str(one.content): (one.metadata or {})["score"] for one in (await memory.query("")).results}
    assert scores == {FERRY: "9 of 10", "The tram leaves from the square.": None}
    await memory.close()


async def test_an_id_that_another_program_keeps_in_the_metadata_is_kept(
    memory: T4DMAutoGenMemory, plain_daemon: Daemon, space: str
):
    with plain_daemon.client() as client:
        client.store(StoreRequest(content=FERRY, metadata={"id": "ticket-7"}, space=space))

    [found] = (await memory.query("ferry")).results

    assert (found.metadata or {})["id"] == "ticket-7"
    await memory.close()


async def test_an_id_of_another_owner_is_not_overwritten(plain_daemon: Daemon, space: str):
    ada = T4DMAutoGenMemory(plain_daemon.url, space=space, user_id="ada")
    bob = T4DMAutoGenMemory(plain_daemon.url, space=space, user_id="bob")
    await ada.add(text("Ada likes tea.", id="drink"))

    with pytest.raises(ConflictError, match="another owner"):
        await bob.add(text("Bob likes coffee.", id="drink"))

    assert await contents_of(ada) == ["Ada likes tea."]
    await ada.close()
    await bob.close()


async def test_an_id_in_another_namespace_is_not_overwritten(plain_daemon: Daemon, space: str):
    trips = T4DMAutoGenMemory(plain_daemon.url, space=space, user_id="ada", namespace=["trips"])
    await trips.add(text("Ada takes the ferry.", id="way"))

    for owner, namespace in (("ada", ["work"]), ("ada", []), ("ada", ["trips", "may"]), (None, ["work"])):
        other = T4DMAutoGenMemory(plain_daemon.url, space=space, user_id=owner, namespace=namespace)
        with pytest.raises(ConflictError, match="namespace") as refused:
            await other.add(text("Ada takes the tram.", id="way"))
        assert refused.value.code == "id_of_another_namespace"
        await other.close()

    assert await contents_of(trips) == ["Ada takes the ferry."]
    await trips.add(text("Ada takes the night ferry.", id="way"))
    assert await contents_of(trips) == ["Ada takes the night ferry."]
    await trips.close()


@pytest.mark.parametrize("question", ["ferry", ""])
async def test_a_call_cannot_lift_what_restricts_the_memory(plain_daemon: Daemon, space: str, question: str):
    bob = T4DMAutoGenMemory(plain_daemon.url, space=space, user_id="bob", namespace=["work"])
    await bob.add(text("Bob's ferry.", topic="boats"))
    boats = {"field": "topic", "op": "eq", "value": "boats"}
    ada = T4DMAutoGenMemory(plain_daemon.url, space=space, user_id="ada", namespace=["trips"], filter=boats)
    await ada.add(text("Ada's ferry.", topic="boats", size=2))
    await ada.add(text("Ada's ferry ticket.", topic="tickets", size=2))

    for lifted in ({"user_id": "bob"}, {"user_id": None}, {"namespace_prefix": ["work"]}, {"namespace_prefix": None}):
        with pytest.raises(TypeError, match=next(iter(lifted))):
            await ada.query(question, **lifted)
    for own, expected in (
        ({"field": "size", "op": "eq", "value": 2}, ["Ada's ferry."]),
        ({"field": "topic", "op": "eq", "value": "tickets"}, []),
        (None, ["Ada's ferry."]),
    ):
        assert await contents_of(ada, question, filter=own) == expected
    assert await contents_of(bob, question, agent_id="nobody") == []
    await ada.close()
    await bob.close()


async def test_owners_namespaces_and_filters_restrict_what_is_found_and_cleared(plain_daemon: Daemon, space: str):
    def of(**settings: Any) -> T4DMAutoGenMemory:
        return T4DMAutoGenMemory(plain_daemon.url, space=space, **settings)

    ada, bob, trips = of(user_id="ada"), of(user_id="bob"), of(user_id="ada", namespace=["trips"])
    await ada.add(text("Ada has a ferry.", topic="boats"))
    await bob.add(text("Bob has a ferry."))
    await trips.add(text("Ada takes the ferry."))
    boats = of(filter={"field": "topic", "op": "eq", "value": "boats"})

    assert set(await contents_of(ada, "ferry")) == {"Ada has a ferry.", "Ada takes the ferry."}
    assert await contents_of(trips, "ferry") == ["Ada takes the ferry."]
    assert await contents_of(boats, "ferry") == ["Ada has a ferry."]
    await boats.clear()
    assert await contents_of(ada) == ["Ada takes the ferry."]
    await ada.clear()
    assert (await contents_of(ada), await contents_of(bob)) == ([], ["Bob has a ferry."])
    for one in (ada, bob, trips, boats):
        await one.close()


async def test_clear_of_a_space_of_its_own_clears_it_and_of_the_shared_one_is_refused(
    memory: T4DMAutoGenMemory, plain_daemon: Daemon
):
    await memory.add(text(FERRY))
    await memory.clear()
    assert await contents_of(memory) == []

    shared = T4DMAutoGenMemory(plain_daemon.url)
    await shared.add(text(FERRY))
    with pytest.raises(ValidationError, match="user_id"):
        await shared.clear()
    assert await contents_of(shared) == [FERRY]
    await memory.close()
    await shared.close()


async def test_a_call_may_ask_otherwise_and_what_is_unknown_is_an_error(memory: T4DMAutoGenMemory):
    await memory.add(text("Ferry one.", topic="a"))
    await memory.add(text("Ferry two.", topic="b"))

    assert await contents_of(memory, "ferry", filter={"field": "topic", "op": "eq", "value": "b"}) == ["Ferry two."]
    assert len(await contents_of(memory, "ferry", k=1, mode="lexical")) == 1
    assert await contents_of(memory, "ferry", min_score=1.0) == []
    assert await contents_of(memory, "ferry", known_at="2020-01-01") == []
    with pytest.raises(TypeError, match="limit"):
        await memory.query("ferry", limit=3)
    with pytest.raises(ValidationError, match="k"):
        await memory.query("ferry", k=0)
    with pytest.raises(ValidationError):
        await memory.query("ferry", filter={"field": "topic", "op": "like", "value": "b"})
    await memory.close()


async def test_bytes_json_and_markdown_are_found_and_come_back(memory: T4DMAutoGenMemory):
    given = [
        MemoryContent(content={"pier": [6, None, 2.5]}, mime_type=MemoryMimeType.JSON),
        MemoryContent(content="# Pier\n\n* six", mime_type=MemoryMimeType.MARKDOWN),
        MemoryContent(content=b"\xff\x00", mime_type="application/pdf", metadata={"name": "Pier plan"}),
    ]
    for one in given:
        await memory.add(one)
        await memory.add(one)

    found = (await memory.query("pier", k=10)).results

    assert len(found) == 3
    for one in given:
        assert [(other.content, other.mime_type) for other in found if other.mime_type == one.mime_type] == [
            (one.content, one.mime_type)
        ]
    assert await contents_of(memory, "pier", filter={"field": "name", "op": "exists"}) == [b"\xff\x00"]
    assert (await memory.query(given[2])).results
    await memory.close()


# Contexts -----------------------------------------------------------------------------------------------


async def test_a_block_is_added_once_and_later_only_what_is_new(memory: T4DMAutoGenMemory):
    context = UnboundedChatCompletionContext()
    await memory.add(text(FERRY))
    await context.add_message(UserMessage(content="Which pier has the ferry?", source="user"))

    first = await memory.update_context(context)
    again = await memory.update_context(context)
    await memory.add(text("The night ferry leaves from pier two."))
    await memory.update_context(context)

    blocks = [str(one.content) for one in await context.get_messages() if isinstance(one, SystemMessage)]
    assert len(blocks) == 2
    assert FERRY in blocks[0]
    assert FERRY not in blocks[1]
    assert "night ferry" in blocks[1]
    assert [one.content for one in first.memories.results] == [one.content for one in again.memories.results] == [FERRY]
    await memory.close()


async def test_what_a_saved_context_shows_is_not_repeated_after_loading(memory: T4DMAutoGenMemory):
    context, loaded = UnboundedChatCompletionContext(), UnboundedChatCompletionContext()
    await memory.add(text("Ferries:\n- one at noon\n- one at night"))
    await context.add_message(UserMessage(content="When are the ferries?", source="user"))
    await memory.update_context(context)

    await loaded.load_state(json.loads(json.dumps(await context.save_state())))
    await memory.update_context(loaded)

    assert len(await loaded.get_messages()) == 2
    await memory.close()


async def test_what_fell_out_of_a_buffer_is_shown_again(memory: T4DMAutoGenMemory):
    context = BufferedChatCompletionContext(buffer_size=2)
    await memory.add(text(FERRY))
    for _ in range(2):
        await context.add_message(UserMessage(content="Which pier has the ferry?", source="user"))
        await memory.update_context(context)

    seen = [one for one in await context.get_messages() if isinstance(one, SystemMessage)]

    assert len(seen) == 1
    await memory.close()


async def test_what_is_said_in_a_conversation_is_not_recalled_into_it(plain_daemon: Daemon, space: str):
    memory = T4DMAutoGenMemory(plain_daemon.url, space=space, k=1)
    context = UnboundedChatCompletionContext()
    said = [
        UserMessage(content="Which pier has the ferry?", source="user"),
        AssistantMessage(content="The ferry has pier six.", source="ada"),
    ]
    await memory.capture(said)
    await memory.add(text("The ferry to the island has a bar."))
    for one in said:
        await context.add_message(one)

    recalled = await memory.update_context(context)

    assert [one.content for one in recalled.memories.results] == ["The ferry to the island has a bar."]
    await memory.close()


async def test_a_context_without_a_question_is_left_alone(memory: T4DMAutoGenMemory):
    context = UnboundedChatCompletionContext()
    await memory.add(text(FERRY))
    await context.add_message(SystemMessage(content="Be brief."))

    assert (await memory.update_context(context)).memories.results == []
    assert len(await context.get_messages()) == 1
    await memory.close()


async def test_a_block_can_be_a_users_message_for_models_with_one_system_message(plain_daemon: Daemon, space: str):
    memory = T4DMAutoGenMemory(plain_daemon.url, space=space, role="user", header="Known:")
    context = UnboundedChatCompletionContext()
    await memory.add(text(FERRY))
    await context.add_message(UserMessage(content="Which pier has the ferry?", source="user"))

    await memory.update_context(context)
    await memory.update_context(context)

    messages = await context.get_messages()
    assert [type(one) for one in messages] == [UserMessage, UserMessage]
    assert str(messages[1].content).startswith("Known:\n- (")
    await memory.close()


# Configurations -----------------------------------------------------------------------------------------


async def test_a_dumped_memory_is_loaded_again_from_json(plain_daemon: Daemon, space: str, monkeypatch: Any):
    monkeypatch.setenv("T4DM_API_KEY", "secret-key")
    memory = T4DMAutoGenMemory(
        plain_daemon.url,
        space=space,
        name="notes",
        user_id="ada",
        namespace=["a", "b"],
        k=2,
        min_score=0.1,
        mode="lexical",
        filter={"not": {"field": "topic", "op": "eq", "value": None}},
        role="user",
        timeout_s=5.0,
    )
    await memory.add(text(FERRY))

    dumped = memory.dump_component().model_dump_json()
    loaded = Memory.load_component(json.loads(dumped))

    assert isinstance(loaded, T4DMAutoGenMemory)
    assert json.loads(dumped)["provider"] == "t4dm.adapters.autogen.T4DMAutoGenMemory"
    assert "secret-key" not in dumped
    assert loaded.dump_component() == memory.dump_component()
    assert loaded.name == "notes"
    assert await contents_of(loaded, "ferry") == [FERRY]
    await memory.close()
    await loaded.close()


async def test_a_memory_with_a_client_of_the_callers_works_and_cannot_be_dumped(plain_daemon: Daemon, space: str):
    with plain_daemon.client() as client:
        memory = T4DMAutoGenMemory(client=client, space=space)
        await memory.add(text(FERRY))
        assert await contents_of(memory, "ferry") == [FERRY]
        with pytest.raises(ValidationError, match="url="):
            memory.dump_component()
        await memory.close()


async def test_wrong_settings_are_refused_when_they_are_given():
    for settings in ({"k": 0}, {"min_score": 2.0}, {"mode": "psychic"}, {"filter": {"topic": "a"}}, {"user_id": ""}):
        with pytest.raises(ValidationError):
            T4DMAutoGenMemory(**settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="extra"):
        Memory.load_component(
            {
                "provider": "t4dm.adapters.autogen.T4DMAutoGenMemory",
                "config": {"spcae": "notes"},
                "component_type": "memory",
            }
        )


async def test_a_data_directory_serves_without_a_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("T4DM_EMBEDDING_MODEL", "hashing")
    monkeypatch.setenv("T4DM_CACHE_PATH", str(tmp_path / "cache"))
    memory = T4DMAutoGenMemory(storage_path=tmp_path / "store", user_id="ada")
    await memory.add(text(FERRY))
    dumped = memory.dump_component()
    await memory.close()

    loaded = T4DMAutoGenMemory.load_component(dumped)

    assert await contents_of(loaded, "ferry") == [FERRY]
    await loaded.close()
    await loaded.close()


async def test_a_closed_memory_opens_again_when_it_is_used(memory: T4DMAutoGenMemory):
    await memory.add(text(FERRY))
    await memory.close()

    assert await contents_of(memory, "ferry") == [FERRY]
    await memory.close()


# Cancelling and failing ---------------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of something that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


async def test_a_cancelled_token_ends_the_wait_and_nothing_is_sent_afterwards(memory: T4DMAutoGenMemory, silent: str):
    token = CancellationToken()
    waiting = T4DMAutoGenMemory(silent, timeout_s=60.0)
    call = asyncio.ensure_future(waiting.query("ferry", token))
    await asyncio.sleep(0)

    token.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(asyncio.CancelledError):
        await memory.add(text(FERRY), token)
    assert await contents_of(memory) == []
    await waiting.close()
    await memory.close()


async def test_a_daemon_that_is_down_or_slow_is_an_error_and_never_nothing_found(silent: str):
    context = UnboundedChatCompletionContext()
    await context.add_message(UserMessage(content="Which pier?", source="user"))
    down = T4DMAutoGenMemory("http://127.0.0.1:1", max_retries=0)
    slow = T4DMAutoGenMemory(silent, max_retries=0, timeout_s=0.1)

    for memory, message in ((down, "not running"), (slow, "0.1")):
        for call in (
            memory.query("ferry"),
            memory.query(""),
            memory.add(text(FERRY)),
            memory.update_context(context),
            memory.capture([UserMessage(content="Hello", source="user")]),
        ):
            with pytest.raises(TransportError, match=message):
                await call
        await memory.close()
    assert len(await context.get_messages()) == 1
