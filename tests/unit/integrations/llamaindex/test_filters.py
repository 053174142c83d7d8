"""LlamaIndex's filters in T4DM's words, without a daemon. What they find is compared in the contract tests."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from t4dm.sdk import models as m
from t4dm_integrations.llamaindex.filters import all_of, document_label, of_documents, to_filter, with_ids

Op = FilterOperator


def one(operator: str, value: Any, key: str = "k") -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])  # type: ignore[arg-type]


def plain(tree: m.Filter | None) -> Any:
    return None if tree is None else tree.model_dump(exclude_none=True)


@pytest.mark.parametrize(
    ("operator", "value", "op"),
    [
        ("==", "x", "eq"), ("!=", 1, "ne"), (">", 1.5, "gt"), (">=", "a", "gte"), ("<", 1, "lt"), ("<=", 1, "lte"),
        ("in", ["a"], "in"), ("nin", [1], "nin"), ("any", ["a"], "any"), ("all", ["a"], "all"),
        ("contains", "a", "contains"), ("text_match", "a", "text_match"), ("text_match_insensitive", "a", "itext_match"),
    ],
)  # fmt: skip
def test_every_operator_has_its_own_in_t4dm(operator: str, value: Any, op: str) -> None:
    assert plain(to_filter(one(operator, value))) == {"field": "metadata.k", "op": op, "value": value}


def test_an_empty_object_is_not_empty() -> None:
    assert plain(to_filter(one("is_empty", None))) == {
        "and": [{"field": "metadata.k", "op": "is_empty"}, {"field": "metadata.k", "op": "ne", "value": {}}]
    }


def test_groups_are_joined_as_they_say() -> None:
    a, b = MetadataFilter(key="a", value=1), MetadataFilter(key="b", value=2)
    leaf_a, leaf_b = ({"field": f"metadata.{key}", "op": "eq", "value": value} for key, value in (("a", 1), ("b", 2)))

    def group(condition: FilterCondition | None, *parts: Any) -> MetadataFilters:
        return MetadataFilters(filters=[*parts], condition=condition)

    assert plain(to_filter(group(FilterCondition.AND, a, b))) == {"and": [leaf_a, leaf_b]}
    assert plain(to_filter(group(None, a, b))) == {"and": [leaf_a, leaf_b]}
    assert plain(to_filter(group(FilterCondition.OR, a, b))) == {"or": [leaf_a, leaf_b]}
    assert plain(to_filter(group(FilterCondition.NOT, a, b))) == {"not": {"or": [leaf_a, leaf_b]}}
    nested = group(FilterCondition.OR, a, group(FilterCondition.NOT, group(FilterCondition.AND, a, b)))
    assert plain(to_filter(nested)) == {"or": [leaf_a, {"not": {"and": [leaf_a, leaf_b]}}]}


def test_no_filters_restrict_nothing() -> None:
    assert to_filter(None) is None
    assert to_filter(MetadataFilters(filters=[])) is None
    assert all_of(None, None) is None


def test_a_filter_of_t4dms_own_is_taken_as_it_is() -> None:
    own = m.Filter(field="kappa", op="gt", value=0.5)

    assert to_filter(own) is own


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        (one("==", None), "'k' == compares with nothing: use the operator is_empty"),
        (one(">", ["a"]), "'k' > takes a number or a text"),
        (one("in", "abc"), "'k' in takes a list, not 'abc'"),
        (one("any", 1), "'k' any takes a list"),
        (one("text_match", 1), "'k' text_match takes a text"),
        (one("==", float("nan")), "compares with nan"),
        (one("in", [1.0, float("inf")]), "compares with inf"),
        (one("==", 1, key=""), "a filter's key is not empty"),
        (one(">", "a", key="doc_id"), "the id of a node's document can be compared with ==, !=, in, nin, is_empty"),
        (one("==", 1, key="x" * 1100), "cannot be sent"),
        (MetadataFilters(filters=[MetadataFilters(filters=[])]), "within another is empty"),
        ({"k": 1}, "filters are MetadataFilters"),
    ],
)  # fmt: skip
def test_a_filter_that_means_nothing_is_refused(filters: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("(", r"\(")):
        to_filter(filters)


def test_long_lists_of_ids_are_cut_into_leaves_that_the_daemon_takes() -> None:
    names = [f"n{at}" for at in range(25_000)]

    leaves = with_ids(names).or_ or []

    assert [len(leaf.value) for leaf in leaves if isinstance(leaf.value, list)] == [10_000, 10_000, 5000]
    assert with_ids(["a"]).op == "in"


def test_a_document_whose_id_is_no_label_has_a_digest_for_one() -> None:
    assert document_label("日本/doc 1") == "日本/doc 1"
    assert document_label("x" * 512) == "x" * 512
    for name in ("", "x" * 513, "日" * 200):
        assert document_label(name).startswith("sha256:")
    assert of_documents(["a", ""]).value == ["a", document_label("")]
