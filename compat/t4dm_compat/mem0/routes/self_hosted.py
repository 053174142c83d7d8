"""The routes of Mem0's self-hosted server: no version and no slash, and filters that may name metadata keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from t4dm_compat.call import Call
from t4dm_compat.mem0 import adding, memories, selections
from t4dm_compat.mem0.bodies import AddBody, DeleteOneQuery, DeleteQuery, ListQuery, SearchBody, UpdateBody
from t4dm_compat.mem0.routes.platform import refuse_body, refuse_unknown
from t4dm_compat.mem0.routes.shared import MemoryId, answer, both


def add_routes(routes: APIRouter, call: Call) -> None:
    """Add the routes."""

    @both(routes, "POST", "/memories", summary="Add memories (self-hosted)")
    async def add(body: AddBody) -> Response:
        """Store messages word for word, and what rules find in them."""
        return await call(lambda backend: answer({"results": adding.add(backend, body)}))

    @both(routes, "GET", "/memories", summary="List (self-hosted)")
    async def every(query: Annotated[ListQuery, Query()]) -> Response:
        """Return everything that matches, newest first, or `top_k` of it."""
        return await call(
            lambda backend: answer({"results": memories.every(backend, selections.listing(query), self_hosted=True)})
        )

    @both(routes, "POST", "/search", summary="Search (self-hosted)")
    async def search(body: SearchBody) -> Response:
        """Return the best hits in `results`."""
        return await call(lambda backend: answer({"results": memories.search(backend, body, self_hosted=True)}))

    @both(routes, "GET", "/memories/{memory_id}", summary="Get one memory (self-hosted)")
    async def get(memory_id: MemoryId) -> Response:
        """Return one memory."""
        return await call(lambda backend: answer(memories.get(backend, memory_id)))

    @both(routes, "GET", "/memories/{memory_id}/history", summary="The life of one memory (self-hosted)")
    async def history(memory_id: MemoryId) -> Response:
        """Return every event, oldest first; also of what was deleted."""
        return await call(lambda backend: answer(memories.history(backend, memory_id)))

    @both(routes, "PUT", "/memories/{memory_id}", summary="Change one memory (self-hosted)")
    async def update(memory_id: MemoryId, body: UpdateBody) -> Response:
        """Change what is given; metadata is joined key by key."""
        await call(lambda backend: memories.update(backend, memory_id, body))
        return answer({"message": "Memory updated successfully!"})

    @both(routes, "DELETE", "/memories/{memory_id}", summary="Delete one memory (self-hosted)")
    async def delete(request: Request, memory_id: MemoryId, query: Annotated[DeleteOneQuery, Query()]) -> Response:
        """Delete one memory."""
        refuse_unknown(query)
        await refuse_body(request)
        await call(lambda backend: memories.delete(backend, memory_id, linked=bool(query.delete_linked)))
        return answer({"message": "Memory deleted successfully"})

    @both(routes, "DELETE", "/memories", summary="Delete an owner's memories (self-hosted)")
    async def delete_all(request: Request, query: Annotated[DeleteQuery, Query()]) -> Response:
        """Delete what the query string selects. One that is empty, unknown or unreadable deletes nothing."""
        await refuse_body(request)
        names = (name for name, _ in request.query_params.multi_items())
        where = selections.deletion(query, names, self_hosted=True)
        await call(lambda backend: memories.delete_selected(backend, where))
        return answer({"message": "All relevant memories deleted"})

    @both(routes, "POST", "/reset", summary="Delete everybody's memories (self-hosted)")
    async def reset() -> Response:
        """Delete all memories that have a user, an agent, an app or a run; those of nobody stay."""
        await call(memories.reset)
        return answer({"message": "All memories reset"})
