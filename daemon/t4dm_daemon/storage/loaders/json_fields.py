"""From the fields of a line of JSON to an item: names, then types, then limits."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np

from t4dm_daemon.core.clock import OPEN, UNBOUNDED, to_micros
from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.core.item import ENTITY_COLUMNS, Item
from t4dm_daemon.storage.loaders.base import Shape, check_item, to_vector, value_json
from t4dm_daemon.storage.payload import encode_object

Unknown = Literal["refuse", "metadata"]
"""What becomes of a field that no memory has."""

_ALIASES: Final = {"text": "content", "embedding": "vector", "payload": "metadata", "metadatas": "metadata"}
_TIMES: Final = ("event_time", "valid_from", "valid_to", "created_at", "updated_at", "expires_at", "last_accessed")
_NOT_READ: Final = frozenset(("space", "version", "recorded_at", "status"))
_SUBSTANCE: Final = frozenset(("content", "vector", "metadata", "value"))
_KNOWN: Final = frozenset(
    (*_SUBSTANCE, "id", "kind", "namespace", "categories", "importance", "kappa", "pinned", "access_count")
) | {*ENTITY_COLUMNS, *_TIMES, *_NOT_READ}
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII)


def own_names(given: dict[str, Any], unknown: Unknown) -> dict[str, Any]:
    """Return the fields by the names that a memory gives them. Raises InvalidInputError."""
    given = dict(given)
    for alias, name in _ALIASES.items():
        if alias in given:
            if name in given:
                raise InvalidInputError(f"it has both {alias!r} and {name!r}, which are one field")
            given[name] = given.pop(alias)
    others = sorted(given.keys() - _KNOWN)
    if others and unknown == "refuse":
        raise InvalidInputError(f"unknown field {others[0]!r}; put it into the metadata, or load unknown='metadata'")
    if others:
        metadata = dict(_typed(given, "metadata", dict) or {})
        for name in others:
            if name in metadata:
                raise InvalidInputError(f"{name!r} is a field and a key of the metadata")
            metadata[name] = given.pop(name)
        given["metadata"] = metadata
    return given


def memory(given: dict[str, Any], shape: Shape) -> Item:
    """Return the item of these fields. Raises InvalidInputError with the reason."""
    if given.keys().isdisjoint(_SUBSTANCE):
        raise InvalidInputError("no content, vector, metadata or value")
    fields: dict[str, Any] = {name: _time(given, name) for name in _TIMES if given.get(name) is not None}
    if "valid_from" not in given and fields.get("event_time", OPEN) < fields.get("valid_to", OPEN):
        fields["valid_from"] = fields["event_time"]  # true from when it happened, as for any memory
    for name in ("kind", *ENTITY_COLUMNS):
        if given.get(name) is not None:
            fields[name] = _typed(given, name, str)
    for name in ("importance", "kappa"):
        if given.get(name) is not None:
            fields[name] = _unit(given, name)
    if given.get("access_count") is not None:
        fields["access_count"] = _typed(given, "access_count", int)
        if not 0 <= fields["access_count"] < 2**62:
            raise InvalidInputError("access_count is not a count")
    item = Item(
        id=given["id"],
        content=_typed(given, "content", str) or "",
        vector=None if given.get("vector") is None else to_vector(_numbers(given["vector"]), shape),
        metadata_json=encode_object(_typed(given, "metadata", dict) or {}, "metadata"),
        value_json=value_json(given.get("value")),
        namespace=_labels(given, "namespace"),
        categories=_labels(given, "categories"),
        pinned=bool(_typed(given, "pinned", bool)),
        **fields,
    )
    check_item(item, shape.limits)
    return item


def _typed(given: dict[str, Any], name: str, wanted: type) -> Any:
    value = given.get(name)
    if value is None or type(value) is wanted:
        return value
    raise InvalidInputError(f"{name} is {type(value).__name__}, not {wanted.__name__}")


def _unit(given: dict[str, Any], name: str) -> float:
    value = given[name]
    if type(value) in (int, float) and 0.0 <= value <= 1.0:
        return float(value)
    raise InvalidInputError(f"{name} is not a number in [0, 1]")


def _labels(given: dict[str, Any], name: str) -> tuple[str, ...]:
    labels = _typed(given, name, list) or []
    if all(isinstance(one, str) for one in labels):
        return tuple(labels)
    raise InvalidInputError(f"{name} is not a list of strings")


def _time(given: dict[str, Any], name: str) -> int:
    text = given[name]
    try:
        if not (isinstance(text, str) and _TIME.fullmatch(text)):
            raise ValueError
        micros = to_micros(datetime.fromisoformat(text.upper()))
    except (ValueError, OverflowError):
        raise InvalidInputError(f"{name} is not an RFC 3339 time: {text!r}") from None
    assert UNBOUNDED < micros < OPEN
    return micros


def _numbers(value: Any) -> Any:
    """Return numbers; base64 of little-endian float32 is unpacked."""
    if not isinstance(value, str):
        return value
    try:
        return np.frombuffer(base64.b64decode(value, validate=True), "<f4")
    except (binascii.Error, ValueError):
        raise InvalidInputError("the vector is neither a list of numbers nor base64 of float32") from None
