from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from t4dm_daemon.qwen import UnifiedModel, export_merged, load_adapter, load_base, logit_drift
from t4dm_daemon.qwen.export import merged_base
from t4dm_daemon.qwen.insert import remove_adapter
from tests.support.tiny_qwen import SPEC, save_tiny, tiny_model

IDS = torch.randint(3, 64, (2, 9), generator=torch.Generator().manual_seed(0))


def moved(model: UnifiedModel) -> UnifiedModel:
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in model.trained_parameters().values():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def test_folding_in_lora_changes_no_logit_of_an_unquantised_model(tmp_path: Path):
    model = moved(UnifiedModel(load_base(save_tiny(tmp_path / "base")).model, SPEC))
    before = {name: p.clone() for name, p in model.named_parameters()}
    expected = model(IDS).logits

    export_merged(model, tmp_path / "merged", load_base(tmp_path / "base").tokenizer)
    loaded = load_base(tmp_path / "merged")
    again = UnifiedModel(loaded.model, replace(SPEC, lora=None), loaded.tokenizer)
    load_adapter(again, tmp_path / "merged")

    drift = logit_drift(expected, again(IDS).logits)
    assert drift.relative < 1e-6  # rounding of float32
    assert drift.largest < 1e-5
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert torch.equal(model(IDS).logits, expected)


def test_the_merged_model_is_an_ordinary_model_without_the_adapter():
    model = tiny_model(dtype=torch.float32)

    merged = merged_base(model)

    assert type(merged.model.layers[SPEC.split_layer]).__name__ == "Qwen2DecoderLayer"
    assert {name.split(".")[-2] for name in merged.state_dict()} <= {
        "embed_tokens", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
        "input_layernorm", "post_attention_layernorm", "norm", "lm_head",
    }  # fmt: skip
    remove_adapter(model.base)
    assert logit_drift(model.base(IDS).logits, merged(IDS).logits).relative < 1e-6


def test_four_bit_weights_are_unpacked_and_what_packing_them_again_costs_is_reported(tmp_path: Path, record_property):
    pytest.importorskip("bitsandbytes")
    pytest.importorskip("accelerate")
    loaded = load_base(save_tiny(tmp_path / "base"), quantise=True)
    model = moved(UnifiedModel(loaded.model, SPEC, loaded.tokenizer))
    expected = model(IDS).logits

    export_merged(model, tmp_path / "merged")
    dense, packed = (
        UnifiedModel(load_base(tmp_path / "merged", quantise=quantise).model, replace(SPEC, lora=None))
        for quantise in (False, True)
    )
    for other in (dense, packed):
        load_adapter(other, tmp_path / "merged")
    unpacked, repacked = logit_drift(expected, dense(IDS).logits), logit_drift(expected, packed(IDS).logits)

    record_property("nf4_drift_unpacked", unpacked.relative)
    record_property("nf4_drift_packed_again", repacked.relative)
    print(f"relative drift of logits: unpacked {unpacked.relative:.2e}, packed again {repacked.relative:.2e}")
    # Unpacking is exact; the rest is the order of sums. Packing again rounds what LoRA added to steps of NF4.
    assert unpacked.relative < 1e-5
    assert 1e-3 < repacked.relative < 1.0


def test_drift_is_nothing_between_the_same_and_measured_between_others():
    logits = torch.tensor([[3.0, -4.0]])

    assert (logit_drift(logits, logits).largest, logit_drift(logits, logits).relative) == (0.0, 0.0)
    assert logit_drift(logits, logits * 1.1).relative == pytest.approx(0.1)
    assert logit_drift(logits, logits * 1.1).largest == pytest.approx(0.4)
