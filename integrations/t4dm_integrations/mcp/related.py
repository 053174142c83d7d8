"""`t4dm_related`: what a memory is linked to, one or more links away."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from t4dm._backend import MemoryBackend
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import NotFoundError
from t4dm.tools.arguments import ToolArguments
from t4dm.tools.shown import shown
from t4dm_integrations.mcp.protocol import Json
from t4dm_integrations.mcp.scope import Scope
from t4dm_integrations.mcp.sessions import SessionLog

_RESULTS: Final = 20
_MOST_RESULTS: Final = 50


class Related(ToolArguments):
    """List the memories that one memory is linked to, the nearest first.

    Links say that one memory causes, supports, contradicts, is part of or supersedes another. Take the id from the
    answer of another memory tool; to make a link, use t4dm_link.
    """

    tool = "t4dm_related"

    id: Annotated[str, Field(description="Id of the memory to begin at.")]
    types: Annotated[list[g.EdgeType], Field(min_length=1, max_length=g.MAX_TYPES)] | None = Field(
        default=None, description="Only along links of these types. null: of all types."
    )
    direction: g.Direction | None = Field(
        default=None, description="out: where its links lead; in: what links to it; both. null: both."
    )
    depth: Annotated[int, Field(ge=1, le=g.MAX_TRAVERSAL)] | None = Field(
        default=None, description=f"The most links between the two, up to {g.MAX_TRAVERSAL}. null: 1."
    )
    limit: Annotated[int, Field(ge=1, le=_MOST_RESULTS)] | None = Field(
        default=None, description=f"The most results, up to {_MOST_RESULTS}. null: {_RESULTS}."
    )


def related(backend: MemoryBackend, given: Related, scope: Scope, _: SessionLog | None) -> Json:
    """Walk along the links of one of the owner's memories, to memories of the same owner."""
    most = given.limit or _RESULTS
    with as_validation_error():
        asked = m.GetRequest(ids=[given.id], space=scope.space)
        walk = g.TraverseRequest(
            start=given.id,
            edge_types=given.types,
            direction=given.direction or "both",
            depth=given.depth or 1,
            # What other owners have is left out of the answer, not of the walk.
            limit=g.MAX_NODES if scope.columns else most,
            include_memories=True,
            space=scope.space,
        )
    try:
        found = backend.get_many(asked)
    except NotFoundError as error:
        if not error.is_missing_space:
            raise
        found = []
    if not scope.of_tools.visible(found):
        raise scope.of_tools.missing([given.id])
    results: list[Json] = []
    for node in backend.traverse(walk).nodes:
        if node.memory is not None and scope.of_tools.visible([node.memory]) and len(results) < most:
            edge = node.edge
            link = {"source_id": edge.source, "type": edge.type, "target_id": edge.target, "weight": edge.weight}
            results.append({**shown(node.memory), "depth": node.depth, "link": link})
    return {"results": results} if results else {"results": [], "note": "it is not linked to anything"}
