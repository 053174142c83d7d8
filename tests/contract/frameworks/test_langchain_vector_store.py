"""The vector store and the retriever over a real daemon: what LangChain relies upon beyond its own suites."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_core")

import asyncio
import copy
import gc
import json
import pickle
import random
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.vectorstores import InMemoryVectorStore

from t4dm.sdk import AsyncT4DMClient, ConflictError, Filter, NotFoundError, ValidationError
from t4dm_integrations.langchain import T4DMRetriever, T4DMVectorStore
from tests.contract.frameworks.scenario_langchain import ByHash
from tests.support.daemon import Daemon

Make = Callable[..., T4DMVectorStore]
BY_HASH = ByHash()
ADA = {"user_id": "ada"}
BOB = {"user_id": "bob"}


@pytest.fixture
def make_store(plain_daemon: Daemon) -> Iterator[Make]:
    """Make stores in a space of this test's own; they are closed with it."""
    made: list[T4DMVectorStore] = []
    space = f"vectors-{uuid.uuid4()}"

    def make(embedding: Any = BY_HASH, **options: Any) -> T4DMVectorStore:
        store = T4DMVectorStore(embedding, **{"url": plain_daemon.url, "space": space} | options)
        made.append(store)
        return store

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: Make) -> T4DMVectorStore:
    return make_store()


# Adding -----------------------------------------------------------------------------------------------


def test_documents_come_back_as_they_were_given(store: T4DMVectorStore):
    given = [
        Document(id="1", page_content="plain", metadata={}),
        Document(
            id="two words / und §", page_content="ναύς 船 🚢\n\ttab", metadata={"deep": {"er": [1, 2.5, None, True]}}
        ),
        Document(id="id", page_content="", metadata={"id": "not the id", "score": 1, "content": "x", "_id": 3}),
    ]
    before = copy.deepcopy(given)

    store.add_documents(given)

    assert store.get_by_ids(["1", "two words / und §", "id"]) == before == given
    assert {one.id: one for one in store.similarity_search("plain", k=9)} == {one.id: one for one in before}


def test_ids_are_made_only_where_there_is_none(store: T4DMVectorStore):
    ids = store.add_texts(["a", "b", "c"], ids=["1", None, "3"])

    assert [ids[0], ids[2]] == ["1", "3"]
    assert ids[1]
    assert [one.page_content for one in store.get_by_ids(ids)] == ["a", "b", "c"]


def test_the_same_text_twice_without_ids_is_two_documents(store: T4DMVectorStore):
    ids = store.add_texts(["same", "same"], [{"n": 1}, {"n": 2}]) + store.add_texts(["same"], [{"n": 3}])

    assert len(set(ids)) == 3
    assert sorted(one.metadata["n"] for one in store.similarity_search("same", k=9)) == [1, 2, 3]


def test_the_last_of_two_documents_with_one_id_stays(store: T4DMVectorStore):
    assert store.add_texts(["first", "second"], ids=["x", "x"]) == ["x", "x"]

    assert [one.page_content for one in store.similarity_search("first", k=9)] == ["second"]


def test_no_texts_are_no_work(store: T4DMVectorStore):
    assert store.add_texts([]) == []
    assert store.add_documents([]) == []
    assert store.get_by_ids([]) == []
    assert store.delete([]) is True


@pytest.mark.parametrize("lists", [{"metadatas": [{}]}, {"ids": ["1", "2", "3"]}])
def test_lists_of_different_lengths_store_nothing(store: T4DMVectorStore, lists: dict[str, Any]):
    with pytest.raises(ValueError, match="there are 2 texts, but"):
        store.add_texts(["a", "b"], **lists)

    assert store.similarity_search("a") == []


def test_one_text_in_place_of_a_list_is_an_error(store: T4DMVectorStore):
    with pytest.raises(ValueError, match="a list of texts"):
        store.add_texts("abc")


