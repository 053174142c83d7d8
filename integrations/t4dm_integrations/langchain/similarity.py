"""Finding documents by similarity: every search of LangChain's vector store, over one request to T4DM.

The similarity is the cosine, in [-1, 1], higher is better; the relevance is T4DM's score, in [0, 1]: (1 + cosine) / 2.
Nothing but the cosine orders the hits, unless another `mode` is asked for: then both numbers are T4DM's score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from t4dm._async_backend import AsyncMemoryBackend
from t4dm._backend import MemoryBackend
from t4dm._connection import Connected, Connection
from t4dm._requests import known_fields, owner_defaults
from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import NotFoundError
from t4dm_integrations.langchain import documents as d
from t4dm_integrations.langchain.filters import FilterLike

OWN_SPACE: Final = "langchain"
"""Where vectors of the caller's go when no space is named; those of the daemon go to `default`."""
Vector = Sequence[float]


class SimilaritySearch(Connected, VectorStore):
    """Know where the documents are, and find them."""

    def __init__(
        self,
        embedding: Embeddings | None = None,
        *,
        url: str | None = None,
        storage_path: str | Path | None = None,
        client: MemoryBackend | AsyncMemoryBackend | None = None,
        space: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        run_id: str | None = None,
        session_id: str | None = None,
        mode: m.SearchMode = "vector",
        timeout_s: float = 30.0,
        max_retries: int = 3,
    ) -> None:
        """Note where the documents are; nothing is sent. Give at most one of url, storage_path and client.

        Args:
            embedding: Makes the vectors; without it the daemon does.
            url: Where the daemon is; `T4DM_URL` when absent. Its key is taken from `T4DM_API_KEY`.
            storage_path: A data directory to serve in this process.
            client: A client or backend of your own; it stays open when this closes.
            space: Where the documents live: `langchain` when absent, without `embedding` `default`.
            user_id: Stored with every document, and restricts all that is read and deleted; so do agent_id, app_id,
                run_id and session_id.
            agent_id: See user_id.
            app_id: See user_id.
            run_id: See user_id.
            session_id: See user_id.
            mode: How to search unless a call says otherwise: `vector`, or `hybrid` for T4DM's own ranking.
            timeout_s: Longest wait for an answer of the daemon.
            max_retries: How often a call is tried again where that does no harm.
        """
        self._connection = Connection(
            url, storage_path=storage_path, client=client, timeout_s=timeout_s, max_retries=max_retries
        )
        self._embedding = embedding
        self._space = space if space is not None else ("default" if embedding is None else OWN_SPACE)
        self._owner = owner_defaults(
            user_id=user_id, agent_id=agent_id, app_id=app_id, run_id=run_id, session_id=session_id
        )
        self._mode = mode
        self._has_space = embedding is None  # the daemon makes spaces that it embeds by itself

    @property
    def embeddings(self) -> Embeddings | None:
        """What makes the vectors; None where the daemon does."""
        return self._embedding

    @property
    def space(self) -> str:
        """Where the documents live."""
        return self._space

    @property
    def settings(self) -> dict[str, Any]:
        """Plain JSON from which `T4DMVectorStore(embedding, **settings)` makes one like this."""
        return {**self._connection.settings, "space": self._space, **self._owner, "mode": self._mode}

    # Similarity ---------------------------------------------------------------------------------------

    def similarity_search(
        self, query: str, k: int = 4, filter: FilterLike | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the k documents most similar to a text."""
        return _documents(self._ask(query, self._embed(query), k, filter, kwargs))

    async def asimilarity_search(
        self, query: str, k: int = 4, filter: FilterLike | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the k documents most similar to a text."""
        return _documents(await self._aask(query, await self._aembed(query), k, filter, kwargs))

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: FilterLike | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return documents with their similarity to a text."""
        return _scored(self._ask(query, self._embed(query), k, filter, kwargs), self._mode_of(query, kwargs))

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, filter: FilterLike | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return documents with their similarity to a text."""
        hits = await self._aask(query, await self._aembed(query), k, filter, kwargs)
        return _scored(hits, self._mode_of(query, kwargs))

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: FilterLike | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the k documents most similar to a vector."""
        return _documents(self._ask(None, embedding, k, filter, kwargs))

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: FilterLike | None = None, **kwargs: Any
    ) -> list[Document]:
        """Return the k documents most similar to a vector."""
        return _documents(await self._aask(None, embedding, k, filter, kwargs))

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, filter: FilterLike | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return documents with their similarity to a vector."""
        return _scored(self._ask(None, embedding, k, filter, kwargs), self._mode_of(None, kwargs))

    async def asimilarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, filter: FilterLike | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return documents with their similarity to a vector."""
        return _scored(await self._aask(None, embedding, k, filter, kwargs), self._mode_of(None, kwargs))

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        found = self._ask(query, self._embed(query), k, kwargs.pop("filter", None), kwargs)
        return [(d.to_document(hit.memory), hit.score) for hit in found]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        found = await self._aask(query, await self._aembed(query), k, kwargs.pop("filter", None), kwargs)
        return [(d.to_document(hit.memory), hit.score) for hit in found]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return _relevance if self._mode == "vector" else float

    # Maximal marginal relevance -----------------------------------------------------------------------

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: FilterLike | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return k of the `fetch_k` documents most similar to a text, chosen so that they differ.

        Args:
            query: What is looked for.
            k: How many.
            fetch_k: How many of the most similar to choose from.
            lambda_mult: 1 looks at similarity alone, 0 at differences alone.
            filter: What may be found.
            **kwargs: See the class.
        """
        diversity = (fetch_k, lambda_mult)
        return _documents(self._ask(query, self._embed(query), k, filter, kwargs, diversity))

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: FilterLike | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return documents near a text that differ; see `max_marginal_relevance_search`."""
        diversity = (fetch_k, lambda_mult)
        return _documents(await self._aask(query, await self._aembed(query), k, filter, kwargs, diversity))

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: FilterLike | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return documents near a vector that differ; see `max_marginal_relevance_search`."""
        return _documents(self._ask(None, embedding, k, filter, kwargs, (fetch_k, lambda_mult)))

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: FilterLike | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return documents near a vector that differ; see `max_marginal_relevance_search`."""
        return _documents(await self._aask(None, embedding, k, filter, kwargs, (fetch_k, lambda_mult)))

    # The request --------------------------------------------------------------------------------------

    def _embed(self, query: str) -> Vector | None:
        return None if self._embedding is None else self._embedding.embed_query(query)

    async def _aembed(self, query: str) -> Vector | None:
        return None if self._embedding is None else await self._embedding.aembed_query(query)

    def _mode_of(self, query: str | None, fields: Mapping[str, Any]) -> m.SearchMode:
        mode: m.SearchMode = fields.get("mode") or ("vector" if query is None else self._mode)
        return mode

    def _ask(self, *question: Any) -> list[m.Hit]:
        try:
            return self._connection.backend().search(self._request(*question)).results
        except NotFoundError as error:
            return self._nothing(error)

    async def _aask(self, *question: Any) -> list[m.Hit]:
        try:
            return (await self._connection.async_backend().search(self._request(*question))).results
        except NotFoundError as error:
            return self._nothing(error)

    def _request(
        self,
        query: str | None,
        vector: Vector | None,
        k: int,
        filter: FilterLike | None,
        fields: dict[str, Any],
        diversity: tuple[int, float] | None = None,
    ) -> m.SearchRequest:
        """Return what is asked of T4DM.

        LangChain balances cosines, T4DM its scores (1 + cosine) / 2: half as steep, so the weight of the differences
        is halved as well. λ·c - (1-λ)·d orders as λ'·c/2 - (1-λ')·d does for λ' = 2λ / (1 + λ).
        """
        mode = self._mode_of(query, fields)
        asked: dict[str, Any] = self._owner | known_fields("a search", fields, d.SEARCH_FIELDS - self._owner.keys())
        asked |= {"mode": mode}
        if diversity is not None:
            fetch_k, balance = diversity
            if not 0 <= balance <= 1:
                raise ValueError(f"lambda_mult lies between 0 and 1, not at {balance}")
            steepness = 2 * balance / (1 + balance) if mode == "vector" else balance
            with as_validation_error():
                asked["mmr"] = m.Mmr(lambda_=float(steepness), fetch_k=fetch_k)
        return d.search_request(query, vector, k, self._space, filter, asked)

    def _nothing(self, error: NotFoundError) -> list[Any]:
        """Return what is in a space that nothing was written to. Raises the error if it is about something else."""
        if error.is_missing_space:
            return []
        raise error


def _documents(hits: list[m.Hit]) -> list[Document]:
    return [d.to_document(hit.memory) for hit in hits]


def _scored(hits: list[m.Hit], mode: m.SearchMode) -> list[tuple[Document, float]]:
    """Return documents with the number that orders them."""
    return [
        (d.to_document(hit.memory), hit.similarity if mode == "vector" and hit.similarity is not None else hit.score)
        for hit in hits
    ]


def _relevance(similarity: float) -> float:
    return (1 + similarity) / 2
