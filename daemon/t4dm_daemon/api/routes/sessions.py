"""Sessions: chat histories, which are only appended to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from t4dm.sdk import session_models as s
from t4dm_daemon.api.codec import StrictRoute, answer
from t4dm_daemon.api.deps import QuerySpace, ReachedDoors, SessionId
from t4dm_daemon.api.errors import documented
from t4dm_daemon.api.routes.memory import IdempotencyKey
from t4dm_daemon.memory import json_text, records
from t4dm_daemon.memory.sessions import Stored, Summary

router = APIRouter(prefix="/api/v1/sessions", tags=["sessions"], route_class=StrictRoute)
_BULK_APPEND = 100


@router.get("", response_model=s.SessionList, responses=documented(), summary="List sessions")
async def list_sessions(request: Request, asked: Annotated[s.SessionsRequest, Query()], at: ReachedDoors) -> Response:
    """Return the sessions that hold messages, the one with the newest message first."""
    found, total = await at.quick.run(at.sessions.sessions, asked)
    return answer(request, lambda _: {"results": [_summary(one) for one in found], "total": total})


@router.post(
    "/restore", response_model=s.RestoreAnswer, responses=documented(409, 415, 507), summary="Put messages back"
)
async def restore(request: Request, body: s.RestoreRequest, at: ReachedDoors) -> Response:
    """Put messages back where an export says that they were, all or none.

    A message that is there already is left alone; another message in its place is 409.
    """
    created, duplicate = await at.bulk.run(at.sessions.restore, body)
    return answer(request, lambda _: {"created": created, "duplicate": duplicate})


@router.post(
    "/{session_id}/messages",
    status_code=201,
    response_model=s.AppendAnswer,
    responses={
        200: {"model": s.AppendAnswer, "description": "Nothing was written now: no messages, or the key was used."},
        **documented(409, 415, 507),
    },
    summary="Append messages",
)
async def append(
    request: Request,
    session_id: SessionId,
    body: s.AppendRequest,
    at: ReachedDoors,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Append messages, all or none; they are on disk when the answer arrives, in the order given."""
    lane = at.quick if len(body.messages) <= _BULK_APPEND else at.bulk
    done = await lane.run(at.sessions.append, session_id, body, idempotency_key=idempotency_key)
    created_at = records.time_text(done.created_at)
    results = [{"seq": seq, "created_at": created_at} for seq in done.seqs]
    is_new = bool(results) and not done.replayed
    return answer(request, lambda _: {"results": results, "replayed": done.replayed}, status=201 if is_new else 200)


@router.get(
    "/{session_id}/messages", response_model=s.MessagePage, responses=documented(), summary="The messages of a session"
)
async def messages(
    request: Request, session_id: SessionId, asked: Annotated[s.MessagesRequest, Query()], at: ReachedDoors
) -> Response:
    """Return messages in order: the oldest that match, or with `last` the newest.

    A session is there as long as it holds messages; one that holds none answers an empty list. A page ends at
    32 MiB, whatever its limit.
    """

    def work() -> Response:
        page = at.sessions.page(session_id, asked)
        return answer(
            request,
            lambda packed: {
                "session_id": session_id,
                "space": asked.space,
                "results": _messages(page.messages, packed=packed),
                "total": page.total,
                "after": page.after,
            },
        )

    return await at.quick.run(work)


@router.delete(
    "/{session_id}/messages", response_model=s.ClearAnswer, responses=documented(507), summary="Clear a session"
)
async def clear(request: Request, session_id: SessionId, at: ReachedDoors, space: QuerySpace = "default") -> Response:
    """Forget the messages of a session for good, and count them. Later messages go on counting `seq`."""
    deleted = await at.bulk.run(at.sessions.clear, session_id, space=space)
    return answer(request, lambda _: {"deleted": deleted})


def _messages(found: Sequence[Stored], *, packed: bool) -> list[dict[str, Any]]:
    return [
        {
            "seq": one.seq,
            "created_at": records.time_text(one.created_at),
            "value": json_text.decode(one.value) if packed else orjson.Fragment(one.value),
        }
        for one in found
    ]


def _summary(one: Summary) -> dict[str, Any]:
    return {
        "id": one.name.session,
        "messages": one.messages,
        "first_seq": one.seqs[0],
        "last_seq": one.seqs[1],
        "first_at": records.time_text(one.times[0]),
        "last_at": records.time_text(one.times[1]),
    }


def message_line(one: Stored) -> dict[str, Any]:
    """Return a message as a line of an export."""
    return {
        "message": {
            "session_id": one.name.session,
            "space": one.name.space,
            "seq": one.seq,
            "created_at": records.time_text(one.created_at),
            "value": orjson.Fragment(one.value),
        }
    }
