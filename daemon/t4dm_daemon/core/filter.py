"""The filter tree and what its operators mean.

One definition serves three evaluators: a plain walk over one item (`matches`, the reference), the engine's
column masks, and the wire. A leaf compares one field with one operand:

- `field` is a column (see `COLUMNS`) or a path into the metadata: `a.b` means key `b` of object `a`; a key
  that itself contains dots is found first when it exists literally. `metadata.a.b` says so explicitly and
  reaches keys that share a column's name.
- Comparison is typed. Numbers compare with numbers (a boolean is not a number), strings with strings;
  any other pair is neither equal nor ordered. Nothing is coerced.
- A missing field is false, except for `ne`, `nin` and `is_empty`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from t4dm_daemon.core.errors import InvalidInputError, UnknownFieldError

MAX_DEPTH: Final = 32
MAX_LEAVES: Final = 1024
MAX_OPERANDS: Final = 10_000

TIME_COLUMNS: Final = (
    "event_time",
    "valid_from",
    "valid_to",
    "recorded_at",
    "created_at",
    "updated_at",
    "expires_at",
    "last_accessed",
)
NUMBER_COLUMNS: Final = ("importance", "kappa", "access_count", "version")
LABEL_COLUMNS: Final = ("kind", "user_id", "agent_id", "app_id", "run_id", "session_id")
LIST_COLUMNS: Final = ("namespace", "categories")
TEXT_COLUMNS: Final = ("id", "content")
COLUMNS: Final = frozenset((*TIME_COLUMNS, *NUMBER_COLUMNS, *LABEL_COLUMNS, *LIST_COLUMNS, *TEXT_COLUMNS, "pinned"))


class _Missing:
    """The value of a field that is not there (JSON null is there, and is None)."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True)
class Leaf:
    """Compare one field. Time columns take operands in microseconds."""

    field: str
    op: str
    operand: Any = None


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: Filter


@dataclass(frozen=True, slots=True)
class NamespacePrefix:
    """Match items whose namespace begins with these labels, label by label."""

    labels: tuple[str, ...]


Filter = Leaf | And | Or | Not | NamespacePrefix


