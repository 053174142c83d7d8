"""What T4DM's vector store promises to LlamaIndex, against a real daemon."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Coroutine, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.core.vector_stores.types import VectorStoreQueryMode as Mode

from t4dm.sdk import T4DMClient
from t4dm.sdk import models as m
from t4dm.sdk.errors import ConflictError, TransportError, ValidationError
from t4dm_integrations.llamaindex import T4DMVectorStore
from tests.support.daemon import Daemon

T = TypeVar("T")


@pytest.fixture
def store(plain_daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[T4DMVectorStore]:
    """A store in a space of the test's own."""
    store = T4DMVectorStore(url=plain_daemon.url, space=request.node.name)
    yield store
    store.close()


def node(name: str, vector: list[float] | None = None, doc: str | None = None, **fields: Any) -> TextNode:
    relationships = {} if doc is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=doc)}
    return TextNode(
        **{"id_": name, "text": f"text of {name}", "embedding": vector or [1.0, 0.0], **fields},
        relationships=relationships,
    )


def asked(*vector: float, **fields: Any) -> VectorStoreQuery:
    return VectorStoreQuery(query_embedding=list(vector), **{"similarity_top_k": 10, **fields})


async def closing(store: T4DMVectorStore, call: Coroutine[Any, Any, T]) -> T:
    """Await a call, and close what it opened in this event loop."""
    try:
        return await call
    finally:
        await store.aclose()


def ids(store: T4DMVectorStore) -> list[str]:
    return [one.node_id for one in store.get_nodes()]


# Nodes ------------------------------------------------------------------------------------------------


NODES: list[BaseNode] = [
    TextNode(
        id_="text",
        text="Größe: 漢字 🚀\n  two lines ",
        metadata={"z": 1, "a": {"nested": [1, 2.5, None, True]}, "big": 2**70, "empty": "", "doc_id": "mine"},
        excluded_embed_metadata_keys=["z"],
        excluded_llm_metadata_keys=["a"],
        metadata_template="{key}={value}",
        metadata_separator=" | ",
        text_template="{metadata_str} :: {content}",
        start_char_idx=3,
        end_char_idx=9,
        mimetype="text/markdown",
        relationships={
            NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc/1", metadata={"x": 1}, hash="h"),
            NodeRelationship.NEXT: RelatedNodeInfo(node_id="next"),
            NodeRelationship.CHILD: [RelatedNodeInfo(node_id="c1"), RelatedNodeInfo(node_id="c2")],
        },
    ),
    TextNode(id_="no text", text=""),
    ImageNode(id_="image", text="a boat", image="aGVsbG8=", image_mimetype="image/png", text_embedding=[0.5, 0.25]),
    IndexNode(id_="index", text="see there", index_id="there", obj=TextNode(id_="inner", text="inner")),
    Node(
        id_="media",
        text_resource=MediaResource(text="said", mimetype="text/plain"),
        image_resource=MediaResource(url="http://127.0.0.1/x.png"),
        audio_resource=MediaResource(data=b"aGVsbG8="),
    ),
    Node(id_="silent", image_resource=MediaResource(data=b"aGVsbG8=")),
    Document(id_="document", text="whole", metadata={"author": "Ada"}),
]


@pytest.mark.parametrize("given", NODES, ids=lambda one: one.node_id)
def test_a_node_comes_back_as_it_was(store: T4DMVectorStore, given: BaseNode) -> None:
    given.embedding = [0.5, -0.25]

    store.add([given])
    (got,) = store.get_nodes([given.node_id], include_embeddings=True)
    (found,) = store.query(asked(1.0, 0.0)).nodes or []

    assert type(got) is type(given)
    assert got.model_dump() == given.model_dump()
    assert got.hash == given.hash
    assert list(got.metadata) == list(given.metadata)
    assert found.model_dump() == given.model_dump() | {"embedding": None}


def test_nothing_is_added_to_a_nodes_metadata_and_its_document_is_its_namespace(store: T4DMVectorStore) -> None:
    store.add([node("a", doc="doc-1", metadata={"page": 3})])

    memory = store.client.get("a", space=store.space)

    assert memory.metadata == {"page": 3}
    assert memory.content == "text of a"
    assert memory.namespace == ["doc-1"]


