"""Whose memories a request is about. One that does not say is refused: nobody reads or deletes all by mistake."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from t4dm.sdk import models as m
from t4dm_compat.mem0 import filters, moments
from t4dm_compat.mem0.bodies import ENTITIES, DeleteQuery, ListBody, ListQuery, Narrowed, Owned
from t4dm_compat.mem0.refusals import as_wrong, wrong

_MAX_TEXT: Final = 64 * 1024
_NOBODY: Final = (
    "name at least one of user_id, agent_id, app_id and run_id; to see everybody's memories, say user_id '*'"
)


def of(body: Narrowed, *, self_hosted: bool = False) -> m.Filter | None:
    """Return what a search or a list is about. Raises ValidationError (400)."""
    given = body.entities()
    parts = filters.entities(given)
    if body.filters:
        parts.append(filters.read(body.filters, self_hosted=self_hosted))
    if not given and not (body.filters and filters.names_entity(body.filters)):
        raise wrong(_NOBODY)
    if categories := _listed(body.categories):
        parts.append(filters.read({"categories": {"in": categories}}))
    if body.metadata:
        parts.append(filters.read({"metadata": body.metadata}))
    if isinstance(body, ListBody):
        parts += _of_list(body)
    return filters.joined(parts)


def _of_list(body: ListBody) -> Iterable[m.Filter]:
    bounds = {"gte": body.start_date, "lte": body.end_date}
    asked = {op: value for op, value in bounds.items() if value is not None}
    if asked:
        yield filters.read({"created_at": asked})
    if body.keywords:
        yield filters.read({"keywords": body.keywords})


def _listed(value: str | list[str] | None) -> list[str]:
    """Return names given one by one or with commas between them."""
    texts = [value] if isinstance(value, str) else value or []
    return [one for text in texts for part in text.split(",") if (one := part.strip())]


def shown_fields(body: Narrowed) -> set[str] | None:
    """Return the fields that are asked for, None for all."""
    return set(_listed(body.fields)) or None


def owner(body: Owned) -> dict[str, str]:
    """Return whose the new memories are: ids at the top level, or plain ones in `filters`.

    Raises:
        ValidationError: Nobody is named, or two different ids are.
    """
    found = body.entities()
    for name, value in _plain(body.filters or {}):
        if found.setdefault(name, value) != value:
            raise wrong(f"{name} is {found[name]!r} at the top level and {value!r} in the filters")
    if not found:
        raise wrong("name at least one of user_id, agent_id, app_id and run_id: whose memory is it?")
    with as_wrong():
        return m.Owner(**found).model_dump(exclude_none=True)


def _plain(tree: Mapping[str, Any], depth: int = 1) -> Iterable[tuple[str, str]]:
    for name, value in tree.items():
        if name == "AND" and isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
            if depth > filters.MAX_NESTING:
                raise wrong(f"filters: they are nested at most {filters.MAX_NESTING} deep")
            for one in value:
                yield from _plain(one, depth + 1)
        elif name in ENTITIES and isinstance(value, str | int) and not isinstance(value, bool):
            yield name, str(value)
        elif name not in ENTITIES or value is not None:
            raise wrong(f"filters: they name whose the memory is, as {{'user_id': 'alice'}}; not {name[:100]!r}")


def listing(query: ListQuery) -> ListBody:
    """Return a query string as the body that says the same."""
    given = query.model_dump(exclude_none=True)
    for name in ("filters", "metadata"):
        if name in given:
            given[name] = parsed(given[name], name)
    with as_wrong():
        return ListBody.model_validate(given)


def parsed(text: str, name: str) -> dict[str, Any]:
    """Return the object that a text holds: JSON, or what Python prints of a dictionary.

    Python clients put a dictionary into the query string as it is printed.
    """
    found: Any = None
    if len(text) <= _MAX_TEXT:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            try:
                found = ast.literal_eval(text.strip())
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                found = None
    if not isinstance(found, dict) or not found or not all(isinstance(key, str) for key in found):
        raise wrong(f"{name}: it is not a JSON object of at least one field; nothing was done")
    return found


def deletion(query: DeleteQuery, names: Iterable[str], *, self_hosted: bool = False) -> m.Filter:
    """Return which memories to delete; `names` are those of the query string, with repetitions.

    Raises:
        ValidationError: Anything is unknown, repeated, empty or unreadable, or no entity bounds it.
    """
    unknown = sorted(query.model_extra or ())
    if unknown:
        raise wrong(
            f"there is no parameter {unknown[0][:100]!r}; nothing was deleted. "
            f"A deletion takes {', '.join(ENTITIES)}, filters and metadata"
        )
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise wrong(f"{name} is given twice; nothing was deleted")
        seen.add(name)
    given = {name: value for name in ENTITIES if (value := getattr(query, name)) is not None}
    for name, value in given.items():
        if not value.strip() or value in ("None", "null", "undefined"):
            raise wrong(f"{name} is {value!r}, which looks like a missing id; nothing was deleted")
    parts = filters.entities(given)
    tree = None
    if query.filters is not None:
        tree = parsed(query.filters, "filters")
        parts.append(filters.read(tree, self_hosted=self_hosted))
    if query.metadata is not None:
        parts.append(filters.read({"metadata": parsed(query.metadata, "metadata")}))
    if not given and not (tree and filters.is_bounded(tree)):
        raise wrong("a deletion names whose memories: at least one of " + ", ".join(ENTITIES) + "; nothing was deleted")
    where = filters.joined(parts)
    assert where is not None  # at least one entity is named
    return where


def expiry(value: str | None) -> dict[str, Any]:
    """Return an expiration date as the field of a memory."""
    return {} if value is None else {"expires_at": moments.expires_at(value)}
