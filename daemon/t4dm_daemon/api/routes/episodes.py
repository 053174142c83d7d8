"""Episodes: what happened."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from t4dm.sdk import view_models as v
from t4dm_daemon.api.codec import StrictRoute
from t4dm_daemon.api.deps import EpisodeId, QuerySpace, ReachedDoors
from t4dm_daemon.api.errors import documented
from t4dm_daemon.api.routes.reading import (
    AsOf,
    IdempotencyKey,
    KnownAt,
    answer_hits,
    answer_one,
    answer_page,
    answer_stored,
)

router = APIRouter(prefix="/api/v1/episodes", tags=["episodes"], route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    response_model=v.Episode,
    responses={200: {"model": v.Episode, "description": "An id was replaced."}, **documented(409, 415, 507)},
    summary="Store an episode",
)
async def add(
    request: Request, body: v.EpisodeIn, at: ReachedDoors, idempotency_key: IdempotencyKey = None
) -> Response:
    """Store something that happened; the same text again is another episode."""

    def work() -> Response:
        stored = at.views.episodes.add(body, idempotency_key=idempotency_key)
        return answer_stored(request, at.views.episodes, stored, body.space)

    return await at.quick.run(work)


@router.get("", response_model=v.EpisodeList, responses=documented(404), summary="List episodes")
async def list_episodes(
    request: Request, asked: Annotated[v.EpisodeListRequest, Query()], at: ReachedDoors
) -> Response:
    """Return one page of episodes, the latest first unless `order_by` says otherwise."""

    def work() -> Response:
        return answer_page(request, at.views.episodes, at.views.episodes.list(asked), asked.space)

    return await at.quick.run(work)


@router.post(
    "/search", response_model=v.EpisodeSearchAnswer, responses=documented(404, 409, 415), summary="Recall episodes"
)
async def search(request: Request, body: v.EpisodeSearchRequest, at: ReachedDoors) -> Response:
    """Return the best episodes: of the last 30 days and with κ up to 0.3, unless the request says otherwise."""
    started = time.perf_counter()

    def work() -> Response:
        hits = at.views.episodes.search(body)
        return answer_hits(request, at.views.episodes, hits, body, name="episode", started=started)

    return await at.quick.run(work)


@router.get("/{episode_id}", response_model=v.Episode, responses=documented(404), summary="Get an episode")
async def get(
    request: Request,
    episode_id: EpisodeId,
    at: ReachedDoors,
    space: QuerySpace = "default",
    as_of: AsOf = None,
    known_at: KnownAt = None,
) -> Response:
    """Return one episode, now or as it was."""

    def work() -> Response:
        item = at.views.episodes.get(episode_id, space=space, as_of=as_of, known_at=known_at)
        return answer_one(request, at.views.episodes, item, space)

    return await at.quick.run(work)


@router.delete("/{episode_id}", status_code=204, responses=documented(404, 507), summary="Delete an episode")
async def delete(episode_id: EpisodeId, at: ReachedDoors, space: QuerySpace = "default") -> Response:
    """Delete an episode. It is gone from every present answer; `known_at` before the deletion still shows it."""
    await at.quick.run(at.views.episodes.delete, episode_id, space=space)
    return Response(status_code=204)
