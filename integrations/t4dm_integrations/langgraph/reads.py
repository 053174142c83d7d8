"""The reads of a batch: what each asks the daemon, and what becomes of the answers.

A read asks in rounds: `ask` says what it still needs, `take` is given the answers. Nearly all are done after one round;
those that choose among what the daemon lets through, or that pool the texts of items, may need more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from langgraph.store.base import GetOp, Item, ListNamespacesOp, MatchCondition, Result, SearchItem, SearchOp

from t4dm.sdk import models as m
from t4dm.sdk import ops_models as o
from t4dm_integrations.langgraph import conditions
from t4dm_integrations.langgraph.records import (
    ITEM,
    UNINDEXED,
    Partition,
    item_id_of,
    item_of,
    search_item_of,
    ttl_s_of,
    value_of,
)

_ANY: Final = "*"
_MAX_DEPTH: Final = 32
"""Labels of a namespace that the daemon takes."""
_MAX_SEARCH: Final = 11_000
"""Hits that one search can reach: 1000 after an offset of 10,000."""


class Read(Protocol):
    """One operation that reads."""

    is_one_round: bool
    """Whether it certainly needs no second round."""

    def ask(self) -> list[o.Op]:
        """Return what it needs to know; nothing when it is done."""
        ...

    def take(self, answers: Sequence[Any]) -> None:
        """Note the answers, one for each operation asked."""
        ...

    def result(self) -> Result: ...

    def used(self) -> Iterator[m.Memory]:
        """Yield the items that were read and whose time to live begins anew."""
        ...


class Got:
    """`GetOp`."""

    is_one_round = True

    def __init__(self, op: GetOp, partition: Partition) -> None:
        self._id = partition.id_of(op.namespace, str(op.key))
        self._space = partition.space
        self._is_use = op.refresh_ttl
        self._found: m.Memory | None = None
        self._is_done = False

    def ask(self) -> list[o.Op]:
        return [] if self._is_done else [o.GetOp(op="get", ids=[self._id], space=self._space)]

    def take(self, answers: Sequence[Any]) -> None:
        (answer,) = answers
        self._found = answer.results[0] if answer.results else None
        self._is_done = True

    def result(self) -> Item | None:
        return None if self._found is None else item_of(self._found)

    def used(self) -> Iterator[m.Memory]:
        if self._found is not None and self._is_use:
            yield self._found


class Namespaces:
    """`ListNamespacesOp`."""

    def __init__(self, op: ListNamespacesOp, partition: Partition) -> None:
        _check_page(op.limit, op.offset)
        if op.max_depth is not None and op.max_depth < 0:
            raise ValueError(f"max_depth is not negative, this one is {op.max_depth}")
        self._prefix = _joined([one.path for one in _of_type(op, "prefix")])
        self._suffix = _joined([one.path[::-1] for one in _of_type(op, "suffix")])
        self._max_depth = None if op.max_depth is None or op.max_depth > _MAX_DEPTH else op.max_depth
        self._partition = partition
        self._offset, self._wanted = op.offset, op.limit
        self._found: list[tuple[str, ...]] = []
        self._is_done = not op.limit or self._prefix is None or self._suffix is None
        self.is_one_round = op.limit <= m.MAX_LIMIT

    def ask(self) -> list[o.Op]:
        if self._is_done:
            return []
        return [
            o.ListNamespacesOp(
                op="list_namespaces",
                **self._partition.fields,
                kind=ITEM,
                prefix=list(self._prefix or ()) or None,
                suffix=list(self._suffix or ())[::-1] or None,
                max_depth=self._max_depth,
                limit=min(m.MAX_LIMIT, self._wanted - len(self._found)),
                offset=self._offset + len(self._found),
            )
        ]

    def take(self, answers: Sequence[Any]) -> None:
        (answer,) = answers
        self._found += [tuple(one.namespace) for one in answer.results]
        ends_at = min(self._wanted, answer.total - self._offset)
        self._is_done = not answer.results or len(self._found) >= ends_at

    def result(self) -> list[tuple[str, ...]]:
        return self._found

    def used(self) -> Iterator[m.Memory]:
        return iter(())


class Listing:
    """A search without a query: in the order in which items were first put.

    Args:
        op: What is searched.
        partition: Where.
        unindexed_only: Only items that no query finds by meaning.
    """

    def __init__(self, op: SearchOp, partition: Partition, *, unindexed_only: bool = False) -> None:
        _check_page(op.limit, op.offset)
        self._conditions = conditions.checked(op.filter)
        marked = {"field": "categories", "op": "contains", "value": UNINDEXED} if unindexed_only else None
        self._where = conditions.both(marked, conditions.narrowed(self._conditions))
        self._op = op
        self._partition = partition
        # What the daemon lets through has to be looked at from the first on, to know what the offset skips.
        self._skipped = op.offset if self._conditions else 0
        self._wanted = self._skipped + op.limit
        self._found: list[m.Memory] = []
        self._cursor: str | None = None
        self._is_done = not op.limit
        self.is_one_round = not self._conditions and op.limit <= m.MAX_LIMIT

    def ask(self) -> list[o.Op]:
        if self._is_done:
            return []
        return [
            o.ListOp(
                op="list",
                **self._partition.fields,
                kind=ITEM,
                namespace_prefix=list(self._op.namespace_prefix) or None,
                filter=None if self._where is None else m.Filter.model_validate(self._where),
                order_by="insertion",
                limit=min(m.MAX_LIMIT, self._wanted - len(self._found)),
                offset=0 if self._conditions or self._cursor is not None else self._op.offset,
                cursor=self._cursor,
            )
        ]

    def take(self, answers: Sequence[Any]) -> None:
        (answer,) = answers
        self._found += _meeting(answer.results, self._conditions)
        self._cursor = answer.cursor
        self._is_done = self._cursor is None or len(self._found) >= self._wanted

    @property
    def memories(self) -> list[m.Memory]:
        return self._found[self._skipped : self._wanted]

    def result(self) -> list[SearchItem]:
        return [search_item_of(one, None) for one in self.memories]

    def used(self) -> Iterator[m.Memory]:
        if self._op.refresh_ttl:
            yield from self.memories


@dataclass(frozen=True, slots=True)
class Question:
    """What is searched for: a vector, or a text that the daemon embeds."""

    query: str
    vector: Sequence[float] | None = None

    @property
    def fields(self) -> dict[str, Any]:
        if self.vector is None:
            # Every item counts, whether another says the same or not.
            return {"query": self.query, "mode": "hybrid", "collapse": False}
        return {"vector": self.vector, "mode": "vector"}


class Ranked:
    """A search with a query: items by the best of their texts, then those that are not indexed.

    Args:
        op: What is searched.
        partition: Where.
        question: What for.
        expected: About how many texts an item has.
    """

    is_one_round = False

    def __init__(self, op: SearchOp, partition: Partition, question: Question, *, expected: int) -> None:
        _check_page(op.limit, op.offset)
        self._conditions = conditions.checked(op.filter)
        self._where = conditions.narrowed(self._conditions)
        self._op = op
        self._partition = partition
        self._question = question
        self._wanted = op.offset + op.limit
        self._step = min(m.MAX_K, max(1, self._wanted) * expected)
        self._hits: list[m.Hit] = []
        self._items: dict[str, m.Memory | None] = {}
        self._is_exhausted = self._is_done = not op.limit
        self._is_repeated = False
        everything = op._replace(offset=0, limit=self._wanted)
        self._others = Listing(everything, partition, unindexed_only=True)

    def ask(self) -> list[o.Op]:
        if self._is_done:
            return []
        if missing := self._missing():
            return [o.GetOp(op="get", ids=missing[: m.MAX_LIMIT], space=self._partition.space)]
        if self._needs_hits():
            return [self._search(), *([] if self._hits or self._is_repeated else self._others.ask())]
        return self._others.ask()

    def take(self, answers: Sequence[Any]) -> None:
        first, *more = answers
        if isinstance(first, o.GetResult):
            asked = self._missing()[: m.MAX_LIMIT]
            self._items |= dict.fromkeys(asked) | {one.id: one for one in first.results}
            if not self._is_repeated and any(self._is_outdated(hit) for hit in self._hits):
                # Most likely the item was changed after the search, which therefore looks again, once.
                self._is_repeated = True
                self._hits, self._items, self._is_exhausted = [], {}, False
                return
        elif isinstance(first, o.SearchResult):
            self._hits += first.results
            self._is_exhausted = len(first.results) < self._step
            self._step = m.MAX_K
            self._items |= {hit.memory.id: hit.memory for hit in first.results if hit.memory.kind == ITEM}
            if more:
                self._others.take(more)
        else:
            self._others.take(answers)
        self._is_done = not self._missing() and not self._needs_hits() and not self._needs_others()

    def result(self) -> list[SearchItem]:
        return [search_item_of(one, score) for one, score in self._page()]

    def used(self) -> Iterator[m.Memory]:
        if self._op.refresh_ttl:
            yield from (one for one, _ in self._page())

    def _search(self) -> o.SearchOp:
        if len(self._hits) >= _MAX_SEARCH:
            raise ValueError(f"a search reaches {_MAX_SEARCH} texts; this one asks for more: page by filters instead")
        return o.SearchOp.model_validate(
            {
                "op": "search",
                **self._partition.fields,
                "namespace_prefix": list(self._op.namespace_prefix) or None,
                "filter": self._where,
                "k": self._step,
                "offset": len(self._hits),
                "include": ["value"],
                "touch": False,
                **self._question.fields,
            }
        )

    def _missing(self) -> list[str]:
        """Return the items of texts that were found, where it is not known what they are."""
        named = dict.fromkeys(item_id_of(hit.memory) for hit in self._hits)
        return [one for one in named if one not in self._items]

    def _needs_hits(self) -> bool:
        return not self._is_exhausted and len(self._scored()) < self._wanted

    def _needs_others(self) -> bool:
        return len(self._scored()) < self._wanted and bool(self._others.ask())

    def _scored(self) -> list[tuple[m.Memory, float]]:
        """Return the items that are found by meaning, best first."""
        found: dict[str, tuple[m.Memory, float]] = {}
        for hit in self._hits:
            name = item_id_of(hit.memory)
            item = self._items.get(name)
            if item is None or name in found or self._is_outdated(hit):
                continue
            score = hit.score if self._question.vector is None else hit.similarity
            found[name] = item, hit.score if score is None else score
        return [one for one in found.values() if conditions.meets(value_of(one[0]), self._conditions)]

    def _is_outdated(self, hit: m.Hit) -> bool:
        """Return whether a text is of another version of its item than the one that was read."""
        item = self._items.get(item_id_of(hit.memory))
        return item is not None and item.recorded_at != hit.memory.recorded_at

    def _page(self) -> list[tuple[m.Memory, float | None]]:
        scored = self._scored()
        others = [] if len(scored) >= self._wanted else self._others.memories
        ranked: list[tuple[m.Memory, float | None]] = [*scored, *((one, None) for one in others)]
        return ranked[self._op.offset : self._wanted]


def times_to_live(memories: Iterator[m.Memory]) -> Mapping[float, list[m.Memory]]:
    """Return the items that expire, by their time to live in seconds."""
    found: dict[float, list[m.Memory]] = {}
    for one in memories:
        ttl_s = ttl_s_of(one)
        if ttl_s is not None:
            found.setdefault(ttl_s, []).append(one)
    return found


def _meeting(memories: Sequence[m.Memory], wanted: Mapping[str, Any]) -> list[m.Memory]:
    return [one for one in memories if conditions.meets(value_of(one), wanted)] if wanted else list(memories)


def _check_page(limit: int, offset: int) -> None:
    if limit < 0 or offset < 0:
        raise ValueError(f"limit and offset are not negative; these are {limit} and {offset}")


def _of_type(op: ListNamespacesOp, match_type: str) -> list[MatchCondition]:
    given = op.match_conditions or ()
    for one in given:
        if one.match_type not in ("prefix", "suffix"):
            raise ValueError(f"Unsupported match type: {one.match_type}")
    return [one for one in given if one.match_type == match_type]


def _joined(patterns: Sequence[Sequence[str]]) -> list[str] | None:
    """Return the one pattern that is met where all are; None where none is."""
    joined: list[str] = []
    for pattern in patterns:
        for at, label in enumerate(pattern):
            if at == len(joined):
                joined.append(label)
            elif joined[at] == _ANY:
                joined[at] = label
            elif label not in (_ANY, joined[at]):
                return None
    return joined
