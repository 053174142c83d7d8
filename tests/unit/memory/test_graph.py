"""What only a race shows; the promises themselves are in tests/contract/test_graph.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t4dm.sdk import graph_models as g
from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.core.item import Item
from t4dm_daemon.memory.graph import GraphService
from t4dm_daemon.memory.spaces import Spaces
from t4dm_daemon.storage.protocol import Deletion, Write
from t4dm_daemon.storage.t4dx import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "store", sync="off") as opened:
        spaces = Spaces(opened)
        spaces.adopt_embedder("none", 2, "none")
        opened.space("default").insert([Write(Item(id=name)) for name in "ab"])
        yield opened


@pytest.fixture
def graph(database: Database) -> GraphService:
    return GraphService(Spaces(database))


def test_an_end_that_comes_back_before_it_is_named_is_still_refused(
    database: Database, graph: GraphService, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = database.space("default")
    engine.delete([Deletion("b")])
    insert = engine.insert

    def insert_and_bring_back(*arguments: Any) -> Any:
        try:
            return insert(*arguments)
        finally:
            insert([Write(Item(id="b"))])

    monkeypatch.setattr(engine, "insert", insert_and_bring_back)

    with pytest.raises(InvalidInputError, match="'b' does not exist"):
        graph.link(g.LinkRequest(edges=[g.EdgeIn(source="a", target="b", type="USES")]))


def test_a_memory_that_is_deleted_while_it_is_walked_to_is_left_out(
    database: Database, graph: GraphService, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = database.space("default")
    graph.link(g.LinkRequest(edges=[g.EdgeIn(source="a", target="b", type="USES")]))
    traverse = engine.traverse

    def traverse_and_delete(*arguments: Any, **options: Any) -> Any:
        reached = traverse(*arguments, **options)
        engine.delete([Deletion("b")])
        return reached

    monkeypatch.setattr(engine, "traverse", traverse_and_delete)

    assert graph.traverse(g.TraverseRequest(start="a", include_memories=True)) == []
