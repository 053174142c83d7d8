"""A new fact takes the place of old ones: they stop being true, and stay told of.

The valid time of each old memory ends where that of the new one begins, in a new version of it, and a SUPERSEDES link
leads from the new to the old. All of it is part of the write of the new memory: all or nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from t4dm_daemon.core.clock import UNBOUNDED, from_micros
from t4dm_daemon.core.errors import ConflictError, InvalidInputError, NotFoundError
from t4dm_daemon.core.item import MUTABLE_FIELDS, Edge, Item
from t4dm_daemon.storage.protocol import StorageBackend, View, Write


def superseding(
    backend: StorageBackend, new: Item, old_ids: Sequence[str], *, now: int
) -> tuple[list[Write], list[Edge]]:
    """Return what to write beside `new`, so that it takes the place of the memories `old_ids`.

    Raises:
        InvalidInputError: One of them does not exist, or it would supersede itself.
    """
    old_ids = list(dict.fromkeys(old_ids))
    if new.id in old_ids:
        raise InvalidInputError(f"memory {new.id!r} cannot supersede itself", field="supersedes", id=new.id)
    writes, edges = [], []
    moment = now if new.valid_from == UNBOUNDED else new.valid_from
    for old_id, old in zip(
        old_ids, backend.get(old_ids, view=View(include_expired=True), with_vectors=True), strict=True
    ):
        if old is None:
            raise InvalidInputError(f"there is no memory {old_id!r} to supersede", id=old_id, field="supersedes")
        edges.append(Edge(new.id, old_id, "SUPERSEDES"))
        end = max(moment, old.valid_from + 1)  # an interval has a length
        if end < old.valid_to:
            writes.append(_closed(old, end))
    return writes, edges


def succession(backend: StorageBackend, old_id: str, new_id: str | None, moment: int) -> tuple[Write, list[Edge]]:
    """Return what to write so that a memory ends at a moment, and the link from what takes its place, if anything does.

    Stricter than `superseding`: what has ended already has been succeeded already, and is left alone. The write names
    the version it was made from; when another was faster, inserting it is a ConflictError, and one may begin again.

    Raises:
        NotFoundError: There is no such memory.
        ConflictError: It has ended by that moment.
        InvalidInputError: It begins only then, or would supersede itself.
    """
    (old,) = backend.get([old_id], view=View(include_expired=True), with_vectors=True)
    if old is None:
        raise NotFoundError(f"there is no memory {old_id!r} to supersede", id=old_id)
    if new_id == old_id:
        raise InvalidInputError(f"memory {old_id!r} cannot supersede itself", id=old_id)
    if old.valid_to <= moment:
        since = from_micros(old.valid_to).isoformat()
        raise ConflictError(f"memory {old_id!r} is not true any more since {since}", id=old_id, valid_to=since)
    if old.valid_from >= moment:
        since = from_micros(old.valid_from).isoformat()
        raise InvalidInputError(
            f"memory {old_id!r} is true from {since} on: what takes its place begins later",
            id=old_id,
            valid_from=since,
        )
    return _closed(old, moment), [] if new_id is None else [Edge(new_id, old_id, "SUPERSEDES")]


def _closed(old: Item, end: int) -> Write:
    closed = dataclasses.replace(old, valid_to=end, updated_at=UNBOUNDED)
    return Write(closed, expected_version=old.version, carry=frozenset(MUTABLE_FIELDS))
