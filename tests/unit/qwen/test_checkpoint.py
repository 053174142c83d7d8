from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from t4dm_daemon.core.errors import ModelError, WeightsMissingError
from t4dm_daemon.qwen import LoraSpec, load_adapter, save_adapter
from t4dm_daemon.spiking import StackConfig
from tests.support.tiny_qwen import SPEC, tiny_model

IDS = torch.randint(3, 64, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_come_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype):
    model, other = tiny_model(dtype=dtype), tiny_model(dtype=dtype, moved=False)
    assert not torch.equal(model(IDS).logits, other(IDS).logits)

    path = save_adapter(model, tmp_path, facts={"seed": "0"})
    header = load_adapter(other, tmp_path)

    for name, weights in model.trained_parameters().items():
        assert torch.equal(weights, other.trained_parameters()[name]), name
    assert torch.equal(model(IDS).logits, other(IDS).logits)
    assert header["seed"] == "0"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_saving_again_replaces_the_file_as_a_whole(tmp_path: Path):
    model = tiny_model()
    save_adapter(model, tmp_path)
    with torch.no_grad():
        model.adapter.gate.fill_(3.0)

    save_adapter(model, tmp_path)

    assert load_file(tmp_path / "adapter.safetensors")["adapter.gate"].item() == 3.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lora": None}, "has 16 tensors that this model lacks"),
        ({"lora": LoraSpec(r=4)}, "has the shape"),
        ({"stack": StackConfig(d_model=16, n_blocks=3, n_heads=2)}, "lacks .* tensors of this model"),
        ({"stack": StackConfig(d_model=32, n_blocks=2, n_heads=2)}, "has the shape"),
    ],
)
def test_weights_of_another_model_are_refused_and_change_nothing(tmp_path: Path, change, says: str):
    save_adapter(tiny_model(), tmp_path)
    other = tiny_model(**change)
    before = [p.clone() for p in other.trained_parameters().values()]

    with pytest.raises(ModelError, match=says):
        load_adapter(other, tmp_path)

    assert all(torch.equal(a, b) for a, b in zip(before, other.trained_parameters().values(), strict=True))


def test_missing_damaged_and_foreign_files_are_told_apart(tmp_path: Path):
    model = tiny_model()
    with pytest.raises(WeightsMissingError, match="there is no"):
        load_adapter(model, tmp_path)

    path = save_adapter(model, tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="is damaged"):
        load_adapter(model, tmp_path)

    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="has the format None"):
        load_adapter(model, tmp_path)


def test_the_header_describes_the_model_and_cannot_be_overwritten_by_facts(tmp_path: Path):
    save_adapter(tiny_model(), tmp_path, facts={"format": "mine"})

    header = load_adapter(tiny_model(moved=False), tmp_path)

    assert header["format"] == "t4dm-adapter/1"
    assert f'"name": "{SPEC.name}"' in header["spec"]
    assert replace(SPEC, name="x") != SPEC
