"""Procedures: how something is done, and how often it worked."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from t4dm.sdk import view_models as v
from t4dm_daemon.api.codec import StrictRoute
from t4dm_daemon.api.deps import ProcedureId, QuerySpace, ReachedDoors
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

router = APIRouter(prefix="/api/v1/procedures", tags=["procedures"], route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    response_model=v.Procedure,
    responses={200: {"model": v.Procedure, "description": "An id was replaced."}, **documented(409, 415, 507)},
    summary="Store a procedure",
)
async def add(
    request: Request, body: v.ProcedureIn, at: ReachedDoors, idempotency_key: IdempotencyKey = None
) -> Response:
    """Store how something is done. An existing id is replaced, its record of outcomes included."""

    def work() -> Response:
        stored = at.views.procedures.add(body, idempotency_key=idempotency_key)
        return answer_stored(request, at.views.procedures, stored, body.space)

    return await at.quick.run(work)


@router.get("", response_model=v.ProcedureList, responses=documented(404), summary="List procedures")
async def list_procedures(
    request: Request, asked: Annotated[v.ProcedureListRequest, Query()], at: ReachedDoors
) -> Response:
    """Return one page of the procedures that are in use now, or `as_of`; with `show_deprecated` all."""

    def work() -> Response:
        return answer_page(request, at.views.procedures, at.views.procedures.list(asked), asked.space)

    return await at.quick.run(work)


@router.post(
    "/search", response_model=v.ProcedureSearchAnswer, responses=documented(404, 409, 415), summary="Recall procedures"
)
async def search(request: Request, body: v.ProcedureSearchRequest, at: ReachedDoors) -> Response:
    """Return the best procedures for what is to be done, by relevance and by how often they worked."""
    started = time.perf_counter()

    def work() -> Response:
        hits = at.views.procedures.search(body)
        return answer_hits(request, at.views.procedures, hits, body, name="procedure", started=started)

    return await at.quick.run(work)


@router.get("/{procedure_id}", response_model=v.Procedure, responses=documented(404), summary="Get a procedure")
async def get(
    request: Request,
    procedure_id: ProcedureId,
    at: ReachedDoors,
    space: QuerySpace = "default",
    as_of: AsOf = None,
    known_at: KnownAt = None,
) -> Response:
    """Return one procedure, in use or not; with `as_of` only if it is in use then."""

    def work() -> Response:
        item = at.views.procedures.get(procedure_id, space=space, as_of=as_of, known_at=known_at)
        return answer_one(request, at.views.procedures, item, space)

    return await at.quick.run(work)


@router.delete("/{procedure_id}", status_code=204, responses=documented(404, 507), summary="Delete a procedure")
async def delete(procedure_id: ProcedureId, at: ReachedDoors, space: QuerySpace = "default") -> Response:
    """Delete a procedure. It is gone from every present answer; `known_at` before the deletion still shows it."""
    await at.quick.run(at.views.procedures.delete, procedure_id, space=space)
    return Response(status_code=204)


@router.post(
    "/{procedure_id}/outcome",
    response_model=v.Procedure,
    responses=documented(404, 409, 415, 507),
    summary="Tell how an execution ended",
)
async def record_outcome(
    request: Request,
    procedure_id: ProcedureId,
    body: v.OutcomeRequest,
    at: ReachedDoors,
    space: QuerySpace = "default",
) -> Response:
    """Count one execution; none is lost, however many are told at once."""

    def work() -> Response:
        item = at.views.procedures.record_outcome(procedure_id, body, space=space)
        return answer_one(request, at.views.procedures, item, space)

    return await at.quick.run(work)


@router.post(
    "/{procedure_id}/deprecate",
    response_model=v.Procedure,
    responses=documented(404, 409, 415, 507),
    summary="Take a procedure out of use",
)
async def deprecate(
    request: Request,
    procedure_id: ProcedureId,
    body: v.DeprecateRequest,
    at: ReachedDoors,
    space: QuerySpace = "default",
) -> Response:
    """End its valid time, and link what replaces it with SUPERSEDES, in one write."""

    def work() -> Response:
        item = at.views.procedures.deprecate(procedure_id, body, space=space)
        return answer_one(request, at.views.procedures, item, space)

    return await at.quick.run(work)
