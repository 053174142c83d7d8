"""What Mem0 has and this server has not: each route answers 501 with a sentence that says what to use instead."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn

from fastapi import APIRouter

from t4dm_compat.mem0 import refusals
from t4dm_compat.mem0.exports import NEEDS_A_MODEL

_SUMMARY: Final = NEEDS_A_MODEL.replace("filling a schema needs", "a summary needs")
_PROFILE: Final = (
    "profiles are written by a language model, which is not loaded; search() with filters={'user_id': …} and "
    "categories=['name', 'preference', 'place', 'relation', 'plan'] finds what rules noted of a user"
)
_PROJECT: Final = (
    "there are no organizations and projects on this machine; keep memories apart by user_id, agent_id, app_id and "
    "run_id, or in spaces of T4DM's own API (PUT /api/v1/spaces/{space})"
)
_WEBHOOK: Final = "there are no webhooks; every call is done when it is answered, so act on its answer"
_ENTITY: Final = "users, agents, apps and runs exist as soon as a memory names them; add() a memory"
_CONFIGURE: Final = (
    "nothing is configured over HTTP: there is no language model or vector store to choose; `t4dm config` shows the "
    "daemon's settings"
)
_UNSERVED: Final = {
    "/v1/summary": _SUMMARY,
    "/v2/profiles/{rest:path}": _PROFILE,
    "/v2/entities/{entity_type}/{name}/profile": _PROFILE,
    "/api/v1/orgs/{rest:path}": _PROJECT,
    "/api/v1/webhooks/{rest:path}": _WEBHOOK,
    "/v1/users": _ENTITY,
    "/v1/agents": _ENTITY,
    "/v1/apps": _ENTITY,
    "/v1/runs": _ENTITY,
    "/configure": _CONFIGURE,
    "/configure/{rest:path}": _CONFIGURE,
}
_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def add_routes(routes: APIRouter) -> None:
    """Add the routes; the description of the API leaves them out."""
    for path, sentence in _UNSERVED.items():
        forms = [path] if path.endswith(":path}") else [path, f"{path}/"]
        for form in forms:
            routes.add_api_route(
                form, _refusing(sentence), methods=_METHODS, include_in_schema=False, response_model=None
            )


def _refusing(sentence: str) -> Callable[[], Coroutine[Any, Any, NoReturn]]:
    async def refuse() -> NoReturn:
        raise refusals.unserved(sentence)

    return refuse
