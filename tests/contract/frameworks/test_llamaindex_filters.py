"""T4DM's vector store beside LlamaIndex's own: the same nodes pass the same filters, with the same similarities.

What `SimpleVectorStore` cannot do is left out: nested groups (it raises; they are compared with its own conditions,
joined here), comparing values of different types (it raises). What T4DM means to do otherwise is left out, too:
booleans are no numbers, `contains`, `any` and `all` look into lists alone, and case is folded, not lowered.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    SimpleVectorStore,
    VectorStoreQuery,
)
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from t4dm_integrations.llamaindex import T4DMVectorStore
from tests.support.daemon import Daemon

Op = FilterOperator
TOLERANCE = 1e-5
"""Vectors are kept as 32-bit floats."""

numbers = st.sampled_from([0, -0.0, 1, 1.0, 1.5, -3, 2**53, 2**53 + 1, 2.0**53, 2**70, 1e300])
texts = st.text("abAB éÉ日.", max_size=4)
lists_of_texts = st.lists(texts, max_size=3)
lists_of_numbers = st.lists(numbers, max_size=3)
anything = st.one_of(numbers, texts, lists_of_texts, lists_of_numbers, st.just({}), st.just({"a": 1}))
lists_to_compare = st.one_of(lists_of_texts, st.lists(st.integers(-3, 3)), st.lists(st.floats(-3, 3)))
EQUALITY = [Op.EQ, Op.NE]
ORDER = [Op.GT, Op.GTE, Op.LT, Op.LTE]
MEMBERSHIP = [Op.IN, Op.NIN]
LISTS = [Op.ANY, Op.ALL]
TEXTS = [Op.TEXT_MATCH, Op.TEXT_MATCH_INSENSITIVE]


def conditions(key: str, operators: list[Op], values: st.SearchStrategy[Any]) -> st.SearchStrategy[MetadataFilter]:
    return st.builds(MetadataFilter, key=st.just(key), operator=st.sampled_from(operators), value=values)


leaves = st.one_of(
    conditions("number", [*EQUALITY, *ORDER], numbers),
    conditions("number", MEMBERSHIP, st.lists(st.integers(-3, 3), max_size=3)),
    conditions("text", [*EQUALITY, *ORDER, *TEXTS], texts),
    conditions("text", MEMBERSHIP, lists_of_texts),
    conditions("texts", [Op.CONTAINS], texts),
    conditions("texts", LISTS, lists_of_texts),
    conditions("numbers", [Op.CONTAINS], numbers),
    conditions("numbers", LISTS, st.lists(st.integers(-3, 3), max_size=3)),
    conditions("any.thing", EQUALITY, st.one_of(numbers, texts, lists_to_compare)),
    conditions("any.thing", MEMBERSHIP, lists_to_compare),
    conditions("missing", [*EQUALITY, *ORDER, *TEXTS], texts),
    st.sampled_from(["number", "text", "texts", "numbers", "any.thing", "missing"]).map(
        lambda key: MetadataFilter(key=key, operator=Op.IS_EMPTY, value=None)
    ),
)
groups = st.builds(
    MetadataFilters,
    filters=st.lists(leaves, max_size=4),
    condition=st.sampled_from([*FilterCondition, None]),
)
trees = st.recursive(
    leaves,
    lambda parts: st.builds(
        MetadataFilters, filters=st.lists(parts, min_size=1, max_size=3), condition=st.sampled_from(FilterCondition)
    ),
    max_leaves=8,
).map(lambda tree: tree if isinstance(tree, MetadataFilters) else MetadataFilters(filters=[tree]))
metadatas = st.fixed_dictionaries(
    {},
    optional={
        "number": st.one_of(st.none(), numbers),
        "text": st.one_of(st.none(), texts),
        "texts": st.one_of(st.none(), lists_of_texts),
        "numbers": st.one_of(st.none(), lists_of_numbers),
        "any.thing": st.one_of(st.none(), anything),
    },
)
vectors = st.lists(st.integers(-4, 4), min_size=3, max_size=3).filter(any)
collections = st.lists(st.tuples(metadatas, vectors), min_size=1, max_size=8)
some = settings(max_examples=settings.default.max_examples // 2)
few = settings(max_examples=settings.default.max_examples // 5)


@pytest.fixture(scope="module")
def store(plain_daemon: Daemon) -> Iterator[T4DMVectorStore]:
    store = T4DMVectorStore(url=plain_daemon.url, space="differential")
    yield store
    store.close()


def both(store: T4DMVectorStore, given: list[tuple[dict[str, Any], list[int]]]) -> SimpleVectorStore:
    """Put the same nodes into both stores, and return LlamaIndex's."""
    nodes = [
        TextNode(id_=f"node-{at}", text=f"text {at}", metadata=metadata, embedding=[float(one) for one in vector])
        for at, (metadata, vector) in enumerate(given)
    ]
    simple = SimpleVectorStore()
    simple.add(nodes)
    store.clear()
    store.add(nodes)
    return simple


