"""The life of one memory, read from its versions.

A version that begins where the one before ended is an update. A gap between two versions is a deletion
followed by a new beginning; a last version that has ended was deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from t4dm_daemon.core.clock import OPEN
from t4dm_daemon.core.item import Item


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a memory, and when it was recorded (microseconds)."""

    event: Literal["ADD", "UPDATE", "DELETE"]
    version: int
    recorded_at: int
    old: Item | None
    new: Item | None


def events(versions: Sequence[Item]) -> list[Event]:
    """Return the events that versions, oldest first, bear witness to."""
    told: list[Event] = []
    before: Item | None = None
    for item in versions:
        if before is not None and before.recorded_until < item.recorded_at:
            told.append(Event("DELETE", before.version, before.recorded_until, before, None))
            before = None
        told.append(Event("ADD" if before is None else "UPDATE", item.version, item.recorded_at, before, item))
        before = item
    if before is not None and before.recorded_until != OPEN:
        told.append(Event("DELETE", before.version, before.recorded_until, before, None))
    return told
