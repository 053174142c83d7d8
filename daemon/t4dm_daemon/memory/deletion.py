"""Delete what a request selects, and forget it for good where that is asked for.

A deletion ends the current version of a memory: `known_at` and the history go on telling of it. A purge forgets
the ended versions. The two are two writes: after a crash between them the memory is deleted but not yet
forgotten, so a purge by id also finds what was deleted before, and may be repeated until it is done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from t4dm.sdk import models as m
from t4dm_daemon.core.filter import Filter, Leaf, all_of
from t4dm_daemon.memory import filters
from t4dm_daemon.memory.spaces import Spaces
from t4dm_daemon.storage.protocol import Deletion, StorageBackend, View

_PAGE: Final = 5_000
_EVERYTHING: Final = View(include_expired=True)


@dataclass(frozen=True, slots=True)
class Removed:
    """How many memories were deleted (or would be), and how many versions were forgotten."""

    deleted: int
    purged: int = 0


def delete_one(backend: StorageBackend, memory_id: str, *, purge: bool) -> bool:
    """Delete one memory; False when there was none, nor, with `purge`, a past to forget."""
    was_there = backend.delete([Deletion(memory_id)])[0]
    was_purged = purge and backend.purge([memory_id]) > 0
    return was_there or was_purged


def delete_selected(spaces: Spaces, request: m.DeleteRequest) -> Removed:
    """Delete what the request selects.

    Raises:
        EmptySelectorError: Nothing is selected and `all` is not true.
    """
    where = filters.deletion_filter(request)
    backend = spaces.open(request.space).backend
    if request.ids is not None:
        if where is None:
            return _delete_named(backend, list(dict.fromkeys(request.ids)), request)
        where = all_of(Leaf("id", "in", request.ids), where)
    return _delete_matching(backend, where, request)


def _delete_named(backend: StorageBackend, ids: Sequence[str], request: m.DeleteRequest) -> Removed:
    found = backend.get(ids, view=_EVERYTHING)
    current = [Deletion(item.id, item.version) for item in found if item is not None]
    past = []
    if request.purge:
        past = [one for one, item in zip(ids, found, strict=True) if item is None and backend.history(one)]
    if request.dry_run:
        return Removed(len(current) + len(past))
    removed = _delete(backend, current, purge=request.purge)
    forgotten = backend.purge(past) if past else 0
    return Removed(removed.deleted + len(past), removed.purged + forgotten)


def _delete_matching(backend: StorageBackend, where: Filter | None, request: m.DeleteRequest) -> Removed:
    view = dataclasses.replace(_EVERYTHING, known_at=backend.snapshot())
    deleted = purged = 0
    after: tuple[int, int] | None = None
    while True:
        page = backend.scan(where=where, view=view, limit=_PAGE, after=after)
        if request.dry_run:
            return Removed(page.total)
        removed = _delete(backend, [Deletion(item.id, item.version) for item in page.items], purge=request.purge)
        deleted += removed.deleted
        purged += removed.purged
        after = page.after
        if after is None:
            return Removed(deleted, purged)


def _delete(backend: StorageBackend, deletions: Sequence[Deletion], *, purge: bool) -> Removed:
    if not deletions:
        return Removed(0)
    gone = [one.id for one, is_done in zip(deletions, backend.delete(deletions), strict=True) if is_done]
    return Removed(len(gone), backend.purge(gone) if purge and gone else 0)
