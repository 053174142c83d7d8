"""Find, list, change and forget memories, and tell of their past: Mem0's calls by way of the backend's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from t4dm._backend import MemoryBackend
from t4dm._privacy import without_private
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk import namespace_models as n
from t4dm.sdk import recall_models as r
from t4dm.sdk.errors import NotFoundError
from t4dm_compat.mem0 import moments, selections, shapes
from t4dm_compat.mem0.bodies import (
    ENTITIES,
    BatchDeleteBody,
    BatchUpdateBody,
    FeedbackBody,
    ListBody,
    SearchBody,
    UpdateBody,
)
from t4dm_compat.mem0.refusals import as_wrong, no_memory, unserved, wrong

T = TypeVar("T")

PAGE: Final = 100
_REWARDS: Final = {"POSITIVE": 1.0, "NEGATIVE": -0.5, "VERY_NEGATIVE": -1.0}
_ENTITY_TYPES: Final = {"user": "user_id", "agent": "agent_id", "app": "app_id", "run": "run_id"}
_TYPE_OF: Final = {column: kind for kind, column in _ENTITY_TYPES.items()}


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the results, where they stand among all, and how many all are."""

    results: list[dict[str, Any]]
    total: int
    number: int
    size: int


# Reading ----------------------------------------------------------------------------------------------


def search(backend: MemoryBackend, body: SearchBody, *, self_hosted: bool = False) -> list[dict[str, Any]]:
    """Return the best hits, best first."""
    if not body.query.strip():
        raise wrong("query: it is empty; to see memories without a question, list them")
    with as_wrong():
        asked = m.SearchRequest(
            query=body.query,
            k=body.top_k or body.limit or 10,
            filter=selections.of(body, self_hosted=self_hosted),
            min_score=body.threshold,
            show_expired=bool(body.show_expired),
            include=["value"],
        )
    fields = selections.shown_fields(body)
    try:
        hits = backend.search(asked).results
    except NotFoundError as error:
        if not error.is_missing_space:
            raise
        return []  # nothing was ever stored
    return [shapes.memory(hit.memory, score=hit.score, fields=fields) for hit in hits]


def page(backend: MemoryBackend, body: ListBody) -> Page:
    """Return one page of memories, newest first."""
    number, size = body.page or 1, body.page_size or body.top_k or body.limit or PAGE
    found = _listed(backend, _list_request(body, limit=size, offset=(number - 1) * size))
    return Page(_shown(found.results, body), found.total, number, size)


def every(backend: MemoryBackend, body: ListBody, *, self_hosted: bool = False) -> list[dict[str, Any]]:
    """Return all memories that match, newest first, or as many as `top_k` says."""
    limit = body.top_k or body.limit
    asked = _list_request(body, self_hosted=self_hosted, limit=limit or m.MAX_LIMIT)
    found: list[dict[str, Any]] = []
    while True:
        answer = _listed(backend, asked)
        found += _shown(answer.results, body)
        if answer.cursor is None or limit is not None:
            return found
        asked = asked.model_copy(update={"cursor": answer.cursor})


def _list_request(body: ListBody, *, self_hosted: bool = False, **where: int) -> m.ListRequest:
    with as_wrong():
        return m.ListRequest(
            filter=selections.of(body, self_hosted=self_hosted), show_expired=bool(body.show_expired), **where
        )


def _listed(backend: MemoryBackend, asked: m.ListRequest) -> m.ListAnswer:
    try:
        return backend.list(asked)
    except NotFoundError as error:
        if not error.is_missing_space:
            raise
        return m.ListAnswer(results=[], total=0)  # nothing was ever stored


def _shown(found: Sequence[m.Memory], body: ListBody) -> list[dict[str, Any]]:
    fields = selections.shown_fields(body)
    return [shapes.memory(one, fields=fields) for one in found]


def get(backend: MemoryBackend, memory_id: str) -> dict[str, Any]:
    """Return one memory, also when its last day is over."""
    return shapes.memory(_existing(backend, [memory_id])[0])


