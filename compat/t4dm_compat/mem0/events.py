"""The latest adds, for clients that ask what became of theirs. Every add is done when it is answered.

An event keeps ids and no texts: what it tells of a memory is read when it is asked for, so nothing that has been
deleted is told of here.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from t4dm._backend import MemoryBackend
from t4dm.sdk import models as m
from t4dm.sdk.errors import NotFoundError
from t4dm_compat.mem0 import moments, shapes

_MOST_EVENTS: Final = 1000
_MOST_IDS: Final = 100_000
"""Of all events together, some 10 MB. The latest is kept however many it has."""


@dataclass(frozen=True, slots=True)
class Event:
    """One add: when, and what became of which memory."""

    id: str
    started_at: datetime
    ended_at: datetime
    outcomes: tuple[tuple[str, str], ...]


class Events:
    """The latest adds of this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: OrderedDict[str, Event] = OrderedDict()  # guarded by _lock
        self._ids = 0  # guarded by _lock

    def added(self, results: Sequence[dict[str, Any]], started_at: datetime) -> str:
        """Note what an add did, and return the id to ask for it."""
        outcomes = tuple((str(one["id"]), str(one["event"])) for one in results)
        event = Event(str(uuid.uuid4()), started_at, datetime.now(UTC), outcomes)
        with self._lock:
            self._events[event.id] = event
            self._ids += len(outcomes)
            while len(self._events) > 1 and (len(self._events) > _MOST_EVENTS or self._ids > _MOST_IDS):
                _, oldest = self._events.popitem(last=False)
                self._ids -= len(oldest.outcomes)
        return event.id

    def get(self, event_id: str) -> Event | None:
        with self._lock:
            return self._events.get(event_id)

    def latest(self) -> list[Event]:
        """Return all that are kept, the latest first."""
        with self._lock:
            return list(reversed(self._events.values()))


def shown(backend: MemoryBackend, event: Event) -> dict[str, Any]:
    """Return an event as an answer shows it, with those of its memories that are still there."""
    texts = _texts(backend, [memory_id for memory_id, _ in event.outcomes])
    return {
        "id": event.id,
        "event_type": "ADD",
        "status": "SUCCEEDED",
        "results": [shapes.added(one, texts[one], what) for one, what in event.outcomes if one in texts],
        "created_at": moments.text(event.started_at),
        "updated_at": moments.text(event.ended_at),
        "started_at": moments.text(event.started_at),
        "completed_at": moments.text(event.ended_at),
        "latency": round((event.ended_at - event.started_at).total_seconds() * 1e3, 3),
    }


def _texts(backend: MemoryBackend, ids: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        for start in range(0, len(ids), m.MAX_LIMIT):
            asked = m.GetRequest(ids=list(ids[start : start + m.MAX_LIMIT]))
            found |= {one.id: one.content for one in backend.get_many(asked)}
    except NotFoundError as error:
        if not error.is_missing_space:
            raise
    return found
