"""Ctrl-C during an import."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def asked_to_stop(*, at_once: bool = False) -> Generator[threading.Event]:
    """Note the first Ctrl-C in an event.

    With `at_once` it also is a KeyboardInterrupt as ever, and the event is for the case that this is lost: where Python
    raises it in a finaliser or a callback of C code, it prints the exception and goes on. Without, no write is cut, and
    only the second Ctrl-C is an interrupt. Where it is ignored (a job in the background) it stays so.
    """
    stop = threading.Event()
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)
        if at_once and callable(before):
            before(number, frame)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def until(stop: threading.Event, entries: Iterable[T]) -> Iterator[T]:
    """Yield entries; raise KeyboardInterrupt once the event is set."""
    for entry in entries:
        if stop.is_set():
            raise KeyboardInterrupt
        yield entry
