"""The routes of sessions, namespaces and mixed batches; see `_calls.py`."""

from __future__ import annotations

from typing import Final, cast

from t4dm.sdk import namespace_models as n
from t4dm.sdk import ops_models as o
from t4dm.sdk import session_models as s
from t4dm.sdk._calls import Call, answer_as, checked_key, in_space, segment
from t4dm.sdk.codec import decode, note_given
from t4dm.sdk.errors import ValidationError
from t4dm.sdk.model_bases import Request

_SESSIONS: Final = "/api/v1/sessions"


def ops(request: o.OpsRequest, idempotency_key: str | None) -> Call[o.OpsAnswer]:
    kinds = {op.op for op in request.ops}
    return Call(
        "POST",
        "/api/v1/ops",
        answer_as(o.OpsAnswer),
        body=request,
        idempotency_key=checked_key(idempotency_key),
        is_repeatable=kinds.isdisjoint({"delete", "touch"}),
        wants_vectors=any(_has_vectors(op) for op in request.ops),
    )


def namespaces(request: n.NamespacesRequest | None) -> Call[n.NamespaceList]:
    params = _params(request or n.NamespacesRequest())
    return Call("GET", "/api/v1/namespaces", answer_as(n.NamespaceList), params=params, is_repeatable=True)


def owners(request: n.OwnersRequest | None) -> Call[n.OwnerList]:
    params = _params(request or n.OwnersRequest())
    return Call("GET", "/api/v1/owners", answer_as(n.OwnerList), params=params, is_repeatable=True)


def categories(request: n.CategoriesRequest | None) -> Call[dict[str, int]]:
    return Call(
        "GET",
        "/api/v1/categories",
        lambda response: decode(response, n.CategoryCounts).categories,
        params=_params(request or n.CategoriesRequest()),
        is_repeatable=True,
    )


def append_messages(session_id: str, request: s.AppendRequest, idempotency_key: str | None) -> Call[s.AppendAnswer]:
    return Call(
        "POST",
        _path(session_id),
        answer_as(s.AppendAnswer),
        body=request,
        idempotency_key=checked_key(idempotency_key),
        is_repeatable=True,
    )


def messages(session_id: str, request: s.MessagesRequest | None) -> Call[s.MessagePage]:
    params = _params(request or s.MessagesRequest())
    return Call("GET", _path(session_id), answer_as(s.MessagePage), params=params, is_repeatable=True)


def clear_messages(session_id: str, space: str) -> Call[int]:
    return Call(
        "DELETE",
        _path(session_id),
        lambda response: decode(response, s.ClearAnswer).deleted,
        params=in_space(space),
    )


def sessions(request: s.SessionsRequest | None) -> Call[s.SessionList]:
    params = _params(request or s.SessionsRequest())
    return Call("GET", _SESSIONS, answer_as(s.SessionList), params=params, is_repeatable=True)


def restore_messages(request: s.RestoreRequest) -> Call[s.RestoreAnswer]:
    return Call("POST", f"{_SESSIONS}/restore", answer_as(s.RestoreAnswer), body=request, is_repeatable=True)


def _path(session_id: str) -> str:
    if not session_id:
        raise ValidationError("the name of a session is not empty", code="validation_error")
    return f"{_SESSIONS}/{segment(session_id)}/messages"


def _params(request: Request) -> dict[str, str | list[str]]:
    """Return the fields that were given as a query: a list stands there once for each of its values."""
    note_given(request)
    given = cast(
        "dict[str, str | int | list[str]]", request.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    )
    return {name: value if isinstance(value, list) else str(value) for name, value in given.items()}


def _has_vectors(op: o.Op) -> bool:
    if isinstance(op, o.GetOp | o.ListOp):
        return op.include_vectors
    return isinstance(op, o.SearchOp) and "vector" in op.include
