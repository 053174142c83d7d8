from __future__ import annotations

from typing import Any

import pytest

from t4dm_daemon.core.filter import Leaf, Not
from t4dm_daemon.storage.t4dx import T4DXEngine
from tests.unit.storage.t4dx.items import write


@pytest.fixture
def filled(engine: T4DXEngine) -> T4DXEngine:
    engine.insert(
        [
            write("a", event_time=2**60 + 1, access_count=2**53 + 1, pinned=True, metadata_json=b'{"n": 1, "t": true}'),
            write("b", event_time=2**60, access_count=1, valid_from=5, metadata_json=b'{"n": 1.0, "t": 1}'),
            write("c", event_time=0, metadata_json=b'{"n": "1", "id": "a"}'),
        ]
    )
    return engine


@pytest.mark.parametrize(
    ("leaf", "found"),
    [
        (Leaf("event_time", "eq", float(2**60)), "b"),
        (Leaf("event_time", "gt", float(2**60)), "a"),
        (Leaf("access_count", "eq", float(2**53)), ""),
        (Leaf("event_time", "lt", 10**30), "abc"),
        (Leaf("event_time", "gt", float("-inf")), "abc"),
        (Leaf("event_time", "eq", True), ""),
        (Leaf("event_time", "in", [0, "x", None]), "c"),
        (Leaf("pinned", "eq", True), "a"),
        (Leaf("pinned", "eq", 1), ""),
        (Leaf("pinned", "in", [False]), "bc"),
        (Leaf("valid_from", "exists"), "b"),
        (Leaf("valid_from", "ne", 5), "ac"),
        (Leaf("valid_from", "lt", 9), "b"),
        (Leaf("valid_to", "is_empty"), "abc"),
        (Leaf("user_id", "nin", ["x"]), "abc"),
        (Leaf("user_id", "in", []), ""),
        (Leaf("id", "in", ["a", 5, "zz", "c"]), "ac"),
        (Leaf("id", "in", []), ""),
        (Leaf("id", "ne", "a"), "bc"),
        (Leaf("id", "eq", "\ud800"), ""),
        (Leaf("metadata.id", "eq", "a"), "c"),
        (Leaf("n", "eq", 1), "ab"),
        (Leaf("t", "eq", True), "a"),
        (Leaf("t", "eq", 1), "b"),
        (Leaf("n", "in", ["1"]), "c"),
        (Leaf("n", "nin", ["1"]), "ab"),
    ],
    ids=str,
)
def test_masks_compare_as_the_reference_does(filled: T4DXEngine, leaf: Leaf, found: str) -> None:
    for _ in ("memory", "segment"):
        assert [item.id for item in filled.scan(where=leaf).items] == list(found)
        assert [item.id for item in filled.scan(where=Not(leaf)).items] == sorted(set("abc") - set(found))
        filled.flush()


def test_rows_added_after_a_path_was_asked_for_are_found(engine: T4DXEngine) -> None:
    for number in range(5):
        engine.insert([write(str(number), metadata_json=b'{"n": %d}' % number)])
        assert [item.id for item in engine.scan(where=Leaf("n", "eq", number)).items] == [str(number)]


def test_more_paths_than_are_kept_are_still_right(engine: T4DXEngine) -> None:
    metadata: dict[str, Any] = {f"p{number}": number for number in range(80)}
    engine.insert([write("a", metadata_json=str(metadata).replace("'", '"').encode())])

    for _ in range(2):
        for name, value in metadata.items():
            assert engine.scan(where=Leaf(name, "eq", value)).total == 1
