from __future__ import annotations

import pytest
import torch

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.qwen import MemoryBank, MemoryEncoder, Retrieved, UnifiedModel
from t4dm_daemon.qwen.memory_bank import lower_half
from tests.support.tiny_qwen import tiny_model, tiny_tokenizer

IDS = torch.randint(3, 64, (1, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> UnifiedModel:
    return tiny_model()


def encoder(model: UnifiedModel, **options: int) -> MemoryEncoder:
    return MemoryEncoder(model.base, tiny_tokenizer(), split_layer=2, max_tokens=6, **options)


def test_texts_are_encoded_by_the_frozen_layers_below_the_adapter(model: UnifiedModel):
    (states,) = encoder(model).encode(["w1 w2 w3"])

    plain = tiny_model(lora=None)
    expected = plain.base(torch.tensor([[4, 5, 6]]), output_hidden_states=True).hidden_states[1]
    layer = plain.base.model.layers[1]
    position = plain.base.model.rotary_emb(expected, torch.arange(3)[None])
    torch.testing.assert_close(states, layer(expected, position_embeddings=position)[0])
    assert states.shape == (3, 32)


def test_training_the_adapter_and_lora_changes_no_encoding(model: UnifiedModel):
    trained, fresh = tiny_model(seed=0, moved=True), tiny_model(seed=0, moved=False)

    for one, other in zip(encoder(trained).encode(["w1 w2"]), encoder(fresh).encode(["w1 w2"]), strict=True):
        assert torch.equal(one, other)


def test_an_encoding_does_not_depend_on_the_texts_beside_it(model: UnifiedModel):
    alone = [encoder(model).encode([text])[0] for text in ("w1 w2 w3 w4", "w5")]

    together = encoder(model).encode(["w1 w2 w3 w4", "w5", ""])

    torch.testing.assert_close(together[0], alone[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(together[1], alone[1], rtol=0, atol=1e-5)
    assert together[2].shape == (0, 32)


def test_long_texts_are_cut_and_strange_ones_encoded(model: UnifiedModel):
    long, strange, nothing = encoder(model).encode(["w1 " * 100, "\ud800 κ 🧠", "   "])

    assert len(long) == 6
    assert len(strange) > 0
    assert torch.isfinite(strange).all()
    assert len(nothing) == 0


def test_an_encoding_is_made_once_and_the_least_used_is_forgotten(model: UnifiedModel, monkeypatch: pytest.MonkeyPatch):
    one = 3 * 32 * 8  # three tokens of 32 doubles
    made: list[int] = []
    kept = encoder(model, cache_bytes=2 * one)
    run = kept._run
    monkeypatch.setattr(kept, "_run", lambda rows: made.append(len(rows)) or run(rows))

    kept.encode(["w1 w2 w3", "w1 w2 w3", "w4 w5 w6"])
    kept.encode(["w1 w2 w3"])
    assert made == [2]
    kept.encode(["w7 w8 w9"])  # drops w4 w5 w6, which was used longest ago
    kept.encode(["w1 w2 w3"])
    assert made == [2, 1]
    kept.encode(["w4 w5 w6"])
    assert made == [2, 1, 1]
    assert kept.kept_bytes == 2 * one


def test_the_lower_half_shares_its_weights_and_leaves_the_whole_alone(model: UnifiedModel):
    half = lower_half(model.base, 2)

    assert len(half.layers) == 2
    assert len(model.base.model.layers) == 4
    assert half.embed_tokens.weight is model.base.model.embed_tokens.weight
    assert model.base.config.num_hidden_layers == 4
    assert model.base.model.norm.weight.shape == (32,)


def test_what_is_read_depends_on_scores_and_not_on_the_order_of_memories(model: UnifiedModel):
    first, second = Retrieved("a", "w1 w2 w3", 0.8), Retrieved("b", "w4 w5", 0.7)

    one = model(IDS, bank=model.bank([[first, second]])).logits
    other = model(IDS, bank=model.bank([[second, first]])).logits
    turned = model(IDS, bank=model.bank([[Retrieved("a", "w1 w2 w3", 0.7), Retrieved("b", "w4 w5", 0.8)]])).logits

    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    assert not torch.allclose(one, turned, atol=1e-3)


def test_texts_without_memories_stand_beside_texts_with_some(model: UnifiedModel):
    memory = [Retrieved("a", "w1 w2 w3", 0.8)]
    ids = IDS.repeat(2, 1)

    together = model(ids, bank=model.bank([[], memory])).logits

    torch.testing.assert_close(together[:1], model(IDS).logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(together[1:], model(IDS, bank=model.bank([memory])).logits, rtol=0, atol=1e-5)
    assert model.bank([[], []]) is None
    assert model.bank([[Retrieved("x", "", 0.5)]]) is not None


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_refused(model: UnifiedModel, score: float):
    with pytest.raises(InvalidInputError, match="not a finite number"):
        model.bank([[Retrieved("a", "w1", score)]])


def test_as_many_priors_as_memories_are_needed():
    with pytest.raises(ValueError, match="2 memories have priors"):
        MemoryBank.assemble([[torch.zeros(1, 4), torch.zeros(2, 4)]], [torch.zeros(3)], hidden_size=4)


def test_ids_of_memories_go_with_their_texts(model: UnifiedModel):
    bank = model.bank([[Retrieved("a", "w1", 0.1), Retrieved("b", "w2", 0.2)], [Retrieved("c", "w3", 0.3)]])

    assert bank is not None
    assert bank.select(torch.tensor([1, 0, 1])).ids == (("c",), ("a", "b"), ("c",))
    assert bank.repeat(2).ids == (("a", "b"), ("a", "b"), ("c",), ("c",))
