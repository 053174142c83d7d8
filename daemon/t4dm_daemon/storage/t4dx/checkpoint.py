"""The manifest that says which files are the truth, and how a new one comes into force.

    CURRENT                  name of the manifest in force; written when the space is made, and never missing since
    MANIFEST-NNNNNN          counters, checkpoint LSN, segments with sizes and checksums, named blobs
    seg/NNNNNN/              immutable files of a segment (`segment_files.py`)
    cols/NNNNNN-M.bin        its mutable columns as of manifest M
    state/M.bin              idempotency tokens as of manifest M
    blobs/M.bin              a named blob, put by attempt M

A checkpoint is taken under the apply lock (`Capture`: references to frozen memtables, copies of the mutable
columns that changed) and written without it. Recovery loads the manifest and replays the records after its LSN,
so each is applied exactly once. A crash at any step leaves the old manifest or the new one in force, and files
that neither names are removed on open.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from t4dm_daemon.core.errors import CorruptionError, StorageError
from t4dm_daemon.storage.t4dx import checked, text_index
from t4dm_daemon.storage.t4dx.analysis import Analyzer
from t4dm_daemon.storage.t4dx.ann import BACKENDS, AnnIndex
from t4dm_daemon.storage.t4dx.calibration import least_effort
from t4dm_daemon.storage.t4dx.component import Component
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.memtable import Memtable
from t4dm_daemon.storage.t4dx.segment import Mutable, Segment, load_mutable
from t4dm_daemon.storage.t4dx.segment_files import (
    Arrays,
    Facts,
    FileFacts,
    check_file,
    source_of,
    write_file,
    write_mutable,
    write_segment,
)
from t4dm_daemon.storage.t4dx.text_index import GrowingTextIndex, StoredTextIndex

logger = logging.getLogger(__name__)

MAX_BLOB_NAME: Final = 200
_YIELD_S: Final = 0.0002


@dataclass(frozen=True, slots=True)
class Capture:
    """What a checkpoint will write: the state of the space after record `lsn`."""

    lsn: int
    order: tuple[Component, ...]
    """All components but the one that takes writes, oldest first."""
    changed: dict[Component, Mutable]
    """Mutable columns that a file must be written of."""
    state: dict[str, Any] | None
    """Tokens, None when they have not changed."""
    counters: dict[str, Any]
    """`dimension`, `next_seq`, `moment`, `purged_before`."""


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """A segment as the manifest knows it."""

    number: int
    files: FileFacts
    mutable: str
    mutable_facts: Facts
    level: int = 0


class Pace:
    """How hard work in the background may work, and whether it should stop.

    Args:
        stops: Any of them set stops it.
        rest: Share of the time in which it rests, in [0, 1): 0.5 works half of the time.
        is_awaited: Says whether somebody waits for it, and it should not rest.
    """

    def __init__(
        self, *stops: threading.Event | None, rest: float = 0.0, is_awaited: Callable[[], bool] = lambda: False
    ) -> None:
        self._stops = [one for one in stops if one is not None]
        self._rest = rest
        self._is_awaited = is_awaited
        self._since = time.monotonic()

    def __call__(self) -> None:
        """Rest a little, in proportion to the work since the last call. Raises InterruptedError when stopped."""
        if self._rest and self._stops and not self._is_awaited():
            worked = time.monotonic() - self._since
            self._stops[0].wait(min(1.0, worked * self._rest / (1.0 - self._rest)))
            self._since = time.monotonic()
        if any(one.is_set() for one in self._stops):
            raise InterruptedError("the work was stopped")


def yield_to_others() -> None:
    """Let other threads have the interpreter, which work in Python would keep for 5 ms at a time."""
    time.sleep(_YIELD_S)


class Checkpoints:
    """Write checkpoints of one space, and load the newest.

    The engine's flush lock is held around every call but `reserve`, `abandon` and `build_index`; `_numbers_lock`
    guards `_next_segment` and `_reserved`, and with them the moment at which a segment comes from `_reserved` into
    `_segments`.
    """

    def __init__(
        self, fs: FileSystem, root: Path, *, ann: str, ann_min_rows: int, verify: bool, analyzer: Analyzer
    ) -> None:
        self._fs = fs
        self._analyzer = analyzer
        self._root = root
        self._ann = ann
        self._ann_min_rows = ann_min_rows
        self._verify = verify
        self._manifest = 0
        self.is_unsure = False
        """Replacing CURRENT failed: either manifest may be in force, so the files of both stay."""
        self._next_manifest = 1
        self._numbers_lock = threading.Lock()
        self._next_segment = 1
        """Numbers are never used twice, so a failed attempt's files are never taken for another's."""
        self._reserved: set[int] = set()
        """Segments that are being written: no manifest names them, but they are no strangers."""
        self._blobs: dict[str, tuple[str, Facts]] = {}
        self._counters: dict[str, Any] = {}
        self._state_file: tuple[str, Facts] | None = None
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
            if any(self._fs.list(self._root / folder) for folder in ("seg", "cols", "state", "blobs", "wal")):
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
        self._counters = manifest["counters"]
        self._segments = [SegmentFacts(*one) for one in manifest["segments"]]
        self._blobs = {name: (file, facts) for name, (file, facts) in manifest.get("blobs", {}).items()}
        state: dict[str, Any] = {}
        if manifest["state"] is not None:
            self._state_file = (manifest["state"][0], manifest["state"][1])
            content = check_file(self._fs, self._root / self._state_file[0], self._state_file[1])
            state = checked.decode(self._root / self._state_file[0], bytes(content))
        self._remove_strangers()
        return [self._open(facts) for facts in self._segments], self._counters, state

    def _open(self, facts: SegmentFacts) -> Segment:
        path, directory = self._root / facts.mutable, self._segment_directory(facts.number)
        for name in self._fs.list(directory):
            if name not in facts.files:
                self._fs.remove(directory / name)  # a graph that was built, but not noted before a crash
        content = check_file(self._fs, path, facts.mutable_facts)
        segment = Segment(
            self._fs,
            directory,
            number=facts.number,
            facts=facts.files,
            mutable=load_mutable(path, content),
            level=facts.level,
            verify=self._verify,
        )
        self._load_index(segment)
        self._load_text(segment)
        return segment

    def _segment_directory(self, number: int) -> Path:
        return self._root / "seg" / f"{number:06}"

    # Text indexes -------------------------------------------------------------------------------------

    def _load_text(self, segment: Segment) -> None:
        """Load the segment's text index; one that is missing, damaged or of another language is made again later."""
        facts = segment.facts.get(text_index.FILE)
        if facts is None:
            return
        path = segment.directory / text_index.FILE
        try:
            content = check_file(self._fs, path, facts)
            segment.text = StoredTextIndex(path, content, identity=self._analyzer.identity, rows=segment.rows)
        except CorruptionError as error:
            logger.warning("text index is built again", extra={"file": str(path), "reason": str(error)})

    def write_text(self, segment: Segment, arrays: Arrays, *, pace: Callable[[], None] = lambda: None) -> None:
        """Write a segment's text index durably, and let it be used. The manifest names it from the next one on.

        Raises:
            StorageFullError, StorageError, OSError: There is no new file, and none is named.
        """
        path = segment.directory / text_index.FILE
        temporary = path.with_suffix(".tmp")
        try:
            facts = write_file(self._fs, temporary, text_index.pack(self._analyzer, arrays), pace=pace)
            self._fs.adopt(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                self._fs.remove(temporary)
            raise
        content = self._fs.map(path)
        segment.facts[path.name] = facts
        segment.text = StoredTextIndex(path, content, identity=self._analyzer.identity, rows=segment.rows)

    def build_text(self, segment: Segment, *, pace: Callable[[], None]) -> None:
        """Make a segment's text index from its texts. Raises as `write_text` does, and CorruptionError."""
        self.write_text(segment, text_index.read(self._analyzer, segment.content, segment.rows, pace=pace), pace=pace)

    # Graph indexes ------------------------------------------------------------------------------------

    def may_have_index(self, segment: Segment) -> bool:
        return self._ann != "flat" and segment.rows >= self._ann_min_rows and segment.vectors() is not None

    def _load_index(self, segment: Segment) -> None:
        """Load the segment's graph; one that is missing or not what was written is built again later."""
        path = segment.directory / self._index_name()
        if not self.may_have_index(segment) or path.name not in segment.facts:
            return
        try:
            check_file(self._fs, path, segment.facts[path.name])
            segment.index = BACKENDS[self._ann].load(path)
            segment.effort = segment.facts[path.name].get("ef", 0)
        except (CorruptionError, RuntimeError) as error:
            logger.warning("graph index is built again", extra={"file": str(path), "reason": str(error)})
        except ImportError as error:
            logger.warning("no graph index: searches scan all rows", extra={"reason": str(error)})

    def _index_name(self) -> str:
        return f"index.{BACKENDS[self._ann].kind}"

    def build_index(self, segment: Segment, base: Segment | None, *, pace: Pace) -> AnnIndex | None:
        """Build a segment's graph and write its file; without one its rows are scanned, so a failure is logged.

        Args:
            segment: Not yet in use, or without a graph.
            base: A segment of the first rows of this one, whose graph is extended; with nothing to add, saved again.
            pace: Called between parts of the work.
        """
        vectors = segment.vectors()
        assert vectors is not None
        path = segment.directory / self._index_name()
        temporary = path.with_suffix(".tmp")
        try:
            inverse = segment.number("inv_norm", segment.rows)
            known = None if base is None else base.index
            first = 0 if base is None or known is None else base.rows
            added, scale = vectors[first:], inverse[first:]
            effort: int | None
            if base is not None and known is not None and first == segment.rows:
                index, effort = known, base.effort
            else:
                backend = BACKENDS[self._ann]
                index = (
                    backend.build(added, inv_norm=scale, throttle=pace)
                    if known is None
                    else known.extend(added, inv_norm=scale, throttle=pace)
                )
                pace()
                effort = least_effort(index, vectors, inverse, pace=pace)
            if effort is None:
                logger.warning(
                    "the graph finds too few of the nearest rows; they are scanned instead",
                    extra={"segment": segment.number_in_manifest, "rows": segment.rows},
                )
                return None
            index.save(temporary)
            content = self._fs.map(temporary)
            facts = {"size": len(content), "crc32": zlib.crc32(content)}
            self._fs.adopt(temporary, path)
        except InterruptedError:
            with contextlib.suppress(OSError):
                self._fs.remove(temporary)
            raise
        except (ImportError, MemoryError, OSError, RuntimeError, StorageError) as error:
            logger.warning("a graph index was not saved", extra={"file": str(path), "reason": str(error)})
            with contextlib.suppress(OSError):
                self._fs.remove(temporary)
            return None
        segment.facts[path.name] = facts | {"ef": effort}
        segment.effort = effort
        return index

    # Writing ------------------------------------------------------------------------------------------

    def reserve(self) -> tuple[int, Path]:
        """Return the number and directory of a segment that is about to be written."""
        with self._numbers_lock:
            number, self._next_segment = self._next_segment, self._next_segment + 1
            self._reserved.add(number)
        return number, self._segment_directory(number)

    def abandon(self, number: int) -> None:
        """Give up a reserved segment: its files are strangers from now on."""
        with self._numbers_lock:
            self._reserved.discard(number)

    def write(self, capture: Capture, became: Mapping[Component, Segment]) -> dict[Memtable, Segment]:
        """Write a capture durably, swap the manifest, and return the segments that frozen memtables became.

        Args:
            capture: What to write.
            became: Components that earlier captures, or merges, turned into segments.

        Raises:
            StorageFullError, StorageError, OSError: Nothing has changed; it may be tried again.
        """
        attempt = self._take_number()
        try:
            made, segments, state_file = self._write_files(attempt, capture, became)
        except BaseException:
            self.tidy()  # half of a checkpoint may take the room that the next one needs
            raise
        self._put_in_force(attempt, self._manifest_of(capture.lsn, capture.counters, state_file, segments))
        self._state_file = state_file
        self._counters = capture.counters
        self.lsn = capture.lsn
        with self._numbers_lock:
            self._segments = segments
            self._reserved -= {facts.number for facts in segments}
        self.tidy()
        return made

    def _write_files(
        self, attempt: int, capture: Capture, became: Mapping[Component, Segment]
    ) -> tuple[dict[Memtable, Segment], list[SegmentFacts], tuple[str, Facts] | None]:
        fs, root = self._fs, self._root
        made: dict[Memtable, Segment] = {}
        segments: list[SegmentFacts] = []
        known = {facts.number: facts for facts in self._segments}
        for captured in capture.order:
            component = became.get(captured, captured)  # it may have moved since
            mutable = capture.changed.get(captured)
            if isinstance(component, Memtable):
                assert mutable is not None
                number, directory = self.reserve()
                self.abandon(number)  # the flush lock is held: nobody else removes strangers meanwhile
                files = write_segment(fs, directory, source_of(component))
                made[component] = segment = Segment(fs, directory, number=number, facts=files, mutable=mutable)
                self.write_text(segment, self._terms_of(component))
            else:
                assert isinstance(component, Segment)
                segment = component
            facts = known.get(segment.number_in_manifest)
            if mutable is None:
                assert facts is not None
                name, written = facts.mutable, facts.mutable_facts
            else:
                name = f"cols/{segment.number_in_manifest:06}-{attempt}.bin"
                written = write_mutable(fs, root / name, mutable)
            segments.append(SegmentFacts(segment.number_in_manifest, dict(segment.facts), name, written, segment.level))
        if capture.changed:
            fs.sync_directory(root / "cols")
        state_file = self._state_file
        if capture.state is not None:
            state_file = self._write_numbered("state", attempt, checked.encode(capture.state))
        return made, segments, state_file

    def _terms_of(self, memtable: Memtable) -> Arrays:
        if memtable.text is None:
            return text_index.read(self._analyzer, memtable.content, memtable.rows, pace=yield_to_others)
        index = memtable.text_index(self._analyzer, memtable.rows, pace=yield_to_others)
        assert isinstance(index, GrowingTextIndex)
        return index.arrays()

    def _write_numbered(self, folder: str, attempt: int, content: bytes) -> tuple[str, Facts]:
        name = f"{folder}/{attempt}.bin"
        self._fs.make_directory(self._root / folder)
        facts = write_file(self._fs, self._root / name, [content])
        self._fs.sync_directory(self._root / folder)
        return name, facts

    def put_blob(self, name: str, content: bytes | None) -> None:
        """Keep named bytes, durably, in place of those of the same name; None removes them."""
        attempt = self._take_number()
        blobs = {other: one for other, one in self._blobs.items() if other != name}
        if content is not None:
            blobs[name] = self._write_numbered("blobs", attempt, content)
        before, self._blobs = self._blobs, blobs
        try:
            manifest = self._manifest_of(self.lsn, self._counters, self._state_file, self._segments)
            self._put_in_force(attempt, manifest)
        except BaseException:
            self._blobs = before
            raise
        self.tidy()

    def blob(self, name: str) -> bytes | None:
        """Return named bytes. Raises CorruptionError when they are not what was put."""
        if name not in self._blobs:
            return None
        file, facts = self._blobs[name]
        return bytes(check_file(self._fs, self._root / file, facts))

    def blob_names(self) -> list[str]:
        return sorted(self._blobs)

    def _take_number(self) -> int:
        number, self._next_manifest = self._next_manifest, self._next_manifest + 1
        return number

    def _manifest_of(
        self,
        lsn: int,
        counters: dict[str, Any],
        state_file: tuple[str, Facts] | None,
        segments: Sequence[SegmentFacts],
    ) -> dict[str, Any]:
        return {
            "lsn": lsn,
            "next_segment": self._next_segment,
            "counters": counters,
            "state": state_file,
            "segments": [(one.number, one.files, one.mutable, one.mutable_facts, one.level) for one in segments],
            "blobs": self._blobs,
        }

    def _put_in_force(self, number: int, manifest: dict[str, Any]) -> None:
        name = f"MANIFEST-{number:06}"
        self._fs.write_new(self._root / name, [checked.encode(manifest)])
        self._fs.sync_directory(self._root)
        temporary = self._root / "CURRENT.new"
        self._fs.write_new(temporary, [name.encode()])
        self.is_unsure = True
        self._fs.rename(temporary, self._root / "CURRENT")  # the moment at which the checkpoint is in force
        self._fs.sync_directory(self._root)
        self.is_unsure = False
        self._manifest = number

    def tidy(self) -> None:
        """Remove strangers, unless two manifests may be in force; what cannot be removed now goes next time."""
        if self.is_unsure:
            return
        try:
            self._remove_strangers()
        except (OSError, StorageError) as error:
            logger.warning("old files could not be removed", extra={"reason": str(error)})

    def _remove_strangers(self) -> None:
        """Remove files that the manifest in force does not name: leftovers of crashes and of the one before.

        Merges reserve segments and write them meanwhile. So the directories are listed first: one that is listed was
        reserved before, and is so still, unless it has come into the manifest or was given up.
        """
        fs, root = self._fs, self._root
        directories = fs.list(root / "seg")
        with self._numbers_lock:
            numbers = {f"{number:06}" for number in self._reserved}
            numbers |= {f"{facts.number:06}" for facts in self._segments}
        keep = {f"MANIFEST-{self._manifest:06}", *(facts.mutable for facts in self._segments)}
        if self._state_file is not None:
            keep.add(self._state_file[0])
        keep.update(file for file, _ in self._blobs.values())
        for name in fs.list(root):
            if (name.startswith("MANIFEST-") and name not in keep) or name.endswith(".new"):
                fs.remove(root / name)
        for folder in ("cols", "state", "blobs"):
            for name in fs.list(root / folder):
                if f"{folder}/{name}" not in keep:
                    fs.remove(root / folder / name)
        for name in directories:
            if name not in numbers:
                fs.remove_tree(root / "seg" / name)

    def files(self) -> dict[str, Facts]:
        """Return every file that the manifest in force names, with its size and checksum, by path in the space."""
        named = {facts.mutable: facts.mutable_facts for facts in self._segments}
        for facts in self._segments:
            named |= {f"seg/{facts.number:06}/{name}": one for name, one in facts.files.items()}
        if self._state_file is not None:
            named[self._state_file[0]] = self._state_file[1]
        return named | dict(self._blobs.values())

    @property
    def manifest_name(self) -> str:
        return f"MANIFEST-{self._manifest:06}"

    def disk_bytes(self) -> int:
        """Return the bytes of the files the manifest names."""
        return sum(facts["size"] for facts in self.files().values())
