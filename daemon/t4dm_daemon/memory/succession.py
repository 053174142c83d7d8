"""A fact that has changed: the score of any of its versions goes to the version that was asked for.

Versions of a fact that were stored one in place of the other are a chain of SUPERSEDES links. Which of them a question
means has little to do with which of them sounds most like it: "What is the rent?" may sound most like the rent of
three years ago. So the best score in a chain is handed to the version that is true now; where the question asks for
what was, to the one before it; where it asks how things began, to the first.

    succession = best score in the chain - own score, where that is positive

A read with `as_of` sees one version of each chain already, and is left alone.

Where nobody linked the versions, two that say nearly the same (cosine >= .9) and answer nearly as well are taken for
versions of one fact, and the one that happened later goes first:

    newer = best score among them - own score, where that is at most .1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from t4dm_daemon.core.item import Item
from t4dm_daemon.memory.diversity import unit
from t4dm_daemon.memory.question import Understood
from t4dm_daemon.storage.protocol import Probe

HEIRS: Final = 10
"""Best hits whose chains are looked at."""
MAX_VERSIONS: Final = 64
PAST_LEAD: Final = 0.05
"""Added where the past was asked for, for the present version often has the same words."""

ALIKE: Final = 0.9
"""Cosine from which two memories may be versions of one fact."""
CLOSE: Final = 0.1
"""Difference of scores up to which they answer nearly as well."""
NEWER_LEAD: Final = 0.001


def newer(best: Sequence[tuple[Item, float]], now: int) -> dict[str, float]:
    """Return what later ones among nearly equal hits gain, by id; none that is to come, or has no vector."""
    hits = [(item, score) for item, score in best if item.vector is not None and item.event_time <= now]
    if len(hits) < 2:
        return {}
    units = np.stack([unit(item.vector) for item, _ in hits if item.vector is not None])
    near = units @ units.T >= ALIKE
    gains: dict[str, float] = {}
    for at, (_, score) in enumerate(hits):
        group = [other for other in range(len(hits)) if near[at, other] and abs(hits[other][1] - score) <= CLOSE]
        latest = max(group, key=lambda other: (hits[other][0].event_time, hits[other][0].seq))
        its, own = hits[latest]
        if latest != at and own <= score:
            gains[its.id] = max(gains.get(its.id, 0.0), score - own + NEWER_LEAD)
    return gains


def chain_of(probe: Probe, memory_id: str) -> frozenset[str]:
    """Return the ids of all versions of a fact, itself among them."""
    seen: dict[str, None] = {}
    waiting = [memory_id]
    while waiting and len(seen) < MAX_VERSIONS:
        name = waiting.pop()
        if name in seen:
            continue
        seen[name] = None
        links = (link for link in probe.links(name) if link.type == "SUPERSEDES")
        waiting += [link.target if link.source == name else link.source for link in links]
    return frozenset(seen)


def meant(versions: Sequence[Item], asked: Understood, now: int) -> Item:
    """Return the version that a question means, of at least one: what is not true yet is meant only if all are so."""
    begun = [one for one in versions if one.valid_from <= now] or list(versions)
    order = sorted(begun, key=lambda one: (one.valid_from, one.valid_to, one.seq))
    present = next((one for one in reversed(order) if one.valid_to > now), order[-1])
    if len(order) == 1 or not asked.asks_past:
        return present
    if asked.asks_origin:
        return order[0]
    return [one for one in order if one is not present][-1]


def successions(
    best: Mapping[str, float],
    probe: Probe,
    item_of: Callable[[frozenset[str]], Mapping[str, tuple[Item, float]]],
    asked: Understood,
    now: int,
) -> dict[str, float]:
    """Return what memories gain by being the version that was asked for, by id.

    Args:
        best: The best hits and their scores, what is held against an outdated one left out.
        probe: Knows the links.
        item_of: Returns the visible ones of these ids, with their scores.
        asked: The question.
        now: The present of the read, in microseconds.
    """
    scores: dict[frozenset[str], float] = {}
    known: set[str] = set()
    for name, score in best.items():
        chain = next((one for one in scores if name in one), None) if name in known else chain_of(probe, name)
        if chain is None or len(chain) < 2:
            continue
        known |= chain
        scores[chain] = max(scores.get(chain, score), score)
    gains = {}
    for chain, score in scores.items():
        versions = item_of(chain)
        if not versions:
            continue
        chosen = meant([item for item, _ in versions.values()], asked, now)
        gain = score + (PAST_LEAD if asked.asks_past else 0.0) - versions[chosen.id][1]
        if gain > 0:
            gains[chosen.id] = gain
    return gains
