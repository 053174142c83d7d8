"""T4DMStore beside LangGraph's InMemoryStore: the same batches, the same answers.

What the reference does and no store should is put right in `Reference`: see there.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any
from unittest.mock import patch

import pytest

pytest.importorskip("langgraph")

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from langgraph.store import memory as reference_module
from langgraph.store.base import (
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchItem,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from t4dm_integrations.langgraph import T4DMStore
from tests.support.daemon import Daemon

DIMS = 8
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)  # explaining a failure takes minutes
TOLERANCE = 1e-5  # the daemon keeps vectors as 32-bit floats, the reference as 64-bit ones


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Return a vector for each text, the same in every run and never zero."""
    found = []
    for text in texts:
        digest = hashlib.sha256(text.encode()).digest()
        found.append([digest[at] / 127.5 - 1.0 + 1e-3 for at in range(DIMS)])
    return found


class Reference(InMemoryStore):
    """InMemoryStore, with its slips put right.

    - `$gt` and the like are false where there is nothing to compare (it raises);
    - a namespace that holds nothing is not listed (it lists what was once looked into);
    - an item's vectors go with its value (it keeps those of texts that are gone);
    - two items may have one text (it refuses that in one batch);
    - paging by meaning goes on among the items without vectors (it begins with the first of them on every page);
    - several namespaces are listed in the order in which items came (it goes namespace by namespace).
    """

    def batch(self, ops: Sequence[Op]) -> list[Any]:
        found: list[Any] = [self._read(op) for op in ops]
        for op in {(one.namespace, one.key): one for one in ops if isinstance(one, PutOp)}.values():
            self._write(op)
        return found

    def _read(self, op: Op) -> Any:
        if isinstance(op, PutOp):
            return None
        if isinstance(op, SearchOp):
            with patch.object(reference_module, "_apply_operator", _typed):
                everything = super().batch([op._replace(limit=10**6, offset=0)])[0]
            ranked = [one for one in everything if one.score is not None]
            rest = sorted((one for one in everything if one.score is None), key=self._place)
            return [*ranked, *rest][op.offset : op.offset + op.limit]
        found = super().batch([op])[0]
        for namespace in [namespace for namespace, items in self._data.items() if not items]:
            del self._data[namespace]
        return found

    def _write(self, op: PutOp) -> None:
        self._vectors[op.namespace].pop(op.key, None)
        super().batch([op])
        if not hasattr(self, "places"):
            self.places, self.counter = {}, count()
        name = (op.namespace, op.key)
        if op.value is None:
            self.places.pop(name, None)
            if not self._data[op.namespace]:
                del self._data[op.namespace]
        else:
            self.places.setdefault(name, next(self.counter))

    def _place(self, item: Item) -> int:
        place: int = self.places[item.namespace, item.key]
        return place

    def _insertinmem_store(self, to_embed: Any, embeddings: Any) -> None:
        for places, vector in zip(to_embed.values(), embeddings, strict=True):
            for namespace, key, path in places:
                self._vectors[namespace][key][path] = vector


def _typed(value: Any, operator: str, operand: Any) -> bool:
    if operator in ("$eq", "$ne"):
        return (value == operand) == (operator == "$eq")
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (value, operand))
    if not numbers and not (isinstance(value, str) and isinstance(operand, str)):
        return False
    compared = {"$gt": value > operand, "$gte": value >= operand, "$lt": value < operand, "$lte": value <= operand}
    return compared[operator]


# What is drawn --------------------------------------------------------------------------------------------

# Never 0 or 1 beside True and False: they are equal in Python and not in JSON.
scalars = st.none() | st.booleans() | st.integers(2, 6) | st.sampled_from([2.5, 4.0]) | st.sampled_from(["", "a", "b"])
names = st.sampled_from(["a", "b", "c", "a.b", ""])
inner = st.recursive(
    scalars,
    lambda part: st.lists(part, max_size=2) | st.dictionaries(names, part, max_size=2),
    max_leaves=4,
)
values = st.dictionaries(names, inner, max_size=4)
large = st.tuples(values, st.sampled_from([40_000, 70_000])).map(lambda one: one[0] | {"c": "x" * one[1]})
labels = st.sampled_from(["x", "y", "*"])
namespaces = st.lists(labels, min_size=1, max_size=3).map(tuple)
keys = st.sampled_from(["k1", "k2", "k3"])

operators = st.dictionaries(st.sampled_from(["$eq", "$ne"]), inner, min_size=1, max_size=2) | st.dictionaries(
    st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.integers(2, 6) | st.sampled_from(["a", 2.5]), min_size=1
)
conditions = st.recursive(
    scalars | operators,
    lambda part: st.lists(part, max_size=2) | st.dictionaries(names, part, max_size=2),
    max_leaves=3,
)
filters = st.none() | st.dictionaries(names, conditions, max_size=2)
limits, offsets = st.integers(0, 6), st.integers(0, 4)
paths = st.lists(labels, min_size=1, max_size=2).map(tuple)


