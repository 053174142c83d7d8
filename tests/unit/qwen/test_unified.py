from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

from t4dm_daemon.core.errors import InvalidInputError, ModelError
from t4dm_daemon.qwen import MemoryContext, Retrieved, UnifiedModel, build_base
from t4dm_daemon.qwen.insert import AdapterLayer, insert_adapter, remove_adapter
from t4dm_daemon.qwen.lora import base_only, lora_layers
from t4dm_daemon.qwen.projections import MemoryProjection
from tests.support.tiny_qwen import SPEC, tiny_model

MEMORIES = [[Retrieved("a", "w1 w2 w3", 0.8), Retrieved("b", "w4 w5", 0.7)], [Retrieved("c", "w9 w8", 0.5)]]
IDS = torch.randint(3, 64, (2, 9), generator=torch.Generator().manual_seed(0))


def test_a_closed_gate_leaves_the_language_model_bit_for_bit_as_it_was():
    torch.manual_seed(0)
    base = build_base(SPEC.shape)
    before = base(IDS).logits

    model = UnifiedModel(base, replace(SPEC, gate=0.0, lora=None))
    states = torch.randn(2, 5, 32)
    bank = type(tiny_model().bank(MEMORIES))(states, torch.zeros(2, 5), torch.ones(2, 5, dtype=torch.bool))

    assert torch.equal(model(IDS, bank=bank).logits, before)


def test_a_removed_adapter_leaves_the_model_as_it_was():
    model = tiny_model(lora=None)
    with_adapter = model(IDS).logits

    remove_adapter(model.base)
    bare = model.base(IDS).logits
    insert_adapter(model.base, model.adapter, SPEC.split_layer)

    assert not torch.allclose(bare, with_adapter)
    assert torch.equal(model(IDS).logits, with_adapter)
    with pytest.raises(ValueError, match="has an adapter already"):
        insert_adapter(model.base, model.adapter, SPEC.split_layer)


def test_only_adapter_heads_and_lora_are_trained_and_all_of_them_get_gradients():
    model = tiny_model(seed=1).train()
    trained = model.trained_parameters()
    assert {id(p) for p in trained.values()} == {id(p) for p in model.parameters() if p.requires_grad}

    loss = model(IDS, bank=model.bank(MEMORIES), labels=IDS).loss
    assert loss is not None
    (loss + model.similarity(["w1 w2", "w3"], ["w4 w5", "w6 w2"]).square().sum()).backward()

    silent = [name for name, p in trained.items() if p.grad is None or p.grad.abs().max() == 0]
    # A column of the patterns that none of these words touches has none; a whole matrix without any would be cut off.
    assert silent == []
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


def test_scores_of_the_retrieval_heads_carry_the_loss_of_an_answer_back_to_the_heads():
    from t4dm_daemon.qwen import MemoryBank

    model = tiny_model(seed=1)
    states = model.encoder.encode(["w1 w2 w3", "w4 w5"])
    priors = model.similarity(["w7 w1"], ["w1 w2 w3", "w4 w5"])[0] / 0.07
    bank = MemoryBank.assemble([states], [priors], hidden_size=32)

    loss = model(IDS[:1], bank=bank, labels=IDS[:1]).loss
    assert loss is not None
    loss.backward()

    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.heads.parameters())


def test_gradient_checkpointing_changes_no_gradient():
    results = []
    for checkpointing in (False, True):
        model = tiny_model(seed=2).train()
        if checkpointing:
            model.base.activation_checkpointing_enable({"use_reentrant": False})
            assert all(layer.gradient_checkpointing for layer in model.base.model.layers)
        loss = model(IDS, bank=model.bank(MEMORIES), labels=IDS).loss
        assert loss is not None
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in model.trained_parameters().values() if p.grad is not None)])

    assert len(results[0]) > 50
    for plain, checkpointed in zip(*results, strict=True):
        torch.testing.assert_close(checkpointed, plain)


def test_the_loss_counts_labelled_tokens_only():
    model = tiny_model()
    labels = torch.full_like(IDS, -100)
    labels[:, 6:8] = IDS[:, 6:8]

    out = model(IDS, labels=labels)

    logits = out.logits[:, 5:7].log_softmax(-1)
    expected = -logits.gather(2, IDS[:, 6:8, None]).mean()
    assert out.loss is not None
    torch.testing.assert_close(out.loss.double(), expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="logits of every token"):
        model(IDS, labels=labels, logits_to_keep=1)


