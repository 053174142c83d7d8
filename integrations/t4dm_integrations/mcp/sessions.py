"""What was done in each session, so that its end can be summed up without a language model."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

_MOST_SESSIONS: Final = 1000
_MOST_ENTRIES: Final = 500
_EXCERPT_CHARS: Final = 200


@dataclass(slots=True)
class SessionLog:
    """What one session remembered, changed, forgot and asked; the latest of each, up to a bound."""

    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    remembered: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """Texts by ids, in order."""
    changed: OrderedDict[str, str] = field(default_factory=OrderedDict)
    forgotten: int = 0
    searches: int = 0
    left_out: int = 0
    """Memories that were too many to be kept here."""

    def remember(self, memory_id: str, content: str) -> None:
        self._note(self.remembered, memory_id, content)

    def change(self, memory_id: str, content: str) -> None:
        if memory_id in self.remembered:
            self._note(self.remembered, memory_id, content)
        else:
            self._note(self.changed, memory_id, content)

    def forget(self, ids: list[str], count: int) -> None:
        self.forgotten += count
        for one in ids:
            self.remembered.pop(one, None)
            self.changed.pop(one, None)

    def _note(self, where: OrderedDict[str, str], memory_id: str, content: str) -> None:
        text = " ".join(content.split())
        where[memory_id] = text if len(text) <= _EXCERPT_CHARS else f"{text[:_EXCERPT_CHARS]}…"
        if len(where) > _MOST_ENTRIES:
            where.popitem(last=False)
            self.left_out += 1

    @property
    def summary(self) -> str:
        """The session in words."""
        parts = [
            f"Session of {self.began:%Y-%m-%d %H:%M} UTC: remembered {len(self.remembered) + self.left_out}, "
            f"changed {len(self.changed)}, forgot {self.forgotten}, searched {self.searches} times."
        ]
        for title, entries in (("Remembered", self.remembered), ("Changed", self.changed)):
            if entries:
                parts.append(f"{title}:\n" + "\n".join(f"- {text}" for text in entries.values()))
        if self.left_out:
            parts.append(f"{self.left_out} earlier ones are not listed.")
        return "\n".join(parts)


class Sessions:
    """The logs of the sessions that were active last. Used from the event loop only."""

    def __init__(self) -> None:
        self._logs: OrderedDict[str, SessionLog] = OrderedDict()

    def log(self, session: str | None) -> SessionLog | None:
        """Return a session's log, None where the transport has no sessions."""
        if session is None:
            return None
        found = self._logs.pop(session, None) or SessionLog()
        self._logs[session] = found
        if len(self._logs) > _MOST_SESSIONS:
            self._logs.popitem(last=False)
        return found

    def end(self, session: str) -> None:
        self._logs.pop(session, None)