def test_a_memory_that_was_stored_by_other_means_is_a_text_node(store: T4DMVectorStore) -> None:
    store.add([node("a")])
    store.client.store(
        m.StoreRequest(id="b", content="by hand", space=store.space, vector=[0.0, 1.0], metadata={"page": 1})  # type: ignore[arg-type]
    )

    (found,) = store.get_nodes(["b"])

    assert isinstance(found, TextNode)
    assert (found.text, found.metadata) == ("by hand", {"page": 1})


class CodeNode(TextNode):
    """A node with a field of its own, as programs derive them."""

    language: str = "python"


def test_a_node_of_a_class_of_ones_own_comes_back_as_that_class(store: T4DMVectorStore, plain_daemon: Daemon) -> None:
    store.add([CodeNode(id_="code", text="x = 1", language="lua", embedding=[1, 0])])
    with T4DMClient(plain_daemon.url) as client:
        memory = client.get("code", space=store.space)
        assert isinstance(memory.value, dict)
        unknown = {**memory.value, "_node_class": "elsewhere.CodeNode"}
        client.store(m.StoreRequest(id="other", content="y", value=unknown, vector=[1, 0], space=store.space))

    mine, other = store.get_nodes(["code", "other"])

    assert type(mine) is CodeNode
    assert mine.language == "lua"
    assert type(other) is TextNode


def test_what_is_private_is_not_stored(store: T4DMVectorStore) -> None:
    store.add([node("a", text="The code <private>is 1234</private> works.")])

    (found,) = store.get_nodes(["a"])

    assert found.get_content() == "The code works."
    assert "1234" not in json.dumps(store.client.get("a", space=store.space).model_dump(mode="json"))


# Adding and getting -----------------------------------------------------------------------------------


def test_adding_an_id_again_replaces_the_node(store: T4DMVectorStore) -> None:
    assert store.add([node("a", text="old"), node("b")]) == ["a", "b"]
    assert store.add([node("a", [0.0, 1.0], text="new")]) == ["a"]

    assert [one.get_content() for one in store.get_nodes()] == ["new", "text of b"]
    assert store.query(asked(0.0, 1.0, similarity_top_k=1)).ids == ["a"]


def test_of_an_id_that_is_given_twice_at_once_the_last_node_counts(store: T4DMVectorStore) -> None:
    assert store.add([node("a", text="first"), node("a", text="last")]) == ["a", "a"]

    assert [one.get_content() for one in store.get_nodes()] == ["last"]


def test_adding_nothing_makes_no_space(store: T4DMVectorStore) -> None:
    assert store.add([]) == []
    assert asyncio.run(store.async_add([])) == []

    assert store.space not in [space.name for space in store.client.list_spaces()]


def test_a_store_that_was_never_written_to_is_empty(store: T4DMVectorStore) -> None:
    result = store.query(asked(1.0, 0.0))

    assert (result.nodes, result.similarities, result.ids) == ([], [], [])
    assert store.get_nodes() == []
    assert store.get_nodes(["a"]) == []
    store.delete("doc")
    store.delete_nodes(["a"])
    store.clear()


def test_two_thousand_nodes_are_added_at_once_and_all_are_found(store: T4DMVectorStore) -> None:
    nodes = [node(f"n{at}", [float(at), 1.0], metadata={"at": at}) for at in range(2000)]

    assert store.add(nodes) == [one.node_id for one in nodes]

    assert ids(store) == [f"n{at}" for at in range(2000)]
    result = store.query(asked(1.0, 0.0, similarity_top_k=1500))
    assert result.ids is not None
    assert result.similarities is not None
    assert len(set(result.ids)) == 1500
    assert result.similarities == sorted(result.similarities, reverse=True)
    some = [f"n{at}" for at in range(1999, 0, -2)]
    assert [one.node_id for one in store.get_nodes(some)] == some
    small = MetadataFilters(filters=[MetadataFilter(key="at", value=100, operator=FilterOperator.LT)])
    assert [one.node_id for one in store.get_nodes(some, small)] == [name for name in some if int(name[1:]) < 100]
    store.delete_nodes(some)
    assert len(ids(store)) == 1000


