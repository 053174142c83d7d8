"""LangChain's vector store on T4DM: adding, getting and deleting documents. `similarity` finds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from t4dm._async_backend import AsyncMemoryBackend
from t4dm._backend import MemoryBackend
from t4dm._owners import check_owned, is_owned
from t4dm._request_parts import ids_in_requests, records_in_requests
from t4dm._requests import known_fields
from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import NotFoundError
from t4dm_integrations.langchain import documents as d
from t4dm_integrations.langchain.filters import FilterLike, to_filter
from t4dm_integrations.langchain.similarity import SimilaritySearch

_BATCH_OF_VECTORS: Final = 500
_BATCH_OF_TEXTS: Final = 100
"""Few enough that the daemon embeds them within one request's `timeout_s`."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Documents that are stored together; `first` is the position of the first."""

    first: int
    texts: list[str]
    metadatas: Sequence[dict[str, Any] | None]
    ids: Sequence[str | None]

    def records(self, vectors: Sequence[Sequence[float]] | None, fields: dict[str, Any]) -> list[m.RecordIn]:
        if vectors is not None and len(vectors) != len(self.texts):
            raise ValueError(f"the embedding made {len(vectors)} vectors of {len(self.texts)} texts")
        made: Sequence[Sequence[float] | None] = [None] * len(self.texts) if vectors is None else vectors
        parts = zip(self.texts, self.metadatas, self.ids, made, strict=True)
        return [
            d.record(self.first + at, text, metadata, name, vector, fields)
            for at, (text, metadata, name, vector) in enumerate(parts)
        ]


