"""Compaction: which segments are merged, and the thread that merges them.

The mechanism is `merge.py`; which segments, and when, is a `MergePolicy` given from outside. Consolidation uses
the same mechanism: it writes what it learned (learning state and weights in place, prototypes and their links as
ordinary inserts, forgotten items as deletions and purges) and then has the segments merged at its level.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from t4dm_daemon.core.errors import StorageClosedError, StorageError
from t4dm_daemon.storage.t4dx.checkpoint import Checkpoints, Pace
from t4dm_daemon.storage.t4dx.flusher import Flusher
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.merge import merge, plan
from t4dm_daemon.storage.t4dx.segment import Segment
from t4dm_daemon.storage.t4dx.state import SpaceState
from t4dm_daemon.storage.t4dx.text_index import StoredTextIndex

logger = logging.getLogger(__name__)

REST: Final = 0.3
"""Share of the time in which work in the background rests."""
LOOK_EVERY_S: Final = 0.25
"""How soon one who waits for work in the background learns that waiting was cancelled."""
MAX_LEVEL: Final = 2


@dataclass(frozen=True, slots=True)
class SegmentSummary:
    """What a policy sees of a segment."""

    number: int
    level: int
    rows: int
    purged: int
    """Rows that are to be left out by a merge."""
    size_bytes: int
    links: int = 0


class MergePolicy(Protocol):
    """Choose what to merge."""

    @property
    def max_rows(self) -> int:
        """A merge that would be larger makes several segments."""
        ...

    def pick(self, segments: Sequence[SegmentSummary]) -> range | None:
        """Return which neighbours (oldest first) to merge next, one alone to rewrite it; None when all is well."""
        ...


@dataclass(frozen=True, slots=True)
class SizeTiered:
    """Merge neighbours of about the same size: each row is rewritten O(log n) times, and O(log n) segments
    stay, beside those of `max_rows`.

    Attributes:
        fan_in: As many neighbours are merged at once, at least.
        growth: An older neighbour joins while it has at most so many times the rows and links of the newer ones
            together.
        max_rows: Segments this large are merged no further; a larger one is split.
        purged_share: A segment with more purged rows than this is rewritten.
    """

    fan_in: int = 4
    growth: float = 2.0
    max_rows: int = 1_000_000
    purged_share: float = 0.2

    def pick(self, segments: Sequence[SegmentSummary]) -> range | None:
        for at, one in enumerate(segments):
            if one.purged > self.purged_share * one.rows or one.rows > self.max_rows:
                return range(at, at + 1)
        for end in range(len(segments), self.fan_in - 1, -1):
            start, total, rows = end, 0, 0
            while start > 0:
                size = max(1, segments[start - 1].rows + segments[start - 1].links)
                rows += segments[start - 1].rows
                if (total and size > self.growth * total) or rows > self.max_rows:
                    break
                total += size
                start -= 1
            if end - start >= self.fan_in:
                return range(start, end)
        return None


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What a compaction did."""

    merges: int
    segments_before: int
    segments_after: int
    rows_before: int
    rows_after: int
    disk_bytes_before: int
    disk_bytes_after: int
    seconds: float


