"""Links between memories, walks along them, and where a memory came from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm_daemon.api.codec import StrictRoute, answer, memory_payload
from t4dm_daemon.api.deps import Doors, MemoryId, QuerySpace, ReachedDoors
from t4dm_daemon.api.errors import documented
from t4dm_daemon.memory.graph import Step, plain_edge

router = APIRouter(prefix="/api/v1", tags=["graph"], route_class=StrictRoute)

KnownAt = Annotated[m.Time | None, Query(description="Transaction time.")]


@router.post("/edges", response_model=g.LinkAnswer, responses=documented(404, 415, 507), summary="Link memories")
async def link(request: Request, body: g.LinkRequest, at: ReachedDoors) -> Response:
    """Link memories, all or none; both ends must exist. A link that exists takes the new weight."""
    linked = await at.quick.run(at.graph.link, body)
    return answer(request, lambda _: {"linked": linked})


@router.patch("/edges", response_model=g.ReweighAnswer, responses=documented(404, 415, 507), summary="Change weights")
async def reweigh(request: Request, body: g.ReweighRequest, at: ReachedDoors) -> Response:
    """Set weights or add to them, in place; the answer is in the order given, null where there is no such link."""
    weights = await at.quick.run(at.graph.reweigh, body)
    return answer(request, lambda _: {"weights": weights})


@router.delete("/edges", response_model=g.UnlinkAnswer, responses=documented(404, 415, 507), summary="Unlink memories")
async def unlink(request: Request, body: g.UnlinkRequest, at: ReachedDoors) -> Response:
    """End links and count them; `known_at` before still shows them."""
    return await _unlink(request, body, at)


@router.post(
    "/edges/delete",
    response_model=g.UnlinkAnswer,
    responses=documented(404, 415, 507),
    summary="Unlink memories (for clients that cannot send a body with DELETE)",
)
async def unlink_by_post(request: Request, body: g.UnlinkRequest, at: ReachedDoors) -> Response:
    """End links and count them; `known_at` before still shows them."""
    return await _unlink(request, body, at)


async def _unlink(request: Request, body: g.UnlinkRequest, at: Doors) -> Response:
    unlinked = await at.quick.run(at.graph.unlink, body)
    return answer(request, lambda _: {"unlinked": unlinked})


@router.post(
    "/edges/scale", response_model=g.ScaleAnswer, responses=documented(404, 415, 507), summary="Scale many weights"
)
async def scale(request: Request, body: g.ScaleRequest, at: ReachedDoors) -> Response:
    """Multiply and add to the weights of all links, or of some types or sources, in one step."""
    scaled = await at.bulk.run(at.graph.scale, body)
    return answer(request, lambda _: {"scaled": scaled})


@router.get(
    "/memory/{memory_id}/edges", response_model=g.EdgeList, responses=documented(404), summary="The links at one memory"
)
async def links(
    request: Request,
    memory_id: MemoryId,
    at: ReachedDoors,
    direction: g.Direction = "both",
    space: QuerySpace = "default",
    known_at: KnownAt = None,
) -> Response:
    """Return the links that begin or end at a memory, by ends and type."""
    found = await at.quick.run(at.graph.links, memory_id, direction=direction, space=space, known_at=known_at)
    return answer(request, lambda _: {"results": [plain_edge(edge) for edge in found]})


@router.post(
    "/graph/traverse", response_model=g.TraverseAnswer, responses=documented(404, 415), summary="Walk along links"
)
async def traverse(request: Request, body: g.TraverseRequest, at: ReachedDoors) -> Response:
    """Return the memories within `depth` links of the start, nearest first, then by weight (falling) and id."""
    started = time.perf_counter()

    def work() -> Response:
        return _walked(request, at.graph.traverse(body), body.space, started)

    return await at.quick.run(work)


@router.post(
    "/graph/path", response_model=g.PathAnswer, responses=documented(404, 415), summary="A shortest path between two"
)
async def path(request: Request, body: g.PathRequest, at: ReachedDoors) -> Response:
    """Return the links of a shortest path, in order; null when there is none."""
    found = await at.quick.run(at.graph.path, body)
    return answer(request, lambda _: {"edges": None if found is None else [plain_edge(edge) for edge in found]})


@router.get(
    "/memory/{memory_id}/provenance",
    response_model=g.TraverseAnswer,
    responses=documented(404),
    summary="Where a memory came from, or what was made of it",
)
async def provenance(
    request: Request,
    memory_id: MemoryId,
    at: ReachedDoors,
    direction: Annotated[
        g.Lineage, Query(description="backward: where it came from; forward: what was made of it.")
    ] = "backward",
    depth: Annotated[int, Query(ge=1, le=g.MAX_PATH)] = 6,
    limit: Annotated[int, Query(ge=1, le=g.MAX_NODES)] = 100,
    known_at: KnownAt = None,
    include_memories: bool = False,
    space: QuerySpace = "default",
) -> Response:
    """Follow DERIVED_FROM, MERGED_FROM, SUPERSEDES and CONSOLIDATED_INTO, each in the direction that it has."""
    started = time.perf_counter()

    def work() -> Response:
        steps = at.graph.provenance(
            memory_id,
            direction=direction,
            depth=depth,
            limit=limit,
            known_at=known_at,
            include_memories=include_memories,
            space=space,
        )
        return _walked(request, steps, space, started)

    return await at.quick.run(work)


def _walked(request: Request, steps: Sequence[Step], space: str, started: float) -> Response:
    took_ms = round((time.perf_counter() - started) * 1e3, 3)
    return answer(
        request,
        lambda packed: {"nodes": [_node(step, space, packed=packed) for step in steps], "took_ms": took_ms},
    )


def _node(step: Step, space: str, *, packed: bool) -> dict[str, Any]:
    node: dict[str, Any] = {
        "id": step.reached.id,
        "depth": step.reached.depth,
        "edge": plain_edge(step.reached.edge),
    }
    if step.item is not None:
        node["memory"] = memory_payload(step.item, space, packed=packed)
    return node
