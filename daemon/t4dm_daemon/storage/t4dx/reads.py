"""What can be asked of a space: each read takes a snapshot, and looks at nothing else.

Reads take no lock: they read the state's moment first and its components (one reference to a tuple) second.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.clock import OPEN, UNBOUNDED, RecordClock
from t4dm_daemon.core.errors import DimensionMismatchError, InvalidInputError
from t4dm_daemon.core.filter import Filter
from t4dm_daemon.core.ids import key_of
from t4dm_daemon.core.item import Edge, Item
from t4dm_daemon.storage.protocol import (
    PRESENT,
    Direction,
    Group,
    InsertResult,
    Nearby,
    Order,
    Page,
    Reached,
    Scored,
    Token,
    View,
)
from t4dm_daemon.storage.t4dx import graph, query
from t4dm_daemon.storage.t4dx.analysis import Analyzer
from t4dm_daemon.storage.t4dx.component import Component
from t4dm_daemon.storage.t4dx.probe import TextProbe
from t4dm_daemon.storage.t4dx.schema import check_vector
from t4dm_daemon.storage.t4dx.state import SpaceState
from t4dm_daemon.storage.t4dx.statistics import count_values, groups, values_with


class Reads(ABC):
    """The reading half of `T4DXEngine`. Thread-safe."""

    _state: SpaceState
    _clock: RecordClock
    _analyzer: Analyzer

    @abstractmethod
    def _require_open(self) -> None:
        """Raise StorageError when nothing can be read."""

    @property
    def dimension(self) -> int | None:
        """Dimension of the vectors, None until the first vector fixes it."""
        return self._state.dimension

    def get(self, ids: Sequence[str], *, view: View = PRESENT, with_vectors: bool = False) -> list[Item | None]:
        """Return the visible version of each id, None where there is none."""
        require_list("ids", ids)
        snapshot = self._snapshot(view)
        return [self._visible(snapshot, one, with_vectors=with_vectors) for one in ids]

    def _visible(self, snapshot: query.Snapshot, item_id: str, *, with_vectors: bool) -> Item | None:
        found = self._row(snapshot, key_of(item_id))
        if found is None or not found[0].has_id(found[1], item_id):
            return None
        return found[0].item(found[1], with_vector=with_vectors)

    def _is_visible(self, snapshot: query.Snapshot, item_id: str) -> bool:
        found = self._row(snapshot, key_of(item_id))
        return found is not None and found[0].has_id(found[1], item_id)

    def _row(self, snapshot: query.Snapshot, key: bytes) -> tuple[Component, int] | None:
        """Return where the visible version of a key is."""
        view = snapshot.view
        for component in reversed(snapshot.components):
            published = component.rows
            for at in component.rows_of(key):
                numbers = component.numbers
                if at >= published or not numbers["recorded_at"][at] <= snapshot.moment < numbers["recorded_until"][at]:
                    continue
                if not view.include_expired and numbers["expires_at"][at] <= snapshot.now:
                    return None
                if view.as_of is not None and not numbers["valid_from"][at] <= view.as_of < numbers["valid_to"][at]:
                    return None
                return component, at
        return None

    def _snapshot(self, view: View) -> query.Snapshot:
        self._require_open()
        moment = self._state.moment  # before the components: what it shows is in them
        now = self._clock.now()
        if view.known_at is not None:
            if view.known_at < self._state.purged_before:
                raise InvalidInputError(
                    "what was known then has been purged: ask for a later known_at",
                    known_at=view.known_at,
                    purged_before=self._state.purged_before,
                )
            moment, now = min(moment, view.known_at), view.known_at
        return query.Snapshot(self._state.components, moment, now, view)

    def search(
        self,
        vector: npt.NDArray[np.float32],
        k: int,
        *,
        where: Filter | None = None,
        view: View = PRESENT,
        offset: int = 0,
        min_similarity: float = -1.0,
        exact: bool = False,
        with_vectors: bool = False,
    ) -> list[Scored]:
        """Return the k most similar visible items that pass the filter, best first, ties by id."""
        if k < 1 or offset < 0:
            raise InvalidInputError("k is at least 1 and offset at least 0", k=k, offset=offset)
        vector, _ = check_vector(vector)
        snapshot = self._snapshot(view)
        if self._state.dimension is None:
            return []
        if len(vector) != self._state.dimension:
            raise DimensionMismatchError(self._state.dimension, len(vector))
        return query.search(
            snapshot,
            vector,
            k,
            where=where,
            offset=offset,
            min_similarity=min_similarity,
            exact=exact,
            with_vectors=with_vectors,
        )

    def probe(
        self,
        *,
        vector: npt.NDArray[np.float32] | None,
        text: str | None,
        k: int,
        where: Filter | None = None,
        view: View = PRESENT,
        with_vectors: bool = False,
    ) -> TextProbe:
        """Put a question to all signals at once; each proposes `k` candidates. See `StorageBackend.probe`."""
        if k < 1:
            raise InvalidInputError("k is at least 1", k=k)
        if vector is not None:
            vector, _ = check_vector(vector)
            if self._state.dimension is None:
                vector = None
            elif len(vector) != self._state.dimension:
                raise DimensionMismatchError(self._state.dimension, len(vector))
        return TextProbe(
            self._snapshot(view),
            self._analyzer,
            vector=vector,
            text=text,
            where=where,
            k=k,
            with_vectors=with_vectors,
        )

    def near(
        self,
        vectors: npt.NDArray[np.float32],
        *,
        least: float,
        limit: int,
        where: Filter | None = None,
        view: View = PRESENT,
    ) -> list[Nearby]:
        """Return what is near each vector. See `StorageBackend.near`."""
        if self._state.dimension is None:
            return [Nearby(-1.0, ()) for _ in vectors]
        if vectors.ndim != 2 or vectors.shape[1] != self._state.dimension:
            raise DimensionMismatchError(self._state.dimension, vectors.shape[-1])
        return query.near(self._snapshot(view), vectors, least=least, limit=limit, where=where)

    def values_with(
        self, fields: Sequence[str], words: Sequence[str], *, where: Filter | None = None, view: View = PRESENT
    ) -> set[str]:
        """Return the values of the fields that hold one of the words. See `StorageBackend.values_with`."""
        return values_with(self._snapshot(view), fields, words, where)

    def count_values(
        self, fields: Sequence[str], *, where: Filter | None = None, view: View = PRESENT
    ) -> list[list[tuple[Any, int]]]:
        """Return for each field its distinct values with their counts. See `StorageBackend.count_values`."""
        return count_values(self._snapshot(view), fields, where)

    def groups(
        self,
        labels: Sequence[str],
        *,
        bounds: Sequence[str] = (),
        where: Filter | None = None,
        view: View = PRESENT,
    ) -> list[Group]:
        """Return the items that pass, grouped by label columns. See `StorageBackend.groups`."""
        return groups(self._snapshot(view), labels, bounds, where)

    def scan(
        self,
        *,
        where: Filter | None = None,
        view: View = PRESENT,
        order: Order = "insertion",
        descending: bool = False,
        limit: int = 100,
        offset: int = 0,
        after: tuple[int, int] | None = None,
        with_vectors: bool = False,
    ) -> Page:
        """Return visible items that pass the filter, ordered, a page at a time.

        Raises:
            InvalidInputError: The limit is below 1, the offset below 0, or there is no such order.
        """
        if type(limit) is not int or limit < 1 or type(offset) is not int or offset < 0:
            raise InvalidInputError("the limit is at least 1 and the offset at least 0", limit=limit, offset=offset)
        if order not in get_args(Order):
            raise InvalidInputError(f"the order is one of {', '.join(get_args(Order))}", order=str(order))
        return query.scan(
            self._snapshot(view),
            where=where,
            order=order,
            descending=descending,
            limit=limit,
            offset=offset,
            after=after,
            with_vectors=with_vectors,
        )

    def find_hash(self, content_hash: int, *, valid_from: int = UNBOUNDED, valid_to: int = OPEN) -> str | None:
        """Return the id of a current item with this content hash that is true within the interval, None if none is."""
        self._require_open()
        if not 0 < content_hash < 2**64:
            return None  # 0 stands for no hash
        found = self._state.current_with_hash(content_hash, self._clock.now(), valid=(valid_from, valid_to))
        return None if found is None else found[0]

    def answered(self, token: Token) -> InsertResult | None:
        """Return what the insert with this token was answered. See `StorageBackend.answered`."""
        self._require_open()
        return self._state.tokens.answered(token, self._clock.now())

    def history(self, item_id: str, *, with_vectors: bool = False) -> list[Item]:
        """Return every version of an id, oldest first; empty when it was never stored."""
        snapshot = self._snapshot(PRESENT)
        key = key_of(item_id)
        versions = [
            component.item(at, with_vector=with_vectors)
            for component in snapshot.components
            for at in reversed(list(component.rows_of(key)))
            if at < component.rows
            and component.numbers["recorded_at"][at] <= snapshot.moment
            and not component.is_purged(at)
        ]
        versions = [one for one in versions if one.id == item_id]
        # A version that was closed after the moment of this read is still open in it.
        return [
            dataclasses.replace(one, recorded_until=OPEN) if one.recorded_until > snapshot.moment else one
            for one in versions
        ]

    def edges(self, item_id: str, *, direction: Direction = "both", view: View = PRESENT) -> list[Edge]:
        """Return the links at an item that are visible in the view, by ends and type."""
        graph.check_direction(direction)
        found = graph.links(self._snapshot(view), key_of(item_id), direction)
        return [one for one in found if item_id in (one.source, one.target)]

    def traverse(
        self,
        start: Sequence[str],
        *,
        types: Sequence[str] | None = None,
        direction: Direction = "out",
        depth: int = 1,
        limit: int = 1000,
        view: View = PRESENT,
    ) -> list[Reached]:
        """Return the visible items within `depth` hops; see `StorageBackend.traverse`."""
        require_list("start", start)
        require_list("types", types)
        snapshot = self._snapshot(view)
        return graph.traverse(
            snapshot,
            start,
            types=types,
            direction=direction,
            depth=depth,
            limit=limit,
            is_visible=lambda one: self._is_visible(snapshot, one),
        )

    def path(
        self,
        source: str,
        target: str,
        *,
        types: Sequence[str] | None = None,
        direction: Direction = "out",
        max_depth: int = 6,
        view: View = PRESENT,
    ) -> list[Edge] | None:
        """Return a shortest path as its links in order; see `StorageBackend.path`."""
        require_list("types", types)
        snapshot = self._snapshot(view)
        return graph.path(
            snapshot,
            source,
            target,
            types=types,
            direction=direction,
            max_depth=max_depth,
            is_visible=lambda one: self._is_visible(snapshot, one),
        )

    def snapshot(self) -> int:
        """Return the transaction time of the present."""
        self._require_open()
        return self._state.moment


def require_list(name: str, value: object) -> None:
    """Refuse one string where several are wanted: its letters would be taken for them."""
    if isinstance(value, str | bytes):
        raise InvalidInputError(f"{name} is a list of strings, not one string", **{name: ascii(value)[:100]})
