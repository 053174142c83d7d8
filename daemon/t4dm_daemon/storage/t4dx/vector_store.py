"""A database of spaces as a store of vectors with payloads (`core.protocols.VectorStore`).

A collection is a space whose vectors come from its callers; a record is an item. Payloads become metadata and
content as `storage.payload` says. All other columns (owner, namespace, kind, times, learning state) stand at
their defaults: `add` replaces an item whole, `update_payloads` leaves them alone.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.clock import UNBOUNDED
from t4dm_daemon.core.errors import (
    ConflictError,
    DimensionMismatchError,
    EmptySelectorError,
    InvalidInputError,
    ModeNotAvailableError,
    NotFoundError,
)
from t4dm_daemon.core.filter import Filter, check
from t4dm_daemon.core.item import MUTABLE_FIELDS, Item
from t4dm_daemon.core.protocols import Collection, Vector, VectorHit, VectorPage, VectorRecord
from t4dm_daemon.storage.payload import TEXT_KEY, encode_object, join, split, translate
from t4dm_daemon.storage.protocol import Deletion, View, Write
from t4dm_daemon.storage.t4dx.database import Database
from t4dm_daemon.storage.t4dx.engine import T4DXEngine

ATTEMPTS: Final = 5
"""How often a change is tried when others change the same items at the same time."""
_PAGE: Final = 1000
LEARNED: Final = frozenset(MUTABLE_FIELDS)


class T4DXVectorStore:
    """Read and write the spaces of a database as collections. Implements `VectorStore`; thread-safe.

    Args:
        database: Who owns it closes it.
        text_key: The payload key whose text becomes the content.
    """

    def __init__(self, database: Database, *, text_key: str = TEXT_KEY) -> None:
        self._database = database
        self._text_key = text_key

    # Collections --------------------------------------------------------------------------------------

    def create_collection(self, name: str, dimension: int) -> None:
        """Create a collection, durably; see `VectorStore.create_collection`."""
        if not name:
            raise InvalidInputError("a collection has a name", name=name)
        if type(dimension) is not int or dimension < 1:
            raise InvalidInputError("a dimension is a positive integer", dimension=dimension)
        self._database.create_space(name, embedder="client", model=None, metric="cosine", dimension=dimension)

    def delete_collection(self, name: str) -> None:
        """Delete a collection and all it holds. Raises NotFoundError."""
        self._database.delete_space(name)

    def collections(self) -> list[Collection]:
        """Return every collection, by name; one that is deleted meanwhile is left out."""
        found = []
        for name in sorted(self._database.spaces()):
            try:
                found.append(Collection(name, self._database.space(name).dimension))
            except NotFoundError:  # deleted since its name was read
                continue
        return found

    # Writing ------------------------------------------------------------------------------------------

    def add(
        self,
        collection: str,
        ids: Sequence[str],
        vectors: npt.ArrayLike,
        payloads: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Store records, all or nothing; see `VectorStore.add`."""
        engine = self._database.space(collection)
        _check_ids(ids)
        rows = _matrix(vectors, len(ids))
        if payloads is not None and len(payloads) != len(ids):
            raise InvalidInputError(
                "there is one payload per id", ids=len(ids), payloads=len(payloads), collection=collection
            )
        if not ids:
            return
        if engine.dimension not in (None, rows.shape[1]):
            assert engine.dimension is not None
            raise DimensionMismatchError(engine.dimension, rows.shape[1], space=collection)
        writes = []
        for at, record_id in enumerate(ids):
            try:
                content, metadata = split({} if payloads is None else payloads[at], self._text_key)
            except InvalidInputError as error:
                raise _at(error, record_id) from None
            writes.append(Write(Item(id=record_id, content=content, metadata_json=metadata, vector=rows[at])))
        engine.insert(writes)

    def update_payloads(
        self, collection: str, patches: Mapping[str, Mapping[str, Any]], *, replace: bool = False
    ) -> None:
        """Change payloads, all or nothing; see `VectorStore.update_payloads`."""
        engine = self._database.space(collection)
        ids = list(patches)
        _check_ids(ids)
        for record_id, patch in patches.items():
            try:
                encode_object(patch, "payload")
            except InvalidInputError as error:
                raise _at(error, record_id) from None
        for attempt in range(1, ATTEMPTS + 1):
            found = _present(engine, ids, collection)
            writes = [self._patched(one, patches[one.id], replace=replace) for one in found]
            try:
                engine.insert(writes)
                return
            except ConflictError:
                if attempt == ATTEMPTS:
                    raise

    def _patched(self, current: Item, patch: Mapping[str, Any], *, replace: bool) -> Write:
        before = {} if replace else join(current.content, current.metadata_json, self._text_key)
        content, metadata = split(before | dict(patch), self._text_key)
        return Write(revised(current, content, metadata), expected_version=current.version, carry=LEARNED)

    def delete(self, collection: str, ids: Sequence[str] | None = None, *, filter: Filter | None = None) -> int:
        """Delete records by id or by filter, and return how many; see `VectorStore.delete`."""
        engine = self._database.space(collection)
        if ids is None and filter is None:
            raise EmptySelectorError("name what to delete: ids, or a filter", collection=collection)
        if ids is not None and filter is not None:
            raise InvalidInputError("give ids or a filter, not both", collection=collection)
        if ids is not None:
            _check_ids(ids, unique=False)
            return sum(engine.delete([Deletion(one) for one in dict.fromkeys(ids)]))
        where = self._where(filter)
        view = View(known_at=engine.snapshot())
        after: tuple[int, int] | None = None
        count = 0
        while True:
            page = engine.scan(where=where, view=view, limit=_PAGE, after=after)
            count += sum(engine.delete([Deletion(one.id, one.version) for one in page.items]))
            after = page.after
            if after is None:
                return count

    # Reading ------------------------------------------------------------------------------------------

    def search(
        self,
        collection: str,
        vector: npt.ArrayLike,
        limit: int = 10,
        *,
        filter: Filter | None = None,
        score_threshold: float | None = None,
        with_vectors: bool = False,
    ) -> list[VectorHit]:
        """Return the most similar records, best first; see `VectorStore.search`."""
        hits = self._database.space(collection).search(
            _numbers(vector),
            _positive("limit", limit),
            where=self._where(filter),
            min_similarity=-1.0 if score_threshold is None else score_threshold,
            with_vectors=with_vectors,
        )
        return [
            VectorHit(hit.item.id, hit.similarity, self._payload(hit.item), hit.item.vector if with_vectors else None)
            for hit in hits
        ]

    def search_hybrid(
        self,
        collection: str,
        vector: npt.ArrayLike,
        text: str,
        limit: int = 10,
        *,
        filter: Filter | None = None,
        with_vectors: bool = False,
    ) -> list[VectorHit]:
        """Refuse: the engine indexes vectors, not words. Raises ModeNotAvailableError."""
        del vector, text, limit, filter, with_vectors  # the protocol's signature
        raise ModeNotAvailableError(
            "this store has no lexical index, so it cannot search by vector and words together; "
            "use search(), or the memory service's hybrid mode",
            mode="hybrid",
            collection=collection,
        )

    def get(self, collection: str, ids: Sequence[str], *, with_vectors: bool = False) -> list[VectorRecord | None]:
        """Return the record of each id, None where there is none."""
        engine = self._database.space(collection)
        _check_ids(ids, unique=False)
        return [
            None if item is None else self._record(item, with_vectors)
            for item in engine.get(ids, with_vectors=with_vectors)
        ]

    def scroll(
        self,
        collection: str,
        *,
        filter: Filter | None = None,
        limit: int = 100,
        cursor: str | None = None,
        with_vectors: bool = False,
    ) -> VectorPage:
        """Return records in order of first insertion, a page at a time; see `VectorStore.scroll`."""
        page = self._database.space(collection).scan(
            where=self._where(filter),
            limit=_positive("limit", limit),
            after=None if cursor is None else _position(cursor),
            with_vectors=with_vectors,
        )
        records = [self._record(item, with_vectors) for item in page.items]
        return VectorPage(records, page.total, None if page.after is None else _cursor(page.after))

    def count(self, collection: str, *, filter: Filter | None = None) -> int:
        """Return how many records pass the filter."""
        return self._database.space(collection).scan(where=self._where(filter), limit=1).total

    def _record(self, item: Item, with_vectors: bool) -> VectorRecord:
        return VectorRecord(item.id, self._payload(item), item.vector if with_vectors else None)

    def _payload(self, item: Item) -> dict[str, Any]:
        return join(item.content, item.metadata_json, self._text_key)

    def _where(self, tree: Filter | None) -> Filter | None:
        if tree is None:
            return None
        check(tree)
        return translate(tree, self._text_key)


