from __future__ import annotations

import pytest

from t4dm_daemon.core.temporal_gate import temporal_gate


def test_what_is_half_new_half_opens_the_gate() -> None:
    assert temporal_gate(novelty=0.5) == pytest.approx(0.5)


def test_novelty_surprise_and_reward_open_it_further() -> None:
    usual = temporal_gate(novelty=0.3)

    assert temporal_gate(novelty=0.9) > usual
    assert temporal_gate(novelty=0.3, prediction_error=1.0) > usual
    assert temporal_gate(novelty=0.3, reward=1.0) > usual > temporal_gate(novelty=0.3, reward=-1.0)


def test_it_stays_inside_its_bounds() -> None:
    assert 0.0 < temporal_gate(novelty=-1e9) < 1e-9
    assert temporal_gate(novelty=1e9) <= 1.0
