"""Mem0's dates and times: an expiration date is the last day a memory is shown, a bare date its whole day."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from t4dm.sdk import models as m
from t4dm_compat.mem0.refusals import wrong

_DAY: Final = timedelta(days=1)
_INSTANT: Final = timedelta(microseconds=1)
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
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


def end(of: date) -> datetime:
    """Return the moment after a day; of the last day there is, its last moment."""
    return midnight(of + _DAY) if of < date.max else datetime.max.replace(tzinfo=UTC)


def expires_at(value: str, field: str = "expiration_date") -> datetime:
    """Return the moment from which a memory with this expiration date is hidden: the end of that day."""
    return end(day(value, field))


def expiration_date(moment: datetime | None) -> str | None:
    """Return the last day on which something that expires then is shown."""
    if moment is None:
        return None
    return (moment - _INSTANT if moment > _FIRST else moment).date().isoformat()


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
