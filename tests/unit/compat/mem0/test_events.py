"""Events are kept in bounded number and size, the latest always."""

from __future__ import annotations

from datetime import UTC, datetime

from t4dm_compat.mem0.events import Events

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def test_the_oldest_events_go_when_there_are_too_many() -> None:
    log = Events()

    ids = [log.added([{"id": str(number), "event": "ADD"}], NOW) for number in range(1001)]

    assert log.get(ids[0]) is None
    assert [event.id for event in log.latest()] == ids[:0:-1]


def test_the_oldest_events_go_when_they_name_too_many_memories() -> None:
    log = Events()
    many = [{"id": str(number), "event": "ADD"} for number in range(60_000)]

    first, second = log.added(many, NOW), log.added(many, NOW)
    huge = log.added(many * 2, NOW)

    assert log.get(first) is log.get(second) is None
    assert [event.id for event in log.latest()] == [huge]
