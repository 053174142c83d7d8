"""Mem0's platform API. Every version writes the same memories; they differ in paths and in the form of answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response

from t4dm._backend import MemoryBackend
from t4dm.sdk.errors import NotFoundError
from t4dm_compat.call import Call
from t4dm_compat.mem0 import adding, events, exports, memories, selections
from t4dm_compat.mem0.bodies import (
    AddBody,
    BatchDeleteBody,
    BatchUpdateBody,
    DeleteOneQuery,
    DeleteQuery,
    ExportBody,
    FeedbackBody,
    ListBody,
    ListQuery,
    OwnQuery,
    PageQuery,
    SearchBody,
    UpdateBody,
)
from t4dm_compat.mem0.refusals import wrong
from t4dm_compat.mem0.routes.shared import MemoryId, answer, both, decoded, paged

_PING: Final = {
    "status": "ok",
    "org_id": "t4dm",
    "project_id": "default",
    # Without an address, so that no client ever links its user to one.
    "user_email": None,
}
_InPath = Annotated[str, Path(description="Percent-encoded.")]


def add_routes(routes: APIRouter, call: Call) -> None:
    """Add the routes that Mem0's clients call."""
    _add_adding(routes, call)
    _add_reading(routes, call)
    _add_changing(routes, call)
    _add_entities(routes, call)
    _add_exports(routes, call)


def _add_adding(routes: APIRouter, call: Call) -> None:
    log = events.Events()

    @both(routes, "GET", "/v1/ping/", summary="Say who is there")
    async def ping() -> Response:
        """Answer what clients ask for first; only once memories can be reached."""
        return await call(lambda _: answer(_PING))

    async def stored(body: AddBody) -> tuple[list[dict[str, Any]], str]:
        started_at = datetime.now(UTC)

        def work(backend: MemoryBackend) -> tuple[list[dict[str, Any]], str]:
            results = adding.add(backend, body)
            return results, log.added(results, started_at)

        return await call(work)

    @both(routes, "POST", "/v3/memories/add/", summary="Add memories (v3)")
    async def add_v3(body: AddBody) -> Response:
        """Store messages word for word, and what rules find in them. Done when it is answered."""
        results, event_id = await stored(body)
        said = "Memories were stored"
        return answer({"message": said, "status": "SUCCEEDED", "event_id": event_id, "results": results})

    @both(routes, "POST", "/v1/memories/", summary="Add memories (v1)")
    async def add_v1(body: AddBody) -> Response:
        """The same, in the form of clients before 2.0."""
        results, event_id = await stored(body)
        return answer({"results": results, "relations": [], "event_id": event_id})

    @both(routes, "GET", "/v1/event/{event_id}/", summary="Get one event")
    async def event(event_id: _InPath) -> Response:
        """Return what became of an add; the latest of this process are known."""
        found = log.get(decoded(event_id, "event_id"))
        if found is None:
            raise NotFoundError(
                "Event not found: events are known until many others came, or the daemon stopped", status=404
            )
        return await call(lambda backend: answer(events.shown(backend, found)))

    @both(routes, "GET", "/v1/events/", summary="List events")
    async def latest(request: Request, query: Annotated[PageQuery, Query()]) -> Response:
        """Return the latest adds, the newest first."""
        found, number, size = log.latest(), query.page or 1, query.page_size or 50
        part = found[(number - 1) * size : number * size]

        def work(backend: MemoryBackend) -> Response:
            results = [events.shown(backend, one) for one in part]
            return answer(paged(request, results, total=len(found), number=number, size=size))

        return await call(work)


def _add_reading(routes: APIRouter, call: Call) -> None:
    @both(routes, "POST", "/v3/memories/search/", summary="Search (v3)")
    async def search_v3(body: SearchBody) -> Response:
        """Return the best hits in `results`."""
        return await call(lambda backend: answer({"results": memories.search(backend, body)}))

    @both(routes, "POST", "/v2/memories/search/", summary="Search (v2)")
    @both(routes, "POST", "/v1/memories/search/", summary="Search (v1)")
    async def search_list(body: SearchBody) -> Response:
        """Return the best hits as a bare list, or in `results` with `output_format: v1.1`."""

        def work(backend: MemoryBackend) -> Response:
            found = memories.search(backend, body)
            return answer({"results": found} if body.output_format == "v1.1" else found)

        return await call(work)

    def listed(request: Request, body: ListBody, backend: MemoryBackend) -> Response:
        found = memories.page(backend, body)
        return answer(paged(request, found.results, total=found.total, number=found.number, size=found.size))

    def plain(request: Request, body: ListBody, backend: MemoryBackend) -> Response:
        """Return a page where one is asked for, else everything as a bare list."""
        if body.page is not None or body.page_size is not None:
            return listed(request, body, backend)
        found = memories.every(backend, body)
        return answer({"results": found} if body.output_format == "v1.1" else found)

    @both(routes, "POST", "/v3/memories/", summary="List (v3)")
    async def list_v3(request: Request, body: ListBody, query: Annotated[PageQuery, Query()]) -> Response:
        """Return one page, newest first, with links to its neighbours."""
        asked = body.model_copy(update=query.model_dump(exclude_none=True))
        return await call(lambda backend: listed(request, asked, backend))

    @both(routes, "POST", "/v2/memories/", summary="List (v2)")
    async def list_v2(request: Request, body: ListBody, query: Annotated[PageQuery, Query()]) -> Response:
        """Return everything as a bare list, or one page."""
        asked = body.model_copy(update=query.model_dump(exclude_none=True))
        return await call(lambda backend: plain(request, asked, backend))

    @both(routes, "GET", "/v1/memories/", summary="List (v1)")
    async def list_v1(request: Request, query: Annotated[ListQuery, Query()]) -> Response:
        """Return everything as a bare list, or one page."""
        return await call(lambda backend: plain(request, selections.listing(query), backend))

    @both(routes, "GET", "/v1/memories/{memory_id}/", summary="Get one memory")
    async def get(memory_id: MemoryId) -> Response:
        """Return one memory."""
        return await call(lambda backend: answer(memories.get(backend, memory_id)))

    @both(routes, "GET", "/v1/memories/{memory_id}/history/", summary="The life of one memory")
    async def history(memory_id: MemoryId) -> Response:
        """Return every event, oldest first; also of what was deleted."""
        return await call(lambda backend: answer(memories.history(backend, memory_id)))