def all_of(*parts: Filter | None) -> Filter | None:
    """Join what is given with AND; nothing given means no restriction."""
    present = tuple(part for part in parts if part is not None)
    if not present:
        return None
    return present[0] if len(present) == 1 else And(present)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def equal(left: Any, right: Any) -> bool:
    """Compare without coercion: 1 == 1.0, but True != 1 and "1" != 1; lists and objects deeply."""
    if _is_number(left) and _is_number(right):
        return bool(left == right)
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(equal(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return bool(left == right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def apply(value: Any, operand: Any) -> bool:
        if (_is_number(value) and _is_number(operand)) or (isinstance(value, str) and isinstance(operand, str)):
            return compare(value, operand)
        return False

    return apply


def _contains(value: Any, operand: Any) -> bool:
    return isinstance(value, list) and any(equal(element, operand) for element in value)


def _any(value: Any, operand: Any) -> bool:
    return isinstance(value, list) and any(_contains(value, wanted) for wanted in operand)


def _all(value: Any, operand: Any) -> bool:
    return isinstance(value, list) and all(_contains(value, wanted) for wanted in operand)


def _in(value: Any, operand: Any) -> bool:
    return any(equal(value, wanted) for wanted in operand)


OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": equal,
    "ne": lambda value, operand: not equal(value, operand),
    "gt": _ordered(lambda value, operand: bool(value > operand)),
    "gte": _ordered(lambda value, operand: bool(value >= operand)),
    "lt": _ordered(lambda value, operand: bool(value < operand)),
    "lte": _ordered(lambda value, operand: bool(value <= operand)),
    "in": _in,
    "nin": lambda value, operand: not _in(value, operand),
    "contains": _contains,
    "any": _any,
    "all": _all,
    "text_match": lambda value, operand: isinstance(value, str) and operand in value,
    "itext_match": lambda value, operand: isinstance(value, str) and operand.casefold() in value.casefold(),
    "exists": lambda value, operand: True,
    "is_empty": lambda value, operand: value is None or value in ("", [], {}),
}
TRUE_WHEN_MISSING: Final = frozenset(("ne", "nin", "is_empty"))
_LIST_OPERAND: Final = frozenset(("in", "nin", "any", "all"))
_TEXT_OPERAND: Final = frozenset(("text_match", "itext_match"))
_MAX_SHOWN: Final = 100
NO_OPERAND: Final = frozenset(("exists", "is_empty"))


def leaf_holds(op: str, value: Any, operand: Any) -> bool:
    """Return whether one value (possibly MISSING) passes one operator."""
    if value is MISSING:
        return op in TRUE_WHEN_MISSING
    return OPERATORS[op](value, operand)


def check(tree: Filter) -> None:
    """Reject what could not be evaluated: unknown operators and columns, operands of a wrong type, excess.

    Raises:
        UnknownFieldError: An operator or column does not exist.
        InvalidInputError: Too deep, too large, or an operand of the wrong type.
    """
    leaves = 0

    def visit(node: Filter, depth: int) -> None:
        nonlocal leaves
        if depth > MAX_DEPTH:
            raise InvalidInputError(f"the filter is nested deeper than {MAX_DEPTH} levels", max_depth=MAX_DEPTH)
        if isinstance(node, And | Or):
            for part in node.parts:
                visit(part, depth + 1)
        elif isinstance(node, Not):
            visit(node.part, depth + 1)
        elif isinstance(node, Leaf):
            leaves += 1
            if leaves > MAX_LEAVES:
                raise InvalidInputError(f"the filter has more than {MAX_LEAVES} conditions", max_leaves=MAX_LEAVES)
            _check_leaf(node)

    visit(tree, 1)


def _check_leaf(leaf: Leaf) -> None:
    if leaf.op not in OPERATORS:
        known = ", ".join(OPERATORS)
        raise UnknownFieldError(f"unknown filter operator {_shown(leaf.op)!r}; known: {known}", op=_shown(leaf.op))
    if not leaf.field or leaf.field == "metadata." or leaf.field.startswith("."):
        raise UnknownFieldError(f"not a field: {_shown(leaf.field)!r}", field=_shown(leaf.field))
    if leaf.op in _LIST_OPERAND:
        if not isinstance(leaf.operand, list):
            raise InvalidInputError(f"operator {leaf.op!r} takes a list", field=_shown(leaf.field), op=leaf.op)
        if len(leaf.operand) > MAX_OPERANDS:
            raise InvalidInputError(
                f"operator {leaf.op!r} takes at most {MAX_OPERANDS} values", field=_shown(leaf.field)
            )
    if leaf.op in _TEXT_OPERAND and not isinstance(leaf.operand, str):
        raise InvalidInputError(f"operator {leaf.op!r} takes a string", field=_shown(leaf.field), op=leaf.op)


def _shown(text: str) -> str:
    """Return a caller's text, short enough for a message."""
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def metadata_value(metadata: Any, path: str) -> Any:
    """Return the metadata's value at a dotted path, or MISSING. A literal key wins over the split path."""
    if not isinstance(metadata, dict):
        return MISSING
    if path in metadata:
        return metadata[path]
    head, dot, rest = path.partition(".")
    while dot:
        if head in metadata:
            found = metadata_value(metadata[head], rest)
            if found is not MISSING:
                return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return MISSING


def field_path(field: str) -> str | None:
    """Return the metadata path a field names, or None when it names a column."""
    if field.startswith("metadata."):
        return field.removeprefix("metadata.")
    return None if field in COLUMNS else field


def matches(tree: Filter, value_of: Callable[[str], Any], namespace: tuple[str, ...]) -> bool:
    """Return whether one item passes: the reference meaning of a filter.

    Args:
        tree: A checked filter.
        value_of: Gives a field's value (times in microseconds), or MISSING.
        namespace: The item's labels.
    """
    if isinstance(tree, Leaf):
        return leaf_holds(tree.op, value_of(tree.field), tree.operand)
    if isinstance(tree, And):
        return all(matches(part, value_of, namespace) for part in tree.parts)
    if isinstance(tree, Or):
        return any(matches(part, value_of, namespace) for part in tree.parts)
    if isinstance(tree, Not):
        return not matches(tree.part, value_of, namespace)
    return namespace[: len(tree.labels)] == tree.labels
