from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from t4dm_daemon.spiking.attention import (  # noqa: E402
    FastWeights,
    SpikeAttention,
    features,
    recent_chunked,
    recent_naive,
)
from t4dm_daemon.spiking.stdp import stdp_window, trace_chunked, trace_naive, write_strength  # noqa: E402

torch.set_num_threads(1)


def left_padded(batch: int, length: int) -> torch.Tensor:
    return torch.arange(length)[None] >= torch.arange(batch)[:, None] * 3


def random_case(length: int = 13):
    draw = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    queries, keys = normal(2, 2, length, 8).exp(), normal(2, 2, length, 8).exp()
    strength = torch.rand(2, 2, length, generator=draw, dtype=torch.float64)
    return queries, keys, normal(2, 2, length, 4), strength, normal(2, 2, 8, 4), normal(2, 2, 8).exp()


@pytest.mark.parametrize("mask", [None, left_padded(2, 13), torch.arange(13)[None].repeat(2, 1) % 3 != 1])
@pytest.mark.parametrize("chunk", [1, 4, 13, 50])
def test_chunks_read_what_the_loop_reads_with_the_same_state_and_gradients(mask, chunk: int):
    results = []
    for form in (recent_naive, lambda *given: recent_chunked(*given, chunk=chunk)):
        inputs = [x.clone().requires_grad_() for x in random_case()]
        numerator, denominator, state = form(*inputs[:4], FastWeights(*inputs[4:]), mask)
        total = numerator.sin().sum() + denominator.log().sum() + state.values.sin().sum() + state.norm.log().sum()
        results.append((numerator, denominator, *state, *torch.autograd.grad(total, inputs)))

    for naive, chunked in zip(*results, strict=True):
        torch.testing.assert_close(chunked, naive)


def test_a_token_at_a_time_reads_what_the_whole_reads():
    queries, keys, values, strength, *state = random_case()
    weights = FastWeights(*state)
    whole = recent_chunked(queries, keys, values, strength, weights, chunk=5)

    pieces = []
    for t in range(queries.shape[2]):
        now = [x[:, :, t : t + 1] for x in (queries, keys, values, strength)]
        numerator, denominator, weights = recent_chunked(*now, weights, chunk=5)
        pieces.append((numerator, denominator))

    torch.testing.assert_close(torch.cat([piece[0] for piece in pieces], 2), whole[0])
    torch.testing.assert_close(torch.cat([piece[1] for piece in pieces], 2), whole[1])
    torch.testing.assert_close(weights.values, whole[2].values)


def test_reading_takes_a_cost_that_grows_with_the_tokens_not_their_square():
    """Counted, not timed: pairs of tokens are compared within chunks only."""
    from torch.utils.flop_counter import FlopCounterMode

    def flops(length: int) -> int:
        queries, keys, values, strength, *state = random_case(length)
        with FlopCounterMode(display=False) as counter:
            recent_chunked(queries, keys, values, strength, FastWeights(*state), chunk=16)
        return counter.get_total_flops()

    assert flops(512) == 4 * flops(128)


def test_the_weight_of_a_pair_is_the_stated_function_of_its_spike_times():
    rate = torch.tensor([0.5, 0.0, 1.0, 0.25], dtype=torch.float64).view(1, 4, 1)
    met, _ = trace_naive(rate, torch.zeros(1, 1, dtype=torch.float64))
    strength = write_strength(rate, met).transpose(1, 2)
    one = torch.ones(1, 1, 4, 1, dtype=torch.float64)
    values = torch.eye(4, dtype=torch.float64).view(1, 1, 4, 4)  # so that what the last token reads shows its weights
    state = FastWeights(torch.zeros(1, 1, 1, 4, dtype=torch.float64), torch.zeros(1, 1, 1, dtype=torch.float64))

    weights, _, _ = recent_naive(one, one, values, strength, state)

    depressed = 0.5 * math.exp(-20 / 34)  # the trace that token 2 meets: token 0, two tokens of 10 ms before
    expected = [0.5 * math.exp(-30 / 17), 0.0, 1.0 * math.exp(-0.273 / 0.777 * depressed) * math.exp(-10 / 17), 0.0]
    assert weights[0, 0, 3].tolist() == pytest.approx(expected)


