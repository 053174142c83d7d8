"""A collection of Qdrant as a source: a local directory, a server, or a client that is given.

A point becomes an item: its id as text, its payload as `storage.payload` says, its vector as Qdrant keeps it (for
cosine collections that is the normalised one). What a space cannot hold is named when the source is opened:

- several vectors a point: choose one with `vector_name`; the others are dropped only with `drop_other_vectors`
- sparse vectors: likewise; multivectors: never
- dot product and Euclidean distance: points of length 1 are taken, for them the order is the same; others are
  refused one by one, and Manhattan collections altogether, unless `allow_metric_change`

Position: the id of the next point. Qdrant scrolls in the order of ids, so a point that is written during the load
may be missed; run the load again for it.
"""

from __future__ import annotations

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
    checked_position,
    import_extra,
    payload_item,
)
from t4dm_daemon.storage.payload import TEXT_KEY

T = TypeVar("T")

_COSINE: Final = "Cosine"
_UNLIKE: Final = frozenset(("Manhattan",))
"""Distances whose order is not that of cosines even for vectors of length 1."""


class QdrantSource(ClosingSource):
    """Read a collection of Qdrant.

    Args:
        collection: Its name.
        path: Directory of a local Qdrant; it is locked while this is open.
        url, api_key: Of a server.
        client: A `QdrantClient` of the caller's, who closes it.
        vector_name: Which vector of a point; needed when there are several.
        drop_other_vectors: Take the one and leave the others behind.
        allow_metric_change: Take vectors whose order will change.
        text_key: The payload key whose text becomes the content.
        timeout_s: For each request to a server.
        limits: The largest memory that is taken.

    Raises:
        MissingExtraError: qdrant-client is not installed.
        SourceError: It cannot be opened, or there is no such collection.
        InvalidInputError: It holds what a space cannot; the message says what, and how to go on.
    """

    def __init__(
        self,
        collection: str,
        *,
        path: Path | None = None,
        url: str | None = None,
        api_key: str | None = None,
        client: Any = None,
        vector_name: str | None = None,
        drop_other_vectors: bool = False,
        allow_metric_change: bool = False,
        text_key: str = TEXT_KEY,
        timeout_s: int = 60,
        limits: Limits = LIMITS,
    ) -> None:
        if sum(one is not None for one in (path, url, client)) != 1:
            raise InvalidInputError("give one of path, url and client")
        self._collection = collection
        self._is_own = client is None
        where = "client" if path is None and url is None else str(path.resolve()) if path is not None else str(url)
        self._where = f"qdrant {where} collection {collection}"
        self._client = client if client is not None else self._connect(path, url, api_key, timeout_s)
        try:
            parameters = self._ask(lambda: self._client.get_collection(collection)).config.params
            self._vector_name, chosen = _choose(parameters, vector_name, drop_other=drop_other_vectors)
            distance = str(getattr(chosen.distance, "value", chosen.distance))
            self._is_cosine = distance == _COSINE
            if distance in _UNLIKE and not allow_metric_change:
                raise InvalidInputError(
                    f"{self._where} ranks by {distance} distance, T4DX by cosine: the order changes; "
                    "load with allow_metric_change=True to accept that",
                    distance=distance,
                )
            unit = None if self._is_cosine or allow_metric_change else distance
            self._dimension = int(chosen.size)
        except BaseException:
            self.close()
            raise
        self._shape = Shape(text_key=text_key, unit_length=unit, limits=limits)

    def _connect(self, path: Path | None, url: str | None, api_key: str | None, timeout_s: int) -> Any:
        module = import_extra("qdrant_client", "qdrant")
        if path is not None:
            if not (path / "meta.json").is_file():  # the client would make an empty store here
                raise SourceError(f"{path} is no directory of a local Qdrant: it has no meta.json", path=str(path))
            return self._ask(lambda: module.QdrantClient(path=str(path)))
        # A proxy or an older server may not answer the version check, which only warns.
        return self._ask(
            lambda: module.QdrantClient(url=url, api_key=api_key, timeout=timeout_s, check_compatibility=False)
        )

    @property
    def name(self) -> str:
        """The place and the collection."""
        return self._where

    @property
    def dimension(self) -> int | None:
        """Of the chosen vector."""
        return self._dimension

    def count(self) -> int | None:
        """Return the number of points."""
        return int(self._ask(lambda: self._client.count(self._collection, exact=True)).count)

    def batches(self, size: int, *, after: Position | None = None) -> Iterator[Batch]:
        """Yield the points in the order of their ids; see `Source.batches`."""
        offset: Any = None
        if after is not None:
            offset = checked_position(after, {"next": lambda one: one is None or type(one) in (int, str)})["next"]
            if offset is None:
                return
        wanted: Any = True if self._vector_name is None else [self._vector_name]
        while True:
            at = offset
            points, offset = self._ask(
                lambda at=at: self._client.scroll(  # type: ignore[misc]  # mypy cannot infer a default of a lambda
                    self._collection, limit=size, offset=at, with_payload=True, with_vectors=wanted
                )
            )
            items: list[Item] = []
            refused: list[Refusal] = []
            for point in points:
                try:
                    items.append(payload_item(str(point.id), point.payload, self._vector(point.vector), self._shape))
                except InvalidInputError as error:
                    refused.append(Refusal(str(point.id), error.message))
            offset = offset if offset is None or type(offset) is int else str(offset)
            if points:
                yield Batch(items, refused, {"next": offset})
            if offset is None:
                return

    def _vector(self, given: Any) -> Any:
        """Return the chosen vector of a point, None when it has none."""
        if isinstance(given, dict):
            given = given.get("" if self._vector_name is None else self._vector_name)
        if isinstance(given, list) and given and isinstance(given[0], list):
            raise InvalidInputError("the point has several vectors under one name (a multivector)")
        return given

    def search(self, vector: Vector, k: int) -> list[Found] | None:
        """Return Qdrant's own k best."""
        answer = self._ask(
            lambda: self._client.query_points(
                self._collection, query=vector.tolist(), using=self._vector_name, limit=k, with_payload=False
            )
        )
        return [Found(str(hit.id), float(hit.score) if self._is_cosine else None) for hit in answer.points]

    def close(self) -> None:
        """Close the client, unless it was given."""
        if self._is_own:
            self._client.close()

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except DaemonError:
            raise
        except Exception as error:  # the client raises its transports' errors, ValueError and RuntimeError
            raise SourceError(f"{self._where}: {error}", source=self._where) from error


