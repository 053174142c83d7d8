from __future__ import annotations

import asyncio
import threading

import pytest

from t4dm_daemon.api.work import Lane
from t4dm_daemon.core.errors import BusyError, DeadlineExceededError


def test_a_full_lane_refuses_at_once_and_recovers() -> None:
    async def scenario() -> None:
        lane = Lane("test", workers=1, max_waiting=1, deadline_s=30)
        gate = threading.Event()
        running = [asyncio.create_task(lane.run(gate.wait, 30)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError) as refused:
            await lane.run(int)
        assert refused.value.retry_after_s >= 1
        gate.set()
        assert await asyncio.gather(*running) == [True, True]
        assert await lane.run(int) == 0
        lane.close()

    asyncio.run(scenario())


def test_the_deadline_answers_while_the_work_goes_on() -> None:
    async def scenario() -> None:
        lane = Lane("test", workers=1, max_waiting=1, deadline_s=0.05)
        gate = threading.Event()
        with pytest.raises(DeadlineExceededError, match="may still be stored"):
            await lane.run(gate.wait, 30)
        gate.set()
        lane.close()

    asyncio.run(scenario())


def test_work_that_never_began_is_called_off() -> None:
    async def scenario() -> None:
        lane = Lane("test", workers=1, max_waiting=5, deadline_s=0.05)
        gate = threading.Event()
        began = threading.Event()
        first = asyncio.create_task(lane.run(gate.wait, 30))
        await asyncio.sleep(0)  # the first call takes the only thread
        with pytest.raises(BusyError, match="nothing was done"):
            await lane.run(began.set)
        gate.set()
        with pytest.raises(DeadlineExceededError):
            await first
        assert await lane.run(lambda: True)
        assert not began.is_set()
        lane.close()

    asyncio.run(scenario())


def test_an_error_of_the_work_reaches_the_caller() -> None:
    async def scenario() -> None:
        lane = Lane("test", workers=1, max_waiting=1, deadline_s=30)
        with pytest.raises(ZeroDivisionError):
            await lane.run(divmod, 1, 0)
        lane.close()

    asyncio.run(scenario())


def test_a_lane_that_stops_refuses_what_waits_and_what_comes_and_lets_the_rest_end() -> None:
    async def scenario() -> None:
        lane = Lane("test", workers=1, max_waiting=1, deadline_s=30)
        gate, began = threading.Event(), threading.Event()

        def work() -> bool:
            began.set()
            return gate.wait(30)

        running = asyncio.create_task(lane.run(work))
        while not began.is_set():
            await asyncio.sleep(0)
        waiting = asyncio.create_task(lane.run(int))
        await asyncio.sleep(0)

        lane.stop()

        for refused in (waiting, lane.run(int)):
            with pytest.raises(BusyError, match="nothing was done") as error:
                await refused
            assert error.value.details == {"phase": "stopping"}
        gate.set()
        assert await running
        lane.close()

    asyncio.run(scenario())
