from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t4dm_daemon.core.errors import ConflictError, InvalidInputError, NotFoundError
from t4dm_daemon.core.item import Edge
from t4dm_daemon.core.protocols import GraphStore, Node
from t4dm_daemon.storage.protocol import FieldUpdate
from t4dm_daemon.storage.t4dx import Database
from t4dm_daemon.storage.t4dx.graph_store import T4DXGraphStore


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "data", sync="off") as database:
        database.create_space("graph")
        yield database


@pytest.fixture
def graph(database: Database) -> GraphStore:
    return T4DXGraphStore(database, "graph")


def _chain(graph: GraphStore) -> None:
    """a -CAUSES-> b -CAUSES-> c -USES-> d, and a -USES-> d."""
    graph.create_nodes([Node(one) for one in "abcde"])
    graph.create_relationships(
        [
            Edge("a", "b", "CAUSES", 0.5),
            Edge("b", "c", "CAUSES", 0.25),
            Edge("c", "d", "USES", 1.0),
            Edge("a", "d", "USES", 0.75),
        ]
    )


def _ends(edges: list[Edge] | None) -> list[tuple[str, str]]:
    assert edges is not None
    return [(one.source, one.target) for one in edges]


def test_the_store_has_the_methods_of_the_protocol_with_their_signatures() -> None:
    for name, method in vars(GraphStore).items():
        if not name.startswith("_") and inspect.isfunction(method):
            assert inspect.signature(getattr(T4DXGraphStore, name)) == inspect.signature(method), name


def test_a_graph_is_of_a_space_that_exists(database: Database) -> None:
    with pytest.raises(NotFoundError):
        T4DXGraphStore(database, "absent")


def test_a_node_comes_back_as_it_was_made(graph: GraphStore, database: Database) -> None:
    properties = {"text": "Ada", "born": 1815, "fields": ["mathematics"]}
    graph.create_node(Node("ada", properties, ("Person", "Writer"), np.array([1, 2], np.float32)))

    (item,) = database.space("graph").get(["ada"], with_vectors=True)

    assert graph.get_node("ada") == Node("ada", properties, ("Person", "Writer"))
    assert item is not None
    assert (item.content, item.kind, item.categories) == ("Ada", "semantic", ("Person", "Writer"))
    assert item.vector is not None
    assert graph.get_node("absent") is None
    assert graph.get_nodes(["absent", "ada"])[0] is None


def test_nodes_are_created_once_and_all_or_none(graph: GraphStore) -> None:
    graph.create_node(Node("a"))

    with pytest.raises(ConflictError):
        graph.create_nodes([Node("new"), Node("a")])
    with pytest.raises(InvalidInputError):
        graph.create_nodes([Node("new"), Node("new")])
    with pytest.raises(InvalidInputError, match="'new'"):
        graph.create_nodes([Node("new", {"bad": object()})])

    assert graph.get_node("new") is None


def test_properties_are_merged_or_replaced_and_labels_replaced(graph: GraphStore) -> None:
    graph.create_node(Node("a", {"text": "one", "n": 1}, ("X",)))

    assert graph.update_node("a", {"n": 2}) == Node("a", {"text": "one", "n": 2}, ("X",))
    assert graph.update_node("a", labels=["Y"]) == Node("a", {"text": "one", "n": 2}, ("Y",))
    assert graph.update_node("a", {"m": 3}, replace=True) == Node("a", {"m": 3}, ("Y",))
    assert graph.get_node("a") == Node("a", {"m": 3}, ("Y",))
    with pytest.raises(NotFoundError):
        graph.update_node("absent", {})


