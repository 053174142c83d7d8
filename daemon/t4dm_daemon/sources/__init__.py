"""Readers of what other products keep: their exports, and their servers.

A reader is a generator of entries, each with its place in the source. It stores nothing, asks no daemon, and makes
no ids: it says by what an entry is known (`entries.Identity`). What is wrong with an entry is an entry, too, so that
the rest goes on; a source that cannot be opened at all raises SourceError.
"""

from t4dm_daemon.sources.entries import Entry, Identity, SourceLink, SourceMessage, SourceRecord, Unstored
from t4dm_daemon.sources.files import Files

__all__ = ["Entry", "Files", "Identity", "SourceLink", "SourceMessage", "SourceRecord", "Unstored"]
