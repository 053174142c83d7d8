"""Entities: what is known of somebody or something."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from t4dm.sdk import graph_models as g
from t4dm.sdk import view_models as v
from t4dm_daemon.api.codec import StrictRoute, answer, json_payload
from t4dm_daemon.api.deps import Doors, EntityId, QuerySpace, ReachedDoors
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
from t4dm_daemon.memory.graph import plain_edge
from t4dm_daemon.memory.views.entities import Neighbour

router = APIRouter(prefix="/api/v1/entities", tags=["entities"], route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    response_model=v.Entity,
    responses={200: {"model": v.Entity, "description": "An id was replaced."}, **documented(409, 415, 507)},
    summary="Store an entity",
)
async def add(request: Request, body: v.EntityIn, at: ReachedDoors, idempotency_key: IdempotencyKey = None) -> Response:
    """Store what is known of somebody or something; `name: summary` is what is searched."""

    def work() -> Response:
        stored = at.views.entities.add(body, idempotency_key=idempotency_key)
        return answer_stored(request, at.views.entities, stored, body.space)

    return await at.quick.run(work)


@router.get("", response_model=v.EntityList, responses=documented(404), summary="List entities")
async def list_entities(request: Request, asked: Annotated[v.EntityListRequest, Query()], at: ReachedDoors) -> Response:
    """Return one page of the entities that are true now, or `as_of`; with `show_superseded` all."""

    def work() -> Response:
        return answer_page(request, at.views.entities, at.views.entities.list(asked), asked.space)

    return await at.quick.run(work)


@router.post(
    "/search", response_model=v.EntitySearchAnswer, responses=documented(404, 409, 415), summary="Recall entities"
)
async def search(request: Request, body: v.EntitySearchRequest, at: ReachedDoors) -> Response:
    """Return the best entities: with κ from 0.7 on and true now, unless the request says otherwise."""
    started = time.perf_counter()

    def work() -> Response:
        hits = at.views.entities.search(body)
        return answer_hits(request, at.views.entities, hits, body, name="entity", started=started)

    return await at.quick.run(work)


@router.get("/{entity_id}", response_model=v.Entity, responses=documented(404), summary="Get an entity")
async def get(
    request: Request,
    entity_id: EntityId,
    at: ReachedDoors,
    space: QuerySpace = "default",
    as_of: AsOf = None,
    known_at: KnownAt = None,
) -> Response:
    """Return one entity, superseded or not; with `as_of` only if it is true then."""

    def work() -> Response:
        item = at.views.entities.get(entity_id, space=space, as_of=as_of, known_at=known_at)
        return answer_one(request, at.views.entities, item, space)

    return await at.quick.run(work)


@router.delete("/{entity_id}", status_code=204, responses=documented(404, 507), summary="Delete an entity")
async def delete(entity_id: EntityId, at: ReachedDoors, space: QuerySpace = "default") -> Response:
    """Delete an entity. It is gone from every present answer; `known_at` before the deletion still shows it."""
    await at.quick.run(at.views.entities.delete, entity_id, space=space)
    return Response(status_code=204)


@router.post(
    "/{entity_id}/supersede",
    status_code=201,
    response_model=v.Entity,
    responses=documented(404, 409, 415, 507),
    summary="Say what is true of an entity from now on",
)
async def supersede(
    request: Request, entity_id: EntityId, body: v.SupersedeRequest, at: ReachedDoors, space: QuerySpace = "default"
) -> Response:
    """End the old record in valid time, store the new one, link it with SUPERSEDES: all in one write."""

    def work() -> Response:
        item = at.views.entities.supersede(entity_id, body, space=space)
        found = at.views.entities.plain(item, space, status="created")
        return answer(request, lambda packed: json_payload(found, packed=packed), status=201)

    return await at.quick.run(work)


@router.post(
    "/{entity_id}/relations",
    response_model=g.Edge,
    responses=documented(404, 409, 415, 507),
    summary="Relate an entity to another",
)
async def relate(
    request: Request, entity_id: EntityId, body: v.RelationIn, at: ReachedDoors, space: QuerySpace = "default"
) -> Response:
    """Link one entity to another; a link that exists takes the new weight."""
    edge = await at.quick.run(at.views.entities.relate, entity_id, body, space=space)
    return answer(request, lambda _: plain_edge(edge))


@router.get(
    "/{entity_id}/relations", response_model=v.RelationList, responses=documented(404), summary="Relations of an entity"
)
async def relations(
    request: Request, entity_id: EntityId, asked: Annotated[v.RelationListRequest, Query()], at: ReachedDoors
) -> Response:
    """Return the links of an entity with the entities at their other ends, the heaviest first."""

    def work() -> Response:
        return _neighbours(request, at, at.views.entities.relations(entity_id, asked), asked.space)

    return await at.quick.run(work)


@router.get(
    "/{entity_id}/related", response_model=v.RelatedAnswer, responses=documented(404), summary="Entities within reach"
)
async def related(
    request: Request, entity_id: EntityId, asked: Annotated[v.RelatedRequest, Query()], at: ReachedDoors
) -> Response:
    """Return the entities within `depth` links, nearest first; the way may lead over other memories."""

    def work() -> Response:
        found = at.views.entities.related(entity_id, asked)
        return _neighbours(request, at, found, asked.space, with_depth=True)

    return await at.quick.run(work)


def _neighbours(
    request: Request, at: Doors, found: Sequence[Neighbour], space: str, *, with_depth: bool = False
) -> Response:
    entities = [at.views.entities.plain(one.item, space) for one in found]

    def build(packed: bool) -> dict[str, Any]:
        results = []
        for one, entity in zip(found, entities, strict=True):
            entry = {"edge": plain_edge(one.edge), "entity": json_payload(entity, packed=packed)}
            results.append(entry | {"depth": one.depth} if with_depth else entry)
        return {"results": results}

    return answer(request, build)
