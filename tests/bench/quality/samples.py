"""What the confidence of an answer is made of, for questions whose answer is in the store or is not."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from t4dm.sdk import models as m
from t4dm_daemon.config import Settings
from t4dm_daemon.embedding.factory import make_embedder
from t4dm_daemon.memory.calibration import CONSIDERED
from t4dm_daemon.memory.question import understand
from t4dm_daemon.memory.ranking import Question, rank
from t4dm_daemon.runtime import Runtime
from t4dm_daemon.storage.protocol import PRESENT
from tests.bench.quality.conversations import Asked, Conversation, asked_elsewhere, batches

FOUND_IN = 10


@dataclass(frozen=True)
class Sample:
    """One question: `similarity` and `coverage` are the greatest among the best three hits."""

    source: str
    kind: str
    question: str
    is_answerable: bool
    is_found: bool
    """Evidence is among the first ten."""
    similarity: float
    coverage: float


def collect(conversations: Sequence[Conversation], *, foreign: Sequence[Conversation] = ()) -> list[Sample]:
    """Ask every conversation its questions, and each of `foreign` those of the others of them, in this process."""
    with tempfile.TemporaryDirectory(prefix="t4dm-samples-") as directory:
        settings = Settings(
            storage_path=Path(directory) / "store", cache_path=Path(directory), embedding_model="minilm"
        )
        runtime = Runtime(settings)
        runtime.start()
        try:
            samples: list[Sample] = []
            for one in conversations:
                for batch in batches(one):
                    runtime.service.batch(batch)
                asked = list(one.questions)
                if one in foreign:
                    asked += [
                        asked_elsewhere(question, other, one)
                        for other in foreign
                        if other is not one
                        for question in other.answerable
                    ]
                samples += _ask(runtime, one, asked)
            return samples
        finally:
            runtime.close()


def _ask(runtime: Runtime, conversation: Conversation, questions: Sequence[Asked]) -> list[Sample]:
    settings, now = runtime.settings, time.time_ns() // 1000
    embedder = make_embedder("minilm", cache_dir=settings.cache, threads=1, base_url=None, api_key=None)
    embedder.load()
    backend = runtime.service.spaces.open(conversation.name).backend
    fields = tuple(settings.search.actor_fields)
    understood = [understand(question.text, conversation.speakers, now=now) for question in questions]
    vectors = embedder.embed([asked.nameless for asked in understood])
    samples = []
    for question, asked, vector in zip(questions, understood, vectors, strict=True):
        hits = rank(
            Question(
                asked=asked,
                vector=vector,
                where=None,
                view=PRESENT,
                now=now,
                limit=FOUND_IN,
                mode="hybrid",
                weights=m.SearchWeights(),
                collapse=False,
                candidates=settings.search.candidates,
                actor_fields=fields,
            ),
            backend,
        )
        probe = backend.probe(vector=vector, text=asked.nameless, k=1, where=None, view=PRESENT, with_vectors=False)
        best = probe.among([hit.item.id for hit in hits[:CONSIDERED]])
        samples.append(
            Sample(
                source=conversation.name,
                kind=question.category,
                question=question.text,
                is_answerable=bool(question.evidence),
                is_found=any(hit.item.id in question.evidence for hit in hits),
                similarity=max((max(0.0, one.similarity or 0.0) for one in best), default=0.0),
                coverage=max((one.coverage for one in best), default=0.0),
            )
        )
    return samples
