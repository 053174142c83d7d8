"""LlamaIndex's vector store on T4DM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self

from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from t4dm._async_backend import AsyncMemoryBackend
from t4dm._backend import MemoryBackend
from t4dm._connection import Connected, Connection
from t4dm._owners import check_owned, is_owned
from t4dm._request_parts import ids_in_requests, records_in_requests
from t4dm._requests import known_fields, owner_defaults
from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import NotFoundError
from t4dm_integrations.llamaindex import filters as f
from t4dm_integrations.llamaindex import nodes as n
from t4dm_integrations.llamaindex.queries import Search, to_search

_PAGE: Final = 500
_PLACE: Final = frozenset(("url", "storage_path", "timeout_s", "max_retries"))


class T4DMVectorStore(Connected, BasePydanticVectorStore):
    """Keep LlamaIndex's nodes in T4DM and find them by vector, by words, or by both. Thread-safe.

    Ids are strings of any kind, unique in a space: adding a node whose id exists replaces it. With owner columns
    (`user_id`, …) the store sees, changes and deletes only what is the owner's.

    The space, the owner and `include_embeddings` can be changed later; the other settings are for a new store, or for
    `model_copy(update=…)`.
    """

    stores_text: bool = Field(default=True, frozen=True)
    is_embedding_query: bool = Field(default=True, frozen=True)

    url: str | None = Field(default=None, frozen=True)
    storage_path: str | None = Field(default=None, frozen=True)
    space: str = "llamaindex"
    embedder: Literal["client", "server"] = Field(default="client", frozen=True)
    user_id: str | None = None
    agent_id: str | None = None
    app_id: str | None = None
    run_id: str | None = None
    session_id: str | None = None
    include_embeddings: bool = False
    timeout_s: float = Field(default=30.0, frozen=True)
    max_retries: int = Field(default=3, frozen=True)

    model_config = ConfigDict(extra="forbid")

    _connection: Connection = PrivateAttr()
    _made_space: str | None = PrivateAttr(default=None)

    def __init__(
        self,
        *,
        url: str | None = None,
        storage_path: str | Path | None = None,
        client: MemoryBackend | AsyncMemoryBackend | None = None,
        space: str = "llamaindex",
        embedder: Literal["client", "server"] = "client",
        user_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        run_id: str | None = None,
        session_id: str | None = None,
        include_embeddings: bool = False,
        timeout_s: float = 30.0,
        max_retries: int = 3,
        stores_text: bool = True,
        is_embedding_query: bool | None = None,
    ) -> None:
        """Note where the nodes are; nothing is sent. Give at most one of url, storage_path and client.

        Args:
            url: Where the daemon is; `T4DM_URL` when absent. Its key is taken from `T4DM_API_KEY`.
            storage_path: A data directory to serve in this process.
            client: A client or backend of your own; it stays open when this closes, and cannot be saved.
            space: Where the nodes live. One space is one collection: its vectors have one length.
            embedder: `client`: vectors come from the index's embed model. `server`: the daemon makes those of texts and
                questions, and what the embed model makes is left unused (give a `MockEmbedding(embed_dim=1)`).
            user_id: Stored with every node, and restricts all that is read and deleted; so do agent_id, app_id, run_id
                and session_id.
            agent_id: See user_id.
            app_id: See user_id.
            run_id: See user_id.
            session_id: See user_id.
            include_embeddings: Nodes come back with their vectors.
            timeout_s: Longest wait for an answer of the daemon.
            max_retries: How often a call is tried again where that does no harm.
            stores_text: True: nodes come back whole.
            is_embedding_query: Follows from embedder.
        """
        if not stores_text:
            raise ValueError("stores_text is True: T4DM keeps nodes whole")
        if is_embedding_query is not None and is_embedding_query != (embedder == "client"):
            raise ValueError(
                f"is_embedding_query follows from embedder: it is {embedder == 'client'} with {embedder!r}"
            )
        super().__init__(
            stores_text=stores_text,
            is_embedding_query=embedder == "client",
            url=url,
            storage_path=None if storage_path is None else str(storage_path),
            space=space,
            embedder=embedder,
            user_id=user_id,
            agent_id=agent_id,
            app_id=app_id,
            run_id=run_id,
            session_id=session_id,
            include_embeddings=include_embeddings,
            timeout_s=timeout_s,
            max_retries=max_retries,
        )
        self._connection = Connection(
            url, storage_path=storage_path, client=client, timeout_s=timeout_s, max_retries=max_retries
        )
        self._owner()  # a wrong one is told at once

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other settings."""
        changed = dict(update or {})
        if "embedder" in changed:
            changed["is_embedding_query"] = changed["embedder"] == "client"
        copied: Self = super().model_copy(update=changed, deep=deep)
        if not (_PLACE | {"embedder"}).isdisjoint(changed):
            copied._made_space = None
        if not _PLACE.isdisjoint(changed):
            if changed.keys().isdisjoint(("url", "storage_path")):
                _ = self._connection.settings  # raises for a client of the caller's, which has limits of its own
            copied._connection = Connection(**{name: getattr(copied, name) for name in _PLACE})
        return copied

    def _owner(self) -> dict[str, str]:
        return owner_defaults(
            user_id=self.user_id,
            agent_id=self.agent_id,
            app_id=self.app_id,
            run_id=self.run_id,
            session_id=self.session_id,
        )

    @classmethod
    def class_name(cls) -> str:
        """Return the name that stands in saved settings."""
        return "T4DMVectorStore"

    @property
    def client(self) -> MemoryBackend:
        """The client that carries out calls that wait; opened if it was not."""
        return self._connection.backend()

    # Adding -------------------------------------------------------------------------------------------

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Store nodes and return their ids, in order; a node whose id exists is replaced.

        Args:
            nodes: With their embeddings.
            **kwargs: Fields of `t4dm.sdk.RecordIn` for all of them: `importance`, `categories`, `event_time`, ….

        Raises:
            ValueError: A node has no embedding.
            ConflictError: An id is another owner's, or the vectors have another length than those of the space.
        """
        owner = self._owner()
        if not (records := self._records(nodes, kwargs, owner)):
            return []
        backend = self._connection.backend()
        if self._made_space != self.space:
            backend.create_space(self.space, m.SpaceRequest(embedder=self.embedder))
            self._made_space = self.space
        for part in records_in_requests(records, most=n.BATCH):
            if owner:
                check_owned(backend.get_many(self._named(part)), owner)
            backend.batch(m.BatchRequest(records=part, space=self.space))
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Store nodes and return their ids; see `add`."""
        owner = self._owner()
        if not (records := self._records(nodes, kwargs, owner)):
            return []
        backend = self._connection.async_backend()
        if self._made_space != self.space:
            await backend.create_space(self.space, m.SpaceRequest(embedder=self.embedder))
            self._made_space = self.space
        for part in records_in_requests(records, most=n.BATCH):
            if owner:
                check_owned(await backend.get_many(self._named(part)), owner)
            await backend.batch(m.BatchRequest(records=part, space=self.space))
        return [node.node_id for node in nodes]

    def _records(self, nodes: Sequence[BaseNode], given: dict[str, Any], owner: dict[str, str]) -> list[m.RecordIn]:
        fields = known_fields("add", given, n.RECORD_FIELDS - owner.keys()) | owner
        return [n.to_record(node, fields, is_embedded=self.is_embedding_query) for node in nodes]

    def _named(self, records: Sequence[m.RecordIn]) -> m.GetRequest:
        return m.GetRequest(ids=[one.id for one in records if one.id is not None], space=self.space)

    # Getting ------------------------------------------------------------------------------------------

    def get_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | m.Filter | None = None,
        *,
        include_embeddings: bool | None = None,
    ) -> list[BaseNode]:
        """Return nodes: those with the ids that exist, in the order given, or all that pass in the order stored.

        Args:
            node_ids: Which; an empty list is none.
            filters: What passes, see `filters`.
            include_embeddings: With their vectors; as the store is set when absent.
        """
        found: list[m.Memory] = []
        backend = self._connection.backend()
        try:
            for request in self._reads(node_ids, filters, include_embeddings):
                if isinstance(request, m.GetRequest):
                    found += backend.get_many(request)
                    continue
                page = backend.list(request)
                found += page.results
                while page.cursor is not None:
                    page = backend.list(request.model_copy(update={"cursor": page.cursor}))
                    found += page.results
        except NotFoundError as error:
            _check_missing_space(error)
        return self._nodes(found, node_ids)

    async def aget_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | m.Filter | None = None,
        *,
        include_embeddings: bool | None = None,
    ) -> list[BaseNode]:
        """Return nodes; see `get_nodes`."""
        found: list[m.Memory] = []
        backend = self._connection.async_backend()
        try:
            for request in self._reads(node_ids, filters, include_embeddings):
                if isinstance(request, m.GetRequest):
                    found += await backend.get_many(request)
                    continue
                page = await backend.list(request)
                found += page.results
                while page.cursor is not None:
                    page = await backend.list(request.model_copy(update={"cursor": page.cursor}))
                    found += page.results
        except NotFoundError as error:
            _check_missing_space(error)
        return self._nodes(found, node_ids)

    def _reads(
        self, node_ids: list[str] | None, filters: MetadataFilters | m.Filter | None, include_embeddings: bool | None
    ) -> list[m.GetRequest | m.ListRequest]:
        where = f.to_filter(filters)
        with_vectors = self.include_embeddings if include_embeddings is None else include_embeddings
        with as_validation_error():
            if node_ids is not None and where is None:
                return [
                    m.GetRequest(ids=part, space=self.space, include_vectors=with_vectors) for part in _parts(node_ids)
                ]
            chosen = [where] if node_ids is None else [f.all_of(f.with_ids(part), where) for part in _parts(node_ids)]
            return [
                m.ListRequest(
                    space=self.space,
                    filter=one,
                    order_by="insertion",
                    limit=_PAGE,
                    include_vectors=with_vectors,
                    **self._owner(),  # type: ignore[arg-type]  # only columns of owners
                )
                for one in chosen
            ]

    def _nodes(self, found: list[m.Memory], node_ids: list[str] | None) -> list[BaseNode]:
        owner = self._owner()
        owned = [memory for memory in found if is_owned(memory, owner)]
        if node_ids is not None:
            by_id = {memory.id: memory for memory in owned}
            owned = [by_id[one] for one in dict.fromkeys(node_ids) if one in by_id]
        return [n.to_node(memory) for memory in owned]

    # Deleting -----------------------------------------------------------------------------------------

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes made from a document; none is no error.

        Args:
            ref_doc_id: The document.
            **delete_kwargs: `purge=True` forgets their history, too.
        """
        self._delete([self._deletion(delete_kwargs, namespace_prefix=[f.document_label(ref_doc_id)])])

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes made from a document; see `delete`."""
        await self._adelete([self._deletion(delete_kwargs, namespace_prefix=[f.document_label(ref_doc_id)])])

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | m.Filter | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Delete nodes by id, by filter, or those of the ids that pass; what does not exist is no error.

        Args:
            node_ids: Which; an empty list is none.
            filters: What passes, see `filters`.
            **delete_kwargs: `purge=True` forgets their history, too.

        Raises:
            ValueError: Nothing says which.
        """
        self._delete(self._deletions(node_ids, filters, delete_kwargs))

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | m.Filter | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Delete nodes; see `delete_nodes`."""
        await self._adelete(self._deletions(node_ids, filters, delete_kwargs))

    def clear(self) -> None:
        """Delete all nodes that the store sees. The space stays, and the length of its vectors with it."""
        self._delete([self._deletion({}, all=not self._owner())])

    async def aclear(self) -> None:
        """Delete all nodes that the store sees; see `clear`."""
        await self._adelete([self._deletion({}, all=not self._owner())])

    def _deletions(
        self, node_ids: list[str] | None, filters: MetadataFilters | m.Filter | None, given: dict[str, Any]
    ) -> list[m.DeleteRequest]:
        where = f.to_filter(filters)
        if node_ids is not None:
            return [self._deletion(given, ids=part, filter=where) for part in _parts(node_ids)]
        if where is None:
            raise ValueError("nothing says which nodes to delete: give node_ids or filters, or call clear()")
        return [self._deletion(given, filter=where)]

    def _deletion(self, given: dict[str, Any], **chosen: Any) -> m.DeleteRequest:
        with as_validation_error():
            return m.DeleteRequest(
                space=self.space, **chosen, **known_fields("delete", given, frozenset(("purge",))), **self._owner()
            )

    def _delete(self, requests: Iterable[m.DeleteRequest]) -> None:
        backend = self._connection.backend()
        try:
            for request in requests:
                backend.delete_many(request)
        except NotFoundError as error:
            _check_missing_space(error)

    async def _adelete(self, requests: Iterable[m.DeleteRequest]) -> None:
        backend = self._connection.async_backend()
        try:
            for request in requests:
                await backend.delete_many(request)
        except NotFoundError as error:
            _check_missing_space(error)

    # Querying -----------------------------------------------------------------------------------------

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the best nodes with their similarities, best first; see `queries` for the modes.

        Args:
            query: What is asked.
            **kwargs: `mmr_threshold`, `mmr_prefetch_k`, `mmr_prefetch_factor`, `include_embeddings`, and what else
                `t4dm.sdk.SearchRequest` has: `as_of`, `known_at`, `min_score`, `weights`, ….

        Raises:
            NotImplementedError: A mode that T4DM does not have.
            ValueError: Something is missing or out of range.
        """
        search = self._search(query, kwargs)
        hits: list[m.Hit] = []
        backend = self._connection.backend()
        try:
            for request in search.pages:
                found = backend.search(request).results
                hits += found
                if len(found) < request.k:
                    break
        except NotFoundError as error:
            _check_missing_space(error)
        return search.result(hits)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the best nodes; see `query`."""
        search = self._search(query, kwargs)
        hits: list[m.Hit] = []
        backend = self._connection.async_backend()
        try:
            for request in search.pages:
                found = (await backend.search(request)).results
                hits += found
                if len(found) < request.k:
                    break
        except NotFoundError as error:
            _check_missing_space(error)
        return search.result(hits)

    def _search(self, query: VectorStoreQuery, given: dict[str, Any]) -> Search:
        return to_search(
            query,
            {"include_embeddings": self.include_embeddings} | given,
            space=self.space,
            owner=self._owner(),
            is_embedded=self.is_embedding_query,
        )

    # Copies and the end -------------------------------------------------------------------------------

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Return plain JSON from which `from_dict` makes a store like this.

        Raises:
            ValidationError: It was made of a `client`, which no settings describe.
        """
        _ = self._connection.settings
        saved: dict[str, Any] = super().to_dict(**kwargs)
        return saved

    def __getstate__(self) -> dict[str, Any]:
        _ = self._connection.settings  # raises for a client of the caller's, which the base class would drop
        state: dict[str, Any] = super().__getstate__()
        return state


def _parts(node_ids: Sequence[str]) -> Iterator[list[str]]:
    return ids_in_requests(node_ids, name="node_ids")


def _check_missing_space(error: NotFoundError) -> None:
    """Raise the error again, unless it says that there is no such space: nothing was ever written to it."""
    if not error.is_missing_space:
        raise error
