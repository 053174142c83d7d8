"""The ASGI application: guard, routes, errors, and the life of the runtime."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

import httpx
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from t4dm._backend import MemoryBackend
from t4dm._version import __version__
from t4dm_compat import mem0
from t4dm_compat.call import Call
from t4dm_compat.openai import openai_router
from t4dm_daemon.api import docs_page, errors
from t4dm_daemon.api.codec import StrictRoute
from t4dm_daemon.api.deps import Doors, doors
from t4dm_daemon.api.guard import Guard
from t4dm_daemon.api.mcp import PATHS, McpDoor
from t4dm_daemon.api.routes import (
    admin,
    context,
    entities,
    episodes,
    graph,
    memory,
    namespaces,
    operations,
    ops,
    procedures,
    sessions,
    spaces,
)
from t4dm_daemon.api.work import Lane
from t4dm_daemon.core.errors import DaemonError
from t4dm_daemon.runtime import Runtime

logger = logging.getLogger(__name__)

_DESCRIPTION: Final = """A memory for AI agents, on this machine.

Bodies are JSON or `application/msgpack`; ask for msgpack answers with `Accept`. Vectors in JSON are lists of
numbers or base64 of little-endian float32; in msgpack they may be raw bytes. Times are RFC 3339; without a zone
they are UTC. Every failure has one shape, and its `code` never changes meaning."""
_BULK_WORKERS: Final = 4
T = TypeVar("T")


def create_app(
    runtime: Runtime, *, owner: dict[str, str] | None = None, on_failure: Callable[[BaseException], None] | None = None
) -> FastAPI:
    """Return the application of a runtime, which it starts and closes.

    Args:
        runtime: Not started yet; it starts in a thread, so that `/healthz` answers meanwhile. The application is up
            once the store is this process's own, or cannot be.
        owner: Facts for whoever finds the store locked.
        on_failure: Told why the runtime could not start.
    """
    server = runtime.settings.server

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.doors = Doors(
            runtime,
            quick=Lane("quick", workers=server.workers, max_waiting=server.max_waiting, deadline_s=server.deadline_s),
            bulk=Lane("bulk", workers=_BULK_WORKERS, max_waiting=server.max_waiting, deadline_s=server.bulk_deadline_s),
        )
        app.state.mcp = McpDoor(app.state.doors.call, max_body_bytes=server.max_body_bytes)
        await _answer_once(app)
        claimed = asyncio.Event()
        starting = asyncio.create_task(_start(runtime, owner, on_failure, claimed))
        try:
            await claimed.wait()
            yield
        finally:
            app.state.doors.stop()
            await app.state.mcp.close()
            await asyncio.to_thread(runtime.close)
            await starting
            app.state.doors.quick.close()
            app.state.doors.bulk.close()

    app = FastAPI(
        title="T4DM",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=True,
        telemetry={"auto_configure": False},
    )
    for module in (
        memory,
        context,
        episodes,
        entities,
        procedures,
        ops,
        namespaces,
        graph,
        sessions,
        spaces,
        operations,
        admin,
        docs_page,
    ):
        app.include_router(module.router)
    app.include_router(mem0.router(_calling(app), route_class=StrictRoute))
    app.include_router(openai_router(doors, route_class=StrictRoute))
    for path in PATHS:
        app.router.routes.append(Route(path, _McpRoute(app), include_in_schema=False))
    errors.install(app)
    settings = runtime.settings
    app.add_middleware(
        Guard,
        allowed_hosts=[*settings.allowed_hosts, settings.host],
        max_body_bytes=server.max_body_bytes,
        is_stopping=lambda: runtime.phase == "stopping",
    )
    return app


def _calling(app: FastAPI) -> Call:
    """Return how other people's doors reach memory, once the application has started."""

    async def call(work: Callable[[MemoryBackend], T], /) -> T:
        doors: Doors = app.state.doors
        return await doors.call(work)

    return call


class _McpRoute:
    """What stands at `/mcp`: the door of the application's present life."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app.state.mcp(scope, receive, send)


async def _answer_once(app: FastAPI) -> None:
    """Answer a first request: the framework builds its routes then, which nobody should wait for later."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, verify=False, trust_env=False) as client:
        (await client.get("http://127.0.0.1/healthz")).raise_for_status()


async def _start(
    runtime: Runtime,
    owner: dict[str, str] | None,
    on_failure: Callable[[BaseException], None] | None,
    claimed: asyncio.Event,
) -> None:
    """Start the runtime; `claimed` is set when the store is locked, or will not be."""
    loop = asyncio.get_running_loop()

    def on_claimed() -> None:
        loop.call_soon_threadsafe(claimed.set)

    try:
        await asyncio.to_thread(runtime.start, owner=owner, on_claimed=on_claimed)
    except DaemonError as error:
        if runtime.phase == "stopping":
            return  # it was told to stop before it was ready
        logger.error("cannot start", extra={"code": error.code, "reason": error.message})
        if on_failure is not None:
            on_failure(error)
    except Exception as error:
        logger.exception("cannot start")
        if on_failure is not None:
            on_failure(error)
    finally:
        claimed.set()
