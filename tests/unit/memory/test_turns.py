from __future__ import annotations

import threading

from t4dm_daemon.memory.turns import PATIENCE, Turns


def test_who_lost_too_often_goes_first() -> None:
    turns = Turns()
    order: list[str] = []
    begun = threading.Event()

    def newcomer() -> None:
        begun.set()
        with turns.attempt(0):
            order.append("newcomer")

    with turns.attempt(PATIENCE):
        thread = threading.Thread(target=newcomer)
        thread.start()
        assert begun.wait(10.0)
        thread.join(0.05)  # it stands before the turnstile, however long one waits
        order.append("loser")
    thread.join(10.0)

    assert order == ["loser", "newcomer"]


def test_attempts_that_have_not_lost_run_side_by_side() -> None:
    turns = Turns()
    with turns.attempt(0), turns.attempt(PATIENCE - 1):
        pass


def test_an_attempt_that_fails_gives_its_turn_back() -> None:
    turns = Turns()
    for _ in range(2):
        try:
            with turns.attempt(PATIENCE):
                raise KeyError
        except KeyError:
            pass
