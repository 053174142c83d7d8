"""Conversations with questions: one turn is one memory, and each question names the turns that answer it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from t4dm.sdk import models as m

EXAMPLES = Path(__file__).parents[3] / "examples" / "data"
DATA = Path(__file__).parent / "data"
OUR_OWN = "conversation"
_BATCH = 200


@dataclass(frozen=True)
class Turn:
    """What was said, by whom and when; `content` begins with the speaker's name, where there is one."""

    id: str
    content: str
    speaker: str | None
    session: str | None
    at: datetime
    until: datetime | None = None
    """When it stopped being true."""

    @property
    def text(self) -> str:
        """The same without the speaker's name."""
        return self.content.removeprefix(f"{self.speaker}: ")


@dataclass(frozen=True)
class Asked:
    """A question; `evidence` is empty where the conversation does not answer it."""

    text: str
    category: str
    evidence: frozenset[str]


@dataclass(frozen=True)
class Conversation:
    name: str
    turns: tuple[Turn, ...]
    questions: tuple[Asked, ...]

    @property
    def answerable(self) -> list[Asked]:
        return [one for one in self.questions if one.evidence]

    @property
    def unanswerable(self) -> list[Asked]:
        return [one for one in self.questions if not one.evidence]

    @property
    def speakers(self) -> list[str]:
        return sorted({turn.speaker for turn in self.turns if turn.speaker is not None})


def our_own() -> Conversation:
    """Return the example conversation with the examples' questions and the benchmark's."""
    turns = tuple(
        Turn(
            id=line["id"],
            content=line["content"],
            speaker=line["metadata"]["speaker"],
            session=line["session_id"],
            at=datetime.fromisoformat(line["event_time"]),
        )
        for line in read_lines(EXAMPLES / "conversation.jsonl")
    )
    questions = tuple(
        Asked(line["question"], line.get("category", "examples"), frozenset(line["evidence"]))
        for path in (EXAMPLES / "questions.jsonl", DATA / "questions.jsonl")
        for line in read_lines(path)
    )
    return Conversation(OUR_OWN, turns, questions)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield json.loads(line)


def batches(conversation: Conversation) -> Iterator[m.BatchRequest]:
    """Yield what stores a conversation, in its order, in a space that has its name."""
    records = [
        m.RecordIn(
            id=turn.id,
            content=turn.content,
            metadata={} if turn.speaker is None else {"speaker": turn.speaker},
            session_id=turn.session,
            event_time=turn.at,
            valid_to=turn.until,
        )
        for turn in conversation.turns
    ]
    for at in range(0, len(records), _BATCH):
        yield m.BatchRequest(records=records[at : at + _BATCH], space=conversation.name)


def asked_elsewhere(question: Asked, source: Conversation, target: Conversation) -> Asked:
    """Return a question of one conversation as it would be asked of another: about its people, and not answered."""
    text = question.text
    for its, other in zip(_by_turns(source), _by_turns(target), strict=False):
        text = text.replace(its, other)
    return replace(question, text=text, category="elsewhere", evidence=frozenset())


def _by_turns(conversation: Conversation) -> Sequence[str]:
    return list(dict.fromkeys(turn.speaker for turn in conversation.turns if turn.speaker is not None))
