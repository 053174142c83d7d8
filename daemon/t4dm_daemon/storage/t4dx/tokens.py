"""Idempotency tokens: what inserts were answered, kept for a day.

Readers may ask without a lock; who changes anything holds the engine's apply lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from t4dm_daemon.core.errors import IdempotencyMismatchError
from t4dm_daemon.storage.protocol import InsertResult, Outcome, Token

TOKEN_LIFE_US: Final = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class _UsedToken:
    fingerprint: bytes
    time: int
    outcomes: tuple[Outcome, ...]


class Tokens:
    """The tokens that were used, by their keys.

    Args:
        rows: As `dump` returned them.
    """

    def __init__(self, rows: Sequence[Any]) -> None:
        self._used = {
            key: _UsedToken(fingerprint, time, tuple(Outcome(*one) for one in outcomes))
            for key, fingerprint, time, outcomes in rows
        }
        self.is_dirty = False
        """Tokens were used since the last dump."""

    def answered(self, token: Token, now: int) -> InsertResult | None:
        """Return what the insert with this token was answered, None when there was none, or none in the last day.

        Raises:
            IdempotencyMismatchError: The token was used with another fingerprint.
        """
        used = self._used.get(token.key)
        if used is None or now - used.time > TOKEN_LIFE_US:
            return None
        if used.fingerprint != token.fingerprint:
            raise IdempotencyMismatchError("this idempotency key was used with another request; take a new one")
        return InsertResult(used.outcomes, used.time, replayed=True)

    def use(self, token: Token, time: int, outcomes: Sequence[Outcome]) -> None:
        """Keep what an insert is answered."""
        self._used[token.key] = _UsedToken(token.fingerprint, time, tuple(outcomes))
        self.is_dirty = True

    def dump(self, now: int) -> list[Any]:
        """Return the tokens as a checkpoint holds them, and forget those that are too old to be asked for."""
        self._used = {key: used for key, used in self._used.items() if used.time >= now - TOKEN_LIFE_US}
        self.is_dirty = False
        return [
            (key, used.fingerprint, used.time, [(one.id, one.status, one.version) for one in used.outcomes])
            for key, used in self._used.items()
        ]
