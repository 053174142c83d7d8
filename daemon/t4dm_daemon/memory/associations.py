"""What a new memory has to do with those that are there: links that are written with it, and how new it is.

    TEMPORAL_BEFORE   from the memory of its session and owner that was stored before it
    SIMILAR_TO        to what says nearly the same (`diversity.says_the_same`), of the same owner and namespace
    novelty           1 - cosine to the nearest of these; τ(t) makes its importance of it (`core.temporal_gate`)

Likeness is looked for only where T4DM gives the id: a caller that names its memories says itself what is the same.
Links are optional: one whose other end is deleted meanwhile is left out, and the memory is stored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Container, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.filter import Filter, Leaf, Not, all_of
from t4dm_daemon.core.item import Edge, Item
from t4dm_daemon.core.temporal_gate import temporal_gate
from t4dm_daemon.memory.diversity import NEAR_DUPLICATE, says_the_same, unit
from t4dm_daemon.storage.protocol import Outcome, StorageBackend

MAX_ALIKE: Final = 3
_MAX_TAILS: Final = 10_000
_BLOCK: Final = 512
"""Rows of a batch compared with the others at once: bounds the memory it takes."""
_OWNER: Final = ("user_id", "agent_id", "app_id")
_TURNS: Final = 64
"""Locks that all sessions share: two that meet in one only wait for each other."""
Session = tuple[object, ...]
"""A session's name and whose it is: of two owners that use one name, each has a chain of their own."""


class SessionTails:
    """The last memory of each session, found once and then kept. Thread-safe; `_lock` guards `_tails`.

    Who reads the last memory and writes the one after it holds the session's turn meanwhile (`turns`): otherwise two
    would follow one memory, and the chain fork.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tails: OrderedDict[tuple[str, Session], str] = OrderedDict()
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    @contextlib.contextmanager
    def turns(self, space: str, items: Sequence[Item]) -> Iterator[None]:
        """Let nobody else write to the sessions of these items."""
        sessions = {_session_of(item) for item in items if item.session_id is not None}
        with contextlib.ExitStack() as held:
            for number in sorted({hash((space, session)) % _TURNS for session in sessions}):
                held.enter_context(self._turns[number])
            yield

    def last(self, space: str, item: Item, backend: StorageBackend) -> str | None:
        """Return the id of the memory that was stored last in an item's session, None for its first."""
        session = _session_of(item)
        with self._lock:
            known = self._tails.get((space, session))
        if known is not None and backend.get([known])[0] is not None:
            return known
        where = all_of(Leaf("session_id", "eq", item.session_id), _same_owner(item))
        page = backend.scan(where=where, descending=True, limit=1)
        return page.items[0].id if page.items else None

    def move(self, space: str, item: Item, memory_id: str) -> None:
        key = space, _session_of(item)
        with self._lock:
            self._tails[key] = memory_id
            self._tails.move_to_end(key)
            while len(self._tails) > _MAX_TAILS:
                self._tails.popitem(last=False)


