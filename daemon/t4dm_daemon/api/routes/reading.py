"""What the routes of the typed views have in common: parameters of a read, and their answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Protocol

from fastapi import Query, Request
from starlette.responses import Response

from t4dm.sdk import models as m
from t4dm_daemon.api.codec import answer, json_payload
from t4dm_daemon.api.routes.memory import IdempotencyKey
from t4dm_daemon.core.item import Item
from t4dm_daemon.memory.ranking import Hit
from t4dm_daemon.memory.writing import Stored

__all__ = ["AsOf", "IdempotencyKey", "KnownAt", "answer_hits", "answer_one", "answer_page", "answer_stored"]

AsOf = Annotated[m.Time | None, Query(description="Valid time.")]
KnownAt = Annotated[m.Time | None, Query(description="Transaction time.")]


class View(Protocol):
    """Shows memories as the records of a view."""

    def plain(self, item: Item, space: str, *, status: str | None = None) -> Any: ...


def answer_one(request: Request, view: View, item: Item, space: str) -> Response:
    """Return one record."""
    found = view.plain(item, space)
    return answer(request, lambda packed: json_payload(found, packed=packed))


def answer_stored(request: Request, view: View, stored: Stored, space: str) -> Response:
    """Return a record that was stored: 201 when it is new."""
    status = stored.outcome.status
    found = view.plain(stored.item, space, status=status)
    return answer(
        request, lambda packed: json_payload(found, packed=packed), status=201 if status == "created" else 200
    )


def answer_page(request: Request, view: View, page: tuple[Sequence[Item], int, str | None], space: str) -> Response:
    """Return one page of records."""
    items, total, cursor = page
    found = [view.plain(item, space) for item in items]
    return answer(
        request,
        lambda packed: {
            "results": [json_payload(one, packed=packed) for one in found],
            "total": total,
            "cursor": cursor,
        },
    )


def answer_hits(
    request: Request, view: View, hits: Sequence[Hit], asked: m.SearchRequest, *, name: str, started: float
) -> Response:
    """Return records that were found, each under `name`; `started` is when the request came (`perf_counter`)."""
    found = [view.plain(hit.item, asked.space) for hit in hits]
    took_ms = round((time.perf_counter() - started) * 1e3, 3)
    return answer(
        request,
        lambda packed: {
            "results": [
                {name: json_payload(one, packed=packed), **_ranked(hit, asked)}
                for one, hit in zip(found, hits, strict=True)
            ],
            "took_ms": took_ms,
        },
    )


def _ranked(hit: Hit, asked: m.SearchRequest) -> dict[str, Any]:
    """Return a hit's score, and with `explain` what it is made of."""
    facts: dict[str, Any] = {"score": hit.score, "similarity": hit.similarity}
    if "explain" in asked.include:
        facts |= {"explain": dict(hit.contributions), "ranks": dict(hit.ranks)}
    return facts
