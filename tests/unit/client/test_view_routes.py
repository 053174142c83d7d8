"""Each method for episodes, entities and procedures reaches its route; only what does no harm is sent again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from t4dm import AsyncT4DM
from t4dm.sdk import AsyncT4DMClient, T4DMClient, TransportError
from t4dm.sdk import view_models as v
from tests.unit.client.fake_daemon import EPOCH, FakeDaemon, Reply

MOMENT = datetime(2026, 5, 1, tzinfo=UTC)
TIMES = dict.fromkeys(("event_time", "recorded_at", "created_at", "updated_at"), EPOCH.isoformat())
MEMORY: dict[str, Any] = {
    "id": "a/b", "space": "s", "content": "x", "metadata": {}, "namespace": [], "categories": [], "importance": 0.5,
    "kappa": 0.0, "access_count": 0, "pinned": False, "version": 1, **TIMES,
}  # fmt: skip
EPISODE = MEMORY | {"kind": "episodic", "outcome": "success", "context": {"project": "p", "new": 1}}
ENTITY = MEMORY | {"kind": "semantic", "name": "n", "entity_type": "t"}
PROCEDURE = MEMORY | {"kind": "procedural", "name": "n", "domain": "d", "steps": [{"action": "x", "new": 1}]}
EDGE = {"source": "a/b", "target": "c", "type": "USES", "weight": 0.5, "created_at": EPOCH.isoformat()}
PAGE = {"total": 1, "cursor": None}
TIME = "2026-05-01T00:00:00Z"
AS_OF = {"space": "s", "as_of": MOMENT, "known_at": MOMENT}
AT = {"space": "s", "as_of": TIME, "known_at": TIME}

Case = tuple[str, tuple[Any, ...], dict[str, Any], Any, str, str, dict[str, str], Any, bool]
CASES: list[Case] = [
    # method, arguments, keywords, the reply, verb, path, query, body, is repeatable
    ("add_episode", (v.EpisodeIn(content="x", space="s"),), {}, EPISODE, "POST", "/episodes", {}, {"content": "x", "space": "s"}, True),
    ("get_episode", ("a/b",), AS_OF, EPISODE, "GET", "/episodes/a%2Fb", AT, None, True),
    ("list_episodes", (), {}, PAGE | {"results": [EPISODE]}, "GET", "/episodes", {}, None, True),
    ("list_episodes", (v.EpisodeListRequest(since=MOMENT, limit=2, outcome="success"),), {}, PAGE | {"results": []}, "GET", "/episodes", {"since": TIME, "limit": "2", "outcome": "success"}, None, True),
    ("search_episodes", (v.EpisodeSearchRequest(query="x", window_days=None),), {}, {"results": [{"episode": EPISODE, "score": 1.0}], "took_ms": 1.0}, "POST", "/episodes/search", {}, {"query": "x", "window_days": None}, True),
    ("delete_episode", ("a/b",), {"space": "s"}, None, "DELETE", "/episodes/a%2Fb", {"space": "s"}, None, False),
    ("add_entity", (v.EntityIn(name="n", entity_type="t"),), {}, ENTITY, "POST", "/entities", {}, {"name": "n", "entity_type": "t"}, True),
    ("get_entity", ("a/b",), AS_OF, ENTITY, "GET", "/entities/a%2Fb", AT, None, True),
    ("list_entities", (v.EntityListRequest(show_superseded=True),), {}, PAGE | {"results": [ENTITY]}, "GET", "/entities", {"show_superseded": "true"}, None, True),
    ("search_entities", (v.EntitySearchRequest(query="x"),), {}, {"results": [{"entity": ENTITY, "score": 1.0}], "took_ms": 1.0}, "POST", "/entities/search", {}, {"query": "x"}, True),
    ("supersede_entity", ("a/b", v.SupersedeRequest(summary="x", details=None)), {"space": "s"}, ENTITY, "POST", "/entities/a%2Fb/supersede", {"space": "s"}, {"summary": "x", "details": None}, False),
    ("relate", ("a/b", v.RelationIn(target="c", type="USES", weight=0.5)), {}, EDGE, "POST", "/entities/a%2Fb/relations", {"space": "default"}, {"target": "c", "type": "USES", "weight": 0.5}, True),
    ("relations", ("a/b",), {}, {"results": [{"edge": EDGE, "entity": ENTITY}]}, "GET", "/entities/a%2Fb/relations", {}, None, True),
    ("related_entities", ("a/b", v.RelatedRequest(depth=3, type="USES")), {}, {"results": [{"edge": EDGE, "entity": ENTITY, "depth": 1}]}, "GET", "/entities/a%2Fb/related", {"depth": "3", "type": "USES"}, None, True),
    ("delete_entity", ("a/b",), {"space": "s"}, None, "DELETE", "/entities/a%2Fb", {"space": "s"}, None, False),
    ("add_procedure", (v.ProcedureIn.model_validate({"name": "n", "steps": ["x"]}),), {}, PROCEDURE, "POST", "/procedures", {}, {"name": "n", "steps": [{"action": "x"}]}, True),
    ("get_procedure", ("a/b",), AS_OF, PROCEDURE, "GET", "/procedures/a%2Fb", AT, None, True),
    ("list_procedures", (v.ProcedureListRequest(domain="d"),), {}, PAGE | {"results": [PROCEDURE]}, "GET", "/procedures", {"domain": "d"}, None, True),
    ("search_procedures", (v.ProcedureSearchRequest(query="x"),), {}, {"results": [{"procedure": PROCEDURE, "score": 1.0}], "took_ms": 1.0}, "POST", "/procedures/search", {}, {"query": "x"}, True),
    ("record_outcome", ("a/b", v.OutcomeRequest(success=True)), {"space": "s"}, PROCEDURE, "POST", "/procedures/a%2Fb/outcome", {"space": "s"}, {"success": True}, False),
    ("deprecate_procedure", ("a/b",), {}, PROCEDURE, "POST", "/procedures/a%2Fb/deprecate", {"space": "default"}, {}, False),
    ("deprecate_procedure", ("a/b", v.DeprecateRequest(replacement="c")), {}, PROCEDURE, "POST", "/procedures/a%2Fb/deprecate", {"space": "default"}, {"replacement": "c"}, False),
    ("delete_procedure", ("a/b",), {"space": "s"}, None, "DELETE", "/procedures/a%2Fb", {"space": "s"}, None, False),
]  # fmt: skip


def _reply(body: Any) -> Reply:
    return Reply(204) if body is None else Reply(200, body)


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)])
def test_a_method_reaches_its_route_and_returns_the_same_in_all_three_clients(
    client: T4DMClient, fake: FakeDaemon, case: Case
) -> None:
    method, arguments, keywords, body, verb, path, query, sent, _ = case

    async def act() -> list[Any]:
        async with AsyncT4DMClient(transport=fake.transport()) as other, AsyncT4DM(client=client) as threaded:
            return [await getattr(one, method)(*arguments, **keywords) for one in (other, threaded.backend)]

    fake.planned = [_reply(body) for _ in range(3)]
    results = [getattr(client, method)(*arguments, **keywords), *asyncio.run(act())]

    assert results[0] == results[1] == results[2]
    assert (results[0] is None) == (body is None)
    for seen in fake.seen:
        assert (seen.method, seen.path, seen.query) == (verb, f"/api/v1{path}", query)
        assert (seen.json if seen.body else None) == sent


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)])
def test_a_call_whose_fate_is_unknown_is_only_sent_again_where_that_does_no_harm(
    client: T4DMClient, fake: FakeDaemon, case: Case
) -> None:
    method, arguments, keywords, body, *_, is_repeatable = case
    fake.planned = [httpx.ReadError("cut"), _reply(body)]

    if is_repeatable:
        getattr(client, method)(*arguments, **keywords)
    else:
        with pytest.raises(TransportError, match="may have been carried out"):
            getattr(client, method)(*arguments, **keywords)

    assert len(fake.seen) == (2 if is_repeatable else 1)


def test_what_a_newer_daemon_says_of_contexts_and_steps_does_no_harm(client: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [_reply(EPISODE), _reply(PROCEDURE)]

    assert client.get_episode("x").context.project == "p"
    assert client.get_procedure("x").steps[0].action == "x"
