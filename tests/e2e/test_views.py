"""Episodes, entities and procedures over a real daemon with its real embedder: told, recalled, superseded, killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import msgpack
import pytest

from t4dm.sdk import AsyncT4DMClient, T4DMClient
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk import view_models as v
from tests.support.daemon import Daemon

MakeDaemon = Callable[..., Daemon]
NOW = datetime.now(UTC)
PEOPLE = {
    "ada": "a mathematician who works at the harbour office in London",
    "grace": "a captain who sails the night ferry",
    "linus": "a cook who bakes bread in the ship's galley",
}
SHIP = "a ferry that crosses the channel every night"


def _tell(client: T4DMClient, space: str) -> None:
    for name, summary in PEOPLE.items():
        client.add_entity(v.EntityIn(id=name, name=name.title(), entity_type="person", summary=summary, space=space))
    client.add_entity(v.EntityIn(id="aurora", name="Aurora", entity_type="ship", summary=SHIP, space=space))
    kinds: dict[str, g.EdgeType] = {"grace": "USES", "linus": "PART_OF"}
    for source, kind in kinds.items():
        client.relate(source, v.RelationIn(target="aurora", type=kind, weight=0.8), space=space)


def _first(client: T4DMClient, space: str, query: str, **asked: object) -> v.Entity:
    request = v.EntitySearchRequest.model_validate({"query": query, "space": space} | asked)
    return client.search_entities(request).results[0].entity


def test_knowledge_is_told_related_recalled_and_superseded(daemon: Daemon) -> None:
    with daemon.client() as client:
        _tell(client, "people")
        moved = NOW + timedelta(hours=1)

        new = client.supersede_entity(
            "ada", v.SupersedeRequest(summary="a mathematician who teaches in Zurich", valid_from=moved), space="people"
        )

        assert _first(client, "people", "who steers the boat").id == "grace"
        assert _first(client, "people", "who makes the loaves").id == "linus"
        related = client.related_entities("grace", v.RelatedRequest(space="people"))
        assert [(one.entity.id, one.depth) for one in related] == [("aurora", 1), ("linus", 2)]
        before = _first(client, "people", "where does the mathematician work", as_of=moved - timedelta(seconds=1))
        after = _first(client, "people", "where does the mathematician work", as_of=moved)
        assert (before.id, before.valid_to) == ("ada", moved)
        assert (after.id, after.valid_from) == (new.id, moved)
        assert [entry.event for entry in client.history("ada", space="people")] == ["ADD", "SUPERSEDE"]


def test_a_procedure_earns_its_place_by_what_many_report_at_once(daemon: Daemon) -> None:
    ways = {"restart": "restart the web server", "reinstall": "reinstall the web server"}
    with daemon.client() as client:
        for name, trigger in ways.items():
            client.add_procedure(
                v.ProcedureIn(
                    id=name, name=name, domain="ops", trigger=f"{trigger} when it hangs",
                    steps=[v.ProcedureStep(action=trigger)], space="ops",
                )
            )  # fmt: skip

        def report(number: int) -> None:
            name = "restart" if number % 2 else "reinstall"
            success = name == "reinstall" or number % 8 == 1
            client.record_outcome(name, v.OutcomeRequest(success=success, duration_s=2.0), space="ops")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(report, range(48)))

        asked = v.ProcedureSearchRequest(query="the web server hangs", domain="ops", space="ops")
        hits = client.search_procedures(asked).results
        assert [hit.procedure.id for hit in hits] == ["reinstall", "restart"]
        assert [hit.procedure.executions for hit in hits] == [24, 24]
        assert [hit.procedure.success_rate for hit in hits] == [1.0, 0.25]
        assert hits[1].procedure.reliability == pytest.approx(7 / 26)


def test_what_the_views_acknowledged_is_there_after_a_kill(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start()
    with daemon.client() as client:
        _tell(client, "people")
        new = client.supersede_entity("grace", v.SupersedeRequest(summary="retired"), space="people")
        client.add_procedure(v.ProcedureIn(id="bake", name="bake", space="people"))
        client.record_outcome("bake", v.OutcomeRequest(success=True), space="people")
        told = v.EpisodeIn(id="storm", content="the storm came", outcome="partial", event_time=NOW, space="people")
        client.add_episode(told)
    daemon.kill()
    daemon.start()

    with daemon.client() as client:
        assert client.get_entity("grace", space="people").valid_to == new.valid_from
        assert [one.entity.id for one in client.relations(new.id, v.RelationListRequest(space="people"))] == ["aurora"]
        assert client.get_procedure("bake", space="people").successes == 1
        assert client.get_episode("storm", space="people").outcome == "partial"


def test_the_views_are_curls_too(plain_daemon: Daemon) -> None:
    with httpx.Client(base_url=f"{plain_daemon.url}/api/v1", trust_env=False) as http:
        made = http.post("/entities", json={"id": "a/b", "name": "A", "entity_type": "t", "metadata": {"n": 10**30}})
        again = http.post("/entities", json={"id": "a/b", "name": "A", "entity_type": "t"})
        one = http.get("/entities/a%2Fb")
        packed = http.get("/entities/a%2Fb", headers={"accept": "application/msgpack"})
        listed = http.get("/entities", params={"entity_type": "t", "limit": "5"})
        wrong = http.get("/entities", params={"entity_typ": "t"})
        missing = http.get("/procedures/a%2Fb")

    assert (made.status_code, again.status_code, again.json()["status"]) == (201, 200, "updated")
    assert "1000000000000000000000000000000" in made.text
    assert one.json()["name"] == msgpack.unpackb(packed.content)["name"] == "A"
    assert listed.json()["total"] == 1
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "validation_error")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")


def test_the_asynchronous_client_reaches_the_views(plain_daemon: Daemon) -> None:
    async def act() -> tuple[v.Episode, v.EpisodeSearchAnswer, v.Procedure]:
        async with AsyncT4DMClient(plain_daemon.url) as client:
            made = await client.add_episode(v.EpisodeIn(content="we baked bread", space="async"))
            found = await client.search_episodes(v.EpisodeSearchRequest(query="bread", space="async"))
            await client.add_procedure(v.ProcedureIn(id="bake", name="bake bread", space="async"))
            told = await client.record_outcome("bake", v.OutcomeRequest(success=False, error="burnt"), space="async")
            return made, found, told

    made, found, told = asyncio.run(act())

    assert [hit.episode.id for hit in found.results] == [made.id]
    assert (told.success_rate, told.last_error) == (0.0, "burnt")


def test_plain_search_finds_what_the_views_told(plain_daemon: Daemon) -> None:
    with plain_daemon.client() as client:
        client.add_entity(v.EntityIn(name="Ada", entity_type="person", summary="writes programs", space="plain"))
        by_label = m.Filter(field="entity.entity_type", op="eq", value="person")

        (hit,) = client.search(m.SearchRequest(query="programs", filter=by_label, space="plain")).results

    assert hit.memory.content == "Ada: writes programs"