def test_two_thousand_texts_are_stored_at_once(store: T4DMVectorStore):
    texts = (f"text {at}" for at in range(2000))

    ids = store.add_texts(texts, [{"at": at} for at in range(2000)], ids=[str(at) for at in range(2000)])

    assert ids == [str(at) for at in range(2000)]
    assert [one.metadata["at"] for one in store.get_by_ids(ids)] == list(range(2000))
    assert store.similarity_search("text 1234", k=1)[0].id == "1234"
    assert store.delete(ids) is True
    assert store.get_by_ids(ids) == []


def test_two_thousand_texts_are_embedded_by_the_daemon(make_store: Make):
    store = make_store(None)

    ids = store.add_texts([f"number {at} of many" for at in range(2000)])

    assert len(set(ids)) == 2000
    assert len(store.get_by_ids(ids)) == 2000


def test_fields_of_a_memory_can_be_given_for_all_documents(store: T4DMVectorStore, plain_daemon: Daemon):
    store.add_texts(["a"], ids=["1"], importance=0.9, categories=["travel"], event_time="2026-01-02")

    with plain_daemon.client() as client:
        memory = client.get("1", space=store.space)
    assert (memory.importance, memory.categories, memory.event_time.year) == (0.9, ["travel"], 2026)
    assert store.get_by_ids(["1"]) == [Document(id="1", page_content="a", metadata={})]


def test_an_argument_that_is_not_known_is_an_error(store: T4DMVectorStore):
    with pytest.raises(TypeError, match="importnace"):
        store.add_texts(["a"], importnace=0.9)
    with pytest.raises(TypeError, match="where_document"):
        store.similarity_search("a", where_document={})
    with pytest.raises(TypeError, match="collection"):
        store.delete(["a"], collection="x")


def test_vectors_of_another_length_are_refused(store: T4DMVectorStore, make_store: Make):
    store.add_texts(["a"])

    with pytest.raises(ConflictError, match="dimension"):
        make_store(ByHash(size=5)).add_texts(["b"])
    with pytest.raises(ConflictError, match="dimension"):
        store.similarity_search_by_vector([1.0, 0.0])


def test_a_space_that_the_daemon_embeds_takes_no_vectors_of_a_model_it_does_not_know(make_store: Make):
    make_store(None).add_texts(["a"])

    with pytest.raises(ConflictError, match="embedder server"):
        make_store().add_texts(["b"])


def test_texts_cannot_go_where_callers_bring_the_vectors(store: T4DMVectorStore, make_store: Make):
    store.add_texts(["a"])

    with pytest.raises(ValidationError, match="come from its callers"):
        make_store(None).add_texts(["b"])
    with pytest.raises(ValidationError, match="come from its callers"):
        make_store(None).similarity_search("b")


# Finding ----------------------------------------------------------------------------------------------


def test_searches_agree_with_langchains_own_store(store: T4DMVectorStore):
    reference = InMemoryVectorStore(ByHash())
    texts = [f"text {at}" for at in range(60)]
    ids = [str(at) for at in range(60)]
    for each in (store, reference):
        each.add_texts(texts, [{"at": at} for at in range(60)], ids=ids)

    for query in ("text 7", "something else", "船"):
        found, expected = (each.similarity_search_with_score(query, k=10) for each in (store, reference))
        assert [one for one, _ in found] == [one for one, _ in expected]
        assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-5)
        vector = ByHash().embed_query(query)
        assert store.similarity_search_by_vector(vector, 5) == reference.similarity_search_by_vector(vector, 5)
        assert store.similarity_search_with_score_by_vector(vector, 1)[0][0] == found[0][0]


class Positive(ByHash):
    """Vectors without negative numbers: T4DM counts no two documents as less alike than not at all."""

    def embed_query(self, text: str) -> list[float]:
        return [abs(number) for number in super().embed_query(text)]


