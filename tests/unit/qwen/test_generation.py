from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch
from transformers import DynamicCache, GenerationConfig

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.qwen import MemoryCache, MemoryContext, Retrieved, UnifiedModel
from t4dm_daemon.spiking import Modulation, Oscillations
from tests.support.tiny_qwen import SPEC, tiny_model

MEMORIES = [
    [Retrieved("a", "w1 w2 w3", 0.8), Retrieved("b", "w4 w5", 0.7)],
    [Retrieved("c", "w9 w8", 0.5)],
]
WAVES = Modulation(serotonin=0.8, oscillations=Oscillations(theta=0.2))
# Between one pass and many: the frozen model's norms and rotations are float32 whatever its weights are.
CLOSE = {"rtol": 0.0, "atol": 1e-5}


@pytest.fixture(scope="module")
def model() -> UnifiedModel:
    return tiny_model()


def tokens(batch: int = 2, length: int = 9, seed: int = 0) -> torch.Tensor:
    return torch.randint(3, 64, (batch, length), generator=torch.Generator().manual_seed(seed))


def padded(ids: torch.Tensor, left: int) -> tuple[torch.Tensor, torch.Tensor]:
    pads = torch.zeros(len(ids), left, dtype=torch.long)
    return torch.cat([pads, ids], 1), torch.cat([pads, torch.ones_like(ids)], 1)


@torch.no_grad()
def in_pieces(model: UnifiedModel, ids: torch.Tensor, sizes: list[int], context: MemoryContext) -> torch.Tensor:
    cache = MemoryCache(context, config=model.base.config)
    pieces = [model.base(piece, past_key_values=cache, use_cache=True).logits for piece in ids.split(sizes, 1)]
    return torch.cat(pieces, 1)


@torch.no_grad()
def loop(model: UnifiedModel, ids: torch.Tensor, mask: torch.Tensor | None, new: int, **given) -> torch.Tensor:
    """Greedy decoding that reads the whole text anew for every token."""
    mask = torch.ones_like(ids) if mask is None else mask
    for _ in range(new):
        following = model(ids, mask, **given).logits[:, -1].argmax(-1, keepdim=True)
        ids, mask = torch.cat([ids, following], 1), torch.cat([mask, torch.ones_like(following)], 1)
    return ids


@pytest.mark.parametrize("sizes", [[5] + [1] * 4, [1] * 9, [3, 6]])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_reading_with_a_cache_gives_the_logits_of_one_pass(sizes: list[int], attention: str):
    model = tiny_model()
    model.base.set_attn_implementation(attention)
    bank = model.bank(MEMORIES)

    whole = model(tokens(), bank=bank, modulation=WAVES).logits
    pieces = in_pieces(model, tokens(), sizes, MemoryContext(bank, modulation=WAVES))

    torch.testing.assert_close(pieces, whole, **CLOSE)
    assert not torch.allclose(whole, model(tokens()).logits, atol=0.1)  # the memory matters


@pytest.mark.parametrize("left", [0, 3])
@pytest.mark.parametrize("spikes", ["graded", "binary"])
def test_generate_gives_the_tokens_of_the_plain_loop(left: int, spikes: str):
    model = tiny_model(stack=replace(SPEC.stack, spikes=spikes))
    ids, mask = padded(tokens(), left)
    bank = model.bank(MEMORIES)

    got = model.generate(ids, mask, bank=bank, max_new_tokens=12, do_sample=False)

    assert torch.equal(got, loop(model, ids, mask, 12, bank=bank))
    assert not torch.equal(got, model.generate(ids, mask, max_new_tokens=12, do_sample=False))


def test_padding_on_the_left_changes_no_logit(model: UnifiedModel):
    bank = model.bank(MEMORIES)
    plain = model(tokens(), bank=bank, modulation=WAVES).logits

    for left in (1, 4):
        ids, mask = padded(tokens(), left)
        torch.testing.assert_close(model(ids, mask, bank=bank, modulation=WAVES).logits[:, left:], plain, **CLOSE)


