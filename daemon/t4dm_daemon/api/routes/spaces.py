"""Spaces: collections with their own vector dimension and embedder."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from t4dm.sdk import models as m
from t4dm_daemon.api.codec import StrictRoute, answer
from t4dm_daemon.api.deps import Doors, PathSpace, ReachedDoors
from t4dm_daemon.api.errors import documented

router = APIRouter(prefix="/api/v1/spaces", tags=["spaces"], route_class=StrictRoute)


@router.get("", response_model=m.SpaceList, responses=documented(), summary="List spaces")
async def list_spaces(request: Request, at: ReachedDoors) -> Response:
    """Return every space, by name."""

    def work() -> Response:
        spaces = [at.runtime.space_model(handle) for handle in at.service.spaces.open_all()]
        return answer(request, lambda _: {"results": [space.model_dump() for space in spaces]})

    return await at.quick.run(work)


@router.put("/{space}", response_model=m.Space, responses=documented(409, 415, 507), summary="Create a space")
async def create_space(request: Request, space: PathSpace, body: m.SpaceRequest, at: ReachedDoors) -> Response:
    """Create a space, or return it when it exists with these settings.

    Without a dimension, the first vector fixes it.
    """
    await at.quick.run(at.service.spaces.create, space, embedder=body.embedder, dimension=body.dimension)
    return await _one(request, space, at)


@router.get("/{space}", response_model=m.Space, responses=documented(404), summary="Get one space")
async def get_space(request: Request, space: PathSpace, at: ReachedDoors) -> Response:
    """Return one space and how many memories it holds."""
    return await _one(request, space, at)


async def _one(request: Request, space: str, at: Doors) -> Response:
    def work() -> Response:
        found = at.runtime.space_model(at.service.spaces.open(space))
        return answer(request, lambda _: found.model_dump())

    return await at.quick.run(work)


@router.delete("/{space}", status_code=204, responses=documented(404, 507), summary="Delete a space")
async def delete_space(space: PathSpace, at: ReachedDoors) -> Response:
    """Delete a space and everything in it, for good; its history goes with it. `default` comes back empty."""
    await at.bulk.run(at.service.spaces.delete, space)
    return Response(status_code=204)