def _add_changing(routes: APIRouter, call: Call) -> None:
    @both(routes, "PUT", "/v1/memories/{memory_id}/", summary="Change one memory")
    async def update(memory_id: MemoryId, body: UpdateBody) -> Response:
        """Change what is given; metadata is joined key by key."""
        return await call(lambda backend: answer(memories.update(backend, memory_id, body)))

    @both(routes, "DELETE", "/v1/memories/{memory_id}/", summary="Delete one memory")
    async def delete(request: Request, memory_id: MemoryId, query: Annotated[DeleteOneQuery, Query()]) -> Response:
        """Delete one memory; with `delete_linked` also what it took the place of and what was found in it."""
        refuse_unknown(query)
        await refuse_body(request)
        await call(lambda backend: memories.delete(backend, memory_id, linked=bool(query.delete_linked)))
        return answer({"message": "Memory deleted successfully!"})

    @both(routes, "DELETE", "/v1/memories/", summary="Delete an owner's memories")
    async def delete_all(request: Request, query: Annotated[DeleteQuery, Query()]) -> Response:
        """Delete what the query string selects. One that is empty, unknown or unreadable deletes nothing."""
        await refuse_body(request)
        where = selections.deletion(query, (name for name, _ in request.query_params.multi_items()))
        await call(lambda backend: memories.delete_selected(backend, where))
        return answer({"message": "Memories deleted successfully!"})

    @both(routes, "PUT", "/v1/batch/", summary="Change many memories")
    async def batch_update(body: BatchUpdateBody) -> Response:
        """Change up to a thousand; nothing is changed if one does not exist."""
        changed = await call(lambda backend: memories.batch_update(backend, body))
        return answer({"message": f"Successfully updated {changed} memories"})

    @both(routes, "DELETE", "/v1/batch/", summary="Delete many memories")
    async def batch_delete(body: BatchDeleteBody) -> Response:
        """Delete up to a thousand; nothing is deleted if one does not exist."""
        deleted = await call(lambda backend: memories.batch_delete(backend, body))
        return answer({"message": f"Successfully deleted {deleted} memories"})

    @both(routes, "POST", "/v1/feedback/", summary="Say how useful a memory was")
    async def feedback(body: FeedbackBody) -> Response:
        """Keep the feedback; its reason is not kept."""
        return await call(lambda backend: answer(memories.feedback(backend, body)))


def _add_entities(routes: APIRouter, call: Call) -> None:
    @both(routes, "GET", "/v1/entities/", summary="List owners")
    async def entities(request: Request, query: Annotated[PageQuery, Query()]) -> Response:
        """Return every user, agent, app and run that has memories; a page of them where one is asked for."""
        found = await call(memories.entities)
        number = query.page or 1
        size = query.page_size or (memories.PAGE if query.page else max(1, len(found)))
        part = found[(number - 1) * size : number * size]
        totals = {
            f"total_{kind}s": sum(one["type"] == kind for one in found) for kind in ("user", "agent", "app", "run")
        }
        return answer({**paged(request, part, total=len(found), number=number, size=size), **totals})

    # Clients before 2.0 leave a slash in a name as it is: the name is all that follows.
    @both(routes, "DELETE", "/v2/entities/{entity_type}/{name:path}/", summary="Delete an owner's memories")
    @both(routes, "DELETE", "/v1/entities/{entity_type}/{name:path}/", summary="Delete an owner's memories (v1)")
    async def delete_entity(
        request: Request, entity_type: _InPath, name: _InPath, query: Annotated[OwnQuery, Query()]
    ) -> Response:
        """Delete all memories of one user, agent, app or run. That there are none is no error."""
        refuse_unknown(query)
        await refuse_body(request)
        kind, who = decoded(entity_type, "entity_type"), decoded(name, "name")
        await call(lambda backend: memories.delete_entity(backend, kind, who))
        return answer({"message": "Entity deleted successfully!"})


def refuse_unknown(query: OwnQuery) -> None:
    """Raise ValidationError for a parameter of a deletion that is not known."""
    if query.model_extra:
        raise wrong(f"there is no parameter {min(query.model_extra)[:100]!r}; nothing was deleted")


async def refuse_body(request: Request) -> None:
    """Raise ValidationError for a deletion that says something in its body: it would be overlooked."""
    if (await request.body()).strip() not in (b"", b"{}", b"null"):
        raise wrong("a deletion says what it means in its path and query string, not in a body; nothing was deleted")


def _add_exports(routes: APIRouter, call: Call) -> None:
    known = exports.Exports()

    @both(routes, "POST", "/v1/exports/", summary="Ask for an export")
    async def create(body: ExportBody) -> Response:
        """Keep what is asked. A schema that needs a language model is 501."""
        export_id = known.create(body)
        return await call(lambda _: answer({"message": "The export can be fetched.", "id": export_id}))

    @both(routes, "POST", "/v1/exports/get/", summary="Fetch an export")
    async def fetch(body: ExportBody) -> Response:
        """Return the export of an id, or the latest with the same filters, filled with what the memories are now."""
        export = known.find(body)
        return await call(lambda backend: answer(exports.fill(backend, export)))
