"""Between the wire's memories and the engine's items."""

from __future__ import annotations

import dataclasses
import functools
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from t4dm._privacy import without_private
from t4dm.sdk import models as m
from t4dm_daemon.core.clock import OPEN, UNBOUNDED, from_micros, to_micros
from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.core.item import ENTITY_COLUMNS, MUTABLE_FIELDS, Item
from t4dm_daemon.memory import json_text
from t4dm_daemon.memory.dedup import content_hash

_SAME_VECTOR: Final = 1e-5
"""What the numbers of a unit vector differ by at most when a text is embedded again, in other company."""

Vector = npt.NDArray[np.float32]


def to_vector(packed: bytes) -> Vector:
    """Return the float32 vector of packed bytes.

    Raises:
        InvalidInputError: It is not finite, or has no direction.
    """
    vector = np.frombuffer(packed, dtype="<f4").astype(np.float32, copy=False)
    if not np.isfinite(vector).all():
        raise InvalidInputError("a vector holds only finite float32 numbers", field="vector")
    if not vector.any():
        raise InvalidInputError("a zero vector has no direction, so cosine similarity is undefined", field="vector")
    return vector


def new_item(record: m.RecordIn, *, item_id: str, now: int, vector: Vector | None) -> Item:
    """Return the item of a record.

    Args:
        record: What the caller sent.
        item_id: Its id, or the one made for it.
        now: The present, in microseconds: the event time when the caller gave none.
        vector: What it is found by, None when it has no vector.
    """
    event_time = _micros(record.event_time, now)
    valid_to = _micros(record.valid_to, OPEN)
    valid_from = _micros(record.valid_from, UNBOUNDED)
    if record.valid_from is None and "valid_from" not in record.model_fields_set and event_time < valid_to:
        valid_from = event_time  # true from when it happened, unless the caller says otherwise
    if record.ttl_s is not None:
        expires_at = now + round(record.ttl_s * 1e6)
    else:
        expires_at = _micros(record.expires_at, OPEN)
    owner = {column: getattr(record, column) for column in ENTITY_COLUMNS}
    namespace = tuple(record.namespace)
    content = _public(record.content)
    return Item(
        id=item_id,
        content=content,
        vector=vector,
        metadata_json=_metadata(record.metadata),
        value_json=_value(record.value),
        kind=record.kind,
        namespace=namespace,
        categories=tuple(record.categories),
        event_time=event_time,
        valid_from=valid_from,
        valid_to=valid_to,
        created_at=_micros(record.created_at, UNBOUNDED),
        updated_at=_micros(record.updated_at, UNBOUNDED),
        importance=record.importance,
        kappa=record.kappa,
        pinned=record.pinned,
        access_count=record.access_count,
        last_accessed=_micros(record.last_accessed, UNBOUNDED),
        expires_at=expires_at,
        content_hash=content_hash(content, tuple(owner.values()), namespace),
        **owner,
    )


def merged_item(record: m.RecordIn, current: Item, fresh: Item) -> Item:
    """Return `current` with the fields that the record gives; metadata is merged by top-level key.

    Args:
        record: Says which fields were given.
        current: What is stored.
        fresh: The item of the record alone.
    """
    given = record.model_fields_set - {"id", "embed", "dedup", "ttl_s", "supersedes"}
    changes: dict[str, Any] = {}
    for name in given:
        if name == "metadata":
            changes["metadata_json"] = _metadata(json_text.decode(current.metadata_json) | record.metadata)
        elif name == "value":
            changes["value_json"] = fresh.value_json
        else:
            changes[name] = getattr(fresh, name)
    if record.ttl_s is not None:
        changes["expires_at"] = fresh.expires_at
    return _settled(dataclasses.replace(current, updated_at=_micros(record.updated_at, UNBOUNDED)), changes)


def patched_item(request: m.UpdateRequest, current: Item) -> Item:
    """Return `current` with the request's changes; equal to `current` when nothing changes.

    The vector is the request's or the current one: re-embedding is the caller's business.
    """
    changes: dict[str, Any] = {}
    for name in request.model_fields_set - {"expected_version", "metadata_mode"}:
        given = getattr(request, name)
        match name:
            case "content":
                if given is not None:
                    changes[name] = _public(given)
            case "metadata":
                base = json_text.decode(current.metadata_json) if request.metadata_mode == "merge" else {}
                changes["metadata_json"] = _metadata(base | (given or {}))
            case "value":
                changes["value_json"] = _value(given)
            case "vector":
                if given is not None:
                    changes["vector"] = to_vector(given)
            case "expires_at" | "valid_to":
                changes[name] = _micros(given, OPEN)
            case "valid_from":
                changes[name] = _micros(given, UNBOUNDED)
            case "namespace" | "categories":
                changes[name] = tuple(given or ())
            case "event_time":
                if given is not None:
                    changes[name] = to_micros(given)
            case _:
                if given is not None or name in ENTITY_COLUMNS:
                    changes[name] = given
    return _settled(current, changes)


