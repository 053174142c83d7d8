"""What became of the entries of a source: counts, reasons, and examples with their places."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from t4dm_daemon.cli import output
from t4dm_daemon.sources import Unstored

SHOWN: Final = 20
KEPT: Final = 1000
"""Examples in the report; all are counted."""


@dataclass(slots=True)
class ImportReport:
    """Of one run. `read` is the sum of the counts from `stored` to `wrong`; with `dry_run` they are what would be.

    Attributes:
        source: The kind of source, and where it is.
        space: Where the memories go.
        read: Entries that could be memories.
        stored: New memories.
        updated: Memories that were there with something else, and have a new version now.
        there: There already, as they are.
        kept: There with something else, and left alone, as was asked for.
        duplicates: The same words of the same owner as an entry before; not stored twice.
        skipped: No memories by design; see the reasons.
        wrong: Could not be read or stored; see the problems.
        messages: Messages of sessions that were stored.
        messages_there: Messages that were there.
        messages_left: Messages of sessions that hold others in their places.
        links: Links made, or there already.
        links_left: Links without a memory at one of their ends.
        is_checked: A dry run could ask the daemon what is there.
    """

    source: str
    space: str
    dry_run: bool = False
    is_checked: bool = True
    read: int = 0
    stored: int = 0
    updated: int = 0
    there: int = 0
    kept: int = 0
    duplicates: int = 0
    skipped: int = 0
    wrong: int = 0
    messages: int = 0
    messages_there: int = 0
    messages_left: int = 0
    links: int = 0
    links_left: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    problems: list[Unstored] = field(default_factory=list[Unstored])
    repeats: list[Unstored] = field(default_factory=list[Unstored])
    """The first duplicates, and of what."""
    _started_s: float = field(default_factory=time.perf_counter)

    @property
    def is_whole(self) -> bool:
        """Whether everything that should be stored is."""
        return not (self.wrong or self.messages_left or self.links_left)

    def leave(self, entry: Unstored) -> None:
        """Count an entry that becomes no memory."""
        self.read += 1
        self.fail(entry) if entry.is_wrong else self._skip(entry)

    def fail(self, entry: Unstored) -> None:
        """Count a wrong entry that was read before."""
        self.wrong += 1
        self.note(entry)

    def note(self, entry: Unstored) -> None:
        """Keep a problem, while there is room."""
        if len(self.problems) < KEPT:
            self.problems.append(entry)

    def repeat(self, entry: Unstored) -> None:
        self.duplicates += 1
        if len(self.repeats) < KEPT:
            self.repeats.append(entry)

    def _skip(self, entry: Unstored) -> None:
        self.skipped += 1
        self.reasons[entry.reason] += 1

    def as_json(self) -> dict[str, Any]:
        counts = ("read", "stored", "updated", "there", "kept", "duplicates", "skipped", "wrong")
        return {
            "source": self.source,
            "space": self.space,
            "dry_run": self.dry_run,
            "checked": self.is_checked,
            **{name: getattr(self, name) for name in counts},
            "messages": {"stored": self.messages, "there": self.messages_there, "left_out": self.messages_left},
            "links": {"made": self.links, "left_out": self.links_left},
            "skipped_reasons": dict(self.reasons.most_common()),
            "problems": [_place(one) for one in self.problems],
            "duplicate_entries": [_place(one) for one in self.repeats],
            "seconds": round(time.perf_counter() - self._started_s, 3),
        }

    def so_far(self) -> str:
        """Return what is stored, for someone whose import was stopped."""
        done = self.stored + self.updated + self.there
        return f"{output.memories(done)} stored; run the same command again to go on: nothing is stored twice"

    def lines(self) -> Iterator[str]:
        """Yield the report for people."""
        would = "would be " if self.dry_run else ""
        counts = [
            f"{self.stored:,} {would}stored",
            f"{self.updated:,} {would}updated",
            f"{self.there:,} there already",
            *([f"{self.kept:,} {would}kept as they were"] if self.kept else []),
            f"{self.duplicates:,} duplicate{'' if self.duplicates == 1 else 's'}",
            f"{self.skipped:,} skipped",
            *([f"{self.wrong:,} wrong"] if self.wrong else []),
        ]
        seconds = time.perf_counter() - self._started_s
        yield f"space {self.space}: {self.read:,} read, {', '.join(counts)}, in {seconds:.1f} s"
        if self.messages or self.messages_there:
            there = f", {self.messages_there:,} there already" if self.messages_there else ""
            there = ", those that are not there already" if self.dry_run else there
            yield f"sessions: {output.messages(self.messages)} {would}stored{there}"
        if self.links:
            yield f"{output.links(self.links)} {would}made"
        if self.dry_run:
            checked = "" if self.is_checked else "; no daemon was asked what is there already"
            yield f"a dry run: nothing was stored{checked}"
        for reason, count in self.reasons.most_common(SHOWN):
            yield f"skipped {count:,} × {reason}"

    def complaints(self) -> Iterator[str]:
        """Yield what people should look at."""
        for one in self.problems[:SHOWN]:
            yield f"{output.one_line(one.place)}: {output.one_line(one.reason)}"
        if len(self.problems) > SHOWN:
            yield f"… and {len(self.problems) - SHOWN:,} more; --json lists {KEPT:,} of them"


def _place(entry: Unstored) -> dict[str, str]:
    return {"place": entry.place, "reason": entry.reason}
