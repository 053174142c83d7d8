from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from t4dm_daemon.spiking.recurrence import Averages, wkv_chunked, wkv_naive  # noqa: E402

torch.set_num_threads(1)

LEFT = torch.arange(13)[None] >= torch.tensor([[0], [5]])
HOLES = (torch.arange(13)[None] + torch.tensor([[0], [1]])) % 3 != 1


def random_case():
    draw = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    w, u, k, v = -normal(4).exp(), normal(4), 2 * normal(2, 13, 4), normal(2, 13, 4)
    return w, u, k, v, normal(2, 4), normal(2, 4).exp(), normal(2, 4)


@pytest.mark.parametrize("mask", [None, LEFT, HOLES])
@pytest.mark.parametrize("chunk", [1, 4, 13, 50])
@pytest.mark.parametrize("fresh", [False, True])
def test_chunks_equal_the_loop_in_output_state_and_gradients(mask, chunk: int, fresh: bool):
    results = []
    for form in (wkv_naive, lambda *given: wkv_chunked(*given, chunk=chunk)):
        inputs = [x.clone().requires_grad_() for x in random_case()]
        start = Averages.empty(2, 4, inputs[0]) if fresh else Averages(*inputs[4:])
        output, state = form(*inputs[:4], start, mask)
        total = output.sin().sum() + (state.numerator / state.denominator).sin().sum()
        gradients = torch.autograd.grad(total, inputs[: 4 if fresh else None])
        results.append((output, *state, *gradients))

    for naive, chunked in zip(*results, strict=True):
        torch.testing.assert_close(chunked, naive)


def test_the_loop_equals_the_sum_in_the_equation():
    w, u, k, v, *_ = random_case()
    expected = torch.zeros_like(v)
    for t in range(13):
        weights = [torch.exp((t - 1 - i) * w + k[:, i]) for i in range(t)] + [torch.exp(u + k[:, t])]
        expected[:, t] = sum(a * v[:, i] for i, a in enumerate(weights)) / sum(weights)

    output, _ = wkv_naive(w, u, k, v, Averages.empty(2, 4, v))

    torch.testing.assert_close(output, expected)


def test_a_token_at_a_time_equals_the_whole():
    w, u, k, v, *_ = random_case()
    state = Averages.empty(2, 4, v)
    whole, last = wkv_chunked(w, u, k, v, state, chunk=5)

    pieces = []
    for t in range(13):
        piece, state = wkv_chunked(w, u, k[:, t : t + 1], v[:, t : t + 1], state, chunk=5)
        pieces.append(piece)

    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    torch.testing.assert_close(state.numerator / state.denominator, last.numerator / last.denominator)


@pytest.mark.parametrize("size", [400.0, -400.0, 1e6])
def test_huge_keys_stay_finite(size: float):
    w, u, k, v, *_ = (x.float() for x in random_case())
    k = (k * size).requires_grad_()

    output, state = wkv_chunked(w, u, k, v, Averages.empty(2, 4, v), chunk=5)
    output.sum().backward()

    assert torch.isfinite(output).all()
    assert all(torch.isfinite(part).all() for part in state)
    assert k.grad is not None
    assert torch.isfinite(k.grad).all()


def test_a_long_text_forgets_its_beginning_at_the_stated_rate():
    w, u = torch.tensor([-0.1], dtype=torch.float64), torch.tensor([-1e3], dtype=torch.float64)
    k, v = torch.zeros(1, 30, 1, dtype=torch.float64), torch.zeros(1, 30, 1, dtype=torch.float64)
    v[:, 0] = 1.0

    _, state = wkv_naive(w, u, k, v, Averages.empty(1, 1, v))

    assert (state.numerator * state.maximum.exp()).item() == pytest.approx(math.exp(-0.1 * 29))