class Compactor:
    """Merge segments and build graphs, on demand and in the background. Thread-safe; one merge at a time.

    `_lock` guards the segments under work; `_waiting_lock` guards `_waiting`; `apply_lock` guards `_thread` and
    `_is_closed`.
    """

    def __init__(
        self,
        fs: FileSystem,
        state: SpaceState,
        checkpoints: Checkpoints,
        flusher: Flusher,
        *,
        apply_lock: threading.Lock,
        policy: MergePolicy,
        in_background: bool,
    ) -> None:
        self._fs = fs
        self._state = state
        self._checkpoints = checkpoints
        self._flusher = flusher
        self._apply_lock = apply_lock
        self._policy = policy
        self._in_background = in_background
        self._lock = threading.Lock()
        self._waiting_lock = threading.Lock()
        self._waiting = 0
        """Callers that wait for `_lock`."""
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._cancel = threading.Event()
        self._without_index: set[int] = set()
        """Segments whose graph could not be built; it is not tried again before the next start."""
        self._without_text: set[int] = set()
        """The same of text indexes."""

    def segments(self) -> list[Segment]:
        return [one for one in self._state.components if isinstance(one, Segment)]

    def run(
        self,
        *,
        everything: bool = False,
        level: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> CompactionReport:
        """Merge until the policy is content, in the caller's thread.

        Args:
            everything: Merge all segments into one (or as few as `max_rows` allows) and leave every purged row out.
            level: Raise every segment to at least this level. A merged one has the highest of those it is made of.
            progress: Called with (merges done, segments left).
            cancel: Set to stop; raises InterruptedError. What was merged until then stays.
        """
        began = time.monotonic()
        before, disk_before = self.segments(), self._checkpoints.disk_bytes()
        pace = Pace(cancel, self._cancel)
        merges = 0
        with self._turn(pace):
            if self._is_closed:
                raise StorageClosedError("the store is closed")
            if level is not None:
                self._raise_levels(level)
            if everything and before:
                self._merge(self.segments(), pace=pace, forget=True)
                merges += 1
            while self._step(pace, forget=everything):
                merges += 1
                if progress is not None:
                    progress(merges, len(self.segments()))
        after = self.segments()
        return CompactionReport(
            merges,
            len(before),
            len(after),
            sum(one.rows for one in before),
            sum(one.rows for one in after),
            disk_before,
            self._checkpoints.disk_bytes(),
            time.monotonic() - began,
        )

    @contextlib.contextmanager
    def _turn(self, pace: Pace) -> Iterator[None]:
        """Hold `_lock` for a caller who waits: what has it in the background stops resting meanwhile.

        Raises:
            InterruptedError: Cancelled while waiting.
        """
        with self._waiting_lock:
            self._waiting += 1
        try:
            while not self._lock.acquire(timeout=LOOK_EVERY_S):
                pace()
        finally:
            with self._waiting_lock:
                self._waiting -= 1
        try:
            yield
        finally:
            self._lock.release()

    def _raise_levels(self, level: int) -> None:
        """Note that segments have come through consolidation of this level; nothing of them is rewritten."""
        with self._apply_lock:
            lower = [one for one in self.segments() if one.level < level]
            for one in lower:
                one.level = level
        if lower:
            self._flusher.flush(force=True)

    def _step(self, pace: Pace, *, forget: bool = False) -> bool:
        """Do one piece of work; False when there is none. Requires: _lock."""
        pace()
        segments = self.segments()
        chosen = self._policy.pick([_summary(one) for one in segments])
        if chosen is not None:
            self._merge(segments[chosen.start : chosen.stop], pace=pace, forget=forget)
            return True
        for segment in segments:
            if self._wants_text(segment):
                self._build_text(segment, pace)
                return True
            if self._wants_index(segment):
                self._build_index(segment, pace)
                return True
        return False

    def _wants_text(self, segment: Segment) -> bool:
        return not isinstance(segment.text, StoredTextIndex) and segment.number_in_manifest not in self._without_text

    def _build_text(self, segment: Segment, pace: Pace) -> None:
        """Write the text index of a segment that has none; where that fails it is made in memory when asked for."""
        try:
            self._checkpoints.build_text(segment, pace=pace)
        except InterruptedError:
            raise
        except (OSError, StorageError) as error:
            self._without_text.add(segment.number_in_manifest)
            logger.warning(
                "a text index was not saved", extra={"segment": segment.number_in_manifest, "reason": str(error)}
            )
            return
        self._flusher.flush(force=True)

    def _wants_index(self, segment: Segment) -> bool:
        return (
            segment.index is None
            and segment.number_in_manifest not in self._without_index
            and self._checkpoints.may_have_index(segment)
        )

    def _build_index(self, segment: Segment, pace: Pace) -> None:
        index = self._checkpoints.build_index(segment, None, pace=pace)
        if index is None:
            self._without_index.add(segment.number_in_manifest)
            return
        segment.index = index
        self._flusher.flush(force=True)  # note its checksum, or it would be built again at every start

    def _merge(self, old: Sequence[Segment], *, pace: Pace, forget: bool) -> None:
        began = time.monotonic()
        reserved: list[int] = []
        new_level = max(one.level for one in old)
        try:
            merged = [
                merge(self._fs, self._checkpoints, origins, level=new_level, pace=pace, reserved=reserved)
                for origins in plan(old, self._policy.max_rows, forget=forget)
            ]
            self._without_index |= {one.segment.number_in_manifest for one in merged if one.has_failed}
            self._flusher.replace(old, merged)
        except BaseException as error:
            if old[0] in self._state.components:  # otherwise they are in use, and the next checkpoint names them
                self._flusher.abandon(reserved)
            if isinstance(error, OSError) and not isinstance(error, InterruptedError):
                raise StorageError(f"merging failed: {error}; nothing is lost, and it may be tried again") from error
            raise
        logger.info(
            "segments merged",
            extra={
                "segments": len(old),
                "became": len(merged),
                "rows": sum(one.segment.rows for one in merged),
                "seconds": round(time.monotonic() - began, 3),
            },
        )

    # In the background --------------------------------------------------------------------------------

    def start(self) -> None:
        """Work in the background, if there is work."""
        if not self._in_background:
            return
        with self._apply_lock:
            if self._thread is not None or self._is_closed:
                return
            segments = self.segments()
            if self._policy.pick([_summary(one) for one in segments]) is None and not any(
                self._wants_index(one) or self._wants_text(one) for one in segments
            ):
                return
            self._thread = threading.Thread(target=self._work, name="t4dx-merge", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        pace = Pace(self._cancel, rest=REST, is_awaited=lambda: self._waiting > 0)
        is_done = False
        try:
            while True:
                if self._waiting:
                    self._cancel.wait(LOOK_EVERY_S)  # a lock is not fair: they go first
                with self._lock:
                    if not self._step(pace):
                        break
            is_done = True
        except InterruptedError:
            pass
        except StorageError as error:
            logger.error("merging failed; nothing is lost, it is tried again later", extra={"reason": str(error)})
        finally:
            with self._apply_lock:
                self._thread = None
        if is_done:
            self.start()  # for work that came after the last look

    def close(self) -> None:
        """Stop soon, and wait for it."""
        with self._apply_lock:
            self._is_closed = True
            thread = self._thread
        self._cancel.set()
        if thread is not None:
            thread.join()
        with self._lock:  # a run in another thread ends first
            pass


def _summary(segment: Segment) -> SegmentSummary:
    return SegmentSummary(
        segment.number_in_manifest,
        segment.level,
        segment.rows,
        segment.purged_rows,
        segment.disk_bytes(),
        segment.edges.rows,
    )
