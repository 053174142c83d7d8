"""A batch from end to end, as steps that the store carries out, waiting or awaiting.

    embed    what is put and asked for is embedded
    reads    every read asks, in rounds; the writes go with the first round where that is certainly the last
    writes   puts and deletions; only the last of several for one item counts
    touches  the time to live of what was read begins anew

What is left over of items that had more texts than now is deleted at the end: nothing finds it in the meantime.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchOp,
    validate_op_namespace,
)

from t4dm.sdk import models as m
from t4dm.sdk import ops_models as o
from t4dm.sdk._validation import as_validation_error
from t4dm_integrations.langgraph import records
from t4dm_integrations.langgraph.reads import Got, Listing, Namespaces, Question, Ranked, Read, times_to_live
from t4dm_integrations.langgraph.records import Partition
from t4dm_integrations.langgraph.texts import Indexing

_MAX_OPS: Final = m.MAX_K
_MAX_BYTES: Final = 24 * 1024 * 1024
"""Of puts in one request; the daemon takes bodies of 32 MiB."""
_MAX_LABELS: Final = 32


@dataclass(frozen=True, slots=True)
class Embed:
    """Embed texts to store, and questions. Answered with the vectors of each."""

    texts: list[str]
    queries: list[str]


@dataclass(frozen=True, slots=True)
class Ask:
    """Carry out operations of the daemon. Answered with their results."""

    request: o.OpsRequest


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete what is left over."""

    request: m.DeleteRequest


Vectors = tuple[list[Any], list[Any]]
Steps = Generator[Embed | Ask | Remove, Any, list[Result]]


@dataclass(slots=True)
class _Write:
    """What is to be done to one item."""

    op: PutOp
    item_id: str
    puts: list[o.PutOp]
    size_bytes: int

    @property
    def is_deletion(self) -> bool:
        return not self.puts

    @property
    def next_text(self) -> str:
        """The id of the first text that the item has no longer, if it had more."""
        return records.text_id(self.item_id, max(1, len(self.puts)))


def steps(given: Iterable[Op], partition: Partition, indexing: Indexing) -> Steps:
    """Carry out a batch: yields what is to be done, and returns the results in the order of the operations.

    Raises:
        InvalidNamespaceError: A namespace that LangGraph or T4DM does not take.
        ValueError, TypeError: An operation that makes no sense.
        ValidationError: One that the daemon would refuse.
    """
    ops = list(given)
    for op in ops:
        _check(op)
    with as_validation_error():
        reads, writes = yield from _prepared(ops, partition, indexing)
        requests = _requests(writes, partition)
        stale: list[m.Memory] = []
        asking = _asking(reads.values())
        if len(requests) == 1 and all(read.is_one_round for read in reads.values()):
            # One request takes it all, and its reads see what was there before its writes.
            asked = [op for _, several in asking for op in several]
            if len(asked) + len(requests[0]) <= _MAX_OPS:
                answers = yield from _asked([*asked, *requests.pop()])
                _hand_out(asking, answers)
                stale += _left_over(answers[len(asked) :])
                asking = _asking(reads.values())
        while asking:
            _hand_out(asking, (yield from _asked([op for _, several in asking for op in several])))
            asking = _asking(reads.values())
        for request in requests:
            stale += _left_over((yield from _asked(request)))
        if stale:
            yield Remove(_removal(stale, partition))
        touches = _touches(reads.values(), {one.item_id for one in writes}, partition)
        if touches:
            yield from _asked(touches)
    return [reads[at].result() if at in reads else None for at in range(len(ops))]


def _check(op: Op) -> None:
    if not isinstance(op, GetOp | SearchOp | PutOp | ListNamespacesOp):
        raise ValueError(f"Unknown operation type: {type(op)}")
    validate_op_namespace(op)
    if isinstance(op, ListNamespacesOp):
        paths = [one.path for one in op.match_conditions or ()]
    else:
        paths = [op.namespace_prefix if isinstance(op, SearchOp) else op.namespace]
    for path in paths:
        if len(path) > _MAX_LABELS:
            raise InvalidNamespaceError(f"a namespace has at most {_MAX_LABELS} labels, this one has {len(path)}")
        for label in path:
            if len(label.encode("utf-8", "replace")) > m.MAX_LABEL_BYTES:
                raise InvalidNamespaceError(
                    f"a namespace label has at most {m.MAX_LABEL_BYTES} bytes of UTF-8, this one begins {label[:40]!r}"
                )


