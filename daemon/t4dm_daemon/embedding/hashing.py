"""Feature hashing: a vector from the letters of a text alone, without a model.

Features are lower-case words, pairs of neighbouring words, and the 3- to 5-grams of `<word>`. Each adds its
weight, with a sign, at one place: both come from 8 bytes of blake2b, so vectors are equal on every machine.

Source: Weinberger et al. (2009), "Feature hashing for large scale multitask learning"; the n-grams of
`<word>` follow Bojanowski et al. (2017), "Enriching word vectors with subword information".
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import EmbeddingError

_WORD: Final = re.compile(r"\w+")
_WORD_WEIGHT: Final = 1.0
_PAIR_WEIGHT: Final = 0.5
_NGRAM_WEIGHT: Final = 0.3
_NGRAM_SIZES: Final = (3, 4, 5)


class HashingEmbedder:
    """Embed by hashing words and character n-grams. It does not understand meaning.

    "car" and "automobile" are unrelated to it; only shared letters count. It is for tests and for trying
    things out: fast, deterministic, nothing to load.
    """

    def __init__(self, dimension: int = 256) -> None:
        if dimension < 2:
            raise EmbeddingError(f"the hashing dimension must be at least 2, it is {dimension}", dimension=dimension)
        self._dimension = dimension

    @property
    def name(self) -> str:
        return "hashing"

    @property
    def identity(self) -> str:
        return f"hashing:v1@{self._dimension}"

    @property
    def dimension(self) -> int:
        return self._dimension

    def load(self) -> None:
        """Do nothing; there is nothing to load."""

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one unit vector per text, (len(texts), dimension); a text without words has one too."""
        vectors = np.zeros((len(texts), self._dimension), np.float64)
        for row, text in enumerate(texts):
            for feature, weight in _features(text):
                self._add(vectors[row], feature, weight)
            if not np.linalg.norm(vectors[row]) > 1e-6:  # no words, or features that cancel each other
                vectors[row] = 0.0
                self._add(vectors[row], f"text {text}", 1.0)
        unit: npt.NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def close(self) -> None:
        """Do nothing; nothing is held."""

    def _add(self, row: npt.NDArray[np.float64], feature: str, weight: float) -> None:
        digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        number = int.from_bytes(digest, "little")
        row[(number >> 1) % self._dimension] += weight if number & 1 else -weight


def _features(text: str) -> Iterator[tuple[str, float]]:
    before = ""
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        yield f"word {word}", _WORD_WEIGHT
        if before:
            yield f"pair {before} {word}", _PAIR_WEIGHT
        before = word
        marked = f"<{word}>"
        for size in _NGRAM_SIZES:
            for start in range(len(marked) - size + 1):
                yield f"gram {marked[start : start + size]}", _NGRAM_WEIGHT
