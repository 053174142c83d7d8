from __future__ import annotations

from t4dm_daemon.core.ids import key_of
from t4dm_daemon.core.item import EDGE_TYPES, Edge
from t4dm_daemon.storage.t4dx.edges import EdgeTable


def _table(*edges: Edge) -> EdgeTable:
    table = EdgeTable()
    for edge in edges:
        table.put(edge)
    return table


def test_an_edge_is_found_from_both_ends() -> None:
    edge = Edge("a", "b", "CAUSES", 0.5, 7)
    table = _table(edge, Edge("b", "b", "USES", 1.0, 8))

    assert table.at(key_of("a"), "out") == table.at(key_of("a"), "both") == [edge]
    assert table.at(key_of("a"), "in") == []
    assert edge in table.at(key_of("b"), "in")
    assert len(table.at(key_of("b"), "both")) == 2
    assert len(table.at(key_of("b"), "out")) == 1


def test_putting_an_edge_again_keeps_when_it_was_made() -> None:
    table = _table(Edge("a", "b", "CAUSES", 0.5, 7), Edge("a", "b", "CAUSES", 0.9, 99))

    assert list(table) == [Edge("a", "b", "CAUSES", 0.9, 7)]


def test_removing_an_item_removes_its_edges_at_both_ends() -> None:
    table = _table(Edge("a", "b", "CAUSES"), Edge("b", "c", "USES"), Edge("b", "b", "USES"), Edge("a", "c", "USES"))
    table.remove_at(key_of("b"))

    assert [(one.source, one.target) for one in table] == [("a", "c")]
    assert table.at(key_of("b"), "both") == []


def test_a_dump_loads_as_the_same_table() -> None:
    table = _table(*(Edge("a", "b", kind, 0.25, 3) for kind in EDGE_TYPES))
    again = EdgeTable()
    again.load(table.dump())

    assert list(again) == list(table)
    assert not again.is_dirty
