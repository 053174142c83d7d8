"""From the wire's selection to the engine's filter."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from t4dm.sdk import models as m
from t4dm_daemon.core import filter as f
from t4dm_daemon.core.clock import to_micros
from t4dm_daemon.core.errors import EmptySelectorError, InvalidInputError
from t4dm_daemon.core.item import ENTITY_COLUMNS

_COMPARISONS = frozenset(("eq", "ne", "gt", "gte", "lt", "lte"))
_MEMBERSHIP = frozenset(("in", "nin"))


def from_wire(tree: m.Filter) -> f.Filter:
    """Return the checked filter of a wire tree; times become microseconds.

    Raises:
        UnknownFieldError: An operator that does not exist.
        InvalidInputError: An operand of the wrong type, a bad time, or a tree too deep.
    """
    converted = _convert(tree, 1)
    f.check(converted)
    return converted


def _convert(node: m.Filter, depth: int) -> f.Filter:
    if depth > f.MAX_DEPTH:
        raise InvalidInputError(f"the filter is nested deeper than {f.MAX_DEPTH} levels", max_depth=f.MAX_DEPTH)
    if node.and_ is not None:
        return f.And(tuple(_convert(part, depth + 1) for part in node.and_))
    if node.or_ is not None:
        return f.Or(tuple(_convert(part, depth + 1) for part in node.or_))
    if node.not_ is not None:
        return f.Not(_convert(node.not_, depth + 1))
    assert node.field is not None  # the model guarantees one form
    assert node.op is not None
    return f.Leaf(node.field, node.op, _operand(node.field, node.op, node.value))


def _operand(field: str, op: str, value: Any) -> Any:
    if field not in f.TIME_COLUMNS:
        return value
    if op in _COMPARISONS:
        return _micros(field, value)
    if op in _MEMBERSHIP and isinstance(value, list):
        return [_micros(field, one) for one in value]
    if op in f.NO_OPERAND:
        return None
    raise InvalidInputError(f"operator {op!r} does not apply to the time {field!r}", field=field, op=op)


def _micros(field: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        return to_micros(m.parse_time(value))
    except ValueError as error:
        raise InvalidInputError(f"{field}: {error}", field=field) from None


def owner_filter(owner: m.Owner) -> f.Filter | None:
    """Return the restriction to the entity columns that are given (AND)."""
    return f.all_of(
        *(f.Leaf(column, "eq", value) for column in ENTITY_COLUMNS if (value := getattr(owner, column)) is not None)
    )


def selection_filter(selection: m.Selection) -> f.Filter | None:
    """Return everything a selection asks for, joined with AND; None when it asks for nothing."""
    return f.all_of(
        owner_filter(selection),
        f.NamespacePrefix(tuple(selection.namespace_prefix)) if selection.namespace_prefix else None,
        f.Leaf("kind", "eq", selection.kind) if selection.kind is not None else None,
        from_wire(selection.filter) if selection.filter is not None else None,
    )


def search_filter(request: m.SearchRequest) -> f.Filter | None:
    """Return a search's restriction: its selection, scopes (OR), κ band and event-time range."""
    scopes = None
    if request.scopes is not None:
        owners = [owner_filter(scope) for scope in request.scopes]
        if not owners or any(owner is None for owner in owners):
            raise EmptySelectorError("a scope names at least one of " + ", ".join(ENTITY_COLUMNS), field="scopes")
        scopes = f.Or(tuple(owner for owner in owners if owner is not None))
    times = request.time_range
    return f.all_of(
        selection_filter(request),
        scopes,
        _bound("kappa", "gte", request.kappa_min),
        _bound("kappa", "lte", request.kappa_max),
        _time_bound("event_time", "gte", times.from_ if times else None),
        _time_bound("event_time", "lt", times.to if times else None),
    )


def deletion_filter(request: m.DeleteRequest) -> f.Filter | None:
    """Return what a deletion selects beside ids. None: everything, which the request must have said.

    Raises:
        EmptySelectorError: Nothing is selected and `all` is not true.
    """
    where = f.all_of(
        selection_filter(request),
        _time_bound("created_at", "lt", request.older_than),
        f.Leaf("expires_at", "lte", time.time_ns() // 1000) if request.expired else None,
    )
    if where is None and not request.ids and not request.all:
        raise EmptySelectorError(
            "nothing is selected: give ids, a filter, a namespace_prefix, an owner, older_than or expired, or say "
            "all: true"
        )
    return where


def _bound(column: str, op: str, value: float | None) -> f.Filter | None:
    return None if value is None else f.Leaf(column, op, value)


def _time_bound(column: str, op: str, value: datetime | None) -> f.Filter | None:
    return None if value is None else f.Leaf(column, op, to_micros(value))
