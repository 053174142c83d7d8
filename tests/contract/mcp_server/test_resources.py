"""What a host reads without asking: context, hot cache, newest, projects, prompts; and what it is told of changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("mcp")

from mcp import ClientSession, McpError
from mcp.types import PromptReference, ResourceTemplateReference
from pydantic import AnyUrl

from t4dm._backend import MemoryBackend
from t4dm.sdk import models as m
from t4dm.sdk.errors import TransportError
from t4dm.sdk.recall_models import PinRequest
from t4dm_integrations.mcp.scope import Scope
from tests.support.mcp_sessions import Heard, call, in_memory, json_of, refused, text_of, updated

pytestmark = pytest.mark.asyncio


@pytest.fixture
def scope(space: str) -> Scope:
    return Scope(space, (("user_id", "ada"),))


class Down:
    """A memory whose daemon has gone."""

    def __getattr__(self, name: str) -> Any:
        def fail(*arguments: Any, **named: Any) -> Any:
            raise TransportError("T4DM is not running at http://127.0.0.1:1; start it with: t4dm serve",
                                 code="not_running")  # fmt: skip

        return fail


async def wait_for(heard: Heard, count: int) -> list[str]:
    """Return what has been updated as soon as it is so many, or fail."""
    async with asyncio.timeout(10):
        while len(updated(heard)) < count:
            await asyncio.sleep(0.01)
    return updated(heard)


async def test_resources_and_prompts_are_listed_with_what_they_are(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        resources = (await session.list_resources()).resources
        (template,) = (await session.list_resource_templates()).resourceTemplates
        prompts = (await session.list_prompts()).prompts

    assert [str(one.uri) for one in resources] == ["memory://context", "memory://hot-cache", "memory://recent"]
    assert template.uriTemplate == "memory://project/{name}"
    assert [one.name for one in prompts] == ["recall", "start_session", "summarise_session"]
    assert all(one.description for one in [*resources, template, *prompts])
    assert all(argument.description for one in prompts for argument in one.arguments or [])


async def test_a_session_begins_with_what_is_known(embedded: MemoryBackend, scope: Scope) -> None:
    embedded.store(m.StoreRequest(content="Ada is allergic to walnuts", space=scope.space, user_id="ada"))
    embedded.store(m.StoreRequest(content="Bob is allergic to cats", space=scope.space, user_id="bob"))

    async with in_memory(embedded, scope) as session:
        instructions = (await session.initialize()).instructions or ""
        context = await text_of(session, "memory://context")

    for text in (instructions, context):
        assert "Ada is allergic to walnuts" in text
        assert "Bob" not in text
    assert "t4dm_search" in instructions


async def test_pinned_comes_first_then_what_is_used_then_what_is_new(embedded: MemoryBackend, scope: Scope) -> None:
    ids = {}
    for content in ("an old pin", "an old favourite", "news"):
        ids[content] = embedded.store(m.StoreRequest(content=content, space=scope.space, user_id="ada")).id
    embedded.pin(PinRequest(ids=[ids["an old pin"]], space=scope.space))
    for _ in range(3):
        embedded.touch(m.TouchRequest(ids=[ids["an old favourite"]], space=scope.space))

    async with in_memory(embedded, scope) as session:
        context = await text_of(session, "memory://context")
        cache = await json_of(session, "memory://hot-cache")

    parts = [context.index(title) for title in ("## Pinned", "an old pin", "## Used most", "an old favourite", "news")]
    assert parts == sorted(parts)
    assert context.count("an old pin") == 1
    assert cache["pinned"] == [ids["an old pin"]]
    assert cache["most_used"] == [ids["an old favourite"]]
    assert set(cache["recent"]) == set(ids.values())


async def test_what_is_true_no_longer_is_not_part_of_the_context(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        old = await call(session, "t4dm_remember", content="Ada lives in Oslo")
        await call(session, "t4dm_remember", content="Ada lives in Rome", supersedes=[old["id"]])
        context = await text_of(session, "memory://context")

    assert "Rome" in context
    assert "Oslo" not in context


async def test_nothing_stored_is_said_as_such(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        assert "Nothing is stored yet" in await text_of(session, "memory://context")
        assert "Nothing is stored of project 'x'" in await text_of(session, "memory://project/x")
        assert (await json_of(session, "memory://recent"))["results"] == []


async def test_a_memory_that_cannot_be_reached_is_never_an_empty_one(scope: Scope) -> None:
    async with in_memory(Down(), scope) as session:  # type: ignore[arg-type]
        instructions = (await session.initialize()).instructions or ""
        told = [
            await refused(session, name, **arguments)
            for name, arguments in (
                ("t4dm_search", {"query": "tea"}),
                ("t4dm_remember", {"content": "x"}),
                ("t4dm_timeline", {}),
                ("t4dm_get", {"ids": ["x"]}),
                ("t4dm_sleep_status", {}),
            )
        ]
        for uri in ("memory://context", "memory://recent", "memory://hot-cache", "memory://project/x"):
            with pytest.raises(McpError) as caught:
                await text_of(session, uri)
            told.append(str(caught.value))
        for prompt, given in (("recall", {"topic": "tea"}), ("start_session", {})):
            with pytest.raises(McpError) as caught:
                await session.get_prompt(prompt, given)
            told.append(str(caught.value))

    for text in [instructions, *told]:
        assert "t4dm serve" in text
        assert "This says nothing about what is stored" in text
        assert "Nothing is stored" not in text


async def test_the_hot_cache_answers_by_itself_until_something_is_written(
    embedded: MemoryBackend, scope: Scope
) -> None:
    async with in_memory(embedded, scope) as session:  # the instructions read it for the first time
        await text_of(session, "memory://context")
        first = (await json_of(session, "memory://hot-cache"))["measured"]
        await call(session, "t4dm_remember", content="Something new")
        context = await text_of(session, "memory://context")
        second = (await json_of(session, "memory://hot-cache"))["measured"]

    assert (first["hits"], first["misses"]) == (2, 1)
    assert "Something new" in context
    assert (second["hits"], second["misses"]) == (3, 2)
    assert 0 < second["mean_hit_us"] < second["mean_miss_ms"] * 1e3


async def test_an_old_hot_cache_is_read_anew(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope, cache_age_s=1e-9) as session:
        embedded.store(m.StoreRequest(content="Stored by another program", space=scope.space, user_id="ada"))
        context = await text_of(session, "memory://context")

    assert "Stored by another program" in context


async def test_a_project_has_what_bears_its_name(embedded: MemoryBackend, scope: Scope) -> None:
    for record in (
        {"content": "by namespace", "namespace": ["work", "Zoë's otter/2"]},
        {"content": "by property", "metadata": {"project": "Zoë's otter/2"}},
        {"content": "of another project", "metadata": {"project": "badger"}},
    ):
        embedded.store(m.StoreRequest(space=scope.space, user_id="ada", **record))  # type: ignore[arg-type]

    async with in_memory(embedded, scope) as session:
        text = await text_of(session, "memory://project/Zo%C3%AB's%20otter%2F2")

    assert "2 memories" in text
    assert "by namespace" in text
    assert "by property" in text
    assert "another" not in text


async def test_names_of_projects_are_completed(embedded: MemoryBackend, scope: Scope) -> None:
    for name in ("otter", "ostrich", "badger"):
        embedded.store(m.StoreRequest(content=name, namespace=[name], space=scope.space, user_id="ada"))
    template = ResourceTemplateReference(type="ref/resource", uri="memory://project/{name}")
    prompt = PromptReference(type="ref/prompt", name="recall")

    async with in_memory(embedded, scope) as session:
        names = await session.complete(template, {"name": "name", "value": "o"})
        none = await session.complete(prompt, {"name": "topic", "value": "o"})

    assert names.completion.values == ["ostrich", "otter"]
    assert none.completion.values == []


@pytest.mark.parametrize("uri", ["memory://nonsense", "memory://project/", "file:///etc/passwd"])
async def test_what_is_no_resource_is_an_error_that_lists_them(embedded: MemoryBackend, scope: Scope, uri: str) -> None:
    async with in_memory(embedded, scope) as session:
        for ask in (session.read_resource, session.subscribe_resource):
            with pytest.raises(McpError, match="memory://context") as caught:
                await ask(AnyUrl(uri))
            assert caught.value.error.code == -32002


async def test_prompts_recall_what_is_asked_and_say_when_nothing_is_known(
    embedded: MemoryBackend, scope: Scope
) -> None:
    embedded.store(m.StoreRequest(content="The otter eats seven fish a day", space=scope.space, user_id="ada"))

    async with in_memory(embedded, scope) as session:
        known = await prompted(session, "recall", topic="What does the otter eat?")
        unknown = await prompted(session, "recall", topic="quantum chromodynamics lattice")
        start = await prompted(session, "start_session")
        end = await prompted(session, "summarise_session")

    assert "seven fish" in known
    assert "Nothing relevant is stored of: quantum" in unknown
    assert "seven fish" in start
    assert "t4dm_session_summary" in end


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("recall", {}, "needs the argument topic"),
        ("recall", {"topic": " "}, "needs the argument topic"),
        ("recall", {"topic": "tea", "budget_tokens": "many"}, "whole number"),
        ("recall", {"topic": "tea", "budget_tokens": "0"}, "greater than or equal to 1"),
        ("start_session", {"topic": "tea"}, "no argument 'topic'"),
        ("nonsense", {}, "there are recall, start_session, summarise_session"),
    ],
)
async def test_a_prompt_that_is_asked_for_wrongly_is_an_error(
    embedded: MemoryBackend, scope: Scope, name: str, arguments: dict[str, str], told: str
) -> None:
    async with in_memory(embedded, scope) as session:
        with pytest.raises(McpError, match=told) as caught:
            await session.get_prompt(name, arguments)

    assert caught.value.error.code == -32602


async def prompted(session: ClientSession, name: str, **arguments: str) -> str:
    (message,) = (await session.get_prompt(name, arguments)).messages
    return str(message.content.text)  # type: ignore[union-attr]


async def test_subscribers_hear_of_changes_by_this_server_and_by_others(embedded: MemoryBackend, scope: Scope) -> None:
    heard: Heard = []

    async with in_memory(embedded, scope, heard=heard, watch_s=0.05) as session:
        assert session.get_server_capabilities().resources.subscribe  # type: ignore[union-attr]
        await session.subscribe_resource(AnyUrl("memory://recent"))
        await call(session, "t4dm_remember", content="By this server")
        own = await wait_for(heard, 1)
        other = embedded.store(m.StoreRequest(content="By another program", space=scope.space, user_id="ada"))
        await wait_for(heard, 2)
        embedded.delete(other.id, space=scope.space)
        everything = await wait_for(heard, 3)

    assert own == ["memory://recent"]
    assert set(everything) == {"memory://recent"}


async def test_a_write_is_told_at_once_not_at_the_next_look(embedded: MemoryBackend, scope: Scope) -> None:
    heard: Heard = []

    async with in_memory(embedded, scope, heard=heard, watch_s=3600) as session:
        for uri in ("memory://context", "memory://project/otter"):
            await session.subscribe_resource(AnyUrl(uri))
        project = [{"key": "project", "value": "otter"}]
        await call(session, "t4dm_remember", content="It swims", metadata=project)
        told = await wait_for(heard, 2)

    assert sorted(told) == ["memory://context", "memory://project/otter"]


async def test_nobody_hears_of_what_another_owner_does_of_uses_or_after_unsubscribing(
    embedded: MemoryBackend, scope: Scope
) -> None:
    heard: Heard = []
    mine = embedded.store(m.StoreRequest(content="Mine", space=scope.space, user_id="ada"))

    async with in_memory(embedded, scope, heard=heard, watch_s=0.02) as session:
        for uri in ("memory://recent", "memory://context"):
            await session.subscribe_resource(AnyUrl(uri))
        await session.unsubscribe_resource(AnyUrl("memory://context"))
        embedded.store(m.StoreRequest(content="His", space=scope.space, user_id="bob"))
        embedded.touch(m.TouchRequest(ids=[mine.id], space=scope.space))
        await call(session, "t4dm_search", query="Mine")
        await call(session, "t4dm_remember", content="New of mine")
        told = await wait_for(heard, 1)

    assert told == ["memory://recent"]
