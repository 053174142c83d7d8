from __future__ import annotations

from datetime import UTC, datetime

import pytest

from t4dm.sdk import models as m
from t4dm_daemon.core.errors import EmptySelectorError, InvalidInputError, UnknownFieldError
from t4dm_daemon.core.filter import And, Leaf, NamespacePrefix, Or, matches, metadata_value
from t4dm_daemon.memory import filters


def _wire(tree: object) -> m.Filter:
    return m.Filter.model_validate(tree)


def _passes(metadata: dict[str, object], field: str, op: str, value: object = None) -> bool:
    tree = filters.from_wire(_wire({"field": field, "op": op, "value": value}))
    return matches(tree, lambda path: metadata_value(metadata, path), ())


@pytest.mark.parametrize(
    ("metadata", "op", "value", "expected"),
    [
        ({"a": 1}, "eq", 1.0, True),
        ({"a": 1}, "eq", True, False),
        ({"a": 1}, "eq", "1", False),
        ({"a": "1"}, "lt", 2, False),
        ({"a": None}, "eq", None, True),
        ({}, "eq", None, False),
        ({}, "ne", 1, True),
        ({}, "nin", [1], True),
        ({}, "is_empty", None, True),
        ({}, "exists", None, False),
        ({"a": None}, "exists", None, True),
        ({"a": None}, "is_empty", None, True),
        ({"a": []}, "is_empty", None, True),
        ({"a": 0}, "is_empty", None, False),
        ({"a": False}, "is_empty", None, False),
        ({"a": "b"}, "gt", "a", True),
        ({"a": 2}, "gte", 2, True),
        ({"a": [1, "x"]}, "contains", "x", True),
        ({"a": "text"}, "contains", "x", False),
        ({"a": [1, 2]}, "any", [3, 2], True),
        ({"a": [1, 2]}, "all", [1, 3], False),
        ({"a": "Straße"}, "itext_match", "STRASSE", True),
        ({"a": "Straße"}, "text_match", "strasse", False),
        ({"a": {"b": [1, {"c": 2}]}}, "eq", {"b": [1, {"c": 2.0}]}, True),
    ],
)
def test_comparison_is_typed(metadata: dict[str, object], op: str, value: object, expected: bool) -> None:
    assert _passes(metadata, "a", op, value) is expected


def test_paths_reach_into_objects_and_literal_keys_win() -> None:
    assert _passes({"a": {"b": {"c": 1}}}, "a.b.c", "eq", 1)
    assert _passes({"a.b": 1, "a": {"b": 2}}, "a.b", "eq", 1)
    assert _passes({"a.b": {"c": 3}}, "a.b.c", "eq", 3)
    assert not _passes({"a": [1]}, "a.0", "exists")


def test_times_become_microseconds() -> None:
    tree = filters.from_wire(_wire({"field": "created_at", "op": "gte", "value": "1970-01-01T00:00:01Z"}))
    assert tree == Leaf("created_at", "gte", 1_000_000)
    assert filters.from_wire(_wire({"field": "metadata.created_at", "op": "eq", "value": "x"})) == Leaf(
        "metadata.created_at", "eq", "x"
    )


@pytest.mark.parametrize(
    ("tree", "error"),
    [
        ({"field": "a", "op": "regex", "value": "x"}, UnknownFieldError),
        ({"field": ".a", "op": "eq", "value": "x"}, UnknownFieldError),
        ({"field": "a", "op": "in", "value": "x"}, InvalidInputError),
        ({"field": "a", "op": "text_match", "value": 1}, InvalidInputError),
        ({"field": "created_at", "op": "eq", "value": 5}, InvalidInputError),
        ({"field": "created_at", "op": "text_match", "value": "2026"}, InvalidInputError),
    ],
)
def test_what_cannot_be_evaluated_is_refused(tree: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        filters.from_wire(_wire(tree))


def test_a_selection_joins_everything_given() -> None:
    request = m.ListRequest(user_id="ann", namespace_prefix=["a", "b"], kind="semantic")
    assert filters.selection_filter(request) == And(
        (Leaf("user_id", "eq", "ann"), NamespacePrefix(("a", "b")), Leaf("kind", "eq", "semantic"))
    )
    assert filters.selection_filter(m.ListRequest()) is None


def test_scopes_are_alternatives() -> None:
    request = m.SearchRequest(query="x", scopes=[m.Owner(user_id="ann"), m.Owner(agent_id="bot")])
    assert filters.search_filter(request) == Or((Leaf("user_id", "eq", "ann"), Leaf("agent_id", "eq", "bot")))
    with pytest.raises(EmptySelectorError):
        filters.search_filter(m.SearchRequest(query="x", scopes=[m.Owner()]))


def test_a_deletion_must_name_something() -> None:
    with pytest.raises(EmptySelectorError):
        filters.deletion_filter(m.DeleteRequest(namespace_prefix=[]))
    assert filters.deletion_filter(m.DeleteRequest(all=True)) is None
    moment = datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)
    assert filters.deletion_filter(m.DeleteRequest(older_than=moment)) == Leaf("created_at", "lt", 2_000_000)