class T4DMVectorStore(SimilaritySearch):
    """Keep documents in T4DM and find them by similarity. Thread-safe.

    Ids are strings of any kind, unique in a space: adding a document whose id exists replaces it. With owner columns
    (`user_id`, …) the store sees, changes and deletes only what is the owner's.

    Searches take `filter=` (see `filters`), `mode=`, and what else `t4dm.sdk.SearchRequest` has: `as_of`, `known_at`,
    `kappa_min`, `namespace_prefix`, …
    """

    # Adding -------------------------------------------------------------------------------------------

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Store texts and return their ids, in order; an id that exists is replaced, None is given one.

        Args:
            texts: What to store.
            metadatas: One for each text; JSON, and kept exactly.
            ids: One for each text.
            batch_size: Texts a request. Each request is stored all or none.
            **kwargs: Fields of `t4dm.sdk.RecordIn` for all of them: `importance`, `categories`, `event_time`, ….

        Raises:
            ValueError: There are more or fewer metadatas or ids than texts.
            ConflictError: An id is another owner's.
        """
        fields = self._owner | known_fields("add_texts", kwargs, d.RECORD_FIELDS - self._owner.keys())
        stored: list[str] = []
        for chunk in self._chunks(texts, metadatas, ids, batch_size):
            vectors = self._embedding.embed_documents(chunk.texts) if self._embedding is not None else None
            backend = self._writable()
            for part in records_in_requests(chunk.records(vectors, fields)):
                if named := self._named(part):
                    check_owned(self._there(backend, named), self._owner)
                stored += _ids(backend.batch(m.BatchRequest(records=part, space=self._space)))
        return stored

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Store texts and return their ids; see `add_texts`."""
        fields = self._owner | known_fields("add_texts", kwargs, d.RECORD_FIELDS - self._owner.keys())
        stored: list[str] = []
        for chunk in self._chunks(texts, metadatas, ids, batch_size):
            vectors = await self._embedding.aembed_documents(chunk.texts) if self._embedding is not None else None
            backend = await self._awritable()
            for part in records_in_requests(chunk.records(vectors, fields)):
                if named := self._named(part):
                    check_owned(await self._athere(backend, named), self._owner)
                stored += _ids(await backend.batch(m.BatchRequest(records=part, space=self._space)))
        return stored

    def _chunks(
        self,
        texts: Iterable[str],
        metadatas: Sequence[dict[str, Any] | None] | None,
        ids: Sequence[str | None] | None,
        batch_size: int | None,
    ) -> Iterator[_Chunk]:
        """Yield the documents in parts, once it is known that there is one of everything for each."""
        if isinstance(texts, str):
            raise ValueError("texts is a list of texts, not one text")
        given = list(texts)
        if not metadatas:
            metadatas = [None] * len(given)
        if not ids:
            ids = [None] * len(given)
        for name, values in (("metadatas", metadatas), ("ids", ids)):
            if len(values) != len(given):
                raise ValueError(f"there are {len(given)} texts, but {len(values)} {name}")
        size = batch_size or (_BATCH_OF_TEXTS if self._embedding is None else _BATCH_OF_VECTORS)
        for at in range(0, len(given), min(size, m.MAX_BATCH)):
            part = slice(at, at + min(size, m.MAX_BATCH))
            yield _Chunk(at, given[part], metadatas[part], ids[part])

    def _named(self, records: Sequence[m.RecordIn]) -> m.GetRequest | None:
        """Return the request for what the records would replace, None where that can only be the owner's."""
        ids = [one.id for one in records if one.id is not None]
        return m.GetRequest(ids=ids, space=self._space) if ids and self._owner else None

    def _writable(self) -> MemoryBackend:
        backend = self._connection.backend()
        if not self._has_space:
            backend.create_space(self._space, m.SpaceRequest(embedder="client"))
            self._has_space = True
        return backend

    async def _awritable(self) -> AsyncMemoryBackend:
        backend = self._connection.async_backend()
        if not self._has_space:
            await backend.create_space(self._space, m.SpaceRequest(embedder="client"))
            self._has_space = True
        return backend

    # Getting and deleting -----------------------------------------------------------------------------

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return those of the documents that exist, in the order given."""
        backend = self._connection.backend()
        return self._owned(memory for request in self._gets(ids) for memory in self._there(backend, request))

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return those of the documents that exist, in the order given."""
        backend = self._connection.async_backend()
        return self._owned([memory for request in self._gets(ids) for memory in await self._athere(backend, request)])

    def _there(self, backend: MemoryBackend, request: m.GetRequest) -> list[m.Memory]:
        try:
            return backend.get_many(request)
        except NotFoundError as error:
            return self._nothing(error)

    async def _athere(self, backend: AsyncMemoryBackend, request: m.GetRequest) -> list[m.Memory]:
        try:
            return await backend.get_many(request)
        except NotFoundError as error:
            return self._nothing(error)

    def _gets(self, ids: Sequence[str]) -> list[m.GetRequest]:
        with as_validation_error():
            return [m.GetRequest(ids=part, space=self._space) for part in ids_in_requests(ids, name="ids")]

    def _owned(self, found: Iterable[m.Memory]) -> list[Document]:
        return [d.to_document(memory) for memory in found if is_owned(memory, self._owner)]

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: FilterLike | None = None,
        delete_all: bool = False,
        purge: bool = False,
        **kwargs: Any,
    ) -> bool:
        """Delete documents and return True; those that do not exist are no error.

        Args:
            ids: Which.
            filter: Those of them, or of all documents, that pass.
            delete_all: All that the store sees.
            purge: Forget their history, too.
            **kwargs: None is known.

        Raises:
            ValueError: Nothing says which.
        """
        backend = self._connection.backend()
        try:
            for request in self._deletions(ids, filter, delete_all, purge, kwargs):
                backend.delete_many(request)
        except NotFoundError as error:
            self._nothing(error)
        return True

    async def adelete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: FilterLike | None = None,
        delete_all: bool = False,
        purge: bool = False,
        **kwargs: Any,
    ) -> bool:
        """Delete documents and return True; see `delete`."""
        backend = self._connection.async_backend()
        try:
            for request in self._deletions(ids, filter, delete_all, purge, kwargs):
                await backend.delete_many(request)
        except NotFoundError as error:
            self._nothing(error)
        return True

    def _deletions(
        self,
        ids: Sequence[str] | None,
        filter: FilterLike | None,
        delete_all: bool,
        purge: bool,
        unknown: dict[str, Any],
    ) -> list[m.DeleteRequest]:
        known_fields("delete", unknown, frozenset())
        restriction = to_filter(filter)
        if delete_all and (ids is not None or restriction is not None):
            raise ValueError("delete_all=True means everything: give no ids and no filter with it")
        if ids is None and restriction is None and not delete_all:
            raise ValueError(
                "nothing says what to delete: give ids, or a filter, or delete_all=True for every document"
            )
        chosen: dict[str, Any] = {"space": self._space, "filter": restriction, "purge": purge, **self._owner}
        with as_validation_error():
            if ids is None:
                return [m.DeleteRequest(all=delete_all, **chosen)]
            return [m.DeleteRequest(ids=part, **chosen) for part in ids_in_requests(ids, name="ids")]

    # Made of texts ------------------------------------------------------------------------------------

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return a store that holds these texts; the other arguments are the constructor's."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return a store that holds these texts; the other arguments are the constructor's."""
        store = cls(embedding, **kwargs)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store


def _ids(answer: m.BatchAnswer) -> list[str]:
    return [one.id for one in answer.results]
