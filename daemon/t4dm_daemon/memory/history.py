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

Change = Literal["ADD", "UPDATE", "DELETE", "SUPERSEDE"]


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a memory, and when it was recorded (microseconds)."""

    event: Change
    version: int
    recorded_at: int
    old: Item | None
    new: Item | None


def _change(before: Item | None, after: Item) -> Change:
    """Return what made a version; one in which nothing but an open validity was ended was superseded."""
    if before is None:
        return "ADD"
    is_ended = before.valid_to == OPEN and after.valid_to != OPEN
    is_else_the_same = (before.content_hash, before.metadata_json, before.value_json, before.valid_from) == (
        after.content_hash, after.metadata_json, after.value_json, after.valid_from,
    )  # fmt: skip
    return "SUPERSEDE" if is_ended and is_else_the_same else "UPDATE"


def events(versions: Sequence[Item]) -> list[Event]:
    """Return the events that versions, oldest first, bear witness to."""
    told: list[Event] = []
    before: Item | None = None
    for item in versions:
        if before is not None and before.recorded_until < item.recorded_at:
            told.append(Event("DELETE", before.version, before.recorded_until, before, None))
            before = None
        told.append(Event(_change(before, item), item.version, item.recorded_at, before, item))
        before = item
    if before is not None and before.recorded_until != OPEN:
        told.append(Event("DELETE", before.version, before.recorded_until, before, None))
    return told
