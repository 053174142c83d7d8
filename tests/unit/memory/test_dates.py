from __future__ import annotations

from datetime import UTC, datetime

import pytest

from t4dm_daemon.core.clock import from_micros, to_micros
from t4dm_daemon.memory.dates import dates_in

NOW = to_micros(datetime(2026, 11, 25, 15, 30, tzinfo=UTC))  # a Wednesday
DAY_US = 86_400_000_000


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("dinner on May 3, 2023?", "2023-05-03", "2023-05-04"),
        ("the 3rd of May 2023", "2023-05-03", "2023-05-04"),
        ("on 2023-05-03", "2023-05-03", "2023-05-04"),
        ("in May 2023", "2023-05-01", "2023-06-01"),
        ("in December, 2022", "2022-12-01", "2023-01-01"),
        ("back in 2021", "2021-01-01", "2022-01-01"),
        ("what did I do today", "2026-11-25", "2026-11-26"),
        ("yesterday", "2026-11-24", "2026-11-25"),
        ("last week", "2026-11-16", "2026-11-23"),
        ("this week", "2026-11-23", "2026-11-30"),
        ("last month", "2026-10-01", "2026-11-01"),
        ("two years ago", "2024-01-01", "2025-01-01"),
        ("11 months ago", "2025-12-01", "2026-01-01"),
        ("last Friday", "2026-11-20", "2026-11-21"),
        ("last Wednesday", "2026-11-18", "2026-11-19"),
    ],
)
def test_a_date_phrase_is_an_interval(text: str, first: str, last: str) -> None:
    (when,) = dates_in(text, now=NOW)

    assert when.start is not None
    assert when.end is not None
    assert [str(from_micros(at).date()) for at in (when.start, when.end)] == [first, last]


@pytest.mark.parametrize("text", ["It may be that we march on", "31 February", "version 2.2023", "we", "at 13-45", ""])
def test_what_is_no_date_is_none(text: str) -> None:
    assert dates_in(text, now=NOW) == []


def test_a_month_without_a_year_is_that_month_of_any() -> None:
    (when,) = dates_in("What happened in May?", now=NOW)

    assert when.holds(to_micros(datetime(2019, 5, 31, 23, tzinfo=UTC)))
    assert not when.holds(to_micros(datetime(2019, 6, 1, tzinfo=UTC)))
    assert when.holds(to_micros(datetime(2019, 6, 10, tzinfo=UTC)), after_us=14 * DAY_US)


def test_a_december_reaches_into_the_next_january() -> None:
    (when,) = dates_in("in December", now=NOW)

    assert when.holds(to_micros(datetime(2024, 1, 5, tzinfo=UTC)), after_us=14 * DAY_US)


def test_dates_come_in_the_order_of_the_text() -> None:
    found = dates_in("was it in July 2023 or in 2021, or yesterday?", now=NOW)

    assert [when.text for when in found] == ["July 2023", "2021", "yesterday"]
