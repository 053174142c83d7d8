from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from t4dm_daemon.spiking.lif import LIF, lif_naive, lif_scan  # noqa: E402
from t4dm_daemon.spiking.surrogate import atan_derivative, spike  # noqa: E402

torch.set_num_threads(1)


def random_case(seed: int, *, padded: bool = False):
    draw = torch.Generator().manual_seed(seed)
    current = torch.randn(3, 11, 5, generator=draw, dtype=torch.float64) + 0.3
    v = torch.randn(3, 5, generator=draw, dtype=torch.float64)
    alpha = torch.rand(5, generator=draw, dtype=torch.float64)
    threshold = torch.rand(5, generator=draw, dtype=torch.float64) + 0.5
    mask = torch.rand(3, 11, generator=draw) > 0.3 if padded else None
    return current, v, alpha, threshold, mask


def test_the_reference_series_fires_where_the_equations_say():
    current = torch.tensor([0.5, 0.6, 0.7, 0.0, 1.5, 2.5], dtype=torch.float64)
    alpha, threshold = torch.tensor([0.9], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)
    v, spikes, membranes = torch.zeros(1, 1, dtype=torch.float64), [], []

    for value in current:
        fired, v = lif_scan(value.view(1, 1, 1), v, alpha, threshold)
        spikes.append(fired.item())
        membranes.append(v.item())

    assert spikes == [0, 1, 0, 0, 1, 1]
    assert membranes == pytest.approx([0.5, 0.05, 0.745, 0.6705, 1.10345, 2.493105])


def of_snntorch(current):
    snntorch = pytest.importorskip("snntorch")
    neurons = snntorch.Leaky(beta=0.9, threshold=1.0, reset_mechanism="subtract", reset_delay=False)
    membrane, spikes, membranes = torch.zeros_like(current[:, 0]), [], []
    for t in range(current.shape[1]):
        fired, membrane = neurons(current[:, t], membrane)
        spikes.append(fired)
        membranes.append(membrane)
    return torch.stack(spikes, 1), torch.stack(membranes, 1)


@pytest.mark.parametrize("seed", range(5))
def test_spikes_and_membranes_are_those_of_snntorch(seed: int):
    draw = torch.Generator().manual_seed(seed)
    # .9 θ + 1.1 = 2 θ: what a reset leaves stays below the threshold; the next test is about what happens above.
    current = (torch.randn(4, 50, 8, generator=draw) * 0.8 + 0.2).clamp(max=1.1)
    expected, membranes = of_snntorch(current)

    spikes, v = lif_scan(current, torch.zeros(4, 8), torch.full((8,), 0.9), torch.ones(8))

    assert torch.equal(spikes, expected)
    assert 0.1 < spikes.mean() < 0.9
    torch.testing.assert_close(v, membranes[:, -1], rtol=0, atol=1e-6)  # a fused multiply-add rounds once less


def test_snntorch_differs_only_after_a_reset_left_more_than_the_threshold():
    """It then subtracts the next step's reset before it looks for a spike, so that spike comes late; the equations do not."""
    current = torch.randn(16, 60, 8, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.3
    expected, membranes = of_snntorch(current)
    overfull = torch.nn.functional.pad(membranes > 1.0, (0, 0, 1, -1)).cummax(1).values

    spikes, _ = lif_scan(current, torch.zeros(16, 8), torch.full((8,), 0.9), torch.ones(8))

    assert torch.equal(spikes[~overfull], expected[~overfull])
    assert (spikes[overfull] != expected[overfull]).any()


def test_the_surrogate_gradient_is_the_derivative_of_the_stated_arctangent():
    distance = torch.linspace(-4, 4, 81, dtype=torch.float64, requires_grad=True)
    smooth = torch.atan(math.pi / 2 * 2.0 * distance) / math.pi + 0.5
    (expected,) = torch.autograd.grad(smooth.sum(), distance)

    (got,) = torch.autograd.grad(spike(distance, 2.0).sum(), distance)

    torch.testing.assert_close(got, expected)
    assert atan_derivative(torch.zeros(1), 2.0).item() == 1.0


@pytest.mark.parametrize("padded", [False, True])
def test_the_scan_equals_the_loop_in_spikes_state_and_gradients(padded: bool):
    current, v, alpha, threshold, mask = random_case(1, padded=padded)
    weights = torch.randn_like(current)
    results = []
    for form in (lif_naive, lif_scan):
        inputs = [x.clone().requires_grad_() for x in (current, v, alpha, threshold)]
        spikes, last = form(*inputs, mask)
        gradients = torch.autograd.grad((spikes * weights).sum() + last.square().sum(), inputs)
        results.append((spikes.detach(), last.detach(), *gradients))

    for naive, scan in zip(*results, strict=True):
        torch.testing.assert_close(scan, naive)
        assert scan.abs().sum() > 0


def test_a_text_read_in_pieces_fires_as_when_read_at_once():
    current, v, alpha, threshold, _ = random_case(2)

    whole, last = lif_scan(current, v, alpha, threshold)
    first, middle = lif_scan(current[:, :4], v, alpha, threshold)
    second, end = lif_scan(current[:, 4:], middle, alpha, threshold)

    assert torch.equal(whole, torch.cat([first, second], 1))
    assert torch.equal(last, end)


def test_leak_and_threshold_begin_where_they_were_asked_to_and_are_learned():
    layer = LIF(3, alpha=0.8, v_threshold=1.5).double()
    current = torch.full((1, 1, 3), 1.0, dtype=torch.float64)

    _, v = layer(current, torch.ones(1, 3, dtype=torch.float64))
    spikes, _ = layer(current * 1.6, torch.zeros(1, 3, dtype=torch.float64))
    (spikes.sum() + layer(current, torch.ones(1, 3, dtype=torch.float64))[1].sum()).backward()

    torch.testing.assert_close(v, torch.full((1, 3), 0.3, dtype=torch.float64), atol=1e-6, rtol=0)  # 1.8 fires
    assert spikes.tolist() == [[[1, 1, 1]]]
    assert layer.leak.grad is not None
    assert layer.threshold.grad is not None