@pytest.mark.parametrize("lambda_mult", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_marginal_relevance_agrees_with_langchains_own(make_store: Make, lambda_mult: float):
    store, reference = make_store(Positive()), InMemoryVectorStore(Positive())
    for each in (store, reference):
        each.add_texts([f"text {at}" for at in range(60)], ids=[str(at) for at in range(60)])

    for query in ("something", "else"):  # not a stored text: at 0.5 all others would tie
        asked = {"k": 6, "fetch_k": 20, "lambda_mult": lambda_mult}
        found, expected = (each.max_marginal_relevance_search(query, **asked) for each in (store, reference))
        assert [one.id for one in found] == [one.id for one in expected]
        vector = Positive().embed_query(query)
        assert store.max_marginal_relevance_search_by_vector(vector, **asked) == found


def test_a_balance_that_is_none_is_refused(store: T4DMVectorStore):
    with pytest.raises(ValueError, match="between 0 and 1"):
        store.max_marginal_relevance_search("x", lambda_mult=1.5)


def test_relevance_is_in_its_range_and_its_threshold_holds(store: T4DMVectorStore):
    store.add_texts([f"text {at}" for at in range(30)])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = store.similarity_search_with_relevance_scores("text 3", k=30)
        above = store.similarity_search_with_relevance_scores("text 3", k=30, score_threshold=0.6)

    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1.0)
    assert above == [(one, score) for one, score in found if score >= 0.6]
    similarities = [score for _, score in store.similarity_search_with_score("text 3", k=30)]
    assert [store._select_relevance_score_fn()(one) for one in similarities] == pytest.approx(scores)


def test_retrievers_of_every_type_find_what_passes_the_filter(store: T4DMVectorStore):
    store.add_texts([f"text {at}" for at in range(20)], [{"even": at % 2 == 0, "at": at} for at in range(20)])
    even = {"even": True, "at": {"$lt": 10}}

    for search_type, more in (
        ("similarity", {}),
        ("mmr", {}),
        ("similarity_score_threshold", {"score_threshold": 0.0}),
    ):
        retriever = store.as_retriever(search_type=search_type, search_kwargs={"k": 9, "filter": even, **more})
        assert sorted(one.metadata["at"] for one in retriever.invoke("text")) == [0, 2, 4, 6, 8]
        assert len(retriever.invoke("text", k=2)) == 2


def test_filters_that_cannot_be_meant_are_errors_and_ours_reach_the_columns(store: T4DMVectorStore):
    store.add_texts(["a", "b"], ids=["1", "2"], importance=0.2)
    store.add_texts(["c"], ids=["3"], importance=0.8)

    with pytest.raises(ValueError, match="unknown operator"):
        store.similarity_search("a", filter={"x": {"$near": 1}})
    with pytest.raises(ValueError, match="a filter is a dictionary"):
        store.similarity_search("a", filter=lambda document: True)
    important = Filter(field="importance", op="gt", value=0.5)
    assert [one.id for one in store.similarity_search("a", filter=important)] == ["3"]


def test_vector_mode_orders_by_similarity_alone_and_hybrid_mode_also_by_words(make_store: Make):
    pure, hybrid = make_store(), make_store(mode="hybrid")
    pure.add_texts([f"the {word} is red" for word in ("lamp", "boat", "door", "roof")], importance=1.0)

    by_vector = [one.page_content for one in pure.similarity_search("boat", k=4)]
    by_all = hybrid.similarity_search_with_score("boat", k=4)

    assert by_vector == [
        one.page_content
        for one in InMemoryVectorStore.from_texts(sorted(by_vector), ByHash()).similarity_search("boat", k=4)
    ]
    assert by_all[0][0].page_content == "the boat is red"
    assert all(0 <= score <= 1 for _, score in by_all)
    assert pure.similarity_search("boat", k=1, mode="hybrid")[0] == by_all[0][0]
    assert hybrid.similarity_search_with_relevance_scores("boat", k=4) == by_all


