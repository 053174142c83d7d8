"""From a question to ranked hits.

A `Signal` proposes candidates, each with its own raw score; the ranker fuses what the signals say. Today
there is one signal, the dense one. Its score is the cosine moved to [0, 1]: (1 + cos) / 2, which keeps the
order and makes `min_score` mean the same in every space of one model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.filter import Filter
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.protocol import StorageBackend, View


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, with everything a signal needs."""

    text: str | None
    vector: npt.NDArray[np.float32] | None
    where: Filter | None
    view: View
    limit: int
    min_score: float | None = None
    with_vectors: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """A ranked memory and the contribution of each signal to its score."""

    item: Item
    score: float
    similarity: float | None
    contributions: Mapping[str, float] = field(default_factory=dict)


class Signal(Protocol):
    """One way to find memories."""

    name: str

    def hits(self, question: Question, backend: StorageBackend) -> list[Hit]:
        """Return at most `question.limit` hits, best first."""
        ...


class DenseSignal:
    """Nearness of meaning: cosine between the question's embedding and the memory's."""

    name = "dense"

    def hits(self, question: Question, backend: StorageBackend) -> list[Hit]:
        if question.vector is None:
            return []
        least = -1.0 if question.min_score is None else 2.0 * question.min_score - 1.0
        found = backend.search(
            question.vector,
            question.limit,
            where=question.where,
            view=question.view,
            min_similarity=least,
            with_vectors=question.with_vectors,
        )
        return [self._hit(scored.item, scored.similarity) for scored in found]

    def _hit(self, item: Item, similarity: float) -> Hit:
        score = min(1.0, max(0.0, (1.0 + similarity) / 2.0))
        return Hit(item, score, similarity, {self.name: score})


class Ranker:
    """Answer a question from the signals of a mode."""

    def __init__(self, modes: Mapping[str, Sequence[Signal]]) -> None:
        self._modes = modes

    @property
    def modes(self) -> list[str]:
        return list(self._modes)

    def rank(self, mode: str, question: Question, backend: StorageBackend) -> list[Hit]:
        """Return hits by score, ties by id. With one signal its order already is that."""
        (signal,) = self._modes[mode]
        return signal.hits(question, backend)