def test_two_spaces_do_not_see_each_other(store: T4DMVectorStore, plain_daemon: Daemon) -> None:
    other = T4DMVectorStore(url=plain_daemon.url, space=f"{store.space} of three dimensions")
    store.add([node("a")])
    other.add([node("a", [1.0, 0.0, 0.0], text="other")])

    assert store.query(asked(1.0, 0.0)).nodes[0].get_content() == "text of a"  # type: ignore[index]
    assert other.query(asked(1.0, 0.0, 0.0)).nodes[0].get_content() == "other"  # type: ignore[index]
    other.clear()
    assert ids(store) == ["a"]
    other.close()


def test_ids_documents_and_texts_may_be_any_text(store: T4DMVectorStore) -> None:
    names = ["a/b c?d#e", "日本", "x" * 512, "'; drop", "None"]
    long = "path/" * 1000
    store.add([node(name, doc=doc) for name, doc in zip(names, ["d/1", "日本", long, " ", "None"], strict=True)])

    assert ids(store) == names
    assert store.query(asked(1.0, 0.0, doc_ids=[long, "日本"], similarity_top_k=9)).ids == sorted(["日本", "x" * 512])
    store.delete(long)
    store.delete("d/1")
    assert ids(store) == ["日本", "'; drop", "None"]


def test_a_node_whose_vector_has_no_direction_is_kept_and_found_by_id(store: T4DMVectorStore) -> None:
    store.add([node("a"), node("b", [0.0, 0.0])])

    assert ids(store) == ["a", "b"]
    assert store.query(asked(1.0, 0.0)).ids == ["a"]


def test_a_node_without_an_embedding_is_refused(store: T4DMVectorStore) -> None:
    with pytest.raises(ValueError, match="embedding not set"):
        store.add([TextNode(text="x")])


def test_what_cannot_be_kept_is_refused_and_the_node_is_named(store: T4DMVectorStore) -> None:
    with pytest.raises(ValidationError, match="node 'a' cannot be stored: metadata: JSON has no nan"):
        store.add([node("a", metadata={"x": float("nan")})])
    with pytest.raises(ValidationError, match="node 'a' cannot be stored: "):
        store.add([node("a", metadata={"x": object()})])
    with pytest.raises(ValidationError, match="an id has at most 512 bytes"):
        store.add([node("x" * 513)])


def test_vectors_of_another_length_are_refused(store: T4DMVectorStore) -> None:
    store.add([node("a")])

    with pytest.raises(ConflictError, match="dimension 2, the given vector has 3") as refused:
        store.add([node("b", [1.0, 0.0, 0.0])])
    with pytest.raises(ConflictError):
        store.query(asked(1.0, 0.0, 0.0))

    assert refused.value.code == "dimension_mismatch"


def test_nodes_can_be_given_what_memories_have(store: T4DMVectorStore) -> None:
    store.add([node("a")], importance=0.9, categories=["note"], event_time="2026-05-01")

    memory = store.client.get("a", space=store.space)

    assert (memory.importance, memory.categories, str(memory.event_time.date())) == (0.9, ["note"], "2026-05-01")
    with pytest.raises(TypeError, match=r"add\(\) got an unexpected keyword argument 'important'"):
        store.add([node("a")], important=True)


# Deleting ---------------------------------------------------------------------------------------------


def test_a_documents_nodes_are_deleted_together(store: T4DMVectorStore) -> None:
    store.add([node("a", doc="one"), node("b", doc="two"), node("c", doc="one"), node("d")])

    store.delete("one")
    store.delete("nothing of the kind")
    store.delete("None")

    assert ids(store) == ["b", "d"]


def test_nodes_are_deleted_by_id_and_filter(store: T4DMVectorStore) -> None:
    store.add([node(name, metadata={"n": at}) for at, name in enumerate("abcd")])
    high = MetadataFilters(filters=[MetadataFilter(key="n", value=1, operator=FilterOperator.GT)])

    store.delete_nodes([])
    store.delete_nodes(["a", "c"], high)
    assert ids(store) == ["a", "b", "d"]
    store.delete_nodes(filters=high, purge=True)
    assert ids(store) == ["a", "b"]
    store.delete_nodes(["b", "missing"])
    assert ids(store) == ["a"]


