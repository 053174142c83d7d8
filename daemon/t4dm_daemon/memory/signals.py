"""What speaks for a memory as the answer to a question: one number per signal, and their weights.

    dense      cosine / best cosine of what was proposed; what lies at a right angle or beyond counts 0
    lexical    BM25 / best BM25
    window     BM25 with the neighbours in the session / best of these
    actor      1 where the memory is by someone whom the question names
    date       1 where it happened at a time that the question names, or up to 14 days after
    statement  min(1, words / 12) unless it is a question itself: statements answer, questions ask
    time       1 where it speaks of a time, and the question asks for one
    outdated   1 where it has stopped being true, and the question asks for what is; its weight is negative
    graph      activation that spread from the best hits along links (`spreading.py`)
    recency    retrievability R(t, S) = (1 + f t / S)^-1/2 (power law of forgetting as in FSRS-4.5 and later; Ye 2024)
    kappa, importance   as they are

Weights were chosen once and round (docs/log.md); those of recency, kappa and importance are 0 because they did not
help on conversations, and are there to be set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from t4dm.sdk import models as m
from t4dm_daemon.core.clock import OPEN, UNBOUNDED
from t4dm_daemon.memory import json_text
from t4dm_daemon.memory.question import Understood
from t4dm_daemon.storage.protocol import Candidate, Scales

Contributions = dict[str, float]

DATE_AFTER_US: Final = 14 * 86_400_000_000
STATEMENT_WORDS: Final = 12
FORGETTING: Final = 19 / 81
"""f: R = .9 after S days."""
FIRST_STABILITY_DAYS: Final = 3.0
STABILITY_GROWTH: Final = 2.0
"""Each use doubles S. A stand-in until use is graded: FSRS's own update needs the outcome of every recall."""
_MAX_DOUBLINGS: Final = 12
_DAY_US: Final = 86_400_000_000

_SPEAKS_OF_TIME: Final = re.compile(
    r"\b(?:yesterday|today|tonight|tomorrow|ago|recently|since|weekend|"
    r"(?:last|next|this|past) (?:night|week|weekend|month|year|morning|afternoon|evening|"
    r"summer|winter|spring|autumn|fall)|"
    r"(?:day|week|month|year)s?|(?:mon|tues|wednes|thurs|fri|satur|sun)day|"
    r"january|february|march|april|june|july|august|september|october|november|december|in may|may \d+|"
    r"summer|winter|spring|autumn|(?:19|20)\d\d|\d{1,2}(?::\d\d)? ?[ap]m)\b",
    re.IGNORECASE,
)


def retrievability(candidate: Candidate, now: int) -> float:
    """Return the chance that the memory is still retrievable at `now`, in (0, 1]."""
    item = candidate.item
    last = max(item.event_time, item.last_accessed if item.last_accessed != UNBOUNDED else item.event_time)
    stability = FIRST_STABILITY_DAYS * STABILITY_GROWTH ** min(item.access_count, _MAX_DOUBLINGS)
    days = max(0.0, (now - last) / _DAY_US)
    return float((1.0 + FORGETTING * days / stability) ** -0.5)


def actor_of(candidate: Candidate, fields: Sequence[str]) -> set[str]:
    """Return the values of the actor fields of a memory: columns, or keys of its metadata."""
    item = candidate.item
    metadata: Mapping[str, object] | None = None
    found = set()
    for field in fields:
        if field in ("user_id", "agent_id"):
            value: object = getattr(item, field)
        else:
            if metadata is None:
                metadata = json_text.decode(item.metadata_json) if item.metadata_json != b"{}" else {}
            value = metadata.get(field)
        if isinstance(value, str):
            found.add(value)
    return found


def contributions(
    candidate: Candidate,
    scales: Scales,
    weights: m.SearchWeights,
    asked: Understood | None,
    *,
    now: int,
    is_timeless: bool,
    actor_fields: Sequence[str],
) -> Contributions:
    """Return what each signal adds to the score of a candidate, its weight included; what adds nothing is left out.

    Args:
        candidate: The memory.
        scales: The best of each signal.
        weights: Of the signals.
        asked: What the question asks, None for a question that is only a vector.
        now: The present of the read, in microseconds.
        is_timeless: The read names a moment of valid time, so nothing it sees is outdated.
        actor_fields: Where a memory says whose it is.
    """
    item = candidate.item
    found: Contributions = {}

    def add(name: str, weight: float, value: float) -> None:
        if weight and value:
            found[name] = weight * value

    add("dense", weights.dense, _share(candidate.similarity or 0.0, scales.similarity))
    add("lexical", weights.lexical, _share(candidate.lexical, scales.lexical))
    add("window", weights.window, _share(candidate.window, scales.window))
    if asked is not None:
        if asked.actors and weights.actor:
            add("actor", weights.actor, float(not asked.actors.isdisjoint(actor_of(candidate, actor_fields))))
        if asked.dates:
            is_then = any(when.holds(item.event_time, after_us=DATE_AFTER_US) for when in asked.dates)
            add("date", weights.date, float(is_then))
        add("statement", weights.statement, _statement(item.content))
        if asked.asks_when and weights.time:
            add("time", weights.time, float(_SPEAKS_OF_TIME.search(item.content) is not None))
        if not (is_timeless or asked.asks_past):
            add("outdated", weights.outdated, float(item.valid_to != OPEN and item.valid_to <= now))
    if weights.recency:
        add("recency", weights.recency, retrievability(candidate, now))
    add("kappa", weights.kappa, item.kappa)
    add("importance", weights.importance, item.importance)
    return found


def _share(value: float, best: float) -> float:
    return max(0.0, value) / best if best > 0 else 0.0


def _statement(content: str) -> float:
    text = content.rstrip()
    if text.endswith("]"):  # what a caption says is not asked
        text = text[: text.rfind("[")].rstrip() if "[" in text else text
    return 0.0 if text.endswith(("?", "？")) else min(1.0, len(text.split(None, STATEMENT_WORDS)) / STATEMENT_WORDS)