def test_the_window_has_the_published_time_constants():
    delta = torch.tensor([5.0, 10.0, 17.0, 40.0], dtype=torch.float64)

    assert (stdp_window(delta) / 0.777).tolist() == pytest.approx([0.7452, 0.5553, 0.3679, 0.0951], abs=5e-5)
    assert (stdp_window(-2 * delta[:3]) / -0.273).tolist() == pytest.approx([0.7452, 0.5553, 0.3679], abs=5e-5)
    assert stdp_window(torch.zeros(1)).item() == 0.0
    # Within 10 % of the fits of Morrison et al. (2008), 16.8 and 33.7 ms, over the window in which pairs count.
    times = torch.linspace(1, 80, 80, dtype=torch.float64)
    assert (stdp_window(times) / (0.777 * torch.exp(-times / 16.8)) - 1).abs().max() < 0.1
    assert (stdp_window(-times) / (-0.273 * torch.exp(-times / 33.7)) - 1).abs().max() < 0.1


@pytest.mark.parametrize("mask", [None, left_padded(2, 9)])
def test_spike_traces_in_chunks_equal_the_loop(mask):
    rate = torch.rand(2, 9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = torch.rand(2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    naive, chunked = trace_naive(rate, start, mask), trace_chunked(rate, start, mask, chunk=4)

    for expected, got in zip(naive, chunked, strict=True):
        torch.testing.assert_close(got, expected)


def test_the_feature_map_is_positive_and_finite_for_any_input():
    x = torch.tensor([[[[1e4, -1e4, 0.0, 3.0]]]])

    phi = features(x, torch.tensor([2.0]))

    assert phi.shape == (1, 1, 1, 8)
    assert torch.isfinite(phi).all()
    assert (phi >= 0).all()


def attention_and_memory():
    torch.manual_seed(0)
    attention = SpikeAttention(8, 2).double()
    memory = torch.randn(1, 6, 8, dtype=torch.float64) * 2
    return attention, memory, torch.ones(1, 6, dtype=torch.bool)


def ask(attention: SpikeAttention, weights: FastWeights, token: torch.Tensor) -> torch.Tensor:
    query = attention.queries(torch.zeros_like(token), token, token)
    return attention(query, weights, None)


def test_a_higher_score_pulls_the_answer_towards_its_memory():
    attention, memory, mask = attention_and_memory()
    first, second = torch.zeros(1, 6, dtype=torch.float64), torch.zeros(1, 6, dtype=torch.float64)
    first[:, :3], second[:, 3:] = 12.0, 12.0
    question = torch.randn(1, 1, 8, dtype=torch.float64)

    def distance_to(prior: torch.Tensor, part: slice) -> float:
        alone = attention.remember(memory, torch.zeros_like(prior), mask & (torch.arange(6) // 3 == part.start // 3))
        both = attention.remember(memory, prior, mask)
        return float((ask(attention, both, question) - ask(attention, alone, question)).detach().norm())

    # The other half weighs e^-12 = 6e-6, times values of a few units.
    assert distance_to(first, slice(0, 3)) < 1e-3
    assert distance_to(second, slice(3, 6)) < 1e-3
    assert distance_to(second, slice(0, 3)) > 1.0


def test_a_score_counts_by_its_difference_only():
    attention, memory, mask = attention_and_memory()
    prior = torch.randn(1, 6, dtype=torch.float64)

    one, other = attention.remember(memory, prior, mask), attention.remember(memory, prior + 1000.0, mask)

    torch.testing.assert_close(one.values, other.values)


def test_no_memory_and_masked_memory_read_nothing():
    attention, memory, mask = attention_and_memory()
    prior = torch.zeros(1, 6, dtype=torch.float64)
    question = torch.randn(1, 2, 8, dtype=torch.float64)

    masked = ask(attention, attention.remember(memory, prior, mask & False), question)
    empty = ask(attention, attention.remember(memory[:, :0], prior[:, :0], mask[:, :0]), question)

    assert masked.abs().max() == 0
    assert empty.abs().max() == 0


def test_masked_memory_tokens_change_nothing():
    attention, memory, mask = attention_and_memory()
    prior = torch.randn(1, 6, dtype=torch.float64)
    longer = torch.cat([memory, torch.full((1, 2, 8), 7.0, dtype=torch.float64)], 1)

    one = attention.remember(memory, prior, mask)
    other = attention.remember(
        longer, torch.cat([prior, prior[:, :2] + 99], 1), torch.tensor([[True] * 6 + [False] * 2])
    )

    torch.testing.assert_close(one.values, other.values)
    torch.testing.assert_close(one.norm, other.norm)
