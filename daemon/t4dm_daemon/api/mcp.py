"""`/mcp`: MCP over streamable HTTP, with the backend of this process.

The SDK is an extra, and takes a second to import; so it is imported when the first client comes, in a thread. From
then on a task of its own holds what the SDK runs, until the daemon stops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from t4dm._backend import MemoryBackend
from t4dm._extras import missing_extra
from t4dm.sdk.errors import MissingExtraError
from t4dm_compat.call import Call
from t4dm_daemon.core.errors import DaemonError
from t4dm_daemon.memory.backend import raise_for_caller

if TYPE_CHECKING:
    from t4dm_integrations.mcp.http import HttpEndpoint

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATHS: Final = ("/mcp", "/mcp/")


class McpDoor:
    """An ASGI application that becomes the SDK's when it is first used. Used from one event loop.

    Args:
        call: Carries work out; see `t4dm_compat.call.Call`.
        max_body_bytes: Longer bodies are refused.
    """

    def __init__(self, call: Call, *, max_body_bytes: int) -> None:
        self._call = call
        self._max_body_bytes = max_body_bytes
        self._opening = asyncio.Lock()
        self._endpoint: HttpEndpoint | None = None
        self._stopping = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._stopping.is_set():
            await _refusal(503, "the daemon is stopping")(scope, receive, send)
            return
        try:
            endpoint = await self._opened()
        except MissingExtraError as error:
            await _refusal(501, f"MCP is not installed here: {error.message}")(scope, receive, send)
            return
        await endpoint(scope, receive, send)

    def stop(self) -> None:
        """End all sessions, so that no open stream keeps the daemon from stopping."""
        self._stopping.set()

    async def close(self) -> None:
        """Stop, and wait until everything has ended."""
        self.stop()
        if self._life is not None:
            await self._life

    async def _opened(self) -> HttpEndpoint:
        """Return the endpoint, open. Raises MissingExtraError."""
        async with self._opening:
            if self._endpoint is None:
                endpoint = await asyncio.to_thread(self._make)
                is_open = asyncio.Event()
                self._life = asyncio.create_task(self._live(endpoint, is_open))
                opening = asyncio.create_task(is_open.wait())
                await asyncio.wait((self._life, opening), return_when=asyncio.FIRST_COMPLETED)
                opening.cancel()
                if not is_open.is_set():
                    await self._life  # it could not begin, and says why
                self._endpoint = endpoint
            return self._endpoint

    def _make(self) -> HttpEndpoint:
        try:
            from t4dm_integrations.mcp import wiring
            from t4dm_integrations.mcp.http import HttpEndpoint

            wiring.is_version_2()
            from mcp.server import streamable_http_manager  # noqa: F401 - imported here, so that no request waits
        except ModuleNotFoundError as error:
            if isinstance(error, MissingExtraError):
                raise
            raise missing_extra("mcp", error) from error
        return HttpEndpoint(self._for_caller, max_body_bytes=self._max_body_bytes)

    async def _live(self, endpoint: HttpEndpoint, is_open: asyncio.Event) -> None:
        async with endpoint.run():
            is_open.set()
            await self._stopping.wait()

    async def _for_caller(self, work: Callable[[MemoryBackend], T], /) -> T:
        """Carry work out, with the errors that a client of the daemon would see."""
        try:
            return await self._call(work)
        except DaemonError as error:
            raise_for_caller(error)


def _refusal(status: int, message: str) -> JSONResponse:
    """Return an error of JSON-RPC that answers no request in particular."""
    return JSONResponse({"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": message}}, status)
