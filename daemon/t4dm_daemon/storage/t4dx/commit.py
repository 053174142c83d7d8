"""Group commit: many writers, one write and one sync.

A writer puts its record into the queue. The first to come leads: it takes the whole queue, has it written and
applied, wakes the others, and hands the lead to the next in line. A lone writer does all of this in its own
thread, without waiting for anyone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from t4dm_daemon.core.errors import StorageClosedError, StorageError


class Command:
    """A record on its way to the log, what it means when decoded, and what became of it."""

    __slots__ = ("_is_leader", "_turn", "body", "error", "meaning", "result", "type")

    def __init__(self, kind: int, body: bytes, meaning: Any) -> None:
        self.type = kind
        self.body = body
        self.meaning = meaning
        self.result: Any = None
        self.error: BaseException | None = None
        self._is_leader = False
        self._turn: threading.Lock | None = None
        """Held until the writer that waits for it is to go on. A bare lock: an Event costs ten times as much."""


class CommitQueue:
    """Gather commands and have them carried out in groups.

    Args:
        carry_out: Writes and applies a group; sets `result` or `error` of every command; never raises.

    `_lock` guards `_waiting`, `_is_led` and `_is_closed`.
    """

    def __init__(self, carry_out: Callable[[Sequence[Command]], None]) -> None:
        self._carry_out = carry_out
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._waiting: list[Command] = []
        self._is_led = False
        self._is_closed = False

    def submit(self, command: Command) -> Any:
        """Return the command's result once it is durable and applied. Raises its error."""
        with self._lock:
            if self._is_closed:
                raise StorageClosedError("the store is closed")
            self._waiting.append(command)
            if self._is_led:
                command._turn = threading.Lock()
                command._turn.acquire()
            else:
                self._is_led = command._is_leader = True
        if command._turn is not None:
            self._wait(command)
        if command._is_leader:
            self._lead()
        if command.error is not None:
            raise command.error
        return command.result

    def _wait(self, command: Command) -> None:
        """Wait to be carried out or to lead. Interrupted (Ctrl-C), leave without making anyone else wait."""
        assert command._turn is not None
        try:
            command._turn.acquire()
        except BaseException:
            with self._lock:
                if not command._is_leader and command in self._waiting:
                    self._waiting.remove(command)
            if command._is_leader:
                self._lead()
            raise

    def _lead(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting, []
        try:
            self._carry_out(group)
        finally:
            with self._lock:
                if self._waiting:
                    heir = self._waiting[0]
                    heir._is_leader = True
                    assert heir._turn is not None
                    heir._turn.release()
                else:
                    self._is_led = False
                    self._idle.notify_all()
            for command in group:
                if command.result is None and command.error is None:
                    command.error = StorageError("the write was interrupted; it is not known to be stored")
                if command._turn is not None and not command._is_leader:
                    command._turn.release()

    def close(self) -> None:
        """Take no more commands, and wait until those that came are done."""
        with self._lock:
            self._is_closed = True
            while self._is_led:
                self._idle.wait()
