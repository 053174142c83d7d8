"""How an MCP server reaches memory: in a thread, within a deadline, with errors that say what to do.

A host gives up on a call that hangs, silently and late; so every call ends here in time, with an answer or with an
error that says what is the matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

from t4dm._backend import MemoryBackend
from t4dm._connection import Connection
from t4dm.sdk.errors import T4DMError, TransportError

T = TypeVar("T")

DEADLINE_S: Final = 10.0
_THREADS: Final = 8


class Call(Protocol):
    """Run work off the event loop with a backend, and return what it returns."""

    async def __call__(self, work: Callable[[MemoryBackend], T], /) -> T: ...


class Reach:
    """Carry out work on memories within a deadline."""

    def __init__(self, call: Call, *, deadline_s: float = DEADLINE_S) -> None:
        self._call = call
        self.deadline_s = deadline_s

    async def __call__(self, work: Callable[[MemoryBackend], T], *, deadline_s: float | None = None) -> T:
        """Return what the work returns.

        Raises:
            TransportError: The time is up; work that had begun is not undone.
            T4DMError: Whatever the backend says.
        """
        limit_s = self.deadline_s if deadline_s is None else min(deadline_s, self.deadline_s)
        try:
            async with asyncio.timeout(limit_s):
                return await self._call(work)
        except TimeoutError:
            raise TransportError(
                f"the memory did not answer within {limit_s:g} s; a write that had begun may still be stored, so "
                "look before you write again",
                code="deadline_exceeded",
                details={"deadline_s": limit_s},
            ) from None

    async def at_leisure(self, work: Callable[[MemoryBackend], T]) -> T:
        """Return what the work returns, however long it takes: nobody may wait for it directly. Raises T4DMError."""
        return await self._call(work)


class InThreads:
    """Reach a connection's backend from threads of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="t4dm-mcp")
        self._under_way: set[Future[Any]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way whose answer nobody may be waiting for any more."""
        return bool(self._under_way)

    async def __call__(self, work: Callable[[MemoryBackend], T], /) -> T:
        def carry_out() -> T:
            return work(self._connection.backend())

        future = self._pool.submit(carry_out)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Start nothing more, and close what was opened; a call that hangs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if not self.is_busy:
            self._connection.close()


def told(error: T4DMError) -> str:
    """Return an error as a model should read it: what failed, and never as if there were nothing to find."""
    if isinstance(error, TransportError) and error.code != "deadline_exceeded":
        hint = "" if "t4dm serve" in error.message else " Is the daemon running? Start it with: t4dm serve"
        return f"The memory daemon cannot be reached: {error.message}.{hint} This says nothing about what is stored."
    if error.code in ("missing_extra", "storage_locked"):
        return f"The memory cannot be opened: {error.message}"
    return f"{error.message} [{error.code}]"
