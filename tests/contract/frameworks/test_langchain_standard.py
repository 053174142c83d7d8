"""LangChain's own suites for vector stores and retrievers, against a real daemon, every test as it is."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_tests")

pytest_asyncio = pytest.importorskip("pytest_asyncio")

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from t4dm_integrations.langchain import T4DMRetriever, T4DMVectorStore
from tests.support.daemon import Daemon

# The suites mix awaited tests with others, for pytest-asyncio's other mode; here a mark on the class says it.
pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.filterwarnings("ignore:The test .* is marked with '@pytest.mark.asyncio' but it is not an async"),
]


class TestVectorStore(VectorStoreIntegrationTests):
    """The caller's vectors."""

    @pytest_asyncio.fixture
    async def vectorstore(self, plain_daemon: Daemon) -> AsyncIterator[VectorStore]:
        space = f"standard-{uuid.uuid4()}"
        async with T4DMVectorStore(self.get_embeddings(), url=plain_daemon.url, space=space) as store:
            yield store


class TestVectorStoreWithOwner(VectorStoreIntegrationTests):
    """One user's documents in a space that holds another's."""

    @pytest_asyncio.fixture
    async def vectorstore(self, plain_daemon: Daemon) -> AsyncIterator[VectorStore]:
        space = f"standard-{uuid.uuid4()}"
        with T4DMVectorStore(self.get_embeddings(), url=plain_daemon.url, space=space, user_id="bob") as others:
            others.add_texts(["foo", "bar", "baz"])
        async with T4DMVectorStore(self.get_embeddings(), url=plain_daemon.url, space=space, user_id="ada") as store:
            yield store


class TestVectorStoreEmbeddedByTheDaemon(VectorStoreIntegrationTests):
    """Texts travel, and the daemon's embedder makes the vectors."""

    @pytest_asyncio.fixture
    async def vectorstore(self, plain_daemon: Daemon) -> AsyncIterator[VectorStore]:
        async with T4DMVectorStore(url=plain_daemon.url, space=f"standard-{uuid.uuid4()}") as store:
            yield store


@pytest.mark.slow
class TestVectorStoreInThisProcess(VectorStoreIntegrationTests):
    """Without a daemon."""

    @pytest_asyncio.fixture
    async def vectorstore(
        self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[VectorStore]:
        root = tmp_path_factory.mktemp("embedded")
        monkeypatch.setenv("T4DM_EMBEDDING_MODEL", "hashing")
        monkeypatch.setenv("T4DM_CACHE_PATH", str(root / "cache"))
        async with T4DMVectorStore(self.get_embeddings(), storage_path=root / "store") as store:
            yield store


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _filled(self, plain_daemon: Daemon) -> Iterator[None]:
        self.daemon = plain_daemon
        texts = ["The ferry leaves at nine.", "The ferry is late.", "The pier is closed.", "The harbour has a ferry."]
        with plain_daemon.client() as self.client, T4DMVectorStore(client=self.client) as store:
            store.add_texts(texts, ids=["a", "b", "c", "d"])
            yield

    @pytest_asyncio.fixture
    async def retriever(self) -> AsyncIterator[T4DMRetriever]:
        retriever = T4DMRetriever(url=self.daemon.url)
        yield retriever
        await retriever.aclose()

    @property
    def retriever_constructor(self) -> type[T4DMRetriever]:
        return T4DMRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"client": self.client}  # closed by the fixture: the suite does not close what it makes

    @property
    def retriever_query_example(self) -> str:
        return "When does the ferry leave?"
