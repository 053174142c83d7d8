from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from t4dm_daemon.spiking import Modulation, Oscillations, SpikingStack, StackConfig  # noqa: E402
from t4dm_daemon.spiking.stack import map_tensors  # noqa: E402

torch.set_num_threads(1)

SMALL = StackConfig(d_model=16, n_blocks=2, n_heads=4, chunk=4)
WAVES = Modulation(
    dopamine=0.9, noradrenaline=0.6, acetylcholine=0.7, serotonin=0.8, oscillations=Oscillations(0.3, 0.2, 0.1)
)


def a_stack(config: StackConfig = SMALL) -> SpikingStack:
    """A stack away from its start, where some weights are zero or the identity."""
    torch.manual_seed(0)
    stack = SpikingStack(config).double()
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return stack


def inputs(batch: int = 2, length: int = 11):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(batch, length, 16, generator=draw, dtype=torch.float64)
    memory = torch.randn(batch, 6, 16, generator=draw, dtype=torch.float64)
    prior = torch.randn(batch, 6, generator=draw, dtype=torch.float64)
    return x, memory, prior, torch.tensor([[True] * 6, [True] * 4 + [False] * 2])[:batch]


def tensors_of(tree) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    map_tensors(tree, lambda tensor: found.append(tensor) or tensor)
    return found


@pytest.mark.parametrize("spikes", ["graded", "binary", "analog"])
def test_chunks_pieces_and_single_tokens_give_the_same(spikes):
    stack = a_stack(replace(SMALL, spikes=spikes))
    x, *memory = inputs()
    weights = stack.remember(*memory)
    whole = stack(x, memory=weights, modulation=WAVES)

    for sizes in ([1] * 11, [5, 6], [3, 1, 7]):
        state, pieces = None, []
        for piece in x.split(sizes, 1):
            out = stack(piece, state, memory=weights, modulation=WAVES)
            state = out.state
            pieces.append(out.x)
        torch.testing.assert_close(torch.cat(pieces, 1), whole.x)
        for got, expected in zip(tensors_of(state), tensors_of(whole.state), strict=True):
            torch.testing.assert_close(got, expected)


def test_the_size_of_chunks_changes_neither_output_nor_gradients():
    x, *memory = inputs()
    results = []
    for chunk in (1, 4, 64):
        stack = a_stack(replace(SMALL, chunk=chunk))
        out = stack(x, memory=stack.remember(*memory))
        (out.x.sin().sum() + sum(part.sum() for part in out.metrics[-1])).backward()
        results.append([out.x.detach(), *(p.grad for p in stack.parameters())])

    for other in results[1:]:
        for got, expected in zip(other, results[0], strict=True):
            torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("edited", [0, 4, 10])
def test_editing_a_token_changes_nothing_before_it_and_something_from_it_on(edited: int):
    stack = a_stack()
    x, *memory = inputs()
    other = x.clone()
    other[:, edited] = torch.randn(2, 16, generator=torch.Generator().manual_seed(9), dtype=torch.float64)

    one = stack(x, memory=stack.remember(*memory)).x
    two = stack(other, memory=stack.remember(*memory)).x

    torch.testing.assert_close(one[:, :edited], two[:, :edited], rtol=0, atol=1e-12)
    assert (one[:, edited:] != two[:, edited:]).any(-1).all()


@pytest.mark.parametrize("filler", [0.0, 50.0])
def test_padding_on_the_left_right_or_between_changes_nothing(filler: float):
    stack = a_stack()
    x, *memory = inputs()
    weights = stack.remember(*memory)
    plain = stack(x, memory=weights, modulation=WAVES)
    for places in ([0, 0, 0], [11, 11], [0, 4, 4, 9, 11]):
        columns, real = [], []
        for t in range(12):
            columns += [torch.full((2, 1, 16), filler, dtype=torch.float64)] * places.count(t)
            real += [False] * places.count(t)
            if t < 11:
                columns.append(x[:, t : t + 1])
                real.append(True)
        mask = torch.tensor([real, real])

        padded = stack(torch.cat(columns, 1), memory=weights, mask=mask, modulation=WAVES)

        torch.testing.assert_close(padded.x[:, torch.tensor(real)], plain.x)
        for got, expected in zip(tensors_of(padded.state), tensors_of(plain.state), strict=True):
            torch.testing.assert_close(got, expected)
        assert all((part[~mask] == 0).all() for metrics in padded.metrics for part in metrics)


def test_texts_of_different_lengths_in_one_batch_give_what_each_gives_alone():
    stack = a_stack()
    x, memory, prior, memory_mask = inputs()
    mask = torch.ones(2, 11, dtype=torch.bool)
    mask[1, :4] = False

    together = stack(x, memory=stack.remember(memory, prior, memory_mask), mask=mask).x
    alone = stack(x[1:, 4:], memory=stack.remember(memory[1:, :4], prior[1:, :4], memory_mask[1:, :4])).x

    torch.testing.assert_close(together[1:, 4:], alone)


