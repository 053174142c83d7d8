from __future__ import annotations

import numpy as np
import pytest

from t4dm_daemon.embedding.pooling import pool, split_text, unit_rows


@pytest.mark.parametrize(
    "text",
    ["word " * 1000, "x" * 1000, "", " ", "a", "a bc " * 7 + "d" * 90 + " e", "\n".join("line" * 9 for _ in range(99))],
)
@pytest.mark.parametrize("limit", [1, 2, 7, 100, 100_000])
def test_pieces_fit_the_limit_and_join_to_the_text(text: str, limit: int) -> None:
    pieces = split_text(text, limit, len)

    assert "".join(piece for piece, _ in pieces) == text
    assert all(size == len(piece) <= limit for piece, size in pieces)


def test_pieces_end_at_spaces_where_there_are_any() -> None:
    text = "seven letters or fewer to each of these words here " * 20

    pieces = split_text(text, 120, len)

    assert all(piece.endswith(" ") for piece, _ in pieces)


def test_a_character_larger_than_the_limit_is_kept_whole() -> None:
    pieces = split_text("ab🙂", 2, lambda part: len(part.encode()))

    assert "".join(piece for piece, _ in pieces) == "ab🙂"
    assert ("🙂", 4) in pieces


def test_pooling_weighs_pieces_by_size_and_keeps_single_pieces_to_the_bit() -> None:
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)

    pooled = pool(vectors, [1, 0, 1], [3, 5, 4], 2)

    np.testing.assert_array_equal(pooled[0], vectors[1])
    np.testing.assert_allclose(pooled[1], [0.6, 0.8], rtol=1e-6)  # (3, 4) scaled to length 1


def test_pooling_nothing_gives_no_rows() -> None:
    assert pool(np.empty((0, 5), np.float32), [], [], 0).shape == (0, 5)


@pytest.mark.parametrize("bad", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_a_vector_without_direction_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="vector 1 of 2"):
        unit_rows(np.array([[3.0, 4.0], bad], np.float32))
