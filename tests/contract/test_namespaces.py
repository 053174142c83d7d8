"""Every promise about namespaces and categories, once, over HTTP and in this process."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pydantic
import pytest

from t4dm._backend import MemoryBackend
from t4dm.sdk import NotFoundError
from t4dm.sdk import models as m
from t4dm.sdk import namespace_models as n

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def _store(backend: MemoryBackend, space: str, *paths: str, **given: Any) -> None:
    """Store a memory in each of the namespaces, such as `a/b`."""
    records = [
        m.RecordIn(content=f"{path} {number}", namespace=[one for one in path.split("/") if one], dedup="off", **given)
        for number, path in enumerate(paths)
    ]
    backend.batch(m.BatchRequest(records=records, space=space))


def _names(backend: MemoryBackend, space: str, **given: Any) -> list[str]:
    found = backend.namespaces(n.NamespacesRequest(space=space, **given))
    return ["/".join(one.namespace) for one in found.results]


def test_namespaces_are_listed_in_order_with_what_they_hold(backend: MemoryBackend, space: str) -> None:
    backend.create_space(space)
    assert backend.namespaces(n.NamespacesRequest(space=space)) == n.NamespaceList(results=[], total=0)
    _store(backend, space, "b/c", "a", "b/c", categories=["tea", "milk"])
    _store(backend, space, "b/c", categories=["tea", "tea"], event_time=LONG_AGO, created_at=LONG_AGO)
    _store(backend, space, "")

    found = backend.namespaces(n.NamespacesRequest(space=space)).results

    assert [(one.namespace, one.count, one.categories) for one in found] == [
        ([], 1, {}),
        (["a"], 1, {"milk": 1, "tea": 1}),
        (["b", "c"], 3, {"tea": 3, "milk": 2}),
    ]
    assert list(found[2].categories) == ["tea", "milk"]
    assert found[2].oldest == found[2].first_event == LONG_AGO
    assert found[2].newest > LONG_AGO
    assert found[2].last_event > LONG_AGO


def test_prefix_and_suffix_match_label_by_label_and_a_star_is_one_label(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "u/1/notes", "u/2/notes", "u/2/tasks", "u/2", "v/1/notes", "ux/1", "u/1/2/notes", "*/x")

    assert _names(backend, space, prefix=["u"]) == ["u/1/2/notes", "u/1/notes", "u/2", "u/2/notes", "u/2/tasks"]
    assert _names(backend, space, prefix=["u", "*", "notes"]) == ["u/1/notes", "u/2/notes"]
    assert _names(backend, space, prefix=["*", "1"]) == ["u/1/2/notes", "u/1/notes", "ux/1", "v/1/notes"]
    assert _names(backend, space, suffix=["notes"]) == ["u/1/2/notes", "u/1/notes", "u/2/notes", "v/1/notes"]
    assert _names(backend, space, suffix=["1", "*"]) == ["u/1/notes", "v/1/notes"]
    assert _names(backend, space, prefix=["u"], suffix=["2", "*"]) == ["u/1/2/notes", "u/2/notes", "u/2/tasks"]
    assert _names(backend, space, prefix=["u", "1", "notes", "x"]) == []
    assert _names(backend, space, prefix=["u", "2"], suffix=["u", "2"]) == ["u/2"]
    assert _names(backend, space, prefix=[], suffix=[]) == _names(backend, space)


def test_a_depth_cuts_off_and_counts_together(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a/b/c", "a/b/d", "a/e", "f", "a", categories=["tea"])

    def counted(**given: Any) -> list[tuple[str, int, dict[str, int]]]:
        found = backend.namespaces(n.NamespacesRequest(space=space, **given)).results
        return [("/".join(one.namespace), one.count, one.categories) for one in found]

    assert counted(max_depth=1) == [("a", 4, {"tea": 4}), ("f", 1, {"tea": 1})]
    assert counted(max_depth=2, prefix=["a", "*"]) == [("a/b", 2, {"tea": 2}), ("a/e", 1, {"tea": 1})]
    assert counted(max_depth=0) == [("", 5, {"tea": 5})]
    assert counted(max_depth=1, suffix=["c"]) == [("a", 1, {"tea": 1})]


def test_namespaces_come_page_by_page(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, *(f"n{number:02}" for number in range(12)))

    assert _names(backend, space, limit=5, offset=10) == ["n10", "n11"]
    assert backend.namespaces(n.NamespacesRequest(space=space, limit=1)).total == 12
    assert _names(backend, space, offset=12) == []


def test_only_present_memories_of_the_owner_count(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a", "b", user_id="ada", categories=["x"])
    _store(backend, space, "b", "c", user_id="bob", kind="semantic", categories=["y"])
    _store(backend, space, "old", user_id="ada", expires_at=LONG_AGO, categories=["z"])
    backend.delete_many(m.DeleteRequest(space=space, user_id="ada", namespace_prefix=["a"]))

    assert _names(backend, space) == ["b", "c"]
    assert _names(backend, space, user_id="ada") == ["b"]
    assert _names(backend, space, kind="semantic") == ["b", "c"]
    assert backend.categories(n.CategoriesRequest(space=space)) == {"y": 2, "x": 1}


def test_categories_are_counted_most_first(backend: MemoryBackend, space: str) -> None:
    backend.create_space(space)
    assert backend.categories(n.CategoriesRequest(space=space)) == {}
    _store(backend, space, "a/b", "a", categories=["tea", "milk"], user_id="ada")
    _store(backend, space, "ab", categories=["milk", "milk", "sugar/brown & 🍯"], kind="semantic")

    def counted(**given: Any) -> dict[str, int]:
        return backend.categories(n.CategoriesRequest(space=space, **given))

    assert list(counted().items()) == [("milk", 3), ("tea", 2), ("sugar/brown & 🍯", 1)]
    assert counted(namespace_prefix=["a"]) == counted(user_id="ada") == {"milk": 2, "tea": 2}
    assert counted(namespace_prefix=["a", "b"]) == {"milk": 1, "tea": 1}
    assert counted(kind="semantic") == {"milk": 1, "sugar/brown & 🍯": 1}


@pytest.mark.parametrize("label", ["a b", "a/b", "ü", "&=+#%", "*x", "line\nbreak", "🔑"])
def test_any_label_is_asked_for_as_it_is(backend: MemoryBackend, space: str, label: str) -> None:
    backend.store(m.StoreRequest(content="x", namespace=[label, "end"], space=space))
    backend.store(m.StoreRequest(content="y", namespace=["other", "end"], space=space))

    found = backend.namespaces(n.NamespacesRequest(space=space, prefix=[label, "*"])).results

    assert [one.namespace for one in found] == [[label, "end"]]


def test_a_space_that_does_not_exist_is_not_found(backend: MemoryBackend, space: str) -> None:
    with pytest.raises(NotFoundError):
        backend.namespaces(n.NamespacesRequest(space=space))
    with pytest.raises(NotFoundError):
        backend.categories(n.CategoriesRequest(space=space))


@pytest.mark.parametrize(
    "given", [{"prefix": [""]}, {"max_depth": -1}, {"limit": 0}, {"offset": -1}, {"suffix": "a"}, {"depth": 1}]
)
def test_what_makes_no_sense_is_refused_before_it_travels(given: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        n.NamespacesRequest.model_validate(given)


def test_owners_are_listed_by_column_with_what_they_have(backend: MemoryBackend, space: str) -> None:
    backend.create_space(space)
    assert backend.owners(n.OwnersRequest(space=space)) == n.OwnerList(results=[], total=0)
    _store(backend, space, "a", "b", user_id="ü", run_id="r/1")
    _store(backend, space, "c", user_id="ada", created_at=LONG_AGO)
    _store(backend, space, "d", user_id="ada", expires_at=LONG_AGO, created_at=LONG_AGO)
    _store(backend, space, "e")

    found = backend.owners(n.OwnersRequest(space=space))

    assert [(one.column, one.id, one.count) for one in found.results] == [
        ("user_id", "ada", 1),
        ("user_id", "ü", 2),
        ("run_id", "r/1", 2),
    ]
    assert found.total == 3
    assert found.results[0].oldest == found.results[0].newest == LONG_AGO
    assert found.results[1].oldest > LONG_AGO
    assert found.results[1].updated >= found.results[1].newest


def test_owners_can_be_paged_narrowed_to_columns_and_counted_with_the_expired(
    backend: MemoryBackend, space: str
) -> None:
    _store(backend, space, "a", user_id="ada", agent_id="helper", session_id="s")
    _store(backend, space, "b", user_id="ada", expires_at=LONG_AGO, created_at=LONG_AGO)

    def names(**given: Any) -> list[tuple[str, int]]:
        found = backend.owners(n.OwnersRequest(space=space, **given))
        return [(one.id, one.count) for one in found.results]

    assert names(show_expired=True) == [("ada", 2), ("helper", 1), ("s", 1)]
    assert names(columns=["session_id", "agent_id"]) == [("helper", 1), ("s", 1)]
    assert names(limit=1, offset=1) == [("helper", 1)]
    assert names(offset=9) == []
    with pytest.raises(NotFoundError):
        backend.owners(n.OwnersRequest(space="no such space"))
    with pytest.raises(pydantic.ValidationError):
        n.OwnersRequest.model_validate({"columns": ["owner"]})
