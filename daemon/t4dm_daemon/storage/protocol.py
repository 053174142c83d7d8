"""What the memory service needs from a store. T4DX implements it; another backend may.

A backend holds one space. Reads never block writes. A write has happened, durably, when its call returns.
All methods are synchronous and may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.clock import OPEN, UNBOUNDED
from t4dm_daemon.core.filter import Filter
from t4dm_daemon.core.item import Edge, Item

Status = Literal["created", "updated", "duplicate"]
Order = Literal["insertion", "created_at", "event_time"]
Direction = Literal["out", "in", "both"]


@dataclass(frozen=True, slots=True)
class View:
    """Which versions a read sees, on both time axes (microseconds).

    Attributes:
        as_of: Valid time: only versions with `valid_from <= as_of < valid_to`. None: no restriction.
        known_at: Transaction time: the versions that were recorded then. None: the present.
        include_expired: Also show items whose `expires_at` has passed.
    """

    as_of: int | None = None
    known_at: int | None = None
    include_expired: bool = False


PRESENT = View()


@dataclass(frozen=True, slots=True)
class Write:
    """One item to insert, and what must hold for it.

    Attributes:
        item: The new version.
        expected_version: None: whatever is there is replaced. 0: the id must be absent (or deleted).
            n: the current version must be n.
        dedup: When another current item has the same `content_hash`, has not expired, and is true at some
            moment at which this one is, write nothing for this one and report that item as `duplicate`.
        only_duplicate: With `dedup`: refuse (ConflictError) unless it is a duplicate. For an item whose text
            was known a moment ago, so that nobody computed its vector.
        unchanged: With `expected_version`: write nothing, and report the item as `duplicate`. For an item that is
            there already, equal in all that is given.
        carry: Learning state (`core.item.MUTABLE_FIELDS`) that the new version of a current item takes from
            the old one as it is at that moment, not from `item`: what was changed in place in between stays.
    """

    item: Item
    expected_version: int | None = None
    dedup: bool = False
    only_duplicate: bool = False
    unchanged: bool = False
    carry: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one write."""

    id: str
    status: Status
    version: int


@dataclass(frozen=True, slots=True)
class InsertResult:
    """What became of a batch.

    Attributes:
        outcomes: One per write, in order.
        recorded_at: Its transaction time.
        replayed: True when the idempotency token had been used: nothing was written now, and the outcomes
            are those of the first time.
    """

    outcomes: tuple[Outcome, ...]
    recorded_at: int
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """An idempotency key, and a digest of the request it came with. The store remembers it for 24 hours."""

    key: bytes
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class FieldUpdate:
    """Change learning state of the current version in place (fields: `core.item.MUTABLE_FIELDS`).

    Attributes:
        set: New absolute values.
        add: Increments, for `access_count`, `importance` and `kappa` (the last two stay within [0, 1]).
        expected_version: Change it only while it is still this one.
    """

    id: str
    set: Mapping[str, float | int | bool] = field(default_factory=dict)
    add: Mapping[str, float | int] = field(default_factory=dict)
    expected_version: int | None = None


@dataclass(frozen=True, slots=True)
class Deletion:
    """Delete the current version of an id; with `expected_version`, only while it is still that one."""

    id: str
    expected_version: int | None = None


@dataclass(frozen=True, slots=True)
class EdgeChange:
    """Change the weight of a current link in place: `set` it, then `add`; it stays within [0, 1]."""

    source: str
    target: str
    type: str
    add: float = 0.0
    set: float | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """An item that a traversal came to, after how many hops, and the link by which it first did."""

    id: str
    depth: int
    edge: Edge


@dataclass(frozen=True, slots=True)
class Scored:
    """A search hit: the item and its cosine similarity to the query, in [-1, 1]."""

    item: Item
    similarity: float


