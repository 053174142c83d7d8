"""Every promise about mixed batches, once, over HTTP and in this process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pydantic
import pytest

from t4dm._backend import MemoryBackend
from t4dm.sdk import ConflictError, NotFoundError, T4DMError, ValidationError
from t4dm.sdk import models as m
from t4dm.sdk import ops_models as o


def _run(backend: MemoryBackend, *ops: dict[str, Any], key: str | None = None, **given: Any) -> list[Any]:
    request = o.OpsRequest.model_validate({"ops": list(ops), **given})
    return list(backend.ops(request, idempotency_key=key).results)


def _get(space: str, *ids: str) -> dict[str, Any]:
    return {"op": "get", "ids": list(ids), "space": space}


def _put(space: str, name: str, content: str = "", **given: Any) -> dict[str, Any]:
    return {"op": "put", "id": name, "content": content or f"about {name}", "space": space, **given}


def _stored(backend: MemoryBackend, space: str) -> set[str]:
    return {one.id for one in backend.list(m.ListRequest(space=space)).results}


def test_results_stand_in_order_and_reads_see_the_state_before_the_writes(backend: MemoryBackend, space: str) -> None:
    backend.batch(
        m.BatchRequest(
            records=[
                m.RecordIn(id="tea", content="tea is hot", namespace=["drinks"], value={"n": 1.0}),
                m.RecordIn(id="milk", content="milk is cold", namespace=["drinks"]),
            ],
            space=space,
        )
    )

    results = _run(
        backend,
        _put(space, "new", "tea is new", namespace=["food"], value=[None]),
        _get(space, "new", "tea"),
        {"op": "search", "query": "tea", "space": space, "include": ["value", "explain"]},
        {"op": "delete", "ids": ["milk", "nobody"], "space": space},
        {"op": "list_namespaces", "space": space, "max_depth": 1},
        {"op": "list", "space": space, "order_by": "insertion", "limit": 1},
        _put(space, "tea", "tea was hot"),
        {"op": "touch", "ids": ["tea", "milk"], "space": space},
    )

    new, got, found, deleted, names, listed, replaced, touched = results
    assert [one.op for one in results] == [
        "put", "get", "search", "delete", "list_namespaces", "list", "put", "touch",
    ]  # fmt: skip
    assert (new.id, new.status, new.version) == ("new", "created", 1)
    assert [(one.id, one.content, one.value, one.version) for one in got.results] == [
        ("tea", "tea is hot", {"n": 1.0}, 1)
    ]
    assert found.results[0].memory.id == "tea"
    assert found.results[0].memory.value == {"n": 1.0}
    assert found.results[0].explain
    assert "new" not in {hit.memory.id for hit in found.results}
    assert deleted.deleted == 1
    assert [(one.namespace, one.count) for one in names.results] == [(["drinks"], 2)]
    assert ([one.id for one in listed.results], listed.total) == (["tea"], 2)
    assert listed.cursor is not None
    assert (replaced.id, replaced.status, replaced.version) == ("tea", "updated", 2)
    assert touched.touched == 1
    assert _stored(backend, space) == {"tea", "new"}
    assert backend.get("tea", space=space).access_count == 1


def test_no_operations_have_no_results(backend: MemoryBackend) -> None:
    assert _run(backend) == []


def test_the_puts_of_a_space_are_one_write(backend: MemoryBackend, space: str) -> None:
    other = f"{space}-2"
    _run(backend, _put(space, "a"), _put(other, "b"), _put(space, "c"))

    assert len({backend.get(name, space=space).recorded_at for name in "ac"}) == 1
    assert _stored(backend, other) == {"b"}


@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ({"op": "get", "ids": ["a"], "space": "no such space"}, NotFoundError),
        ({"op": "delete", "ids": ["a"], "space": "no such space"}, NotFoundError),
        ({"op": "touch", "ids": ["a"], "space": "no such space"}, NotFoundError),
        ({"op": "list_namespaces", "space": "no such space"}, NotFoundError),
        ({"op": "list", "cursor": "nonsense"}, ValidationError),
        ({"op": "list", "filter": {"field": "a", "op": "like", "value": 1}}, ValidationError),
        ({"op": "put", "id": "x", "vector": [0.0, 0.0]}, ValidationError),
        ({"op": "put", "id": "x", "vector": [1.0, 0.0]}, ConflictError),
        ({"op": "put", "id": "x", "metadata": {"a": "x" * 70_000}}, ValidationError),
        ({"op": "delete", "ids": ["first"]}, ValidationError),
    ],
)
def test_an_operation_that_fails_refuses_all_and_names_its_position(
    backend: MemoryBackend, space: str, op: dict[str, Any], kind: type[T4DMError]
) -> None:
    backend.create_space(space)
    backend.create_space(f"{space}-2")

    with pytest.raises(kind) as refused:
        _run(backend, _put(space, "first"), _put(f"{space}-2", "second"), {"space": space, **op})

    assert refused.value.details["op"] == 2
    assert refused.value.message.startswith("operation 2: ")
    assert _stored(backend, space) == _stored(backend, f"{space}-2") == set()


def test_a_conflict_names_its_put_and_stores_none(backend: MemoryBackend, space: str) -> None:
    _run(backend, _put(space, "known"))

    with pytest.raises(ConflictError) as refused:
        _run(backend, _get(space, "x"), _put(space, "new"), _put(space, "known"), on_conflict="error")

    assert refused.value.details.items() >= {"op": 2, "id": "known"}.items()
    assert _stored(backend, space) == {"known"}


def test_vectors_of_a_space_without_any_must_agree_with_each_other(backend: MemoryBackend, space: str) -> None:
    with pytest.raises(ConflictError) as refused:
        _run(backend, _put(space, "a", vector=[1.0, 0.0]), _put(space, "b", vector=[1.0, 0.0, 0.0]))

    assert (refused.value.code, refused.value.details["op"]) == ("dimension_mismatch", 1)
    with pytest.raises(NotFoundError):
        backend.get_space(space)


def test_a_vector_travels_both_ways(backend: MemoryBackend, space: str) -> None:
    _run(backend, _put(space, "v", vector=[0.5, -0.25]))

    got, found = _run(
        backend,
        _get(space, "v") | {"include_vectors": True},
        {"op": "search", "vector": [1.0, -0.5], "space": space, "include": ["vector"]},
    )

    assert got.results[0].vector == found.results[0].memory.vector == [0.5, -0.25]
    assert found.results[0].similarity == pytest.approx(1.0)


def test_a_merge_keeps_what_the_put_does_not_give(backend: MemoryBackend, space: str) -> None:
    _run(backend, _put(space, "a", "text", metadata={"x": 1}, value="kept", importance=0.9))

    (merged,) = _run(backend, {"op": "put", "id": "a", "metadata": {"y": 2}, "space": space}, on_conflict="merge")

    memory = backend.get("a", space=space)
    assert merged.status == "updated"
    assert (memory.content, memory.metadata, memory.value) == ("text", {"x": 1, "y": 2}, "kept")
    assert memory.importance == 0.9


def test_the_same_key_puts_once(backend: MemoryBackend, space: str) -> None:
    ops = [_put(space, "a"), _put(f"{space}-2", "a")]

    first, again = _run(backend, *ops, key="k"), _run(backend, *ops, key="k")

    assert first == again
    assert backend.get("a", space=space).version == backend.get("a", space=f"{space}-2").version == 1


@pytest.mark.parametrize(
    "op",
    [
        {"op": "explode"},
        {"ids": ["a"]},
        {"op": "get"},
        {"op": "get", "ids": "a"},
        {"op": "search"},
        {"op": "put", "content": 1},
        {"op": "put", "record": {}},
        {"op": "delete", "all": True},
        {"op": "touch", "ids": []},
        [],
        None,
    ],
)
def test_what_is_no_operation_is_refused_before_it_travels(op: Any) -> None:
    with pytest.raises(pydantic.ValidationError, match=r"ops\.0"):
        o.OpsRequest.model_validate({"ops": [op]})


def test_a_touch_puts_the_expiry_off_and_brings_nothing_back(backend: MemoryBackend, space: str) -> None:
    for name, ttl_s in (("short", 3600.0), ("gone", 0.001), ("open", None)):
        backend.store(m.StoreRequest(id=name, content=name, ttl_s=ttl_s, space=space))
    week = timedelta(days=7)

    touched = backend.touch(
        m.TouchRequest(ids=["short", "gone", "open", "nobody"], ttl_s=week.total_seconds(), space=space)
    )

    assert touched == 2
    for name in ("short", "open"):
        memory = backend.get(name, space=space)
        assert memory.expires_at is not None
        assert abs(memory.expires_at - datetime.now(UTC) - week) < timedelta(minutes=5)
        assert (memory.access_count, memory.version) == (1, 1)
    with pytest.raises(NotFoundError):
        backend.get("gone", space=space)
