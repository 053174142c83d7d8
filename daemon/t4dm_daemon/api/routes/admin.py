"""Operations on the store. They run in the bulk lane: neither searches nor `/healthz` wait for them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from t4dm.sdk import admin_models as a
from t4dm.sdk import models as m
from t4dm_daemon.api.codec import StrictRoute, answer
from t4dm_daemon.api.deps import ReachedDoors
from t4dm_daemon.api.errors import documented
from t4dm_daemon.memory.maintenance import plain_backup, plain_report, plain_verification

router = APIRouter(prefix="/api/v1/admin", tags=["operations"], route_class=StrictRoute)


@router.post("/flush", status_code=204, responses=documented(404, 507), summary="Write memory to segments")
async def flush(
    at: ReachedDoors,
    space: Annotated[m.SpaceName | None, Query(description="Only this space; all when absent.")] = None,
) -> Response:
    """Write what is in memory to segments and release the log behind it. Nothing depends on it: the log has it all."""
    await at.bulk.run(at.maintenance.flush, space=space)
    return Response(status_code=204)


@router.post("/compact", response_model=a.CompactAnswer, responses=documented(404, 415, 507), summary="Merge segments")
async def compact(request: Request, body: a.CompactRequest, at: ReachedDoors) -> Response:
    """Merge segments, and answer when that is done; reading and writing go on meanwhile.

    One compaction runs at a time: a second one is answered 503.
    """
    done = await at.bulk.run(at.maintenance.compact, space=body.space, everything=body.everything)
    return answer(request, lambda _: {"results": [plain_report(space, report) for space, report in done]})


@router.post("/backup", response_model=a.BackupReport, responses=documented(415, 507), summary="Make a backup")
async def backup(request: Request, body: a.BackupRequest, at: ReachedDoors) -> Response:
    """Copy the store as it is at one moment; reading and writing go on meanwhile.

    On the file system of the store it takes little room: files that never change are hard-linked.
    """
    made = await at.bulk.run(at.maintenance.backup, body.path)
    return answer(request, lambda _: plain_backup(made))


@router.post("/verify", response_model=a.VerifyReport, responses=documented(), summary="Verify every file")
async def verify(request: Request, at: ReachedDoors) -> Response:
    """Compare every file with its checksum, and every reference with what it leads to; `problems` is what is wrong."""
    found = await at.bulk.run(at.maintenance.verify)
    return answer(request, lambda _: plain_verification(found))