def test_what_was_known_and_true_at_another_time_is_found(store: T4DMVectorStore, plain_daemon: Daemon):
    store.add_texts(["pier four"], ids=["pier"], valid_from="2026-01-01", valid_to="2026-06-01")
    with plain_daemon.client() as client:
        before = client.get("pier", space=store.space).recorded_at
    store.add_texts(["pier six"], ids=["pier"], valid_from="2026-06-01")

    assert [one.page_content for one in store.similarity_search("pier")] == ["pier six"]
    assert [one.page_content for one in store.similarity_search("pier", known_at=before)] == ["pier four"]
    assert store.similarity_search("pier", as_of="2026-03-01") == []


@pytest.mark.parametrize("k", [0, -1, 100_000])
def test_a_number_of_documents_that_cannot_be_is_an_error(store: T4DMVectorStore, k: int):
    with pytest.raises(ValidationError, match="k: "):
        store.similarity_search("a", k=k)


# Getting and deleting ---------------------------------------------------------------------------------


def test_documents_are_got_in_the_order_asked_for(store: T4DMVectorStore):
    ids = [str(at) for at in range(30)]
    store.add_texts(ids, ids=ids)
    random.Random(7).shuffle(ids)

    assert [one.id for one in store.get_by_ids([*ids[:10], "missing", *ids[10:]])] == ids


def test_deleting_everything_must_be_said(store: T4DMVectorStore):
    store.add_texts(["a", "b", "c"], [{"n": 1}, {"n": 2}, {"n": 3}], ids=["1", "2", "3"])

    with pytest.raises(ValueError, match="delete_all=True"):
        store.delete()
    with pytest.raises(ValueError, match="give no ids"):
        store.delete(["1"], delete_all=True)
    with pytest.raises(ValueError, match="a list of ids"):
        store.delete("1")
    assert store.delete(filter={"n": 1}) is True
    assert [one.id for one in store.get_by_ids(["1", "2", "3"])] == ["2", "3"]
    assert store.delete(delete_all=True) is True
    assert store.similarity_search("a", k=9) == []


def test_a_purged_document_has_no_past(store: T4DMVectorStore, plain_daemon: Daemon):
    store.add_texts(["a"], ids=["1"])

    store.delete(["1"], purge=True)

    with plain_daemon.client() as client, pytest.raises(NotFoundError):
        client.history("1", space=store.space)


def test_a_store_that_nothing_was_written_to_is_empty_and_no_error(make_store: Make):
    store = make_store(user_id="ada")

    assert store.similarity_search("a") == []
    assert store.max_marginal_relevance_search("a") == []
    assert store.get_by_ids(["1"]) == []
    assert store.delete(["1"]) is True
    assert store.delete(delete_all=True) is True


def test_indexing_skips_what_is_there_and_cleans_up(store: T4DMVectorStore):
    records = InMemoryRecordManager(namespace="test")
    records.create_schema()
    documents = [Document(page_content=f"text {at}", metadata={"source": f"{at % 2}"}) for at in range(10)]
    options: dict[str, Any] = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256"}

    first = index(documents, records, store, **options)
    second = index(documents, records, store, **options)
    third = index(documents[:4], records, store, **options)

    assert (first["num_added"], second["num_skipped"], third["num_deleted"]) == (10, 10, 6)
    assert sorted(one.page_content for one in store.similarity_search("text", k=99)) == [
        f"text {at}" for at in range(4)
    ]


# Owners -----------------------------------------------------------------------------------------------


def test_users_do_not_see_change_or_delete_each_others_documents(make_store: Make):
    ada, bob, everyone = make_store(**ADA), make_store(**BOB), make_store()
    ada.add_texts(["ada's secret"], ids=["a"])
    bob.add_texts(["bob's secret"], ids=["b"])

    assert [one.id for one in ada.similarity_search("secret", k=9)] == ["a"]
    assert ada.get_by_ids(["a", "b"]) == ada.get_by_ids(["a"])
    ada.delete(["b"])
    with pytest.raises(ConflictError, match="'b' is another owner's"):
        ada.add_texts(["mine now"], ids=["b"])
    ada.delete(delete_all=True)
    assert [one.page_content for one in bob.similarity_search("secret", k=9)] == ["bob's secret"]
    assert [one.id for one in everyone.similarity_search("secret", k=9)] == ["b"]


