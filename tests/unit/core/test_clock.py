from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from t4dm_daemon.core.clock import OPEN, UNBOUNDED, RecordClock, from_micros, to_micros


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ],
)
def test_a_moment_survives_the_way_to_microseconds_and_back(moment: datetime) -> None:
    assert from_micros(to_micros(moment)) == moment
    assert UNBOUNDED < to_micros(moment) < OPEN


def test_a_moment_without_a_zone_is_utc() -> None:
    assert to_micros(datetime(1970, 1, 2)) == 24 * 3600 * 1_000_000


def test_ticks_rise_though_the_wall_clock_stands_still_or_steps_back() -> None:
    times = iter([100, 100, 50, 200, 199])
    clock = RecordClock(lambda: next(times))

    assert [clock.tick() for _ in range(5)] == [100, 101, 102, 200, 201]


def test_now_is_never_before_the_last_tick() -> None:
    times = iter([100, 50, 300])
    clock = RecordClock(lambda: next(times))

    assert [clock.tick(), clock.now(), clock.now()] == [100, 100, 300]


def test_after_recovery_ticks_follow_the_newest_time_on_disk() -> None:
    clock = RecordClock(lambda: 5)

    clock.advance(1000)
    clock.advance(10)

    assert clock.tick() == 1001


def test_threads_never_share_a_tick() -> None:
    clock = RecordClock(lambda: 1)
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.extend([clock.tick() for _ in range(500)])) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(seen) == list(range(1, 2001))
