"""What every tool does, one function each: written once for backends that wait and backends that are awaited.

A function is an operation as `t4dm._steps` has them: it yields what is to be asked of the backend, is sent the
answer, and returns a plain JSON object for the model. It raises `t4dm.sdk.errors` only, and never returns an empty
result for a failure.

    perform(backend, Search(query="tea"), Scope(owner={"user_id": "ada"}))
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeVar, cast

from t4dm._async_backend import AsyncMemoryBackend
from t4dm._backend import MemoryBackend
from t4dm._privacy import without_private
from t4dm._steps import adrive, drive
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import NotFoundError, ValidationError
from t4dm.sdk.model_bases import Request
from t4dm.tools import arguments as a
from t4dm.tools.scope import Scope
from t4dm.tools.shown import PAGE_CHARS, shown

Ask: TypeAlias = Callable[[Any], Any]
"""A call of a backend: given a `MemoryBackend` it answers, given an `AsyncMemoryBackend` its answer is awaited."""
Result: TypeAlias = dict[str, Any]
Action: TypeAlias = Generator[Ask, Any, Result]

R = TypeVar("R", bound=Request)

SEARCH_RESULTS: Final = 10
TIMELINE_RESULTS: Final = 20


def perform(backend: MemoryBackend, arguments: a.ToolArguments, scope: Scope) -> Result:
    """Carry a tool out and return its result as plain JSON. Raises T4DMError."""
    return drive(_action(arguments, scope), lambda ask: ask(backend))


async def aperform(backend: AsyncMemoryBackend, arguments: a.ToolArguments, scope: Scope) -> Result:
    """Carry a tool out as `perform` does, awaited."""
    return await adrive(_action(arguments, scope), lambda ask: ask(backend))


def _action(arguments: a.ToolArguments, scope: Scope) -> Action:
    return _ACTIONS[arguments.tool](arguments, scope)


# Writing ----------------------------------------------------------------------------------------------


def store(given: a.Store, scope: Scope) -> Action:
    """Store one memory; what it supersedes must be the owner's."""
    fields = _given(given, "kind", "importance", "categories", "event_time", "valid_from", "valid_to", "supersedes")
    if not without_private(given.content).strip():
        raise ValidationError(
            "content: there is nothing to remember; give the text, outside of <private> marks", code="validation_error"
        )
    if given.metadata is not None:
        fields["metadata"] = _properties(given.metadata)
    request = _request(m.StoreRequest, scope, {"content": given.content, **fields, **scope.owner})
    if request.supersedes:
        yield from _owned(request.supersedes, scope)
    stored: m.Memory = yield lambda backend: backend.store(request)
    return {"id": stored.id, "status": stored.status or "created", "version": stored.version}


def update(given: a.Update, scope: Scope) -> Action:
    """Change what is not null."""
    fields = _given(
        given, "content", "kind", "importance", "categories", "event_time", "valid_from", "valid_to", "pinned"
    )
    if given.metadata is not None:
        fields["metadata"] = _properties(given.metadata)
    if given.content is not None and not without_private(given.content).strip():
        raise ValidationError("content: there would be nothing left; memory_forget deletes", code="validation_error")
    if not fields:
        raise ValidationError("give at least one change, for example content", code="validation_error")
    with as_validation_error():
        request = m.UpdateRequest.model_validate(fields)
    yield from _owned([given.id], scope)
    changed: m.Memory = yield lambda backend: backend.update(given.id, request, space=scope.space)
    return {"id": changed.id, "status": "updated", "version": changed.version, "memory": shown(changed)}


def forget(given: a.Forget, scope: Scope) -> Action:
    """Delete the owner's memories among the ids, and say which were not there."""
    ids = list(dict.fromkeys(given.ids))
    there = {memory.id for memory in (yield from _find(ids, scope))}
    missing = [one for one in ids if one not in there]
    if not there:
        raise scope.missing(ids)
    request = _request(m.DeleteRequest, scope, {"ids": [one for one in ids if one in there], **scope.owner})
    answer: m.DeleteAnswer = yield lambda backend: backend.delete_many(request)
    return {"forgotten": answer.deleted, **({"missing": missing} if missing else {})}


