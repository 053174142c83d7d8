"""T4DM's own tools, as a genuine client sees them, over both kinds of memory."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

pytest.importorskip("mcp")

from jsonschema import Draft202012Validator

from t4dm._backend import MemoryBackend
from t4dm.sdk import models as m
from t4dm.tools import openai_tools
from t4dm_integrations.mcp.scope import Scope
from t4dm_integrations.mcp.tools import SHARED
from tests.support.mcp_sessions import call, in_memory, refused

pytestmark = pytest.mark.asyncio

ALL = [
    "t4dm_remember",
    "t4dm_search",
    "t4dm_get",
    "t4dm_update",
    "t4dm_forget",
    "t4dm_timeline",
    "t4dm_link",
    "t4dm_related",
    "t4dm_capture",
    "t4dm_session_summary",
    "t4dm_sleep_status",
]


@pytest.fixture
def scope(space: str) -> Scope:
    return Scope(space, (("user_id", "ada"),))


async def test_every_tool_and_every_argument_says_what_it_is_for(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        tools = (await session.list_tools()).tools

    assert [tool.name for tool in tools] == ALL
    for tool in tools:
        assert tool.description
        assert tool.title
        assert tool.annotations is not None
        assert tool.annotations.openWorldHint is False
        for schema in (tool.inputSchema, tool.outputSchema):
            assert schema is not None
            Draft202012Validator.check_schema(schema)
            assert "$ref" not in str(schema)
        for name, argument in tool.inputSchema["properties"].items():
            assert argument.get("description") or "format" in str(argument), (tool.name, name)
        assert "memory_" not in str(tool), "tools are called here as they are listed here"


async def test_hints_say_which_tools_only_read_and_which_destroy(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        tools = {tool.name: tool.annotations for tool in (await session.list_tools()).tools}

    reading = {name for name, hints in tools.items() if hints is not None and hints.readOnlyHint}
    destroying = {name for name, hints in tools.items() if hints is not None and hints.destructiveHint}
    assert reading == {"t4dm_search", "t4dm_get", "t4dm_timeline", "t4dm_related", "t4dm_sleep_status"}
    assert destroying == {"t4dm_update", "t4dm_forget"}


async def test_shared_tools_take_what_the_openai_tools_take(embedded: MemoryBackend, scope: Scope) -> None:
    theirs = {tool["function"]["name"]: tool["function"] for tool in openai_tools()}

    async with in_memory(embedded, scope) as session:
        ours = {tool.name: tool for tool in (await session.list_tools()).tools}

    assert set(theirs) == set(SHARED)
    for name, tool in theirs.items():
        here = ours[SHARED[name]]
        assert here.description == renamed(tool["description"])
        assert without_strictness(here.inputSchema) == without_strictness(renamed(tool["parameters"]))


def renamed(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: renamed(one) for key, one in part.items()}
    if isinstance(part, list):
        return [renamed(one) for one in part]
    if isinstance(part, str):
        for theirs, ours in SHARED.items():
            part = part.replace(theirs, ours)
    return part


def without_strictness(schema: Any) -> Any:
    """Return a schema without `required`, which in strict mode names what may be left out as well."""
    if isinstance(schema, dict):
        return {key: without_strictness(one) for key, one in schema.items() if key != "required"}
    return [without_strictness(one) for one in schema] if isinstance(schema, list) else schema


async def test_remember_search_get_update_forget(backend: MemoryBackend, scope: Scope) -> None:
    async with in_memory(backend, scope) as session:
        tea = await call(session, "t4dm_remember", content="Ada likes green tea", categories=["taste"])
        again = await call(session, "t4dm_remember", content="Ada likes green tea", categories=["taste"])
        found = await call(session, "t4dm_search", query="What tea does Ada like?")
        changed = await call(session, "t4dm_update", id=tea["id"], content="Ada likes black tea")
        got = await call(session, "t4dm_get", ids=[tea["id"], "nobody"], history=True)
        gone = await call(session, "t4dm_forget", ids=[tea["id"]])
        after = await call(session, "t4dm_search", query="tea")

    assert tea["status"] == "created"
    assert again == {"id": tea["id"], "status": "duplicate", "version": 1}
    assert found["results"][0]["content"] == "Ada likes green tea"
    assert changed["memory"]["content"] == "Ada likes black tea"
    assert [one["content"] for one in got["results"]] == ["Ada likes black tea"]
    assert got["missing"] == ["nobody"]
    assert [one["event"] for one in got["results"][0]["history"]] == ["ADD", "UPDATE"]
    assert gone == {"forgotten": 1}
    assert after == {"results": [], "note": "nothing relevant is stored"}


async def test_the_text_of_an_answer_is_its_structure(embedded: MemoryBackend, scope: Scope) -> None:
    import json

    async with in_memory(embedded, scope) as session:
        result = await session.call_tool("t4dm_remember", {"content": "Zoë 🦊 «naïve»"})
        found = await session.call_tool("t4dm_timeline", {})

    assert json.loads(result.content[0].text) == result.structuredContent  # type: ignore[union-attr]
    assert "Zoë 🦊 «naïve»" in found.content[0].text  # type: ignore[union-attr]


async def test_where_nothing_was_ever_written_nothing_is_found(backend: MemoryBackend, scope: Scope) -> None:
    async with in_memory(backend, scope) as session:
        found = await call(session, "t4dm_search", query="tea")
        timeline = await call(session, "t4dm_timeline")
        told = [
            await refused(session, name, **arguments)
            for name, arguments in (("t4dm_get", {"ids": ["x"]}), ("t4dm_related", {"id": "x"}))
        ]

    assert found == {"results": [], "note": "nothing has been stored yet"}
    assert (timeline["results"], timeline["total"]) == ([], 0)
    assert all("there is no memory with the id 'x'" in text for text in told)


async def test_timeline_and_links(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        first = await call(session, "t4dm_remember", content="It rained", event_time="2026-05-01T10:00:00Z")
        second = await call(session, "t4dm_remember", content="The cellar flooded", event_time="2026-05-02T10:00:00Z")
        await call(session, "t4dm_link", source_id=first["id"], target_id=second["id"], type="CAUSES", weight=0.9)
        timeline = await call(session, "t4dm_timeline")
        out = await call(session, "t4dm_related", id=first["id"], direction="out")
        into = await call(session, "t4dm_related", id=first["id"], direction="in")

    assert [one["content"] for one in timeline["results"]] == ["It rained", "The cellar flooded"]
    (related,) = out["results"]
    assert (related["content"], related["depth"]) == ("The cellar flooded", 1)
    assert related["link"] == {
        "source_id": first["id"], "type": "CAUSES", "target_id": second["id"], "weight": 0.9,
    }  # fmt: skip
    assert into == {"results": [], "note": "it is not linked to anything"}


async def test_an_owner_neither_sees_nor_changes_what_another_has(embedded: MemoryBackend, space: str) -> None:
    async with in_memory(embedded, Scope(space, (("user_id", "bob"),))) as session:
        his = await call(session, "t4dm_remember", content="Bob's door code is 4711")
        told = await call(session, "t4dm_remember", content="Bob told Ada something")

    async with in_memory(embedded, Scope(space, (("user_id", "ada"),))) as session:
        hers = await call(session, "t4dm_remember", content="Ada was told something")
        embedded.link(_edge(hers["id"], told["id"], space))
        assert "4711" not in str(await call(session, "t4dm_search", query="What is the door code?"))
        assert (await call(session, "t4dm_related", id=hers["id"]))["results"] == []
        for name, arguments in (
            ("t4dm_get", {"ids": [his["id"]]}),
            ("t4dm_update", {"id": his["id"], "content": "mine"}),
            ("t4dm_forget", {"ids": [his["id"]]}),
            ("t4dm_related", {"id": his["id"]}),
            ("t4dm_link", {"source_id": hers["id"], "target_id": his["id"], "type": "SUPPORTS"}),
            ("t4dm_remember", {"content": "new", "supersedes": [his["id"]]}),
        ):
            assert "there is no memory with the id" in await refused(session, name, **arguments)

    assert embedded.get(his["id"], space=space).content == "Bob's door code is 4711"


def _edge(source: str, target: str, space: str) -> Any:
    from t4dm.sdk import EdgeIn, LinkRequest

    return LinkRequest(edges=[EdgeIn(source=source, target=target, type="RELATES_TO")], space=space)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("t4dm_search", {}, "query: Field required"),
        ("t4dm_search", {"query": 5}, "query: Input should be a valid string"),
        ("t4dm_search", {"query": "  "}, "ask something"),
        ("t4dm_search", {"query": "tea", "limit": 1000}, "less than or equal to 50"),
        ("t4dm_search", {"query": "tea", "k": 3}, "Extra inputs are not permitted"),
        ("t4dm_remember", {"content": ""}, "nothing to remember"),
        ("t4dm_remember", {"content": "x" * 1_100_000}, "at most"),
        ("t4dm_remember", {"content": "x", "event_time": "yesterday"}, "RFC 3339"),
        ("t4dm_get", {"ids": []}, "at least 1"),
        ("t4dm_get", {"ids": ["x" * 600]}, "at most 512 bytes"),
        ("t4dm_update", {"id": "nobody"}, "at least one change"),
        ("t4dm_update", {"id": "nobody", "content": " "}, "t4dm_forget deletes"),
        ("t4dm_capture", {"turns": [{"role": "user", "content": "<private>all</private>"}]}, "nothing to keep"),
        ("t4dm_capture", {"turns": [{"role": "system", "content": "x"}]}, "'user' or 'assistant'"),
        ("t4dm_related", {"id": "nobody", "depth": 7}, "less than or equal to 6"),
        ("t4dm_session_summary", {"store": True}, "nothing was remembered"),
        ("t4dm_nonsense", {}, "there is no tool 't4dm_nonsense'"),
    ],
)
async def test_what_is_wrong_is_said(
    embedded: MemoryBackend, scope: Scope, name: str, arguments: dict[str, Any], told: str
) -> None:
    async with in_memory(embedded, scope) as session:
        assert told in await refused(session, name, **arguments)


async def test_capture_keeps_turns_once_and_leaves_private_ones_out(embedded: MemoryBackend, scope: Scope) -> None:
    turns = [
        {"role": "user", "content": "The wifi is called Otter <private>and its key is hunter2</private>"},
        {"role": "assistant", "content": "Noted.", "time": "2026-05-01T10:00:00Z"},
        {"role": "user", "content": "<private>hunter2</private>"},
    ]

    async with in_memory(embedded, scope) as session:
        first = await call(session, "t4dm_capture", turns=turns)
        second = await call(session, "t4dm_capture", turns=turns)
        listed = await call(session, "t4dm_timeline")

    assert (len(first["results"]), first["left_out"]) == (2, 1)
    assert [one["status"] for one in second["results"]] == ["duplicate", "duplicate"]
    assert [(one["content"], one["metadata"]) for one in listed["results"]] == [
        ("Noted.", {"role": "assistant"}),
        ("The wifi is called Otter", {"role": "user"}),
    ]


async def test_a_session_is_summed_up_and_its_summary_linked_to_what_it_is_of(
    embedded: MemoryBackend, scope: Scope
) -> None:
    async with in_memory(embedded, scope) as session:
        kept = await call(session, "t4dm_remember", content="The ferry leaves from pier six")
        gone = await call(session, "t4dm_remember", content="A slip of the tongue")
        await call(session, "t4dm_update", id=kept["id"], content="The ferry leaves from pier seven")
        await call(session, "t4dm_forget", ids=[gone["id"]])
        await call(session, "t4dm_search", query="ferry")
        summary = await call(session, "t4dm_session_summary", store=True)
        related = await call(session, "t4dm_related", id=summary["stored_id"])

    assert summary["remembered"] == [kept["id"]]
    assert (summary["forgotten"], summary["searches"]) == (1, 1)
    assert "pier seven" in summary["summary"]
    assert "slip of the tongue" not in summary["summary"]
    assert [(one["id"], one["link"]["type"]) for one in related["results"]] == [(kept["id"], "DERIVED_FROM")]


async def test_sessions_know_nothing_of_each_other(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        await call(session, "t4dm_remember", content="Of the first session")

    async with in_memory(embedded, scope) as session:
        summary = await call(session, "t4dm_session_summary")

    assert summary["remembered"] == []


async def test_sleep_status_counts_what_is_there_and_claims_no_sleep(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        before = await call(session, "t4dm_sleep_status")
        for content in ("one", "two"):
            await call(session, "t4dm_remember", content=content)
        after = await call(session, "t4dm_sleep_status")

    assert before["space"] is None
    assert after["space"]["memories"] == 2
    assert after["everything"]["memories"] == before["everything"]["memories"] + 2
    assert after["has_sleep"] is False
    assert "no sleep cycle" in after["note"]


async def test_a_call_that_takes_too_long_ends_in_time_with_an_error(embedded: MemoryBackend, scope: Scope) -> None:
    release = threading.Event()

    class Stuck:
        """A memory whose disk hangs."""

        def __getattr__(self, name: str) -> Any:
            return getattr(embedded, name)

        def search(self, request: m.SearchRequest) -> m.SearchAnswer:
            release.wait(30)
            return embedded.search(request)

    async with in_memory(Stuck(), scope, deadline_s=0.3) as session:  # type: ignore[arg-type]
        began = asyncio.get_running_loop().time()
        told = await refused(session, "t4dm_search", query="tea")
        took_s = asyncio.get_running_loop().time() - began
        still = await session.send_ping()
        release.set()

    assert "did not answer within 0.3 s" in told
    assert took_s < 5  # the deadline, and a busy machine
    assert still is not None


async def test_many_calls_at_once_are_all_carried_out(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        answers = await asyncio.gather(
            *(call(session, "t4dm_remember", content=f"Fact number {number}") for number in range(40))
        )
        listed = await call(session, "t4dm_timeline", limit=50)

    assert len({answer["id"] for answer in answers}) == 40
    assert listed["total"] == 40
