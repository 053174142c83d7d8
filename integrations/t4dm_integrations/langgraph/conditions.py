"""LangGraph's filters: what they mean, and how much of that the daemon can decide.

A filter is `{key: condition}`; all must hold for the value's entries, an absent one being None. A condition is

    {"$eq" | "$ne" | "$gt" | "$gte" | "$lt" | "$lte": operand, …}    all hold
    {key: condition, …}        the entry is a dict and all hold for its entries
    [condition, …]             the entry is a list of that length and each holds for its element
    anything else              the entry equals it

Comparison is typed, as in JSON: 1 equals 1.0 and not True; only two numbers or two strings are greater or less, of
anything else it is false.

`narrowed` makes of it a filter for the daemon that lets through all that meets the conditions, and little else; `meets`
decides. So nothing depends on whether an entry could be put where the daemon filters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Final

from t4dm_integrations.langgraph.records import OMITS, is_filterable, omitted

_ORDERED: Final[Mapping[str, tuple[str, Callable[[Any, Any], bool]]]] = {
    "$gt": ("gt", lambda left, right: bool(left > right)),
    "$gte": ("gte", lambda left, right: bool(left >= right)),
    "$lt": ("lt", lambda left, right: bool(left < right)),
    "$lte": ("lte", lambda left, right: bool(left <= right)),
}
_OPERATORS: Final = ("$eq", "$ne", *_ORDERED)

_LOGICAL: Final = ("$and", "$or", "$nor", "$not")

Tree = dict[str, Any]
"""A filter of the daemon, as JSON."""


def checked(conditions: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the conditions of a search.

    Raises:
        ValueError: An operator that does not exist, or an operand that it does not take.
        TypeError: They are no mapping with strings as keys.
    """
    if not conditions:
        return {}
    if not isinstance(conditions, Mapping):
        raise TypeError(f"a filter is a dict, not a {type(conditions).__name__}")
    for key, condition in conditions.items():
        if not isinstance(key, str):
            raise TypeError(f"a filter has strings as keys, not {key!r}")
        if key in _LOGICAL:
            raise ValueError(f"a filter of a store has no {key}: conditions on its keys hold together")
        _check(condition)
    return dict(conditions)


def meets(value: Mapping[str, Any], conditions: Mapping[str, Any]) -> bool:
    """Return whether a value meets all conditions."""
    return all(_holds(value.get(key), condition) for key, condition in conditions.items())


def narrowed(conditions: Mapping[str, Any]) -> Tree | None:
    """Return what lets through all values that meet the conditions; None where the daemon can decide nothing."""
    trees = [_unless_omitted(key, _pushed([key], one)) for key, one in conditions.items() if is_filterable([key])]
    return _all(tree for tree in trees if tree is not None)


def both(*trees: Tree | None) -> Tree | None:
    """Return a filter that lets through what all let through that are given."""
    return _all(tree for tree in trees if tree is not None)


# What conditions mean -------------------------------------------------------------------------------------


def _is_operators(condition: Any) -> bool:
    return isinstance(condition, Mapping) and any(isinstance(key, str) and key.startswith("$") for key in condition)


def _check(condition: Any) -> None:
    if _is_operators(condition):
        for name, operand in condition.items():
            if name not in _OPERATORS:
                raise ValueError(f"Unsupported operator: {name!r}; there are {', '.join(_OPERATORS)}")
            if name in _ORDERED and not (_is_number(operand) or isinstance(operand, str)):
                raise ValueError(f"{name} takes a number or a string, not {operand!r}")
            _check_operand(operand)
    elif isinstance(condition, Mapping):
        for key, one in condition.items():
            if not isinstance(key, str):
                raise TypeError(f"a filter has strings as keys, not {key!r}")
            _check(one)
    elif isinstance(condition, list | tuple):
        for one in condition:
            _check(one)
    else:
        _check_operand(condition)


