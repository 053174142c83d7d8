"""Text for prompts."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from starlette.responses import Response

from t4dm.sdk import recall_models as r
from t4dm_daemon.api.codec import StrictRoute, answer, memory_payload
from t4dm_daemon.api.deps import ReachedDoors
from t4dm_daemon.api.errors import documented

router = APIRouter(prefix="/api/v1", tags=["memory"], route_class=StrictRoute)


@router.post(
    "/context",
    response_model=r.ContextAnswer,
    responses=documented(404, 409, 415),
    summary="Make text for a prompt",
)
async def context(request: Request, body: r.ContextRequest, at: ReachedDoors) -> Response:
    """Return a block of text within a budget of tokens, most useful first, and the ids it was made from."""
    started = time.perf_counter()
    with_vector, with_value = "vector" in body.include, "value" in body.include

    def work() -> Response:
        block = at.service.context(body)
        took_ms = round((time.perf_counter() - started) * 1e3, 3)

        def build(packed: bool) -> dict[str, object]:
            parts = []
            for hit, tokens in block.parts:
                part: dict[str, object] = {"id": hit.item.id, "score": hit.score, "tokens": tokens}
                if with_vector or with_value:
                    part["memory"] = memory_payload(
                        hit.item, body.space, with_vector=with_vector, with_value=with_value, packed=packed
                    )
                parts.append(part)
            return {
                "text": block.text,
                "parts": parts,
                "tokens": block.tokens,
                "budget_tokens": body.budget_tokens,
                "left_out": block.left_out,
                "counted_by": at.service.counted_by,
                "took_ms": took_ms,
            }

        return answer(request, build)

    return await at.quick.run(work)