def revised(current: Item, content: str, metadata_json: bytes, **changes: Any) -> Item:
    """Return the next version of an item: other text and metadata, changed now.

    The content hash says whose text it is (`memory.dedup`); for another text it says nothing, so it is dropped.
    """
    content_hash = current.content_hash if content == current.content else 0
    return dataclasses.replace(
        current,
        content=content,
        metadata_json=metadata_json,
        content_hash=content_hash,
        updated_at=UNBOUNDED,
        **changes,
    )


def _present(engine: T4DXEngine, ids: Sequence[str], collection: str) -> list[Item]:
    found = engine.get(ids, with_vectors=True)
    missing = [one for one, item in zip(ids, found, strict=True) if item is None]
    if missing:
        raise NotFoundError(
            f"{len(missing)} of {len(ids)} records do not exist in {collection!r}, for example {missing[0]!r}",
            collection=collection,
            ids=missing,
        )
    return [item for item in found if item is not None]


def _check_ids(ids: Sequence[str], *, unique: bool = True) -> None:
    if isinstance(ids, str):
        raise InvalidInputError("ids are a list of strings, not one string", ids=ids)
    for one in ids:
        if not isinstance(one, str):
            raise InvalidInputError(f"an id is a string, not {type(one).__name__}", id=repr(one))
    if unique and len(set(ids)) < len(ids):
        twice = next(one for at, one in enumerate(ids) if one in ids[:at])
        raise InvalidInputError(f"the id {twice!r} is given twice", id=twice)