def _check_operand(operand: Any) -> None:
    if isinstance(operand, Mapping):
        for key, one in operand.items():
            if not isinstance(key, str):
                raise TypeError(f"a filter has strings as keys, not {key!r}")
            _check_operand(one)
    elif isinstance(operand, list | tuple):
        for one in operand:
            _check_operand(one)
    elif isinstance(operand, float) and not isfinite(operand):
        raise ValueError(f"nothing can be compared with {operand}")
    elif not (operand is None or isinstance(operand, str | bool | int | float)):
        raise TypeError(f"a filter compares with what JSON has, not with a {type(operand).__name__}")


def _holds(found: Any, condition: Any) -> bool:
    if _is_operators(condition):
        return all(_compare(found, name, operand) for name, operand in condition.items())
    if isinstance(condition, Mapping):
        return isinstance(found, dict) and all(_holds(found.get(key), one) for key, one in condition.items())
    if isinstance(condition, list | tuple):
        return (
            isinstance(found, list)
            and len(found) == len(condition)
            and all(map(_holds, found, condition))
        )  # fmt: skip
    return _equal(found, condition)


def _compare(found: Any, name: str, operand: Any) -> bool:
    if name == "$eq":
        return _equal(found, operand)
    if name == "$ne":
        return not _equal(found, operand)
    alike = (_is_number(found) and _is_number(operand)) or (isinstance(found, str) and isinstance(operand, str))
    return alike and _ORDERED[name][1](found, operand)


def _equal(left: Any, right: Any) -> bool:
    if _is_number(left) and _is_number(right):
        return bool(left == right)
    if isinstance(left, list) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, dict) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_equal(one, right[key]) for key, one in left.items())
    return type(left) is type(right) and bool(left == right)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# What the daemon can decide -------------------------------------------------------------------------------


def _unless_omitted(key: str, tree: Tree | None) -> Tree | None:
    """Return the filter, widened by all memories whose metadata may lack the entry."""
    if tree is None:
        return None
    label = omitted(key)
    labels = [OMITS] if label is None else [OMITS, label]
    return {"or": [_leaf("categories", "any", labels), tree]}


def _pushed(path: list[str], condition: Any) -> Tree | None:
    """Return what the daemon can say of an entry that is in the metadata; None where that is nothing."""
    if not is_filterable(path):
        return None
    field = "metadata." + ".".join(path)
    if _is_operators(condition):
        return _all(_operator(field, name, operand) for name, operand in condition.items())
    if isinstance(condition, Mapping):
        inner = [_pushed([*path, key], one) for key, one in condition.items()]
        return _all([_leaf(field, "exists"), *(one for one in inner if one is not None)])
    if isinstance(condition, list | tuple):
        # Elements may have conditions of their own, which only equal what equals them if they are scalars.
        is_flat = all(one is None or isinstance(one, str | bool | int | float) for one in condition)
        return _leaf(field, "eq", list(condition)) if is_flat else _leaf(field, "exists")
    return _operator(field, "$eq", condition)


def _operator(field: str, name: str, operand: Any) -> Tree:
    if name in _ORDERED:
        return _leaf(field, _ORDERED[name][0], operand)
    is_equal: Tree
    if operand is None:  # what is absent is None, too
        is_equal = {"or": [_leaf(field, "eq", None), {"not": _leaf(field, "exists")}]}
    else:
        is_equal = _leaf(field, "eq", _as_json(operand))
    return is_equal if name == "$eq" else {"not": is_equal}


def _as_json(operand: Any) -> Any:
    if isinstance(operand, Mapping):
        return {key: _as_json(one) for key, one in operand.items()}
    return [_as_json(one) for one in operand] if isinstance(operand, list | tuple) else operand


def _leaf(field: str, op: str, value: Any = None) -> Tree:
    return {"field": field, "op": op, "value": value}


def _all(trees: Any) -> Tree | None:
    parts: Sequence[Tree] = list(trees)
    if len(parts) > 1:
        return {"and": list(parts)}
    return parts[0] if parts else None
