"""LlamaIndex's filters as T4DM's filter tree.

A key is a path into the metadata (`a.b` is key `b` of object `a`, unless there is a key `a.b`), also where a column of
T4DM has its name. Comparison is typed: `"1"` is not 1, `True` is not 1. A field that is missing or null fails, except
for `!=`, `nin` and `is_empty`. `contains`, `any` and `all` look into lists. `ref_doc_id`, `doc_id` and `document_id`
name the document that a node was made from, unless the node's own metadata has such a key.

A `t4dm.sdk.Filter` is taken as it is, and reaches T4DM's own columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from math import isfinite
from typing import Any, Final, TypeAlias

import pydantic
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from t4dm.sdk import models as m
from t4dm.sdk._validation import sentence

FilterLike: TypeAlias = MetadataFilters | m.Filter

_VALUES: Final = {
    FilterOperator.EQ: "eq",
    FilterOperator.NE: "ne",
    FilterOperator.CONTAINS: "contains",
}
_COMPARISONS: Final = {
    FilterOperator.GT: "gt",
    FilterOperator.GTE: "gte",
    FilterOperator.LT: "lt",
    FilterOperator.LTE: "lte",
}
_LISTS: Final = {
    FilterOperator.IN: "in",
    FilterOperator.NIN: "nin",
    FilterOperator.ANY: "any",
    FilterOperator.ALL: "all",
}
_TEXTS: Final = {
    FilterOperator.TEXT_MATCH: "text_match",
    FilterOperator.TEXT_MATCH_INSENSITIVE: "itext_match",
}
_DOCUMENT_KEYS: Final = frozenset(("ref_doc_id", "doc_id", "document_id"))
"""LlamaIndex puts these beside a node's metadata."""
_DOCUMENT_OPERATORS: Final = (
    FilterOperator.EQ, FilterOperator.NE, FilterOperator.IN, FilterOperator.NIN, FilterOperator.IS_EMPTY,
)  # fmt: skip
_MAX_OPERANDS: Final = 10_000


def to_filter(given: FilterLike | None) -> m.Filter | None:
    """Return the filter tree of LlamaIndex's filters; None when they restrict nothing.

    Raises:
        ValueError: A value is of the wrong kind for its operator, or a group within is empty.
    """
    if given is None or isinstance(given, m.Filter):
        return given
    if not isinstance(given, MetadataFilters):
        raise ValueError(f"filters are MetadataFilters or a t4dm.sdk.Filter, not {type(given).__name__}")
    return _group(given) if given.filters else None


def of_documents(ref_doc_ids: Sequence[str]) -> m.Filter:
    """Return the filter that passes nodes made from one of these documents."""
    return any_of("namespace", "any", [document_label(one) for one in ref_doc_ids])


def with_ids(node_ids: Sequence[str]) -> m.Filter:
    """Return the filter that passes the nodes with these ids."""
    return any_of("id", "in", list(node_ids))


def any_of(field: str, op: str, values: list[str]) -> m.Filter:
    """Return a leaf over a list of values, or several where the daemon takes no list that long."""
    parts = [values[at : at + _MAX_OPERANDS] for at in range(0, len(values), _MAX_OPERANDS)]
    return _joined("or", [m.Filter(field=field, op=op, value=list[Any](part)) for part in parts])


def all_of(*parts: m.Filter | None) -> m.Filter | None:
    """Join what is given with AND; nothing given means no restriction."""
    present = [part for part in parts if part is not None]
    return _joined("and", present) if present else None


def document_label(ref_doc_id: str) -> str:
    """Return the label under which a document's nodes are stored: its id, or a digest where that is no label."""
    size_bytes = len(ref_doc_id.encode("utf-8", "surrogatepass"))
    if 0 < size_bytes <= m.MAX_LABEL_BYTES:
        return ref_doc_id
    return f"sha256:{sha256(ref_doc_id.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _group(given: MetadataFilters) -> m.Filter:
    if not given.filters:
        raise ValueError("a group of filters within another is empty: it would restrict nothing, or everything")
    parts = [_group(part) if isinstance(part, MetadataFilters) else _condition(part) for part in given.filters]
    condition = given.condition or FilterCondition.AND
    if condition is FilterCondition.AND:
        return _joined("and", parts)
    if condition is FilterCondition.OR:
        return _joined("or", parts)
    return m.Filter(not_=_joined("or", parts))  # NOT: none of them holds


