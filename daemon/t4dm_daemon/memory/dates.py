"""Date phrases in a question, and the times they speak of.

English months, weekdays and relative phrases, ISO dates, years. A small grammar of our own: the libraries that were
measured take 3 to 27 ms a question, and read "we" as Wednesday (docs/log.md).

    on May 3, 2023 · 3rd of May 2023 · 2023-05-03 · in May 2023 · in May (of any year) · in 2023
    today · yesterday · last week, month, year, Friday · two weeks ago
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from t4dm_daemon.core.clock import from_micros, to_micros

_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NUMBERS: Final = {
    "a": 1, "an": 1, "one": 1, "two": 2, "couple": 2, "three": 3, "few": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10,
}  # fmt: skip

_MONTH: Final = "(?P<month>" + "|".join(f"{name[:3]}(?:{name[3:]})?" for name in _MONTHS) + r"|sept)\.?"
_YEAR: Final = r"(?P<year>(?:19|20)\d\d)"
_DAY: Final = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?"
_UNIT: Final = "(?P<unit>day|week|month|year)"
_PATTERNS: Final = tuple(
    re.compile(rf"\b{pattern}\b", re.IGNORECASE)
    for pattern in (
        r"(?P<year>(?:19|20)\d\d)-(?P<number>[01]\d)-(?P<day>[0-3]\d)",
        rf"{_DAY}\s+(?:of\s+)?{_MONTH}(?:,?\s+{_YEAR})?",
        rf"{_MONTH}\s+{_DAY}(?!\d)(?:,?\s+{_YEAR})?",
        rf"{_MONTH},?\s+(?:of\s+)?{_YEAR}",
        rf"(?:(?:in|during|since|around|last|of|by|until|before|after)\s+|(?:early|mid|late)[\s-]){_MONTH}",
        rf"(?<![.\-/]){_YEAR}(?![.\-/]\d)",
        rf"(?P<count>\d{{1,5}}|{'|'.join(_NUMBERS)})(?:\s+of)?\s+{_UNIT}s?\s+ago",
        rf"(?P<which>last|this)\s+(?:{_UNIT}|(?P<weekday>{'|'.join(_DAYS)}))",
        r"(?P<relative>today|yesterday|tonight)",
    )
)


@dataclass(frozen=True, slots=True)
class When:
    """The time that a phrase speaks of: an interval of microseconds, or a month or day of any year."""

    text: str
    start: int | None = None
    end: int | None = None
    month: int | None = None
    day: int | None = None

    def holds(self, event_time: int, *, after_us: int = 0) -> bool:
        """Return whether a time lies in it, or at most so long after it."""
        if self.start is not None and self.end is not None:
            return self.start <= event_time < self.end + after_us
        assert self.month is not None
        year = from_micros(event_time).year
        spans = (_span(one, self.month, self.day) for one in (year, year - 1))
        return any(span is not None and span[0] <= event_time < span[1] + after_us for span in spans)


def dates_in(text: str, *, now: int) -> list[When]:
    """Return the dates that a text names, in order.

    Args:
        text: A question.
        now: What "yesterday" counts from, in microseconds.
    """
    found: list[tuple[int, When]] = []
    taken: list[range] = []
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            span = range(*match.span())
            if any(span.start < other.stop and other.start < span.stop for other in taken):
                continue
            try:
                when = _read(match, now)
            except (OverflowError, ValueError):  # before the year 1, or after 9999
                continue
            if when is not None:
                taken.append(span)
                found.append((span.start, when))
    return [when for _, when in sorted(found, key=lambda one: one[0])]


def _read(match: re.Match[str], now: int) -> When | None:
    parts = {name: value.lower() for name, value in match.groupdict().items() if value}
    if "month" in parts or "number" in parts:
        month = int(parts["number"]) if "number" in parts else _month(parts["month"])
        day = int(parts["day"]) if "day" in parts else None
        if "year" not in parts:
            return When(match[0], month=month, day=day) if _span(2024, month, day) is not None else None
        return _interval(match[0], _span(int(parts["year"]), month, day))
    if "year" in parts:
        return _interval(match[0], _span(int(parts["year"]), None, None))
    today = from_micros(now).replace(hour=0, minute=0, second=0, microsecond=0)
    if "relative" in parts:
        first = today - timedelta(days=parts["relative"] == "yesterday")
        return _interval(match[0], (to_micros(first), to_micros(first + timedelta(days=1))))
    if "weekday" in parts:
        back = (today.weekday() - _DAYS.index(parts["weekday"]) - 1) % 7 + 1
        first = today - timedelta(days=back)
        return _interval(match[0], (to_micros(first), to_micros(first + timedelta(days=1))))
    count = parts.get("count", "0" if parts.get("which") == "this" else "1")
    return _interval(match[0], _ago(today, int(count) if count.isdecimal() else _NUMBERS[count], parts["unit"]))


def _month(name: str) -> int:
    return next(at for at, month in enumerate(_MONTHS, 1) if month.startswith(name[:3]))


def _ago(today: datetime, count: int, unit: str) -> tuple[int, int] | None:
    """Return the day, calendar week, month or year that lies so many of them back."""
    if count > 10_000:
        return None
    if unit == "day":
        first = today - timedelta(days=count)
        return to_micros(first), to_micros(first + timedelta(days=1))
    if unit == "week":
        first = today - timedelta(days=today.weekday() + 7 * count)
        return to_micros(first), to_micros(first + timedelta(days=7))
    if unit == "month":
        months = today.year * 12 + today.month - 1 - count
        return _span(months // 12, months % 12 + 1, None)
    return _span(today.year - count, None, None)


def _span(year: int, month: int | None, day: int | None) -> tuple[int, int] | None:
    """Return the beginning and the end of a year, a month or a day; None for one that does not exist."""
    try:
        first = datetime(year, month or 1, day or 1, tzinfo=UTC)
        if day is not None:
            last = first + timedelta(days=1)
        elif month is not None:
            last = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
        else:
            last = datetime(year + 1, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return to_micros(first), to_micros(last)


def _interval(text: str, span: tuple[int, int] | None) -> When | None:
    return None if span is None else When(text, start=span[0], end=span[1])