def made(kind: Callable[..., Any], *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Make a named tuple of these parts alone. (`st.builds` would draw its other fields, too.)"""
    return st.tuples(*parts).map(lambda drawn: kind(*drawn))


matches = made(MatchCondition, st.sampled_from(["prefix", "suffix"]), paths)

puts = made(PutOp, namespaces, keys, values | values | values | large)
deletions = made(PutOp, namespaces, keys, st.none())
gets = made(GetOp, namespaces, keys)
prefixes = st.lists(labels, max_size=2).map(tuple)
listings = made(SearchOp, prefixes, filters, limits, offsets, st.none() | st.just("ignored"))
namespace_lists = made(
    ListNamespacesOp, st.lists(matches, max_size=3).map(tuple), st.none() | st.integers(0, 3), limits, offsets
)
batches = st.lists(puts | puts | deletions | gets | listings | namespace_lists, max_size=8)

texts = st.sampled_from(["red", "green", "blue", "cyan", "teal"])
documents = st.fixed_dictionaries(
    {},
    optional={
        "a": texts,
        "b": texts | st.integers(2, 3),
        "c": st.lists(st.fixed_dictionaries({"d": texts}), max_size=3),
    },
)
indexes = st.none() | st.none() | st.just(False) | st.sampled_from([["b"], ["a", "c[*].d"], []])
documented = made(PutOp, namespaces, keys, documents, indexes)
meanings = made(SearchOp, prefixes, st.none() | st.fixed_dictionaries({"a": texts}), limits, offsets, st.none() | texts)
meaningful = st.lists(documented | documented | deletions | gets | meanings | meanings, max_size=8)


# How it is compared ---------------------------------------------------------------------------------------


def seen(result: Any) -> Any:
    """Return a result without its times and its scores."""
    if isinstance(result, list):
        return [seen(one) for one in result]
    if isinstance(result, Item):
        return (result.namespace, result.key, result.value)
    return result


def assert_same_ranking(found: list[SearchItem], expected: list[SearchItem]) -> None:
    """Compare by score; items of one score may stand in any order, and any of them at the end of a page."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if other.score is None:
            assert one.score is None
            assert seen(one) == seen(other)
        else:
            assert one.score is not None
            assert math.isclose(one.score, other.score, abs_tol=TOLERANCE)
    scores = [one.score for one in expected if one.score is not None]
    for score in set(scores[1:-1]):
        if math.isclose(score, scores[0], abs_tol=TOLERANCE) or math.isclose(score, scores[-1], abs_tol=TOLERANCE):
            continue  # this group may be cut by the page
        assert _group(found, score) == _group(expected, score)


def _group(items: list[SearchItem], score: float) -> set[str]:
    return {
        repr(seen(one)) for one in items if one.score is not None and math.isclose(one.score, score, abs_tol=TOLERANCE)
    }


def compare(ours: Callable[[list[Op]], list[Any]], reference: Reference, drawn: list[list[Op]]) -> None:
    for ops in drawn:
        found, expected = ours(ops), reference.batch(ops)
        for op, one, other in zip(ops, found, expected, strict=True):
            if isinstance(op, SearchOp) and op.query and reference.index_config:
                assert_same_ranking(one, other)
            else:
                assert seen(one) == seen(other), op


_space = count()


@pytest.fixture(scope="module")
def make_store(plain_daemon: Daemon) -> Iterator[Callable[..., T4DMStore]]:
    """Make stores that hold nothing: all on one daemon, each with items of its own."""
    made = []

    def make(**given: Any) -> T4DMStore:
        made.append(T4DMStore(plain_daemon.url, **given))
        return made[-1]

    yield make
    for store in made:
        store.close()


@given(drawn=st.lists(batches, max_size=4))
@settings(max_examples=60, phases=PHASES)
def test_batches_do_what_they_do_in_memory(make_store: Callable[..., T4DMStore], drawn: list[list[Op]]) -> None:
    store = make_store(space="plain", app_id=f"app-{next(_space)}", index=False)

    compare(store.batch, Reference(), drawn)


@given(drawn=st.lists(batches, max_size=3))
@settings(max_examples=25, phases=PHASES)
def test_awaited_batches_do_what_they_do_in_memory(make_store: Callable[..., T4DMStore], drawn: list[list[Op]]) -> None:
    store = make_store(space="plain", app_id=f"app-{next(_space)}", index=False)

    async def play() -> None:
        reference = Reference()
        for ops in drawn:
            for one, other in zip(await store.abatch(ops), reference.batch(ops), strict=True):
                assert seen(one) == seen(other)
        await store.aclose()

    asyncio.run(play())


@given(
    stored=st.lists(values | values | values | large, min_size=3, max_size=6),
    wanted=st.lists(filters, min_size=4, max_size=8),
)
@settings(max_examples=40, phases=PHASES)
def test_filters_let_through_what_they_let_through_in_memory(
    make_store: Callable[..., T4DMStore], stored: list[Any], wanted: list[Any]
) -> None:
    store = make_store(space="plain", app_id=f"app-{next(_space)}", index=False)
    # Of each value, some filters are made that it passes, and some that it hardly does not.
    near = [{key: one} for value in stored for key, one in value.items()]
    near += [{key: {"$ne": one}} for value in stored for key, one in value.items()]
    drawn: list[list[Op]] = [
        [PutOp(("x", str(at % 2)), f"k{at}", value) for at, value in enumerate(stored)],
        [SearchOp(("x",), one, limit, limit // 2) for one in [*wanted, *near] for limit in (3, 20)],
    ]

    compare(store.batch, Reference(), drawn)


@pytest.mark.parametrize("fields", [["a", "b"], ["$"], ["c[*].d"]])
@given(drawn=st.lists(meaningful, min_size=1, max_size=4))
@settings(max_examples=40, phases=PHASES)
def test_searches_by_meaning_find_what_they_find_in_memory(
    make_store: Callable[..., T4DMStore], fields: list[str], drawn: list[list[Op]]
) -> None:
    index: Any = {"dims": DIMS, "embed": embed, "fields": fields}
    store = make_store(space="meaning", app_id=f"app-{next(_space)}", index=index)

    compare(store.batch, Reference(index=index), drawn)