def test_a_call_cannot_take_another_owner_than_the_stores(make_store: Make):
    store = make_store(**ADA)

    with pytest.raises(TypeError, match="user_id"):
        store.similarity_search("x", user_id="bob")
    with pytest.raises(TypeError, match="user_id"):
        store.add_texts(["x"], user_id="bob")
    store.add_texts(["x"], session_id="chat")
    assert len(store.similarity_search("x", session_id="chat")) == 1


# Making -----------------------------------------------------------------------------------------------


def test_nothing_is_sent_when_a_store_is_made():
    T4DMVectorStore(ByHash(), url="http://127.0.0.1:1")
    T4DMRetriever(url="http://127.0.0.1:1")


def test_a_store_is_made_from_plain_json_pickled_and_copied(store: T4DMVectorStore, make_store: Make):
    store.add_texts(["a"], ids=["1"])

    for same in (
        T4DMVectorStore(ByHash(), **json.loads(json.dumps(store.settings))),
        pickle.loads(pickle.dumps(store)),
        copy.deepcopy(store),
    ):
        assert same.get_by_ids(["1"]) == store.get_by_ids(["1"])
        same.close()


def test_a_store_is_made_of_texts_and_of_documents(plain_daemon: Daemon):
    place: dict[str, Any] = {"url": plain_daemon.url, "space": f"made-{uuid.uuid4()}"}

    with T4DMVectorStore.from_texts(["a"], ByHash(), [{"n": 1}], ids=["1"], **place) as one:
        assert one.get_by_ids(["1"]) == [Document(id="1", page_content="a", metadata={"n": 1})]
        assert one.embeddings is not None
    with T4DMVectorStore.from_documents([Document(id="2", page_content="b")], ByHash(), **place) as other:
        assert [found.id for found in other.similarity_search("a", k=9)] == ["1", "2"]
    with T4DMVectorStore.from_texts(["the ferry"], **place | {"space": f"texts-{uuid.uuid4()}"}) as texts:
        assert texts.similarity_search("ferry")[0].page_content == "the ferry"


def test_a_client_of_the_callers_stays_open(plain_daemon: Daemon):
    with plain_daemon.client() as client:
        with T4DMVectorStore(ByHash(), client=client, space=f"own-{uuid.uuid4()}") as store:
            store.add_texts(["a"])
        assert client.health().status == "ok"


def test_a_data_directory_is_served_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("T4DM_EMBEDDING_MODEL", "hashing")
    monkeypatch.setenv("T4DM_CACHE_PATH", str(tmp_path / "cache"))
    place = {"storage_path": str(tmp_path / "store")}

    with T4DMVectorStore(**place) as store, T4DMVectorStore(ByHash(), **place) as vectors:
        store.add_texts(["the ferry leaves at nine"], ids=["1"])
        vectors.add_texts(["x"], ids=["x"])
        retriever = T4DMRetriever(**place)
        assert [one.id for one in retriever.invoke("When does the ferry leave?")] == ["1"]
        retriever.close()
    with T4DMVectorStore(**place) as again:
        assert asyncio.run(again.asimilarity_search("ferry"))[0].id == "1"