def test_texts_of_different_lengths_are_generated_as_each_alone(model: UnifiedModel):
    long, short = tokens(1, 9, seed=1), tokens(1, 5, seed=2)
    shorter, shorter_mask = padded(short, 4)
    ids, mask = torch.cat([long, shorter]), torch.cat([torch.ones_like(long), shorter_mask])

    together = model.generate(ids, mask, bank=model.bank(MEMORIES), max_new_tokens=8, do_sample=False)

    one = model.generate(long, bank=model.bank(MEMORIES[:1]), max_new_tokens=8, do_sample=False)
    other = model.generate(short, bank=model.bank(MEMORIES[1:]), max_new_tokens=8, do_sample=False)
    assert torch.equal(together[:1], one)
    assert torch.equal(together[1:, 4:], other)


@pytest.mark.parametrize("edited", [0, 4, 8])
def test_editing_a_token_changes_no_logit_before_it(model: UnifiedModel, edited: int):
    bank, ids = model.bank(MEMORIES), tokens()
    other = ids.clone()
    other[:, edited] = (other[:, edited] - 3 + 7) % 61 + 3

    one, two = model(ids, bank=bank).logits, model(other, bank=bank).logits

    torch.testing.assert_close(one[:, :edited], two[:, :edited], rtol=0, atol=1e-9)
    assert (one[:, edited:] != two[:, edited:]).any(-1).all()


def test_beams_are_what_they_are_without_a_cache(model: UnifiedModel):
    """Scores of the found texts, computed anew in one pass, are the scores the search had: its reordering kept state and text together."""
    bank = model.bank(MEMORIES)

    found = model.generate(
        tokens(), bank=bank, max_new_tokens=5, num_beams=3, num_return_sequences=3, do_sample=False,
        return_dict_in_generate=True, output_scores=True, length_penalty=0.0,
    )  # fmt: skip

    logits = model(found.sequences, bank=bank.repeat(3)).logits.log_softmax(-1)
    steps = logits[:, 8:-1].gather(2, found.sequences[:, 9:, None])
    torch.testing.assert_close(found.sequences_scores.double(), steps.sum((1, 2)), rtol=0, atol=1e-4)


def test_options_may_come_in_a_configuration(model: UnifiedModel):
    bank = model.bank(MEMORIES)
    beams = GenerationConfig(num_beams=2, max_new_tokens=4, do_sample=False)
    by_argument = model.generate(tokens(), bank=bank, num_beams=2, max_new_tokens=4, do_sample=False)

    assert torch.equal(model.generate(tokens(), bank=bank, generation_config=beams), by_argument)
    with pytest.raises(InvalidInputError, match="takes back tokens"):
        model.generate(tokens(), generation_config=GenerationConfig(prompt_lookup_num_tokens=2))