def test_a_forward_pass_leaves_no_state_behind():
    stack = a_stack()
    x, *memory = inputs()
    before = {name: value.clone() for name, value in stack.state_dict().items()}

    first = stack(x, memory=stack.remember(*memory)).x
    stack(x * 3)
    second = stack(x, memory=stack.remember(*memory)).x

    assert torch.equal(first, second)
    assert not list(stack.buffers())
    assert all(torch.equal(value, before[name]) for name, value in stack.state_dict().items())


def test_gradients_reach_every_weight():
    stack = a_stack()
    x, *memory = inputs()

    out = stack(x, memory=stack.remember(*memory))
    out.x.sin().sum().backward()

    silent = [name for name, p in stack.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert silent == []
    assert all(torch.isfinite(p.grad).all() for p in stack.parameters())


def test_at_the_start_no_stage_is_dead_and_none_saturated():
    torch.manual_seed(0)
    stack = SpikingStack(StackConfig(d_model=128, n_blocks=6, n_heads=4))
    memory = torch.randn(2, 20, 128)

    out = stack(torch.randn(2, 60, 128), memory=stack.remember(memory, torch.zeros(2, 20), torch.ones(2, 20) > 0))

    for metrics in out.metrics:
        assert 0.02 < metrics.rate_in.mean() < 0.6
        assert 0.02 < metrics.rate_out.mean() < 0.6
        assert ((metrics.prediction_error >= 0) & (metrics.prediction_error <= 2.0 + 1e-6)).all()
        assert (metrics.goodness >= 0).all()


def test_memory_reaches_the_output_from_the_first_step_of_training():
    torch.manual_seed(0)
    stack = SpikingStack(StackConfig(d_model=64, n_blocks=1, n_heads=4))
    x, memory, mask = torch.randn(1, 8, 64), torch.randn(1, 5, 64), torch.ones(1, 5, dtype=torch.bool)

    without = stack(x).x
    with_it = stack(x, memory=stack.remember(memory, torch.zeros(1, 5), mask)).x

    assert (with_it - without).norm() > 0.1 * x.norm()


@pytest.mark.parametrize("part", ["recurrence", "apical", "prior", "recent", "stdp"])
def test_every_part_that_can_be_left_out_matters_and_costs_no_weights(part):
    x, *memory = inputs()
    full, less = a_stack(), a_stack(replace(SMALL, without=(part,)))

    one, other = full(x, memory=full.remember(*memory)).x, less(x, memory=less.remember(*memory)).x

    assert not torch.allclose(one, other)
    assert sum(p.numel() for p in full.parameters()) == sum(p.numel() for p in less.parameters())


@pytest.mark.parametrize(
    "level",
    [
        {"dopamine": 1.0},
        {"noradrenaline": 1.0},
        {"acetylcholine": 1.0},
        {"serotonin": 1.0},
        {"oscillations": Oscillations(theta=0.5)},
    ],
)
def test_every_neuromodulator_changes_what_it_acts_on(level):
    stack = a_stack()
    x, *memory = inputs()
    weights = stack.remember(*memory)

    neutral, changed = stack(x, memory=weights), stack(x, memory=weights, modulation=Modulation(**level))

    assert not torch.allclose(neutral.x, changed.x)


def test_a_neutral_modulation_is_none():
    stack = a_stack()
    x, *_ = inputs()

    assert torch.equal(stack(x).x, stack(x, modulation=Modulation()).x)


@pytest.mark.parametrize("config", [SMALL, StackConfig(d_model=24, n_blocks=3, n_heads=2)])
def test_the_weights_of_a_block_are_as_many_as_documented(config: StackConfig):
    stack = SpikingStack(config)

    assert sum(p.numel() for p in stack.parameters()) == config.n_blocks * config.parameters_per_block()
    matrices = sum(p.numel() for p in stack.parameters() if p.dim() == 2 and p.shape[0] == p.shape[1])
    assert matrices == config.n_blocks * 12 * config.d_model**2


def test_at_full_size_the_stack_has_between_50_and_80_million_weights():
    with torch.device("meta"):
        stack = SpikingStack(StackConfig())

    assert sum(p.numel() for p in stack.parameters()) == 75_602_208
    assert StackConfig().parameters_per_block() == 12_600_368


def test_what_does_not_fit_together_is_refused_with_the_shapes():
    stack = a_stack()
    x, memory, prior, mask = inputs()

    with pytest.raises(ValueError, match="the state is of 1 texts, x of 2"):
        stack(x, stack.initial_state(1, x))
    with pytest.raises(ValueError, match=r"the mask is \(2, 3\)"):
        stack(x, mask=mask[:, :3])
    with pytest.raises(ValueError, match="T > 0"):
        stack(x[:, :0])
    with pytest.raises(ValueError, match="do not belong together"):
        stack.remember(memory, prior[:, :2], mask)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"n_heads": 3}, "does not divide"),
        ({"alpha": 1.0}, "would not leak"),
        ({"spikes": "loud"}, "is none of"),
        ({"without": ("sleep",)}, "is none of"),
        ({"d_model": 0}, "at least 1"),
        ({"v_threshold": 0.0}, "must be positive"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(bad, says: str):
    with pytest.raises(ValueError, match=says):
        replace(SMALL, **bad)