def test_a_deletion_that_names_nothing_is_refused(store: T4DMVectorStore) -> None:
    store.add([node("a")])

    with pytest.raises(ValueError, match=r"call clear\(\)"):
        store.delete_nodes()
    with pytest.raises(ValueError, match=r"call clear\(\)"):
        store.delete_nodes(filters=MetadataFilters(filters=[]))
    with pytest.raises(TypeError, match="'purged'"):
        store.delete("one", purged=True)

    assert ids(store) == ["a"]


def test_a_cleared_store_can_be_filled_again(store: T4DMVectorStore) -> None:
    store.add([node("a")])

    store.clear()
    assert ids(store) == []
    store.add([node("b")])

    assert ids(store) == ["b"]


# Querying ---------------------------------------------------------------------------------------------


def test_nodes_are_found_by_documents_by_ids_and_by_what_llamaindex_says_of_documents(store: T4DMVectorStore) -> None:
    store.add([node("a", doc="one"), node("b", doc="two"), node("c"), node("d", metadata={"doc_id": "two"})])

    def found(**fields: Any) -> list[str]:
        return sorted(store.query(asked(1.0, 0.0, **fields)).ids or [])

    def where(operator: str, value: Any, key: str = "doc_id") -> list[str]:
        return found(filters=MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)]))  # type: ignore[arg-type]

    assert found(node_ids=[], doc_ids=[]) == ["a", "b", "c", "d"]
    assert found(node_ids=["a", "c", "z"]) == ["a", "c"]
    assert found(doc_ids=["one", "z"]) == ["a"]
    assert found(doc_ids=["one"], node_ids=["b"]) == []
    assert where("==", "two") == ["b", "d"]
    assert where("==", "two", "ref_doc_id") == ["b"]
    assert where("!=", "two") == ["a", "c"]
    assert where("in", ["one", "two"]) == ["a", "b", "d"]
    assert where("nin", ["one", "two"]) == ["c"]
    assert where("is_empty", None) == ["c"]
    assert where("is_empty", None, "document_id") == ["c", "d"]


def test_words_and_vectors_are_searched_apart_and_together(store: T4DMVectorStore) -> None:
    store.add(
        [
            node("ferry", [1.0, 0.0], text="The ferry leaves from pier four."),
            node("train", [0.0, 1.0], text="The train leaves at noon."),
            node("soup", [0.6, 0.8], text="Soup is served with bread."),
        ]
    )

    def found(mode: Mode, text: str | None, vector: list[float] | None = None, **fields: Any) -> list[str]:
        query = VectorStoreQuery(query_str=text, query_embedding=vector, mode=mode, **{"similarity_top_k": 3, **fields})
        result = store.query(query)
        assert result.ids is not None
        assert result.similarities is not None
        assert all(0 <= one <= 1 for one in result.similarities)
        assert [one.node_id for one in result.nodes or []] == result.ids
        return result.ids

    for mode in (Mode.SPARSE, Mode.TEXT_SEARCH):
        assert found(mode, "pier") == ["ferry"]
        assert set(found(mode, "leaves")) == {"ferry", "train"}
        assert found(mode, "nothing of the kind") == []
    assert found(Mode.SPARSE, "leaves", sparse_top_k=1, similarity_top_k=9) == found(Mode.SPARSE, "leaves")[:1]
    assert found(Mode.HYBRID, "pier", [0.0, 1.0], alpha=0.0)[0] == "ferry"
    assert found(Mode.HYBRID, "pier", [0.0, 1.0], alpha=1.0) == ["train", "soup", "ferry"]
    assert found(Mode.HYBRID, "pier", [0.0, 1.0], alpha=0.8)[0] == "train"
    assert found(Mode.HYBRID, "pier", [0.0, 1.0], alpha=0.2)[0] == "ferry"
    assert found(Mode.HYBRID, "pier", [1.0, 0.0])[0] == "ferry"
    assert found(Mode.HYBRID, "pier", [1.0, 0.0], hybrid_top_k=1) == ["ferry"]


