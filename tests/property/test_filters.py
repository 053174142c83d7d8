"""Random filters over random items: the engine's masks mean what `core.filter.matches` means."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from t4dm_daemon.core.clock import OPEN, UNBOUNDED
from t4dm_daemon.core.filter import (
    LABEL_COLUMNS,
    LIST_COLUMNS,
    MISSING,
    NUMBER_COLUMNS,
    OPERATORS,
    TEXT_COLUMNS,
    TIME_COLUMNS,
    And,
    Filter,
    Leaf,
    NamespacePrefix,
    Not,
    Or,
    check,
    field_path,
    matches,
    metadata_value,
)
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.protocol import View, Write
from t4dm_daemon.storage.t4dx import T4DXEngine
from tests.unit.storage.t4dx.items import UnsyncedFileSystem

words = st.sampled_from(["", "a", "b", "ab", "A", "ß", "ss", "日本", "1"])
numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**53, 2**53 + 1, 2**60 + 1, 2**62, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, -(10**30)]),
    st.floats(-2, 2, width=16),
    st.sampled_from([float(2**53), float(2**60), 1e300, float("inf"), float("-inf"), 0.5, -0.0]),
)
scalars = st.one_of(st.none(), st.booleans(), words, numbers)
json_scalars = st.one_of(
    st.none(), st.booleans(), words, st.integers(-3, 3), st.sampled_from([2**53 + 1, 2**70, 1.0, 0.5])
)
json_values = st.recursive(
    json_scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=2)),
    max_leaves=5,
)
keys = st.sampled_from(["a", "b", "a.b", "kind", "pinned", "b.a", "id"])
labels = st.one_of(st.none(), words)
tuples = st.lists(words, max_size=3).map(tuple)
times = st.one_of(st.integers(-5, 5), st.sampled_from([2**53 + 1, 2**60 + 1, 2**62 + 1]))

items = st.builds(
    dict,
    content=words,
    metadata=st.dictionaries(keys, json_values, max_size=3),
    kind=st.sampled_from(["episodic", "semantic"]),
    user_id=labels,
    agent_id=labels,
    session_id=labels,
    namespace=tuples,
    categories=tuples,
    event_time=times,
    created_at=times,
    valid_from=st.one_of(st.just(UNBOUNDED), times),
    valid_to=st.one_of(st.just(OPEN), times),
    expires_at=st.one_of(st.just(OPEN), times),
    last_accessed=st.one_of(st.just(UNBOUNDED), times),
    importance=st.sampled_from([0.0, 0.5, 1.0]),
    pinned=st.booleans(),
    access_count=st.sampled_from([0, 1, 2**53 + 1]),
)

fields = st.sampled_from(
    [
        *LABEL_COLUMNS, *LIST_COLUMNS, *TEXT_COLUMNS, *TIME_COLUMNS, *NUMBER_COLUMNS, "pinned",
        "a", "b", "a.b", "metadata.kind", "metadata.a", "metadata.pinned", "nothing", "a.b.a",
    ]
)  # fmt: skip


def _operand(op: str) -> st.SearchStrategy[Any]:
    if op in ("in", "nin", "any", "all"):
        return st.lists(st.one_of(scalars, json_values), max_size=4) | st.lists(words, max_size=4)
    if op in ("text_match", "itext_match"):
        return words
    return st.one_of(scalars, json_values)


leaves = st.sampled_from(sorted(OPERATORS)).flatmap(
    lambda op: st.builds(Leaf, field=fields, op=st.just(op), operand=_operand(op))
)
trees: st.SearchStrategy[Filter] = st.recursive(
    st.one_of(leaves, st.builds(NamespacePrefix, tuples)),
    lambda inner: st.one_of(
        st.builds(And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=5,
)


def _value_of(item: Item, field: str) -> Any:
    """What a field of an item is, as a filter sees it."""
    path = field_path(field)
    if path is not None:
        return metadata_value(json.loads(item.metadata_json), path)
    value = getattr(item, field)
    if field in LIST_COLUMNS:
        return list(value)
    missing = {"valid_from": UNBOUNDED, "last_accessed": UNBOUNDED, "valid_to": OPEN, "expires_at": OPEN}
    return MISSING if value is None or (field in missing and value == missing[field]) else value


@settings(max_examples=100, deadline=None, derandomize=True)
@given(rows=st.lists(items, min_size=1, max_size=6), questions=st.lists(trees, min_size=1, max_size=12))
def test_masks_in_memory_and_in_segments_mean_what_the_reference_means(
    rows: list[dict[str, Any]], questions: list[Filter]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        engine = T4DXEngine(Path(directory) / "space", fs=UnsyncedFileSystem())
        engine.insert(
            [
                Write(Item(id=name, metadata_json=json.dumps(metadata).encode(), **fields))
                for name, one in zip(["", "a", "b", "ab", "1", "id", "x"][1:], rows, strict=False)
                for metadata, fields in [(one["metadata"], {key: one[key] for key in one if key != "metadata"})]
            ]
        )
        view = View(include_expired=True)
        everything = engine.scan(view=view).items
        for where in ["memory", "segment"]:
            for tree in questions:
                check(tree)
                wanted = {
                    item.id
                    for item in everything
                    if matches(tree, lambda field: _value_of(item, field), item.namespace)  # noqa: B023
                }

                found = {item.id for item in engine.scan(where=tree, view=view).items}

                assert found == wanted, (where, tree)
            engine.flush()
        engine.close()
