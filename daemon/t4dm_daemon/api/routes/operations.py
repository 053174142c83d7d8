"""Health, version, counts, and everything out."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from t4dm.sdk import models as m
from t4dm_daemon.api.codec import StrictRoute, answer, json_line, memory_payload
from t4dm_daemon.api.deps import Doors, ReachedDoors
from t4dm_daemon.api.errors import documented
from t4dm_daemon.api.routes.sessions import message_line
from t4dm_daemon.core.errors import BusyError, StorageClosedError
from t4dm_daemon.core.item import Edge
from t4dm_daemon.memory.graph import plain_edge

logger = logging.getLogger(__name__)
router = APIRouter(tags=["operations"], route_class=StrictRoute)
_LINES_PER_CHUNK = 200


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", response_model=m.Health, responses=documented(), summary="Is the process up?")
async def healthz(request: Request, at: ReachedDoors) -> Response:
    """Answer at once, whatever else is going on."""
    return answer(request, lambda _: at.runtime.health().model_dump())


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    response_model=m.Readiness,
    responses={
        **documented(),
        503: {"model": m.Readiness, "description": "Not recovered, not warmed up, or stopping."},
    },
    summary="Is it serving?",
)
async def readyz(request: Request, at: ReachedDoors) -> Response:
    """Answer 200 when the store is recovered and the models are warm, 503 with the phase until then."""
    state = at.runtime.readiness()
    return answer(request, lambda _: state.model_dump(), status=200 if state.ready else 503)


@router.get("/version", response_model=m.VersionInfo, responses=documented(), summary="Which version is this?")
async def version(request: Request, at: ReachedDoors) -> Response:
    """Return the versions of the daemon, of its API and of its data format."""
    return answer(request, lambda _: at.runtime.version().model_dump())


@router.get(
    "/api/v1/health", response_model=m.HealthReport, responses=documented(), summary="Everything a client asks first"
)
async def health(request: Request, at: ReachedDoors) -> Response:
    """Return state, versions, identity, embedder and search signals."""
    return answer(request, lambda _: at.runtime.report().model_dump())


@router.get("/api/v1/stats", response_model=m.Stats, responses=documented(), summary="Counts")
async def stats(request: Request, at: ReachedDoors) -> Response:
    """Return counts by space, kind and κ band, and the sizes of log, files and memory."""
    counted = await at.quick.run(at.runtime.stats)
    return answer(request, lambda _: counted.model_dump())


@router.get(
    "/api/v1/export",
    response_class=StreamingResponse,
    responses={
        **documented(404),
        200: {
            "description": (
                "A line for each space, each of its memories and each of their links, then one for each message; last, "
                '`{"end": true, "count": memories, "edges": links, "messages": messages}`.'
            ),
            "content": {"application/x-ndjson": {}},
        },
    },
    summary="Everything out",
)
async def export(
    at: ReachedDoors,
    space: Annotated[m.SpaceName | None, Query(description="Only this space; all when absent.")] = None,
    include_vectors: bool = True,
) -> Response:
    """Stream every present memory, link and message as JSON lines, as of one moment.

    A stream without its last line was cut short.
    """
    if space is not None and not await at.quick.run(at.sessions.holds, space):
        await at.quick.run(at.service.spaces.open, space)
    lines = _lines(at, space, include_vectors)
    return StreamingResponse(_chunks(at, lines), media_type="application/x-ndjson")


def _lines(at: Doors, space: str | None, include_vectors: bool) -> Iterator[bytes]:
    count = edges = 0
    is_scope_only = space is not None and space not in at.service.spaces.names()
    for handle, item in () if is_scope_only else at.service.export(space=space, with_vectors=include_vectors):
        if item is None:
            yield json_line({"space": at.runtime.space_model(handle).model_dump()})
            continue
        if isinstance(item, Edge):
            yield json_line({"edge": plain_edge(item), "space": handle.name})
            edges += 1
            continue
        yield json_line(memory_payload(item, handle.name, with_vector=include_vectors, packed=False))
        count += 1
    messages = 0
    for message in at.sessions.export(space=space):
        yield json_line(message_line(message))
        messages += 1
    yield json_line({"end": True, "count": count, "edges": edges, "messages": messages})


async def _chunks(at: Doors, lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    def take() -> bytes:
        taken: list[Any] = []
        for line in lines:
            taken.append(line)
            if len(taken) == _LINES_PER_CHUNK:
                break
        return b"".join(taken)

    try:
        while chunk := await at.bulk.run(take):
            yield chunk
    except (BusyError, StorageClosedError):  # without its last line the stream says itself that it was cut short
        logger.warning("export cut short: a space was deleted, or the daemon is stopping")
