"""What becomes of a text longer than a model's window: pieces, and one vector out of their vectors.

The vector of a text is the mean of its pieces' unit vectors, weighted by their sizes, scaled to length 1.
A text of one piece keeps that piece's vector to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt


def split_text(text: str, limit: int, size: Callable[[str], int]) -> list[tuple[str, int]]:
    """Cut `text` into pieces of at most `limit` by `size`, at spaces where there are any near.

    `size` counts what the limit is in (tokens, bytes). Each piece comes with its own size; joined, the pieces
    are the text. One character is never cut, whatever its size.
    """
    total = size(text)
    if total <= limit or len(text) <= 1:
        return [(text, total)]
    parts = min(-(-total // limit), len(text))
    step = -(-len(text) // parts)
    pieces: list[tuple[str, int]] = []
    start = 0
    while start < len(text):
        end = _cut_near(text, start, min(start + step, len(text)))
        pieces.extend(split_text(text[start:end], limit, size))
        start = end
    return pieces


def _cut_near(text: str, start: int, end: int) -> int:
    """Return the place after the last space in the final fifth of text[start:end], else `end`."""
    if end == len(text):
        return end
    space = text.rfind(" ", end - (end - start) // 5, end)
    return space + 1 if space > start else end


def pool(
    vectors: npt.NDArray[np.float32], owners: Sequence[int], weights: Sequence[int], count: int
) -> npt.NDArray[np.float32]:
    """Return one unit vector for each of `count` texts from unit vectors of pieces, (P, D) to (count, D).

    Piece i belongs to text `owners[i]` and weighs `weights[i]`; every text has at least one piece.
    """
    pooled = np.zeros((count, vectors.shape[1]), np.float32)
    if len(owners) == count:
        pooled[np.asarray(owners, np.intp)] = vectors
        return pooled
    scale = np.maximum(np.asarray(weights, np.float32), 1.0)
    owner = np.asarray(owners, np.intp)
    np.add.at(pooled, owner, vectors * scale[:, None])
    pieces = np.bincount(owner, minlength=count)
    single = pieces[owner] == 1
    pooled[owner[single]] = vectors[single]
    several = pieces > 1
    norms = np.linalg.norm(pooled[several], axis=1, keepdims=True)
    pooled[several] = pooled[several] / np.maximum(norms, np.finfo(np.float32).tiny)
    return pooled


def unit_rows(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scale every row to length 1. Raises ValueError for a row without a direction (zero, NaN, infinite)."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(norms).all() or (norms == 0).any():
        row = int(np.flatnonzero(~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0))[0])
        raise ValueError(f"vector {row} of {len(vectors)} has length {norms[row, 0]}")
    scaled: npt.NDArray[np.float32] = (vectors / norms).astype(np.float32)
    return scaled
