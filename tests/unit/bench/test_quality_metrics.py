from __future__ import annotations

import math

import numpy as np
import pytest

from tests.bench.quality import logistic
from tests.bench.quality.methods import minmax, rrf
from tests.bench.quality.metrics import (
    auc,
    interval,
    ndcg,
    recall,
    reciprocal_rank,
    share_kept,
    threshold_keeping,
)

FOUND = ["a", "b", "c", "d"]


def test_recall_is_the_share_of_the_evidence_among_the_first() -> None:
    assert recall(FOUND, {"b", "x"}, 1) == 0.0
    assert recall(FOUND, {"b", "x"}, 2) == 0.5


def test_reciprocal_rank_looks_at_the_first_hit_that_is_evidence() -> None:
    assert reciprocal_rank(FOUND, {"c", "d"}) == pytest.approx(1 / 3)
    assert reciprocal_rank(FOUND, {"x"}) == 0.0


def test_ndcg_is_one_for_the_best_order_and_discounts_by_place() -> None:
    assert ndcg(FOUND, {"a", "b"}, 10) == pytest.approx(1.0)
    assert ndcg(FOUND, {"b"}, 10) == pytest.approx(1 / math.log2(3))
    assert ndcg(FOUND, {"d"}, 3) == 0.0


def test_interval_holds_the_mean_and_repeats_with_its_seed() -> None:
    values = [0.0, 1.0] * 50

    low, high = interval(values, seed=7)

    assert low < 0.5 < high
    assert high - low == pytest.approx(2 * 1.96 * 0.05, abs=0.03)  # the normal approximation of 100 coins
    assert interval(values, seed=7) == (low, high)


def test_auc_counts_pairs_and_halves_ties() -> None:
    assert auc([0.9, 0.8], [0.1]) == 1.0
    assert auc([0.5], [0.5]) == 0.5
    assert auc([0.1, 0.9], [0.5]) == 0.5


def test_threshold_keeps_at_least_the_share_that_is_asked_for() -> None:
    scores = [step / 10 for step in range(10)]

    threshold = threshold_keeping(scores, 0.9)

    assert threshold == 0.1
    assert share_kept(scores, threshold) == 0.9


def test_logistic_regression_finds_the_parameters_that_made_the_data() -> None:
    rng = np.random.default_rng(7)
    features = rng.uniform(-2, 2, (20_000, 2))
    is_yes = rng.random(20_000) < logistic.probability(features, np.array([-1.0, 2.0, 0.5]))

    beta = logistic.fit(features, is_yes, np.ones(20_000))

    np.testing.assert_allclose(beta, [-1.0, 2.0, 0.5], atol=0.1)  # standard errors are about .03


def test_fusions_put_first_what_both_signals_like() -> None:
    dense, words = {"a": 0.9, "b": 0.8, "c": 0.1}, {"b": 7.0, "c": 1.0}

    assert rrf(dense, words)[0] == "b"
    assert minmax(dense, words)[0] == "b"