def _public(content: str) -> str:
    """Return a text without its private spans. Raises InvalidInputError when nothing is left of it."""
    public = without_private(content)
    if content and not public:
        raise InvalidInputError("all of the text is private, so there is nothing to store", field="content")
    return public


def _settled(current: Item, changes: dict[str, Any]) -> Item:
    item = dataclasses.replace(current, **changes)
    if item.valid_to <= item.valid_from:
        raise InvalidInputError("valid_to must be later than valid_from", field="valid_to")
    owner = tuple(getattr(item, column) for column in ENTITY_COLUMNS)
    return dataclasses.replace(item, content_hash=content_hash(item.content, owner, item.namespace))


def changed_fields(before: Item, after: Item) -> set[str]:
    """Return the names of the fields in which two items differ (not the engine's own)."""
    own = {"version", "recorded_at", "recorded_until", "seq", "updated_at", "created_at"}
    changed = set()
    for field in dataclasses.fields(Item):
        left, right = getattr(before, field.name), getattr(after, field.name)
        if field.name in own:
            continue
        if field.name == "vector":
            if not np.array_equal(_or_empty(left), _or_empty(right)):
                changed.add("vector")
        elif left != right:
            changed.add(field.name)
    return changed


def is_same(record: m.RecordIn, stored: Item, item: Item) -> bool:
    """Return whether storing `item`, made of `record`, would change nothing that the record gives.

    A record of use that is not given stays. A vector that the daemon made again may differ in its last bits.
    """
    changed = changed_fields(stored, item) - ({"access_count", "last_accessed"} - record.model_fields_set)
    if changed == {"vector"} and record.vector is None and stored.vector is not None and item.vector is not None:
        return stored.vector.shape == item.vector.shape and np.allclose(
            stored.vector, item.vector, rtol=0, atol=_SAME_VECTOR
        )
    return not changed


def is_learning_state(fields: set[str]) -> bool:
    """Return whether a change touches nothing but what is updated in place."""
    return fields <= set(MUTABLE_FIELDS)


def plain(item: Item, space: str, *, with_vector: bool = False) -> dict[str, Any]:
    """Return an item's wire fields, but for `metadata` and `value`; times are RFC 3339 text."""
    fields: dict[str, Any] = {
        "id": item.id,
        "space": space,
        "content": item.content,
        "kind": item.kind,
        "namespace": list(item.namespace),
        "user_id": item.user_id,
        "agent_id": item.agent_id,
        "app_id": item.app_id,
        "run_id": item.run_id,
        "session_id": item.session_id,
        "categories": list(item.categories),
        "importance": item.importance,
        "kappa": item.kappa,
        "event_time": time_text(item.event_time),
        "valid_from": time_text(item.valid_from),
        "valid_to": time_text(item.valid_to),
        "recorded_at": time_text(item.recorded_at),
        "created_at": time_text(item.created_at),
        "updated_at": time_text(item.updated_at),
        "expires_at": time_text(item.expires_at),
        "access_count": item.access_count,
        "last_accessed": time_text(item.last_accessed),
        "pinned": item.pinned,
        "version": item.version,
    }
    if with_vector:
        fields["vector"] = item.vector
    return fields


def to_model(
    item: Item, space: str, *, with_vector: bool = False, with_value: bool = True, status: str | None = None
) -> m.Memory:
    """Return the wire model of an item (embedded mode; the API writes JSON directly)."""
    fields = plain(item, space, with_vector=with_vector)
    if with_vector and item.vector is not None:
        fields["vector"] = item.vector.tolist()
    fields["metadata"] = json_text.decode(item.metadata_json)
    fields["value"] = json_text.decode(item.value_json) if with_value else None
    fields["status"] = status
    return m.Memory.model_validate(fields)


def _metadata(metadata: Any) -> bytes:
    return json_text.encode(metadata, field="metadata", max_bytes=m.MAX_METADATA_BYTES)


def _value(value: Any) -> bytes:
    return json_text.encode(value, field="value", max_bytes=m.MAX_VALUE_BYTES)


def _micros(moment: datetime | None, default: int) -> int:
    return default if moment is None else to_micros(moment)


@functools.lru_cache(maxsize=8192)
def time_text(micros: int) -> str | None:
    """Return RFC 3339 text, None for the two open ends."""
    if micros in (OPEN, UNBOUNDED):
        return None
    return from_micros(micros).isoformat().replace("+00:00", "Z")


def _or_empty(vector: Vector | None) -> Vector:
    return np.empty(0, np.float32) if vector is None else vector
