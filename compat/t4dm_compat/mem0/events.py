"""The latest adds, for clients that ask what became of theirs. Every add is done when it is answered."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any, Final

from t4dm_compat.mem0 import moments

_KEPT: Final = 1000


class Events:
    """The last thousand adds of this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: OrderedDict[str, dict[str, Any]] = OrderedDict()  # guarded by _lock

    def added(self, results: list[dict[str, Any]], started_at: datetime) -> str:
        """Note what an add did, and return the id to ask for it."""
        now = datetime.now(UTC)
        event_id = str(uuid.uuid4())
        event = {
            "id": event_id,
            "event_type": "ADD",
            "status": "SUCCEEDED",
            "results": results,
            "created_at": moments.text(started_at),
            "updated_at": moments.text(now),
            "started_at": moments.text(started_at),
            "completed_at": moments.text(now),
            "latency": round((now - started_at).total_seconds() * 1e3, 3),
        }
        with self._lock:
            self._events[event_id] = event
            while len(self._events) > _KEPT:
                self._events.popitem(last=False)
        return event_id

    def get(self, event_id: str) -> dict[str, Any] | None:
        with self._lock:
            return self._events.get(event_id)

    def latest(self) -> list[dict[str, Any]]:
        """Return all that are kept, the latest first."""
        with self._lock:
            return list(reversed(self._events.values()))