def test_the_frozen_weights_alone_are_what_one_thread_asked_for_and_no_other():
    model = tiny_model(seed=3)
    inside, outside = threading.Event(), threading.Event()
    plain = model(IDS).logits
    seen: dict[str, torch.Tensor] = {}

    def other() -> None:
        inside.wait(10)
        seen["other"] = model(IDS).logits
        outside.set()

    thread = threading.Thread(target=other)
    thread.start()
    with base_only():
        inside.set()
        assert outside.wait(10)
        seen["mine"] = model(IDS).logits
    thread.join()

    assert torch.equal(seen["other"], plain)
    assert not torch.allclose(seen["mine"], plain)
    assert torch.equal(model(IDS).logits, plain)


def test_lora_begins_as_nothing():
    torch.manual_seed(0)
    base = build_base(SPEC.shape)
    before = base(IDS).logits

    model = UnifiedModel(base, replace(SPEC, gate=0.0))

    assert len(lora_layers(model.base)) == 8
    torch.testing.assert_close(model(IDS).logits, before)
    assert all(p.dtype == torch.float32 for n, p in model.trained_parameters().items() if n.startswith("lora."))


def test_a_context_and_a_bank_are_not_both_given():
    model = tiny_model()

    with pytest.raises(ValueError, match="not both"):
        model(IDS, bank=model.bank(MEMORIES), context=MemoryContext())


def test_a_model_of_other_sizes_is_refused():
    with pytest.raises(ModelError, match="hidden_size=32, tiny is for 64"):
        UnifiedModel(build_base(SPEC.shape), replace(SPEC, shape=replace(SPEC.shape, hidden_size=64)))


def test_without_a_tokenizer_texts_cannot_be_read_and_the_error_says_so():
    model = UnifiedModel(build_base(SPEC.shape), SPEC)

    with pytest.raises(ModelError, match="without a tokenizer"):
        model.bank(MEMORIES)
    assert model(IDS).logits.shape == (2, 9, 64)


def test_texts_without_tokens_cannot_be_compared():
    with pytest.raises(InvalidInputError, match=r"\[1\] have no tokens"):
        tiny_model().similarity(["w1", ""], ["w2"])


def test_other_layers_attributes_are_seen_through_the_adapters_layer():
    layer = tiny_model().base.model.layers[SPEC.split_layer]

    assert isinstance(layer, AdapterLayer)
    assert layer.self_attn.layer_idx == SPEC.split_layer
    with pytest.raises(AttributeError):
        _ = layer.no_such_thing


def test_hidden_states_of_all_layers_can_be_asked_of_the_library():
    model = tiny_model()

    out = model.base(IDS, output_hidden_states=True)

    assert len(out.hidden_states) == SPEC.shape.num_hidden_layers + 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_frozen_model_in_half_precision_keeps_its_type_beside_a_float32_adapter(dtype: torch.dtype):
    torch.manual_seed(0)
    model = UnifiedModel(build_base(SPEC.shape, dtype=dtype), SPEC)

    logits = model(IDS).logits

    assert logits.dtype == dtype
    assert model.adapter.gate.dtype == torch.float32
    assert torch.isfinite(logits).all()


def test_what_was_encoded_comes_back_as_far_as_it_fits_and_training_brings_back_more():
    torch.manual_seed(0)
    projection = MemoryProjection(32, 16)
    hidden = torch.randn(4, 10, 8) @ torch.randn(8, 32)  # 8 dimensions of 32: half the width would do
    start = projection.reconstruction_loss(hidden).item()
    optimiser = torch.optim.Adam(projection.parameters(), lr=1e-2)

    for _ in range(200):
        optimiser.zero_grad()
        loss = projection.reconstruction_loss(hidden)
        loss.backward()
        optimiser.step()

    assert start == pytest.approx(0.5, abs=0.15)  # 16 of 32 directions are kept
    assert loss.item() < 0.05
    mask = torch.zeros(4, 10, dtype=torch.bool)
    assert projection.reconstruction_loss(hidden, mask).item() == 0.0
