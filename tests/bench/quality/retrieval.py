"""Which of the turns that answer a question come first, through a running daemon with its default settings.

One turn is one memory: its session, its speaker in the metadata, `event_time` in the past, stored in order. Only
questions that have an answer are asked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from t4dm.sdk import T4DMClient
from tests.bench.quality.conversations import Asked, Conversation, batches
from tests.bench.quality.methods import Method, Methods
from tests.bench.quality.metrics import interval, ndcg, recall, reciprocal_rank
from tests.bench.report import Table, percentiles

CUTS = (1, 5, 10, 20)


@dataclass
class Ranked:
    """What one method has found, question by question."""

    asked: list[Asked] = field(default_factory=list)
    found: list[Sequence[str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def ask(self, method: Method, questions: Sequence[Asked]) -> None:
        for question in questions:
            start = time.perf_counter()
            found = method(question.text)
            self.seconds.append(time.perf_counter() - start)
            self.asked.append(question)
            self.found.append(found)

    def recalls(self, k: int, category: str | None = None) -> list[float]:
        return [
            recall(found, asked.evidence, k)
            for asked, found in zip(self.asked, self.found, strict=True)
            if category in (None, asked.category)
        ]

    def means(self) -> tuple[float, float]:
        """Return MRR and nDCG@10."""
        pairs = list(zip(self.found, (asked.evidence for asked in self.asked), strict=True))
        return (
            float(np.mean([reciprocal_rank(*pair) for pair in pairs])),
            float(np.mean([ndcg(*pair, 10) for pair in pairs])),
        )


def run(client: T4DMClient, own: Conversation, foreign: Sequence[Conversation], *, seed: int) -> None:
    for group, name in (([own], "our own conversation"), (list(foreign), "LoCoMo format")):
        if group:
            _measure(client, group, name, seed)


def _measure(client: T4DMClient, conversations: Sequence[Conversation], title: str, seed: int) -> None:
    results: dict[str, Ranked] = {}
    ablated: dict[str, Ranked] = {}
    each: dict[str, Ranked] = {}
    known = Ranked()
    for one in conversations:
        for batch in batches(one):
            client.batch(batch)
        methods = Methods(client, one)
        for name, method in methods.baselines.items():  # ours is the first: it pays for embedding the questions
            results.setdefault(name, Ranked()).ask(method, one.answerable)
        each[one.name] = Ranked()
        each[one.name].ask(next(iter(methods.baselines.values())), one.answerable)
        known.seconds += each[one.name].seconds
        for name, method in methods.ablations.items():
            ablated.setdefault(name, Ranked()).ask(method, one.answerable)
    turns = sum(len(one.turns) for one in conversations)
    ours = next(iter(results.values()))
    _print(f"Retrieval, {title}: {turns} turns, {len(ours.asked)} questions", results, seed)
    categories = sorted({asked.category for asked in ours.asked})
    table = Table(f"Recall@10 by category, {title}", ("method", *categories))
    table.row("questions", *(f"{len(ours.recalls(10, category))}" for category in categories))
    for name, ranked in results.items():
        table.row(name, *(float(np.mean(ranked.recalls(10, category))) for category in categories))
    table.print()
    if len(each) > 1:
        table = Table(f"Recall@10 by conversation, {title}", ("conversation", "questions", "T4DM"))
        for name, ranked in each.items():
            table.row(name, len(ranked.asked), float(np.mean(ranked.recalls(10))))
        table.print()
    table = Table(f"Ablation, {title}", ("ours", "recall@1", "recall@10", "difference", "95 % of differences", "MRR"))
    for name, ranked in (("as it is", ours), *ablated.items()):
        differences = (np.array(ranked.recalls(10)) - np.array(ours.recalls(10))).tolist()
        low, high = interval(differences, seed=seed)
        mrr, _ = ranked.means()
        table.row(
            name,
            float(np.mean(ranked.recalls(1))),
            float(np.mean(ranked.recalls(10))),
            f"{np.mean(differences):+.3f}",
            f"{low:+.3f} … {high:+.3f}",
            mrr,
        )
    table.print()
    first, again = percentiles(ours.seconds), percentiles(known.seconds)
    print(
        f"\nA hybrid search took p50 {first[0]:.1f} ms, p99 {first[1]:.1f} ms; with the question's embedding cached {again[0]:.1f} and {again[1]:.1f} ms."
    )


def _print(title: str, results: dict[str, Ranked], seed: int) -> None:
    table = Table(title, ("method", *(f"recall@{k}" for k in CUTS), "95 % of recall@10", "MRR", "nDCG@10"))
    for name, ranked in results.items():
        low, high = interval(ranked.recalls(10), seed=seed)
        table.row(name, *(float(np.mean(ranked.recalls(k))) for k in CUTS), f"{low:.3f} … {high:.3f}", *ranked.means())
    table.print()