def test_maximal_marginal_relevance_takes_its_threshold_from_the_query_or_beside_it(store: T4DMVectorStore) -> None:
    store.add([node("best", [1.0, 0.1]), node("twin", [1.0, 0.11]), node("other", [0.7, -0.7])])
    plain = asked(1.0, 0.0, similarity_top_k=2, mode=Mode.MMR)
    told = asked(1.0, 0.0, similarity_top_k=2, mode=Mode.MMR, mmr_threshold=1.0)

    assert store.query(plain).ids == ["best", "other"]
    assert store.query(plain, mmr_threshold=1.0).ids == ["best", "twin"]
    assert store.query(told).ids == ["best", "twin"]
    assert store.query(told, mmr_threshold=0.1).ids == ["best", "twin"]
    assert store.query(plain, mmr_prefetch_k=2).ids == ["best", "twin"]
    assert store.query(plain, mmr_prefetch_factor=1).ids == ["best", "twin"]
    assert store.query(plain, mmr_threshold=0).ids == ["best", "other"]


@pytest.mark.parametrize("mode", [Mode.DEFAULT, Mode.MMR, Mode.HYBRID, Mode.SPARSE, Mode.TEXT_SEARCH])
def test_a_query_for_no_nodes_finds_none(store: T4DMVectorStore, mode: Mode) -> None:
    store.add([node("a")])

    result = store.query(asked(1.0, 0.0, query_str="text", similarity_top_k=0, mode=mode))

    assert (result.nodes, result.similarities, result.ids) == ([], [], [])


def test_a_query_can_be_asked_of_the_past(store: T4DMVectorStore) -> None:
    store.add([node("a", text="old")])
    then = store.client.get("a", space=store.space).recorded_at
    store.add([node("a", text="new")])

    assert store.query(asked(1.0, 0.0)).nodes[0].get_content() == "new"  # type: ignore[index]
    assert store.query(asked(1.0, 0.0), known_at=then).nodes[0].get_content() == "old"  # type: ignore[index]


def test_filters_of_t4dms_own_reach_its_columns(store: T4DMVectorStore) -> None:
    store.add([node("a")], importance=0.9)
    store.add([node("b")], importance=0.1)
    important: Any = m.Filter(field="importance", op="gt", value=0.5)

    assert store.query(asked(1.0, 0.0, filters=important)).ids == ["a"]
    assert [one.node_id for one in store.get_nodes(filters=important)] == ["a"]


@pytest.mark.parametrize("mode", [Mode.SEMANTIC_HYBRID, Mode.SVM, Mode.LOGISTIC_REGRESSION, Mode.LINEAR_REGRESSION])
def test_a_mode_that_t4dm_does_not_have_is_refused(store: T4DMVectorStore, mode: Mode) -> None:
    with pytest.raises(NotImplementedError, match="it has: default, mmr, hybrid, sparse, text_search"):
        store.query(asked(1.0, 0.0, query_str="x", mode=mode))


