"""Mem0's filter language, read into T4DM's filter tree; whatever is not understood is an error, never ignored.

    {"AND" | "OR" | "NOT": [ … ]}          nested; siblings are joined with AND; NOT [a, b] is neither a nor b
    {field: value}                          equal;  "*" is any value there is;  a list is one of its values
    {field: {operator: value, …}}           eq ne gt gte lt lte in contains icontains

Fields: user_id agent_id app_id run_id, created_at updated_at timestamp, expiration_date, text keywords, categories,
metadata, memory_ids. The self-hosted server's filters may also name metadata keys directly, and have `nin`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from t4dm.sdk import models as m
from t4dm_compat.mem0 import moments
from t4dm_compat.mem0.bodies import ENTITIES
from t4dm_compat.mem0.refusals import as_wrong, wrong

MAX_NESTING: Final = 8
"""Each level may become three of T4DM's, of which there are 32."""
ANY: Final = "*"
_LOGIC: Final = ("AND", "OR", "NOT")
_TIMES: Final = {"created_at": "created_at", "updated_at": "updated_at", "timestamp": "event_time"}
_ORDERS: Final = frozenset(("gt", "gte", "lt", "lte"))
_OPERATORS: Final = frozenset(("eq", "ne", "in", "contains", "icontains", *_ORDERS))
_SELF_HOSTED: Final = _OPERATORS | {"nin"}
FIELDS: Final = (*ENTITIES, *_TIMES, "expiration_date", "text", "keywords", "categories", "metadata", "memory_ids")


def read(tree: Mapping[str, Any], *, self_hosted: bool = False) -> m.Filter:
    """Return what a filter says. Raises ValidationError (400) for what it does not understand."""
    with as_wrong():
        return _all(_Reader(self_hosted=self_hosted).parts(tree, 1, "filters"))


def entities(given: Mapping[str, str]) -> list[m.Filter]:
    """Return the conditions of entity ids outside a filter."""
    return [_entity(name, "eq", value) for name, value in given.items()]


def joined(parts: Sequence[m.Filter]) -> m.Filter | None:
    """Return conditions that must all hold as one."""
    return _all(parts) if parts else None


def names_entity(tree: Mapping[str, Any]) -> bool:
    """Say whether a filter speaks of anybody's memories in particular, or of memories by their ids."""
    return any(
        key in ENTITIES
        or key == "memory_ids"
        or (key in _LOGIC and any(names_entity(one) for one in _listed(value) if isinstance(one, Mapping)))
        for key, value in tree.items()
    )


def is_bounded(tree: Mapping[str, Any]) -> bool:
    """Say whether a filter can only choose memories of entities that it names: what a deletion must be.

    Every alternative of an OR must name one; a NOT names nobody.
    """
    for key, value in tree.items():
        if key in ENTITIES and (not isinstance(value, Mapping) or value.keys() & {"eq", "in"}):
            return True
        branches = [one for one in _listed(value) if isinstance(one, Mapping)]
        if key == "AND" and any(map(is_bounded, branches)):
            return True
        if key == "OR" and branches and all(map(is_bounded, branches)):
            return True
    return False


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


