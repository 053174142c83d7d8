"""What a hybrid search costs beside the embedding of its question.

    python -m tests.bench hybrid [--items N]

N memories of 384 dimensions in sessions of thirty, texts of fourteen words with the frequencies of natural language
(Zipf-Mandelbrot, without the head), 26 speakers and a hundred users, flushed and merged. The same questions are asked of all signals together,
of words alone, of vectors alone, and under a filter that one in a hundred passes, whose first ten are compared with
those of a plain computation over what passes. A numpy scan of all vectors in the same run is the limit beside it.
"""

from __future__ import annotations

import argparse
import random
import string
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from t4dm.sdk import models as m
from t4dm_daemon.core.filter import Filter, Leaf
from t4dm_daemon.core.item import Edge, Item
from t4dm_daemon.memory.question import understand, words_of
from t4dm_daemon.memory.ranking import Hit, Question, rank
from t4dm_daemon.storage.protocol import PRESENT, Write
from t4dm_daemon.storage.t4dx import T4DXEngine
from tests.bench.report import Table, percentiles

DIMENSION = 384
SEED = 7
FIELDS = ("speaker", "user_id")
WORDS = 20_000
HEAD = 50
"""The fifty most frequent words of a language are stop words, which no index holds."""
PER_SESSION = 30
ROUNDS = 200
AIM_MS = 25.0


class Store:
    """A store of made-up memories, and questions that resemble them."""

    def __init__(self, root: Path, items: int) -> None:
        self.rng = np.random.default_rng(SEED)
        letters = random.Random(SEED)
        self.vocabulary = ["".join(letters.choices(string.ascii_lowercase, k=3 + n % 6)) for n in range(WORDS)]
        frequencies = 1.0 / (np.arange(WORDS) + HEAD)
        self.words = self.rng.choice(WORDS, size=(items, 14), p=frequencies / frequencies.sum())
        centres = self.rng.normal(size=(500, DIMENSION)).astype(np.float32)
        noise = self.rng.normal(size=(items, DIMENSION)).astype(np.float32)
        self.vectors = centres[self.rng.integers(0, len(centres), items)] + np.float32(0.6) * noise
        self.engine = T4DXEngine(root, sync=False)
        for first in range(0, items, 1000):
            chosen = range(first, min(first + 1000, items))
            links = [Edge(f"m{n - 1}", f"m{n}", "TEMPORAL_BEFORE") for n in chosen if n % PER_SESSION]
            self.engine.insert([Write(self._item(n)) for n in chosen], links)
        self.engine.compact(everything=True)

    def text(self, number: int, words: int = 14) -> str:
        return " ".join(self.vocabulary[word] for word in self.words[number][:words])

    def _item(self, number: int) -> Item:
        return Item(
            id=f"m{number}",
            content=self.text(number),
            vector=self.vectors[number],
            session_id=f"s{number // PER_SESSION}",
            user_id=f"u{number % 100}",
            metadata_json=b'{"speaker": "Speaker%s"}' % string.ascii_uppercase[number % 26].encode(),
            event_time=number * 1_000_000,
        )

    def question(self, number: int, where: Filter | None, **fields: object) -> Question:
        number = number * 7919 % len(self.vectors)
        text = f"What did SpeakerC say about {self.text(number, 6)}?"
        actors = self.engine.values_with(FIELDS, words_of(text), where=where)
        noise = np.random.default_rng(number).normal(size=DIMENSION).astype(np.float32)
        vector = self.vectors[number] + np.float32(0.3) * noise
        now = time.time_ns() // 1000
        given: dict[str, object] = {"mode": "hybrid", "weights": m.SearchWeights(), **fields}
        return Question(
            asked=understand(text, actors, now=now),
            vector=vector,
            where=where,
            view=PRESENT,
            now=now,
            limit=10,
            actor_fields=FIELDS,
            **given,  # type: ignore[arg-type]
        )


def _timed(call: Callable[[int], object], rounds: int = ROUNDS) -> Sequence[float]:
    call(0)
    times = []
    for number in range(1, rounds + 1):
        start = time.perf_counter()
        call(number)
        times.append(time.perf_counter() - start)
    return times


def _ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.item.id for hit in hits]


def run(items: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory) / "space", items)
        one_in_a_hundred = Leaf("user_id", "eq", "u7")

        def ask(where: Filter | None = None, **fields: object) -> Callable[[int], list[Hit]]:
            return lambda number: rank(store.question(number, where, **fields), store.engine)

        unit = store.vectors / np.linalg.norm(store.vectors, axis=1, keepdims=True)
        rows = {
            "hybrid": _timed(ask()),
            "hybrid, 1 % filter": _timed(ask(one_in_a_hundred)),
            "words alone": _timed(ask(mode="lexical")),
            "without links": _timed(ask(weights=m.SearchWeights(graph=0.0))),
            "vectors alone": _timed(ask(mode="vector", collapse=False)),
            "numpy scan": _timed(lambda number: np.argpartition(unit @ unit[number], -10)[-10:]),
        }
        table = Table(f"Hybrid search of {items:,} x {DIMENSION}, without embedding", ("search", "p50 ms", "p99 ms"))
        for name, times in rows.items():
            p50, p99 = percentiles(times)
            table.row(name, f"{p50:.2f}", f"{p99:.2f}")
        table.print()
        exact = sum(
            _ids(ask(one_in_a_hundred)(number)) == _ids(ask(one_in_a_hundred, candidates=items // 50)(number))
            for number in range(50)
        )
        print(f"1 % filter: the same ten as with every memory that passes as a candidate: {exact} of 50 questions")
        print(f"aim: p99 of hybrid at most {AIM_MS:g} ms")
        store.engine.close()


def main(options: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench hybrid", description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    run(parser.parse_args(options).items)
