"""LangChain's filters as T4DM's, beside a reading of them by hand."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_core")

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from t4dm.sdk import models as m
from t4dm_daemon.core import filter as f
from t4dm_daemon.memory.filters import from_wire
from t4dm_integrations.langchain import to_filter

MISSING = object()


def leaf(field: str, op: str, value: Any = None) -> m.Filter:
    return m.Filter(field=field, op=op, value=value)


def passes(condition: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Say whether the daemon lets a memory with such metadata pass."""
    tree = to_filter(condition)
    assert tree is not None
    return f.matches(from_wire(tree), lambda name: f.metadata_value(metadata, f.field_path(name) or ""), ())


def test_no_filter_restricts_nothing():
    assert to_filter(None) is None
    assert to_filter({}) is None


def test_a_field_is_metadata_even_where_a_column_has_its_name():
    assert to_filter({"id": 1}) == leaf("metadata.id", "eq", 1)
    assert to_filter({"kind": {"$ne": "x"}}) == leaf("metadata.kind", "ne", "x")


def test_a_filter_of_t4dms_own_is_taken_as_it_is():
    own = leaf("importance", "gte", 0.5)

    assert to_filter(own) is own


def test_several_conditions_hold_together():
    both = m.Filter(and_=[leaf("metadata.a", "eq", 1), leaf("metadata.b", "gt", 2), leaf("metadata.b", "lt", 9)])

    assert to_filter({"a": 1, "b": {"$gt": 2, "$lt": 9}}) == both


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ({"n": {"$eq": 5}}, True),
        ({"n": {"$ne": 5}}, False),
        ({"missing": {"$ne": 5}}, True),
        ({"n": "5"}, False),
        ({"n": {"$gte": 5, "$lte": 5}}, True),
        ({"n": {"$between": [1, 4]}}, False),
        ({"n": {"$in": [4, 5]}}, True),
        ({"n": {"$nin": [4, 5]}}, False),
        ({"tags": {"$contains": "a"}}, True),
        ({"tags": {"$any": ["z", "b"]}}, True),
        ({"tags": {"$all": ["a", "z"]}}, False),
        ({"tags": ["a", "b"]}, True),
        ({"word": {"$text_match": "elp"}}, True),
        ({"word": {"$itext_match": "HELP"}}, True),
        ({"n": {"$exists": True}}, True),
        ({"n": {"$exists": False}}, False),
        ({"none": {"$empty": True}}, True),
        ({"n": {"$not": {"$gt": 4}}}, False),
        ({"n": {"$not": 4}}, True),
        ({"$not": {"n": 5}}, False),
        ({"$nor": [{"n": 4}, {"n": 6}]}, True),
        ({"$or": [{"n": 4}, {"n": 5}]}, True),
        ({"$and": [{"n": 5}, {"word": "Help"}]}, True),
        ({"deep.er": 1}, True),
        ({"deep": {"er": 1}}, True),
        ({"a.b": "literal"}, True),
    ],
)
def test_each_operator_means_what_it_says(condition: dict[str, Any], found: bool):
    metadata = {"n": 5, "tags": ["a", "b"], "word": "Help", "none": None, "deep": {"er": 1}, "a.b": "literal"}

    assert passes(condition, metadata) is found


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"n": {"$near": 1}}, r"unknown operator '\$near' for 'n'"),
        ({"$where": []}, r"unknown operator '\$where'"),
        ({"n": {"$gt": 1, "plain": 2}}, "unknown operator 'plain'"),
        ({"n": {"$gt": None}}, "takes a number or a text"),
        ({"n": {"$gt": True}}, "takes a number or a text"),
        ({"n": {"$in": "ab"}}, "takes a list"),
        ({"n": {"$between": [1]}}, "least and the greatest"),
        ({"n": {"$exists": 1}}, "takes true or false"),
        ({"n": {"$text_match": 1}}, "takes a text"),
        ({"n": {"$not": {}}}, None),
        ({"n": float("nan")}, "nan"),
        ({"n": datetime(2026, 1, 1, tzinfo=UTC)}, "cannot be sent"),
        ({"$and": []}, "list of conditions"),
        ({"$or": {"n": 1}}, "list of conditions"),
        ({"$or": [{}]}, "not empty"),
        ({"": 1}, "not empty"),
        ({1: 1}, "is a text"),
        (lambda document: True, "a filter is a dictionary"),
        ([("n", 1)], "a filter is a dictionary"),
    ],
)
def test_what_cannot_be_meant_is_an_error(condition: Any, message: str | None):
    if message is None:  # not equal to an empty object: odd, and clear
        assert to_filter(condition) is not None
        return
    with pytest.raises(ValueError, match=message):
        to_filter(condition)


scalars = st.one_of(st.integers(-3, 3), st.sampled_from(["a", "b", ""]), st.booleans(), st.none())
numbers = st.integers(-3, 3)
names = st.sampled_from(["a", "b", "c"])
conditions = st.one_of(
    scalars,
    st.builds(lambda value: {"$ne": value}, scalars),
    st.builds(lambda op, value: {op: value}, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), numbers),
    st.builds(lambda op, values: {op: values}, st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=3)),
    st.builds(lambda is_there: {"$exists": is_there}, st.booleans()),
)
filters = st.recursive(
    st.dictionaries(names, conditions, min_size=1, max_size=3),
    lambda inner: st.one_of(
        st.builds(lambda op, parts: {op: parts}, st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"$not": part}, inner),
    ),
    max_leaves=6,
)  # fmt: skip


def by_hand(condition: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Read a filter as MongoDB's manual does, but typed: true is not 1."""

    def same(one: Any, other: Any) -> bool:
        return one is not MISSING and type(one) is type(other) and one == other

    def one(name: str, wanted: Any) -> bool:
        value = metadata.get(name, MISSING)
        if not isinstance(wanted, dict):
            return same(value, wanted)
        ((op, operand),) = wanted.items()
        is_number = isinstance(value, int) and not isinstance(value, bool)
        match op:
            case "$ne":
                return not same(value, operand)
            case "$in":
                return any(same(value, each) for each in operand)
            case "$nin":
                return not any(same(value, each) for each in operand)
            case "$exists":
                return (value is not MISSING) is operand
            case "$gt":
                return is_number and value > operand
            case "$gte":
                return is_number and value >= operand
            case "$lt":
                return is_number and value < operand
            case _:
                return is_number and value <= operand

    def holds(name: str, value: Any) -> bool:
        match name:
            case "$and":
                return all(by_hand(part, metadata) for part in value)
            case "$or":
                return any(by_hand(part, metadata) for part in value)
            case "$nor":
                return not any(by_hand(part, metadata) for part in value)
            case "$not":
                return not by_hand(value, metadata)
            case _:
                return one(name, value)

    return all(holds(name, value) for name, value in condition.items())


@given(filters, st.dictionaries(names, scalars, max_size=3))
def test_filters_mean_what_they_mean_by_hand(condition: dict[str, Any], metadata: dict[str, Any]):
    assert passes(condition, metadata) is by_hand(condition, metadata)