def _condition(given: MetadataFilter) -> m.Filter:
    if given.key in _DOCUMENT_KEYS:
        own = m.Filter(field=f"metadata.{given.key}", op="exists")
        return _joined(
            "or",
            [
                _joined("and", [own, _leaf(given)]),
                _joined("and", [m.Filter(not_=own), _document(given)]),
            ],
        )
    return _leaf(given)


def _leaf(given: MetadataFilter) -> m.Filter:
    key, operator, value = given.key, given.operator, given.value
    field = f"metadata.{key}"
    if not key:
        raise ValueError("a filter's key is not empty")
    if operator is FilterOperator.IS_EMPTY:  # an empty object is not empty to LlamaIndex
        empty = m.Filter(field=field, op="is_empty")
        return _joined("and", [empty, m.Filter(field=field, op="ne", value={})])
    if operator in _VALUES:
        return _made(field, _VALUES[operator], _there(given, value))
    if operator in _COMPARISONS:
        if isinstance(value, list) or value is None:
            raise ValueError(f"{_shown(given)} takes a number or a text, not {value!r}")
        return _made(field, _COMPARISONS[operator], value)
    if operator in _LISTS:
        return _made(field, _LISTS[operator], _listed(given))
    if operator in _TEXTS:
        if not isinstance(value, str):
            raise ValueError(f"{_shown(given)} takes a text, not {value!r}")
        return _made(field, _TEXTS[operator], value)
    raise ValueError(f"T4DM does not know the operator of {_shown(given)}")


def _document(given: MetadataFilter) -> m.Filter:
    """Return the condition on the document that a node was made from: the one label of its namespace."""
    operator, value = given.operator, given.value
    if operator is FilterOperator.IS_EMPTY:
        return m.Filter(field="namespace", op="is_empty")
    if operator not in _DOCUMENT_OPERATORS:
        known = ", ".join(one.value for one in _DOCUMENT_OPERATORS)
        raise ValueError(
            f"{_shown(given)}: the id of a node's document can be compared with {known}; for metadata of your own of "
            f"that name give t4dm.sdk.Filter(field='metadata.{given.key}', …)"
        )
    is_negative = operator in (FilterOperator.NE, FilterOperator.NIN)
    if operator in (FilterOperator.EQ, FilterOperator.NE):
        listed: list[Any] = [_there(given, value)]
    else:
        listed = _listed(given)
    # What is no text is the id of no document.
    found = m.Filter(field="namespace", op="any", value=[document_label(one) for one in listed if isinstance(one, str)])
    return m.Filter(not_=found) if is_negative else found


def _there(given: MetadataFilter, value: Any) -> Any:
    if value is None:
        raise ValueError(f"{_shown(given)} compares with nothing: use the operator is_empty")
    return value


def _listed(given: MetadataFilter) -> list[Any]:
    if not isinstance(given.value, list):
        raise ValueError(f"{_shown(given)} takes a list, not {given.value!r}")
    return list(given.value)


def _shown(given: MetadataFilter) -> str:
    return f"the filter {given.key!r} {getattr(given.operator, 'value', given.operator)}"


def _made(field: str, op: str, value: Any) -> m.Filter:
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, float) and not isfinite(number):
            raise ValueError(f"the filter on {field!r} compares with {number}, which no metadata holds")
    return _checked(field, lambda: m.Filter(field=field, op=op, value=value))


def _joined(how: str, parts: Iterable[m.Filter]) -> m.Filter:
    joined = list(parts)
    if len(joined) == 1:
        return joined[0]
    return _checked(how, lambda: m.Filter(and_=joined) if how == "and" else m.Filter(or_=joined))


def _checked(what: str, make: Callable[[], m.Filter]) -> m.Filter:
    try:
        return make()
    except pydantic.ValidationError as error:
        raise ValueError(f"the filter at {what!r} cannot be sent: {sentence(error)}") from error