def _matrix(vectors: npt.ArrayLike, rows: int) -> Vector:
    matrix = _numbers(vectors)
    if rows == 0 and matrix.size == 0:
        return matrix
    if matrix.ndim != 2 or len(matrix) != rows:
        raise InvalidInputError("there is one vector per id, all of one dimension", ids=rows, shape=list(matrix.shape))
    return matrix  # (N, D)


def _numbers(vector: npt.ArrayLike) -> Vector:
    try:
        given = np.asarray(vector)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"a vector is a list of numbers: {error}", field="vector") from None
    if given.dtype.kind not in "fiu":
        raise InvalidInputError(f"a vector is a list of numbers, not of {given.dtype}", field="vector")
    with np.errstate(over="ignore"):  # what overflows float32 becomes infinite, which the engine refuses
        return given.astype(np.float32)


def _positive(name: str, value: int) -> int:
    if type(value) is not int or value < 1:
        raise InvalidInputError(f"{name} is a positive integer", field=name, value=value)
    return value


def _cursor(after: tuple[int, int]) -> str:
    return base64.urlsafe_b64encode(json.dumps(after).encode()).decode()


def _position(cursor: str) -> tuple[int, int]:
    try:
        value, seq = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if type(value) is int and type(seq) is int:
            return value, seq
    except (ValueError, TypeError):
        pass
    raise InvalidInputError("this cursor was not made by scroll()", cursor=cursor)


def _at(error: InvalidInputError, record_id: str) -> InvalidInputError:
    return InvalidInputError(f"record {record_id!r}: {error.message}", **(error.details | {"id": record_id}))
