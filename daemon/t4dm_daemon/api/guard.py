"""What stands before every route: Host, Origin, body size, request id.

A page in the user's browser can send requests to loopback. It cannot choose its `Origin`, and a page that
rebinds its own name to 127.0.0.1 cannot hide that name from `Host`. So `Host` must be a loopback name (or an
allowed one), and an `Origin` must be this daemon's own. Pure ASGI, outermost, for HTTP and WebSocket alike.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from t4dm_daemon.api.errors import error_response

logger = logging.getLogger(__name__)

LOOPBACK_NAMES: Final = frozenset(("localhost", "127.0.0.1", "[::1]"))
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]@/\\]+)(?::[0-9]{1,5})?")
_BODY_DEADLINE_S: Final = 30.0
_RAW_PATHS: Final = tuple(
    place.encode()
    for place in (
        *(f"/api/v1/{one}/" for one in ("memory", "spaces", "sessions", "episodes", "entities", "procedures")),
        *("/v1/memories/", "/memories/", "/v1/entities/", "/v2/entities/", "/v1/event/"),
    )
)


def host_name(host: str) -> str:
    """Return the name in a Host header, without its port, in lower case."""
    found = _HOST.fullmatch(host.strip().lower())
    return found.group(1).rstrip(".") if found else ""


class Guard:
    """Refuse foreign hosts and origins, bound the body, and give every request an id.

    Args:
        app: What it protects.
        allowed_hosts: More names that Host may carry.
        max_body_bytes: Larger bodies answer 413 without being read to the end.
        is_stopping: Says whether a request that is cancelled is cut off by the end of the daemon.
    """

    def __init__(
        self, app: ASGIApp, *, allowed_hosts: Iterable[str], max_body_bytes: int, is_stopping: Callable[[], bool]
    ) -> None:
        self._app = app
        self._names = LOOPBACK_NAMES | {name.lower() for name in allowed_hosts}
        self._max_body_bytes = max_body_bytes
        self._is_stopping = is_stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(headers)
        if scope["type"] == "websocket":
            if refusal is not None:
                await send({"type": "websocket.close", "code": 1008, "reason": refusal})
                return
            await self._app(scope, receive, send)
            return
        await self._serve(scope, receive, send, headers, refusal)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, headers: Headers, refusal: str | None) -> None:
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        started = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                outgoing = MutableHeaders(scope=message)
                outgoing["X-Request-ID"] = request_id
                outgoing["X-Content-Type-Options"] = "nosniff"
                outgoing.setdefault("Cache-Control", "no-store")
            await send(message)

        if refusal is not None:
            logger.warning("refused", extra={"reason": refusal, "request_id": request_id})
            await error_response(scope["path"], 403, "forbidden", refusal)(scope, receive, answer)
            return
        raw_path = scope.get("raw_path") or b""
        if raw_path.startswith(_RAW_PATHS):
            # Ids and space names may hold "/": route on the path as sent, where theirs is still %2F.
            scope["path"] = raw_path.decode("ascii", "replace")
        try:
            body = await self._bounded_body(scope, receive, answer, headers)
            if body is not None:
                await self._app(scope, body, answer)
        except asyncio.CancelledError:
            if not self._is_stopping():
                raise
            logger.warning("request cut off", extra={"request_id": request_id})
            if not status:
                await _cut_off(scope["path"])(scope, receive, answer)
        except Exception:
            logger.exception("unexpected failure", extra={"request_id": request_id})
            if status:  # the answer had begun: nothing can be said any more, the connection breaks
                raise
            failed = error_response(
                scope["path"], 500, "internal", "the daemon failed unexpectedly; its log has the request id"
            )
            await failed(scope, receive, answer)
        logger.log(
            logging.WARNING if status >= 500 and scope["path"] != "/readyz" else logging.DEBUG,
            "request",
            extra={
                "method": scope["method"],
                "route": getattr(scope.get("route"), "path", "-"),
                "status": status,
                "ms": round((time.perf_counter() - started) * 1e3, 2),
                "request_id": request_id,
            },
        )

    def _refusal(self, headers: Headers) -> str | None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) > 1 or len(origins) > 1:
            return "more than one Host or Origin header"
        if not hosts or host_name(hosts[0]) not in self._names:
            shown = hosts[0] if hosts else ""
            return f"Host {shown[:100]!r} is not this daemon's; allow it with T4DM_ALLOWED_HOSTS"
        origin = origins[0] if origins else None
        if origin is not None and origin.lower() not in _own_origins(hosts[0].strip().lower()):
            return f"Origin {origin[:100]!r} is foreign; pages of other origins may not use this daemon"
        if headers.get("sec-fetch-site", "").lower() == "cross-site":
            return "a page of another site may not use this daemon (Sec-Fetch-Site: cross-site)"
        return None

    async def _bounded_body(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> Receive | None:
        """Return a `receive` that replays the whole body, or None after having refused it."""
        limit = self._max_body_bytes
        length = headers.get("content-length")
        if length is None and "transfer-encoding" not in headers:
            return receive
        too_large = error_response(
            scope["path"], 413, "body_too_large", f"the body is larger than {limit} bytes; send it in parts",
            {"max_body_bytes": limit},
            {"Connection": "close"},
        )  # fmt: skip
        if length is not None and length.isdecimal() and int(length) > limit:
            await too_large(scope, receive, send)
            return None
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(_BODY_DEADLINE_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > limit:
                        await too_large(scope, receive, send)
                        return None
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            late = error_response(
                scope["path"],
                408,
                "body_timeout",
                f"the body did not arrive within {_BODY_DEADLINE_S:.0f} s",
                None,
                {"Connection": "close"},
            )
            await late(scope, receive, send)
            return None
        whole: Message | None = {"type": "http.request", "body": b"".join(chunks), "more_body": False}

        async def replay() -> Message:
            nonlocal whole
            if whole is None:
                return await receive()
            message, whole = whole, None
            return message

        return replay


def _own_origins(host: str) -> tuple[str, str]:
    return f"http://{host}", f"https://{host}"


def _cut_off(path: str) -> Response:
    return error_response(
        path,
        503,
        "busy",
        "the daemon is stopping and could not wait for this request; a write that had begun may still be stored",
        {"phase": "stopping"},
        {"Retry-After": "1"},
    )
