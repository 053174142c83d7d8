"""A collection in a persistent directory of Chroma as a source.

A record becomes an item: document to content, metadata to metadata (as it is: a key `text` stays in it), embedding
to vector, and a URI to the metadata key `uri`. Chroma ranks by squared Euclidean distance unless told otherwise:
vectors of length 1 are taken then, for them the order is that of cosines; others are refused one by one, unless
`allow_metric_change`.

Position: how many records were read. Chroma pages in the order of insertion; delete nothing during the load. Chroma
opens its files for writing and may convert those of an older version: load from a copy if that matters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from t4dm_daemon.core.errors import DaemonError, InvalidInputError, SourceError
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.loaders.base import (
    LIMITS,
    Batch,
    ClosingSource,
    Found,
    Limits,
    Position,
    Refusal,
    Shape,
    Vector,
    check_item,
    checked_position,
    import_extra,
    payload_item,
)

T = TypeVar("T")

_INCLUDE: Final = ["embeddings", "documents", "metadatas", "uris"]


class ChromaSource(ClosingSource):
    """Read a collection of a persistent Chroma.

    Args:
        path: The directory.
        collection: Its name.
        tenant, database: Chroma's own.
        allow_metric_change: Take vectors whose order will change.
        limits: The largest memory that is taken.

    Raises:
        MissingExtraError: chromadb is not installed.
        SourceError: It cannot be opened, or there is no such collection.
    """

    def __init__(
        self,
        path: Path,
        collection: str,
        *,
        tenant: str = "default_tenant",
        database: str = "default_database",
        allow_metric_change: bool = False,
        limits: Limits = LIMITS,
    ) -> None:
        module = import_extra("chromadb", "chroma")
        self._where = f"chroma {path.resolve()} tenant {tenant} database {database} collection {collection}"
        if not (path / "chroma.sqlite3").is_file():  # the client would make an empty store here
            raise SourceError(f"{path} is no directory of Chroma: it has no chroma.sqlite3", path=str(path))
        settings = module.Settings(anonymized_telemetry=False)
        self._client: Any = self._ask(
            lambda: module.PersistentClient(str(path), settings=settings, tenant=tenant, database=database)
        )
        try:
            # Without this the collection's embedding function would be built, and its model downloaded.
            self._collection: Any = self._ask(lambda: self._client.get_collection(collection, embedding_function=None))
            self._metric = _metric(self._collection)
            self._dimension = self._first_dimension()
        except BaseException:
            self.close()
            raise
        unit = None if self._metric == "cosine" or allow_metric_change else _METRICS.get(self._metric, self._metric)
        self._shape = Shape(text_key=None, unit_length=unit, limits=limits)

    def _first_dimension(self) -> int | None:
        first = self._ask(lambda: self._collection.get(limit=1, include=["embeddings"]))["embeddings"]
        return len(first[0]) if first is not None and len(first) else None

    @property
    def name(self) -> str:
        """The directory and the collection."""
        return self._where

    @property
    def dimension(self) -> int | None:
        """Of its vectors; None when it is empty."""
        return self._dimension

    def count(self) -> int | None:
        """Return the number of records."""
        return int(self._ask(self._collection.count))

    def batches(self, size: int, *, after: Position | None = None) -> Iterator[Batch]:
        """Yield the records in the order of insertion; see `Source.batches`."""
        offset = 0
        if after is not None:
            offset = checked_position(after, {"offset": lambda one: type(one) is int and one >= 0})["offset"]
        while True:
            at = offset
            page = self._ask(
                lambda at=at: self._collection.get(limit=size, offset=at, include=_INCLUDE)  # type: ignore[misc]
            )
            ids = page["ids"]
            if not ids:
                return
            columns = [page[name] if page[name] is not None else [None] * len(ids) for name in _INCLUDE]
            items: list[Item] = []
            refused: list[Refusal] = []
            for record_id, *parts in zip(ids, *columns, strict=True):
                try:
                    items.append(self._item(record_id, *parts))
                except InvalidInputError as error:
                    refused.append(Refusal(record_id, error.message))
            offset += len(ids)
            yield Batch(items, refused, {"offset": offset})

    def _item(self, record_id: str, vector: Any, document: Any, metadata: Any, uri: Any) -> Item:
        metadata = dict(metadata or {})
        if uri is not None:
            if metadata.get("uri", uri) != uri:
                raise InvalidInputError("the record has a URI, and another one in its metadata under `uri`")
            metadata["uri"] = uri
        item = dataclasses.replace(payload_item(record_id, metadata, vector, self._shape), content=document or "")
        check_item(item, self._shape.limits)
        return item

    def search(self, vector: Vector, k: int) -> list[Found] | None:
        """Return Chroma's own k best."""
        answer = self._ask(
            lambda: self._collection.query(query_embeddings=[vector.tolist()], n_results=k, include=["distances"])
        )
        is_cosine = self._metric == "cosine"
        return [
            Found(record_id, 1.0 - float(distance) if is_cosine else None)
            for record_id, distance in zip(answer["ids"][0], answer["distances"][0], strict=True)
        ]

    def close(self) -> None:
        """Close the client; safe to call twice."""
        close = getattr(self._client, "close", None)  # versions of old have none
        if close is not None:
            self._ask(close)

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except DaemonError:
            raise
        except Exception as error:  # Chroma raises its own errors, ValueError, and those of its Rust part
            raise SourceError(f"{self._where}: {error}", source=self._where) from error


_METRICS: Final = {"l2": "Euclidean distance", "ip": "dot product"}


def _metric(collection: Any) -> str:
    """Return the collection's metric: the configuration's word, or that of the metadata of older versions."""
    configuration = collection.configuration_json
    for index in ("hnsw", "spann"):
        if configuration.get(index):
            return str(configuration[index].get("space", "l2"))
    return str((collection.metadata or {}).get("hnsw:space", "l2"))
