"""What there is in a space: namespaces, categories and owners."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from t4dm.sdk import namespace_models as n
from t4dm_daemon.api.codec import StrictRoute, answer
from t4dm_daemon.api.deps import ReachedDoors
from t4dm_daemon.api.errors import documented

router = APIRouter(prefix="/api/v1", tags=["namespaces"], route_class=StrictRoute)


@router.get("/namespaces", response_model=n.NamespaceList, responses=documented(404), summary="List namespaces")
async def namespaces(request: Request, asked: Annotated[n.NamespacesRequest, Query()], at: ReachedDoors) -> Response:
    """Return the namespaces that hold memories, in the order of their labels, with what they hold."""
    found = await at.quick.run(at.namespaces.namespaces, asked)
    return answer(request, lambda _: found.model_dump(mode="json"))


@router.get("/owners", response_model=n.OwnerList, responses=documented(404), summary="List owners")
async def owners(request: Request, asked: Annotated[n.OwnersRequest, Query()], at: ReachedDoors) -> Response:
    """Return the users, agents, apps, runs and sessions that have memories, and how many."""
    found = await at.quick.run(at.namespaces.owners, asked)
    return answer(request, lambda _: found.model_dump(mode="json"))


@router.get("/categories", response_model=n.CategoryCounts, responses=documented(404), summary="Count categories")
async def categories(request: Request, asked: Annotated[n.CategoriesRequest, Query()], at: ReachedDoors) -> Response:
    """Return how many memories have each category, most first."""
    counted = await at.quick.run(at.namespaces.categories, asked)
    return answer(request, lambda _: counted.model_dump())
