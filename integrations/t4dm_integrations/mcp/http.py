"""Streamable HTTP: an ASGI application for `/mcp`, with sessions that end, over any way to reach memory.

Whose memories a client sees stands in its URL: `/mcp?user_id=ada&space=work`. What guards the daemon (Host, Origin,
sizes) stands before it.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from t4dm.sdk.errors import T4DMError
from t4dm_integrations.mcp import sdk_log, wiring
from t4dm_integrations.mcp.reach import Call, Reach
from t4dm_integrations.mcp.scope import scope_of
from t4dm_integrations.mcp.service import MemoryServer

logger = logging.getLogger(__name__)

_FORGET_AFTER_S: Final = 31 * 60.0
"""A session without a request for so long has ended: the SDK ends it after half an hour."""
_DEPTH: Final = 200
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_BEGINNINGS: Final = frozenset(("initialize", "server/discover"))


class HttpEndpoint:
    """Serve MCP at one path. `run` is its life; before and after, requests answer 503.

    Args:
        call: How memory is reached; work never runs on the event loop.
        max_body_bytes: Longer bodies are refused.
    """

    def __init__(self, call: Call, *, max_body_bytes: int) -> None:
        self._served = MemoryServer(Reach(call))
        self._max_body_bytes = max_body_bytes
        self._manager: Any = None
        self._seen_s: dict[str, float] = {}
        self._open: dict[str, int] = {}

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Take requests until the block ends; then all sessions end."""
        sdk_log.install()
        server = wiring.make_server(self._served)
        manager = wiring.session_manager(server, max_body_bytes=self._max_body_bytes)
        async with manager.run():
            self._manager = manager
            try:
                yield
            finally:
                self._manager = None
                await self._served.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._manager is None:
            await _refusal(503, "the daemon is starting or stopping")(scope, receive, send)
            return
        try:
            query = scope["query_string"].decode("ascii")
            asked = scope_of(parse_qsl(query, keep_blank_values=True, errors="strict"))
        except (T4DMError, UnicodeDecodeError) as error:
            reason = error.message if isinstance(error, T4DMError) else "the query is not UTF-8"
            await _refusal(400, reason)(scope, receive, send)
            return
        wiring.current_scope.set(asked)
        if scope["method"] == "POST":
            body, receive = await _read(receive)
            if _is_too_deep(body):
                await _refusal(400, f"the body is nested deeper than {_DEPTH} levels")(scope, receive, send)
                return
            if _begins(body):
                wiring.current_instructions.set(await self._served.instructions(asked))
        session = Headers(scope=scope).get(wiring.SESSION_HEADER)
        if session is None:
            self._forget_ended()
            await self._manager.handle_request(scope, receive, send)
            return
        is_over = scope["method"] == "DELETE"

        async def answer(message: Message) -> None:
            nonlocal is_over
            if message["type"] == "http.response.start" and message["status"] == 404:
                is_over = True  # there is no such session, or no longer
            await send(message)

        self._open[session] = self._open.get(session, 0) + 1
        try:
            await self._manager.handle_request(scope, receive, answer)
        finally:
            self._leave(session, is_over=is_over)

    def _leave(self, session: str, *, is_over: bool) -> None:
        self._open[session] -= 1
        if not self._open[session]:
            del self._open[session]
        if is_over:
            self._seen_s.pop(session, None)
            self._served.end(session)
        else:
            self._seen_s[session] = time.monotonic()

    def _forget_ended(self) -> None:
        before_s = time.monotonic() - _FORGET_AFTER_S
        for session in [one for one, seen_s in self._seen_s.items() if seen_s < before_s and one not in self._open]:
            del self._seen_s[session]
            self._served.end(session)


def _refusal(status: int, message: str) -> JSONResponse:
    """Return an error of JSON-RPC that answers no request in particular."""
    return JSONResponse({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": message}}, status)


def _is_too_deep(body: bytes) -> bool:
    """Say whether the SDK would fail on a body because of its nesting."""
    if body.count(b"[") + body.count(b"{") <= _DEPTH:
        return False
    depth = 0
    for found in _BRACKETS.finditer(body):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(found[0], 0)
        if depth > _DEPTH:
            return True
    return False


def _begins(body: bytes) -> bool:
    """Say whether a body asks for what a session is told at its beginning."""
    if not any(method.encode() in body for method in _BEGINNINGS):
        return False
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return False  # the SDK says what is wrong with it
    return isinstance(request, dict) and request.get("method") in _BEGINNINGS


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """Read a body, and return it with a `receive` that gives it again. (The guard has bounded it.)"""
    messages: list[Message] = []
    while True:
        message = await receive()
        messages.append(message)
        if message["type"] != "http.request" or not message.get("more_body", False):
            break
    body = b"".join(message.get("body", b"") for message in messages)

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return body, again
