"""Every promise about episodes, entities and procedures, once, over HTTP and in this process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from t4dm._backend import MemoryBackend
from t4dm.sdk import ConflictError, NotFoundError, T4DMError, ValidationError
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk import view_models as v

NOW = datetime.now(UTC)
HUGE = 10**30
"""Beyond 64 bits: JSON carries it, msgpack and most encoders do not."""


def _entity(backend: MemoryBackend, space: str, name: str, summary: str = "", kind: str = "thing") -> v.Entity:
    return backend.add_entity(v.EntityIn(name=name, entity_type=kind, summary=summary, id=name, space=space))


def _relate(backend: MemoryBackend, space: str, source: str, type: g.EdgeType, target: str, weight: float = 1) -> None:
    backend.relate(source, v.RelationIn(target=target, type=type, weight=weight), space=space)


def _names(hits: list[v.EntityHit]) -> list[str]:
    return [hit.entity.name for hit in hits]


# Episodes ---------------------------------------------------------------------------------------------


def test_an_episode_comes_back_as_it_was_told(backend: MemoryBackend, space: str) -> None:
    told = v.EpisodeIn(
        content="the deployment failed on the second try",
        outcome="failure",
        emotional_valence=0.9,
        context=v.EpisodeContext(project="t4dm", tool="bash", file="a/b.py"),
        metadata={"n": HUGE, "nested": {"a": [1, 1.0]}},
        session_id="s1",
        event_time=NOW,
        space=space,
    )

    made = backend.add_episode(told)
    found = backend.get_episode(made.id, space=space)

    assert made.status == "created"
    assert found == made.model_copy(update={"status": None})
    assert (found.kind, found.content, found.session_id, found.event_time) == ("episodic", told.content, "s1", NOW)
    assert (found.outcome, found.emotional_valence, found.importance, found.kappa) == ("failure", 0.9, 0.9, 0.0)
    assert found.context.model_dump(exclude_none=True) == {"project": "t4dm", "tool": "bash", "file": "a/b.py"}
    assert found.metadata == told.metadata
    assert backend.get(made.id, space=space).content == told.content


def test_a_plain_memory_is_an_episode_unless_it_is_of_another_kind(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="plain", content="we met", value={"outcome": "mine"}, space=space))
    backend.store(m.StoreRequest(id="fact", content="water is wet", kind="semantic", space=space))

    assert backend.get_episode("plain", space=space).outcome is None
    assert [one.id for one in backend.list_episodes(v.EpisodeListRequest(space=space)).results] == ["plain"]
    for read in (backend.get_episode, backend.get_entity, backend.get_procedure, backend.delete_episode):
        with pytest.raises(NotFoundError):
            read("fact", space=space)
    assert backend.list_entities(v.EntityListRequest(space=space)).total == 0


def test_the_same_episode_told_twice_is_two_episodes(backend: MemoryBackend, space: str) -> None:
    first, second = (backend.add_episode(v.EpisodeIn(content="it rained", space=space)) for _ in range(2))
    key = {"idempotency_key": f"key of {space}"}
    third, again = (backend.add_episode(v.EpisodeIn(content="it rained", space=space), **key) for _ in range(2))

    assert first.id != second.id
    assert third.id == again.id
    assert backend.list_episodes(v.EpisodeListRequest(space=space)).total == 3


def test_episodes_are_listed_by_time_outcome_place_and_owner(backend: MemoryBackend, space: str) -> None:
    for days, outcome, project, user in ((3, "success", "a", "ann"), (2, "failure", "a", "bob"), (1, None, "b", "bob")):
        told = {"outcome": outcome, "context": {"project": project}, "user_id": user, "space": space}
        moment = NOW - timedelta(days=days)
        backend.add_episode(v.EpisodeIn.model_validate({"id": f"-{days}", "content": "x", "event_time": moment} | told))

    def listed(**asked: object) -> list[str]:
        request = v.EpisodeListRequest.model_validate({"space": space} | asked)
        return [one.id for one in backend.list_episodes(request).results]

    assert listed() == ["-1", "-2", "-3"]
    assert listed(order_by="event_time") == ["-3", "-2", "-1"]
    assert listed(outcome="failure") == ["-2"]
    assert listed(project="a") == ["-2", "-3"]
    assert listed(user_id="bob", project="b") == ["-1"]
    assert listed(since=NOW - timedelta(days=2), until=NOW - timedelta(days=1)) == ["-2"]
    page = backend.list_episodes(v.EpisodeListRequest(limit=2, space=space))
    rest = backend.list_episodes(v.EpisodeListRequest(limit=2, cursor=page.cursor, space=space))
    assert (page.total, [one.id for one in rest.results], rest.cursor) == (3, ["-3"], None)


def test_episodes_are_recalled_while_they_are_fresh_unless_asked_otherwise(backend: MemoryBackend, space: str) -> None:
    for name, days, kappa in (("fresh", 1, 0.0), ("old", 90, 0.0), ("consolidated", 1, 0.8)):
        moment = NOW - timedelta(days=days)
        told = v.EpisodeIn(
            id=name, content=f"the {name} ferry", event_time=moment, kappa=kappa, outcome="partial", space=space
        )
        backend.add_episode(told)
    backend.add_entity(v.EntityIn(name="ferry", entity_type="ship", space=space))

    def recalled(**asked: object) -> set[str]:
        request = v.EpisodeSearchRequest.model_validate({"query": "ferry", "space": space} | asked)
        return {hit.episode.id for hit in backend.search_episodes(request).results}

    assert recalled() == {"fresh"}
    assert recalled(window_days=None) == {"fresh", "old"}
    assert recalled(kappa_max=None) == {"fresh", "consolidated"}
    assert recalled(window_days=365.0, kappa_max=1.0) == {"fresh", "old", "consolidated"}
    assert recalled(time_range={"to": (NOW - timedelta(days=30)).isoformat()}) == {"old"}
    assert recalled(outcome="success", kappa_max=None) == set()
    assert recalled(filter={"field": "content", "op": "text_match", "value": "old"}, window_days=None) == {"old"}
    assert recalled(window_days=36_600.0, as_of="0001-01-02T00:00:00Z") == set()


def test_a_hit_explains_itself(backend: MemoryBackend, space: str) -> None:
    backend.add_episode(v.EpisodeIn(content="the ferry leaves from pier four", space=space))

    (hit,) = backend.search_episodes(
        v.EpisodeSearchRequest(query="ferry pier", include=["explain"], space=space)
    ).results

    assert hit.explain is not None
    assert sum(hit.explain.values()) == pytest.approx(hit.score)
    assert hit.ranks is not None
    assert hit.ranks["lexical"] == 1
    for wrong in ({"kind": "semantic"}, {"include": ["vector"]}):
        with pytest.raises(ValueError):
            v.EpisodeSearchRequest.model_validate({"query": "x"} | wrong)


def test_a_deleted_episode_is_gone_but_for_the_past(backend: MemoryBackend, space: str) -> None:
    made = backend.add_episode(v.EpisodeIn(content="a mistake", space=space))

    backend.delete_episode(made.id, space=space)

    with pytest.raises(NotFoundError):
        backend.get_episode(made.id, space=space)
    assert backend.get_episode(made.id, space=space, known_at=made.recorded_at).content == "a mistake"


def test_a_views_own_key_of_the_metadata_is_not_for_others(backend: MemoryBackend, space: str) -> None:
    with pytest.raises(ValidationError, match="'entity'"):
        backend.add_entity(v.EntityIn(name="x", entity_type="y", metadata={"entity": 1}, space=space))


# Entities ---------------------------------------------------------------------------------------------


def test_an_entity_comes_back_as_it_was_told(backend: MemoryBackend, space: str) -> None:
    told = v.EntityIn(
        name="Ada", entity_type="person", summary="writes programs", details="since 1843", source="letters",
        metadata={"n": HUGE}, user_id="u", namespace=["a", "b"], space=space,
    )  # fmt: skip

    found = backend.get_entity(backend.add_entity(told).id, space=space)

    assert (found.kind, found.content, found.kappa) == ("semantic", "Ada: writes programs", 0.85)
    assert (found.name, found.entity_type, found.summary) == ("Ada", "person", "writes programs")
    assert (found.details, found.source, found.metadata) == ("since 1843", "letters", {"n": HUGE})
    assert (found.user_id, found.namespace) == ("u", ["a", "b"])


def test_entities_are_listed_and_recalled_by_type_and_name(backend: MemoryBackend, space: str) -> None:
    _entity(backend, space, "Ada", "writes programs for engines", "person")
    _entity(backend, space, "Engine", "runs programs", "machine")
    backend.add_entity(v.EntityIn(name="Rumour", entity_type="person", summary="programs", kappa=0.2, space=space))

    def listed(**asked: object) -> list[str]:
        request = v.EntityListRequest.model_validate({"space": space, "order_by": "created_at"} | asked)
        return [one.name for one in backend.list_entities(request).results]

    def recalled(**asked: object) -> set[str]:
        request = v.EntitySearchRequest.model_validate({"query": "programs", "space": space} | asked)
        return set(_names(backend.search_entities(request).results))

    assert listed() == ["Ada", "Engine", "Rumour"]
    assert listed(entity_type="machine") == ["Engine"]
    assert listed(name="Ada", entity_type="machine") == []
    assert recalled() == {"Ada", "Engine"}
    assert recalled(kappa_min=None) == {"Ada", "Engine", "Rumour"}
    assert recalled(entity_type="person") == {"Ada"}


def test_superseding_ends_the_old_and_begins_the_new_at_one_moment(backend: MemoryBackend, space: str) -> None:
    made = v.EntityIn(
        id="old", name="Ada", entity_type="person", summary="lives in London", details="alone", source="letters",
        metadata={"a": 1}, user_id="u", valid_from=NOW - timedelta(days=300), space=space,
    )  # fmt: skip
    before = backend.add_entity(made)
    moved = NOW - timedelta(days=30)

    new = backend.supersede_entity(
        "old", v.SupersedeRequest(summary="lives in Paris", details=None, valid_from=moved), space=space
    )

    assert (new.name, new.entity_type, new.summary, new.content) == (
        "Ada",
        "person",
        "lives in Paris",
        "Ada: lives in Paris",
    )
    assert (new.details, new.source, new.metadata, new.user_id) == (None, "letters", {"a": 1}, "u")
    assert (new.valid_from, new.valid_to) == (moved, None)
    old = backend.get_entity("old", space=space)
    assert (old.summary, old.valid_to) == ("lives in London", moved)
    assert old.recorded_at == new.recorded_at
    (edge,) = backend.links(new.id, direction="out", space=space)
    assert (edge.type, edge.target) == ("SUPERSEDES", "old")
    assert [node.id for node in backend.provenance(new.id, space=space)] == ["old"]

    def lives(**asked: object) -> list[str]:
        listing = v.EntityListRequest.model_validate({"space": space} | asked)
        search = v.EntitySearchRequest.model_validate({"query": "where does Ada live", "space": space} | asked)
        listed = {one.summary for one in backend.list_entities(listing).results}
        assert {hit.entity.summary for hit in backend.search_entities(search).results} == listed
        return sorted(listed)

    assert lives() == ["lives in Paris"]
    assert lives(as_of=moved - timedelta(microseconds=1)) == ["lives in London"]
    assert lives(as_of=moved) == ["lives in Paris"]
    assert lives(show_superseded=True) == ["lives in London", "lives in Paris"]
    assert lives(known_at=before.recorded_at) == ["lives in London"]
    assert backend.get_entity("old", space=space, known_at=before.recorded_at).valid_to is None
    with pytest.raises(NotFoundError):
        backend.get_entity("old", space=space, as_of=moved)


def test_what_cannot_be_superseded_is_left_alone(backend: MemoryBackend, space: str) -> None:
    _entity(backend, space, "a")
    _entity(backend, space, "b")
    backend.store(m.StoreRequest(id="plain", content="x", space=space))
    change = v.SupersedeRequest(summary="new")
    backend.supersede_entity("a", change, space=space)

    refused: list[tuple[type[T4DMError], str, v.SupersedeRequest]] = [
        (ConflictError, "a", change),
        (ConflictError, "b", v.SupersedeRequest(summary="new", id="a")),
        (ValidationError, "b", v.SupersedeRequest(summary="new", id="b")),
        (ValidationError, "b", v.SupersedeRequest(summary="new", valid_from=NOW - timedelta(days=9))),
        (ValidationError, "b", v.SupersedeRequest(summary="new", metadata={"entity": 1})),
        (NotFoundError, "plain", change),
        (NotFoundError, "nobody", change),
    ]
    for kind, name, request in refused:
        with pytest.raises(kind):
            backend.supersede_entity(name, request, space=space)

    assert backend.get_entity("b", space=space).version == 1
    assert backend.list_entities(v.EntityListRequest(show_superseded=True, space=space)).total == 3


def test_of_many_who_supersede_at_once_one_does(backend: MemoryBackend, space: str) -> None:
    _entity(backend, space, "a")

    def supersede(number: int) -> str | None:
        try:
            return backend.supersede_entity("a", v.SupersedeRequest(summary=f"is {number}"), space=space).id
        except ConflictError:
            return None

    with ThreadPoolExecutor(6) as pool:
        made = [one for one in pool.map(supersede, range(6)) if one is not None]

    assert len(made) == 1
    assert [one.id for one in backend.list_entities(v.EntityListRequest(space=space)).results] == made


def test_relations_tell_the_entity_at_the_other_end(backend: MemoryBackend, space: str) -> None:
    for name in ("ada", "engine", "charles"):
        _entity(backend, space, name)
    backend.store(m.StoreRequest(id="letter", content="a letter", space=space))
    backend.link(g.LinkRequest(edges=[g.EdgeIn(source="ada", target="letter", type="DERIVED_FROM")], space=space))
    _relate(backend, space, "ada", "USES", "engine", 0.4)
    _relate(backend, space, "charles", "PRODUCES", "engine", 0.9)
    _relate(backend, space, "charles", "SUPPORTS", "ada", 0.7)
    _relate(backend, space, "ada", "USES", "engine", 0.5)

    def told(name: str, **asked: object) -> list[tuple[str, str, float]]:
        request = v.RelationListRequest.model_validate({"space": space} | asked)
        return [(one.edge.type, one.entity.id, one.edge.weight) for one in backend.relations(name, request)]

    assert told("ada") == [("SUPPORTS", "charles", 0.7), ("USES", "engine", 0.5)]
    assert told("ada", direction="out") == [("USES", "engine", 0.5)]
    assert told("engine", limit=1) == [("PRODUCES", "charles", 0.9)]
    assert told("engine", type="USES") == [("USES", "ada", 0.5)]
    for source, target, kind in (("ada", "letter", ValidationError), ("letter", "ada", NotFoundError)):
        with pytest.raises(kind):
            _relate(backend, space, source, "USES", target)


def test_related_entities_are_those_within_reach(backend: MemoryBackend, space: str) -> None:
    for name in "abcd":
        _entity(backend, space, name)
    backend.store(m.StoreRequest(id="talk", content="a talk", space=space))
    _relate(backend, space, "a", "CAUSES", "b")
    _relate(backend, space, "b", "USES", "c")
    edges = [
        g.EdgeIn(source=source, target=target, type="PART_OF") for source, target in (("a", "talk"), ("talk", "d"))
    ]
    backend.link(g.LinkRequest(edges=edges, space=space))

    def reached(**asked: object) -> list[tuple[str, int]]:
        request = v.RelatedRequest.model_validate({"space": space} | asked)
        return [(one.entity.id, one.depth) for one in backend.related_entities("a", request)]

    assert reached() == [("b", 1), ("c", 2), ("d", 2)]
    assert reached(depth=1) == [("b", 1)]
    assert reached(type="CAUSES") == [("b", 1)]
    assert reached(limit=2) == [("b", 1), ("c", 2)]
    with pytest.raises(NotFoundError):
        backend.related_entities("talk", v.RelatedRequest(space=space))


def test_who_supersedes_takes_over_the_relations(backend: MemoryBackend, space: str) -> None:
    for name in ("ada", "engine", "charles", "twin"):
        _entity(backend, space, name)
    _relate(backend, space, "ada", "USES", "engine", 0.4)
    _relate(backend, space, "charles", "SUPPORTS", "ada", 0.7)
    _relate(backend, space, "ada", "SIMILAR_TO", "twin")

    new = backend.supersede_entity("ada", v.SupersedeRequest(summary="a countess"), space=space)
    bare = backend.supersede_entity("twin", v.SupersedeRequest(summary="x", carry_relations=False), space=space)

    def told(name: str, **asked: object) -> list[tuple[str, str, float]]:
        request = v.RelationListRequest.model_validate({"space": space} | asked)
        return [(one.edge.type, one.entity.id, one.edge.weight) for one in backend.relations(name, request)]

    assert told(new.id) == [("SUPPORTS", "charles", 0.7), ("USES", "engine", 0.4)]
    assert told("engine") == [("USES", new.id, 0.4)]
    assert {one[1] for one in told("engine", show_superseded=True)} == {"ada", new.id}
    assert told(bare.id) == []
    assert [one.entity.id for one in backend.related_entities("charles", v.RelatedRequest(space=space))] == [
        new.id,
        "engine",
    ]


# Procedures -------------------------------------------------------------------------------------------


def _procedure(backend: MemoryBackend, space: str, name: str, **told: object) -> v.Procedure:
    return backend.add_procedure(v.ProcedureIn.model_validate({"id": name, "name": name, "space": space} | told))


def _execute(backend: MemoryBackend, space: str, name: str, *outcomes: bool) -> None:
    for success in outcomes:
        backend.record_outcome(name, v.OutcomeRequest(success=success), space=space)


def test_a_procedure_comes_back_as_it_was_told(backend: MemoryBackend, space: str) -> None:
    steps = ["run the tests", {"action": "tag it", "tool": "git", "parameters": {"n": HUGE}, "expected": "a tag"}]
    _procedure(
        backend, space, "release", domain="coding", trigger="a version is ready", steps=steps, script="make release"
    )

    found = backend.get_procedure("release", space=space)

    assert (found.kind, found.domain, found.script) == ("procedural", "coding", "make release")
    assert found.content == "release: a version is ready\nrun the tests\ntag it"
    assert [step.action for step in found.steps] == ["run the tests", "tag it"]
    assert found.steps[1].parameters == {"n": HUGE}
    assert (found.executions, found.success_rate, found.reliability) == (0, None, 0.5)


def test_outcomes_are_counted(backend: MemoryBackend, space: str) -> None:
    first = _procedure(backend, space, "release")
    told = [
        v.OutcomeRequest(success=True, duration_s=10.0, at=NOW),
        v.OutcomeRequest(success=False, error="no network", at=NOW - timedelta(days=1)),
        v.OutcomeRequest(success=True, duration_s=20.0, at=NOW - timedelta(days=2)),
    ]
    for outcome in told:
        answered = backend.record_outcome("release", outcome, space=space)

    found = backend.get_procedure("release", space=space)
    assert found == answered
    assert (found.executions, found.successes, found.success_rate) == (3, 2, pytest.approx(2 / 3))
    assert (found.reliability, found.mean_duration_s) == (pytest.approx(3 / 5), 15.0)
    assert (found.last_outcome_at, found.last_error) == (NOW, "no network")
    assert backend.get_procedure("release", space=space, known_at=first.recorded_at).executions == 0
    with pytest.raises(NotFoundError):
        backend.record_outcome("nothing", told[0], space=space)


def test_no_outcome_is_lost_when_many_are_told_at_once(backend: MemoryBackend, space: str) -> None:
    _procedure(backend, space, "release")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: _execute(backend, space, "release", number % 4 != 0), range(40)))

    found = backend.get_procedure("release", space=space)
    assert (found.executions, found.successes, found.version) == (40, 30, 41)


def test_of_procedures_that_fit_alike_the_one_that_worked_comes_first(backend: MemoryBackend, space: str) -> None:
    for name in ("a", "b", "c"):
        _procedure(
            backend, space, name, trigger=f"restart the server, way {name}", domain="ops" if name == "b" else "lab"
        )
    _execute(backend, space, "a", False, False, True)
    _execute(backend, space, "c", True, True, True)

    def recalled(**asked: object) -> list[v.ProcedureHit]:
        told = {"query": "restart the server", "include": ["explain"], "collapse": False, "space": space}
        return backend.search_procedures(v.ProcedureSearchRequest.model_validate(told | asked)).results

    def names(hits: list[v.ProcedureHit]) -> list[str]:
        return [hit.procedure.name for hit in hits]

    assert names(recalled()) == ["c", "b", "a"]
    assert names(recalled(k=1, offset=1)) == ["b"]
    assert names(recalled(domain="ops")) == ["b"]
    plain = {hit.procedure.name: hit.score for hit in recalled(success_weight=0.0)}
    for hit in recalled(success_weight=1.0):
        assert hit.score == pytest.approx(plain[hit.procedure.name] * hit.procedure.reliability)
        assert hit.explain is not None
        assert sum(hit.explain.values()) == pytest.approx(hit.score)
    best = recalled()[0].score
    assert names(recalled(min_score=best - 1e-9)) == ["c"]


def test_a_deprecated_procedure_is_out_of_use_and_names_its_replacement(backend: MemoryBackend, space: str) -> None:
    before = _procedure(backend, space, "old way", trigger="publish")
    _procedure(backend, space, "new way", trigger="publish")
    backend.store(m.StoreRequest(id="plain", content="x", space=space))
    for wrong in ("plain", "nothing"):
        with pytest.raises(ValidationError):
            backend.deprecate_procedure("old way", v.DeprecateRequest(replacement=wrong), space=space)
    _execute(backend, space, "old way", False)

    ended = backend.deprecate_procedure(
        "old way", v.DeprecateRequest(replacement="new way", reason="too slow"), space=space
    )

    assert ended.valid_to is not None
    assert (ended.deprecated_reason, ended.executions) == ("too slow", 1)
    assert [node.id for node in backend.provenance("new way", space=space)] == ["old way"]

    def listed(**asked: object) -> list[str]:
        request = v.ProcedureListRequest.model_validate({"space": space, "order_by": "created_at"} | asked)
        return [one.name for one in backend.list_procedures(request).results]

    def recalled(**asked: object) -> set[str]:
        told = {"query": "publish", "collapse": False, "space": space}
        hits = backend.search_procedures(v.ProcedureSearchRequest.model_validate(told | asked)).results
        return {hit.procedure.name for hit in hits}

    assert listed() == ["new way"]
    assert recalled() == {"new way"}
    assert listed(show_deprecated=True) == ["old way", "new way"]
    assert recalled(show_deprecated=True) == {"old way", "new way"}
    assert recalled(as_of=before.event_time) == {"old way"}
    with pytest.raises(ConflictError):
        backend.deprecate_procedure("old way", space=space)
    backend.deprecate_procedure("new way", space=space)
    assert listed() == []


def test_a_record_whose_value_was_overwritten_is_a_plain_memory(backend: MemoryBackend, space: str) -> None:
    _entity(backend, space, "ada", "writes programs")
    _procedure(backend, space, "write", trigger="programs")
    backend.add_episode(v.EpisodeIn(id="talk", content="programs", outcome="success", space=space))
    for name in ("ada", "write", "talk"):
        backend.update(name, m.UpdateRequest(value=[1]), space=space)

    assert backend.get_episode("talk", space=space).outcome is None
    assert backend.list_entities(v.EntityListRequest(space=space)).results == []
    assert backend.list_procedures(v.ProcedureListRequest(space=space)).results == []
    assert backend.search_entities(v.EntitySearchRequest(query="programs", space=space)).results == []
    assert backend.search_procedures(v.ProcedureSearchRequest(query="programs", space=space)).results == []
    with pytest.raises(NotFoundError):
        backend.get_entity("ada", space=space)
    with pytest.raises(NotFoundError):
        _execute(backend, space, "write", True)


def test_private_spans_are_kept_nowhere(backend: MemoryBackend, space: str) -> None:
    secret = "open <private>1234</private>"
    episode = v.EpisodeIn(content=secret, context=v.EpisodeContext(file=secret, project=secret), space=space)
    entity = v.EntityIn(id="e", name=secret, entity_type="t", summary=secret, details=secret, space=space)
    _procedure(backend, space, "p", trigger=secret, steps=[secret], script=secret)
    backend.add_episode(episode)
    backend.add_entity(entity)
    backend.supersede_entity("e", v.SupersedeRequest(source=secret), space=space)
    backend.record_outcome("p", v.OutcomeRequest(success=False, error=secret), space=space)
    backend.deprecate_procedure("p", v.DeprecateRequest(reason=secret), space=space)

    texts = [one.model_dump_json() for one in backend.export(space=space, include_vectors=False)]
    texts += [one.model_dump_json() for one in backend.history("p", space=space)]

    assert len(texts) == 4 + 3
    assert all("open" in text and "1234" not in text for text in texts)
    with pytest.raises(ValidationError, match="private"):
        backend.add_entity(v.EntityIn(name="<private>x</private>", entity_type="t", space=space))


def test_views_serve_spaces_whose_callers_bring_the_vectors(backend: MemoryBackend, space: str) -> None:
    backend.create_space(space, m.SpaceRequest(embedder="client", dimension=2))
    told = v.EntityIn(id="a", name="a", entity_type="t", vector=b"\x00\x00\x80?\x00\x00\x00\x00", space=space)
    backend.add_entity(told)

    with pytest.raises(ValidationError) as refused:
        backend.supersede_entity("a", v.SupersedeRequest(summary="new"), space=space)
    new = backend.supersede_entity(
        "a", v.SupersedeRequest.model_validate({"summary": "new", "vector": [0.0, 1.0]}), space=space
    )

    assert refused.value.code == "vector_required"
    assert backend.get(new.id, space=space, include_vector=True).vector == [0.0, 1.0]
    asked = v.EntitySearchRequest.model_validate({"vector": [0.0, 1.0], "space": space})
    assert [hit.entity.id for hit in backend.search_entities(asked).results] == [new.id]
