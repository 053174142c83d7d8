"""Store, change and forget memories: what `MemoryService` writes.

Read-modify-write calls (`update`, merging batches) are optimistic: they name the version they read, and try again when
another was faster.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from t4dm.sdk import models as m
from t4dm_daemon.core.clock import OPEN, UNBOUNDED
from t4dm_daemon.core.errors import (
    ConflictError,
    DimensionMismatchError,
    GoneError,
    InvalidInputError,
    NotFoundError,
    VectorRequiredError,
)
from t4dm_daemon.core.ids import new_id
from t4dm_daemon.core.item import MUTABLE_FIELDS, Edge, Item
from t4dm_daemon.memory import deletion, records
from t4dm_daemon.memory.associations import Associations, gated
from t4dm_daemon.memory.spaces import SpaceHandle, Spaces
from t4dm_daemon.memory.superseding import superseding
from t4dm_daemon.memory.turns import MAX_ATTEMPTS, Turns
from t4dm_daemon.storage.protocol import FieldUpdate, InsertResult, Outcome, Token, View, Write

Vectors = npt.NDArray[np.float32]


class TextEmbedder(Protocol):
    """Turns texts into unit vectors (`embedding.queue.EmbeddingQueue`)."""

    def embed(self, texts: Sequence[str], *, bulk: bool = False, timeout_s: float | None = None) -> Vectors: ...
    @property
    def counted_by(self) -> str: ...
    def count_tokens(self, texts: Sequence[str]) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class Stored:
    """A memory and what the write did."""

    item: Item
    outcome: Outcome


class MemoryWriter:
    """Write memories; each is on disk when the call returns.

    Args:
        spaces: Where they live.
        embedder: Embeds texts; its calls block until the model has answered.
        deadline_s: Longest wait for the embedder.
        bulk_deadline_s: The same for a batch.
    """

    def __init__(self, spaces: Spaces, embedder: TextEmbedder, *, deadline_s: float, bulk_deadline_s: float) -> None:
        self.spaces = spaces
        self._embedder = embedder
        self._deadline_s = deadline_s
        self._bulk_deadline_s = bulk_deadline_s
        self._turns = Turns()
        self._associations = Associations()

    def store(self, request: m.StoreRequest, *, idempotency_key: str | None = None) -> Stored:
        """Store one memory; it is on disk when this returns.

        Raises:
            InvalidInputError, DimensionMismatchError, ConflictError, EmbeddingError, StorageError.
            GoneError: What the idempotency key stored has been purged.
        """
        token = _token(idempotency_key, request)
        handle, result = self._insert(request.space, [request], "replace", token, bulk=False)
        outcome = result.outcomes[0]
        return Stored(self._as_answered(handle, outcome, result.recorded_at), outcome)

    def _as_answered(self, handle: SpaceHandle, outcome: Outcome, recorded_at: int) -> Item:
        """Return a memory as it was when it was stored, whatever others did since. Raises GoneError."""
        view = View(known_at=recorded_at, include_expired=True)
        try:
            (item,) = handle.backend.get([outcome.id], view=view)
        except InvalidInputError:  # that moment was purged; the memory may be there all the same
            (item,) = handle.backend.get([outcome.id], view=View(include_expired=True))
            item = item if item is not None and item.version == outcome.version else None
        if item is None:
            raise GoneError(
                f"memory {outcome.id!r} was stored, and has been purged since; "
                "to store it anew, take another idempotency key",
                id=outcome.id,
                space=handle.name,
            )
        return item

    def batch(self, request: m.BatchRequest, *, idempotency_key: str | None = None) -> InsertResult:
        """Store many memories, all or none.

        Raises:
            InvalidInputError: Names the position of the first record that is wrong.
            ConflictError: `on_conflict` is `error` and an id exists.
        """
        token = _token(request.idempotency_key or idempotency_key, request)
        if not request.records:
            return InsertResult((), 0)
        bulk = len(request.records) > 1
        return self._insert(request.space, request.records, request.on_conflict, token, bulk=bulk)[1]

    def _insert(
        self, space: str, given: Sequence[m.RecordIn], on_conflict: m.OnConflict, token: Token | None, *, bulk: bool
    ) -> tuple[SpaceHandle, InsertResult]:
        ids = [record.id if record.id is not None else new_id() for record in given]
        _check_successions(given)
        now = time.time_ns() // 1000
        fresh = [_fresh(record, ids[at], now, at) for at, record in enumerate(given)]
        handle = self.spaces.open_or_create(
            space,
            dimensions={len(item.vector) for item in fresh if item.vector is not None},
            needs_embedding=any(
                item.vector is None and record.embed and item.content.strip()
                for record, item in zip(given, fresh, strict=True)
            ),
        )
        for at, item in enumerate(fresh):
            check_dimension(handle, item.vector, record=at)
        if token is not None and (before := handle.backend.answered(token)) is not None:
            # What the write began with may be gone by now: its answer stays the same.
            return handle, _answer(before, given)
        deduplicated = [record.id is None and record.dedup == "exact" and not record.supersedes for record in given]
        known: set[int] | None = None
        times_named = Counter(ids)
        for lost in range(MAX_ATTEMPTS):
            with self._turns.attempt(lost):
                there: list[Item | None] = [None] * len(given)
                if on_conflict != "error" and any(record.id is not None for record in given):
                    there = handle.backend.get(ids, view=View(include_expired=True), with_vectors=True)
                current = there if on_conflict == "merge" else [None] * len(given)
                items = [
                    item if old is None else records.merged_item(record, old, item)
                    for record, old, item in zip(given, current, fresh, strict=True)
                ]
                if known is None:  # a text that turned out not to be known any more is embedded at the next attempt
                    known = {at for at, item in enumerate(items) if deduplicated[at] and _is_known(handle, item)}
                items = self._embedded(handle, given, items, current, known, bulk=bulk)
                items, ties = self._tied(handle, given, items, known)
                same = {
                    at
                    for at, (record, item, old) in enumerate(zip(given, items, there, strict=True))
                    if old is not None and times_named[old.id] == 1 and records.is_same(record, old, item)
                }
                writes = [
                    _confirmed(there[at])
                    if at in same
                    else Write(
                        item,
                        expected_version=_expected(on_conflict, old),
                        dedup=deduplicated[at],
                        only_duplicate=at in known,
                        carry=frozenset() if old is None else _untouched(record),
                    )
                    for at, (record, item, old) in enumerate(zip(given, items, current, strict=True))
                ]
                edges: list[Edge] = []
                closing: dict[str, Write] = {}  # several of a batch may take the place of one
                for record, item in zip(given, items, strict=True):
                    if record.supersedes:
                        ended, links = superseding(handle.backend, item, record.supersedes, now=now)
                        edges += links
                        for write in ended:
                            closing.setdefault(write.item.id, write)
                writes += closing.values()
                is_new = [at not in known and old is None for at, old in enumerate(there)]
                named = {item.id for at, item in enumerate(items) if not deduplicated[at]}
                try:
                    with self._associations.turns(handle.name, items):
                        chain = self._associations.sequence(handle.name, items, is_new, handle.backend, named=named)
                        result = handle.backend.insert(writes, edges, optional_edges=[*ties, *chain], token=token)
                        result = _answer(result, given)
                        if not result.replayed:
                            self._associations.stored(handle.name, items, result.outcomes)
                except ConflictError as error:
                    if error.code != ConflictError.code or not (known or same or edges or on_conflict == "merge"):
                        raise
                    known = set()
                    continue
            self._touch_duplicates(handle, result, deduplicated)
            return handle, result
        raise ConflictError("these memories keep changing; try again")

    def _tied(
        self, handle: SpaceHandle, given: Sequence[m.RecordIn], items: list[Item], known: Set[int]
    ) -> tuple[list[Item], list[Edge]]:
        """Return the items with the importance of what is new, and links to what says nearly the same."""
        chosen = [
            at
            for at, (record, item) in enumerate(zip(given, items, strict=True))
            if record.id is None and record.dedup == "exact" and at not in known and item.vector is not None
        ]
        links, novelty = self._associations.likeness(items, chosen, handle.backend)
        return [
            gated(item, novelty[at]) if at in novelty and "importance" not in given[at].model_fields_set else item
            for at, item in enumerate(items)
        ], links

    def _embedded(
        self,
        handle: SpaceHandle,
        given: Sequence[m.RecordIn],
        items: list[Item],
        current: Sequence[Item | None],
        known: Set[int],
        *,
        bulk: bool,
    ) -> list[Item]:
        """Return the items with their vectors.

        A text in `known` is not embedded: it is a duplicate and will not be added. A merge that does not change
        the text keeps the vector it had, or had not; one that does, and says `embed: false`, has none.
        """
        waiting: list[int] = []
        for at, (record, item, old) in enumerate(zip(given, items, current, strict=True)):
            if record.vector is not None or at in known:
                continue
            if old is not None and old.content == item.content:
                continue
            if not record.embed or not item.content.strip():
                items[at] = dataclasses.replace(item, vector=None)
                continue
            if not handle.embeds:
                raise VectorRequiredError(
                    f"the vectors of space {handle.name!r} come from its callers: give a vector, or embed: false",
                    space=handle.name,
                    record=at,
                )
            waiting.append(at)
        if waiting:
            texts = [items[at].content for at in waiting]
            patience_s = self._bulk_deadline_s if bulk else self._deadline_s
            vectors = self._embedder.embed(texts, bulk=bulk, timeout_s=patience_s)
            for at, vector in zip(waiting, vectors, strict=True):
                items[at] = dataclasses.replace(items[at], vector=vector)
        return items

    def _touch_duplicates(self, handle: SpaceHandle, result: InsertResult, deduplicated: Sequence[bool]) -> None:
        """Record that a text was told again; not that a memory was stored again as it is."""
        if result.replayed:
            return
        known = [
            outcome.id
            for outcome, is_text in zip(result.outcomes, deduplicated, strict=True)
            if is_text and outcome.status == "duplicate"
        ]
        if known:
            self._touch(handle, known)

    def update(self, memory_id: str, request: m.UpdateRequest, *, space: str = "default") -> Item:
        """Change one memory and return it. Learning state changes in place; all else makes a new version.

        Raises:
            NotFoundError, ConflictError (with `expected_version`), InvalidInputError.
        """
        handle = self.spaces.open(space)
        for lost in range(MAX_ATTEMPTS):
            with self._turns.attempt(lost):
                item = self._try_update(handle, memory_id, request)
            if item is not None:
                return item
        raise ConflictError(f"memory {memory_id!r} keeps changing; try again", id=memory_id)

    def _try_update(self, handle: SpaceHandle, memory_id: str, request: m.UpdateRequest) -> Item | None:
        """Return the changed memory, None when another change came in between."""
        current = self._one(handle, memory_id, view=View(include_expired=True), with_vectors=True)
        if request.expected_version not in (None, current.version):
            raise ConflictError(
                f"memory {memory_id!r} is at version {current.version}, not {request.expected_version}",
                id=memory_id,
                expected=request.expected_version,
                found=current.version,
            )
        item = records.patched_item(request, current)
        check_dimension(handle, item.vector)
        changed = records.changed_fields(current, item)
        if not changed:
            return current
        if records.is_learning_state(changed) and request.expected_version is None:
            values = {name: getattr(item, name) for name in changed & set(MUTABLE_FIELDS)}
            if all(handle.backend.update_fields([FieldUpdate(memory_id, set=values)])):
                return self._one(handle, memory_id, view=View(include_expired=True), with_vectors=False)
            return None
        if "content" in changed and request.vector is None and current.vector is not None:
            item = self._reembedded(handle, item)
        elif "content" in changed and item.vector is None and handle.embeds and not current.content.strip():
            item = self._reembedded(handle, item)
        write = Write(
            dataclasses.replace(item, updated_at=UNBOUNDED),
            expected_version=current.version,
            carry=frozenset(MUTABLE_FIELDS) - changed,
        )
        try:
            result = handle.backend.insert([write])
        except ConflictError:
            if request.expected_version is not None:
                raise
            return None
        view = View(known_at=result.recorded_at, include_expired=True)
        return self._one(handle, memory_id, view=view, with_vectors=False)

    def _reembedded(self, handle: SpaceHandle, item: Item) -> Item:
        if not handle.embeds:
            raise VectorRequiredError(
                f"the vectors of space {handle.name!r} come from its callers: new content needs a new vector",
                space=handle.name,
            )
        if not item.content.strip():
            return dataclasses.replace(item, vector=None)
        return dataclasses.replace(item, vector=self._embedder.embed([item.content], timeout_s=self._deadline_s)[0])

    def delete(self, memory_id: str, *, space: str = "default", purge: bool = False) -> None:
        """Delete one memory. Its past stays visible to `known_at`, unless it is purged. Raises NotFoundError."""
        if not deletion.delete_one(self.spaces.open(space).backend, memory_id, purge=purge):
            raise not_found(memory_id, space)

    def delete_many(self, request: m.DeleteRequest) -> deletion.Removed:
        """Delete what the request selects and return how many; with `dry_run`, how many it would be.

        Raises:
            EmptySelectorError: Nothing is selected and `all` is not true.
        """
        return deletion.delete_selected(self.spaces, request)

    def touch(self, request: m.TouchRequest) -> int:
        """Record that memories were used, and return how many of them exist."""
        handle, ids = self.spaces.open(request.space), request.ids
        if request.ttl_s is None:
            return self._touch(handle, ids)
        now = time.time_ns() // 1000
        changed = {"last_accessed": now, "expires_at": now + round(request.ttl_s * 1e6)}
        # What has expired does not come back, and what is rewritten meanwhile keeps the time it was given.
        updates = [
            FieldUpdate(one.id, set=changed, add={"access_count": 1}, expected_version=one.version)
            for one in handle.backend.get(ids)
            if one is not None and not (request.only_expiring and one.expires_at == OPEN)
        ]
        return sum(handle.backend.update_fields(updates))

    def _touch(self, handle: SpaceHandle, ids: Sequence[str]) -> int:
        changed = {"last_accessed": time.time_ns() // 1000}
        return sum(
            handle.backend.update_fields([FieldUpdate(one, set=changed, add={"access_count": 1}) for one in ids])
        )

    def _one(self, handle: SpaceHandle, memory_id: str, *, view: View, with_vectors: bool) -> Item:
        (item,) = handle.backend.get([memory_id], view=view, with_vectors=with_vectors)
        if item is None:
            raise not_found(memory_id, handle.name)
        return item


def not_found(memory_id: str, space: str) -> NotFoundError:
    return NotFoundError(f"there is no memory {memory_id!r} in space {space!r}", id=memory_id, space=space)


def _confirmed(item: Item | None) -> Write:
    """Return the write of what is there already, which writes nothing while it is."""
    assert item is not None
    return Write(Item(id=item.id), expected_version=item.version, unchanged=True)


def _is_known(handle: SpaceHandle, item: Item) -> bool:
    found = handle.backend.find_hash(item.content_hash, valid_from=item.valid_from, valid_to=item.valid_to)
    return found is not None


def _expected(on_conflict: m.OnConflict, current: Item | None) -> int | None:
    if on_conflict == "replace":
        return None
    if on_conflict == "error" or current is None:
        return 0
    return current.version


def _fresh(record: m.RecordIn, item_id: str, now: int, position: int) -> Item:
    """Return the item of a record alone. An error names the record's position."""
    try:
        vector = records.to_vector(record.vector) if record.vector is not None else None
        return records.new_item(record, item_id=item_id, now=now, vector=vector)
    except InvalidInputError as error:
        error.details.setdefault("record", position)
        raise


