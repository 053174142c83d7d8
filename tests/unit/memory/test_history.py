from __future__ import annotations

from t4dm_daemon.core.clock import OPEN
from t4dm_daemon.core.item import Item
from t4dm_daemon.memory.history import events


def _version(number: int, recorded_at: int, recorded_until: int = OPEN) -> Item:
    return Item(id="a", version=number, recorded_at=recorded_at, recorded_until=recorded_until)


def test_adjacent_versions_are_updates_and_gaps_are_deletions() -> None:
    versions = [_version(1, 10, 20), _version(2, 20, 30), _version(3, 40, 50)]
    told = [(one.event, one.version, one.recorded_at) for one in events(versions)]
    assert told == [("ADD", 1, 10), ("UPDATE", 2, 20), ("DELETE", 2, 30), ("ADD", 3, 40), ("DELETE", 3, 50)]


def test_a_living_memory_ends_without_a_deletion() -> None:
    assert [one.event for one in events([_version(1, 10)])] == ["ADD"]