class _Reader:
    def __init__(self, *, self_hosted: bool) -> None:
        self._self_hosted = self_hosted
        self._operators = _SELF_HOSTED if self_hosted else _OPERATORS

    def parts(self, tree: Any, depth: int, where: str) -> list[m.Filter]:
        if not isinstance(tree, Mapping):
            raise wrong(f"{where}: a filter is an object, for example {{'user_id': 'alice'}}")
        if not tree:
            raise wrong(f"{where}: it is empty; leave it out, or name what it is to hold")
        if depth > MAX_NESTING:
            raise wrong(f"{where}: filters are nested at most {MAX_NESTING} deep")
        return [
            self._logic(key, value, depth, where) if key in _LOGIC else self._field(key, value, f"{where}.{key}")
            for key, value in tree.items()
        ]

    def _logic(self, word: str, value: Any, depth: int, where: str) -> m.Filter:
        branches = _listed(value)
        if not 0 < len(branches) <= m.MAX_K:
            raise wrong(f"{where}.{word}: it has {len(branches)} parts; there must be one, and at most {m.MAX_K}")
        found = [
            _all(self.parts(one, depth + 1, f"{where}.{word}[{position}]")) for position, one in enumerate(branches)
        ]
        if word == "AND":
            return _all(found)
        return _any(found) if word == "OR" else _not(_any(found))

    def _field(self, name: str, value: Any, where: str) -> m.Filter:
        if value is None:
            raise wrong(f"{where}: it is null; leave it out, or say {{'NOT': [{{{name!r}: '*'}}]}} for what has none")
        if name == "metadata":
            return self._metadata(value, where)
        if name not in FIELDS:
            if self._self_hosted:
                return self._condition(_metadata_leaf(name), value, where)
            raise wrong(f"{where}: there is no field {name[:100]!r}; there are {', '.join(FIELDS)}, AND, OR, NOT")
        return self._condition(_LEAVES[name], value, where)

    def _condition(self, leaf: Callable[[str, Any, str], m.Filter], value: Any, where: str) -> m.Filter:
        if not isinstance(value, Mapping):
            return leaf("in" if isinstance(value, list) else "eq", value, where)
        if not value:
            raise wrong(f"{where}: it is empty; give a value or an operator")
        for op in value:
            if op not in self._operators:
                known = ", ".join(sorted(self._operators))
                raise wrong(f"{where}: there is no operator {op[:100]!r}; there are {known}")
        return _all([leaf(op, one, where) for op, one in value.items()])

    def _metadata(self, value: Any, where: str) -> m.Filter:
        if not isinstance(value, Mapping) or not value:
            raise wrong(f"{where}: give keys and the values they must have, for example {{'topic': 'tea'}}")
        (word, inner), *more = value.items()
        if not more and word in ("eq", "contains", "ne") and isinstance(inner, Mapping) and inner:
            found = _all([self._condition(_metadata_leaf(key), one, f"{where}.{key}") for key, one in inner.items()])
            return _not(found) if word == "ne" else found
        return _all([self._condition(_metadata_leaf(key), one, f"{where}.{key}") for key, one in value.items()])


# Conditions -------------------------------------------------------------------------------------------


def _leaf(field: str, op: str, value: Any = None) -> m.Filter:
    return m.Filter(field=field, op=op, value=value)


def _all(parts: Sequence[m.Filter]) -> m.Filter:
    return parts[0] if len(parts) == 1 else m.Filter(and_=list(parts))


def _any(parts: Sequence[m.Filter]) -> m.Filter:
    return parts[0] if len(parts) == 1 else m.Filter(or_=list(parts))


def _not(part: m.Filter) -> m.Filter:
    return m.Filter(not_=part)


