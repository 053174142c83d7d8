"""Tell subscribers when what a resource shows has changed, whoever changed it.

The daemon sends no events yet, so as long as anybody listens, the resources are looked at every few seconds, and at
once after a write through this server. A look compares versions of memories, not texts; uses are no change.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from t4dm.sdk.errors import T4DMError
from t4dm_integrations.mcp.protocol import INVALID_PARAMS, Notify, ProtocolFault
from t4dm_integrations.mcp.scope import Scope

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 5.0
_PATIENCE_S: Final = 5.0
_MOST: Final = 1000
_UNKNOWN: Final = ""
"""What a resource looked like that could not be read: whatever it turns out to be is a change."""


class Watcher:
    """Know who listens to what, and look while somebody does. Used from the event loop only.

    Args:
        fingerprint: Returns what differs as soon as a resource does; may raise T4DMError.
        interval_s: How often to look.
        patience_s: Whoever does not take a message within that time is told no more, so that others need not wait.
    """

    def __init__(
        self,
        fingerprint: Callable[[Scope, str], Awaitable[str]],
        *,
        interval_s: float = INTERVAL_S,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._fingerprint = fingerprint
        self._interval_s = interval_s
        self._patience_s = patience_s
        self._listeners: dict[tuple[Scope, str], dict[str, Notify]] = {}
        self._seen: dict[tuple[Scope, str], str] = {}
        self._nudged = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    async def subscribe(self, scope: Scope, uri: str, key: str, notify: Notify) -> None:
        """Tell this listener of every change from now on; a key that listens already is replaced.

        Raises:
            ProtocolFault: There are too many.
        """
        if sum(map(len, self._listeners.values())) >= _MOST:
            raise ProtocolFault(INVALID_PARAMS, f"there are {_MOST} subscriptions already; end some of them first")
        what = (scope, uri)
        self._listeners.setdefault(what, {})[key] = notify
        if what not in self._seen:
            self._seen[what] = await self._look(what) or _UNKNOWN
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())

    def unsubscribe(self, scope: Scope, uri: str, key: str) -> None:
        """Tell this listener no longer; one that does not listen does no harm."""
        self._drop((scope, uri), key)

    def forget(self, key: str) -> None:
        """Tell a listener of nothing any more, because its session has ended."""
        for what in list(self._listeners):
            self._drop(what, key)

    def nudge(self) -> None:
        """Look now: something was written."""
        self._nudged.set()

    async def close(self) -> None:
        """Stop looking."""
        self._listeners.clear()
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    def _drop(self, what: tuple[Scope, str], key: str) -> None:
        listeners = self._listeners.get(what, {})
        listeners.pop(key, None)
        if not listeners:
            self._listeners.pop(what, None)
            self._seen.pop(what, None)

    async def _watch(self) -> None:
        while self._listeners:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._nudged.wait()
            self._nudged.clear()
            for what in list(self._listeners):
                try:
                    await self._compare(what)
                except Exception:  # the others go on being told
                    logger.exception("cannot tell of changes", extra={"resource": what[1][:200]})

    async def _compare(self, what: tuple[Scope, str]) -> None:
        found = await self._look(what)
        listeners = self._listeners.get(what)
        if found is None or listeners is None or self._seen.get(what) == found:
            return
        self._seen[what] = found
        for key, notify in list(listeners.items()):
            try:
                async with asyncio.timeout(self._patience_s):
                    await notify(what[1])
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                self.forget(key)
            except TimeoutError:
                logger.warning("a subscriber does not listen", extra={"resource": what[1][:200]})
                self.forget(key)

    async def _look(self, what: tuple[Scope, str]) -> str | None:
        try:
            return await self._fingerprint(*what)
        except T4DMError as error:
            # Whoever reads the resource is told; here there is nothing to compare until the daemon answers again.
            logger.debug("cannot look for changes", extra={"code": error.code})
            return None
