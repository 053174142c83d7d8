"""How long to wait for a daemon that is starting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from t4dm.sdk import models as m
from t4dm.sdk.errors import ServerError, T4DMError, UnavailableError

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 0.5
_SHORTEST_TRY_S: Final = 0.1


class Waiting:
    """Decide after each look at `/readyz` whether to look again."""

    def __init__(self, url: str, timeout_s: float, clock: Callable[[], float]) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._clock = clock
        self._deadline_s = clock() + timeout_s
        self._next_pause_s = _FIRST_PAUSE_S

    def try_s(self) -> float:
        """Return how long the next look may take: the time left, and a moment for a last look when it is over."""
        return round(max(self._deadline_s - self._clock(), _SHORTEST_TRY_S), 3)

    def pause_s(self, outcome: m.Readiness | T4DMError) -> float | None:
        """Return how long to wait before the next look, None if this was the last."""
        if isinstance(outcome, m.Readiness) and (outcome.ready or outcome.phase == "failed"):
            return None
        if isinstance(outcome, T4DMError) and outcome.code == "client_closed":
            return None
        left_s = self._deadline_s - self._clock()
        if left_s <= 0:
            return None
        pause_s = min(self._next_pause_s, left_s)
        self._next_pause_s = min(self._next_pause_s * 2, _LONGEST_PAUSE_S)
        return pause_s

    def result(self, outcome: m.Readiness | T4DMError) -> m.Readiness:
        """Return the last look if it was good, or raise."""
        if isinstance(outcome, T4DMError):
            raise outcome
        if outcome.ready:
            return outcome
        reason = f": {outcome.reason}" if outcome.reason else ""
        details = {"phase": outcome.phase, "reason": outcome.reason}
        if outcome.phase == "failed":
            raise ServerError(f"T4DM at {self._url} failed to start{reason}", code="failed", details=details)
        raise UnavailableError(
            f"T4DM at {self._url} is still {outcome.phase} after {self._timeout_s:g} s{reason}",
            code="not_ready",
            details=details,
        )