# Awaited ----------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_awaited_calls_do_what_the_others_do(plain_daemon: Daemon):
    space = f"awaited-{uuid.uuid4()}"
    async with T4DMVectorStore(Positive(), url=plain_daemon.url, space=space, **ADA) as store:
        assert await store.asimilarity_search("x") == []
        documents = [Document(id=str(at), page_content=f"text {at}", metadata={"at": at}) for at in range(40)]
        assert await store.aadd_documents(documents) == [str(at) for at in range(40)]
        vector = Positive().embed_query("text 3")

        assert await store.aget_by_ids(["3", "no", "1"]) == store.get_by_ids(["3", "no", "1"])
        assert await store.asimilarity_search("text 3") == store.similarity_search("text 3")
        assert await store.asimilarity_search_with_score("text 3") == store.similarity_search_with_score("text 3")
        assert await store.asimilarity_search_by_vector(vector) == store.similarity_search_by_vector(vector)
        assert await store.asimilarity_search_with_score_by_vector(vector) == store.similarity_search_with_score(
            "text 3"
        )
        assert await store.amax_marginal_relevance_search("text 3") == store.max_marginal_relevance_search("text 3")
        assert await store.amax_marginal_relevance_search_by_vector(vector) == store.max_marginal_relevance_search(
            "text 3"
        )
        relevant = await store.asimilarity_search_with_relevance_scores("text 3", score_threshold=0.9)
        assert relevant == store.similarity_search_with_relevance_scores("text 3", score_threshold=0.9)
        retriever = store.as_retriever(search_type="mmr", search_kwargs={"filter": {"at": {"$gt": 35}}})
        assert {one.metadata["at"] for one in await retriever.ainvoke("text")} == {36, 37, 38, 39}
        with pytest.raises(ValueError, match="delete_all"):
            await store.adelete()
        assert await store.adelete(["3"], filter={"at": 4}) is True
        assert len(await store.aget_by_ids(["3"])) == 1
        assert await store.adelete(["3"]) is True
        assert await store.aget_by_ids(["3"]) == []
    made = await T4DMVectorStore.afrom_texts(["a"], ByHash(), ids=["1"], url=plain_daemon.url, space=f"m-{space}")
    assert (await made.aget_by_ids(["1"]))[0].page_content == "a"
    await made.aclose()


def test_one_store_serves_one_event_loop_after_another(store: T4DMVectorStore):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a loop that ended took its connections with it
        asyncio.run(store.aadd_texts(["a"], ids=["1"]))
        for _ in range(2):
            assert asyncio.run(store.aget_by_ids(["1"]))[0].page_content == "a"
        asyncio.run(store.aclose())
        gc.collect()


@pytest.mark.asyncio
async def test_indexing_can_be_awaited_and_calls_overlap(plain_daemon: Daemon):
    records = InMemoryRecordManager(namespace="test")
    async with T4DMVectorStore(ByHash(), url=plain_daemon.url, space=f"index-{uuid.uuid4()}") as store:
        documents = [Document(page_content=f"text {at}", metadata={"source": "x"}) for at in range(5)]
        for _ in range(2):
            done = await aindex(documents, records, store, source_id_key="source", cleanup="full", key_encoder="sha256")
        assert done["num_skipped"] == 5
        found = await asyncio.gather(*(store.asimilarity_search(f"text {at}", k=1) for at in range(5)))
        assert [hits[0].page_content for hits in found] == [f"text {at}" for at in range(5)]


def test_a_client_that_only_works_with_await_says_so(plain_daemon: Daemon):
    client = AsyncT4DMClient(plain_daemon.url)

    with pytest.raises(TypeError, match="only works with await"):
        T4DMVectorStore(ByHash(), client=client).similarity_search("x")


# The retriever ----------------------------------------------------------------------------------------


@pytest.fixture
def make_retriever(plain_daemon: Daemon) -> Iterator[Callable[..., T4DMRetriever]]:
    made: list[T4DMRetriever] = []

    def make(**options: Any) -> T4DMRetriever:
        made.append(T4DMRetriever(**{"url": plain_daemon.url} | options))
        return made[-1]

    yield make
    for retriever in made:
        retriever.close()


@pytest.fixture
def timetable(make_store: Make) -> T4DMVectorStore:
    store = make_store(None)
    store.add_texts(
        ["The ferry leaves at nine."],
        [{"score": 3, "line": 1}],
        ids=["old"],
        valid_from="2026-01-01",
        valid_to="2026-05-01",
        kappa=0.8,
    )
    store.add_texts(["The ferry leaves at ten."], [{"line": 2}], ids=["new"], valid_from="2026-05-01")
    store.add_texts(["Bread is baked at five."], [{"line": 3}], ids=["bread"])
    return store  # fmt: skip


