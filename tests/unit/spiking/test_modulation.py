from __future__ import annotations

import math
import threading

import pytest

torch = pytest.importorskip("torch")

from t4dm_daemon.spiking import Modulation, NeuromodulatorBus, Oscillations  # noqa: E402

torch.set_num_threads(1)


def test_neutral_levels_leave_every_gain_at_one():
    neutral = Modulation()

    gains = (neutral.plasticity_gain, neutral.input_gain, neutral.gate_gain, neutral.decay_gain)

    assert gains == (1.0, 1.0, 1.0, 1.0)
    assert neutral.oscillations.bias(torch.ones(1, 3)) is None


def test_more_serotonin_remembers_longer():
    assert Modulation(serotonin=1.0).decay_gain < Modulation(serotonin=0.0).decay_gain


def test_signals_add_up_within_bounds_and_fade_with_time():
    bus = NeuromodulatorBus(recovery_ms=1000.0)

    raised = bus.release(dopamine=0.3, serotonin=-0.1)
    assert (raised.dopamine, raised.serotonin) == (pytest.approx(0.8), pytest.approx(0.4))
    assert bus.release(dopamine=5.0).dopamine == 1.0

    later = bus.advance(1000.0)
    assert later.dopamine == pytest.approx(0.5 + 0.5 / math.e)
    assert bus.modulation() == later


def test_waves_have_their_frequencies():
    seconds = torch.arange(0, 101, dtype=torch.float64)  # tokens of 10 ms: one second

    theta = Oscillations(theta=1.0).bias(seconds)

    assert theta is not None
    assert int(((theta[1:] < 0) & (theta[:-1] >= 0)).sum()) == 6
    both = Oscillations(theta=1.0, delta=0.5).bias(seconds)
    assert both is not None
    torch.testing.assert_close(both - theta, 0.5 * torch.cos(2 * math.pi * 2.0 * seconds / 100))


@pytest.mark.parametrize("bad", [{"adrenaline": 0.1}, {"dopamine": math.nan}, {"dopamine": math.inf}])
def test_signals_that_cannot_be_are_refused_and_change_nothing(bad: dict[str, float]):
    bus = NeuromodulatorBus()

    with pytest.raises(ValueError, match=r"there is no|not a finite number"):
        bus.release(**bad)

    assert bus.modulation() == Modulation()


def test_levels_out_of_range_and_time_backwards_are_refused():
    with pytest.raises(ValueError, match="not between 0 and 1"):
        Modulation(dopamine=1.5)
    with pytest.raises(ValueError, match="not between 0 and 1"):
        Modulation(dopamine=math.nan)
    with pytest.raises(ValueError, match="backwards"):
        NeuromodulatorBus().advance(-1.0)


def test_no_signal_of_several_threads_is_lost():
    bus = NeuromodulatorBus()
    threads = [threading.Thread(target=lambda: [bus.release(dopamine=0.0001) for _ in range(500)]) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert bus.modulation().dopamine == pytest.approx(0.5 + 4 * 500 * 0.0001)
