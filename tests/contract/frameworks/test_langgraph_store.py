"""What T4DMStore promises beside what InMemoryStore does: see there for `test_langgraph_differential.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph")

from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)

from t4dm.sdk import ConflictError, ProtocolError, T4DMClient, ValidationError
from t4dm.sdk import models as m
from t4dm_integrations.langgraph import T4DMStore
from t4dm_integrations.langgraph.records import Partition
from tests.support.daemon import Daemon
from tests.support.recording import record

USERS = ("users", "ada")
COLOURS = {"red": [1.0, 0.0, 0.0], "green": [0.0, 1.0, 0.0], "blue": [0.0, 0.0, 1.0], "teal": [0.0, 0.8, 0.6]}


def embed(texts: Sequence[str]) -> list[list[float]]:
    return [COLOURS.get(text, [0.0, 0.0, 0.0]) for text in texts]


def colours(*fields: str) -> Any:
    return {"dims": 3, "embed": embed, "fields": list(fields) or ["colour"]}


@pytest.fixture
def space(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def make_store(plain_daemon: Daemon, space: str) -> Iterator[Callable[..., T4DMStore]]:
    made = []

    def make(**given: Any) -> T4DMStore:
        made.append(T4DMStore(**{"url": plain_daemon.url, "space": space, **given}))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: Callable[..., T4DMStore]) -> T4DMStore:
    return make_store()


@pytest.fixture
def client(plain_daemon: Daemon) -> Iterator[T4DMClient]:
    with plain_daemon.client() as client:
        yield client


def keys(found: Any) -> list[str]:
    return [one.key for one in found]


# Items ----------------------------------------------------------------------------------------------------


def test_an_item_comes_back_as_it_was_put(store: T4DMStore):
    value = {
        "name": "Ada",
        "n": 1,
        "x": 0.1,
        "big": 2**70,
        "none": None,
        "tags": ["a", {"b": []}],
        "a.b": {"": "ü\x00"},
    }

    store.put(USERS, "profile", value)

    item = store.get(USERS, "profile")
    assert item is not None
    assert (item.namespace, item.key, item.value) == (USERS, "profile", value)
    assert list(item.value)[:3] == ["name", "n", "x"]
    assert type(item.value["n"]) is int
    assert item.created_at.tzinfo is not None


def test_overwriting_keeps_when_an_item_was_created_and_its_place(store: T4DMStore):
    store.batch([PutOp(USERS, "first", {"v": 1}), PutOp(USERS, "second", {"v": 1})])
    before = store.get(USERS, "first")

    store.put(USERS, "first", {"v": 1})

    after = store.get(USERS, "first")
    assert before is not None
    assert after is not None
    assert after.created_at == before.created_at
    assert after.updated_at > before.updated_at
    assert keys(store.search(USERS)) == ["first", "second"]


def test_an_item_that_was_deleted_begins_anew(store: T4DMStore):
    store.put(USERS, "k", {"v": 1})
    before = store.get(USERS, "k")

    store.delete(USERS, "k")
    gone = store.get(USERS, "k")
    store.put(USERS, "k", {"v": 2})

    after = store.get(USERS, "k")
    assert gone is None
    assert before is not None
    assert after is not None
    assert after.created_at > before.created_at


def test_deleting_what_is_not_there_does_nothing(store: T4DMStore):
    store.delete(USERS, "nobody")

    assert store.get(USERS, "nobody") is None


def test_names_that_look_alike_when_joined_are_different_items(store: T4DMStore):
    names = [(("a", "b"), "c"), (("a",), 'b","c'), (("a",), "b/c"), (('a","b',), "c"), (("a",), "b"), (("A",), "b")]
    names += [
        (("a",), ""),
        (("a",), "#1"),
        (("a",), "b#1"),
        (("a",), " "),
        (("ü" * 200,), "k" * 2000),
        (("ü" * 200,), "k" * 2001),
    ]

    store.batch([PutOp(namespace, key, {"at": at}) for at, (namespace, key) in enumerate(names)])

    found = store.batch([GetOp(namespace, key) for namespace, key in names])
    assert [(one.namespace, one.key, one.value["at"]) for one in found] == [
        (namespace, key, at) for at, (namespace, key) in enumerate(names)
    ]


def test_keys_are_texts_whatever_is_given(store: T4DMStore):
    store.batch([PutOp(USERS, 7, {"v": 1})])  # type: ignore[arg-type]  # BaseStore.put does the same

    assert keys(store.search(USERS)) == ["7"]


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ({"a": [1, object()]}, TypeError, r"value\['a'\]\[1\] is a object"),
        ({"a": {1: 2}}, TypeError, "keys are strings"),
        ({"a": float("nan")}, ValidationError, "JSON has not"),
        ({"a": "\ud800"}, ValidationError, "surrogate"),
        ({"a": "x" * 9_000_000}, ValidationError, "limit is 8388608"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_stores_nothing(
    store: T4DMStore, value: Any, kind: type[Exception], message: str
):
    with pytest.raises(kind, match=message):
        store.batch([PutOp(USERS, "good", {"v": 1}), PutOp(USERS, "bad", value)])

    assert store.search(()) == []


def test_mappings_and_tuples_are_kept_as_json_has_them(store: T4DMStore):
    from types import MappingProxyType

    store.put(USERS, "k", MappingProxyType({"pair": (1, MappingProxyType({"a": ()}))}))

    item = store.get(USERS, "k")
    assert item is not None
    assert item.value == {"pair": [1, {"a": []}]}


# Batches --------------------------------------------------------------------------------------------------


def test_a_batch_is_one_request_and_reads_what_was_there_before(plain_daemon: Daemon, space: str):
    found: list[Any] = []

    def play(url: str) -> None:
        with T4DMStore(url, space=space) as store:
            store.put(USERS, "old", {"v": 1})
            found.extend(
                store.batch(
                    [
                        PutOp(USERS, "new", {"v": 2}),
                        GetOp(USERS, "new"),
                        PutOp(USERS, "old", None),
                        GetOp(USERS, "old"),
                        SearchOp(("users",)),
                        ListNamespacesOp(max_depth=1),
                        PutOp(("other",), "new", {"v": 2}),
                    ]
                )
            )
            found.append(store.search(()))

    recording = record(play, plain_daemon.url)

    targets = [one.target for one in recording.exchanges]
    assert targets == [f"/api/v1/spaces/{space}", "/api/v1/ops", "/api/v1/ops", "/api/v1/ops"]
    assert found[:2] == [None, None]
    assert found[3].value == {"v": 1}
    assert keys(found[4]) == ["old"]
    assert found[5] == [("users",)]
    assert keys(found[7]) == ["new", "new"]


def test_a_batch_that_searches_and_writes_reads_first(make_store: Callable[..., T4DMStore]):
    store = make_store(index=colours())
    store.put(USERS, "old", {"colour": "red"})

    filtered, _, ranked = store.batch(
        [
            SearchOp(USERS, filter={"colour": "red"}),
            PutOp(USERS, "new", {"colour": "red"}),
            SearchOp(USERS, query="red"),
        ]
    )

    assert keys(filtered) == keys(ranked) == ["old"]
    assert set(keys(store.search(USERS))) == {"old", "new"}


def test_a_batch_that_deletes_what_it_finds_by_further_texts_finds_it_first(make_store: Callable[..., T4DMStore]):
    store = make_store(index=colours("parts[*]"))
    store.batch([PutOp(USERS, str(at), {"parts": ["red", "blue"]}) for at in range(20)])

    found, *_ = store.batch(
        [SearchOp(USERS, query="blue", limit=3), *(PutOp(USERS, str(at), None) for at in range(20))]
    )

    assert [one.score for one in found] == pytest.approx([1.0, 1.0, 1.0])
    assert store.search(USERS, query="blue") == []


def test_a_batch_is_cut_only_where_the_daemon_would_take_no_more(plain_daemon: Daemon, space: str):
    def play(url: str) -> int:
        with T4DMStore(url, space=space, index=False) as store:
            store.batch([PutOp(USERS, str(at), {"at": at}) for at in range(2500)])
            found = store.batch([GetOp(USERS, str(at)) for at in range(2500)])
            assert [one.value["at"] for one in found] == list(range(2500))
            return len(store.search(USERS, limit=5000))

    recording = record(play, plain_daemon.url)

    assert recording.outcome == 2500
    assert len([one for one in recording.exchanges if one.target == "/api/v1/ops"]) == 3 + 3 + 1


def test_a_batch_larger_than_a_request_is_cut(make_store: Callable[..., T4DMStore]):
    store = make_store(index=False)

    store.batch([PutOp(USERS, str(at), {"text": "x" * 4_000_000}) for at in range(9)])

    assert len(store.search(USERS, filter={"missing": None})) == 9


def test_the_last_of_several_writes_to_one_item_counts(store: T4DMStore):
    store.batch([PutOp(USERS, "a", {"v": 1}), PutOp(USERS, "b", {"v": 1}), PutOp(USERS, "a", {"v": 2})])
    store.batch([PutOp(USERS, "b", {"v": 3}), PutOp(USERS, "b", None)])

    assert [(one.key, one.value) for one in store.search(USERS)] == [("a", {"v": 2})]


def test_no_operations_have_no_results(store: T4DMStore):
    assert store.batch([]) == []
    assert asyncio.run(store.abatch(iter(()))) == []


def test_an_operation_of_another_kind_is_refused(store: T4DMStore):
    with pytest.raises(ValueError, match="Unknown operation type"):
        store.batch([("get", USERS, "k")])  # type: ignore[list-item]


# Namespaces -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", [("a.b",), ("",), ("a", "x\x00"), (1,)])
def test_namespaces_that_langgraph_refuses_are_refused_in_raw_operations_too(store: T4DMStore, namespace: Any):
    ops: list[Any] = [
        GetOp(namespace, "k"),
        PutOp(namespace, "k", {}),
        SearchOp(namespace),
        ListNamespacesOp((MatchCondition("prefix", namespace),)),
    ]

    for op in ops:
        with pytest.raises(InvalidNamespaceError):
            store.batch([op])


def test_a_put_needs_a_namespace_that_is_not_langgraphs_own(store: T4DMStore):
    for namespace in ((), ("langgraph", "x")):
        with pytest.raises(InvalidNamespaceError):
            store.put(namespace, "k", {"v": 1})


def test_namespaces_beyond_what_the_daemon_takes_are_refused_clearly(store: T4DMStore):
    with pytest.raises(InvalidNamespaceError, match="at most 32 labels, this one has 33"):
        store.put(("x",) * 33, "k", {})
    with pytest.raises(InvalidNamespaceError, match="at most 512 bytes"):
        store.put(("ü" * 300,), "k", {})


def test_namespaces_match_several_conditions_at_once(store: T4DMStore):
    for namespace in [("a", "b", "v1"), ("a", "c", "v1"), ("a", "b", "v2"), ("d", "b", "v1")]:
        store.put(namespace, "k", {})

    def found(*conditions: tuple[Any, tuple[str, ...]]) -> list[Any]:
        listed = store.batch([ListNamespacesOp(tuple(MatchCondition(*one) for one in conditions))])[0]
        assert isinstance(listed, list)
        return listed

    assert found(("prefix", ("a",)), ("prefix", ("*", "b")), ("suffix", ("v1",))) == [("a", "b", "v1")]
    assert found(("prefix", ("a",)), ("prefix", ("d",))) == []
    assert found(("suffix", ("*", "v1")), ("suffix", ("b", "*"))) == [("a", "b", "v1"), ("d", "b", "v1")]


def test_a_limit_or_offset_below_zero_is_refused(store: T4DMStore):
    for op in (SearchOp((), limit=-1), SearchOp((), offset=-1), ListNamespacesOp(limit=-1)):
        with pytest.raises(ValueError, match="not negative"):
            store.batch([op])


# Filters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["v", "missing", "a.b"])
@pytest.mark.parametrize(
    "condition", [{"$in": [1]}, {"$gt": None}, {"$gt": True}, {"$eq": 1, "plain": 2}, {"x": {"$y": 1}}]
)
def test_a_filter_that_nobody_understands_is_refused_whatever_is_stored(
    store: T4DMStore, key: str, condition: dict[str, Any]
):
    with pytest.raises(ValueError, match=r"operator|takes a number"):
        store.search(USERS, filter={key: condition})


@pytest.mark.parametrize("operator", ["$and", "$or", "$nor", "$not"])
def test_an_operator_that_joins_conditions_is_refused_and_finds_not_nothing(store: T4DMStore, operator: str):
    with pytest.raises(ValueError, match="hold together"):
        store.search(USERS, filter={operator: [{"a": 1}, {"a": 2}]})


def test_comparison_is_typed_and_orders_texts_too(store: T4DMStore):
    for key, when in {"old": "2025-12-31", "new": "2026-05-01", "number": 20260501, "true": True, "none": None}.items():
        store.put(USERS, key, {"when": when})

    assert keys(store.search(USERS, filter={"when": {"$gte": "2026-01-01"}})) == ["new"]
    assert keys(store.search(USERS, filter={"when": {"$gt": 0}})) == ["number"]
    assert keys(store.search(USERS, filter={"when": 1})) == []
    assert keys(store.search(USERS, filter={"when": True})) == ["true"]


def test_an_item_too_large_to_filter_by_is_found_by_every_part_of_it(store: T4DMStore):
    body = "x" * 100_000
    store.put(USERS, "note", {"type": "note", "body": "short", "size": 5})
    store.put(USERS, "report", {"type": "report", "body": body, "size": 100_000})
    store.put(USERS, "bag", {f"k{at}": "y" * 10_000 for at in range(70)} | {"type": "bag"})

    def found(**conditions: Any) -> list[str]:
        return keys(store.search(USERS, filter=conditions))

    assert found(type="report") == ["report"]
    assert found(body=body) == ["report"]
    assert found(body={"$ne": body}) == ["note", "bag"]
    assert found(body={"$gt": "short"}, size={"$gte": 6}) == ["report"]
    assert found(k69="y" * 10_000, type="bag") == ["bag"]
    assert found(k69=None) == ["note", "report"]
    assert keys(store.search(USERS, filter={"body": {"$ne": body}}, limit=1, offset=1)) == ["bag"]


def test_pages_of_a_filtered_search_hold_each_item_once(store: T4DMStore):
    store.batch([PutOp(USERS, str(at), {"even": at % 2 == 0, "x" if at % 3 else "x.y": 1}) for at in range(40)])

    pages = [
        keys(store.search(USERS, filter={"even": True, "x": 1}, limit=4, offset=offset)) for offset in (0, 4, 8, 12)
    ]

    assert [key for page in pages for key in page] == [str(at) for at in range(40) if at % 2 == 0 and at % 3]


# Meaning --------------------------------------------------------------------------------------------------


def test_an_item_is_found_by_the_best_of_its_texts(make_store: Callable[..., T4DMStore]):
    store = make_store(index=colours("colour", "parts[*].colour"))
    store.put(USERS, "flag", {"colour": "red", "parts": [{"colour": "green"}, {"colour": "blue"}]})
    store.put(USERS, "sea", {"colour": "teal"})

    found = store.search(USERS, query="blue")

    assert keys(found) == ["flag", "sea"]
    assert [one.score for one in found] == pytest.approx([1.0, 0.6], abs=1e-6)


def test_texts_that_an_item_has_no_longer_find_nothing_and_are_deleted(
    make_store: Callable[..., T4DMStore], client: T4DMClient, space: str
):
    store = make_store(index=colours("colour", "parts[*].colour"))
    store.put(USERS, "flag", {"colour": "red", "parts": [{"colour": "green"}, {"colour": "blue"}]})
    store.put(USERS, "other", {"colour": "red", "parts": [{"colour": "green"}]})

    store.put(USERS, "flag", {"colour": "red"})
    shrunk = client.list(m.ListRequest(space=space)).total
    found = store.search(USERS, query="blue", limit=5)
    store.delete(USERS, "other")

    assert shrunk == 3
    assert [(one.key, one.score) for one in found] == [("flag", 0.0), ("other", 0.0)] or [
        (one.key, one.score) for one in found
    ] == [("other", 0.0), ("flag", 0.0)]
    assert [one.kind for one in client.list(m.ListRequest(space=space)).results] == ["semantic"]


def test_texts_that_a_crash_left_over_find_nothing(
    make_store: Callable[..., T4DMStore], client: T4DMClient, space: str
):
    store = make_store(index=colours("colour", "parts[*].colour"))
    store.put(USERS, "flag", {"colour": "red", "parts": [{"colour": "green"}, {"colour": "blue"}]})
    item_id = Partition(space, "langgraph").id_of(USERS, "flag")
    whole = client.get(item_id, space=space, include_vector=True)
    # The item is written anew with one text, and what would clear away the others does not happen.
    kept = {"id", "content", "metadata", "value", "vector", "kind", "namespace", "app_id", "pinned"}
    client.store(m.StoreRequest(space=space, **whole.model_dump(include=kept)))

    left_over = client.list(m.ListRequest(space=space, kind="procedural")).total
    found = store.search(USERS, query="blue")
    store.put(USERS, "flag", {"colour": "red"})

    assert left_over == 2
    assert [(one.key, one.score) for one in found] == [("flag", 0.0)]
    assert client.list(m.ListRequest(space=space)).total == 1


def test_items_that_are_not_indexed_come_after_all_others_without_a_score(make_store: Callable[..., T4DMStore]):
    store = make_store(index=colours())
    store.put(USERS, "hidden", {"colour": "red"}, index=False)
    store.put(USERS, "blank", {"colour": "a colour whose vector has no direction"})
    store.put(USERS, "bare", {"size": 3})
    store.put(USERS, "seen", {"colour": "blue"})

    found = store.search(USERS, query="red")
    pages = [keys(store.search(USERS, query="red", limit=2, offset=offset)) for offset in (0, 2, 4)]

    assert [(one.key, one.score) for one in found] == [("seen", 0.0), ("hidden", None), ("blank", None), ("bare", None)]
    assert pages == [["seen", "hidden"], ["blank", "bare"], []]


def test_a_question_without_direction_ranks_nothing(make_store: Callable[..., T4DMStore]):
    store = make_store(index=colours())
    store.put(USERS, "a", {"colour": "red"})

    assert [(one.key, one.score) for one in store.search(USERS, query="?")] == [("a", None)]


def test_many_hits_are_gathered_over_several_rounds(make_store: Callable[..., T4DMStore]):
    store = make_store(index=colours("parts[*]"))
    store.batch([PutOp(USERS, str(at), {"parts": ["red", "teal", "green"]}) for at in range(400)])
    store.put(USERS, "last", {"parts": ["blue"]})

    found = store.search(USERS, query="green", limit=401)

    assert len({one.key for one in found}) == 401
    assert found[-1].key == "last"


def test_an_awaited_embedder_is_awaited(make_store: Callable[..., T4DMStore]):
    async def embed_soon(texts: Sequence[str]) -> list[list[float]]:
        await asyncio.sleep(0)
        return embed(texts)

    store = make_store(index={"dims": 3, "embed": embed_soon, "fields": ["colour"]})

    async def play() -> list[str]:
        await store.aput(USERS, "a", {"colour": "red"})
        await store.aput(USERS, "b", {"colour": "blue"})
        found = await store.asearch(USERS, query="blue", limit=1)
        await store.aclose()
        return keys(found)

    assert asyncio.run(play()) == ["b"]
    with pytest.raises(ValueError, match="async function"):
        store.put(USERS, "c", {"colour": "red"})


def test_an_embedder_that_makes_other_vectors_than_it_says_is_refused(make_store: Callable[..., T4DMStore]):
    with pytest.raises(ValueError, match="a vector of 3 numbers, and index says dims=4"):
        make_store(index={"dims": 4, "embed": embed, "fields": ["colour"]}).put(USERS, "a", {"colour": "red"})
    with pytest.raises(ValueError, match="0 vectors of 1 texts"):
        make_store(index={"dims": 3, "embed": lambda texts: [], "fields": ["colour"]}).put(
            USERS, "a", {"colour": "red"}
        )


def test_stores_that_index_differently_need_different_spaces(make_store: Callable[..., T4DMStore]):
    make_store().put(USERS, "a", {"colour": "red"})

    with pytest.raises(ConflictError, match="exists with embedder server"):
        make_store(index=colours()).get(USERS, "a")


def test_the_daemon_finds_by_meaning_where_nobody_else_embeds(daemon: Daemon, space: str):
    with T4DMStore(daemon.url, space=space) as store:
        store.put(USERS, "pizza", {"memory": "The user likes pizza with anchovies."})
        store.put(USERS, "boat", {"memory": "The ferry leaves from pier four at noon."})
        store.put(USERS, "secret", {"memory": "When does the ship depart?"}, index=False)
        store.put(("users", "bob"), "boat", {"memory": "Bob's ship departs at nine."})

        found = store.search(USERS, query="When does the ship depart?")

    assert [one.key for one in found] == ["boat", "pizza", "secret"]
    scores = [one.score for one in found]
    assert scores[0] is not None
    assert scores[1] is not None
    assert 1 >= scores[0] > scores[1] >= 0
    assert scores[2] is None


def test_the_daemon_embeds_just_the_fields_that_are_named(daemon: Daemon, space: str):
    with T4DMStore(daemon.url, space=space, index={"fields": ["title", "notes[*]"]}) as store:
        store.put(
            USERS, "a", {"title": "Groceries", "notes": ["eggs and flour", "a birthday present"], "body": "ships"}
        )
        store.put(USERS, "b", {"title": "Harbour", "notes": ["ships come and go"], "body": "groceries"})
        store.put(USERS, "c", {"body": "groceries"})

        found = store.search(USERS, query="What do I need for baking?", limit=3)

    assert keys(found) == ["a", "b", "c"]
    assert found[2].score is None


def test_without_an_index_a_query_has_no_effect(make_store: Callable[..., T4DMStore]):
    store = make_store(index=False)
    store.put(USERS, "a", {"colour": "red"})
    store.put(USERS, "b", {"colour": "blue"})

    assert [(one.key, one.score) for one in store.search(USERS, query="blue")] == [("a", None), ("b", None)]


# Neighbours -----------------------------------------------------------------------------------------------


def test_stores_in_one_space_with_another_app_id_do_not_see_each_others_items(make_store: Callable[..., T4DMStore]):
    stores = [make_store(), make_store(app_id="crm")]

    for at, store in enumerate(stores):
        store.put(USERS, "k", {"at": at})
        store.put((f"only-{at}",), "k", {"at": at})
    stores[1].delete(USERS, "k")

    assert [[one.value for one in store.search(())] for store in stores] == [[{"at": 0}, {"at": 0}], [{"at": 1}]]
    assert [store.list_namespaces() for store in stores] == [[("only-0",), USERS], [("only-1",)]]
    assert stores[1].get(USERS, "k") is None


def test_other_memories_of_the_space_are_not_items(store: T4DMStore, client: T4DMClient, space: str):
    store.put(USERS, "k", {"v": 1})
    client.store(m.StoreRequest(content="The kettle is in the shed.", namespace=list(USERS), space=space))

    assert keys(store.search(())) == ["k"]
    assert keys(store.search((), query="kettle")) == ["k"]
    assert store.list_namespaces() == [USERS]


def test_a_memory_with_the_app_id_of_the_store_that_is_no_item_is_pointed_out(
    store: T4DMStore, client: T4DMClient, space: str
):
    store.put(USERS, "k", {"v": 1})
    client.store(m.StoreRequest(id="odd", content="odd", kind="semantic", app_id="langgraph", space=space))

    with pytest.raises(ProtocolError, match="'odd' of space"):
        store.search(())


def test_a_store_whose_space_was_deleted_is_empty_and_goes_on(store: T4DMStore, client: T4DMClient, space: str):
    store.put(USERS, "k", {"v": 1})
    client.delete_space(space)

    assert store.get(USERS, "k") is None
    client.delete_space(space)
    store.put(USERS, "k", {"v": 2})
    assert keys(store.search(())) == ["k"]


def test_a_data_directory_of_this_process_does_the_same_as_a_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("T4DM_EMBEDDING_MODEL", "hashing")
    monkeypatch.setenv("T4DM_CACHE_PATH", str(tmp_path / "cache"))

    async def read(store: T4DMStore) -> list[str]:
        await store.aput(USERS, "awaited", {"likes": "tea"}, ttl=1)
        return keys(await store.asearch(USERS, query="tea"))

    with T4DMStore(storage_path=tmp_path / "store") as store:
        store.put(USERS, "k", {"likes": "plum cake"})
        found = asyncio.run(read(store))
        again = asyncio.run(read(store))
    with T4DMStore(storage_path=tmp_path / "store") as store:
        kept = store.batch([GetOp(USERS, "k"), SearchOp(USERS, filter={"likes": "tea"}), ListNamespacesOp()])

    assert found == again
    assert found[0] == "awaited"
    assert kept[0] is not None
    assert keys(kept[1]) == ["awaited"]
    assert kept[2] == [USERS]
