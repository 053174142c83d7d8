"""One server over both generations of the SDK: mcp 1.30 and later, and mcp 2.

They differ in how handlers are registered, in what a handler is given, and in how subscriptions travel; what is
answered is the same plain objects. `make_server` and `session_manager` are all that differs outside of this module
and its two halves, `wiring_v1` and `wiring_v2`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, TextIO

from t4dm._extras import missing_extra
from t4dm_integrations.mcp.protocol import PROCESS, Asker, Served
from t4dm_integrations.mcp.scope import Scope

SESSION_HEADER: Final = "mcp-session-id"
_IDLE_S: Final = 30 * 60.0

current_scope: ContextVar[Scope] = ContextVar("current_scope")
"""Whose memories the client asks for; set before the SDK sees a request, and seen by all that it starts for it."""

current_instructions: ContextVar[str] = ContextVar("current_instructions")
"""What a session that begins now is told."""


def is_version_2() -> bool:
    """Say which generation of the SDK is installed.

    Raises:
        MissingExtraError: None is.
    """
    try:
        importlib.import_module("mcp")
    except ModuleNotFoundError as error:
        raise missing_extra("mcp", error) from error
    return importlib.util.find_spec("mcp.server.mcpserver") is not None


def make_server(served: Served) -> Any:
    """Return the SDK's low-level server that answers what `served` says."""
    if is_version_2():
        from t4dm_integrations.mcp import wiring_v2

        return wiring_v2.make_server(served)
    from t4dm_integrations.mcp import wiring_v1

    return wiring_v1.make_server(served)


def session_manager(server: Any, *, max_body_bytes: int, max_sessions: int) -> Any:
    """Return what serves a server over streamable HTTP. Its sessions end after half an hour without a request."""
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    return StreamableHTTPSessionManager(
        server, max_request_body_size=max_body_bytes, session_idle_timeout=_IDLE_S, max_sessions=max_sessions
    )


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """Yield standard output for the protocol alone: a stray line would break it.

    Whatever else is written there meanwhile, by native libraries and child processes, too, goes to standard error.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        try:
            os.dup2(2, 1)
        except OSError:  # there is no standard error
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), 1)
        with os.fdopen(os.dup(kept), "w", encoding="utf-8", newline="\n") as wire, redirect_stdout(sys.stderr):
            yield wire
    finally:
        os.dup2(kept, 1)
        os.close(kept)


async def run_stdio(server: Any, wire: TextIO) -> None:
    """Serve one client over standard input and an output, until it closes its end."""
    from anyio import wrap_file
    from mcp.server.stdio import stdio_server

    async with stdio_server(stdout=wrap_file(wire)) as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def asker_of(request: Any) -> Asker:
    """Return who asks, from the HTTP request that carried it, if one did."""
    scope = current_scope.get(Scope())
    if request is None:
        return Asker(scope, PROCESS)
    return Asker(scope, request.headers.get(SESSION_HEADER))
