"""What readers yield, by kind."""

from __future__ import annotations

from collections.abc import Iterable

from t4dm_daemon.sources import Entry, SourceLink, SourceMessage, SourceRecord, Unstored


class Read:
    """The entries of a source."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        everything = list(entries)
        self.records = [one for one in everything if isinstance(one, SourceRecord)]
        self.messages = [one for one in everything if isinstance(one, SourceMessage)]
        self.links = [one for one in everything if isinstance(one, SourceLink)]
        self.skipped = [one for one in everything if isinstance(one, Unstored) and not one.is_wrong]
        self.wrong = [one for one in everything if isinstance(one, Unstored) and one.is_wrong]

    @property
    def contents(self) -> list[str]:
        return [one.fields["content"] for one in self.records]