def _choose(parameters: Any, wanted: str | None, *, drop_other: bool) -> tuple[str | None, Any]:
    """Return the name (None for the unnamed one) and parameters of the vector to load."""
    dense = parameters.vectors or {}
    by_name: dict[str, Any] = dense if isinstance(dense, dict) else {"": dense}
    sparse = sorted(parameters.sparse_vectors or {})
    if not by_name:
        raise InvalidInputError(
            "the collection has no dense vectors, and a space cannot hold sparse ones", sparse=sparse
        )
    name = next(iter(by_name)) if wanted is None and len(by_name) == 1 else wanted or ""
    if name not in by_name:
        known = ", ".join(repr(one) for one in sorted(by_name))
        raise InvalidInputError(
            f"the points have the vectors {known}: choose one with vector_name", vectors=sorted(by_name)
        )
    others = sorted(by_name.keys() - {name}) + sparse
    if others and not drop_other:
        raise InvalidInputError(
            f"a memory holds one dense vector, and the points also have {', '.join(repr(one) for one in others)}; "
            "load with drop_other_vectors=True to leave those behind",
            vectors=others,
        )
    if by_name[name].multivector_config is not None:
        raise InvalidInputError(f"{name!r} is a multivector: a memory holds one vector", vector=name)
    return name or None, by_name[name]
