"""Conversations as other products keep them: each turn a memory, and all of them a session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from t4dm_daemon.sources.entries import Entry, SourceMessage, SourceRecord, Unstored, own_or_made


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said.

    Attributes:
        place: Where in the source.
        role: user, assistant, …
        text: What is remembered; may be empty.
        id: The source's own, if it has one.
        time: When it was said.
        facts: More about it: filterable metadata.
        kept: More that only the session keeps, such as the text of an attachment.
    """

    place: str
    role: str
    text: str
    id: object = None
    time: datetime | None = None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    kept: Mapping[str, Any] = field(default_factory=dict[str, Any])


def conversation(
    session_id: str, title: str | None, turns: Iterable[Turn | Unstored], *, source: str
) -> Iterator[Entry]:
    """Yield a memory and a message of the session for each turn; one without words is only in the session."""
    seq = 0
    for turn in turns:
        if isinstance(turn, Unstored):
            yield turn
            continue
        if not (turn.text.strip() or turn.facts or turn.kept):
            yield Unstored(turn.place, "nothing is said in it", is_wrong=False)
            continue
        seq += 1
        said: dict[str, Any] = {"role": turn.role, "content": turn.text, **turn.facts, **turn.kept}
        if isinstance(turn.id, str) and turn.id:
            said["id"] = turn.id
        yield SourceMessage(turn.place, session_id, seq, said, turn.time)
        if not turn.text.strip():
            yield Unstored(turn.place, "no words in it; it is in the session", is_wrong=False)
            continue
        metadata = {"role": turn.role, **({"title": title} if title else {}), **turn.facts}
        fields: dict[str, Any] = {"content": turn.text, "metadata": metadata, "session_id": session_id}
        if turn.time is not None:
            fields["event_time"] = turn.time
        yield SourceRecord(turn.place, own_or_made(turn.id, source, session_id, str(seq), turn.role, turn.text), fields)