@some
@given(collections, st.lists(groups, min_size=1, max_size=6), vectors)
def test_a_filter_passes_what_it_passes_in_llamaindexs_own_store(
    store: T4DMVectorStore, given: list[Any], filters: list[MetadataFilters], asked: list[int]
) -> None:
    simple = both(store, given)

    for one in filters:
        query = VectorStoreQuery(query_embedding=[float(number) for number in asked], similarity_top_k=20, filters=one)
        found, expected = store.query(query), simple.query(query)
        assert found.ids is not None
        assert expected.ids is not None
        assert sorted(found.ids) == sorted(expected.ids), one
        assert found.similarities == pytest.approx(expected.similarities, abs=TOLERANCE)


@some
@given(collections, st.lists(trees, min_size=1, max_size=6))
def test_nested_groups_join_the_conditions_of_llamaindexs_own_store(
    store: T4DMVectorStore, given: list[Any], filters: list[MetadataFilters]
) -> None:
    both(store, given)
    metadata = {f"node-{at}": one for at, (one, _) in enumerate(given)}

    for tree in filters:
        found = [node.node_id for node in store.get_nodes(filters=tree)]
        assert found == [name for name in metadata if holds(tree, metadata, name)], tree


@few
@given(collections, groups)
def test_what_a_filter_deletes_is_what_it_deletes_in_llamaindexs_own_store(
    store: T4DMVectorStore, given: list[Any], filters: MetadataFilters
) -> None:
    simple = both(store, given)
    named = [f"node-{at}" for at in range(0, len(given), 2)]

    simple.delete_nodes(named, filters)
    store.delete_nodes(named, filters)

    assert [node.node_id for node in store.get_nodes()] == [*simple.data.embedding_dict]


@few
@given(st.lists(st.tuples(st.just({}), vectors), min_size=1, max_size=8), vectors, st.floats(0.05, 1))
def test_maximal_marginal_relevance_chooses_the_first_two_as_llamaindexs_own_store(
    store: T4DMVectorStore, given: list[Any], asked: list[int], threshold: float
) -> None:
    """Of the third on, LlamaIndex looks at the difference from the one before alone, T4DM from all before."""
    simple = both(store, given)
    query = VectorStoreQuery(
        query_embedding=[float(number) for number in asked], similarity_top_k=2, mode=VectorStoreQueryMode.MMR
    )

    found = store.query(query, mmr_threshold=threshold)
    expected = simple.query(query, mmr_threshold=threshold)

    assert found.ids is not None
    assert gains(simple, query, found.ids, threshold) == pytest.approx(expected.similarities, abs=1e-4)


def gains(simple: SimpleVectorStore, query: VectorStoreQuery, ids: list[str], threshold: float) -> list[float]:
    """Return what each choice was worth, which is what LlamaIndex returns as similarities."""
    from llama_index.core.base.embeddings.base import similarity

    assert query.query_embedding is not None
    first = simple.get(ids[0])
    return [threshold * similarity(query.query_embedding, first)] + [
        threshold * similarity(query.query_embedding, other) - (1 - threshold) * similarity(first, other)
        for other in map(simple.get, ids[1:])
    ]


def holds(tree: MetadataFilter | MetadataFilters, metadata: dict[str, dict[str, Any]], name: str) -> bool:
    if isinstance(tree, MetadataFilter):
        return build_metadata_filter_fn(metadata.__getitem__, MetadataFilters(filters=[tree]))(name)
    parts = [holds(part, metadata, name) for part in tree.filters]
    if tree.condition is FilterCondition.NOT:
        return not any(parts)
    return any(parts) if tree.condition is FilterCondition.OR else all(parts)