def _existing(backend: MemoryBackend, ids: Sequence[str]) -> list[m.Memory]:
    """Return memories in the order of their ids, expired ones too. Raises NotFoundError for those that are missing."""
    found: dict[str, m.Memory] = {}
    try:
        with as_wrong():
            asked = m.GetRequest(ids=list(ids))
        found = {one.id: one for one in backend.get_many(asked)}
        hidden = [one for one in ids if one not in found]
        if hidden:  # a read by ids leaves out what has expired, a list need not
            which = m.Filter(field="id", op="in", value=list(hidden))
            answer = backend.list(m.ListRequest(filter=which, show_expired=True, limit=len(hidden)))
            found |= {one.id: one for one in answer.results}
    except NotFoundError as error:
        if not error.is_missing_space:
            raise
    missing = [one for one in ids if one not in found]
    if missing:
        raise no_memory(*missing)
    return [found[one] for one in ids]


def history(backend: MemoryBackend, memory_id: str) -> list[dict[str, Any]]:
    """Return every event of one memory's life, oldest first."""
    entries = _known(memory_id, lambda: backend.history(memory_id))
    return [shapes.history(memory_id, entry) for entry in entries]


def _known(memory_id: str, work: Callable[[], T]) -> T:
    try:
        return work()
    except NotFoundError:
        raise no_memory(memory_id) from None


# Changing ---------------------------------------------------------------------------------------------


def update(backend: MemoryBackend, memory_id: str, body: UpdateBody) -> dict[str, Any]:
    """Change what is given and return the memory."""
    given = body.model_fields_set
    changes: dict[str, Any] = {}
    if body.text is not None:
        changes["content"] = _worded(body.text, "text")
    if body.metadata is not None:
        changes["metadata"] = body.metadata
    if body.timestamp is not None:
        changes["event_time"] = moments.moment(body.timestamp, "timestamp")
    if "expiration_date" in given:
        last = body.expiration_date
        changes["expires_at"] = None if last is None else moments.expires_at(last)
    if not changes:
        raise wrong("give text, metadata, timestamp or expiration_date: there is nothing to change")
    _refuse_immutable(_existing(backend, [memory_id]))
    with as_wrong():
        asked = m.UpdateRequest(**changes)
    changed = _known(memory_id, lambda: backend.update(memory_id, asked))
    return {**shapes.memory(changed), "text": changed.content}


def _worded(text: str, field: str) -> str:
    if not without_private(text).strip():
        raise wrong(f"{field}: it is empty; to forget a memory, delete it")
    return text


def _refuse_immutable(found: Sequence[m.Memory]) -> None:
    for one in found:
        if shapes.marks(one).get("immutable"):
            raise wrong(f"memory {one.id!r} was added as immutable; delete it and add it anew")


def batch_update(backend: MemoryBackend, body: BatchUpdateBody) -> int:
    """Change many; all are looked up before the first is changed."""
    ids = [one.memory_id for one in body.memories]
    _refuse_twice(ids)
    asked = []
    for at, one in enumerate(body.memories):
        changes: dict[str, Any] = {}
        if one.text is not None:
            changes["content"] = _worded(one.text, f"memories[{at}].text")
        if one.metadata is not None:
            changes["metadata"] = one.metadata
        if not changes:
            raise wrong(f"memories[{at}]: give text or metadata: there is nothing to change")
        with as_wrong():
            asked.append(m.UpdateRequest(**changes))
    _refuse_immutable(_existing(backend, ids))
    for memory_id, request in zip(ids, asked, strict=True):
        backend.update(memory_id, request)
    return len(ids)


def batch_delete(backend: MemoryBackend, body: BatchDeleteBody) -> int:
    """Delete many; if one does not exist, none is deleted."""
    ids = [one.memory_id for one in body.memories]
    _refuse_twice(ids)
    _existing(backend, ids)
    return backend.delete_many(m.DeleteRequest(ids=ids)).deleted


def _refuse_twice(ids: Sequence[str]) -> None:
    if len(set(ids)) < len(ids):
        raise wrong("memories: an id stands there twice; nothing was done")


