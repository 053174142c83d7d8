"""Several operations in one request."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from t4dm.sdk import ops_models as o
from t4dm_daemon.api.codec import StrictRoute, answer, memory_payload
from t4dm_daemon.api.deps import ReachedDoors
from t4dm_daemon.api.errors import documented
from t4dm_daemon.api.routes.memory import IdempotencyKey, hit_payload
from t4dm_daemon.memory.ops import Counted, Found, Got, Listed, Result
from t4dm_daemon.storage.protocol import Outcome

router = APIRouter(prefix="/api/v1", tags=["memory"], route_class=StrictRoute)


@router.post("/ops", response_model=o.OpsAnswer, responses=documented(404, 409, 415, 507), summary="A mixed batch")
async def ops(
    request: Request, body: o.OpsRequest, at: ReachedDoors, idempotency_key: IdempotencyKey = None
) -> Response:
    """Carry out reads and writes; the results are in the order given.

    All reads see the state before the batch's writes. The puts of a space are stored in one write, all or none. An
    operation that is wrong refuses the whole batch; `details.op`, or the field's name, says which.
    """
    started = time.perf_counter()

    def work() -> Response:
        results = at.ops.run(body, idempotency_key=idempotency_key)
        took_ms = round((time.perf_counter() - started) * 1e3, 3)
        return answer(
            request,
            lambda packed: {
                "results": [_result(op, one, packed=packed) for op, one in zip(body.ops, results, strict=True)],
                "took_ms": took_ms,
            },
        )

    return await at.bulk.run(work)


def _result(op: o.Op, result: Result, *, packed: bool) -> dict[str, Any]:
    named: dict[str, Any] = {"op": op.op}
    if isinstance(result, Found):
        assert isinstance(op, o.SearchOp)
        return named | {"results": [hit_payload(hit, op, packed=packed) for hit in result.hits]}
    if isinstance(result, Got | Listed):
        assert isinstance(op, o.GetOp | o.ListOp)
        memories = [
            memory_payload(item, op.space, with_vector=op.include_vectors, packed=packed) for item in result.items
        ]
        pages = {"total": result.total, "cursor": result.cursor} if isinstance(result, Listed) else {}
        return named | {"results": memories} | pages
    if isinstance(result, Outcome):
        return named | {"id": result.id, "status": result.status, "version": result.version}
    if isinstance(result, Counted):
        return named | {"deleted" if isinstance(op, o.DeleteOp) else "touched": result.count}
    return named | result.model_dump(mode="json")
