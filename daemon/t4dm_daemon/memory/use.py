"""Keeping book of which memories are used: in the background, so that no search waits for the disk.

A recall is a change of learning state (`access_count`, `last_accessed`), written in place. Recalls are gathered for a
second and written together; what a crash takes with it is at most that second of them, and no memory.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Final

from t4dm_daemon.core.errors import DaemonError
from t4dm_daemon.memory.spaces import Spaces
from t4dm_daemon.storage.protocol import FieldUpdate

logger = logging.getLogger(__name__)

PERIOD_S: Final = 1.0
MAX_WAITING: Final = 100_000
"""Memories whose use waits to be written: beyond that it is dropped, and said so."""


class UseRecorder:
    """Write down what was recalled. Thread-safe; `_changed` guards every field.

    Args:
        spaces: Where the memories are.
        period_s: How long recalls are gathered.
    """

    def __init__(self, spaces: Spaces, *, period_s: float = PERIOD_S) -> None:
        self._spaces = spaces
        self._period_s = period_s
        self._changed = threading.Condition()
        self._waiting: dict[tuple[str, str], tuple[int, int]] = {}
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def record(self, space: str, ids: Sequence[str]) -> None:
        """Note a recall of each id."""
        now = time.time_ns() // 1000
        with self._changed:
            if self._is_closed or not ids:
                return
            if len(self._waiting) + len(ids) > MAX_WAITING:
                logger.warning("recalls come faster than they can be written; some are not counted")
                return
            for one in ids:
                count, _ = self._waiting.get((space, one), (0, 0))
                self._waiting[space, one] = count + 1, now
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="t4dm-use", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Write what waits."""
        with self._changed:
            waiting, self._waiting = self._waiting, {}
        by_space: dict[str, list[FieldUpdate]] = {}
        for (space, one), (count, at) in waiting.items():
            update = FieldUpdate(one, set={"last_accessed": at}, add={"access_count": count})
            by_space.setdefault(space, []).append(update)
        for space, updates in by_space.items():
            try:
                self._spaces.open(space).backend.update_fields(updates)
            except DaemonError as error:  # deleted meanwhile, or read-only: nobody waits for an answer
                logger.warning("recalls were not counted", extra={"space": space, "reason": str(error)})

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, self._period_s)
                if self._is_closed or not self._waiting:
                    self._thread = None
                    return
            self.flush()

    def close(self) -> None:
        """Write what waits, and stop."""
        with self._changed:
            self._is_closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join()
        self.flush()
