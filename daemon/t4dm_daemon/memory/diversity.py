"""Hits that say the same: shown once, or put behind others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.item import Item

NEAR_DUPLICATE: Final = 0.95
"""Cosine from which two memories say the same."""
_NUMBER: Final = re.compile(r"\d+")


class Ranked(Protocol):
    """A hit."""

    @property
    def item(self) -> Item: ...
    @property
    def score(self) -> float: ...


R = TypeVar("R", bound=Ranked)
Vector = npt.NDArray[np.float32]


def unit(vector: Vector) -> Vector:
    wide = vector.astype(np.float64)
    scaled: Vector = (wide / np.sqrt(wide.dot(wide))).astype(np.float32)
    return scaled


def says_the_same(one: Item, other: Item, cosine: float) -> bool:
    """Return whether two memories are near-duplicates.

    "The rent is 640" and "the rent is 790" lie closer to each other than that: memories that hold different numbers
    are different facts.
    """
    return cosine >= NEAR_DUPLICATE and _NUMBER.findall(one.content) == _NUMBER.findall(other.content)


def without_duplicates(hits: Sequence[R], wanted: int) -> list[R]:
    """Return the first `wanted` hits of which none says the same as one before it."""
    kept: list[R] = []
    seen: list[R] = []
    vectors: Vector | None = None
    for hit in hits:
        if len(kept) == wanted:
            break
        if hit.item.vector is not None:
            vector = unit(hit.item.vector)
            if vectors is None:
                vectors = np.empty((min(wanted, len(hits)), len(vector)), np.float32)
            near = vectors[: len(seen)] @ vector
            (close,) = np.nonzero(near >= NEAR_DUPLICATE)
            if any(says_the_same(hit.item, seen[at].item, float(near[at])) for at in close.tolist()):
                continue
            vectors[len(seen)] = vector
            seen.append(hit)
        kept.append(hit)
    return kept


def diverse(hits: Sequence[R], wanted: int, balance: float) -> list[R]:
    """Return hits in the order of maximal marginal relevance (Carbonell & Goldstein 1998).

    Args:
        hits: Best first.
        wanted: How many.
        balance: λ: 1 keeps the order, 0 looks at differences alone.
    """
    left = list(hits)
    vectors = {id(hit): unit(hit.item.vector) for hit in left if hit.item.vector is not None}
    nearest: dict[int, float] = {}
    """Of each that is left, the greatest cosine with one that was chosen; one that points away is worth more than one
    at a right angle."""
    chosen: list[R] = []
    while left and len(chosen) < wanted:
        best = max(left, key=lambda hit: balance * hit.score - (1.0 - balance) * nearest.get(id(hit), 0.0))
        left.remove(best)
        chosen.append(best)
        if id(best) in vectors:
            for hit in left:
                if id(hit) in vectors:
                    cosine = float(vectors[id(best)] @ vectors[id(hit)])
                    nearest[id(hit)] = max(nearest.get(id(hit), -1.0), cosine)
    return chosen
