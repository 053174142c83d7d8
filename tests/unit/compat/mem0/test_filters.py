"""Mem0's filters become T4DM's, and mean the same; what is not understood is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from t4dm.sdk.errors import ValidationError
from t4dm_compat.mem0 import filters
from t4dm_daemon.core.clock import to_micros
from t4dm_daemon.core.filter import MISSING, field_path, matches, metadata_value
from t4dm_daemon.memory.filters import from_wire


def _at(text: str) -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


MEMORY: dict[str, Any] = {
    "id": "m1",
    "content": "Alice drinks green tea",
    "user_id": "alice",
    "agent_id": None,
    "categories": ["drinks", "health"],
    "created_at": _at("2024-07-31T18:00:00"),
    "updated_at": _at("2024-08-02T00:00:00"),
    "event_time": _at("2024-07-01T00:00:00"),
    "expires_at": _at("2024-09-02T00:00:00"),  # its last day is the 1st
}
METADATA = {"topic": "Tea time", "cups": 3, "tags": ["green", "hot"], "deep": {"er": True}, "none": None}


def _holds(tree: dict[str, Any], **options: bool) -> bool:
    def value(field: str) -> Any:
        path = field_path(field)
        if path is not None:
            return metadata_value(METADATA, path)
        found = MEMORY.get(field)
        return MISSING if found is None else found

    return matches(from_wire(filters.read(tree, **options)), value, ())


@pytest.mark.parametrize(
    "tree",
    [
        {"user_id": "alice"},
        {"user_id": "*"},
        {"user_id": ["bob", "alice"]},
        {"user_id": {"in": ["alice"]}},
        {"user_id": {"ne": "bob"}, "text": {"icontains": "GREEN"}},
        {"user_id": {"contains": "lic"}},
        {"agent_id": {"ne": "*"}},
        {"NOT": [{"agent_id": "*"}]},
        {"NOT": {"agent_id": "*"}},
        {"AND": [{"user_id": "alice"}, {"OR": [{"app_id": "x"}, {"categories": {"contains": "drinks"}}]}]},
        {"OR": [{"user_id": "bob"}, {"AND": [{"user_id": "alice"}, {"NOT": [{"run_id": "r"}, {"agent_id": "a"}]}]}]},
        {"categories": {"in": ["x", "health"]}},
        {"categories": "drinks"},
        {"categories": {"ne": "x"}},
        {"categories": "*"},
        {"created_at": {"gte": "2024-07-01", "lte": "2024-07-31"}},
        {"created_at": "2024-07-31"},
        {"created_at": {"lt": "2024-08-01", "gt": "2024-07-30"}},
        {"created_at": {"gte": "2024-07-31T18:00:00Z", "lte": "2024-07-31T18:00:00Z"}},
        {"updated_at": {"gte": 1_722_500_000}},
        {"timestamp": {"eq": 1_719_792_000}},
        {"created_at": {"in": ["2020-01-01", "2024-07-31"]}},
        {"expiration_date": "2024-09-01"},
        {"expiration_date": {"gte": "2024-09-01", "lte": "2024-09-01"}},
        {"expiration_date": {"gt": "2024-08-31", "lt": "2024-09-02", "ne": "2024-09-02"}},
        {"expiration_date": "*"},
        {"expiration_date": {"lte": "9999-12-31"}},
        {"created_at": {"lte": "9999-12-31", "gte": "0001-01-01"}},
        {"keywords": {"contains": "green tea"}},
        {"keywords": "ALICE"},
        {"memory_ids": ["m0", "m1"]},
        {"memory_ids": {"in": ["m1"]}},
        {"metadata": {"topic": "Tea time", "cups": 3}},
        {"metadata": {"cups": {"gte": 3, "lt": 4}}},
        {"metadata": {"topic": {"contains": "Tea"}}},
        {"metadata": {"topic": {"icontains": "TEA"}}},
        {"metadata": {"tags": {"contains": "hot"}}},
        {"metadata": {"topic": {"in": ["x", "Tea time"]}}},
        {"metadata": {"contains": {"cups": 3}}},
        {"metadata": {"ne": {"cups": 4}}},
        {"metadata": {"deep.er": True}},
        {"metadata": {"topic": "*"}},
        {"metadata": {"other": {"ne": 1}}},
    ],
)
def test_a_filter_finds_what_it_describes(tree: dict[str, Any]) -> None:
    assert _holds(tree)
    assert not _holds({"NOT": [tree]})


@pytest.mark.parametrize(
    "tree",
    [
        {"user_id": "bob"},
        {"agent_id": "*"},
        {"user_id": "alice", "run_id": "r"},
        {"AND": [{"user_id": "alice"}, {"user_id": "bob"}]},
        {"NOT": [{"user_id": "bob"}, {"user_id": "alice"}]},
        {"categories": {"contains": "drink"}},
        {"created_at": {"gt": "2024-07-31"}},
        {"created_at": {"lt": "2024-07-31"}},
        {"expiration_date": {"gt": "2024-09-01"}},
        {"expiration_date": {"lt": "2024-09-01"}},
        {"metadata": {"cups": "3"}},
        {"metadata": {"missing": "*"}},
        {"metadata": {"none": "*"}},
    ],
)
def test_a_filter_leaves_out_the_rest(tree: dict[str, Any]) -> None:
    assert not _holds(tree)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({}, "it is empty"),
        ({"user": "alice"}, "no field 'user'"),
        ({"and": [{"user_id": "alice"}]}, "no field 'and'"),
        ({"user_id": {"equals": "alice"}}, "no operator 'equals'"),
        ({"user_id": {"nin": ["alice"]}}, "no operator 'nin'"),
        ({"user_id": {}}, "it is empty"),
        ({"user_id": None}, "it is null"),
        ({"user_id": ""}, "the text is empty"),
        ({"user_id": True}, "a text is needed"),
        ({"user_id": []}, "at least one"),
        ({"user_id": {"in": "alice"}}, "takes a list"),
        ({"AND": []}, "0 parts"),
        ({"OR": [{"user_id": "u"}] * 1001}, "1001 parts"),
        ({"AND": [{}]}, "it is empty"),
        ({"OR": ["alice"]}, "is an object"),
        ({"categories": {"icontains": "x"}}, "categories take"),
        ({"categories": {"gt": "x"}}, "categories take"),
        ({"created_at": "yesterday"}, "RFC 3339"),
        ({"created_at": {"contains": "2024"}}, "times take"),
        ({"created_at": 1e20}, "no time"),
        ({"expiration_date": "2024-02-31"}, "YYYY-MM-DD"),
        ({"metadata": "*"}, "give keys"),
        ({"metadata": {}}, "give keys"),
        ({"metadata": {"a": {"b": 1}}}, "no operator 'b'"),
        ({"metadata": {"": 1}}, "a key is not empty"),
        ({"keywords": {"gt": "x"}}, "keywords take"),
        ({"memory_ids": {"contains": "m"}}, "memory ids take"),
    ],
)
def test_what_is_not_understood_is_refused(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as refused:
        filters.read(tree)

    assert refused.value.status == 400


def test_filters_nest_up_to_a_limit_that_the_daemon_can_carry() -> None:
    tree: dict[str, Any] = {"created_at": {"ne": "2024-01-01", "gt": "2023-01-01"}}
    for _ in range(filters.MAX_NESTING - 1):
        tree = {"NOT": [{"user_id": "bob", "agent_id": "a"}, tree], "AND": [tree]}

    from_wire(filters.read(tree))

    with pytest.raises(ValidationError, match="nested at most"):
        filters.read({"NOT": [tree]})


def test_the_self_hosted_server_also_filters_by_metadata_keys() -> None:
    assert _holds({"topic": "Tea time", "cups": {"nin": [1, 2]}}, self_hosted=True)
    assert not _holds({"topic": "Coffee"}, self_hosted=True)


@pytest.mark.parametrize(
    ("tree", "is_bounded"),
    [
        ({"user_id": "alice"}, True),
        ({"user_id": "*"}, True),
        ({"AND": [{"metadata": {"a": 1}}, {"user_id": {"in": ["a"]}}]}, True),
        ({"OR": [{"user_id": "a"}, {"agent_id": "b"}]}, True),
        ({"OR": [{"user_id": "a"}, {"metadata": {"a": 1}}]}, False),
        ({"NOT": [{"user_id": "a"}]}, False),
        ({"user_id": {"ne": "a"}}, False),
        ({"user_id": {"ne": "a"}, "agent_id": "b"}, True),
        ({"metadata": {"user_id": "a"}}, False),
        ({"memory_ids": ["m"]}, False),
    ],
)
def test_only_a_filter_that_names_owners_bounds_a_deletion(tree: dict[str, Any], is_bounded: bool) -> None:
    assert filters.is_bounded(tree) is is_bounded
