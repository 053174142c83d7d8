"""LangChain's retriever on T4DM's own ranking: meaning, words, links, times and what has changed since."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Self

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, PrivateAttr

from t4dm._connection import Connected, Connection
from t4dm._requests import known_fields, owner_defaults
from t4dm.sdk import models as m
from t4dm_integrations.langchain import documents as d
from t4dm_integrations.langchain.filters import to_filter

_CALLABLE: Final = frozenset(("k", "filter", "as_of", "known_at", "kappa_min", "min_score", "mode"))
"""What `invoke` may say for one call."""


class T4DMRetriever(Connected, BaseRetriever):
    """Find memories of any kind, whoever stored them, as documents.

    `invoke` and `ainvoke` take k, filter, as_of, known_at, kappa_min, min_score and mode for one call. A space that
    does not exist is an error: this does not write, so nothing else would tell of a wrong name.
    """

    url: str | None = Field(default=None, frozen=True)
    """Where the daemon is; `T4DM_URL` when absent. Its key is taken from `T4DM_API_KEY`."""
    storage_path: str | None = Field(default=None, frozen=True)
    """A data directory to serve in this process."""
    client: Any = Field(default=None, exclude=True, repr=False)
    """A client or backend of your own."""
    timeout_s: float = 30.0
    """Longest wait for an answer of the daemon."""
    max_retries: int = 3

    space: str = Field(default="default", frozen=True)
    embedding: Embeddings | None = Field(default=None, exclude=True, repr=False)
    """Makes the question's vector, for a space whose vectors were made by the caller."""
    user_id: str | None = Field(default=None, frozen=True)
    """Restricts what is found; so do the other owner columns."""
    agent_id: str | None = Field(default=None, frozen=True)
    app_id: str | None = Field(default=None, frozen=True)
    run_id: str | None = Field(default=None, frozen=True)
    session_id: str | None = Field(default=None, frozen=True)

    k: int = 4
    """How many documents."""
    filter: Any = None
    """What may be found: see `filters`."""
    as_of: datetime | str | None = None
    """What was true then."""
    known_at: datetime | str | None = None
    """What had been stored by then."""
    kappa_min: float | None = None
    """Least degree of consolidation."""
    min_score: float | None = None
    """Leave out what scores less; in [0, 1]."""
    mode: m.SearchMode = "hybrid"
    score_key: str | None = None
    """Under this key of the metadata stands the score; None leaves metadata exactly as it was stored."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    _connection: Connection = PrivateAttr()
    _owner: dict[str, str] = PrivateAttr()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; with another place or owner it is that one's."""
        copied: Self = super().model_copy(update=update, deep=deep)
        copied.model_post_init(None)
        return copied

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        self._connection = Connection(
            self.url,
            storage_path=self.storage_path,
            client=self.client,
            timeout_s=self.timeout_s,
            max_retries=self.max_retries,
        )
        self._owner = owner_defaults(
            user_id=self.user_id,
            agent_id=self.agent_id,
            app_id=self.app_id,
            run_id=self.run_id,
            session_id=self.session_id,
        )
        to_filter(self.filter)  # a wrong one is told at once

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002  # the framework passes it by this name
        **kwargs: Any,
    ) -> list[Document]:
        vector = self.embedding.embed_query(query) if self.embedding is not None else None
        return self._documents(self._connection.backend().search(self._request(query, vector, kwargs)))

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002
        **kwargs: Any,
    ) -> list[Document]:
        vector = await self.embedding.aembed_query(query) if self.embedding is not None else None
        return self._documents(await self._connection.async_backend().search(self._request(query, vector, kwargs)))

    def _request(self, query: str, vector: list[float] | None, given: dict[str, Any]) -> m.SearchRequest:
        asked = {name: getattr(self, name) for name in _CALLABLE} | known_fields("invoke", given, _CALLABLE)
        k, restriction = asked.pop("k"), asked.pop("filter")
        return d.search_request(query, vector, k, self.space, restriction, asked | self._owner)

    def _documents(self, answer: m.SearchAnswer) -> list[Document]:
        documents = [d.to_document(hit.memory) for hit in answer.results]
        if self.score_key is not None:
            for document, hit in zip(documents, answer.results, strict=True):
                document.metadata[self.score_key] = hit.score
        return documents
