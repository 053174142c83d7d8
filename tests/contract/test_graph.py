"""Every promise about links and walks, once, over HTTP and in this process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from t4dm._backend import MemoryBackend
from t4dm.sdk import NotFoundError, ValidationError
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm_daemon.core.item import EDGE_TYPES


def _store(backend: MemoryBackend, space: str, names: str) -> None:
    records = [m.RecordIn(id=name, content=f"about {name}") for name in names.split()]
    backend.batch(m.BatchRequest(records=records, space=space))


def _link(backend: MemoryBackend, space: str, *lines: str) -> None:
    """Link by lines such as `a CAUSES b` or `a CAUSES b 0.5`."""
    parts = [line.split() for line in lines]
    edges = [
        g.EdgeIn.model_validate(
            {"source": one[0], "type": one[1], "target": one[2], "weight": float(one[3]) if len(one) > 3 else 1.0}
        )
        for one in parts
    ]
    assert backend.link(g.LinkRequest(edges=edges, space=space)) == len(lines)


def _names(edges: list[g.Edge] | None) -> list[str]:
    assert edges is not None
    return [f"{edge.source} {edge.type} {edge.target}" for edge in edges]


def test_client_and_engine_know_the_same_edge_types() -> None:
    assert get_args(g.EdgeType) == EDGE_TYPES


def test_a_link_comes_back_as_it_was_made(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a b c")
    _link(backend, space, "a CAUSES b 0.7", "c PART_OF a", "a CAUSES c")

    (made,) = [edge for edge in backend.links("a", space=space) if edge.target == "b"]

    assert (made.source, made.type, made.weight) == ("a", "CAUSES", 0.7)
    assert abs(datetime.now(UTC) - made.created_at) < timedelta(minutes=5)
    assert sorted(_names(backend.links("a", space=space))) == ["a CAUSES b", "a CAUSES c", "c PART_OF a"]
    assert sorted(_names(backend.links("a", direction="out", space=space))) == ["a CAUSES b", "a CAUSES c"]
    assert _names(backend.links("a", direction="in", space=space)) == ["c PART_OF a"]
    assert backend.links("b", direction="out", space=space) == []


def test_a_link_between_ends_that_do_not_exist_is_refused_with_their_names(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a b")
    edges = [
        g.EdgeIn(source="a", target="b", type="CAUSES"),
        g.EdgeIn(source="a", target="nobody", type="CAUSES"),
        g.EdgeIn(source="no one", target="b", type="CAUSES"),
    ]

    with pytest.raises(ValidationError) as refused:
        backend.link(g.LinkRequest(edges=edges, space=space))

    assert refused.value.status == 422
    assert refused.value.details["ids"] == ["nobody", "no one"]
    assert backend.links("a", space=space) == []
    with pytest.raises(NotFoundError):
        backend.link(g.LinkRequest(edges=edges[:1], space="nowhere"))


def test_linking_again_gives_the_new_weight_and_no_second_link(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a b")
    _link(backend, space, "a CAUSES b 0.2")
    _link(backend, space, "a CAUSES b 0.9", "a SUPPORTS b")

    assert {edge.type: edge.weight for edge in backend.links("a", space=space)} == {"CAUSES": 0.9, "SUPPORTS": 1.0}


def test_weights_are_set_and_added_to_within_their_bounds(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a b c")
    _link(backend, space, "a CAUSES b 0.5", "a CAUSES c 0.5")
    changes = [
        g.EdgeChange(source="a", target="b", type="CAUSES", add=0.25),
        g.EdgeChange(source="a", target="b", type="CAUSES", add=0.9),
        g.EdgeChange(source="b", target="a", type="CAUSES", add=0.1),
        g.EdgeChange(source="a", target="c", type="CAUSES", set=0.0),
        g.EdgeChange(source="nobody", target="c", type="CAUSES", set=0.0),
    ]

    assert backend.reweigh(g.ReweighRequest(changes=changes, space=space)) == [0.75, 1.0, None, 0.0, None]

    assert [edge.weight for edge in backend.links("a", space=space)] == [1.0, 0.0]


def test_many_weights_are_scaled_in_one_step(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a b c")
    _link(backend, space, "a CAUSES b 0.8", "b CAUSES c 0.2", "a SUPPORTS c 0.8")

    assert backend.scale_links(g.ScaleRequest(multiply=0.5, low=0.25, types=["CAUSES"], space=space)) == 2
    assert backend.scale_links(g.ScaleRequest(add=0.5, high=0.75, sources=["a", "nobody"], space=space)) == 2

    weights = {f"{one.source}{one.target}": one.weight for name in "ab" for one in backend.links(name, space=space)}
    assert weights == {"ab": 0.75, "bc": 0.25, "ac": 0.75}


def test_unlinking_ends_a_link_and_the_past_still_tells_of_it(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a b c")
    _link(backend, space, "a CAUSES b", "a CAUSES c")
    before = backend.store(m.StoreRequest(id="d", content="a moment", space=space)).recorded_at
    names = [g.EdgeName(source="a", target=end, type="CAUSES") for end in ("b", "nobody")]

    assert backend.unlink(g.UnlinkRequest(edges=names, space=space)) == 1
    assert backend.unlink(g.UnlinkRequest(edges=names, space=space)) == 0

    assert _names(backend.links("a", space=space)) == ["a CAUSES c"]
    assert len(backend.links("a", space=space, known_at=before)) == 2


def test_a_deleted_memory_takes_its_links_with_it(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a b")
    _link(backend, space, "a CAUSES b")

    backend.delete("b", space=space)

    assert backend.links("a", space=space) == []
    with pytest.raises(NotFoundError):
        backend.links("b", space=space)


def test_a_walk_goes_the_nearest_and_heaviest_first(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a b c d e")
    _link(backend, space, "a CAUSES b 0.2", "a CAUSES c 0.9", "c SUPPORTS d", "d CAUSES e", "e CAUSES a")

    def walk(**given: object) -> list[tuple[str, int]]:
        request = g.TraverseRequest.model_validate({"start": "a", "space": space, **given})
        return [(node.id, node.depth) for node in backend.traverse(request).nodes]

    assert walk() == [("c", 1), ("b", 1)]
    assert walk(depth=3) == [("c", 1), ("b", 1), ("d", 2), ("e", 3)]
    assert walk(depth=3, limit=3) == [("c", 1), ("b", 1), ("d", 2)]
    assert walk(depth=6, edge_types=["CAUSES"]) == [("c", 1), ("b", 1)]
    assert walk(direction="in", depth=2) == [("e", 1), ("d", 2)]
    assert walk(direction="both") == [("e", 1), ("c", 1), ("b", 1)]
    assert walk(start=["a", "d"]) == [("e", 1), ("c", 1), ("b", 1)]


def test_a_walk_tells_the_link_and_the_memory_if_asked(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a b")
    _link(backend, space, "a CAUSES b 0.5")

    (plain,) = backend.traverse(g.TraverseRequest(start="a", space=space)).nodes
    (full,) = backend.traverse(g.TraverseRequest(start="a", include_memories=True, space=space)).nodes

    assert plain.memory is None
    assert _names([plain.edge]) == ["a CAUSES b"]
    assert full.memory is not None
    assert (full.memory.content, full.memory.space) == ("about b", space)


def test_a_walk_sees_only_what_its_view_shows(backend: MemoryBackend, space: str) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    for name, valid_to in (("a", None), ("then", past + timedelta(days=1)), ("far", None)):
        backend.store(m.StoreRequest(id=name, content=name, valid_from=past, valid_to=valid_to, space=space))
    _link(backend, space, "a CAUSES then", "then CAUSES far")
    linked = backend.store(m.StoreRequest(id="moment", content="moment", space=space)).recorded_at
    backend.delete("far", space=space)

    def walk(**given: object) -> list[str]:
        request = g.TraverseRequest.model_validate({"start": "a", "depth": 2, "space": space, **given})
        return [node.id for node in backend.traverse(request).nodes]

    assert walk() == ["then"]
    assert walk(as_of=past) == ["then"]
    assert walk(as_of=datetime.now(UTC)) == []
    assert walk(known_at=linked) == ["then", "far"]


def test_a_walk_from_nowhere_is_not_found(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a")

    with pytest.raises(NotFoundError) as refused:
        backend.traverse(g.TraverseRequest(start=["a", "x", "y"], space=space))

    assert refused.value.details["ids"] == ["x", "y"]
    with pytest.raises(NotFoundError):
        backend.path(g.PathRequest(source="a", target="x", space=space))
    with pytest.raises(NotFoundError):
        backend.provenance("x", space=space)
    with pytest.raises(NotFoundError):
        backend.links("x", space=space)


def test_a_path_is_a_shortest_one_or_none(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a b c d alone")
    _link(backend, space, "a CAUSES b", "b CAUSES c", "c CAUSES d", "a SUPPORTS c")

    def path(source: str, target: str, **given: object) -> list[g.Edge] | None:
        return backend.path(g.PathRequest.model_validate({"source": source, "target": target, "space": space, **given}))

    assert _names(path("a", "d")) == ["a SUPPORTS c", "c CAUSES d"]
    assert _names(path("a", "d", edge_types=["CAUSES"])) == ["a CAUSES b", "b CAUSES c", "c CAUSES d"]
    assert path("a", "d", edge_types=["CAUSES"], max_depth=2) is None
    assert path("d", "a") is None
    assert _names(path("d", "a", direction="in")) == ["c CAUSES d", "a SUPPORTS c"]
    assert path("a", "alone", direction="both") is None
    assert path("a", "a") == []


def test_provenance_follows_each_type_of_link_in_its_own_direction(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "e1 e2 proto old new child noise")
    _link(
        backend,
        space,
        "proto MERGED_FROM e1 0.9",
        "e2 CONSOLIDATED_INTO proto 0.8",
        "new SUPERSEDES old",
        "old DERIVED_FROM proto",
        "child DERIVED_FROM new",
        "noise CAUSES e1",
        "e1 RELATES_TO noise",
    )

    def lineage(start: str, direction: g.Lineage, **given: int) -> list[tuple[str, int]]:
        found = backend.provenance(start, direction=direction, space=space, **given)  # type: ignore[arg-type]
        return [(node.id, node.depth) for node in found]

    origins = [("new", 1), ("old", 2), ("proto", 3), ("e1", 4), ("e2", 4)]
    made = [("proto", 1), ("old", 2), ("new", 3), ("child", 4)]
    assert lineage("child", "backward") == origins
    assert lineage("child", "backward", depth=2) == origins[:2]
    assert lineage("child", "backward", limit=4) == origins[:4]
    assert lineage("e1", "forward") == lineage("e2", "forward") == made
    assert lineage("e1", "backward") == lineage("child", "forward") == []
    (full, *_) = backend.provenance("new", include_memories=True, space=space)
    assert full.memory is not None
    assert full.memory.id == "old"


def test_provenance_ends_in_a_circle_and_remembers_the_past(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a b c")
    _link(backend, space, "a DERIVED_FROM b", "b CONSOLIDATED_INTO a 0.5", "b DERIVED_FROM c", "c DERIVED_FROM a")
    linked = backend.store(m.StoreRequest(id="moment", content="moment", space=space)).recorded_at
    backend.delete("c", space=space)

    assert [node.id for node in backend.provenance("a", space=space)] == ["b"]
    found = backend.provenance("a", known_at=linked, space=space)
    assert [(node.id, node.edge.type) for node in found] == [("b", "DERIVED_FROM"), ("c", "DERIVED_FROM")]
