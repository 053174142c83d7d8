"""Time as the daemon keeps it: whole microseconds since 1970-01-01 UTC, in an int64.

Both time axes are half-open intervals `[from, to)`. `OPEN` stands for "no end", `UNBOUNDED` for "no
beginning"; both survive comparison with any real time, so masks need no special case.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

OPEN: Final = 2**63 - 1
UNBOUNDED: Final = -(2**63)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Return microseconds since the epoch; a moment without a zone is taken as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the UTC moment of `micros`, which must be a real time (neither OPEN nor UNBOUNDED)."""
    return _EPOCH + timedelta(microseconds=micros)


class RecordClock:
    """Hand out transaction times that never repeat and never run backwards.

    A wall clock may step back (NTP, suspend). Transaction time may not: it orders versions. So each
    time is `max(now, last + 1 µs)`, and recovery calls `advance` with the newest time on disk.
    Thread-safe.
    """

    def __init__(self, wall: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._wall = wall
        self._last = UNBOUNDED
        self._lock = threading.Lock()

    def now(self) -> int:
        """Return the wall clock, but never earlier than the last time handed out."""
        return max(self._wall(), self._last)

    def tick(self) -> int:
        """Return a time later than every time handed out before."""
        with self._lock:
            self._last = max(self._wall(), self._last + 1)
            return self._last

    def advance(self, seen: int) -> None:
        """Make every later tick greater than `seen`."""
        with self._lock:
            self._last = max(self._last, seen)
