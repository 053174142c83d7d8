"""Facts that change over a year, written for this benchmark: people, a project, a server, a boat, a café, a choir.

`facts.jsonl` holds one fact a line: its versions with the day from which each is true and the phase of the year in
which it was told (1 March, 2 May, 3 September, 4 December), a question for what is, and questions for what was. Some
versions are told long after they began, some between two that were known, some correct what was wrong from the start.
`is_linked` false: nobody said that one version takes the place of the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time

from tests.bench.quality.conversations import DATA, Asked, Conversation, Turn, read_lines

PHASES = {1: "March", 2: "May", 3: "September", 4: "December"}
FACTS = "facts"


@dataclass(frozen=True)
class Version:
    """What was true from a day on; `valid_to` where whoever told it gave an end."""

    id: str
    content: str
    valid_from: datetime
    valid_to: datetime | None
    phase: int


@dataclass(frozen=True)
class Fact:
    id: str
    is_linked: bool
    question: str
    versions: tuple[Version, ...]
    before: tuple[tuple[str, int], ...] = field(default=())
    """Questions in words for what was, and the place of the version that answers each."""

    def known_in(self, phase: int) -> Version | None:
        """Return what was held to be true at the end of a phase."""
        told = [version for version in self.versions if version.phase <= phase]
        return max(told, key=lambda version: (version.valid_from, version.phase)) if told else None

    def spans(self) -> list[tuple[Version, datetime, datetime | None]]:
        """Return the versions that were true at all, with the interval, as all that was told has it."""
        ends = [version.valid_from for version in self.versions[1:]]
        spans = [(version, version.valid_from, end) for version, end in zip(self.versions, [*ends, None], strict=True)]
        return [(version, start, end) for version, start, end in spans if end is None or start < end]


def facts() -> list[Fact]:
    return [
        Fact(
            id=line["id"],
            is_linked=line["is_linked"],
            question=line["question"],
            versions=tuple(
                Version(
                    id=f"{line['id']}-{number}",
                    content=version["content"],
                    valid_from=_midnight(version["valid_from"]),
                    valid_to=_midnight(version["valid_to"]) if "valid_to" in version else None,
                    phase=version["phase"],
                )
                for number, version in enumerate(line["versions"], 1)
            ),
            before=tuple((one["question"], one["version"]) for one in line["before"]),
        )
        for line in read_lines(DATA / "facts.jsonl")
    ]


def noise() -> list[tuple[str, int]]:
    """Return memories that answer nothing, and the phase in which each was told."""
    return [(line["content"], line["phase"]) for line in read_lines(DATA / "facts_noise.jsonl")]


def never_said() -> list[str]:
    """Return questions about the same people and things that no memory answers."""
    return [line["question"] for line in read_lines(DATA / "facts_unanswerable.jsonl")]


def as_conversation() -> Conversation:
    """Return the facts as all that was told has them, with the questions for what is, and those that nothing answers."""
    turns = [
        Turn(version.id, version.content, None, None, start, end)
        for fact in facts()
        for version, start, end in fact.spans()
    ]
    start = min(turn.at for turn in turns)
    turns += [Turn(f"noise-{number}", content, None, None, start) for number, (content, _) in enumerate(noise(), 1)]
    asked = [Asked(fact.question, "now", frozenset({fact.versions[-1].id})) for fact in facts()]
    asked += [Asked(question, "never said", frozenset()) for question in never_said()]
    return Conversation(FACTS, tuple(turns), tuple(asked))


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), UTC)
