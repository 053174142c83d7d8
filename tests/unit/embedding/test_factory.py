from __future__ import annotations

from pathlib import Path

import pytest

from t4dm_daemon.core.errors import EmbeddingError
from t4dm_daemon.embedding import (
    Embedder,
    HashingEmbedder,
    MiniLM,
    OpenAICompatible,
    SentenceTransformerEmbedder,
    make_embedder,
)


def make(model: str, *, base_url: str | None = None) -> Embedder:
    return make_embedder(model, cache_dir=Path("unused"), threads=1, base_url=base_url, api_key=None)


@pytest.mark.parametrize(
    ("model", "kind"),
    [("minilm", MiniLM), ("hashing", HashingEmbedder), ("BAAI/bge-m3", SentenceTransformerEmbedder)],
)
def test_a_name_chooses_its_embedder(model: str, kind: type) -> None:
    embedder = make(model)

    assert isinstance(embedder, kind)
    assert embedder.name == model


def test_a_model_behind_a_server_needs_a_base_url() -> None:
    assert isinstance(make("openai:nomic-embed-text", base_url="http://127.0.0.1:1/v1"), OpenAICompatible)
    with pytest.raises(EmbeddingError, match="needs a base URL"):
        make("openai:nomic-embed-text")


def test_a_folder_is_a_model_even_without_a_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mymodel").mkdir()
    monkeypatch.chdir(tmp_path)

    assert isinstance(make("mymodel"), SentenceTransformerEmbedder)


@pytest.mark.parametrize("model", ["", "  ", "minlm", "hash", "Hashing", "openai:", "openai"])
def test_an_unknown_name_is_refused_with_the_choices_and_never_becomes_hashing(model: str) -> None:
    with pytest.raises(EmbeddingError, match=r"minilm .* hashing \(for tests"):
        make(model, base_url="http://127.0.0.1:1")


def test_the_dimension_of_hashing_is_given_on() -> None:
    embedder = make_embedder(
        "hashing", cache_dir=Path("unused"), threads=1, base_url=None, api_key=None, hashing_dimension=32
    )

    assert embedder.dimension == 32
