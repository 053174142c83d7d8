"""From a question to ranked hits.

    probe      every signal proposes candidates; each candidate gets what all signals say (`storage.Probe`)
    fuse       contributions are weighted and added (`signals.py`)
    spread     activation flows from the best hits along links, and may bring in others (`spreading.py`)
    hand over  of a fact that has changed the version that is asked for gets the score (`succession.py`)
    calibrate  the sum becomes a score in [0, 1] that means the same on every store (`calibration.py`)
    thin out   near-duplicates are shown once, and where it is asked for, hits that differ are preferred (MMR)

Modes: `hybrid` uses all of it; `lexical` leaves out vectors, `graph` words and vectors are only where it starts from;
`vector` is the plain neighbour search of the store, and its score is (1 + cosine) / 2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from t4dm.sdk import models as m
from t4dm_daemon.core.filter import Filter
from t4dm_daemon.core.item import Item
from t4dm_daemon.memory.calibration import CONSIDERED, confidence
from t4dm_daemon.memory.diversity import diverse, without_duplicates
from t4dm_daemon.memory.question import Understood
from t4dm_daemon.memory.signals import Contributions, contributions
from t4dm_daemon.memory.spreading import SEEDS, spread
from t4dm_daemon.memory.succession import HEIRS, newer, successions
from t4dm_daemon.storage.protocol import Candidate, Probe, Scales, StorageBackend, View

SIGNALS: Final = ("dense", "lexical", "window")
"""Those that propose candidates, and have ranks."""
MAX_ROUNDS: Final = 4
"""How often more are looked at: 40, 320, 2560, 20,480 candidates."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, with everything that ranking needs.

    Attributes:
        asked: What the text asks; None for a question that is only a vector.
        vector: Of the text without names, or the caller's own; None leaves meaning out.
        where: What passes.
        view: What is seen.
        now: The present of the read, in microseconds.
        limit: Hits wanted.
        mode: See the module.
        weights: Of the signals.
        min_score: Hits below it are left out.
        abstain_below: Without this much confidence there is no answer.
        mmr: Preference for hits that differ.
        collapse: Show near-duplicates once.
        candidates: How many each signal proposes.
        kept: How many of these, by meaning and words alone, are looked at more closely.
        actor_fields: Where memories say whose they are.
        with_vectors: Items carry their vectors.
    """

    asked: Understood | None
    vector: npt.NDArray[np.float32] | None
    where: Filter | None
    view: View
    now: int
    limit: int
    mode: m.SearchMode
    weights: m.SearchWeights
    min_score: float | None = None
    abstain_below: float = 0.0
    mmr: m.Mmr | None = None
    collapse: bool = True
    candidates: int = 80
    kept: int = 40
    actor_fields: Sequence[str] = ()
    with_vectors: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """A ranked memory: its score is the sum of the contributions."""

    item: Item
    score: float
    similarity: float | None
    contributions: Contributions = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Fused:
    candidate: Candidate
    parts: Contributions

    @property
    def total(self) -> float:
        return sum(self.parts.values())


Fetch = Callable[[Iterable[str]], None]
"""Takes in those of some memories that are seen and not among the candidates yet."""


def rank(question: Question, backend: StorageBackend) -> list[Hit]:
    """Return hits by score, ties by id; empty when nothing is relevant.

    Where memories that say the same leave too few others, more are looked at.
    """
    reach = max(question.kept, 2 * question.limit, 0 if question.mmr is None else question.mmr.fetch_k)
    before = -1
    for _ in range(MAX_ROUNDS):
        hits = _nearest(question, backend, reach) if question.mode == "vector" else _ranked(question, backend, reach)
        shown, is_crowded = _thinned(hits, question)
        if len(shown) >= question.limit or not is_crowded or len(hits) == before:
            break
        before, reach = len(hits), 8 * reach
    return shown


def _ranked(question: Question, backend: StorageBackend, reach: int) -> list[Hit]:
    """Return what is found among the best `reach` candidates, before it is thinned out."""
    weights = _weights_of(question)
    is_dense = weights.dense > 0 or question.mode == "graph"
    probe = backend.probe(
        vector=question.vector if is_dense else None,
        text=None if question.asked is None else question.asked.nameless,
        k=max(question.candidates, 3 * question.limit, reach if reach > 2 * question.kept else 0),
        where=question.where,
        view=question.view,
        with_vectors=True,
    )
    candidates = probe.candidates(keep=reach, weights=(weights.dense, weights.lexical, weights.window))
    scales = probe.scales
    fused: dict[str, _Fused] = {}

    def take_in(found: Iterable[Candidate]) -> None:
        for one in found:
            fused[one.item.id] = _Fused(one, _parts(one, scales, question, weights))

    def fetch(names: Iterable[str]) -> None:
        take_in(probe.among(name for name in names if name not in fused))

    take_in(candidates)
    if weights.graph:
        _spread(probe, fused, fetch, weights.graph)
    if question.asked is not None and question.view.as_of is None and weights.outdated:
        _hand_over(probe, fused, fetch, question.asked, question.now)
    if question.mode == "graph":
        fused = {name: one for name, one in fused.items() if "graph" in one.parts}
    return _calibrated(_ordered(fused), question)


def _ordered(fused: Mapping[str, _Fused]) -> list[_Fused]:
    return sorted(fused.values(), key=lambda one: (-one.total, one.candidate.item.id))


def _weights_of(question: Question) -> m.SearchWeights:
    if question.mode == "lexical":
        return question.weights.model_copy(update={"dense": 0.0, "graph": 0.0})
    return question.weights


def _parts(one: Candidate, scales: Scales, question: Question, weights: m.SearchWeights) -> Contributions:
    return contributions(
        one,
        scales,
        weights,
        question.asked,
        now=question.now,
        is_timeless=question.view.as_of is not None,
        actor_fields=question.actor_fields,
    )


def _spread(probe: Probe, fused: dict[str, _Fused], fetch: Fetch, weight: float) -> None:
    """Let activation flow from the best, and add to `fused` what it reaches."""
    best = _ordered(fused)[:SEEDS]
    if not best or best[0].total <= 0:
        return
    top = best[0].total
    reached = spread(probe, {one.candidate.item.id: max(0.0, one.total) / top for one in best})
    fetch(reached)
    for name, activation in reached.items():
        if name in fused:
            fused[name].parts["graph"] = weight * activation


def _hand_over(probe: Probe, fused: dict[str, _Fused], fetch: Fetch, asked: Understood, now: int) -> None:
    """Let the versions of changed facts that are asked for have the scores of the others."""
    best = {one.candidate.item.id: one.total - one.parts.get("outdated", 0.0) for one in _ordered(fused)[:HEIRS]}

    def versions(chain: frozenset[str]) -> dict[str, tuple[Item, float]]:
        names = sorted(chain)
        fetch(names)
        return {name: (fused[name].candidate.item, fused[name].total) for name in names if name in fused}

    for name, gain in successions(best, probe, versions, asked, now).items():
        fused[name].parts["succession"] = gain
    if not asked.asks_past:
        hits = [(one.candidate.item, one.total) for one in _ordered(fused)[:HEIRS]]
        for name, gain in newer(hits, now).items():
            fused[name].parts["newer"] = gain


def _calibrated(ordered: Sequence[_Fused], question: Question) -> list[Hit]:
    sure = confidence(one.candidate for one in ordered[:CONSIDERED])
    if not ordered or sure < question.abstain_below or ordered[0].total <= 0:
        return []
    factor = sure / ordered[0].total
    ranks = _ranks([one.candidate for one in ordered])
    hits = []
    for one in ordered:
        parts = {name: factor * part for name, part in one.parts.items()}
        score = sum(parts.values())
        if score < 0:  # what is outdated and hardly fits: it may be shown, as worth nothing
            parts["floor"] = -score
            score = 0.0
        item = one.candidate.item
        hits.append(Hit(item, score, one.candidate.similarity, parts, ranks[item.id]))
    return sorted(hits, key=lambda hit: (-hit.score, hit.item.id))


def _ranks(candidates: Sequence[Candidate]) -> dict[str, dict[str, int]]:
    """Return for each id its place in the signals that know it, from 1."""
    ranks: dict[str, dict[str, int]] = {one.item.id: {} for one in candidates}
    known = {
        "dense": [(one.similarity, one.item.id) for one in candidates if one.similarity is not None],
        "lexical": [(one.lexical, one.item.id) for one in candidates if one.lexical > 0],
        "window": [(one.window, one.item.id) for one in candidates if one.window > 0],
    }
    for signal in SIGNALS:
        for place, (_, name) in enumerate(sorted(known[signal], key=lambda one: (-one[0], one[1])), 1):
            ranks[name][signal] = place
    return ranks


def _nearest(question: Question, backend: StorageBackend, reach: int) -> list[Hit]:
    if question.vector is None:
        return []
    is_thinned = question.collapse or question.mmr is not None
    found = backend.search(
        question.vector,
        reach if is_thinned else question.limit,
        where=question.where,
        view=question.view,
        with_vectors=question.with_vectors or is_thinned,
    )
    hits = []
    for place, one in enumerate(found, 1):
        score = min(1.0, max(0.0, (1.0 + one.similarity) / 2.0))
        hits.append(Hit(one.item, score, one.similarity, {"dense": score}, {"dense": place}))
    return hits


def _thinned(hits: Sequence[Hit], question: Question) -> tuple[list[Hit], bool]:
    """Return what is shown of ranked hits, and whether some were left out for saying the same as others."""
    if question.min_score is not None:
        hits = [hit for hit in hits if hit.score >= question.min_score]
    fetched = question.limit if question.mmr is None else max(question.limit, question.mmr.fetch_k)
    several = without_duplicates(hits, fetched) if question.collapse else hits
    is_crowded = len(several) < min(fetched, len(hits))
    if question.mmr is not None:
        several = diverse(several[:fetched], question.limit, question.mmr.lambda_)
    shown = several[: question.limit]
    if question.with_vectors:
        return list(shown), is_crowded
    return [dataclasses.replace(hit, item=dataclasses.replace(hit.item, vector=None)) for hit in shown], is_crowded
