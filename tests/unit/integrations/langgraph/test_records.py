"""How items become memories: names that never meet, and entries by which the daemon can filter."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langgraph")

from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.base import PutOp

from t4dm.sdk import models as m
from t4dm_integrations.langgraph import conditions
from t4dm_integrations.langgraph.records import OMITS, Partition, Texts, records_of

HERE = Partition("space", "app")
labels = st.text(st.characters(exclude_characters=".\x00", exclude_categories=["Cs"]), min_size=1, max_size=300)
names = st.tuples(
    st.lists(labels, max_size=4).map(tuple), st.text(st.characters(exclude_categories=["Cs"]), max_size=600)
)
few = st.tuples(
    st.lists(st.sampled_from(["a", '"', ",", "]", "#1"]), max_size=3).map(tuple), st.text('a",[]#1', max_size=4)
)


@given(st.lists(names | few, min_size=2, max_size=6, unique=True))
def test_different_names_have_different_ids_that_the_daemon_takes(drawn: list[tuple[tuple[str, ...], str]]):
    ids = [HERE.id_of(*one) for one in drawn] + [Partition("space", "other").id_of(*one) for one in drawn]

    assert len(set(ids)) == len(ids)
    assert all(0 < len(f"{one}#{10**6}".encode()) <= m.MAX_ID_BYTES for one in ids)


def _record(value: dict[str, Any], texts: int = 1) -> Any:
    records, _ = records_of(PutOp(("n",), "k", value), Texts([f"text {at}" for at in range(texts)]), HERE)
    return records


@given(
    st.dictionaries(
        st.text(max_size=3) | st.sampled_from(["a.b", ""]),
        st.integers() | st.text("xü", max_size=30_000) | st.dictionaries(st.sampled_from(["a", "a.b"]), st.integers()),
        max_size=8,
    )
)
def test_an_entry_is_in_the_metadata_or_said_not_to_be(value: dict[str, Any]):
    (record,) = _record(value)

    rest = record.value.get("rest", {})
    assert record.metadata | rest == value
    assert not record.metadata.keys() & rest.keys()
    assert set(record.categories) == {f"{OMITS}:{key}" for key in rest}


def test_entries_too_many_to_name_are_said_to_be_missing_altogether():
    (record,) = _record({f"a.{at}": at for at in range(100)} | {"kept": 1})

    assert record.categories == [OMITS]
    assert record.metadata == {"kept": 1}


def test_an_item_is_written_with_all_its_texts():
    first, second, third = _record({"a": 1}, texts=3)

    assert [one.content for one in (first, second, third)] == ["text 0", "text 1", "text 2"]
    assert second.run_id == third.run_id == first.id
    assert (second.id, third.id) == (f"{first.id}#1", f"{first.id}#2")
    assert first.metadata == second.metadata == {"a": 1}


def test_a_filter_that_the_daemon_cannot_decide_is_not_narrowed():
    assert conditions.narrowed({"a.b": 1, "": 2, "x" * 1000: 3}) is None
    assert conditions.narrowed({}) is None


def test_a_narrowed_filter_is_one_that_the_daemon_takes():
    tree = conditions.narrowed({"a": {"b": {"$ne": None}, "c": [1, {"d": 2}]}, "e": {"$gt": 1, "$lt": 5}, "f": None})

    assert tree is not None
    assert m.Filter.model_validate(tree).and_ is not None