def link(given: a.Link, scope: Scope) -> Action:
    """Link two of the owner's memories."""
    ends = {"source": given.source_id, "target": given.target_id, "type": given.type}
    request = _request(g.LinkRequest, scope, {"edges": [{**ends, **_given(given, "weight")}]})
    edge = request.edges[0]
    yield from _owned([given.source_id, given.target_id], scope)
    yield lambda backend: backend.link(request)
    return {
        "status": "linked",
        "source_id": edge.source,
        "type": edge.type,
        "target_id": edge.target,
        "weight": edge.weight,
    }


# Reading ----------------------------------------------------------------------------------------------


def search(given: a.Search, scope: Scope) -> Action:
    """Find the owner's memories."""
    if not given.query.strip():
        raise ValidationError("query: ask something, in plain language", code="validation_error")
    conditions: list[dict[str, Any]] = [
        {"field": key, "op": "eq", "value": value} for key, value in _properties(given.metadata or ()).items()
    ]
    if given.categories:
        conditions.append({"field": "categories", "op": "any", "value": given.categories})
    times = {"from": given.after, "to": given.before}
    fields = {
        "query": given.query,
        "k": given.limit or SEARCH_RESULTS,
        "filter": {"and": conditions} if conditions else None,
        "time_range": times if given.after or given.before else None,
        **_given(given, "kind", "as_of"),
    }
    request = _request(m.SearchRequest, scope, {**fields, **scope.owner})
    try:
        answer: m.SearchAnswer = yield lambda backend: backend.search(request)
    except NotFoundError as error:
        if not error.is_missing_space:
            raise
        return {"results": [], "note": "nothing has been stored yet"}
    results = [{**shown(hit.memory), "score": round(hit.score, 3)} for hit in answer.results]
    return {"results": results} if results else {"results": [], "note": "nothing relevant is stored"}


def get(given: a.Get, scope: Scope) -> Action:
    """Read the owner's memories among the ids, and say which are not there."""
    ids = list(dict.fromkeys(given.ids))
    found = yield from _find(ids, scope)
    if not found:
        raise scope.missing(ids)
    start = given.from_character or 0
    results: list[Result] = []
    for memory in found:
        facts = shown(memory, start=start, most=PAGE_CHARS)
        if given.history:
            facts["history"] = yield from _history(memory.id, scope)
        if given.links:
            facts["links"] = yield from _links(memory.id, scope)
        results.append(facts)
    there = {memory.id for memory in found}
    missing = [one for one in ids if one not in there]
    return {"results": results, **({"missing": missing} if missing else {})}


