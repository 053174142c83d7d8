"""Filters as masks over a component's columns: the same meaning as `core.filter.matches`, for many rows at once.

Numbers and times are compared in one numpy operation. Everything else is dictionary-encoded: the leaf is
evaluated once per distinct value and the result spread over the rows by its codes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.clock import OPEN, UNBOUNDED
from t4dm_daemon.core.filter import (
    MISSING,
    TRUE_WHEN_MISSING,
    And,
    Filter,
    Leaf,
    Not,
    Or,
    field_path,
    leaf_holds,
)
from t4dm_daemon.storage.t4dx.component import Component, Mask, label_value
from t4dm_daemon.storage.t4dx.schema import LABELS, LISTS, unpack_blob

_MISSING_NUMBERS: Final = {
    "valid_from": UNBOUNDED,
    "valid_to": OPEN,
    "expires_at": OPEN,
    "last_accessed": UNBOUNDED,
}
"""The stored number that stands for "not set"."""
_COMPARE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "gt": np.greater,
    "gte": np.greater_equal,
    "lt": np.less,
    "lte": np.less_equal,
}


def mask_of(tree: Filter, component: Component, rows: int) -> Mask:
    """Return which of the first `rows` rows pass a checked filter."""
    if isinstance(tree, Leaf):
        return _leaf(tree, component, rows)
    if isinstance(tree, And):
        mask = np.ones(rows, np.bool_)
        for part in tree.parts:
            mask &= mask_of(part, component, rows)
            if not mask.any():
                break
        return mask
    if isinstance(tree, Or):
        mask = np.zeros(rows, np.bool_)
        for part in tree.parts:
            mask |= mask_of(part, component, rows)
        return mask
    if isinstance(tree, Not):
        return ~mask_of(tree.part, component, rows)
    codes, values = component.codes["namespace"][:rows], list(component.dictionaries["namespace"].values)
    return _spread(codes, [value[: len(tree.labels)] == tree.labels for value in values])


def _leaf(leaf: Leaf, component: Component, rows: int) -> Mask:
    path = field_path(leaf.field)
    if path is not None:
        return _metadata(leaf, path, component, rows)
    name = leaf.field
    if name in LABELS:
        if leaf.op == "eq" and type(leaf.operand) is str and name not in LISTS:
            code = component.dictionaries[name].find(leaf.operand)  # not one comparison for each of many sessions
            same: Mask = component.codes[name][:rows] == code
            return same if code >= 0 else np.zeros(rows, np.bool_)
        codes, values = component.codes[name][:rows], list(component.dictionaries[name].values)
        # The last entry is that of code -1: not set.
        return _spread(codes, _truth(leaf, [label_value(name, value) for value in (*values, None)]))
    if name == "id":
        return _identifiers(leaf, component, rows)
    if name == "content":
        holds = (leaf_holds(leaf.op, unpack_blob(component.blob(row))[1], leaf.operand) for row in range(rows))
        return np.fromiter(holds, np.bool_, rows)
    if name == "pinned":
        return _spread(
            component.number("pinned", rows), [leaf_holds(leaf.op, one, leaf.operand) for one in (False, True)]
        )
    missing = _MISSING_NUMBERS.get(name)
    bounds = component.bounds(name) if missing is None else None
    if bounds is not None and (truth := _settled(leaf, *bounds)) is not None:
        return np.full(rows, truth, np.bool_)
    return _number(leaf, component.number(name, rows), missing)


def _settled(leaf: Leaf, low: int, high: int) -> bool | None:
    """Return the answer that is the same for every number in [low, high], None when there is none."""
    operand = leaf.operand
    if not _is_number(operand):
        return None
    if leaf.op in ("eq", "ne") and not low <= operand <= high:
        return leaf.op == "ne"
    answers = {
        "gt": (low > operand, high <= operand),
        "gte": (low >= operand, high < operand),
        "lt": (high < operand, low >= operand),
        "lte": (high <= operand, low > operand),
    }
    always, never = answers.get(leaf.op, (False, False))
    return True if always else False if never else None


def _number(leaf: Leaf, column: npt.NDArray[Any], missing: int | None) -> Mask:
    compare = _COMPARE.get(leaf.op)
    # Python compares integers with floats exactly; numpy makes both float64, which is exact below 2**53.
    limit = 2**53 if isinstance(leaf.operand, float) else 2**62
    if compare is not None and _is_number(leaf.operand) and -limit < leaf.operand < limit:
        mask: Mask = compare(column, leaf.operand)
    else:
        values, codes = np.unique(column, return_inverse=True)
        mask = _spread(codes, _truth(leaf, values.tolist()))
    if missing is not None:
        mask = np.where(column == missing, leaf.op in TRUE_WHEN_MISSING, mask)
    return mask


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _spread(codes: npt.NDArray[Any], truth: list[bool]) -> Mask:
    if not any(truth):
        return np.zeros(len(codes), np.bool_)
    spread: Mask = np.array(truth, np.bool_)[codes.astype(np.intp, copy=False)]
    return spread


def _truth(leaf: Leaf, values: list[Any]) -> list[bool]:
    """Return for each value whether it passes.

    Strings looked for in a list of strings are looked up: thousands of operands over thousands of distinct
    values would be compared pair by pair.
    """
    if leaf.op in ("in", "nin") and all(type(wanted) is str for wanted in leaf.operand):
        strings = set(leaf.operand)
        return [(type(value) is str and value in strings) == (leaf.op == "in") for value in values]
    return [leaf_holds(leaf.op, value, leaf.operand) for value in values]


def _metadata(leaf: Leaf, path: str, component: Component, rows: int) -> Mask:
    column = component.path_column(path, rows)
    truth = _truth(leaf, list(column.values))
    truth.append(leaf_holds(leaf.op, MISSING, leaf.operand))
    return _spread(column.codes[:rows], truth)


def _identifiers(leaf: Leaf, component: Component, rows: int) -> Mask:
    wanted = [leaf.operand] if leaf.op == "eq" else leaf.operand if leaf.op == "in" else None
    if wanted is None:
        holds = (leaf_holds(leaf.op, unpack_blob(component.blob(row))[0], leaf.operand) for row in range(rows))
        return np.fromiter(holds, np.bool_, rows)
    mask = np.zeros(rows, np.bool_)
    found = component.rows_of_ids([one for one in wanted if isinstance(one, str)])
    mask[[row for row in found if row < rows]] = True
    return mask