def delete(backend: MemoryBackend, memory_id: str, *, linked: bool = False) -> None:
    """Delete one memory; with `linked`, also what it took the place of and what rules found in it."""
    _existing(backend, [memory_id])
    doomed = _linked(backend, memory_id) if linked else [memory_id]
    backend.delete_many(m.DeleteRequest(ids=doomed))


def _linked(backend: MemoryBackend, memory_id: str) -> list[str]:
    found = {memory_id: None}
    waiting = [memory_id]
    while waiting:
        one = waiting.pop()
        for edge in backend.links(one):
            other = None
            if edge.type == "SUPERSEDES" and edge.source == one:
                other = edge.target
            elif edge.type == "DERIVED_FROM" and edge.target == one and _only_source(backend, edge.source, found):
                other = edge.source
            if other is not None and other not in found:
                found[other] = None
                waiting.append(other)
    return list(found)


def _only_source(backend: MemoryBackend, fact: str, doomed: dict[str, None]) -> bool:
    sources: list[g.Edge] = backend.links(fact, direction="out")
    return all(edge.target in doomed for edge in sources if edge.type == "DERIVED_FROM")


def delete_selected(backend: MemoryBackend, where: m.Filter) -> int:
    """Delete what a selection holds, expired memories too."""
    try:
        return backend.delete_many(m.DeleteRequest(filter=where)).deleted
    except NotFoundError as error:
        if not error.is_missing_space:
            raise
        return 0  # nothing was ever stored


def feedback(backend: MemoryBackend, body: FeedbackBody) -> dict[str, Any]:
    """Say how useful a memory was."""
    if body.feedback is None:
        raise unserved("feedback that was given is not taken back; say the opposite instead")
    reward = _REWARDS[body.feedback]
    asked = r.FeedbackRequest(items=[r.FeedbackItem(id=body.memory_id, reward=reward)])
    if not _known(body.memory_id, lambda: backend.feedback(asked)):
        raise no_memory(body.memory_id)
    return {
        "id": shapes.stable_id("feedback", body.memory_id, body.feedback),
        "memory_id": body.memory_id,
        "feedback": body.feedback,
        "feedback_reason": None,
    }


# Owners -----------------------------------------------------------------------------------------------


def entities(backend: MemoryBackend) -> list[dict[str, Any]]:
    """Return everybody who has memories, expired ones too: what a reset has to delete."""
    found: list[n.OwnerInfo] = []
    while True:
        asked = n.OwnersRequest(
            columns=list(_TYPE_OF),
            show_expired=True,
            limit=m.MAX_LIMIT,
            offset=len(found),
        )
        try:
            answer = backend.owners(asked)
        except NotFoundError as error:
            if not error.is_missing_space:
                raise
            return []  # nothing was ever stored
        found += answer.results
        if not answer.results or len(found) >= answer.total:
            return [_entity(one) for one in found]


def _entity(one: n.OwnerInfo) -> dict[str, Any]:
    kind = _TYPE_OF[one.column]
    return {
        "id": shapes.stable_id(kind, one.id),
        "name": one.id,
        "type": kind,
        "owner": "t4dm",
        "organization": "t4dm",
        "metadata": {},
        "total_memories": one.count,
        "created_at": moments.text(one.oldest),
        "updated_at": moments.text(one.updated),
    }


def delete_entity(backend: MemoryBackend, kind: str, name: str) -> int:
    """Delete all memories of one user, agent, app or run; that there are none is no error.

    A memory may be of several: after its user is deleted, its agent may have none left.
    """
    column = _ENTITY_TYPES.get(kind)
    if column is None:
        raise wrong(f"an entity is a user, an agent, an app or a run, not a {kind[:100]!r}; nothing was deleted")
    with as_wrong():
        m.Owner.model_validate({column: name})
    return delete_selected(backend, m.Filter(field=column, op="eq", value=name))


def reset(backend: MemoryBackend) -> int:
    """Delete all memories that are somebody's. Those of nobody were not stored by Mem0's clients."""
    somebody = [m.Filter(not_=m.Filter(field=column, op="is_empty")) for column in ENTITIES]
    return delete_selected(backend, m.Filter(or_=somebody))