class Associations:
    """Find what new memories are linked with. Thread-safe."""

    def __init__(self) -> None:
        self._tails = SessionTails()

    def turns(self, space: str, items: Sequence[Item]) -> AbstractContextManager[None]:
        """Let nobody else write to the sessions of these items: from `sequence` until `stored`."""
        return self._tails.turns(space, items)

    def sequence(
        self,
        space: str,
        items: Sequence[Item],
        is_new: Sequence[bool],
        backend: StorageBackend,
        *,
        named: Container[str] = (),
    ) -> list[Edge]:
        """Return the links that tie new memories to those before them in their sessions.

        `named` are the ids that are stored even if their text is known.
        """
        links = []
        tails: dict[Session, str | None] = {}
        told: set[int] = set()
        for item, new in zip(items, is_new, strict=True):
            if item.session_id is None or not new:
                continue
            if item.id not in named and item.content_hash:
                if item.content_hash in told:  # a duplicate of one before it: it will not be there
                    continue
                told.add(item.content_hash)
            session = _session_of(item)
            before = tails[session] if session in tails else self._tails.last(space, item, backend)
            if before is not None and before != item.id:
                links.append(Edge(before, item.id, "TEMPORAL_BEFORE"))
            tails[session] = item.id
        return links

    def stored(self, space: str, items: Sequence[Item], outcomes: Sequence[Outcome]) -> None:
        """Note what has become the last memory of its session."""
        for item, outcome in zip(items, outcomes, strict=True):
            if item.session_id is not None and outcome.status == "created":
                self._tails.move(space, item, outcome.id)

    def likeness(
        self, items: Sequence[Item], chosen: Sequence[int], backend: StorageBackend
    ) -> tuple[list[Edge], dict[int, float]]:
        """Return links to near-duplicates, and the novelty of each chosen item.

        Args:
            items: A batch; those before an item count, too.
            chosen: Positions of what is looked at. All have vectors.
            backend: Where they will be.
        """
        links: list[Edge] = []
        novelty: dict[int, float] = {}
        groups: dict[tuple[object, ...], list[int]] = {}
        for at in chosen:
            item = items[at]
            groups.setdefault(_owner_of(item), []).append(at)
        for members in groups.values():
            vectors = np.stack([unit(_vector(items[at])) for at in members])
            there = backend.near(vectors, least=NEAR_DUPLICATE, limit=MAX_ALIKE, where=_same_owner(items[members[0]]))
            alike_before, best_before = _within(vectors)
            for place, (at, nearby) in enumerate(zip(members, there, strict=True)):
                best = max(nearby.best, best_before[place], 0.0)
                novelty[at] = 1.0 - min(1.0, best)
                found = {item.id: item for item in backend.get([one for one, _ in nearby.alike]) if item is not None}
                before = [(items[members[other]], cosine) for other, cosine in alike_before.get(place, ())]
                candidates = [(found[one], cosine) for one, cosine in nearby.alike if one in found] + before
                same = [(one, cosine) for one, cosine in candidates if says_the_same(items[at], one, cosine)]
                same.sort(key=lambda one: (-one[1], one[0].id))
                links += [
                    Edge(items[at].id, one.id, "SIMILAR_TO", min(1.0, cosine))
                    for one, cosine in same[:MAX_ALIKE]
                    if one.id != items[at].id
                ]
        return links, novelty


def _within(
    vectors: npt.NDArray[np.float32],
) -> tuple[dict[int, list[tuple[int, float]]], list[float]]:
    """Return per row of a batch the rows before it that are near enough, and the cosine of the nearest of these."""
    alike: dict[int, list[tuple[int, float]]] = {}
    best: list[float] = []
    for first in range(0, len(vectors), _BLOCK):
        block = vectors[first : first + _BLOCK]
        cosines = block @ vectors[: first + len(block)].T
        cosines[np.arange(first, first + len(block))[:, None] <= np.arange(first + len(block))] = -1.0
        best += cosines.max(axis=1).tolist()
        for row, other in zip(*(one.tolist() for one in np.nonzero(cosines >= NEAR_DUPLICATE)), strict=True):
            alike.setdefault(first + row, []).append((other, float(cosines[row, other])))
    return alike, best


def gated(item: Item, novelty: float) -> Item:
    """Return the item with the importance that τ(t) gives it."""
    return dataclasses.replace(item, importance=round(temporal_gate(novelty=novelty), 4))


def _vector(item: Item) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    assert item.vector is not None
    return item.vector


def _owner_of(item: Item) -> tuple[object, ...]:
    """Return what two items have in common when `_same_owner` of one passes the other."""
    return (*(getattr(item, column) for column in _OWNER), item.namespace)


def _session_of(item: Item) -> Session:
    return (item.session_id, *_owner_of(item))


def _same_owner(item: Item) -> Filter | None:
    parts: list[Filter] = []
    for column in _OWNER:
        value = getattr(item, column)
        parts.append(Not(Leaf(column, "exists")) if value is None else Leaf(column, "eq", value))
    parts.append(Leaf("namespace", "eq", list(item.namespace)) if item.namespace else Leaf("namespace", "is_empty"))
    return all_of(*parts)
