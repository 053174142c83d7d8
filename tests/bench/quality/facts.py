"""Facts that change: what is, what was, and what was believed, through a running daemon.

The year is told in four phases, in the order in which it became known; the moment after each is the transaction time
of its last memory. Where the writer knows what a fact takes the place of, it says so (`supersedes`). The example
conversation lies in the same space. An answer is right when the first hit is the right version.

    now         the question as it is                                  -> the last version
    as of       the same with `as_of` in the middle of a version       -> that version
    before      a question in words ("before", "previous", "at first") -> the version it means
    known at    the question with `known_at` after a phase             -> what was held to be true then
    not linked  "now" for facts of which nobody said that one takes the place of the other; no part of the aim
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from t4dm.sdk import T4DMClient
from t4dm.sdk import models as m
from tests.bench.quality import abstention
from tests.bench.quality.conversations import batches, our_own
from tests.bench.quality.fact_data import FACTS, PHASES, Fact, Version, facts, never_said, noise
from tests.bench.report import Table

RIGHT = 0.95
"""The aim."""
SUM_TOLERANCE = 1e-6
"""Scores and contributions are rounded to six digits or more on the way."""


def run(client: T4DMClient) -> None:
    moments = tell(client)
    changing = facts()
    table = Table(
        f"Changing facts: {len(changing)} facts (aim {RIGHT:.0%})",
        ("question", "asked", "right", "share", "in the first 10"),
    )
    checked = wrong_sums = 0
    missed: list[str] = []
    for kind, questions in _questions(changing, moments).items():
        right = near = 0
        for request, expected in questions:
            hits = client.search(request).results
            is_right = bool(hits) and hits[0].memory.id == expected.id
            right += is_right
            near += any(hit.memory.id == expected.id for hit in hits)
            if not is_right:
                got = hits[0].memory.content if hits else "nothing"
                missed.append(f"{kind}: {request.query} -> {got} (expected: {expected.content})")
            for hit in hits:
                checked += 1
                wrong_sums += abs(sum((hit.explain or {}).values()) - hit.score) > SUM_TOLERANCE
        table.row(kind, len(questions), right, right / len(questions), near / len(questions))
    table.print()
    print(f"\nExplanations that do not sum to the score: {wrong_sums} of {checked}.")
    if missed:
        print("\nMissed:\n" + "\n".join(f"- {one}" for one in missed))
    now = [fact.question for fact in changing if fact.is_linked]
    abstention.measure(client, FACTS, "changing facts", now, never_said())


def tell(client: T4DMClient) -> dict[int, datetime]:
    """Store the year as it was told, and return the moment after each phase."""
    for batch in batches(our_own()):
        client.batch(batch.model_copy(update={"space": FACTS}))
    moments: dict[int, datetime] = {}
    for phase in PHASES:
        for fact in facts():
            for at, version in enumerate(fact.versions):
                if version.phase == phase:
                    client.store(_request(fact, at, version))
        for content, told in noise():
            if told == phase:
                stored = client.store(m.StoreRequest(content=content, space=FACTS, event_time=_of_phase(phase)))
                moments[phase] = stored.recorded_at
    return moments


def _request(fact: Fact, at: int, version: Version) -> m.StoreRequest:
    told = [one for one in fact.versions[:at] if one.phase <= version.phase]
    return m.StoreRequest(
        id=version.id,
        content=version.content,
        space=FACTS,
        event_time=version.valid_from,
        valid_from=version.valid_from,
        valid_to=version.valid_to,
        supersedes=[told[-1].id] if told and fact.is_linked else [],
    )


def _questions(changing: list[Fact], moments: dict[int, datetime]) -> dict[str, list[tuple[m.SearchRequest, Version]]]:
    linked = [fact for fact in changing if fact.is_linked]
    return {
        "now": [(_asked(fact.question), fact.versions[-1]) for fact in linked],
        "as of": [
            (_asked(fact.question, as_of=moment), version) for fact in linked for version, moment in _middles(fact)
        ],
        "before, in words": [(_asked(text), fact.versions[at]) for fact in linked for text, at in fact.before],
        "known at": [
            (_asked(fact.question, known_at=moments[phase]), held)
            for fact in linked
            for phase in PHASES
            if (held := fact.known_in(phase)) is not None and held is not fact.versions[-1]
        ],
        "not linked": [(_asked(fact.question), fact.versions[-1]) for fact in changing if not fact.is_linked],
    }


def _asked(text: str, **options: object) -> m.SearchRequest:
    return m.SearchRequest.model_validate({"query": text, "space": FACTS, "include": ["explain"], **options})


def _middles(fact: Fact) -> Iterator[tuple[Version, datetime]]:
    for version, start, end in fact.spans():
        if end is not None:
            yield version, start + (end - start) / 2


def _of_phase(phase: int) -> datetime:
    return facts()[0].versions[0].valid_from + timedelta(days=80 * phase)
