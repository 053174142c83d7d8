"""Streamable HTTP: an ASGI application for `/mcp`, with sessions that end, over any way to reach memory.

Whose memories a client sees stands in its URL: `/mcp?user_id=ada&space=work`. What guards the daemon (Host, Origin,
sizes) stands before it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from t4dm.sdk.errors import T4DMError
from t4dm_integrations.mcp import sdk_log, wiring
from t4dm_integrations.mcp.reach import Call, Reach
from t4dm_integrations.mcp.scope import Scope as Whose
from t4dm_integrations.mcp.scope import scope_of
from t4dm_integrations.mcp.service import MemoryServer

logger = logging.getLogger(__name__)

_MOST_SESSIONS: Final = 1000
_FORGET_AFTER_S: Final = 31 * 60.0
"""A session without a request for so long has ended: the SDK ends it after half an hour."""
_INVALID_REQUEST: Final = -32600
_PARSE_ERROR: Final = -32700
_DEPTH: Final = 200
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""Strings, and brackets. What has begun as a string cannot fail, so that any body is gone through once."""
_BEGINNINGS: Final = frozenset(("initialize", "server/discover"))


@dataclass(slots=True)
class _Session:
    """A session that a client has begun: whose memories it sees, and whether it is in use."""

    asked: Whose
    under_way: int = 0
    seen_s: float = field(default_factory=time.monotonic)


class HttpEndpoint:
    """Serve MCP at one path. `run` is its life; before and after, requests answer 503.

    Args:
        call: How memory is reached; work never runs on the event loop.
        max_body_bytes: Longer bodies are refused.
        max_sessions: One more ends the session that is idle longest; a client that comes back to it begins another.
    """

    def __init__(self, call: Call, *, max_body_bytes: int, max_sessions: int = _MOST_SESSIONS) -> None:
        self._served = MemoryServer(Reach(call))
        self._max_body_bytes = max_body_bytes
        self._max_sessions = max_sessions
        self._manager: Any = None
        self._sessions: dict[str, _Session] = {}

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Take requests until the block ends; then all sessions end."""
        sdk_log.install()
        server = wiring.make_server(self._served)
        manager = wiring.session_manager(server, max_body_bytes=self._max_body_bytes, max_sessions=self._max_sessions)
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
            try:
                request = await asyncio.to_thread(_request, body)
            except ValueError as error:
                await _refusal(400, str(error), _PARSE_ERROR)(scope, receive, send)
                return
            if isinstance(request, dict) and request.get("method") in _BEGINNINGS:
                wiring.current_instructions.set(await self._served.instructions(asked))
        session_id = Headers(scope=scope).get(wiring.SESSION_HEADER)
        if session_id is None:
            await self._begin(asked, scope, receive, send)
        else:
            await self._go_on(session_id, asked, scope, receive, send)

    async def _begin(self, asked: Whose, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request without a session; it may begin one."""
        await self._make_room()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                began = Headers(raw=message["headers"]).get(wiring.SESSION_HEADER)
                if began is not None:
                    self._sessions[began] = _Session(asked)
            await send(message)

        await self._manager.handle_request(scope, receive, answer)

    async def _go_on(self, session_id: str, asked: Whose, scope: Scope, receive: Receive, send: Send) -> None:
        session = self._sessions.get(session_id)
        if session is not None and session.asked != asked:
            reason = "this session began at another address, for other memories; begin a new one here"
            await _refusal(404, reason)(scope, receive, send)
            return
        is_over = scope["method"] == "DELETE"

        async def answer(message: Message) -> None:
            nonlocal is_over
            if message["type"] == "http.response.start" and message["status"] == 404:
                is_over = True  # there is no such session, or no longer
            await send(message)

        if session is not None:
            session.under_way += 1
        try:
            await self._manager.handle_request(scope, receive, answer)
        finally:
            if session is not None:
                session.under_way -= 1
                session.seen_s = time.monotonic()
            if is_over:
                self._forget(session_id)

    async def _make_room(self) -> None:
        """Forget sessions that have ended, and end the one that is idle longest where there are too many."""
        idle = sorted((one for one in self._sessions.items() if not one[1].under_way), key=lambda one: one[1].seen_s)
        before_s = time.monotonic() - _FORGET_AFTER_S
        for session_id, session in idle:
            if session.seen_s >= before_s:
                break
            self._forget(session_id)
        if len(self._sessions) < self._max_sessions:
            return
        for session_id, _ in idle[:1]:
            self._forget(session_id)
            await self._manager.handle_request(*_deletion(session_id))

    def _forget(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)
        self._served.end(session_id)


def _deletion(session_id: str) -> tuple[Scope, Receive, Send]:
    """Return the request by which a client ends its session; nobody reads its answer."""
    headers = [(wiring.SESSION_HEADER.encode(), session_id.encode())]
    scope = {"type": "http", "method": "DELETE", "path": "/mcp", "query_string": b"", "headers": headers}

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    return scope, receive, send


def _refusal(status: int, message: str, code: int = _INVALID_REQUEST) -> JSONResponse:
    """Return an error of JSON-RPC that answers no request in particular."""
    return JSONResponse({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}, status)


def _request(body: bytes) -> Any:
    """Return what a body says, or raise ValueError with a reason where the SDK would fail on it."""
    if _is_too_deep(body):
        raise ValueError(f"the body is nested deeper than {_DEPTH} levels")
    try:
        return json.loads(body.decode())
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise ValueError(f"the body cannot be read as JSON: {error}") from None


def _is_too_deep(body: bytes) -> bool:
    if body.count(b"[") + body.count(b"{") <= _DEPTH:
        return False
    depth = 0
    for found in _BRACKETS.finditer(body):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(found[0], 0)
        if depth > _DEPTH:
            return True
    return False


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