def test_an_update_keeps_relationships_vector_and_what_was_learnt(graph: GraphStore, database: Database) -> None:
    engine = database.space("graph")
    graph.create_nodes([Node("a", {"n": 1}, (), np.array([1, 2], np.float32)), Node("b")])
    graph.create_relationship(Edge("a", "b", "USES"))
    engine.update_fields([FieldUpdate("a", set={"kappa": 0.5})])

    graph.update_node("a", {"n": 2})

    (item,) = engine.get(["a"], with_vectors=True)
    assert item is not None
    assert item.kappa == 0.5
    assert item.vector is not None
    assert _ends(graph.relationships("a")) == [("a", "b")]


def test_an_update_that_meets_another_writer_is_tried_again(
    graph: GraphStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph.create_node(Node("a", {"n": 1}))
    engine = database.space("graph")
    get, interrupted = engine.get, []

    def get_and_be_overtaken(ids: Any, **options: Any) -> Any:
        found = get(ids, **options)
        if not interrupted:
            interrupted.append(True)
            graph.update_node("a", {"other": 2})
        return found

    monkeypatch.setattr(engine, "get", get_and_be_overtaken)

    assert graph.update_node("a", {"mine": 3}).properties == {"n": 1, "other": 2, "mine": 3}


def test_deleting_a_node_deletes_its_relationships(graph: GraphStore) -> None:
    _chain(graph)

    assert graph.delete_node("b")
    assert graph.delete_nodes(["b", "e"]) == [False, True]
    assert _ends(graph.relationships("a")) == [("a", "d")]
    assert _ends(graph.relationships("c")) == [("c", "d")]


def test_relationships_are_found_by_direction_and_type(graph: GraphStore) -> None:
    _chain(graph)

    assert {*_ends(graph.relationships("b"))} == {("a", "b"), ("b", "c")}
    assert _ends(graph.relationships("b", direction="out")) == [("b", "c")]
    assert _ends(graph.relationships("b", direction="in")) == [("a", "b")]
    assert _ends(graph.relationships("a", types=["USES"])) == [("a", "d")]
    assert graph.relationships("e") == []
    with pytest.raises(NotFoundError):
        graph.relationships("absent")


def test_linking_again_takes_the_new_weight_and_keeps_the_creation_time(graph: GraphStore) -> None:
    _chain(graph)
    (before,) = graph.relationships("a", types=["CAUSES"])
    graph.create_relationship(Edge("a", "b", "CAUSES", 0.9))

    (after,) = graph.relationships("a", types=["CAUSES"])

    assert after.weight == pytest.approx(0.9)
    assert after.created_at == before.created_at


def test_relationships_need_both_ends_a_known_type_and_a_weight(graph: GraphStore) -> None:
    graph.create_nodes([Node("a"), Node("b")])

    with pytest.raises(NotFoundError) as raised:
        graph.create_relationships([Edge("a", "b", "USES"), Edge("a", "absent", "USES")])
    for wrong in (Edge("a", "b", "LIKES"), Edge("a", "b", "USES", 1.5), Edge("a", "b", "USES", float("nan"))):
        with pytest.raises(InvalidInputError):
            graph.create_relationship(wrong)

    assert raised.value.details["ids"] == ["absent"]
    assert graph.relationships("a") == []


def test_weights_are_strengthened_weakened_set_and_clipped(graph: GraphStore) -> None:
    _chain(graph)

    assert graph.strengthen("a", "CAUSES", "b", 0.25) == pytest.approx(0.75)
    assert graph.strengthen("a", "CAUSES", "b", 0.5) == 1.0
    assert graph.strengthen("a", "CAUSES", "b", -1.0) == 0.0
    graph.update_weight("a", "CAUSES", "b", 0.5)
    assert graph.relationships("a", types=["CAUSES"])[0].weight == pytest.approx(0.5)


def test_many_weights_change_in_one_write(graph: GraphStore) -> None:
    _chain(graph)

    weights = graph.strengthen_many({("a", "CAUSES", "b"): 0.25, ("a", "CAUSES", "e"): 0.25, ("b", "CAUSES", "c"): 0.5})

    assert weights == {("a", "CAUSES", "b"): 0.75, ("a", "CAUSES", "e"): None, ("b", "CAUSES", "c"): 0.75}
    assert graph.strengthen_many({}) == {}


def test_a_relationship_that_is_not_there_cannot_be_weighed(graph: GraphStore) -> None:
    _chain(graph)

    with pytest.raises(NotFoundError):
        graph.strengthen("b", "CAUSES", "a", 0.1)
    with pytest.raises(NotFoundError):
        graph.update_weight("a", "USES", "b", 0.1)
    for amount in (float("nan"), 1.1, "1"):
        with pytest.raises(InvalidInputError):
            graph.strengthen("a", "CAUSES", "b", amount)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        graph.update_weight("a", "CAUSES", "b", -0.1)


def test_relationships_are_deleted_by_name(graph: GraphStore) -> None:
    _chain(graph)

    assert graph.delete_relationship("a", "CAUSES", "b")
    assert not graph.delete_relationship("a", "CAUSES", "b")
    assert graph.delete_relationships([("b", "CAUSES", "c"), ("c", "CAUSES", "d")]) == [True, False]
    assert graph.delete_relationships([]) == []
    assert _ends(graph.relationships("c")) == [("c", "d")]
    with pytest.raises(InvalidInputError):
        graph.delete_relationship("a", "LIKES", "b")


def test_neighbours_are_nearest_first_and_each_once(graph: GraphStore) -> None:
    _chain(graph)

    found = graph.neighbours("a", depth=3)

    assert {one.node.id: one.depth for one in found} == {"b": 1, "d": 1, "c": 2}
    assert [one.depth for one in found] == sorted(one.depth for one in found)
    assert {one.node.id for one in graph.neighbours("a", depth=3, types=["CAUSES"])} == {"b", "c"}
    assert {one.node.id for one in graph.neighbours("d", direction="in")} == {"c", "a"}
    assert len(graph.neighbours("a", depth=3, limit=2)) == 2
    assert graph.neighbours("e") == []
    assert found[0].relationship.source == "a"


def test_a_path_is_a_shortest_one_within_reach(graph: GraphStore) -> None:
    _chain(graph)

    assert _ends(graph.path("a", "d")) == [("a", "d")]
    assert _ends(graph.path("a", "d", types=["CAUSES", "USES"])) == [("a", "d")]
    assert _ends(graph.path("a", "c")) == [("a", "b"), ("b", "c")]
    assert graph.path("a", "c", max_depth=1) is None
    assert graph.path("d", "a") is None
    assert _ends(graph.path("d", "a", direction="both")) == [("a", "d")]
    assert graph.path("a", "e") is None
    assert graph.path("a", "a") == []


def test_walks_start_at_nodes_and_ask_for_something(graph: GraphStore) -> None:
    _chain(graph)

    for walk in (lambda: graph.neighbours("absent"), lambda: graph.path("a", "absent")):
        with pytest.raises(NotFoundError):
            walk()
    for wrong in ({"depth": 0}, {"limit": 0}, {"direction": "up"}, {"types": ["LIKES"]}, {"types": "USES"}):
        with pytest.raises(InvalidInputError):
            graph.neighbours("a", **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        graph.path("a", "b", max_depth=0)


def test_the_graph_is_there_after_the_database_was_closed(tmp_path: Path) -> None:
    with Database(tmp_path / "again") as database:
        database.create_space("graph")
        graph = T4DXGraphStore(database, "graph")
        _chain(graph)
        graph.strengthen("a", "CAUSES", "b", 0.25)
        graph.delete_relationship("a", "USES", "d")

    with Database(tmp_path / "again") as database:
        graph = T4DXGraphStore(database, "graph")

        assert graph.relationships("a")[0].weight == pytest.approx(0.75)
        assert _ends(graph.path("a", "d")) == [("a", "b"), ("b", "c"), ("c", "d")]
