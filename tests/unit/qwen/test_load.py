from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from t4dm_daemon.core.errors import InvalidInputError, ModelError, WeightsMissingError
from t4dm_daemon.qwen import QWEN25_3B, load_base
from tests.support.tiny_qwen import save_tiny


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[object]:
    """Every connection is noted and fails; the hub's cache is empty."""
    tried: list[object] = []

    def connect(_: socket.socket, address: object) -> None:
        tried.append(address)
        raise OSError("no network in this test")

    def resolve(*address: object, **_: object) -> None:
        tried.append(address)
        raise socket.gaierror("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty-cache"))
    return tried


def test_a_folder_is_loaded_frozen_with_its_tokenizer_and_nothing_drawn(tmp_path: Path, capfd, connections):
    folder = save_tiny(tmp_path / "tiny")
    capfd.readouterr()

    loaded = load_base(folder)

    assert loaded.model.config.num_hidden_layers == 4
    assert loaded.model.dtype == torch.float32
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert not loaded.model.training
    assert loaded.tokenizer("w1 w2")["input_ids"] == [4, 5]
    assert (loaded.revision, loaded.is_quantised) == ("", False)
    assert capfd.readouterr() == ("", "")
    assert connections == []


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path):
    folder = save_tiny(tmp_path / "tiny")
    described = json.loads((folder / "tokenizer.json").read_text())
    described["model"]["vocab"] |= {f"more{index}": 64 + index for index in range(5)}
    (folder / "tokenizer.json").write_text(json.dumps(described))

    with pytest.raises(ModelError, match="has 69 tokens, the model 64"):
        load_base(folder)


def test_the_type_of_weights_can_be_chosen(tmp_path: Path):
    assert load_base(save_tiny(tmp_path / "tiny"), dtype=torch.bfloat16).model.dtype == torch.bfloat16


def test_weights_that_are_not_here_are_not_fetched_and_the_error_says_what_to_do(connections):
    with pytest.raises(
        WeightsMissingError, match=r"Qwen/Qwen2.5-3B at 3aab1f19.*download=True.*give the path"
    ) as caught:
        load_base(QWEN25_3B.source, revision=QWEN25_3B.revision)

    assert caught.value.code == "weights_missing"
    assert connections == []


def test_a_download_without_a_commit_is_refused(connections):
    for revision in ("", "main", "3aab1f1"):
        with pytest.raises(InvalidInputError, match="needs the commit"):
            load_base("Qwen/Qwen2.5-3B", revision=revision, download=True)
    assert connections == []


def test_a_download_that_was_asked_for_and_fails_says_why(connections, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # the hub's library waits between its attempts
    with pytest.raises(ModelError, match=r"could not be downloaded"):
        load_base("Qwen/Qwen2.5-3B", revision=QWEN25_3B.revision, download=True)
    assert connections != []


@pytest.mark.parametrize("source", ["/no/such/folder", "./nothing", "qwen", "a/b/c", ""])
def test_a_name_that_is_neither_folder_nor_hub_id_is_refused(source: str, tmp_path: Path, monkeypatch, connections):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(WeightsMissingError, match=r"no folder|lacks config.json"):
        load_base(source)
    assert connections == []


def test_a_commit_that_was_downloaded_before_is_loaded_without_the_network(tmp_path: Path, connections):
    snapshot = tmp_path / "empty-cache" / "models--someone--tiny" / "snapshots" / ("ab" * 20)
    save_tiny(snapshot)
    refs = tmp_path / "empty-cache" / "models--someone--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("ab" * 20)

    for revision in ("ab" * 20, ""):
        loaded = load_base("someone/tiny", revision=revision)
        assert loaded.revision == "ab" * 20
    assert connections == []


def test_a_half_downloaded_model_says_which_pieces_are_missing(tmp_path: Path):
    folder = save_tiny(tmp_path / "tiny")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(WeightsMissingError, match=r"lacks model-00002-of-00002.safetensors"):
        load_base(folder)


@pytest.mark.parametrize(
    ("file", "content", "error", "says"),
    [
        ("config.json", None, WeightsMissingError, "lacks config.json"),
        ("config.json", "not json", ModelError, "not a model's configuration"),
        ("config.json", '{"model_type": "llama"}', ModelError, "type 'llama'"),
        ("config.json", "[]", ModelError, "not a model's configuration"),
        ("model.safetensors", None, WeightsMissingError, r"lacks \*.safetensors"),
        ("model.safetensors", "rubbish", ModelError, "could not be read"),
        ("tokenizer.json", None, WeightsMissingError, "lacks tokenizer.json"),
        ("tokenizer.json", "rubbish", ModelError, "tokenizer in .* could not be read"),
    ],
)
def test_damaged_folders_are_told_apart(tmp_path: Path, file: str, content: str | None, error, says: str):
    folder = save_tiny(tmp_path / "tiny")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)

    with pytest.raises(error, match=says):
        load_base(folder)


def test_weights_that_lack_a_tensor_are_refused_instead_of_made_up(tmp_path: Path):
    folder = save_tiny(tmp_path / "tiny")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelError, match=r"lack 1 tensors, such as model.layers.1.mlp.up_proj.weight"):
        load_base(folder)


def test_weights_of_another_shape_than_their_configuration_are_refused(tmp_path: Path):
    folder = save_tiny(tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 128}))

    with pytest.raises(ModelError, match="could not be read"):
        load_base(folder)