def test_several_samples_of_a_text_share_its_memory_and_not_their_state(model: UnifiedModel):
    torch.manual_seed(3)

    got = model.generate(
        tokens(), bank=model.bank(MEMORIES), max_new_tokens=6, do_sample=True, num_return_sequences=4,
        return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip

    again = model(got.sequences, bank=model.bank(MEMORIES).repeat(4)).logits[:, 8:-1]
    torch.testing.assert_close(torch.stack(got.logits, 1).to(again), again, rtol=0, atol=1e-4)
    assert len({tuple(row) for row in got.sequences.tolist()}) > 2


def test_generation_stops_at_the_end_token_and_counts_as_the_library_does(model: UnifiedModel):
    ids = tokens(1)
    following = loop(model, ids, None, 3)[0, 9:].tolist()

    got = model.generate(ids, max_new_tokens=9, do_sample=False, eos_token_id=following[1])

    assert got[0, 9:].tolist() == following[: following.index(following[1]) + 1]


def test_what_is_generated_at_the_same_time_is_what_is_generated_alone(model: UnifiedModel):
    jobs = [(tokens(1, 6 + index, seed=index), [[Retrieved("x", f"w{index} w{index + 9}", 0.9)]]) for index in range(6)]
    alone = [model.generate(ids, bank=model.bank(memory), max_new_tokens=10, do_sample=False) for ids, memory in jobs]
    together: list[torch.Tensor | None] = [None] * len(jobs)
    start = threading.Barrier(len(jobs))

    def work(index: int) -> None:
        ids, memory = jobs[index]
        start.wait()
        for _ in range(3):  # encoding switches LoRA off, for its own thread only
            bank = model.bank(memory)
            together[index] = model.generate(ids, bank=bank, max_new_tokens=10, do_sample=False)
            model.encoder.hidden(ids, torch.ones_like(ids, dtype=torch.bool))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


def test_a_context_can_be_watched_while_the_text_grows(model: UnifiedModel):
    context = MemoryContext(model.bank(MEMORIES))

    model.generate(tokens(), context=context, max_new_tokens=4, do_sample=False)

    assert context.state is not None
    assert context.state.seen.tolist() == [12, 12]  # the last new token has not been read
    assert len(context.metrics) == 2
    assert context.metrics[0].rate_in.shape == (2, 1)


def test_taking_back_tokens_is_refused(model: UnifiedModel):
    cache = MemoryCache(MemoryContext(), config=model.base.config)
    model.base(tokens(), past_key_values=cache, use_cache=True)

    with pytest.raises(InvalidInputError, match="cannot take back 2 tokens"):
        cache.crop(2)
    assert not cache.is_croppable
    with pytest.raises(InvalidInputError, match="takes back tokens"):
        model.generate(tokens(), max_new_tokens=2, prompt_lookup_num_tokens=3)


def test_a_cache_that_loses_the_adapters_state_is_refused(model: UnifiedModel):
    cache = DynamicCache(config=model.base.config)
    model.base(tokens(), past_key_values=cache, use_cache=True)

    with pytest.raises(InvalidInputError, match=r"DynamicCache has kept 9 tokens.*MemoryCache"):
        model.base(tokens(2, 1), past_key_values=cache, use_cache=True)


def test_a_cache_is_of_one_text(model: UnifiedModel):
    with pytest.raises(InvalidInputError, match="make a new one"):
        MemoryCache(MemoryContext(), config=model.base.config).reset()


def test_a_context_that_is_used_again_begins_a_new_text(model: UnifiedModel):
    context = MemoryContext(model.bank(MEMORIES))

    first = model(tokens(), context=context).logits
    second = model(tokens(), context=context).logits

    assert torch.equal(first, second)


def test_rows_of_a_cache_can_be_picked_and_repeated(model: UnifiedModel):
    bank, ids = model.bank(MEMORIES), tokens()
    swapped = MemoryCache(MemoryContext(bank), config=model.base.config)
    doubled = MemoryCache(MemoryContext(bank), config=model.base.config)
    whole = model(ids, bank=bank).logits[:, -1]

    with torch.no_grad():
        for cache in (swapped, doubled):
            model.base(ids[:, :-1], past_key_values=cache, use_cache=True)
        swapped.batch_select_indices(torch.tensor([1, 0]))
        doubled.batch_repeat_interleave(2)
        after_swap = model.base(ids[[1, 0], -1:], past_key_values=swapped, use_cache=True).logits[:, -1]
        after_double = model.base(ids[[0, 0, 1, 1], -1:], past_key_values=doubled, use_cache=True).logits[:, -1]

    torch.testing.assert_close(after_swap, whole[[1, 0]], **CLOSE)
    torch.testing.assert_close(after_double, whole[[0, 0, 1, 1]], **CLOSE)
    assert swapped.context.bank is not None
    assert swapped.context.bank.ids == (("c",), ("a", "b"))


@pytest.mark.parametrize(
    ("ids", "mask", "options", "says"),
    [
        (torch.zeros(1, 0, dtype=torch.long), None, {}, "cannot go on"),
        (torch.zeros(3, dtype=torch.long), None, {}, "cannot go on"),
        (torch.ones(1, 3, dtype=torch.long), torch.tensor([[1, 1, 0]]), {}, "on the left"),
        (torch.ones(1, 3, dtype=torch.long), torch.tensor([[1, 0, 1]]), {}, "on the left"),
        (torch.ones(1, 3, dtype=torch.long), torch.tensor([[0, 0, 0]]), {}, "on the left"),
        (torch.ones(1, 3, dtype=torch.long), torch.ones(1, 2), {}, "on the left"),
        (torch.ones(1, 3, dtype=torch.long), None, {"use_cache": False}, "set by generate"),
    ],
)
def test_what_cannot_be_generated_from_is_refused(model: UnifiedModel, ids, mask, options, says: str):
    with pytest.raises(InvalidInputError, match=says):
        model.generate(ids, mask, max_new_tokens=1, **options)


def test_a_bank_of_another_batch_is_refused(model: UnifiedModel):
    with pytest.raises(InvalidInputError, match="the bank is of 2 texts, the tokens are of 1"):
        model.generate(tokens(1), bank=model.bank(MEMORIES), max_new_tokens=1)