def test_the_retriever_takes_its_settings_from_fields_and_from_each_call(
    timetable: T4DMVectorStore, make_retriever: Any
):
    retriever = make_retriever(space=timetable.space, k=2)
    question = "When does the ferry leave?"

    def ids(one: T4DMRetriever = retriever, **asked: Any) -> list[str | None]:
        return [document.id for document in one.invoke(question, **asked)]

    assert "new" in ids()
    assert len(ids(k=1)) == 1
    assert ids(as_of="2026-02-01", filter={"line": {"$lte": 2}}) == ["old"]
    assert ids(make_retriever(space=timetable.space, as_of="2026-02-01", filter={"line": {"$lte": 2}})) == ["old"]
    assert ids(known_at="2020-01-01") == []
    assert ids(as_of="2026-02-01", kappa_min=0.5) == ["old"]
    assert ids(min_score=1.0) == []
    assert ids(mode="lexical", k=1) == ["new"]


def test_scores_are_in_the_metadata_only_when_asked_for(timetable: T4DMVectorStore, make_retriever: Any):
    plain, scored = (make_retriever(space=timetable.space, score_key=key) for key in (None, "relevance"))

    assert [one.metadata for one in plain.invoke("ferry", k=1)] == [{"line": 2}]
    assert 0 < scored.invoke("ferry", k=1)[0].metadata["relevance"] <= 1


def test_the_retriever_sees_one_users_memories(make_store: Make, make_retriever: Any):
    for owner in (ADA, BOB):
        make_store(None, **owner).add_texts([f"{owner['user_id']} has a key"])

    found = make_retriever(space=make_store(None).space, **ADA).invoke("Who has a key?")

    assert [one.page_content for one in found] == ["ada has a key"]


def test_the_retriever_searches_the_callers_vectors_too(make_store: Make, make_retriever: Any):
    make_store().add_texts([f"text {at}" for at in range(9)], ids=[str(at) for at in range(9)])

    retriever = make_retriever(space=make_store().space, embedding=ByHash(), mode="vector", k=1)

    assert [one.id for one in retriever.invoke("text 5")] == ["5"]


def test_a_retriever_is_made_from_its_own_json(timetable: T4DMVectorStore, make_retriever: Any):
    retriever = make_retriever(space=timetable.space, k=1, filter={"line": 3}, as_of="2026-06-01T00:00:00Z")

    again = make_retriever(**json.loads(retriever.model_dump_json()))

    assert again.invoke("bread") == retriever.invoke("bread")


@pytest.mark.parametrize("wrong", [{"filter": {"x": {"$near": 1}}}, {"mode": "magic"}, {"limit": 3}, {"user_id": ""}])
def test_a_retriever_with_wrong_settings_is_not_made(wrong: dict[str, Any]):
    with pytest.raises((ValueError, ValidationError)):
        T4DMRetriever(**wrong)


def test_wrong_questions_are_errors_and_not_empty_answers(make_retriever: Any):
    with pytest.raises(NotFoundError, match="there is no space 'nowhere'"):
        make_retriever(space="nowhere").invoke("x")
    with pytest.raises(TypeError, match="fetch_k"):
        make_retriever().invoke("x", fetch_k=3)
    with pytest.raises(ValidationError, match="give a query"):
        make_retriever().invoke(" ")


@pytest.mark.asyncio
async def test_the_retriever_can_be_awaited_and_batched(timetable: T4DMVectorStore, plain_daemon: Daemon):
    retriever = T4DMRetriever(url=plain_daemon.url, space=timetable.space, k=1)

    assert await retriever.ainvoke("bread", filter={"line": 3}) == retriever.invoke("bread")
    assert await retriever.abatch(["bread", "ferry"]) == retriever.batch(["bread", "ferry"])
    await retriever.aclose()
