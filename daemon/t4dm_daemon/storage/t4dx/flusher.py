"""Flush: captures of the state become segments and a manifest; then the log behind them is released.

One checkpoint is written at a time (`lock`). It is captured under the apply lock, in microseconds to milliseconds,
and written without it, so neither readers nor writers wait for the disk. When it fails, nothing is lost: the log
has it all, and the next flush captures it again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from t4dm_daemon.core.errors import StorageClosedError, StorageError, WalError
from t4dm_daemon.storage.t4dx.checkpoint import Checkpoints
from t4dm_daemon.storage.t4dx.component import Component
from t4dm_daemon.storage.t4dx.merge import Merged
from t4dm_daemon.storage.t4dx.segment import Segment
from t4dm_daemon.storage.t4dx.state import SpaceState
from t4dm_daemon.storage.t4dx.wal import Wal

logger = logging.getLogger(__name__)

MAX_FROZEN: Final = 2
"""Writers wait while so many memtables are to be written."""


class Flusher:
    """Write captures of a state, on demand and in the background. Thread-safe.

    Args:
        state: What is captured; guarded by `apply_lock`.
        checkpoints: Writes it.
        wal: Is released behind it, under `commit_lock`.
        on_flushed: Called after the background has written segments.

    `lock` guards `_became` and `_is_sealed`; `apply_lock` guards `_thread`, `_is_closed` and `error`.
    """

    def __init__(
        self,
        state: SpaceState,
        checkpoints: Checkpoints,
        wal: Wal,
        *,
        commit_lock: threading.Lock,
        apply_lock: threading.Lock,
        on_flushed: Callable[[], None],
    ) -> None:
        self.lock = threading.Lock()
        self.error: BaseException | None = None
        """Why the last flush failed, None when it did not."""
        self._state = state
        self._checkpoints = checkpoints
        self._wal = wal
        self._commit_lock = commit_lock
        self._apply_lock = apply_lock
        self._on_flushed = on_flushed
        self._flushed = threading.Condition(apply_lock)
        self._became: dict[Component, Segment] = {}
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._is_sealed = False

    def require_open(self) -> None:
        """Raise StorageClosedError when nothing may be written any more, WalError after the log failed.

        And CorruptionError when the log is not in its place: files would be written where no store is any more.

        What memory holds after a failure may be half of a group: only a replay can tell. Requires: lock.
        """
        if self._is_sealed:
            raise StorageClosedError("the store is closed")
        self._wal.require_present()
        if self._wal.failure is not None:
            raise WalError(f"the store is read-only until it is restarted: {self._wal.failure}")

    def flush(self, *, force: bool = False) -> None:
        """Write what is in memory; with `force` a manifest even if nothing was written since the last.

        Raises:
            StorageFullError, StorageError: Nothing is lost; the next flush tries again.
        """
        with self.lock:
            self.require_open()
            with self._apply_lock:
                self._state.capture(force=force or self._checkpoints.is_unsure)
            self._write_captures()

    def replace(self, old: Sequence[Segment], merged: Sequence[Merged]) -> None:
        """Let merged segments stand for the old ones, in memory at once, in the manifest before this returns.

        Raises:
            StorageError: The manifest could not be written; memory goes on with the new ones, and so will the
                next checkpoint.
        """
        with self.lock:
            self.require_open()
            while True:
                self._write_captures()
                with self._apply_lock:
                    if self._state.captures:
                        continue  # a capture may name the old ones: it goes first
                    for one in merged:
                        one.segment.take_over_merged(one.origins)
                    self._state.replace_segments(old, [one.segment for one in merged])
                    self._state.capture(force=True)
                break
            self._write_captures()

    def abandon(self, numbers: Sequence[int]) -> None:
        """Give up segments that were begun, and remove what there is of them: their room may be needed."""
        for number in numbers:
            self._checkpoints.abandon(number)
        with self.lock:
            if not self._is_sealed:
                self._checkpoints.tidy()

    def _write_captures(self) -> None:
        """Write what was captured, oldest first. Requires: lock."""
        while self._state.captures:
            capture = self._state.captures[0]
            try:
                made = self._checkpoints.write(capture, self._became)
            except StorageError as error:
                self._keep_for_later(error)
                raise
            except Exception as error:  # whatever it was: writers that wait for the flush must go on
                self._keep_for_later(error)
                raise StorageError(f"the flush failed: {error}; nothing is lost, the log has it") from error
            with self._flushed:
                self._state.captures.popleft()
                for memtable, segment in made.items():
                    self._became[memtable] = segment
                self._state.replace_memtables(made)
                self.error = None
                if not self._state.captures:
                    self._became.clear()
                self._flushed.notify_all()
            with self._commit_lock:
                self._wal.release(capture.lsn)

    def _keep_for_later(self, error: BaseException) -> None:
        """Take captures back after a failure: the next flush captures all of it again."""
        with self._flushed:
            self._state.take_back(self._became, self._checkpoints.lsn)
            self._became.clear()
            self.error = error
            self._flushed.notify_all()

    # In the background --------------------------------------------------------------------------------

    def start(self) -> None:
        """Write captures in the background. Requires: apply_lock."""
        if self._thread is None and not self._is_closed:
            self._thread = threading.Thread(target=self._work, name="t4dx-flush", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        try:
            while True:
                with self.lock:
                    self._write_captures()
                with self._apply_lock:
                    if not self._state.captures:
                        self._thread = None
                        break
            self._on_flushed()
        except StorageError as error:
            logger.error(
                "flush failed; the log keeps what is not flushed",
                extra={"reason": str(error)},
                exc_info=error.__cause__,
            )
            with self._apply_lock:
                self._thread = None

    def wait_for_room(self) -> None:
        """Wait while too many memtables are to be written, unless writing them fails."""
        if self._state.frozen < MAX_FROZEN:
            return
        with self._flushed:
            while self._state.frozen >= MAX_FROZEN and self.error is None and not self._is_closed:
                self._flushed.wait(1.0)

    def close(self, *, flush: bool) -> None:
        """Start no more work, wait for what is under way, and write nothing after a last flush."""
        with self._flushed:
            self._is_closed = True
            thread = self._thread
            self._flushed.notify_all()
        if thread is not None:
            thread.join()
        with self.lock:
            try:
                if flush:
                    with self._apply_lock:
                        self._state.capture()
                    self._write_captures()
            except StorageError as error:
                logger.error("flush on close failed; the log keeps everything", extra={"reason": str(error)})
            finally:
                self._is_sealed = True
                self._wal.close()
