from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.qwen import Probes, Retrieved, UnifiedModel
from t4dm_daemon.qwen.lora import base_only
from tests.support.tiny_qwen import SPEC, tiny_model

IDS = torch.randint(3, 64, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> UnifiedModel:
    return tiny_model()


def test_every_layer_block_spike_and_lora_delta_can_be_seen(model: UnifiedModel):
    probes = Probes(model)
    with probes.watch(), torch.no_grad():
        model(IDS, bank=model.bank([[Retrieved("a", "w1 w2", 0.5)], []]))

    # Encoding the memory passes through the lower layers, too, but not through adapter and LoRA.
    seen = {record.point for record in probes.records}
    assert seen == set(probes.points)
    assert {f"layer.{i}" for i in range(4)} | {"adapter", "block.0", "block.1.read", "block.1.v_out"} <= seen
    assert "lora.model.layers.3.self_attn.q_proj" in seen
    assert sum(point.startswith("lora.") for point in seen) == 8
    assert probes.latest("adapter").shape == (2, 9, 32)
    assert probes.latest("block.0").shape == (2, 9, 16)
    assert probes.latest("block.0.v_in").shape == (2, 16)
    assert set(probes.latest("block.1.spikes_out").unique().tolist()) <= {0.0, 1.0}


def test_what_is_seen_is_what_was_computed(model: UnifiedModel):
    probes = Probes(model, ["layer.3", "lora.*3.self_attn.q_proj", "block.*.spikes_in"])
    with probes.watch(), torch.no_grad():
        out = model(IDS)

    logits = model.base.lm_head(model.base.model.norm(probes.latest("layer.3")))
    torch.testing.assert_close(logits, out.logits)
    rates = probes.latest("block.1.spikes_in").mean(-1)
    torch.testing.assert_close(rates, out.metrics[1].rate_in)
    attention = model.base.model.layers[3].self_attn
    with torch.no_grad():
        hidden = torch.randn(1, 1, 32, dtype=torch.float64)
        with probes.watch():
            full = attention.q_proj(hidden)
        with base_only():
            bare = attention.q_proj(hidden)
    torch.testing.assert_close(
        probes.latest("lora.model.layers.3.self_attn.q_proj").double(), full - bare, rtol=0, atol=1e-6
    )


def test_memory_is_bounded_and_the_newest_is_kept(model: UnifiedModel):
    one = 2 * 9 * 16 * 8
    probes = Probes(model, ["block.0"], max_bytes=3 * one)

    with probes.watch(), torch.no_grad():
        for _ in range(10):
            model(IDS)
        model(IDS.repeat(4, 1))

    assert [record.call for record in probes.records] == [7, 8, 9]
    assert probes.kept_bytes == 3 * one
    assert probes.dropped == 8


def test_sampling_records_each_nth_pass(model: UnifiedModel):
    probes = Probes(model, ["adapter"], every=3)

    with probes.watch():
        model.generate(IDS, max_new_tokens=7, do_sample=False)

    assert [record.call for record in probes.records] == [0, 3, 6]


def test_watching_changes_no_logit_and_ends_with_its_block(model: UnifiedModel):
    plain = model(IDS).logits
    probes = Probes(model)

    with probes.watch():
        watched = model(IDS).logits
    kept = len(probes.records)
    after = model(IDS).logits

    assert torch.equal(plain, watched)
    assert torch.equal(plain, after)
    assert len(probes.records) == kept
    assert not any(module._forward_hooks for module in model.adapter.modules())


def test_other_threads_are_not_watched(model: UnifiedModel):
    probes = Probes(model, ["adapter"])

    with probes.watch():
        thread = threading.Thread(target=lambda: model(IDS))
        thread.start()
        thread.join()

    assert probes.records == []


def test_an_analog_stack_has_no_spikes_to_show():
    model = tiny_model(stack=replace(SPEC.stack, spikes="analog"))

    assert not any("spikes" in point for point in Probes(model).points)


def test_unknown_points_and_bounds_are_refused(model: UnifiedModel):
    with pytest.raises(InvalidInputError, match=r"no point is called layer.99: there are adapter"):
        Probes(model, ["layer.99"])
    with pytest.raises(ValueError, match="at least 1"):
        Probes(model, every=0)
    with pytest.raises(InvalidInputError, match="nothing is kept"):
        Probes(model).latest("adapter")