def _prepared(
    ops: Sequence[Op], partition: Partition, indexing: Indexing
) -> Generator[Embed, Vectors, tuple[dict[int, Read], list[_Write]]]:
    """Return the reads by their place in the batch, and the last write for each item, in the order of the first."""
    last: dict[str, PutOp] = {}
    for op in ops:
        if isinstance(op, PutOp):
            last[records.key_of(op, partition)] = records.plain(op)
    texts = {item_id: indexing.texts(op) for item_id, op in last.items()}
    questions = {at: op.query for at, op in enumerate(ops) if isinstance(op, SearchOp) and _is_asked(op, indexing)}
    vectors: dict[str, Sequence[float]] = {}
    asked: dict[str, Sequence[float]] = {}
    if indexing.embeddings is not None:
        documents = list(dict.fromkeys(text for several in texts.values() for text in several))
        queries = list(dict.fromkeys(query for query in questions.values() if query))
        if documents or queries:
            stored, wanted = yield Embed(documents, queries)
            _check_count(stored, documents)
            vectors = dict(zip(documents, map(indexing.checked, stored), strict=True))
            asked = dict(zip(queries, map(indexing.checked, wanted), strict=True))
    reads: dict[int, Read] = {}
    for at, op in enumerate(ops):
        if isinstance(op, GetOp):
            reads[at] = Got(op, partition)
        elif isinstance(op, ListNamespacesOp):
            reads[at] = Namespaces(op, partition)
        elif isinstance(op, SearchOp):
            query = questions.get(at)
            vector = asked.get(query) if query else None
            if not query or (vector is not None and not any(vector)):  # a question without direction ranks nothing
                reads[at] = Listing(op, partition)
            else:
                reads[at] = Ranked(op, partition, Question(query, vector), expected=indexing.expected)
    writes = []
    for item_id, op in last.items():
        if op.value is None:
            writes.append(_Write(op, item_id, [], 0))
        else:
            found_by = indexing.with_vectors(texts[item_id], vectors)
            writes.append(_Write(op, item_id, *records.records_of(op, found_by, partition)))
    return reads, writes


def _is_asked(op: SearchOp, indexing: Indexing) -> bool:
    if not op.query or not indexing.is_on:
        return False
    return indexing.embeddings is not None or bool(op.query.strip())


def _check_count(vectors: Sequence[Any], texts: Sequence[str]) -> None:
    if len(vectors) != len(texts):
        raise ValueError(f"the embedder made {len(vectors)} vectors of {len(texts)} texts")


def _asking(reads: Iterable[Read]) -> list[tuple[Read, list[o.Op]]]:
    """Return the reads that are not done, with what they ask next."""
    return [(read, asked) for read in reads if (asked := read.ask())]


def _hand_out(asking: Sequence[tuple[Read, list[o.Op]]], answers: Iterable[Any]) -> None:
    """Give each read its answers."""
    left = iter(answers)
    for read, asked in asking:
        read.take([next(left) for _ in asked])


def _asked(ops: Sequence[o.Op]) -> Generator[Ask, Sequence[Any], list[Any]]:
    """Carry out operations in as few requests as the daemon allows."""
    results: list[Any] = []
    for at in range(0, len(ops), _MAX_OPS):
        results += yield Ask(o.OpsRequest(ops=list(ops[at : at + _MAX_OPS])))
    return results


def _requests(writes: Sequence[_Write], partition: Partition) -> list[list[o.Op]]:
    """Return the operations of all writes, cut where the daemon would take no more; an item is never cut."""
    requests: list[list[o.Op]] = []
    part: list[_Write] = []
    count = size_bytes = 0
    for one in writes:
        needed = max(1, len(one.puts))
        if part and (count + needed + 2 > _MAX_OPS or size_bytes + one.size_bytes > _MAX_BYTES):
            requests.append(_request(part, partition))
            part, count, size_bytes = [], 0, 0
        part.append(one)
        count, size_bytes = count + needed, size_bytes + one.size_bytes
    if part:
        requests.append(_request(part, partition))
    return requests


def _request(writes: Sequence[_Write], partition: Partition) -> list[o.Op]:
    ops: list[o.Op] = [o.GetOp(op="get", ids=[one.next_text for one in writes], space=partition.space)]
    ops += [put for one in writes for put in one.puts]
    deleted = [one.item_id for one in writes if one.is_deletion]
    if deleted:
        ops.append(o.DeleteOp(op="delete", ids=deleted, space=partition.space))
    return ops


def _left_over(results: Sequence[Any]) -> list[m.Memory]:
    """Return a text of each item that had more of them than it has now. (The first answer is that of the probe.)"""
    probe: o.GetResult = results[0]
    return probe.results


def _removal(stale: Sequence[m.Memory], partition: Partition) -> m.DeleteRequest:
    """Return what deletes the texts of these items that are no newer: another writer's are."""
    newest: datetime = max(one.recorded_at for one in stale)
    items: list[Any] = [records.item_id_of(one) for one in stale]
    return m.DeleteRequest(
        **partition.fields,
        kind=records.TEXT,
        filter=m.Filter.model_validate(
            {
                "and": [
                    {"field": "run_id", "op": "in", "value": items},
                    {"field": "recorded_at", "op": "lte", "value": newest.isoformat().replace("+00:00", "Z")},
                ]
            }
        ),
    )


def _touches(reads: Iterable[Read], written: set[str], partition: Partition) -> list[o.Op]:
    """Return what lets the items that were read, and not written in this batch, live anew."""
    given: dict[str, Any] = {"op": "touch", "space": partition.space, "only_expiring": True}
    used: Mapping[str, m.Memory] = {one.id: one for read in reads for one in read.used() if one.id not in written}
    touches: list[o.Op] = []
    for ttl_s, items in times_to_live(iter(used.values())).items():
        ids = [one for item in items for one in records.texts_of(item)]
        parts = [ids[at : at + m.MAX_LIMIT] for at in range(0, len(ids), m.MAX_LIMIT)]
        touches += [o.TouchOp(ids=part, ttl_s=ttl_s, **given) for part in parts]
    return touches