@dataclass(frozen=True, slots=True)
class Nearby:
    """What is near one vector.

    Attributes:
        best: Cosine to the nearest item, -1 where there is none.
        alike: Ids and cosines of those that are near enough, nearest first, ties by id.
    """

    best: float
    alike: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What every signal says of one item in answer to a question.

    Attributes:
        item: The item.
        similarity: Cosine to the question's vector, in [-1, 1]; None where either has none.
        lexical: BM25 of its text, >= 0.
        window: BM25 of its text together with the ones before and after it in its session, >= 0.
        coverage: Share of the question's words, by their idf, that this window holds; in [0, 1].
    """

    item: Item
    similarity: float | None
    lexical: float
    window: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Scales:
    """The best of each signal among everything proposed: what the others are measured by; 0 where there is none."""

    similarity: float = 0.0
    lexical: float = 0.0
    window: float = 0.0


class Probe(Protocol):
    """One question to a space, as of one moment however often it is asked."""

    @property
    def scales(self) -> Scales:
        """The best of each signal among what `candidates` weighed."""
        ...

    def candidates(self, *, keep: int, weights: tuple[float, float, float]) -> list[Candidate]:
        """Return the best of what any of the signals proposes, each with what all of them say of it.

        Args:
            keep: How many, at most.
            weights: Of similarity, lexical and window, each as a share of its best, for choosing these.
        """
        ...

    def among(self, ids: Iterable[str]) -> list[Candidate]:
        """Return the same of given items, of those that are seen and pass the filter."""
        ...

    def links(self, item_id: str) -> list[Edge]:
        """Return the links at an item whose other ends are seen and pass the filter, as of the same moment."""
        ...


@dataclass(frozen=True, slots=True)
class Group:
    """Items that agree in some labels.

    Attributes:
        labels: What they agree in, in the order asked for; None where it is not set, lists as tuples.
        count: How many they are.
        bounds: Of each number asked for, the least and the greatest that one of them has.
    """

    labels: tuple[Any, ...]
    count: int
    bounds: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a scan.

    Attributes:
        items: In the order asked for.
        total: How many items match altogether.
        after: Where the next page begins: `(sort value, seq)` of the last item, None at the end.
    """

    items: list[Item]
    total: int
    after: tuple[int, int] | None


