"""Ctrl-C during an import."""

import signal
import threading
from collections.abc import Iterator

import pytest

from t4dm_daemon.cli.importing.interrupts import asked_to_stop, until


@pytest.fixture(autouse=True)
def _interrupts() -> Iterator[None]:
    """Let Ctrl-C interrupt, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_that_was_swallowed_stops_the_work_all_the_same() -> None:
    with asked_to_stop(at_once=True) as stop:
        entries = until(stop, range(10))
        first = next(entries)
        with pytest.raises(KeyboardInterrupt):  # caught here, as Python does in a finaliser
            signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            next(entries)

    assert first == 0


def test_a_polite_stop_lets_what_is_under_way_end_and_the_second_one_interrupts() -> None:
    with asked_to_stop() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_handlers_are_as_they_were_and_other_threads_set_none() -> None:
    before = signal.getsignal(signal.SIGINT)
    with asked_to_stop():
        pass
    heard = []
    thread = threading.Thread(target=lambda: heard.append(asked_to_stop().__enter__().is_set()))
    thread.start()
    thread.join(10)

    assert signal.getsignal(signal.SIGINT) is before
    assert heard == [False]


def test_where_it_is_ignored_it_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    with asked_to_stop(at_once=True) as stop:
        signal.raise_signal(signal.SIGINT)

    assert not stop.is_set()
