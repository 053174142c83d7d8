"""Memories: store, find, change, forget."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from t4dm.sdk import models as m
from t4dm.sdk import recall_models as r
from t4dm_daemon.api.codec import StrictRoute, answer, memory_payload
from t4dm_daemon.api.deps import MemoryId, QuerySpace, ReachedDoors
from t4dm_daemon.api.errors import documented
from t4dm_daemon.core.clock import to_micros
from t4dm_daemon.core.item import Item
from t4dm_daemon.memory import records
from t4dm_daemon.memory.history import Event
from t4dm_daemon.memory.ranking import Hit
from t4dm_daemon.storage.protocol import View

router = APIRouter(prefix="/api/v1/memory", tags=["memory"], route_class=StrictRoute)

IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="The same key within 24 hours returns the first answer."),
]
_BULK_DELETE = 100


def _memories(items: Sequence[Item], space: str, *, with_vector: bool, packed: bool) -> list[Any]:
    return [memory_payload(item, space, with_vector=with_vector, packed=packed) for item in items]


@router.post(
    "/store",
    status_code=201,
    response_model=m.Memory,
    responses={
        200: {"model": m.Memory, "description": "An id was replaced, or the text was known."},
        **documented(409, 415, 507),
    },
    summary="Store one memory",
)
async def store(
    request: Request, body: m.StoreRequest, at: ReachedDoors, idempotency_key: IdempotencyKey = None
) -> Response:
    """Store one memory; it is on disk when the answer arrives.

    Without an id, the same text of the same owner is not stored twice: the answer's `status` is then
    `duplicate` and its id that of the memory that exists.
    """

    def work() -> Response:
        stored = at.service.store(body, idempotency_key=idempotency_key)
        status = stored.outcome.status
        return answer(
            request,
            lambda packed: memory_payload(stored.item, body.space, packed=packed, status=status),
            status=201 if status == "created" else 200,
        )

    return await at.quick.run(work)


@router.post("/batch", response_model=m.BatchAnswer, responses=documented(409, 415, 507), summary="Store many memories")
async def batch(
    request: Request, body: m.BatchRequest, at: ReachedDoors, idempotency_key: IdempotencyKey = None
) -> Response:
    """Store up to 10 000 memories, all or none; the answer is in the order given."""
    result = await at.bulk.run(at.service.batch, body, idempotency_key=idempotency_key)
    results = [{"id": one.id, "status": one.status, "version": one.version} for one in result.outcomes]
    return answer(request, lambda _: {"results": results, "replayed": result.replayed})


@router.post("/get", response_model=m.MemoryList, responses=documented(404, 415), summary="Get memories by ids")
async def get_many(request: Request, body: m.GetRequest, at: ReachedDoors) -> Response:
    """Return those that exist, in the order given; missing ids are left out."""

    def work() -> Response:
        items = at.service.get_many(body)
        return answer(
            request,
            lambda packed: {"results": _memories(items, body.space, with_vector=body.include_vectors, packed=packed)},
        )

    return await at.quick.run(work)


@router.post(
    "/search", response_model=m.SearchAnswer, responses=documented(404, 409, 415), summary="Find memories by meaning"
)
async def search(request: Request, body: m.SearchRequest, at: ReachedDoors) -> Response:
    """Return the best hits, best first; ties by id. An empty answer means nothing relevant."""
    started = time.perf_counter()

    def work() -> Response:
        hits = at.service.search(body)
        took_ms = round((time.perf_counter() - started) * 1e3, 3)
        return answer(
            request,
            lambda packed: {"results": [hit_payload(hit, body, packed=packed) for hit in hits], "took_ms": took_ms},
        )

    return await at.quick.run(work)


def hit_payload(hit: Hit, asked: m.SearchRequest, *, packed: bool) -> dict[str, Any]:
    """Return a hit ready for `answer`, with what the search asked to include."""
    shown = set(asked.include)
    memory = memory_payload(
        hit.item, asked.space, with_vector="vector" in shown, with_value="value" in shown, packed=packed
    )
    entry = {"memory": memory, "score": hit.score, "similarity": hit.similarity}
    if "explain" in shown:
        entry |= {"explain": dict(hit.contributions), "ranks": dict(hit.ranks)}
    return entry


@router.post("/list", response_model=m.ListAnswer, responses=documented(404, 415), summary="List memories")
async def list_memories(request: Request, body: m.ListRequest, at: ReachedDoors) -> Response:
    """Return one page of what matches, the total, and the cursor of the next page."""

    def work() -> Response:
        items, total, cursor = at.service.list(body)
        return answer(
            request,
            lambda packed: {
                "results": _memories(items, body.space, with_vector=body.include_vectors, packed=packed),
                "total": total,
                "cursor": cursor,
            },
        )

    return await at.quick.run(work)


@router.post(
    "/delete", response_model=m.DeleteAnswer, responses=documented(404, 415, 507), summary="Delete what matches"
)
async def delete_many(request: Request, body: m.DeleteRequest, at: ReachedDoors) -> Response:
    """Delete by ids, filter, owner, namespace or age. An empty selector is refused unless `all` is true."""
    lane = at.quick if body.ids is not None and len(body.ids) <= _BULK_DELETE else at.bulk
    removed = await lane.run(at.service.delete_many, body)
    return answer(request, lambda _: {"deleted": removed.deleted, "dry_run": body.dry_run, "purged": removed.purged})


@router.post(
    "/touch",
    response_model=m.TouchAnswer,
    responses=documented(404, 415, 507),
    summary="Record that memories were used",
)
async def touch(request: Request, body: m.TouchRequest, at: ReachedDoors) -> Response:
    """Count an access of each id; ids that do not exist are left out of the count."""
    touched = await at.quick.run(at.service.touch, body)
    return answer(request, lambda _: {"touched": touched})


@router.post(
    "/pin", response_model=r.PinAnswer, responses=documented(404, 415, 507), summary="Pin memories, or unpin them"
)
async def pin(request: Request, body: r.PinRequest, at: ReachedDoors) -> Response:
    """Pinned memories are never forgotten by sleep; ids that do not exist are left out of the count."""
    pinned = await at.quick.run(at.service.pin, body)
    return answer(request, lambda _: {"pinned": pinned})


@router.post(
    "/feedback",
    response_model=r.FeedbackAnswer,
    responses=documented(404, 415, 507),
    summary="Say how useful memories were",
)
async def feedback(request: Request, body: r.FeedbackRequest, at: ReachedDoors) -> Response:
    """Keep how useful memories were as answers, for learning to draw on."""
    recorded = await at.quick.run(at.service.feedback, body)
    return answer(request, lambda _: {"recorded": recorded})


@router.get("/{memory_id}", response_model=m.Memory, responses=documented(404), summary="Get one memory")
async def get(
    request: Request,
    memory_id: MemoryId,
    at: ReachedDoors,
    space: QuerySpace = "default",
    as_of: Annotated[m.Time | None, Query(description="Valid time.")] = None,
    known_at: Annotated[m.Time | None, Query(description="Transaction time.")] = None,
    include_vector: bool = False,
) -> Response:
    """Return one memory, now or as it was."""
    view = View(as_of=_micros(as_of), known_at=_micros(known_at))
    item = await at.quick.run(at.service.get, memory_id, space=space, view=view, with_vector=include_vector)
    return answer(request, lambda packed: memory_payload(item, space, with_vector=include_vector, packed=packed))


@router.patch(
    "/{memory_id}", response_model=m.Memory, responses=documented(404, 409, 415, 507), summary="Change one memory"
)
async def update(
    request: Request, memory_id: MemoryId, body: m.UpdateRequest, at: ReachedDoors, space: QuerySpace = "default"
) -> Response:
    """Change the fields that are given.

    Anything but learning state makes a new version; changed text is embedded again.
    """
    item = await at.quick.run(at.service.update, memory_id, body, space=space)
    return answer(request, lambda packed: memory_payload(item, space, packed=packed))


@router.delete("/{memory_id}", status_code=204, responses=documented(404, 507), summary="Delete one memory")
async def delete(
    memory_id: MemoryId,
    at: ReachedDoors,
    space: QuerySpace = "default",
    purge: Annotated[bool, Query(description="Also forget its history, even if it was deleted before.")] = False,
) -> Response:
    """Delete one memory.

    It is gone from every present answer; `known_at` before the deletion still shows it, unless it is purged.
    """
    await at.quick.run(at.service.delete, memory_id, space=space, purge=purge)
    return Response(status_code=204)


@router.get(
    "/{memory_id}/history", response_model=m.HistoryAnswer, responses=documented(404), summary="The life of one memory"
)
async def history(request: Request, memory_id: MemoryId, at: ReachedDoors, space: QuerySpace = "default") -> Response:
    """Return every version, oldest first, with what came before and after."""

    def work() -> Response:
        found = at.service.history(memory_id, space=space)
        return answer(
            request,
            lambda packed: {"id": memory_id, "results": [_event(event, space, packed=packed) for event in found]},
        )

    return await at.quick.run(work)


def _event(event: Event, space: str, *, packed: bool) -> dict[str, Any]:
    return {
        "event": event.event,
        "version": event.version,
        "recorded_at": records.time_text(event.recorded_at),
        "old": None if event.old is None else memory_payload(event.old, space, packed=packed),
        "new": None if event.new is None else memory_payload(event.new, space, packed=packed),
    }


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)
