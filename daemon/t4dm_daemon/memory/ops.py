"""A mixed batch of reads and writes.

Order of work: every read, in the order given; then, space by space, the puts in one atomic write, the deletions in
one, the touches in one. So reads see the state before the batch, and a batch that cannot be read or whose writes
are wrong changes nothing. What is checked before the first write: every record of every put, the dimension of its
vector, the spaces of deletions and touches, and that no id is both put and deleted. What can still fail after a
write to one space is the embedder, the disk, or an `on_conflict: error` in another space; a batch whose writes go
to one space is stored all or none, but for its deletions and touches.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from t4dm.sdk import models as m
from t4dm.sdk import namespace_models as n
from t4dm.sdk import ops_models as o
from t4dm_daemon.core.errors import DaemonError, DimensionMismatchError, InvalidInputError, NotFoundError
from t4dm_daemon.core.item import Item
from t4dm_daemon.memory import records
from t4dm_daemon.memory.namespaces import NamespaceService
from t4dm_daemon.memory.ranking import Hit
from t4dm_daemon.memory.service import MemoryService
from t4dm_daemon.storage.protocol import Deletion, Outcome


@dataclass(frozen=True, slots=True)
class Got:
    items: list[Item]


@dataclass(frozen=True, slots=True)
class Found:
    hits: list[Hit]


@dataclass(frozen=True, slots=True)
class Listed:
    items: list[Item]
    total: int
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Counted:
    """How many were deleted, or touched."""

    count: int


Result = Got | Found | Listed | n.NamespaceList | Outcome | Counted
"""What became of one operation; an `Outcome` is that of a put."""


@dataclass(slots=True)
class _Writes:
    """What is to be done to one space, by position in the batch."""

    puts: dict[int, o.PutOp] = field(default_factory=dict)
    deletions: dict[int, o.DeleteOp] = field(default_factory=dict)
    touches: dict[int, o.TouchOp] = field(default_factory=dict)


class OpsService:
    """Carry out mixed batches. Thread-safe: it holds no state of its own."""

    def __init__(self, service: MemoryService, namespaces: NamespaceService) -> None:
        self._service = service
        self._namespaces = namespaces

    def run(self, request: o.OpsRequest, *, idempotency_key: str | None = None) -> list[Result]:
        """Carry out a batch; one result for each operation, in order.

        Raises:
            DaemonError: As the operation that failed would by itself; `details["op"]` is its position.
        """
        results: dict[int, Result] = {}
        writes: dict[str, _Writes] = defaultdict(_Writes)
        for at, op in enumerate(request.ops):
            if isinstance(op, o.PutOp):
                writes[op.space].puts[at] = op
            elif isinstance(op, o.DeleteOp):
                writes[op.space].deletions[at] = op
            elif isinstance(op, o.TouchOp):
                writes[op.space].touches[at] = op
            else:
                results[at] = self._read(at, op)
        for space, wanted in writes.items():
            self._check(space, wanted)
        for space, wanted in writes.items():
            results |= self._write(space, wanted, request.on_conflict, idempotency_key)
        return [results[at] for at in range(len(request.ops))]

    def _read(self, at: int, op: o.GetOp | o.SearchOp | o.ListOp | o.ListNamespacesOp) -> Result:
        with _named(at):
            if isinstance(op, o.GetOp):
                return Got(self._service.get_many(op))
            if isinstance(op, o.SearchOp):
                return Found(self._service.search(op))
            if isinstance(op, o.ListOp):
                return Listed(*self._service.list(op))
            return self._namespaces.namespaces(op)

    def _check(self, space: str, wanted: _Writes) -> None:
        """Refuse what would be refused after something was written. Raises DaemonError."""
        now = time.time_ns() // 1000
        dimension: int | None = None
        try:
            dimension = self._service.spaces.open(space).backend.dimension
        except NotFoundError:
            if not wanted.puts:  # which would make it
                with _named(min([*wanted.deletions, *wanted.touches])):
                    raise
        for at, put in wanted.puts.items():
            with _named(at):
                given = _checked_dimension(put, now)
                if given is not None and dimension not in (None, given):
                    assert dimension is not None
                    raise DimensionMismatchError(dimension, given, space=space)
                dimension = dimension if given is None else given
        put_ids = {put.id for put in wanted.puts.values()}
        for at, deletion in wanted.deletions.items():
            both = [one for one in deletion.ids if one in put_ids]
            if both:
                with _named(at):
                    raise InvalidInputError(f"one batch cannot put and delete {both[0]!r}", ids=both)

    def _write(
        self, space: str, wanted: _Writes, on_conflict: m.OnConflict, idempotency_key: str | None
    ) -> dict[int, Result]:
        results: dict[int, Result] = {}
        if wanted.puts:
            positions = list(wanted.puts)
            batch = m.BatchRequest(
                records=[_record(put) for put in wanted.puts.values()], space=space, on_conflict=on_conflict
            )
            with _named(wanted.puts):
                stored = self._service.batch(batch, idempotency_key=idempotency_key)
            results.update(zip(positions, stored.outcomes, strict=True))
        if wanted.deletions:
            backend = self._service.spaces.open(space).backend
            ids = [one for deletion in wanted.deletions.values() for one in deletion.ids]
            done = iter(backend.delete([Deletion(one) for one in ids]))
            for at, deletion in wanted.deletions.items():
                results[at] = Counted(sum(next(done) for _ in deletion.ids))
        for at, touch in wanted.touches.items():
            with _named(at):
                results[at] = Counted(self._service.touch(touch))
        return results


def _record(op: o.PutOp) -> m.RecordIn:
    """Return the record of a put, with just the fields that were given: a merge asks for that."""
    given = op.model_fields_set - {"op", "space"}
    values = {name: getattr(op, name) for name in m.RecordIn.model_fields}
    return m.RecordIn.model_construct(_fields_set=given, **values)


def _checked_dimension(op: o.PutOp, now: int) -> int | None:
    """Return the dimension of a put's vector; the whole record is checked. Raises InvalidInputError."""
    vector = None if op.vector is None else records.to_vector(op.vector)
    records.new_item(op, item_id=op.id or "", now=now, vector=vector)
    return None if vector is None else len(vector)


@contextmanager
def _named(at: int | Mapping[int, o.PutOp]) -> Generator[None]:
    """Let an error say which operation it is about; of several puts, the one that its `record` or `id` names."""
    try:
        yield
    except DaemonError as error:
        position = at if isinstance(at, int) else _position(at, error)
        if position is not None:
            error.details["op"] = position
            error.message = f"operation {position}: {error.message}"
        raise


def _position(puts: Mapping[int, o.PutOp], error: DaemonError) -> int | None:
    record, named = error.details.pop("record", None), error.details.get("id")
    if isinstance(record, int):
        return list(puts)[record]
    return next((at for at, put in puts.items() if named is not None and put.id == named), None)
