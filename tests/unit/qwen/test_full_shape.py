"""Sizes of the presets, counted on models without weights; docs/mind.md states them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from t4dm_daemon.qwen import NANO, QWEN25_3B, QWEN25_3B_INSTRUCT, LoraSpec, ModelSpec, UnifiedModel, build_base
from t4dm_daemon.qwen.lora import lora_weights


def on_meta(spec: ModelSpec) -> UnifiedModel:
    return UnifiedModel(build_base(spec.shape, device="meta"), spec)


def count(parameters) -> int:
    return sum(p.numel() for p in parameters)


def test_qwen_3b_with_its_memory_has_the_documented_sizes():
    base = build_base(QWEN25_3B.shape, device="meta")
    assert count(base.parameters()) == 3_085_938_688
    assert base.get_input_embeddings().weight.numel() == 311_164_928
    linears = [m for m in base.model.layers.modules() if isinstance(m, torch.nn.Linear)]
    assert len(linears) == 252
    assert count(m.weight for m in linears) == 2_774_532_096
    assert linears[1].weight.shape == (256, 2048)  # keys of two heads

    model = UnifiedModel(base, QWEN25_3B)

    assert count(lora_weights(base).values()) == 3_686_400
    assert count(model.adapter.stack.parameters()) == 75_602_208
    assert count(model.adapter.projection.parameters()) == 4_196_352
    assert count(model.adapter.parameters()) == 79_799_585
    assert count(model.heads.parameters()) == 1_057_280
    assert count(model.trained_parameters().values()) == 84_543_265
    assert 65_000_000 < count(model.trained_parameters().values()) < 95_000_000


@pytest.mark.parametrize(
    ("lora", "expected"),
    [
        (LoraSpec(r=64), 14_745_600),
        (LoraSpec(r=32, targets=("q_proj", "k_proj", "v_proj", "o_proj")), 14_745_600),
        (LoraSpec(r=16, targets=("q_proj", "k_proj", "v_proj", "o_proj")), 7_372_800),
    ],
)
def test_other_ranks_and_targets_cost_what_is_documented(lora: LoraSpec, expected: int):
    model = on_meta(replace(QWEN25_3B, lora=lora, stack=replace(QWEN25_3B.stack, n_blocks=1)))

    assert count(lora_weights(model.base).values()) == expected


def test_nano_has_the_documented_sizes_and_fits_into_twenty_megabytes():
    model = on_meta(NANO)

    frozen = count(model.base.parameters()) - count(lora_weights(model.base).values())
    trained = count(model.trained_parameters().values())
    assert frozen == 5_576_192
    assert trained == 1_094_925
    assert 5_000_000 < frozen + trained < 10_000_000
    assert 2 * (frozen + trained) < 20_000_000


def test_both_presets_of_3b_are_one_shape_with_pinned_commits():
    assert QWEN25_3B.shape == QWEN25_3B_INSTRUCT.shape
    for spec in (QWEN25_3B, QWEN25_3B_INSTRUCT):
        assert len(spec.revision) == 40
        assert int(spec.revision, 16)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"split_layer": 0}, "no layer before"),
        ({"split_layer": 6}, "no layer before"),
        ({"memory_tokens": 0}, "at least 1"),
        ({"temperature": 0.0}, "above 0"),
    ],
)
def test_a_description_that_cannot_be_built_is_refused(bad, says: str):
    with pytest.raises(ValueError, match=says):
        replace(NANO, **bad)


@pytest.mark.parametrize("bad", [{"r": 0}, {"targets": ()}, {"dropout": 1.0}])
def test_lora_that_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match=r"LoRA needs|dropout"):
        replace(LoraSpec(), **bad)


def test_a_target_that_the_model_lacks_is_refused():
    with pytest.raises(ValueError, match="no_proj"):
        on_meta(replace(NANO, lora=LoraSpec(targets=("no_proj",))))
