"""What the routes of the typed views have in common: parameters of a read, and why a hit is where it is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

from t4dm.sdk import models as m
from t4dm_daemon.api.routes.memory import IdempotencyKey
from t4dm_daemon.memory.ranking import Hit

__all__ = ["AsOf", "IdempotencyKey", "KnownAt", "ranked"]

AsOf = Annotated[m.Time | None, Query(description="Valid time.")]
KnownAt = Annotated[m.Time | None, Query(description="Transaction time.")]


def ranked(hit: Hit, asked: m.SearchRequest) -> dict[str, Any]:
    """Return a hit's score, and with `explain` what it is made of."""
    facts: dict[str, Any] = {"score": hit.score, "similarity": hit.similarity}
    if "explain" in asked.include:
        facts |= {"explain": dict(hit.contributions), "ranks": dict(hit.ranks)}
    return facts
