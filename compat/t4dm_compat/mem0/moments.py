"""Mem0's dates and times: an expiration date is the last day a memory is shown, a bare date its whole day."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from t4dm.sdk import models as m
from t4dm_compat.mem0.refusals import wrong

DAY: Final = timedelta(days=1)
_INSTANT: Final = timedelta(microseconds=1)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def day(value: object, field: str) -> date:
    """Return the date of a YYYY-MM-DD text."""
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass  # the 31st of February: refused like any other text
    raise wrong(f"{field}: a date is YYYY-MM-DD")


def midnight(of: date) -> datetime:
    return datetime.combine(of, time(), UTC)


def expires_at(value: str, field: str = "expiration_date") -> datetime:
    """Return the moment from which a memory with this expiration date is hidden: the end of that day."""
    last = day(value, field)
    if last == date.max:
        raise wrong(f"{field}: the last year is 9999, and this day has no end in it")
    return midnight(last + DAY)


def expiration_date(moment: datetime | None) -> str | None:
    """Return the last day on which something that expires then is shown."""
    return None if moment is None else (moment - _INSTANT).date().isoformat()


def is_date(value: object) -> bool:
    return isinstance(value, str) and _DATE.fullmatch(value) is not None


def moment(value: object, field: str) -> datetime:
    """Return a time given as seconds since 1970, or as RFC 3339."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError):
            raise wrong(f"{field}: {value} seconds since 1970 is no time between the years 1 and 9999") from None
    try:
        return m.parse_time(value)
    except ValueError as error:
        raise wrong(f"{field}: {error}, or seconds since 1970") from None


def text(of: datetime) -> str:
    """Return a time as Mem0 writes it."""
    return of.astimezone(UTC).isoformat()