def timeline(given: a.Timeline, scope: Scope) -> Action:
    """List the owner's memories by the time at which they happened, oldest first."""
    most = given.limit or TIMELINE_RESULTS
    if given.after is not None and given.before is not None and given.before <= given.after:
        raise ValidationError("before must be later than after", code="validation_error")
    bounds = [_bound(op, value) for op, value in (("gte", given.after), ("lt", given.before)) if value is not None]
    if given.around_id is None:
        page = yield from _page(bounds, given, scope, "-event_time", most)
        results = page.results[::-1]
        total = page.total
    else:
        middle = (yield from _owned([given.around_id], scope))[0].event_time
        earlier, later = [*bounds, _bound("lt", middle)], [*bounds, _bound("gte", middle)]
        up_to = yield from _page(earlier, given, scope, "-event_time", max(1, most // 2))
        since = yield from _page(later, given, scope, "event_time", max(1, most - len(up_to.results)))
        results = [*up_to.results[::-1], *since.results]
        total = up_to.total + since.total
    answer: Result = {"results": [shown(memory) for memory in results], "total": total}
    return answer if results else {**answer, "note": "nothing is stored of that time"}


# Parts ------------------------------------------------------------------------------------------------


def _given(arguments: a.ToolArguments, *names: str) -> dict[str, Any]:
    """Return the arguments of these names that are not null."""
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def _properties(given: Sequence[a.Property]) -> dict[str, Any]:
    return {one.key: one.value for one in given}


def _bound(op: str, value: datetime) -> dict[str, Any]:
    return {"field": "event_time", "op": op, "value": value.isoformat()}


def _request(model: type[R], scope: Scope, fields: Mapping[str, Any]) -> R:
    """Return a request about the scope's space. Raises ValidationError."""
    with as_validation_error():
        return model.model_validate({**fields, "space": scope.space})


def _find(ids: Sequence[str], scope: Scope) -> Generator[Ask, Any, list[m.Memory]]:
    """Return those of the ids that exist and are the owner's."""
    request = _request(m.GetRequest, scope, {"ids": list(ids)})
    try:
        found: list[m.Memory] = yield lambda backend: backend.get_many(request)
    except NotFoundError as error:
        if not error.is_missing_space:
            raise
        return []
    return scope.visible(found)


def _owned(ids: Sequence[str], scope: Scope) -> Generator[Ask, Any, list[m.Memory]]:
    """Return the memories of these ids. Raises NotFoundError when one is missing, or another owner's."""
    found = yield from _find(ids, scope)
    there = {memory.id for memory in found}
    if missing := [one for one in dict.fromkeys(ids) if one not in there]:
        raise scope.missing(missing)
    return found


def _page(
    conditions: Sequence[dict[str, Any]], given: a.Timeline, scope: Scope, order: m.OrderBy, limit: int
) -> Generator[Ask, Any, m.ListAnswer]:
    condition = {"and": list(conditions)} if conditions else None
    fields = {"filter": condition, "order_by": order, "limit": limit, **_given(given, "kind")}
    request = _request(m.ListRequest, scope, {**fields, **scope.owner})
    try:
        page: m.ListAnswer = yield lambda backend: backend.list(request)
    except NotFoundError as error:
        if not error.is_missing_space:
            raise
        return m.ListAnswer(results=[], total=0)
    return page


def _history(memory_id: str, scope: Scope) -> Generator[Ask, Any, list[Result]]:
    entries: list[m.HistoryEntry] = yield lambda backend: backend.history(memory_id, space=scope.space)
    told: list[Result] = []
    for entry in entries:
        state = entry.new or entry.old
        if state is None or not scope.visible([state]):
            continue  # it was another owner's then
        recorded_at = entry.model_dump(mode="json", include={"recorded_at"})["recorded_at"]
        told.append(
            {
                "event": entry.event,
                "version": entry.version,
                "recorded_at": recorded_at,
                "content": shown(state)["content"],
            }
        )
    return told


def _links(memory_id: str, scope: Scope) -> Generator[Ask, Any, list[Result]]:
    edges: list[g.Edge] = yield lambda backend: backend.links(memory_id, space=scope.space)
    edges = sorted(edges, key=lambda edge: -edge.weight)[: a.MOST_RESULTS]
    others = {edge.source if edge.target == memory_id else edge.target for edge in edges} - {memory_id}
    there = {memory.id: memory for memory in ((yield from _find(sorted(others), scope)) if others else ())}
    told: list[Result] = []
    for edge in edges:
        is_out = edge.source == memory_id
        other = edge.target if is_out else edge.source
        if other in there:
            facts = {"direction": "out" if is_out else "in", "type": edge.type, "weight": edge.weight, "id": other}
            told.append({**facts, "content": shown(there[other])["content"]})
    return told


_ACTIONS: Final = cast(
    "dict[str, Callable[[a.ToolArguments, Scope], Action]]",
    {
        "memory_store": store,
        "memory_search": search,
        "memory_get": get,
        "memory_update": update,
        "memory_forget": forget,
        "memory_timeline": timeline,
        "memory_link": link,
    },
)
