"""The routes: Mem0's platform (v1, v2, v3), its self-hosted server, and what is not served."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.routing import APIRoute

from t4dm_compat.call import Call
from t4dm_compat.mem0.routes import platform, self_hosted, unserved


def router(call: Call, *, route_class: type[APIRoute] = APIRoute) -> APIRouter:
    """Return the routes of Mem0's API over a memory.

    Args:
        call: Runs work with the backend, off the event loop.
        route_class: How requests are read: the server's own, where it reads JSON more strictly.
    """
    routes = APIRouter(tags=["mem0"], route_class=route_class)
    platform.add_routes(routes, call)
    self_hosted.add_routes(routes, call)
    unserved.add_routes(routes)
    return routes
