"""Engine and model calls, off the event loop, in bounded thread pools.

Two lanes: `quick` for single reads and writes, `bulk` for imports, exports and mass deletions, so that an
import never makes a search wait for a thread. A full lane answers 503 at once instead of queueing forever.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from t4dm_daemon.core.errors import BusyError, DeadlineExceededError

P = ParamSpec("P")
T = TypeVar("T")


class Lane:
    """A thread pool with a bounded queue and a deadline. Used from the event loop only.

    Args:
        name: For thread names and messages.
        workers: Threads.
        max_waiting: Calls that may wait for a thread.
        deadline_s: Longest time from call to answer.
    """

    def __init__(self, name: str, *, workers: int, max_waiting: int, deadline_s: float) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=f"t4dm-{name}")
        self._name = name
        self._capacity = workers + max_waiting
        self._deadline_s = deadline_s
        self._under_way = 0
        self._jobs: set[Future[Any]] = set()
        self._is_stopping = False

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread and return what it returns.

        Raises:
            BusyError: The queue is full, no thread was free in time, or the daemon stops: nothing was done.
            DeadlineExceededError: The time is up. The work is not interrupted: a write may still be stored.
        """
        if self._is_stopping:
            raise _stopping()
        if self._under_way >= self._capacity:
            raise BusyError(f"{self._under_way} {self._name} requests are under way; come back", retry_after_s=1)
        self._under_way += 1
        job = self._pool.submit(functools.partial(work, *args, **kwargs))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        future = asyncio.wrap_future(job)
        future.add_done_callback(self._done)
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.shield(future)
        except asyncio.CancelledError:
            if future.cancelled():  # by `stop`, not who waits for it
                raise _stopping() from None
            raise
        except TimeoutError:
            if job.cancel():
                raise BusyError(
                    f"no thread was free within {self._deadline_s:g} s; nothing was done", retry_after_s=5
                ) from None
            raise DeadlineExceededError(
                f"no answer within {self._deadline_s:g} s; a write that has begun may still be stored", retry_after_s=5
            ) from None

    def _done(self, future: asyncio.Future[T]) -> None:
        self._under_way -= 1
        if not future.cancelled():
            future.exception()  # taken, so that asyncio does not complain of an answer nobody waits for any more

    def stop(self) -> None:
        """Refuse work from now on, and what has not begun; what has begun goes on."""
        self._is_stopping = True
        for job in tuple(self._jobs):
            job.cancel()

    def close(self) -> None:
        """Start nothing more; what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _stopping() -> BusyError:
    return BusyError("the daemon is stopping; nothing was done", phase="stopping")
