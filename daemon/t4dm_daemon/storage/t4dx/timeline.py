"""Which archived log files continue the log of a backup.

A store that was brought back to a moment goes on from there with a log file of its own, whose header names the record
and the checksum it follows. When it puts that file into the same archive as the store before it did, two files follow
one record: the end of the older file (or the next one) is a timeline that was given up. So the archive is a tree:

    node    a file with at least one frame
    edge    the frame that it follows, at the end of another file or inside it
    path    a timeline: each file up to the frame that the next one follows

Of all timelines the one is followed that was written to last, at or before the moment that is asked for: a restored
store writes after the one that it replaces. Records that are left out by this are named in a warning.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.wal_format import FileHeader, Frame, frames, read_header

logger = logging.getLogger(__name__)

_NEVER: Final = -(2**63)
_Place = tuple[int, int]
"""The last record before something, and the checksum of its frame."""


@dataclass(frozen=True, slots=True)
class Part:
    """A log file of a timeline, and how many of its bytes belong to it."""

    path: Path
    number: int
    size: int


@dataclass(frozen=True, slots=True)
class _Node:
    path: Path
    header: FileHeader
    frames: tuple[Frame, ...]
    size: int

    def places(self, from_lsn: int) -> list[tuple[_Place, int]]:
        """Return where another file may follow, at or after a record, with the bytes of this one before it."""
        start = (self.header.first_lsn - 1, self.header.chain), self.header.size
        ends = (((one.last_lsn, one.chain), one.end) for one in self.frames)
        return [(place, size) for place, size in (start, *ends) if place[0] >= from_lsn]

    def newest(self, until: int) -> int:
        """Return the time of the last record at or before a moment."""
        return max((min(one.last_time, until) for one in self.frames if one.first_time <= until), default=_NEVER)


def follow(fs: FileSystem, archive: Path, last: Path | None, until: int) -> list[Part]:
    """Return the files of the timeline to restore, oldest first.

    Args:
        fs: The file system.
        archive: Directory of archived log files.
        last: The last log file of the backup, which the first part stands for; None when it has none.
        until: Transaction time at which to stop.
    """
    nodes = [node for name in fs.list(archive) if name.endswith(".wal") and (node := _read(fs, archive / name))]
    here: _Node | None = None
    places: list[tuple[_Place, int]] = [((0, 0), 0)]  # of a space that had not been written to
    if last is not None:
        here = _read(fs, last)
        if here is None:
            return []
        end = here.frames[-1].last_lsn if here.frames else here.header.first_lsn - 1
        for node in nodes:  # the file that was being written is in the archive in its final form
            if node.header.salt == here.header.salt and len(node.frames) > len(here.frames):
                here = node
        nodes = [node for node in nodes if node.header.salt != here.header.salt]
        places = here.places(end)
    children: dict[_Place, list[_Node]] = {}
    for node in nodes:
        if node.frames:
            children.setdefault((node.header.first_lsn - 1, node.header.chain), []).append(node)
    newest = _newest(nodes, children, until)
    parts: list[Part] = []
    left_out: list[str] = []
    while True:
        ways = [(newest[node.path], size, node) for place, size in places for node in children.get(place, ())]
        time, size, following = max(ways, key=lambda way: way[0], default=(_NEVER, 0, None))
        if here is not None:
            if time <= here.newest(until):
                following = None
            parts.append(Part(here.path, here.header.number, here.size if following is None else size))
            if following is not None and any(one.end > size and one.first_time <= until for one in here.frames):
                left_out.append(f"{here.path.name} from byte {size} on")
        elif time == _NEVER:
            following = None
        left_out += [node.path.name for its, _, node in ways if its != _NEVER and node is not following]
        if following is None:
            break
        here, places = following, following.places(following.header.first_lsn)
    if left_out:
        logger.warning(
            "the archive holds several histories; the one that was written to last is restored",
            extra={"followed": [one.path.name for one in parts], "left_out": left_out},
        )
    return parts


def _read(fs: FileSystem, path: Path) -> _Node | None:
    content = fs.map(path)
    header = read_header(content)
    return None if header is None else _Node(path, header, tuple(frames(content)), len(content))


def _newest(nodes: list[_Node], children: dict[_Place, list[_Node]], until: int) -> dict[Path, int]:
    """Return per file the time of the last record in it, or in any that follows it."""
    newest: dict[Path, int] = {}
    for node in sorted(nodes, key=lambda one: -one.header.first_lsn):  # what follows a file begins at a later record
        later = (child for place, _ in node.places(node.header.first_lsn) for child in children.get(place, ()))
        newest[node.path] = max([node.newest(until), *(newest[child.path] for child in later)])
    return newest