def _texts(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise wrong(f"{where}: 'in' takes a list of at least one value")
    return [_text(one, where) for one in value]


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise wrong(f"{where}: a text is needed here")


def _of_text(field: str) -> Callable[[str, Any, str], m.Filter]:
    def leaf(op: str, value: Any, where: str) -> m.Filter:
        if op in ("in", "nin"):
            return _leaf(field, op, _texts(value, where))
        text = _text(value, where)
        if text == ANY and op in ("eq", "ne"):
            return _not(_leaf(field, "is_empty")) if op == "eq" else _leaf(field, "is_empty")
        if not text:
            raise wrong(f"{where}: the text is empty")
        return _leaf(field, {"contains": "text_match", "icontains": "itext_match"}.get(op, op), text)

    return leaf


def _entity(name: str, op: str, value: Any) -> m.Filter:
    return _of_text(name)(op, value, name)


def _keywords(op: str, value: Any, where: str) -> m.Filter:
    if op not in ("eq", "contains", "icontains", "in"):
        raise wrong(f"{where}: keywords take contains, icontains or in")
    words = _texts(value, where) if op == "in" else [_text(value, where)]
    return _any([_leaf("content", "text_match" if op == "contains" else "itext_match", word) for word in words])


def _ids(op: str, value: Any, where: str) -> m.Filter:
    if op not in ("eq", "in", "ne", "nin"):
        raise wrong(f"{where}: memory ids take eq, ne or in")
    return _leaf("id", op, _texts(value, where) if op in ("in", "nin") else _text(value, where))


def _categories(op: str, value: Any, where: str) -> m.Filter:
    if op == "in":
        return _leaf("categories", "any", _texts(value, where))
    if op == "nin":
        return _not(_leaf("categories", "any", _texts(value, where)))
    category = _text(value, where)
    if category == ANY and op in ("eq", "ne"):
        return _not(_leaf("categories", "is_empty")) if op == "eq" else _leaf("categories", "is_empty")
    if op in ("eq", "contains"):
        return _leaf("categories", "contains", category)
    if op == "ne":
        return _not(_leaf("categories", "contains", category))
    raise wrong(f"{where}: categories take contains, in, eq or ne")


def _metadata_leaf(key: str) -> Callable[[str, Any, str], m.Filter]:
    field = f"metadata.{key}"

    def leaf(op: str, value: Any, where: str) -> m.Filter:
        if not key:
            raise wrong(f"{where}: a key is not empty")
        if op in ("in", "nin"):
            if not isinstance(value, list) or not value:
                raise wrong(f"{where}: {op!r} takes a list of at least one value")
            return _leaf(field, op, value)
        if value == ANY and op in ("eq", "ne"):
            return _not(_leaf(field, "is_empty")) if op == "eq" else _leaf(field, "is_empty")
        if op == "contains":
            inside = [_leaf(field, "text_match", value)] if isinstance(value, str) and value else []
            return _any([*inside, _leaf(field, "contains", value)])
        if op == "icontains":
            return _leaf(field, "itext_match", _text(value, where))
        return _leaf(field, op, value)

    return leaf


def _time(column: str) -> Callable[[str, Any, str], m.Filter]:
    def leaf(op: str, value: Any, where: str) -> m.Filter:
        if op == "in":
            if not isinstance(value, list) or not value:
                raise wrong(f"{where}: 'in' takes a list of at least one time")
            return _any([leaf("eq", one, where) for one in value])
        if op not in ("eq", "ne", *_ORDERS):
            raise wrong(f"{where}: times take eq, ne, in, gt, gte, lt or lte")
        if value == ANY and op == "eq":
            return _leaf(column, "exists")
        if moments.is_date(value):
            whole = moments.day(value, where)
            return _span(column, op, moments.midnight(whole), moments.end(whole))
        return _leaf(column, op, moments.text(moments.moment(value, where)))

    return leaf


def _span(column: str, op: str, start: datetime, end: datetime) -> m.Filter:
    """Compare with a whole day: from its first moment to before the first of the next."""
    first, after = moments.text(start), moments.text(end)
    if op in ("gte", "lt"):
        return _leaf(column, op, first)
    if op in ("gt", "lte"):
        return _leaf(column, "gte" if op == "gt" else "lt", after)
    inside = _all([_leaf(column, "gte", first), _leaf(column, "lt", after)])
    return inside if op == "eq" else _not(inside)


def _expiration(op: str, value: Any, where: str) -> m.Filter:
    """Compare the last day: what ends with day D expires at the first moment of the next."""
    if op == "in":
        if not isinstance(value, list) or not value:
            raise wrong(f"{where}: 'in' takes a list of at least one date")
        return _any([_expiration("eq", one, where) for one in value])
    if value == ANY and op in ("eq", "ne"):
        return _leaf("expires_at", "exists") if op == "eq" else _not(_leaf("expires_at", "exists"))
    if op not in ("eq", "ne", *_ORDERS):
        raise wrong(f"{where}: dates take eq, ne, in, gt, gte, lt or lte")
    end = moments.text(moments.expires_at(value, where))
    start = moments.text(moments.midnight(moments.day(value, where)))
    if op in ("lte", "gt"):
        return _leaf("expires_at", op, end)
    if op in ("lt", "gte"):
        return _leaf("expires_at", "lte" if op == "lt" else "gt", start)
    inside = _all([_leaf("expires_at", "gt", start), _leaf("expires_at", "lte", end)])
    return inside if op == "eq" else _not(inside)


_LEAVES: Final[Mapping[str, Callable[[str, Any, str], m.Filter]]] = {
    **{name: _of_text(name) for name in ENTITIES},
    **{name: _time(column) for name, column in _TIMES.items()},
    "expiration_date": _expiration,
    "text": _of_text("content"),
    "keywords": _keywords,
    "categories": _categories,
    "memory_ids": _ids,
}
