from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from t4dm_daemon.core.errors import StorageClosedError, StorageError
from t4dm_daemon.storage.t4dx.commit import Command, CommitQueue


def _command(number: int) -> Command:
    return Command(1, b"%d" % number, number)


def test_every_writer_gets_its_own_result_and_groups_keep_the_order() -> None:
    groups: list[list[int]] = []

    def carry_out(group: Sequence[Command]) -> None:
        groups.append([command.meaning for command in group])
        for command in group:
            command.result = command.meaning * 2

    queue = CommitQueue(carry_out)
    results: dict[int, int] = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: queue.submit(_command(n))}))  # type: ignore[misc]
        for n in range(1, 101)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    queue.close()

    assert results == {n: 2 * n for n in range(1, 101)}
    assert sorted(n for group in groups for n in group) == list(range(1, 101))
    with pytest.raises(StorageClosedError):
        queue.submit(_command(1))


def test_a_leader_that_fails_leaves_nobody_waiting() -> None:
    gate, arrived = threading.Event(), threading.Event()

    def carry_out(group: Sequence[Command]) -> None:
        arrived.set()
        gate.wait(10)
        if any(command.meaning == 1 for command in group):
            raise ValueError("broken")
        for command in group:
            command.error = StorageError("refused")

    queue = CommitQueue(carry_out)
    errors: list[str] = []

    def submit(number: int) -> None:
        try:
            queue.submit(_command(number))
        except (StorageError, ValueError) as error:
            errors.append(str(error))

    leader = threading.Thread(target=submit, args=(1,))
    leader.start()
    arrived.wait(10)
    others = [threading.Thread(target=submit, args=(number,)) for number in (2, 3, 4)]
    for thread in others:
        thread.start()
    gate.set()
    for thread in (leader, *others):
        thread.join(10)

    assert not any(thread.is_alive() for thread in (leader, *others))
    assert sorted(errors) == ["broken", "refused", "refused", "refused"]
    queue.close()
