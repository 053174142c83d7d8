from __future__ import annotations

import numpy as np
import pytest

from t4dm_daemon.core.errors import EmbeddingError
from t4dm_daemon.embedding import HashingEmbedder

RECORDED = [
    0.3264643,
    -0.4715596,
    0.0000000,
    0.5078334,
    0.3264643,
    0.2176429,
    0.1088214,
    -0.1813691,
    0.2176429,
    -0.0725476,
    -0.0725476,
    0.2539167,
    -0.2176429,
    0.1088214,
    0.1813691,
    0.0000000,
]


def test_vectors_are_the_same_on_every_machine() -> None:
    vector = HashingEmbedder(16).embed(["The cat sat on the mat."])[0]

    # Recorded once; a change of features must change `identity` with it.
    np.testing.assert_allclose(vector, RECORDED, atol=1e-6)


@pytest.mark.parametrize("text", ["", " ", "!?…", "🙂", "\0", "\ud800", "a", "\u0301", "x" * 100_000])
@pytest.mark.parametrize("dimension", [2, 3, 256])
def test_every_text_gets_a_finite_unit_vector(text: str, dimension: int) -> None:
    vectors = HashingEmbedder(dimension).embed([text])

    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors[0]) == pytest.approx(1.0, abs=1e-6)


def test_shared_words_bring_texts_closer() -> None:
    cat, also_cat, other = HashingEmbedder().embed(
        ["the cat sat on the mat", "The CAT sat on a mat", "quarterly revenue figures"]
    )

    assert cat @ also_cat > 0.6
    assert abs(cat @ other) < 0.3


def test_no_texts_give_no_rows_and_the_dimension_is_part_of_the_identity() -> None:
    assert HashingEmbedder(64).embed([]).shape == (0, 64)
    assert HashingEmbedder(64).identity != HashingEmbedder(65).identity


def test_a_dimension_below_two_is_refused() -> None:
    with pytest.raises(EmbeddingError, match="at least 2"):
        HashingEmbedder(1)
