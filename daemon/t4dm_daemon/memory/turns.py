"""Fairness among optimistic writers.

A writer that reads, computes and writes back loses when another writes in between, and tries again. Alone that
starves: with enough luck the others win every time. So a writer that has lost `PATIENCE` times goes first: no
other begins an attempt until it is through. Those already under way can each win once more.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE: Final = 3
MAX_ATTEMPTS: Final = 128
"""More than threads that write at once: reached only when something else is wrong."""


class Turns:
    """Say when an attempt may begin. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def attempt(self, lost: int) -> Iterator[None]:
        """Run one attempt of a writer that has lost `lost` times; wait while another goes first."""
        with self._lock:
            if lost >= PATIENCE:
                yield
                return
        yield
