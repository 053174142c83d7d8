"""Two plain faces of a memory store: vectors with payloads, and a graph of nodes and relationships.

They are for code that thinks in collections or in graphs and should not learn what a version, a view or a space
is: loaders, adapters, experiments. `storage.t4dx` implements both over the same items, so a vector record and a
graph node of the same id in the same space are one memory.

What holds for every implementation:

- Methods are synchronous and may be called from any thread. Reads never block writes.
- A write has happened, durably, when its call returns. A batch is stored whole or not at all.
- Vectors are float32 of the collection's dimension. Scores are cosine similarities in [-1, 1]; higher is nearer.
- Weights of relationships lie in [0, 1].
- Payloads and properties are JSON objects: string keys; strings, numbers, booleans, null, lists, objects. What
  is not JSON (a date, a set, NaN) is refused, never turned into something near it.
- Filters are `core.filter` trees. A leaf names a payload key, or a column of the store such as `importance`;
  `metadata.kind` reaches a payload key that shares a column's name.
- Missing things are None or False where the signature says so, else NotFoundError; wrong input is
  InvalidInputError; a closed or damaged store is StorageError. `details` carries the facts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.filter import Filter
from t4dm_daemon.core.item import Edge

Vector = npt.NDArray[np.float32]
Direction = Literal["out", "in", "both"]
RelationshipName = tuple[str, str, str]
"""Source id, type, target id: no two relationships share all three."""


# Vectors ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of vectors. `dimension` is None until the first vector fixes it."""

    name: str
    dimension: int | None


@dataclass(frozen=True, slots=True)
class VectorRecord:
    """One stored record; `vector` is None unless it was asked for, or when there is none."""

    id: str
    payload: dict[str, Any]
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class VectorHit:
    """A record that was found, and its cosine similarity to the query, in [-1, 1]."""

    id: str
    score: float
    payload: dict[str, Any]
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class VectorPage:
    """A part of a scroll.

    Attributes:
        records: In the order in which they were first added.
        total: How many records match altogether.
        cursor: Opaque; where the next page begins. None at the end.
    """

    records: list[VectorRecord]
    total: int
    cursor: str | None


