"""LlamaIndex's own indexes, pipelines and memory over T4DM's vector store, against a real daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core import Document, MockEmbedding, Settings, StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.memory import VectorMemoryBlock
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.retrievers import VectorIndexRetriever
from llama_index.core.schema import ImageNode, IndexNode, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from t4dm_integrations.llamaindex import T4DMVectorStore
from tests.support.daemon import Daemon

WORDS = ["ferry", "train", "soup", "boat", "rent", "key", "garden", "winter"]


class WordEmbedding(BaseEmbedding):
    """One dimension for each of a few words: texts are alike when they share them."""

    def _vector(self, text: str) -> list[float]:
        return [float(text.lower().count(word)) for word in WORDS] + [0.01]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._vector(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._vector(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._vector(text)


@pytest.fixture(autouse=True)
def offline() -> Iterator[None]:
    """Nothing of LlamaIndex's downloads anything: words are tokens, and no model is real."""
    before = Settings._tokenizer, Settings._embed_model, Settings._llm
    Settings.tokenizer = str.split
    Settings.embed_model = WordEmbedding()
    Settings.llm = MockLLM()
    yield
    Settings._tokenizer, Settings._embed_model, Settings._llm = before


@pytest.fixture
def store(plain_daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[T4DMVectorStore]:
    store = T4DMVectorStore(url=plain_daemon.url, space=request.node.name)
    yield store
    store.close()


DOCUMENTS = [
    Document(id_="travel", text="The ferry leaves from pier four. The ferry is a boat.", metadata={"year": 2024}),
    Document(id_="food", text="The soup is served with bread.", metadata={"year": 2025}),
    Document(id_="home", text="The rent is due, and the key hangs in the garden.", metadata={"year": 2026}),
]


def build(store: T4DMVectorStore, documents: list[Document] = DOCUMENTS, **options: Any) -> VectorStoreIndex:
    storage = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex.from_documents(documents, storage_context=storage, **options)


def documents_of(found: list[Any]) -> list[str | None]:
    return [one.node.ref_doc_id for one in found]


def test_an_index_stores_finds_and_answers(store: T4DMVectorStore) -> None:
    index = build(store)

    found = index.as_retriever(similarity_top_k=1).retrieve("the boat")
    answer = index.as_query_engine(similarity_top_k=1).query("the boat")

    assert documents_of(found) == ["travel"]
    assert found[0].score == pytest.approx(1 / 5**0.5, abs=0.01)  # boat, of a text with two ferries and one boat
    assert "The ferry leaves from pier four." in str(answer)
    assert answer.source_nodes[0].metadata == {"year": 2024}


@pytest.mark.slow
def test_an_index_over_a_store_that_was_filled_before_finds_its_nodes(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(home=tmp_path / "home").start()
    store = T4DMVectorStore(url=daemon.url)
    build(store)
    store.close()
    daemon.terminate()

    again = T4DMVectorStore(url=daemon.start().url)
    index = VectorStoreIndex.from_vector_store(again)

    assert documents_of(index.as_retriever(similarity_top_k=1).retrieve("soup")) == ["food"]
    again.close()


def test_documents_are_inserted_updated_refreshed_and_deleted(store: T4DMVectorStore) -> None:
    index = build(store)

    index.insert(Document(id_="work", text="The train is late."))
    index.update_ref_doc(Document(id_="food", text="The winter garden serves soup."))
    index.refresh_ref_docs([*DOCUMENTS, Document(id_="extra", text="winter winter")])
    index.delete_ref_doc("home")

    texts = {node.ref_doc_id: node.get_content() for node in store.get_nodes()}
    assert texts.keys() == {"travel", "food", "work", "extra"}
    index.delete_nodes([node.node_id for node in store.get_nodes() if node.ref_doc_id != "work"])
    assert [node.ref_doc_id for node in store.get_nodes()] == ["work"]


def test_an_awaited_index_does_the_same(store: T4DMVectorStore) -> None:
    async def play() -> None:
        index = VectorStoreIndex.from_vector_store(store)
        await index.ainsert_nodes(SentenceSplitter()(DOCUMENTS))
        found = await index.as_retriever(similarity_top_k=1).aretrieve("the boat")
        answer = await index.as_query_engine(similarity_top_k=1).aquery("the boat")
        await index.adelete_ref_doc("travel")
        left = await store.aget_nodes()
        await store.aclose()
        assert documents_of(found) == ["travel"]
        assert "pier four" in str(answer)
        assert [node.ref_doc_id for node in left] == ["food", "home"]

    asyncio.run(play())


def test_retrievers_search_in_every_mode(store: T4DMVectorStore) -> None:
    index = build(store, [*DOCUMENTS, Document(id_="twin", text="The ferry is a boat. The ferry leaves at noon.")])

    def found(mode: str, text: str = "ferry boat", **options: Any) -> list[str | None]:
        retriever = index.as_retriever(**{"vector_store_query_mode": mode, "similarity_top_k": 2, **options})
        return documents_of(retriever.retrieve(text))

    assert set(found("default")) == {"travel", "twin"}
    assert "food" in found("mmr", "ferry ferry boat soup", vector_store_kwargs={"mmr_threshold": 0.3})
    assert set(found("mmr", vector_store_kwargs={"mmr_threshold": 1.0})) == {"travel", "twin"}
    assert found("hybrid", "noon boat", alpha=0.2)[0] == "twin"
    assert found("hybrid", "noon boat")[0] == "twin"
    assert found("text_search", "bread") == ["food"]
    assert found("sparse", "bread") == ["food"]
    assert found("default", doc_ids=["food", "home"], similarity_top_k=9) == ["food", "home"]
    with pytest.raises(NotImplementedError, match="semantic_hybrid"):
        found("semantic_hybrid")


def test_retrievers_filter_by_nested_groups(store: T4DMVectorStore) -> None:
    index = build(store)
    recent = MetadataFilter(key="year", value=2024, operator=FilterOperator.GT)
    named = MetadataFilter(key="ref_doc_id", value="home")
    filters = MetadataFilters(filters=[recent, MetadataFilters(filters=[named], condition=FilterCondition.NOT)])

    found = index.as_retriever(filters=filters, similarity_top_k=9).retrieve("ferry")

    assert documents_of(found) == ["food"]


def test_two_indexes_in_two_spaces_do_not_see_each_other(store: T4DMVectorStore, plain_daemon: Daemon) -> None:
    other = T4DMVectorStore(url=plain_daemon.url, space=f"{store.space}, another")
    one = build(store)
    two = build(other, [Document(id_="other", text="ferry")], embed_model=MockEmbedding(embed_dim=4))

    assert documents_of(two.as_retriever(similarity_top_k=9).retrieve("ferry")) == ["other"]
    assert "other" not in documents_of(one.as_retriever(similarity_top_k=9).retrieve("ferry"))
    other.close()


def test_an_index_of_the_daemons_own_vectors_needs_no_embedding(plain_daemon: Daemon) -> None:
    store = T4DMVectorStore(url=plain_daemon.url, space="served index", embedder="server")
    index = build(store, embed_model=MockEmbedding(embed_dim=1))

    assert documents_of(index.as_retriever(similarity_top_k=1).retrieve("Where does the ferry leave?")) == ["travel"]
    store.close()


def test_images_and_index_nodes_are_found_among_texts_by_a_retriever_without_node_ids(store: T4DMVectorStore) -> None:
    """`as_retriever` of an index that holds both asks for the images and index nodes alone: LlamaIndex knows no others."""
    index = VectorStoreIndex.from_vector_store(store)
    index.insert_nodes(
        [
            TextNode(id_="text", text="a ferry"),
            IndexNode(id_="index", text="the ferry and the train", index_id="there"),
            ImageNode(id_="image", text="ferry, ferry and soup", image="aGVsbG8="),
        ]
    )

    narrow = index.as_retriever(similarity_top_k=9).retrieve("ferry")
    wide = VectorIndexRetriever(index, similarity_top_k=9).retrieve("ferry")

    assert {one.node.node_id for one in narrow} == {"index", "image"}
    assert [one.node.node_id for one in wide] == ["text", "image", "index"]
    assert [type(one.node) for one in wide] == [TextNode, ImageNode, IndexNode]


@pytest.mark.parametrize("strategy", [DocstoreStrategy.UPSERTS, DocstoreStrategy.UPSERTS_AND_DELETE])
@pytest.mark.parametrize("is_awaited", [False, True])
def test_a_pipeline_upserts_documents(store: T4DMVectorStore, strategy: DocstoreStrategy, is_awaited: bool) -> None:
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(), WordEmbedding()],
        vector_store=store,
        docstore=SimpleDocumentStore(),
        docstore_strategy=strategy,
    )

    async def arun(documents: list[Document]) -> int:
        try:
            return len(await pipeline.arun(documents=documents))
        finally:
            await store.aclose()

    def run(documents: list[Document]) -> int:
        return asyncio.run(arun(documents)) if is_awaited else len(pipeline.run(documents=documents))

    assert run(DOCUMENTS) == 3
    assert run(DOCUMENTS) == 0
    assert run([Document(id_="food", text="The soup is cold."), *DOCUMENTS[:1]]) == 1

    texts = {node.ref_doc_id: node.get_content() for node in store.get_nodes()}
    kept = {"travel", "food"} if strategy is DocstoreStrategy.UPSERTS_AND_DELETE else {"travel", "food", "home"}
    assert texts.keys() == kept
    assert texts["food"] == "The soup is cold."


def test_a_storage_context_is_persisted_and_the_nodes_stay_where_they_are(
    store: T4DMVectorStore, tmp_path: Path
) -> None:
    index = build(store)

    index.storage_context.persist(str(tmp_path / "storage"))

    assert len(store.get_nodes()) == 3


def test_llamaindexs_own_memory_block_keeps_sessions_apart(store: T4DMVectorStore) -> None:
    async def play() -> tuple[str, str]:
        block = VectorMemoryBlock(vector_store=store, embed_model=WordEmbedding())
        await block.aput([ChatMessage(content="My key is in the garden.")], session_id="one")
        await block.aput([ChatMessage(content="My key is in the soup.")], session_id="two")
        asked = [ChatMessage(content="Where is the key?")]
        told = await block.aget(asked, session_id="one")
        other = await VectorMemoryBlock(vector_store=store).aget(asked, session_id="two")
        await store.aclose()
        return told, other

    told, other = asyncio.run(play())

    assert "in the garden" in told
    assert "soup" not in told
    assert "in the soup" in other
