"""Flush: from memory to segments, and the manifest that says which files are the truth.

    CURRENT                  name of the manifest in force; written when the space is made, and never missing since
    MANIFEST-NNNNNN          format, dimension, counters, checkpoint LSN, segments with sizes and checksums
    seg/NNNNNN/              immutable files of a segment
    cols/NNNNNN-M.bin        its mutable columns as of manifest M
    state/M.bin              edges and idempotency tokens as of manifest M

A checkpoint is taken under the apply lock (`Capture`: references to frozen memtables, copies of the mutable
columns that changed) and written without it. Recovery loads the manifest and replays the records after its LSN,
so each is applied exactly once. A crash at any step leaves the old manifest or the new one in force, and files
that neither names are removed on open.
"""

from __future__ import annotations

import contextlib
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import CorruptionError, StorageError
from t4dm_daemon.storage.t4dx import checked
from t4dm_daemon.storage.t4dx.ann import BACKENDS
from t4dm_daemon.storage.t4dx.component import Component
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.memtable import Memtable
from t4dm_daemon.storage.t4dx.schema import MUTABLE
from t4dm_daemon.storage.t4dx.segment import (
    Segment,
    check_file,
    load_mutable,
    pack_mutable,
    write_mutable,
    write_rows,
)

logger = logging.getLogger(__name__)

Mutable = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Capture:
    """What a checkpoint will write: the state of the space after record `lsn`."""

    lsn: int
    changed: list[tuple[Component, Mutable]]
    state: dict[str, Any] | None
    """Edges and tokens, None when they have not changed."""
    counters: dict[str, Any]
    """`dimension`, `next_seq`, `moment`."""


@dataclass(slots=True)
class SegmentFacts:
    """A segment as the manifest knows it."""

    number: int
    files: dict[str, dict[str, int]]
    mutable: str
    mutable_facts: dict[str, int]


def copy_mutable(component: Component) -> Mutable:
    """Return the mutable columns as they are now. Requires: the engine's apply lock."""
    return {name: np.array(component.numbers[name][: component.rows]) for name in MUTABLE}


