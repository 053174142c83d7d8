"""LangChain's filters, dictionaries in MongoDB's manner, as T4DM's filter tree.

    {"topic": "travel", "price": {"$gte": 5, "$lt": 20}, "$or": [{"year": 2025}, {"tags": {"$contains": "new"}}]}

Several conditions hold together. A field is a path into the metadata (`a.b` is key `b` of object `a`, unless there is
a key `a.b`), also where a column of T4DM has its name; a `t4dm.sdk.Filter` is taken as it is, and reaches the columns.
Comparison is typed: `"1"` is not 1. A missing field fails, except for `$ne`, `$nin` and `$empty`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final

import pydantic

from t4dm.sdk import models as m
from t4dm.sdk._validation import sentence

FilterLike = Mapping[str, Any] | m.Filter

_COMPARISONS: Final = {"$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}
_OF_LISTS: Final = {"$in": "in", "$nin": "nin", "$any": "any", "$all": "all"}
_OF_VALUES: Final = {"$eq": "eq", "$ne": "ne", "$contains": "contains"}
_OF_TEXTS: Final = {"$text_match": "text_match", "$itext_match": "itext_match"}
_OF_FIELDS: Final = (
    *_OF_VALUES, *_COMPARISONS, *_OF_LISTS, *_OF_TEXTS, "$between", "$exists", "$empty", "$not",
)  # fmt: skip
_LOGICAL: Final = ("$and", "$or", "$nor", "$not")


def to_filter(given: FilterLike | None) -> m.Filter | None:
    """Return the filter tree of a dictionary; None when it restricts nothing.

    Raises:
        ValueError: It is no dictionary, an operator is unknown, or its operand is of the wrong kind.
    """
    if given is None or isinstance(given, m.Filter):
        return given
    if not isinstance(given, Mapping):
        raise ValueError(
            f"a filter is a dictionary like {{'topic': 'travel', 'price': {{'$lt': 20}}}}, not {type(given).__name__}"
        )
    return _object(given) if given else None


def _object(given: object) -> m.Filter:
    if not isinstance(given, Mapping) or not given:
        raise ValueError(f"a condition is a dictionary that is not empty, not {given!r}")
    parts: list[m.Filter] = []
    for key, value in given.items():
        if not isinstance(key, str) or not key:
            raise ValueError(f"a filter's field is a text that is not empty, not {key!r}")
        parts += [_logical(key, value)] if key.startswith("$") else _field(key, value)
    return _joined(parts)


def _logical(operator: str, value: object) -> m.Filter:
    if operator == "$not":
        return m.Filter(not_=_object(value))
    if operator not in _LOGICAL:
        raise ValueError(f"unknown operator {operator!r} where a field stands; known here: {', '.join(_LOGICAL)}")
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"{operator} takes a list of conditions that is not empty")
    parts = [_object(part) for part in value]
    if operator == "$and":
        return _joined(parts)
    either = parts[0] if len(parts) == 1 else _checked(operator, lambda: m.Filter(or_=parts))
    return m.Filter(not_=either) if operator == "$nor" else either


def _field(name: str, value: object) -> list[m.Filter]:
    if not isinstance(value, Mapping) or not any(isinstance(key, str) and key.startswith("$") for key in value):
        return [_leaf(name, "eq", value)]
    return [_condition(name, operator, operand) for operator, operand in value.items()]


def _condition(name: str, operator: object, operand: Any) -> m.Filter:
    if operator not in _OF_FIELDS:
        raise ValueError(f"unknown operator {operator!r} for {name!r}; known: {', '.join(_OF_FIELDS)}")
    if operator in _OF_VALUES:
        return _leaf(name, _OF_VALUES[operator], operand)
    if operator in _COMPARISONS:
        return _leaf(name, _COMPARISONS[operator], _ordered(name, operator, operand))
    if operator in _OF_LISTS:
        return _leaf(name, _OF_LISTS[operator], _listed(name, operator, operand))
    if operator in _OF_TEXTS:
        if not isinstance(operand, str):
            raise ValueError(f"{operator} for {name!r} takes a text, not {operand!r}")
        return _leaf(name, _OF_TEXTS[operator], operand)
    if operator == "$between":
        bounds = _listed(name, operator, operand)
        if len(bounds) != 2:
            raise ValueError(f"$between for {name!r} takes the least and the greatest value, not {operand!r}")
        least, greatest = (_ordered(name, operator, bound) for bound in bounds)
        return _joined([_leaf(name, "gte", least), _leaf(name, "lte", greatest)])
    if operator == "$not":
        return m.Filter(not_=_joined(_field(name, operand)))
    if not isinstance(operand, bool):
        raise ValueError(f"{operator} for {name!r} takes true or false, not {operand!r}")
    leaf = _leaf(name, "exists" if operator == "$exists" else "is_empty", None)
    return leaf if operand else m.Filter(not_=leaf)


def _ordered(name: str, operator: str, operand: Any) -> Any:
    if isinstance(operand, bool) or not isinstance(operand, int | float | str):
        raise ValueError(f"{operator} for {name!r} takes a number or a text, not {operand!r}")
    return operand


def _listed(name: str, operator: str, operand: Any) -> list[Any]:
    if not isinstance(operand, list | tuple):
        raise ValueError(f"{operator} for {name!r} takes a list, not {operand!r}")
    return list(operand)


def _leaf(name: str, op: str, value: Any) -> m.Filter:
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"the filter on {name!r} compares with {value}, which no metadata holds")
    return _checked(name, lambda: m.Filter(field=f"metadata.{name}", op=op, value=value))


def _joined(parts: list[m.Filter]) -> m.Filter:
    if not parts:
        raise ValueError("a condition without an operator restricts nothing")
    return parts[0] if len(parts) == 1 else _checked("$and", lambda: m.Filter(and_=parts))


def _checked(what: str, make: Callable[[], m.Filter]) -> m.Filter:
    try:
        return make()
    except pydantic.ValidationError as error:
        raise ValueError(f"the filter at {what!r} cannot be sent: {sentence(error)}") from error
