"""Times as other products write them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final

_MILLISECONDS_FROM: Final = 1e11
"""A number of seconds this large would be in the year 5138; as milliseconds it is 1973."""


def moment(value: object) -> datetime | None:
    """Return a time from ISO 8601 text, a date, or seconds (or milliseconds) since 1970; None for nothing.

    Without a zone it is UTC. Raises ValueError for what is no time.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        raise ValueError(f"{value} is no time")
    if isinstance(value, int | float):
        seconds = value / 1000 if abs(value) >= _MILLISECONDS_FROM else value
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, OSError, ValueError):
            raise ValueError(f"{value} is no time") from None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(f"{value!r} is no time") from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise ValueError(f"{value!r} is no time")
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{value} lies outside the years 1 to 9999") from None


def times(given: object, **names: str) -> dict[str, datetime]:
    """Return the times of an object that are given: `times(entry, event_time="create_time")`. Raises ValueError."""
    if not isinstance(given, dict):
        return {}
    found = {name: moment(given.get(theirs)) for name, theirs in names.items()}
    return {name: value for name, value in found.items() if value is not None}