class Checkpoints:
    """Write checkpoints of one space, and load the newest.

    Not thread-safe: the engine's flush lock is held around every call.
    """

    def __init__(self, fs: FileSystem, root: Path, *, ann: str, ann_min_rows: int, verify: bool) -> None:
        self._fs = fs
        self._root = root
        self._ann = ann
        self._ann_min_rows = ann_min_rows
        self._verify = verify
        self._manifest = 0
        self._is_unsure = False
        """Replacing CURRENT failed: either manifest may be in force, so the files of both stay."""
        self._next_manifest = 1
        self._next_segment = 1
        """Numbers are never used twice, so a failed attempt's files are never taken for another's."""
        self._state_file: tuple[str, dict[str, int]] | None = None
        self._segments: list[SegmentFacts] = []
        self.lsn = 0
        """Records up to this one are in segments."""

    # Loading ------------------------------------------------------------------------------------------

    def load(self) -> tuple[list[Segment], dict[str, Any], dict[str, Any]]:
        """Return the segments, the counters and the state of the manifest in force; empty for a new space.

        Raises:
            CorruptionError: A file is missing, or not what was written.
        """
        current = self._root / "CURRENT"
        if not self._fs.exists(current):
            if any(self._fs.list(self._root / folder) for folder in ("seg", "cols", "state", "wal")):
                raise CorruptionError(f"{current}: this file is missing; restore a backup", file=str(current))
            self._remove_strangers()
            self._put_in_force(self._take_number(), self._manifest_of(0, {}, None, []))
            return [], {}, {}
        name = self._fs.read(current).decode("ascii", "replace").strip()
        path = self._root / name
        if not name.startswith("MANIFEST-") or not name[9:].isdecimal():
            raise CorruptionError(f"{current}: it names no manifest: {name!r}", file=str(current))
        manifest = checked.read(self._fs, path)
        self._manifest = int(name[9:])
        self._next_manifest = self._manifest + 1
        self._next_segment = manifest["next_segment"]
        self.lsn = manifest["lsn"]
        self._segments = [SegmentFacts(*one) for one in manifest["segments"]]
        state: dict[str, Any] = {}
        if manifest["state"] is not None:
            self._state_file = (manifest["state"][0], manifest["state"][1])
            content = check_file(self._fs, self._root / self._state_file[0], self._state_file[1])
            state = checked.decode(self._root / self._state_file[0], bytes(content))
        self._remove_strangers()
        indexes = [facts.files.get(self._index_name()) for facts in self._segments]
        segments = [self._open(facts) for facts in self._segments]
        if indexes != [facts.files.get(self._index_name()) for facts in self._segments]:
            # An index was built again: note its checksum, or it would be built again at every start.
            manifest = self._manifest_of(self.lsn, manifest["counters"], self._state_file, self._segments)
            try:
                self._put_in_force(self._take_number(), manifest)
            except (OSError, StorageError) as error:
                logger.warning("a graph index was not noted", extra={"reason": str(error)})
        return segments, manifest["counters"], state

    def _open(self, facts: SegmentFacts) -> Segment:
        path = self._root / facts.mutable
        content = check_file(self._fs, path, facts.mutable_facts)
        segment = Segment(
            self._fs,
            self._segment_directory(facts.number),
            number=facts.number,
            facts=facts.files,
            mutable=load_mutable(path, content),
            verify=self._verify,
        )
        self._attach_index(segment)
        return segment

    def _segment_directory(self, number: int) -> Path:
        return self._root / "seg" / f"{number:06}"

    def _attach_index(self, segment: Segment) -> None:
        """Load the segment's graph, or build it again when its file is missing or not what was written."""
        vectors = segment.vectors()
        if self._ann == "flat" or vectors is None or segment.rows < self._ann_min_rows:
            return
        path = self._segment_directory(segment.number_in_manifest) / self._index_name()
        if path.name in segment.facts:
            try:
                check_file(self._fs, path, segment.facts[path.name])
                segment.index = BACKENDS[self._ann].load(path)
            except (CorruptionError, RuntimeError) as error:
                logger.warning("graph index is built again", extra={"file": str(path), "reason": str(error)})
            except ImportError as error:
                logger.warning("no graph index: searches scan all rows", extra={"reason": str(error)})
                return
        if segment.index is None:
            self._build_index(segment, path)

    def _index_name(self) -> str:
        return f"index.{BACKENDS[self._ann].kind}"

    def _build_index(self, segment: Segment, path: Path) -> None:
        """Build a segment's graph. Without one its rows are scanned, so a failure is logged and no more."""
        vectors = segment.vectors()
        assert vectors is not None
        temporary = path.with_suffix(".tmp")
        try:
            unit = vectors * segment.number("inv_norm", segment.rows)[:, None]
            segment.index = BACKENDS[self._ann].build(unit)
            segment.index.save(temporary)
            content = self._fs.read(temporary)
            self._fs.adopt(temporary, path)
        except (ImportError, MemoryError, OSError, RuntimeError, StorageError) as error:
            logger.warning("a graph index was not saved", extra={"file": str(path), "reason": str(error)})
            with contextlib.suppress(OSError):
                self._fs.remove(temporary)
            return
        segment.facts[path.name] = {"size": len(content), "crc32": zlib.crc32(content)}

    # Writing ------------------------------------------------------------------------------------------

    def write(self, capture: Capture, became: Mapping[Component, Segment]) -> dict[Memtable, Segment]:
        """Write a capture durably, swap the manifest, and return the segments that frozen memtables became.

        Args:
            capture: What to write.
            became: Memtables that earlier captures turned into segments.

        Raises:
            StorageFullError, StorageError, OSError: Nothing has changed; it may be tried again.
        """
        attempt = self._take_number()
        try:
            made, segments, state_file = self._write_files(attempt, capture, became)
        except BaseException:
            if not self._is_unsure:
                with contextlib.suppress(OSError, StorageError):
                    self._remove_strangers()  # half of a checkpoint may take the room that the next one needs
            raise
        self._put_in_force(attempt, self._manifest_of(capture.lsn, capture.counters, state_file, segments))
        self._segments = segments
        self._state_file = state_file
        self.lsn = capture.lsn
        try:
            self._remove_strangers()
        except (OSError, StorageError) as error:  # the checkpoint stands; they are removed next time
            logger.warning("old files could not be removed", extra={"reason": str(error)})
        return made

    def _write_files(
        self, attempt: int, capture: Capture, became: Mapping[Component, Segment]
    ) -> tuple[dict[Memtable, Segment], list[SegmentFacts], tuple[str, dict[str, int]] | None]:
        fs, root = self._fs, self._root
        made: dict[Memtable, Segment] = {}
        segments = {facts.number: facts for facts in self._segments}
        for component, mutable in capture.changed:
            component = became.get(component, component)  # it may have moved since
            rows = len(mutable["recorded_until"])
            if isinstance(component, Memtable):
                number, self._next_segment = self._next_segment, self._next_segment + 1
                directory = self._segment_directory(number)
                files = write_rows(fs, directory, component, rows)
                live = {name: component.numbers[name][:rows] for name in MUTABLE}
                segment = Segment(fs, directory, number=number, facts=files, mutable=live)  # read back and compared
                self._attach_index(segment)
                made[component] = segment
                facts = SegmentFacts(number, segment.facts, "", {})
            else:
                assert isinstance(component, Segment)
                facts = segments[component.number_in_manifest]
            name = f"cols/{facts.number:06}-{attempt}.bin"
            written = write_mutable(fs, root / name, pack_mutable(mutable, rows))
            segments[facts.number] = SegmentFacts(facts.number, facts.files, name, written)
        if capture.changed:
            fs.sync_directory(root / "cols")
        state_file = self._state_file
        if capture.state is not None:
            name = f"state/{attempt}.bin"
            fs.make_directory(root / "state")
            content = checked.encode(capture.state)
            state_file = (name, write_mutable(fs, root / name, [content]))
            fs.sync_directory(root / "state")
        return made, [segments[number] for number in sorted(segments)], state_file

    def _take_number(self) -> int:
        number, self._next_manifest = self._next_manifest, self._next_manifest + 1
        return number

    def _manifest_of(
        self,
        lsn: int,
        counters: dict[str, Any],
        state_file: tuple[str, dict[str, int]] | None,
        segments: Sequence[SegmentFacts],
    ) -> dict[str, Any]:
        return {
            "lsn": lsn,
            "next_segment": self._next_segment,
            "counters": counters,
            "state": state_file,
            "segments": [(one.number, one.files, one.mutable, one.mutable_facts) for one in segments],
        }

    def _put_in_force(self, number: int, manifest: dict[str, Any]) -> None:
        name = f"MANIFEST-{number:06}"
        self._fs.write_new(self._root / name, [checked.encode(manifest)])
        self._fs.sync_directory(self._root)
        self._is_unsure = True
        self._fs.replace(self._root / "CURRENT", name.encode())  # the moment at which the checkpoint is in force
        self._is_unsure = False
        self._manifest = number

    def _remove_strangers(self) -> None:
        """Remove files that the manifest in force does not name: leftovers of crashes and of the one before."""
        fs, root = self._fs, self._root
        keep = {f"MANIFEST-{self._manifest:06}", *(facts.mutable for facts in self._segments)}
        if self._state_file is not None:
            keep.add(self._state_file[0])
        numbers = {f"{facts.number:06}" for facts in self._segments}
        for name in fs.list(root):
            if (name.startswith("MANIFEST-") and name not in keep) or name.endswith(".new"):
                fs.remove(root / name)
        for folder in ("cols", "state"):
            for name in fs.list(root / folder):
                if f"{folder}/{name}" not in keep:
                    fs.remove(root / folder / name)
        for name in fs.list(root / "seg"):
            if name not in numbers:
                fs.remove_tree(root / "seg" / name)
            else:
                fs.remove(root / "seg" / name / "index.tmp")

    def disk_bytes(self) -> int:
        """Return the bytes of the files the manifest names."""
        return sum(
            sum(one["size"] for one in facts.files.values()) + facts.mutable_facts["size"] for facts in self._segments
        ) + (self._state_file[1]["size"] if self._state_file else 0)
