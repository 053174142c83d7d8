"""How Mem0's clients see a memory, an event of its life, and an owner of memories."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection
from typing import Any, Final

from t4dm.sdk import models as m
from t4dm_compat.mem0 import moments
from t4dm_compat.mem0.bodies import ENTITIES

MARK: Final = "mem0"
"""Where a memory's opaque value says what this door knows of it; its metadata is the caller's alone."""
EVENTS: Final = {"ADD": "ADD", "DELETE": "DELETE"}
"""Every other event of a memory's life is an UPDATE to Mem0."""
_NAMES: Final = uuid.UUID("5f6d0e0a-64ad-4d3f-9b0a-1f0b8a4f7d10")


def stable_id(*parts: str) -> str:
    """Return a UUID that is the same for the same parts."""
    return str(uuid.uuid5(_NAMES, "\x1f".join(parts)))


def marks(one: m.Memory) -> dict[str, Any]:
    """Return what this door noted in a memory's value."""
    value = one.value.get(MARK) if isinstance(one.value, dict) else None
    return value if isinstance(value, dict) else {}


def memory(one: m.Memory, *, score: float | None = None, fields: Collection[str] | None = None) -> dict[str, Any]:
    """Return a memory as an answer shows it; `fields` leaves the id and what they name."""
    shown: dict[str, Any] = {
        "id": one.id,
        "memory": one.content,
        **{name: getattr(one, name) for name in ENTITIES},
        "hash": hashlib.md5(one.content.encode(), usedforsecurity=False).hexdigest(),
        "metadata": one.metadata,
        "categories": one.categories,
        "immutable": bool(marks(one).get("immutable")),
        "expiration_date": moments.expiration_date(one.expires_at),
        "created_at": moments.text(one.created_at),
        "updated_at": moments.text(one.updated_at),
    }
    if score is not None:
        shown["score"] = score
    if fields is None:
        return shown
    return {name: value for name, value in shown.items() if name == "id" or name in fields}


def added(memory_id: str, text: str, event: str) -> dict[str, Any]:
    """Return what became of one memory of an add, in the words of every version of the API."""
    return {"id": memory_id, "event": event, "memory": text, "data": {"memory": text}}


def history(memory_id: str, entry: m.HistoryEntry) -> dict[str, Any]:
    """Return one event of a memory's life."""
    new, old = entry.new, entry.old
    told = new or old
    assert told is not None  # an event has a before or an after
    event = EVENTS.get(entry.event, "UPDATE")
    role = marks(told).get("role", "user")
    at = moments.text(entry.recorded_at)
    return {
        "id": stable_id(memory_id, entry.event, str(entry.version), at),
        "memory_id": memory_id,
        "input": [{"role": role, "content": told.content}],
        "old_memory": None if old is None else old.content,
        "new_memory": None if new is None else new.content,
        "user_id": told.user_id,
        "event": event,
        "metadata": told.metadata,
        "categories": told.categories,
        "created_at": moments.text(told.created_at),
        "updated_at": at,
    }
