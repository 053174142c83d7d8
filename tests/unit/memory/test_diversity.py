"""Maximal marginal relevance, chosen one by one as it is defined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from t4dm_daemon.core.item import Item
from t4dm_daemon.memory.diversity import diverse


@dataclass(frozen=True)
class Scored:
    item: Item
    score: float


directions = st.lists(st.integers(-3, 3), min_size=2, max_size=2).filter(any)


@given(st.lists(st.tuples(st.floats(0, 1), directions), min_size=1, max_size=7), st.floats(0, 1))
def test_each_choice_is_the_one_that_is_worth_most(given_hits: list[tuple[float, list[int]]], balance: float) -> None:
    hits = [
        Scored(Item(id=f"{n}", vector=np.array(vector, np.float32)), score)
        for n, (score, vector) in enumerate(given_hits)
    ]

    chosen = diverse(hits, len(hits), balance)

    def cosine(left: Scored, right: Scored) -> float:
        one, other = (np.asarray(hit.item.vector, np.float64) for hit in (left, right))
        return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))

    for at, choice in enumerate(chosen):
        before = chosen[:at]
        worth = {
            hit.item.id: balance * hit.score
            - (1 - balance) * (max(cosine(hit, other) for other in before) if before else 0)
            for hit in chosen[at:]
        }
        assert worth[choice.item.id] >= max(worth.values()) - 1e-5
    assert sorted(hit.item.id for hit in chosen) == sorted(hit.item.id for hit in hits)


def test_what_points_away_differs_more_than_what_stands_at_a_right_angle() -> None:
    first, away, across = (
        Scored(Item(id=name, vector=np.array(vector, np.float32)), 0.5)
        for name, vector in (("first", [1, 0]), ("away", [-1, 0]), ("across", [0, 1]))
    )

    assert [hit.item.id for hit in diverse([first, across, away], 2, 0.5)] == ["first", "away"]