class StorageBackend(Protocol):
    """The operations on one space."""

    @property
    def dimension(self) -> int | None:
        """Dimension of the vectors, None until the first vector fixes it."""
        ...

    def insert(
        self,
        writes: Sequence[Write],
        edges: Sequence[Edge] = (),
        *,
        optional_edges: Sequence[Edge] = (),
        token: Token | None = None,
    ) -> InsertResult:
        """Store items and edges, all or nothing; replacing an id makes a new version of it.

        Args:
            writes: The items.
            edges: Links whose ends exist or are among the items; one that exists takes the new weight.
            optional_edges: Links that are left out where an end is missing, or where they exist.
            token: Makes a repetition answer as the first time.

        Raises:
            ConflictError: An `expected_version` does not hold; `details` has `id`, `expected`, `found`.
            IdempotencyMismatchError: The token was used with another fingerprint.
            DimensionMismatchError, InvalidInputError: Before anything is written.
            WalError: It could not be made durable; nothing was stored.
        """
        ...

    def answered(self, token: Token) -> InsertResult | None:
        """Return what the insert with this token was answered, None when there was none in the last 24 hours.

        Raises:
            IdempotencyMismatchError: The token was used with another fingerprint.
        """
        ...

    def get(self, ids: Sequence[str], *, view: View = PRESENT, with_vectors: bool = False) -> list[Item | None]:
        """Return the visible version of each id, None where there is none; `vector` only if asked for."""
        ...

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
        """Return the k most similar visible items that pass the filter, best first, ties by id.

        Always min(k, matches) hits. `exact=True` never uses a graph index.
        """
        ...

    def probe(
        self,
        *,
        vector: npt.NDArray[np.float32] | None,
        text: str | None,
        k: int,
        where: Filter | None = None,
        view: View = PRESENT,
        with_vectors: bool = False,
    ) -> Probe:
        """Put a question to all signals at once; each proposes `k` candidates."""
        ...

    def near(
        self,
        vectors: npt.NDArray[np.float32],
        *,
        least: float,
        limit: int,
        where: Filter | None = None,
        view: View = PRESENT,
    ) -> list[Nearby]:
        """Return for each vector, (N, D), how near the nearest item is and which are at least `least` near.

        At most `limit` for each. All vectors are compared in one pass; a graph may miss one.
        """
        ...

    def values_with(
        self, fields: Sequence[str], words: Sequence[str], *, where: Filter | None = None, view: View = PRESENT
    ) -> set[str]:
        """Return the values of the fields (label columns, metadata paths) that hold one of the words, case folded.

        Words are runs of letters. Only values of items that are visible and pass the filter.
        """
        ...

    def count_values(
        self, fields: Sequence[str], *, where: Filter | None = None, view: View = PRESENT
    ) -> list[list[tuple[Any, int]]]:
        """Return for each field (a label column or a metadata path) its distinct values and how many items have each.

        Lists (`namespace`, `categories`) count as one value each; what is missing is not counted.
        """
        ...

    def groups(
        self,
        labels: Sequence[str],
        *,
        bounds: Sequence[str] = (),
        where: Filter | None = None,
        view: View = PRESENT,
    ) -> list[Group]:
        """Return the items that pass, grouped by label columns, with the bounds of number columns; in no order."""
        ...

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
        """Return visible items that pass the filter, ordered, a page at a time."""
        ...

    def find_hash(self, content_hash: int, *, valid_from: int = UNBOUNDED, valid_to: int = OPEN) -> str | None:
        """Return the id of a current item with this content hash that is true within the interval, None if none is."""
        ...

    def history(self, item_id: str, *, with_vectors: bool = False) -> list[Item]:
        """Return every version of an id, oldest first; empty when it was never stored.

        The last one is deleted when its `recorded_until` is not OPEN; a version whose successor was
        recorded later than it ended was deleted in between.
        """
        ...

    def edges(self, item_id: str, *, direction: Direction = "both", view: View = PRESENT) -> list[Edge]:
        """Return the links at an item that are visible in the view, by ends and type."""
        ...

    def update_fields(self, updates: Sequence[FieldUpdate]) -> list[bool]:
        """Change learning state in place, durably; False where the id is not current (or has another version)."""
        ...

    def delete(self, deletions: Sequence[Deletion]) -> list[bool]:
        """Close the current versions; False where there was none (or another version than expected)."""
        ...

    def update_edges(self, changes: Sequence[EdgeChange]) -> list[float | None]:
        """Change weights in place, durably; return the new ones, None where there is no such link."""
        ...

    def remove_edges(self, names: Sequence[tuple[str, str, str]]) -> list[bool]:
        """End links named (source, target, type), durably; False where there was none."""
        ...

    def scale_edges(
        self,
        *,
        multiply: float = 1.0,
        add: float = 0.0,
        low: float = 0.0,
        high: float = 1.0,
        types: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
    ) -> int:
        """Set the weight w of every current link chosen to clip(w * multiply + add, low, high); return how many."""
        ...

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
        """Return the visible items within `depth` hops, nearest first, then by weight (falling) and id.

        The start is not among them. A link counts when it and both its ends are visible in the view.
        """
        ...

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
        """Return a shortest path as its links in order, empty when both are one item, None when there is none."""
        ...

    def purge(self, ids: Sequence[str] = (), *, before: int | None = None) -> int:
        """Forget ended versions for good: those of `ids`, and all that ended at or before `before`.

        They are gone from every answer at once, `known_at` included, and from the files when their segments are
        merged (`compact`). Reading with an earlier `known_at` than `before` is refused from then on.
        """
        ...

    def snapshot(self) -> int:
        """Return the transaction time of the present: reading with `known_at` = it repeats this moment."""
        ...

    def flush(self) -> None:
        """Write memory to segments and release the log behind them; returns when it is durable."""
        ...

    def stats(self) -> Mapping[str, Any]:
        """Return counts: items, versions, segments, wal_bytes, disk_bytes, memory_bytes, by kind and κ band."""
        ...

    def close(self) -> None:
        """Flush and release everything; safe to call twice."""
        ...
