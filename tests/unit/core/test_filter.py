from __future__ import annotations

from typing import Any

import pytest

from t4dm_daemon.core.errors import InvalidInputError, UnknownFieldError
from t4dm_daemon.core.filter import (
    MAX_DEPTH,
    MAX_LEAVES,
    MAX_OPERANDS,
    MISSING,
    And,
    Leaf,
    NamespacePrefix,
    Not,
    Or,
    all_of,
    check,
    equal,
    leaf_holds,
    matches,
    metadata_value,
)


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (1, 1.0, True),
        (True, 1, False),
        (False, 0, False),
        ("1", 1, False),
        (None, False, False),
        ([1, True], [1, 1], False),
        ([1, 2.0], [1.0, 2], True),
        ({"a": 1}, {"a": True}, False),
        ({"a": [0]}, {"a": [0.0]}, True),
        (2**63, float(2**63), True),
        (2**53 + 1, float(2**53), False),
    ],
)
def test_equality_coerces_nothing_but_kinds_of_numbers(left: Any, right: Any, same: bool) -> None:
    assert equal(left, right) is same
    assert equal(right, left) is same


@pytest.mark.parametrize(
    ("op", "value", "operand", "holds"),
    [
        ("gt", 2, 1.5, True),
        ("gt", "b", "a", True),
        ("gt", True, 0, False),
        ("lte", None, 1, False),
        ("lt", "a", 1, False),
        ("in", 1.0, [True, 1], True),
        ("in", True, [1], False),
        ("nin", "x", ["y"], True),
        ("contains", [1, "a"], "a", True),
        ("contains", "abc", "a", False),
        ("any", ["a"], ["b", "a"], True),
        ("all", ["a", "b"], ["b"], True),
        ("all", [], [], True),
        ("any", [], [], False),
        ("text_match", "Straße", "raß", True),
        ("itext_match", "STRASSE", "straße", True),
        ("is_empty", {}, None, True),
        ("is_empty", 0, None, False),
        ("is_empty", False, None, False),
        ("exists", None, None, True),
        ("eq", MISSING, None, False),
        ("ne", MISSING, 1, True),
        ("nin", MISSING, [1], True),
        ("is_empty", MISSING, None, True),
        ("exists", MISSING, None, False),
    ],
)
def test_each_operator_means_what_its_name_says(op: str, value: Any, operand: Any, holds: bool) -> None:
    assert leaf_holds(op, value, operand) is holds


def test_a_literal_key_with_dots_wins_over_the_path() -> None:
    assert metadata_value({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert metadata_value({"a": {"b": {"c": 3}}}, "a.b.c") == 3
    assert metadata_value({"a.b": {"c": 4}, "a": {}}, "a.b.c") == 4
    assert metadata_value({"a": [1]}, "a.0") is MISSING
    assert metadata_value({"a": None}, "a") is None


def test_trees_combine_as_logic_does() -> None:
    yes, no = Leaf("a", "eq", 1), Leaf("a", "eq", 2)

    def holds(tree: Any) -> bool:
        return matches(tree, {"a": 1}.__getitem__, ("x", "y"))

    assert holds(And(()))
    assert not holds(Or(()))
    assert holds(And((yes, Not(no))))
    assert holds(Or((no, yes)))
    assert holds(NamespacePrefix(("x",)))
    assert not holds(NamespacePrefix(("x", "y", "z")))
    assert all_of(None, None) is None
    assert all_of(yes, None) is yes
    assert all_of(yes, no) == And((yes, no))


@pytest.mark.parametrize("leaf", [Leaf("a", "equals", 1), Leaf("", "eq", 1), Leaf("metadata.", "eq"), Leaf(".a", "eq")])
def test_an_unknown_operator_or_field_is_named(leaf: Leaf) -> None:
    with pytest.raises(UnknownFieldError):
        check(leaf)


@pytest.mark.parametrize(
    "leaf",
    [
        Leaf("a", "in", "abc"),
        Leaf("a", "any", None),
        Leaf("a", "text_match", 1),
        Leaf("a", "in", [0] * (MAX_OPERANDS + 1)),
    ],
)
def test_operands_of_the_wrong_type_or_size_are_refused(leaf: Leaf) -> None:
    with pytest.raises(InvalidInputError):
        check(leaf)


def test_depth_and_size_are_bounded() -> None:
    deep: Any = Leaf("a", "eq", 1)
    for _ in range(MAX_DEPTH):
        deep = Not(deep)

    with pytest.raises(InvalidInputError, match="deeper"):
        check(deep)
    with pytest.raises(InvalidInputError, match="more than"):
        check(And((Leaf("a", "eq", 1),) * (MAX_LEAVES + 1)))
    check(And((Leaf("a", "eq", 1),) * MAX_LEAVES))