@pytest.mark.parametrize(
    ("query", "beside", "told"),
    [
        (VectorStoreQuery(query_str="x"), {}, "give query_embedding"),
        (VectorStoreQuery(query_embedding=[1.0], mode=Mode.SPARSE), {}, "give query_str"),
        (VectorStoreQuery(query_str="x", mode=Mode.HYBRID), {}, "give query_embedding"),
        (asked(1.0, query_str="x", mode=Mode.HYBRID, alpha=1.5), {}, "alpha lies between"),
        (asked(1.0, mode=Mode.MMR), {"mmr_threshold": 2}, "mmr_threshold lies between"),
        (asked(1.0), {"mmr_threshold": 0.5}, "belongs to the mode mmr"),
        (asked(1.0, mode=Mode.MMR), {"mmr_prefetch_k": 9, "mmr_prefetch_factor": 2}, "not both"),
        (asked(1.0, mode=Mode.MMR, similarity_top_k=1001), {}, "at most 1000"),
    ],
)  # fmt: skip
def test_a_query_that_contradicts_itself_is_refused(
    store: T4DMVectorStore, query: VectorStoreQuery, beside: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        store.query(query, **beside)


def test_a_query_that_asks_for_less_than_none_or_for_what_is_unknown_is_refused(store: T4DMVectorStore) -> None:
    with pytest.raises(ValidationError, match="k: Input should be greater than or equal to 1"):
        store.query(asked(1.0, similarity_top_k=-1))
    with pytest.raises(TypeError, match=r"query\(\) got an unexpected keyword argument 'treshold'"):
        store.query(asked(1.0), treshold=0.5)
    with pytest.raises(NotImplementedError, match="output_fields"):
        store.query(asked(1.0, output_fields=["text"]))
    store.add([node("a")])
    with pytest.raises(ValidationError, match="a zero vector has no direction"):
        store.query(asked(0.0, 0.0))


# Owners -----------------------------------------------------------------------------------------------


def test_a_store_with_an_owner_sees_changes_and_deletes_only_the_owners_nodes(
    store: T4DMVectorStore, plain_daemon: Daemon
) -> None:
    ada = T4DMVectorStore(url=plain_daemon.url, space=store.space, user_id="ada")
    bob = T4DMVectorStore(url=plain_daemon.url, space=store.space, user_id="bob")
    ada.add([node("a", doc="one")])
    bob.add([node("b", doc="one")])

    with pytest.raises(ConflictError, match="the id 'a' is another owner's"):
        bob.add([node("a")])
    with pytest.raises(ConflictError, match="the id 'a' is another owner's"):
        asyncio.run(closing(bob, bob.async_add([node("a")])))
    bob.delete("one")
    bob.delete_nodes(["a"])
    bob.clear()

    assert bob.get_nodes() == []
    assert bob.get_nodes(["a"]) == []
    assert bob.query(asked(1.0, 0.0)).ids == []
    assert ada.query(asked(1.0, 0.0)).ids == ["a"]
    assert ids(store) == ["a"]
    ada.close()
    bob.close()


def test_the_owner_is_whom_the_settings_name_when_a_store_is_used(store: T4DMVectorStore) -> None:
    ada = store.model_copy(update={"user_id": "ada"})
    ada.add([node("a")])
    bob = ada.model_copy(update={"user_id": "bob"})
    assert bob.get_nodes() == []
    bob.add([node("b")])

    assert (ids(ada), ids(bob), ids(store)) == (["a"], ["b"], ["a", "b"])
    ada.user_id = "bob"
    assert ids(ada) == ["b"]
    ada.user_id = ""
    with pytest.raises(ValidationError, match="user_id"):
        ada.clear()


# The daemon's own vectors -----------------------------------------------------------------------------


def test_the_daemon_may_make_the_vectors(daemon: Daemon) -> None:
    store = T4DMVectorStore(url=daemon.url, space="served", embedder="server")
    store.add(
        [
            TextNode(id_="a", text="The ferry leaves from pier four."),
            TextNode(id_="b", text="Soup is served with bread."),
        ]
    )

    assert store.is_embedding_query is False
    for mode in (Mode.DEFAULT, Mode.MMR, Mode.HYBRID):
        query = VectorStoreQuery(query_str="where do I catch the boat", mode=mode, similarity_top_k=2)
        assert store.query(query).ids == ["a", "b"]
    with pytest.raises(ValueError, match="give query_str"):
        store.query(asked(1.0, 0.0))
    store.close()


# Settings ---------------------------------------------------------------------------------------------


def test_a_store_is_made_of_plain_json_and_constructing_it_sends_nothing() -> None:
    plain = {"url": "http://127.0.0.1:1", "space": "s", "user_id": "ada", "timeout_s": 5, "include_embeddings": True}

    store = T4DMVectorStore(**json.loads(json.dumps(plain)))
    saved = json.loads(json.dumps(store.to_dict()))
    again = T4DMVectorStore.from_dict(saved)

    assert saved["class_name"] == store.class_name() == "T4DMVectorStore"
    assert again.to_dict() == saved
    assert T4DMVectorStore.from_json(store.to_json()).to_dict() == saved
    assert saved["stores_text"] is True
    assert not any("key" in name for name in saved)


def test_copies_of_a_store_reach_the_same_nodes(store: T4DMVectorStore) -> None:
    store.add([node("a")])

    for copy in (pickle.loads(pickle.dumps(store)), deepcopy(store), store.model_copy()):
        assert isinstance(copy, T4DMVectorStore)
        assert ids(copy) == ["a"]
        copy.close()


def test_a_client_of_the_callers_is_used_and_cannot_be_saved(plain_daemon: Daemon) -> None:
    with plain_daemon.client() as client:
        store = T4DMVectorStore(client=client, space="with a client")
        store.add([node("a")])

        assert store.client is client
        assert ids(deepcopy(store)) == ["a"]
        for save in (store.to_dict, store.to_json, lambda: pickle.dumps(store)):
            with pytest.raises(ValidationError, match="cannot be saved or copied"):
                save()


def test_a_copy_with_another_place_reaches_that_place(store: T4DMVectorStore, plain_daemon: Daemon) -> None:
    store.add([node("a")])
    elsewhere = store.model_copy(update={"url": "http://127.0.0.1:1", "max_retries": 0})

    with pytest.raises(TransportError, match=r"http://127\.0\.0\.1:1"):
        elsewhere.get_nodes()
    assert ids(store) == ["a"]
    for name, value in (("url", plain_daemon.url), ("timeout_s", 1.0), ("embedder", "server"), ("stores_text", False)):
        with pytest.raises(ValueError, match="frozen"):
            setattr(elsewhere, name, value)
    elsewhere.close()


def test_a_copy_with_another_space_or_embedder_makes_its_space_as_it_should_be(store: T4DMVectorStore) -> None:
    store.add([node("a")])
    other = store.model_copy(update={"space": f"{store.space}, other"})
    served = other.model_copy(update={"space": f"{store.space}, served", "embedder": "server"})
    other.add([node("b", [1.0, 0.0, 0.0])])

    assert ids(other) == ["b"]
    assert not served.is_embedding_query
    assert store.client.get("b", space=other.space, include_vector=True).vector == [1.0, 0.0, 0.0]


def test_a_copy_of_a_store_with_a_client_keeps_the_client(plain_daemon: Daemon) -> None:
    with plain_daemon.client() as client:
        store = T4DMVectorStore(client=client)

        assert store.model_copy(update={"user_id": "ada"}).client is client
        with pytest.raises(ValidationError, match="client of your own"):
            store.model_copy(update={"timeout_s": 1.0})


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(TypeError, match="at most one of url, storage_path and client"):
        T4DMVectorStore(url="http://127.0.0.1:1", storage_path="somewhere")
    with pytest.raises(ValueError, match="stores_text is True"):
        T4DMVectorStore(stores_text=False)
    with pytest.raises(ValueError, match="follows from embedder"):
        T4DMVectorStore(is_embedding_query=False)
    with pytest.raises(TypeError, match="'spaces'"):
        T4DMVectorStore(spaces="x")  # type: ignore[call-arg]


@pytest.mark.timeout(60)
def test_a_data_directory_is_served_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T4DM_EMBEDDING_MODEL", "hashing")
    store = T4DMVectorStore(storage_path=tmp_path / "store")
    store.add([node("a", doc="one", metadata={"page": 1})])
    store.close()

    again = T4DMVectorStore.from_dict(store.to_dict())

    assert asyncio.run(closing(again, again.aquery(asked(1.0, 0.0)))).ids == ["a"]
    assert ids(again) == ["a"]
    again.close()


# Awaited ----------------------------------------------------------------------------------------------


def test_every_awaited_call_does_what_the_other_does(store: T4DMVectorStore) -> None:
    async def play() -> None:
        assert await store.async_add([node("a", doc="one"), node("b", [0.0, 1.0]), node("c")]) == ["a", "b", "c"]
        assert (await store.aquery(asked(0.0, 1.0, similarity_top_k=1))).ids == ["b"]
        assert [one.node_id for one in await store.aget_nodes(["c", "a"])] == ["c", "a"]
        await store.adelete("one")
        await store.adelete_nodes(["b"])
        assert [one.node_id for one in await store.aget_nodes()] == ["c"]
        await store.aclear()
        assert await store.aget_nodes() == []
        assert (await store.aquery(asked(0.0, 1.0))).nodes == []
        await store.aclose()

    asyncio.run(play())
    asyncio.run(play())


def test_twenty_awaited_writers_at_once_lose_nothing(store: T4DMVectorStore) -> None:
    async def play() -> list[BaseNode]:
        await asyncio.gather(*(store.async_add([node(f"n{at}")]) for at in range(20)))
        return await store.aget_nodes()

    assert {one.node_id for one in asyncio.run(closing(store, play()))} == {f"n{at}" for at in range(20)}