def _untouched(record: m.RecordIn) -> frozenset[str]:
    """Return the learning state that a merging record does not give: what is stored stays, whoever changed it last."""
    given = record.model_fields_set | ({"expires_at"} if record.ttl_s is not None else set())
    return frozenset(MUTABLE_FIELDS) - given


def _answer(result: InsertResult, given: Sequence[m.RecordIn]) -> InsertResult:
    """Return what became of the records given, without the memories that were ended with them."""
    return dataclasses.replace(result, outcomes=result.outcomes[: len(given)])


def _check_successions(given: Sequence[m.RecordIn]) -> None:
    """Raise InvalidInputError when one batch writes a memory and supersedes it: which comes first, it does not say."""
    written = {record.id: at for at, record in enumerate(given) if record.id is not None}
    for at, record in enumerate(given):
        for old in record.supersedes or ():
            if old in written and written[old] != at:
                raise InvalidInputError(
                    f"memory {old!r} is superseded by record {at} and written by record {written[old]} of one batch: "
                    "send them as two requests, in the order that is meant",
                    field="supersedes",
                    id=old,
                    record=at,
                )


def check_dimension(handle: SpaceHandle, vector: Vectors | None, **details: int) -> None:
    stored = handle.backend.dimension
    if vector is not None and stored is not None and stored != vector.shape[0]:
        error = DimensionMismatchError(stored, vector.shape[0], space=handle.name)
        error.details.update(details)
        raise error


def _token(key: str | None, request: m.StoreRequest | m.BatchRequest) -> Token | None:
    if key is None:
        return None
    body = request.model_dump_json(exclude={"idempotency_key"}).encode()
    return Token(
        key=hashlib.blake2b(key.encode(), digest_size=16).digest(),
        fingerprint=hashlib.blake2b(body, digest_size=16).digest(),
    )
