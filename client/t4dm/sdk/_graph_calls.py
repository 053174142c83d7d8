"""The routes of links, walks along them, and operations; see `_calls.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from t4dm.sdk import admin_models as a
from t4dm.sdk import graph_models as g
from t4dm.sdk._calls import Call, answer_as, in_space, memory_path, nothing, time_text
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.codec import decode

_EDGES: Final = "/api/v1/edges"
_GRAPH: Final = "/api/v1/graph"
_ADMIN: Final = "/api/v1/admin"


def link(request: g.LinkRequest) -> Call[int]:
    return Call(
        "POST", _EDGES, lambda response: decode(response, g.LinkAnswer).linked, body=request, is_repeatable=True
    )


def reweigh(request: g.ReweighRequest) -> Call[list[float | None]]:
    return Call(
        "PATCH",
        _EDGES,
        lambda response: decode(response, g.ReweighAnswer).weights,
        body=request,
        is_repeatable=all(change.add is None for change in request.changes),
    )


def unlink(request: g.UnlinkRequest) -> Call[int]:
    # A DELETE with a body is lost on some ways; this route is the same one.
    return Call("POST", f"{_EDGES}/delete", lambda response: decode(response, g.UnlinkAnswer).unlinked, body=request)


def scale_links(request: g.ScaleRequest) -> Call[int]:
    return Call("POST", f"{_EDGES}/scale", lambda response: decode(response, g.ScaleAnswer).scaled, body=request)


def links(memory_id: str, direction: str, space: str, known_at: datetime | None) -> Call[list[g.Edge]]:
    params = in_space(space) | {"direction": direction}
    if known_at is not None:
        params["known_at"] = time_text(known_at)
    return Call(
        "GET",
        f"{memory_path(memory_id)}/edges",
        lambda response: decode(response, g.EdgeList).results,
        params=params,
        is_repeatable=True,
    )


def traverse(request: g.TraverseRequest) -> Call[g.TraverseAnswer]:
    return Call("POST", f"{_GRAPH}/traverse", answer_as(g.TraverseAnswer), body=request, is_repeatable=True)


def path(request: g.PathRequest) -> Call[list[g.Edge] | None]:
    return Call(
        "POST",
        f"{_GRAPH}/path",
        lambda response: decode(response, g.PathAnswer).edges,
        body=request,
        is_repeatable=True,
    )


def provenance(
    memory_id: str,
    direction: str,
    depth: int,
    limit: int,
    known_at: datetime | None,
    include_memories: bool,
    space: str,
) -> Call[list[g.Node]]:
    params = in_space(space) | {"direction": direction, "depth": str(depth), "limit": str(limit)}
    if known_at is not None:
        params["known_at"] = time_text(known_at)
    if include_memories:
        params["include_memories"] = "true"
    return Call(
        "GET",
        f"{memory_path(memory_id)}/provenance",
        lambda response: decode(response, g.TraverseAnswer).nodes,
        params=params,
        is_repeatable=True,
    )


def flush(space: str | None) -> Call[None]:
    return Call("POST", f"{_ADMIN}/flush", nothing, params={} if space is None else in_space(space), is_repeatable=True)


def backup(path: str | None) -> Call[a.BackupReport]:
    with as_validation_error():
        request = a.BackupRequest(path=path)
    return Call("POST", f"{_ADMIN}/backup", answer_as(a.BackupReport), body=request)


def verify() -> Call[a.VerifyReport]:
    return Call("POST", f"{_ADMIN}/verify", answer_as(a.VerifyReport), is_repeatable=True)


def compact(space: str | None, everything: bool) -> Call[list[a.SpaceCompaction]]:
    with as_validation_error():
        request = a.CompactRequest(space=space, everything=everything)
    return Call("POST", f"{_ADMIN}/compact", lambda response: decode(response, a.CompactAnswer).results, body=request)
