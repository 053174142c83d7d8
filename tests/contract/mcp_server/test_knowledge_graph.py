"""The profile `knowledge-graph`: nine tools over T4DM, and their data in T4DM's own views."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

from mcp import McpError
from pydantic import AnyUrl

from t4dm._backend import MemoryBackend
from t4dm.sdk import (
    BatchAnswer,
    BatchRequest,
    EntityListRequest,
    ListRequest,
    RelationListRequest,
    SearchRequest,
    StoreRequest,
)
from t4dm_integrations.mcp.scope import Scope
from tests.support.mcp_sessions import Heard, call, in_memory, json_of, refused, updated

pytestmark = pytest.mark.asyncio

ADA = {"name": "Ada", "entityType": "person", "observations": ["likes tea", "plays the cello"]}
ACME = {"name": "Acme", "entityType": "company", "observations": []}
WORKS_AT = {"from": "Ada", "to": "Acme", "relationType": "works at"}
DEPENDS_ON = {"from": "Acme", "to": "Ada", "relationType": "depends on"}


@pytest.fixture
def scope(space: str) -> Scope:
    return Scope(space, (("user_id", "ada"),), "knowledge-graph")


async def test_the_nine_tools_and_nothing_else(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        tools = (await session.list_tools()).tools
        resources = (await session.list_resources()).resources
        prompts = (await session.list_prompts()).prompts

    assert [tool.name for tool in tools] == [
        "create_entities",
        "create_relations",
        "add_observations",
        "delete_entities",
        "delete_observations",
        "delete_relations",
        "read_graph",
        "search_nodes",
        "open_nodes",
    ]
    assert all(tool.description for tool in tools)
    assert [str(one.uri) for one in resources] == ["memory://knowledge-graph"]
    assert prompts == []


async def test_a_graph_is_made_read_searched_and_taken_apart(backend: MemoryBackend, scope: Scope) -> None:
    async with in_memory(backend, scope) as session:
        assert await call(session, "read_graph") == {"entities": [], "relations": []}
        assert await call(session, "create_entities", entities=[ADA, ACME]) == {"entities": [ADA, ACME]}
        assert await call(session, "create_relations", relations=[WORKS_AT, DEPENDS_ON]) == {
            "relations": [WORKS_AT, DEPENDS_ON]
        }
        assert await call(session, "create_entities", entities=[ADA]) == {"entities": []}
        assert await call(session, "create_relations", relations=[WORKS_AT]) == {"relations": []}
        added = await call(
            session,
            "add_observations",
            observations=[
                {"entityName": "Ada", "contents": ["likes tea", "is tall"]},
                {"entityName": "Acme", "contents": ["makes anvils"]},
            ],
        )
        found = await call(session, "search_nodes", query="ANVIL")
        opened = await call(session, "open_nodes", names=["Ada", "Nobody"])
        await call(session, "delete_observations", deletions=[{"entityName": "Ada", "observations": ["is tall"]}])
        await call(session, "delete_relations", relations=[DEPENDS_ON])
        left = await call(session, "read_graph")
        done = await call(session, "delete_entities", entityNames=["Ada", "Nobody"])
        last = await call(session, "read_graph")

    assert added == {
        "results": [
            {"entityName": "Ada", "addedObservations": ["is tall"]},
            {"entityName": "Acme", "addedObservations": ["makes anvils"]},
        ]
    }
    acme = {**ACME, "observations": ["makes anvils"]}
    assert found == {"entities": [acme], "relations": [WORKS_AT, DEPENDS_ON]}
    assert [one["name"] for one in opened["entities"]] == ["Ada"]
    assert opened["relations"] == [WORKS_AT, DEPENDS_ON]
    assert left == {"entities": [ADA, acme], "relations": [WORKS_AT]}
    assert done["success"] is True
    assert last == {"entities": [acme], "relations": []}


async def test_texts_are_what_the_reference_server_prints(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        made = await session.call_tool("create_entities", {"entities": [ADA]})
        read = await session.call_tool("read_graph", {})

    assert made.content[0].text == json.dumps([ADA], indent=2)  # type: ignore[union-attr]
    assert read.content[0].text == json.dumps({"entities": [ADA], "relations": []}, indent=2)  # type: ignore[union-attr]


async def test_an_observation_of_nobody_is_refused_and_nothing_is_added(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        await call(session, "create_entities", entities=[ADA])
        told = await refused(
            session,
            "add_observations",
            observations=[{"entityName": "Ada", "contents": ["new"]}, {"entityName": "Nobody", "contents": ["new"]}],
        )
        graph = await call(session, "read_graph")

    assert "there is no entity named 'Nobody', so nothing was added" in told
    assert graph["entities"] == [ADA]


async def test_what_is_told_twice_in_one_call_is_stored_once(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        made = await call(
            session,
            "create_entities",
            entities=[{**ACME, "observations": ["big", "big"]}, {**ACME, "entityType": "shop"}],
        )
        related = await call(session, "create_relations", relations=[WORKS_AT, WORKS_AT])
        graph = await call(session, "read_graph")

    assert made == {"entities": [{**ACME, "observations": ["big"]}]}
    assert related == {"relations": [WORKS_AT]}
    assert graph == {"entities": made["entities"], "relations": [WORKS_AT]}


async def test_what_is_private_is_not_stored(embedded: MemoryBackend, scope: Scope) -> None:
    secret = {**ADA, "observations": ["her pin is <private>4711</private>", "<private>hunter2</private>"]}

    async with in_memory(embedded, scope) as session:
        made = await call(session, "create_entities", entities=[secret])
        told = await refused(session, "create_entities", entities=[{**ADA, "name": "<private>x</private>"}])

    assert made["entities"][0]["observations"] == ["her pin is"]
    assert "private throughout" in told
    everything = embedded.list(ListRequest(space=scope.space)).model_dump_json()
    assert "4711" not in everything
    assert "hunter2" not in everything


async def test_the_graph_is_found_through_every_other_door(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        await call(session, "create_relations", relations=[DEPENDS_ON])  # before its ends exist
        await call(session, "create_entities", entities=[ADA, ACME])
        await call(session, "create_relations", relations=[WORKS_AT])

    entities = embedded.list_entities(EntityListRequest(space=scope.space, name="Ada")).results
    assert [(one.name, one.entity_type) for one in entities] == [("Ada", "person")]
    related = embedded.relations(entities[0].id, RelationListRequest(space=scope.space))
    assert {(one.entity.name, one.edge.type) for one in related} == {("Acme", "RELATES_TO"), ("Acme", "DEPENDS_ON")}
    hits = embedded.search(SearchRequest(query="Who plays the cello?", space=scope.space, user_id="ada")).results
    assert hits[0].memory.content == "Ada: plays the cello"
    links = embedded.links(hits[0].memory.id, space=scope.space)
    assert [(edge.type, edge.target) for edge in links] == [("PART_OF", entities[0].id)]


async def test_links_go_with_the_last_relation_that_they_stand_for(embedded: MemoryBackend, scope: Scope) -> None:
    knows = {**WORKS_AT, "relationType": "knows"}

    async with in_memory(embedded, scope) as session:
        await call(session, "create_entities", entities=[ADA, ACME])
        await call(session, "create_relations", relations=[WORKS_AT, knows])
        (ada,) = embedded.list_entities(EntityListRequest(space=scope.space, name="Ada")).results
        counts = []
        for relation in (knows, WORKS_AT):
            await call(session, "delete_relations", relations=[relation])
            found = embedded.links(ada.id, direction="out", space=scope.space)
            counts.append(len([edge for edge in found if edge.type == "RELATES_TO"]))

    assert counts == [1, 0]


async def test_graphs_of_two_owners_are_apart(embedded: MemoryBackend, space: str) -> None:
    graphs = []
    for columns in ((("user_id", "ada"),), (("user_id", "bob"),), ()):
        async with in_memory(embedded, Scope(space, columns, "knowledge-graph")) as session:
            made = await call(session, "create_entities", entities=[{**ACME, "observations": [str(columns)]}])
            await call(session, "delete_entities", entityNames=["Nobody"])
            graphs.append((made, await call(session, "read_graph")))

    for made, graph in graphs:
        assert graph["entities"] == made["entities"]
        assert len(graph["entities"]) == 1


async def test_an_owner_cannot_be_spelled_as_another(embedded: MemoryBackend, space: str) -> None:
    two = Scope(space, (("user_id", "ada"), ("agent_id", "x")), "knowledge-graph")
    one = Scope(space, (("user_id", "ada&agent_id=x"),), "knowledge-graph")
    async with in_memory(embedded, two) as session:
        await call(session, "create_entities", entities=[ADA])
    async with in_memory(embedded, one) as session:
        assert await call(session, "read_graph") == {"entities": [], "relations": []}


async def test_memories_that_only_look_like_records_are_not_in_the_graph(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        await call(session, "create_entities", entities=[ADA])
        (true,) = [
            one for one in embedded.list(ListRequest(space=scope.space)).results if one.content.startswith("Ada (")
        ]
        for owner in ("ada", "eve"):
            for number, value in enumerate((None, {"name": "Evil", "entity_type": "x"}, true.value)):
                embedded.store(
                    StoreRequest(
                        content=f"{owner} {number}",
                        metadata=true.metadata,
                        value=value,
                        user_id=owner,
                        space=scope.space,
                    )
                )

        assert await call(session, "read_graph") == {"entities": [ADA], "relations": []}


async def test_a_record_that_was_changed_is_an_error_that_names_it(embedded: MemoryBackend, scope: Scope) -> None:
    async with in_memory(embedded, scope) as session:
        await call(session, "create_entities", entities=[ADA])
        (record,) = [
            one for one in embedded.list(ListRequest(space=scope.space)).results if one.content.startswith("Ada (")
        ]
        embedded.store(
            StoreRequest(
                id=record.id,
                content="x",
                metadata=record.metadata,
                user_id="ada",
                space=scope.space,
            )
        )

        assert record.id in await refused(session, "read_graph")


async def test_servers_that_learn_the_same_at_once_store_it_once(embedded: MemoryBackend, scope: Scope) -> None:
    async def learn() -> list[Any]:
        async with in_memory(embedded, scope) as session:
            made = await call(session, "create_entities", entities=[ADA])
            await call(session, "add_observations", observations=[{"entityName": "Ada", "contents": ["is tall"]}])
            await call(session, "create_relations", relations=[WORKS_AT])
            return list(made["entities"])

    made = await asyncio.gather(*(asyncio.create_task(learn()) for _ in range(6)))
    async with in_memory(embedded, scope) as session:
        graph = await call(session, "read_graph")

    assert sum(map(len, made)) == 1
    assert graph == {
        "entities": [{**ADA, "observations": [*ADA["observations"], "is tall"]}],
        "relations": [WORKS_AT],
    }


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("create_entities", {}, "entities: Field required"),
        ("create_entities", {"entities": [{"name": "x"}]}, "entityType: Field required"),
        ("create_entities", {"entities": [{**ADA, "observations": "tea"}]}, "should be a valid list"),
        ("create_entities", {"entities": [{**ADA, "name": ""}]}, "is empty"),
        ("create_entities", {"entities": [{**ADA, "name": 5}]}, "should be a valid string"),
        ("create_entities", {"entities": [{**ADA, "name": "x" * 100_000}]}, "metadata"),
        ("open_nodes", {"names": "Ada"}, "should be a valid list"),
        ("search_nodes", {}, "query: Field required"),
        ("t4dm_search", {"query": "x"}, "there is no tool 't4dm_search'"),
    ],
)
async def test_what_is_wrong_is_said(
    embedded: MemoryBackend, scope: Scope, name: str, arguments: dict[str, Any], told: str
) -> None:
    async with in_memory(embedded, scope) as session:
        assert told in await refused(session, name, **arguments)
        assert await call(session, "read_graph") == {"entities": [], "relations": []}


async def test_subscribers_of_the_graph_hear_of_changes(embedded: MemoryBackend, scope: Scope) -> None:
    heard: Heard = []

    async with in_memory(embedded, scope, heard=heard) as session:
        await session.subscribe_resource(AnyUrl("memory://knowledge-graph"))
        await call(session, "create_entities", entities=[ADA])
        async with asyncio.timeout(10):
            while not updated(heard):
                await asyncio.sleep(0.01)
        graph = await json_of(session, "memory://knowledge-graph")
        with pytest.raises(McpError, match="memory://knowledge-graph"):
            await session.read_resource(AnyUrl("memory://context"))

    assert updated(heard) == ["memory://knowledge-graph"]
    assert graph["entities"] == [ADA]


def lines(*items: dict[str, Any]) -> str:
    return "\n".join(json.dumps(item) for item in items)


async def test_a_memory_file_is_imported_once_and_what_was_deleted_stays_deleted(
    embedded: MemoryBackend, scope: Scope, tmp_path: Path
) -> None:
    file = tmp_path / "memory.jsonl"
    file.write_text(lines({"type": "entity", **ADA}, {"type": "entity", **ACME}, {"type": "relation", **WORKS_AT}))

    async with in_memory(embedded, scope, memory_file=file) as session:
        first = await call(session, "read_graph")
        await call(session, "delete_entities", entityNames=["Acme"])
    async with in_memory(embedded, scope, memory_file=file) as session:
        second = await call(session, "read_graph")
        file.write_text(lines({"type": "entity", **ADA, "observations": ["is tall"]}))
    async with in_memory(embedded, scope, memory_file=file) as session:
        third = await call(session, "read_graph")

    assert first == {"entities": [ADA, ACME], "relations": [WORKS_AT]}
    assert second == {"entities": [ADA], "relations": []}
    assert third["entities"] == [{**ADA, "observations": [*ADA["observations"], "is tall"]}]


class Held:
    """A backend that stores nothing until it is let go."""

    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend
        self.is_free = threading.Event()
        self.batches = 0

    def batch(self, request: BatchRequest) -> BatchAnswer:
        self.batches += 1
        assert self.is_free.wait(30)
        return self._backend.batch(request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


async def test_a_long_import_goes_on_and_is_begun_once(embedded: MemoryBackend, scope: Scope, tmp_path: Path) -> None:
    file = tmp_path / "memory.jsonl"
    file.write_text(lines({"type": "entity", **ADA}))
    held = Held(embedded)

    async with in_memory(held, scope, memory_file=file, deadline_s=0.5) as session:
        early = [await refused(session, "read_graph") for _ in range(2)]
        held.is_free.set()
        async with asyncio.timeout(20):
            while (found := await session.call_tool("read_graph", {})).isError:
                pass

    assert all("still being imported" in one for one in early)
    assert found.structuredContent == {"entities": [ADA], "relations": []}
    assert held.batches == 1


async def test_a_memory_file_that_is_not_there_is_an_empty_graph(
    embedded: MemoryBackend, scope: Scope, tmp_path: Path
) -> None:
    async with in_memory(embedded, scope, memory_file=tmp_path / "none.jsonl") as session:
        assert await call(session, "read_graph") == {"entities": [], "relations": []}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2: it is not JSON"),
        ('{"type": "entity", "name": "x"}', "line 2: entityType: Field required"),
        ('{"type": "thing"}', 'line 2: "type" is neither'),
        ("[1]", 'line 2: "type" is neither'),
        ("9" * 5000, "line 2: it is not JSON"),
    ],
)
async def test_a_memory_file_with_a_broken_line_is_refused_whole(
    embedded: MemoryBackend, scope: Scope, tmp_path: Path, line: str, told: str
) -> None:
    file = tmp_path / "memory.jsonl"
    file.write_text(lines({"type": "entity", **ADA}) + f"\n{line}\n")

    async with in_memory(embedded, scope, memory_file=file) as session:
        text = await refused(session, "read_graph")
    async with in_memory(embedded, scope) as session:
        graph = await call(session, "read_graph")

    assert told in text
    assert "nothing was imported" in text
    assert graph == {"entities": [], "relations": []}