class VectorStore(Protocol):
    """Collections of vectors with payloads."""

    def create_collection(self, name: str, dimension: int) -> None:
        """Create a collection for vectors of this dimension, durably.

        Raises:
            ConflictError: It exists.
            InvalidInputError: The name is empty, or the dimension is not positive.
        """
        ...

    def delete_collection(self, name: str) -> None:
        """Delete a collection and all it holds, for good. Raises NotFoundError."""
        ...

    def collections(self) -> list[Collection]:
        """Return every collection, by name."""
        ...

    def add(
        self,
        collection: str,
        ids: Sequence[str],
        vectors: npt.ArrayLike,
        payloads: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Store records, all or nothing; an id that exists is replaced whole, vector and payload.

        Args:
            collection: Where to.
            ids: 1 to 512 bytes of UTF-8 each, none twice.
            vectors: (N, D) numbers, one row per id: finite, not zero.
            payloads: One per id; empty objects when absent.

        Raises:
            NotFoundError: There is no such collection.
            DimensionMismatchError: D is not the collection's.
            InvalidInputError: The lengths differ, an id repeats, or a vector or payload cannot be stored.
        """
        ...

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
        """Return the `limit` records most similar to `vector` (D,) that pass the filter, best first, ties by id.

        Fewer only when fewer match or reach `score_threshold` (inclusive).

        Raises:
            NotFoundError, DimensionMismatchError, InvalidInputError.
        """
        ...

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
        """Return the records nearest by vector and by words together, best first.

        Scores are the backend's fusion, comparable within one answer only.

        Raises:
            ModeNotAvailableError: This backend has no lexical index. It never falls back to `search` silently.
        """
        ...

    def delete(self, collection: str, ids: Sequence[str] | None = None, *, filter: Filter | None = None) -> int:
        """Delete records by id or by filter, and return how many there were.

        A filter deletes what matches at the time of the call; a record that is replaced meanwhile stays.
        By filter the work goes in batches, each whole or not at all.

        Raises:
            EmptySelectorError: Neither was given. An empty list of ids deletes nothing.
            InvalidInputError: Both were given.
            NotFoundError: There is no such collection.
        """
        ...

    def get(self, collection: str, ids: Sequence[str], *, with_vectors: bool = False) -> list[VectorRecord | None]:
        """Return the record of each id, in order; None where there is none. Raises NotFoundError (collection)."""
        ...

    def scroll(
        self,
        collection: str,
        *,
        filter: Filter | None = None,
        limit: int = 100,
        cursor: str | None = None,
        with_vectors: bool = False,
    ) -> VectorPage:
        """Return records in the order of their first insertion, a page at a time.

        A record that is there from the first page to the last is returned exactly once, whatever is written
        meanwhile.

        Raises:
            InvalidInputError: `cursor` is none of this store's, or `limit` is not positive.
            NotFoundError: There is no such collection.
        """
        ...

    def count(self, collection: str, *, filter: Filter | None = None) -> int:
        """Return how many records pass the filter. Raises NotFoundError (collection)."""
        ...

    def update_payloads(
        self, collection: str, patches: Mapping[str, Mapping[str, Any]], *, replace: bool = False
    ) -> None:
        """Change the payloads of many records, all or nothing; vectors stay.

        Args:
            collection: Where.
            patches: By id. Merged into the payload by top-level key; a null is stored as null.
            replace: The patch is the new payload; the way to remove keys.

        Raises:
            NotFoundError: The collection, or some of the ids (`details["ids"]`), do not exist.
            ConflictError: Others keep changing these records; nothing was changed.
            InvalidInputError: A patch is not JSON.
        """
        ...


# Graph ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph.

    Attributes:
        id: 1 to 512 bytes of UTF-8.
        properties: A JSON object.
        labels: What it is, for example `("Person",)`.
        vector: Its embedding, on the way in; None on the way out.
    """

    id: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A node that was reached.

    Attributes:
        node: It.
        depth: Steps from the start, 1 for a direct neighbour.
        relationship: The one it was first reached by.
    """

    node: Node
    depth: int
    relationship: Edge


class GraphStore(Protocol):
    """Nodes and typed, weighted, directed relationships between them (`core.item.Edge`).

    Types are those of `core.item.EDGE_TYPES`; any other is InvalidInputError, as is a direction other than
    "out", "in" and "both". Deleting a node deletes its relationships.
    """

    def create_node(self, node: Node) -> None:
        """Store a new node. Raises ConflictError when the id exists."""
        ...

    def create_nodes(self, nodes: Sequence[Node]) -> None:
        """Store new nodes, all or nothing.

        Raises:
            ConflictError: An id exists; `details["id"]`.
            InvalidInputError, DimensionMismatchError: A node cannot be stored, or an id repeats.
        """
        ...

    def get_node(self, node_id: str) -> Node | None:
        """Return a node, None when there is none."""
        ...

    def get_nodes(self, node_ids: Sequence[str]) -> list[Node | None]:
        """Return the node of each id, in order; None where there is none."""
        ...

    def update_node(
        self,
        node_id: str,
        properties: Mapping[str, Any] | None = None,
        *,
        labels: Sequence[str] | None = None,
        replace: bool = False,
    ) -> Node:
        """Change properties (merged by top-level key, or replaced) and labels (replaced); return the node.

        Relationships and the vector stay.

        Raises:
            NotFoundError: There is no such node.
            ConflictError: Others keep changing it; nothing was changed.
        """
        ...

    def delete_node(self, node_id: str) -> bool:
        """Delete a node and its relationships; False when there was none."""
        ...

    def delete_nodes(self, node_ids: Sequence[str]) -> list[bool]:
        """Delete nodes and their relationships, in order; False where there was none."""
        ...

    def create_relationship(self, relationship: Edge) -> None:
        """Link two nodes; see `create_relationships`."""
        ...

    def create_relationships(self, relationships: Sequence[Edge]) -> None:
        """Link nodes, all or nothing; one that exists takes the new weight and keeps its creation time.

        Raises:
            NotFoundError: An end does not exist; `details["ids"]`.
            InvalidInputError: An unknown type, or a weight outside [0, 1].
        """
        ...

    def relationships(
        self, node_id: str, *, direction: Direction = "both", types: Sequence[str] | None = None
    ) -> list[Edge]:
        """Return the relationships at a node, optionally of some types only. Raises NotFoundError."""
        ...

    def strengthen(self, source: str, type: str, target: str, amount: float) -> float:
        """Add to a weight, clipped to [0, 1], and return the new weight. Negative amounts weaken.

        Raises NotFoundError when there is no such relationship.
        """
        ...

    def strengthen_many(self, amounts: Mapping[RelationshipName, float]) -> dict[RelationshipName, float | None]:
        """Add to many weights in one durable write; new weights by name, None where there is no relationship."""
        ...

    def update_weight(self, source: str, type: str, target: str, weight: float) -> None:
        """Set a weight in [0, 1]. Raises NotFoundError when there is no such relationship."""
        ...

    def delete_relationship(self, source: str, type: str, target: str) -> bool:
        """Unlink two nodes; False when they were not linked so."""
        ...

    def delete_relationships(self, names: Sequence[RelationshipName]) -> list[bool]:
        """Unlink many in one durable write, in order; False where there was nothing."""
        ...

    def neighbours(
        self,
        node_id: str,
        *,
        types: Sequence[str] | None = None,
        direction: Direction = "out",
        depth: int = 1,
        limit: int = 1000,
    ) -> list[Neighbour]:
        """Return the nodes within `depth` steps, nearest first, each once, the start not among them.

        Raises:
            NotFoundError: There is no such node.
            InvalidInputError: `depth` or `limit` is not positive.
        """
        ...

    def path(
        self,
        source: str,
        target: str,
        *,
        max_depth: int = 6,
        types: Sequence[str] | None = None,
        direction: Direction = "out",
    ) -> list[Edge] | None:
        """Return a shortest path (fewest steps), in order of the walk; None when none is short enough.

        From a node to itself: the empty path.

        Raises:
            NotFoundError: An end does not exist.
            InvalidInputError: `max_depth` is not positive.
        """
        ...
