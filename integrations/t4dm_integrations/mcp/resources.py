"""What a host can read without a question: the context, the hot cache, the newest memories, those of a project."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final
from urllib.parse import quote, unquote

from t4dm._backend import MemoryBackend
from t4dm.sdk import models as m
from t4dm.sdk import namespace_models as n
from t4dm.sdk.errors import NotFoundError
from t4dm.tools.shown import shown
from t4dm_integrations.mcp import context
from t4dm_integrations.mcp.hot_cache import Contents, HotCache
from t4dm_integrations.mcp.protocol import RESOURCE_NOT_FOUND, Json, ProtocolFault
from t4dm_integrations.mcp.reach import Reach
from t4dm_integrations.mcp.scope import Scope

CONTEXT: Final = "memory://context"
HOT_CACHE: Final = "memory://hot-cache"
RECENT: Final = "memory://recent"
PROJECT: Final = "memory://project/"
_PROJECT_MEMORIES: Final = 100
_PROJECT_NAMES: Final = 100
_RECENT_SHOWN: Final = 20
_FIXED: Final = frozenset((CONTEXT, HOT_CACHE, RECENT))

LISTED: Final[tuple[Json, ...]] = (
    {
        "uri": CONTEXT,
        "name": "context",
        "title": "What is known",
        "description": "Pinned, most used and newest memories as text, for the beginning of a conversation.",
        "mimeType": "text/markdown",
    },
    {
        "uri": HOT_CACHE,
        "name": "hot-cache",
        "title": "Hot cache",
        "description": "The memories that the server keeps at hand, how old they are, and how often they were of use.",
        "mimeType": "application/json",
    },
    {
        "uri": RECENT,
        "name": "recent",
        "title": "Newest memories",
        "description": f"The {_RECENT_SHOWN} memories that were stored last, the newest first.",
        "mimeType": "application/json",
    },
)
TEMPLATES: Final[tuple[Json, ...]] = (
    {
        "uriTemplate": f"{PROJECT}{{name}}",
        "name": "project",
        "title": "Memories of a project",
        "description": "What is known of one project: memories with its name as a label of their namespace, as "
        "property `project`, or as the project of an episode. A name with other characters than letters, digits, `-`, "
        "`_` and `.` is percent-encoded.",
        "mimeType": "text/markdown",
    },
)


class Resources:
    """Read resources of a scope. Used from the event loop only."""

    def __init__(self, reach: Reach, cache: HotCache) -> None:
        self._reach = reach
        self._cache = cache

    async def read(self, scope: Scope, uri: str, *, is_fresh: bool = False) -> Json:
        """Return a resource as one content of the protocol.

        Raises:
            ProtocolFault: There is no such resource.
            T4DMError: The memory cannot be read.
        """
        check_known(uri)
        if uri.startswith(PROJECT):
            name = unquote(uri.removeprefix(PROJECT))
            return _content(uri, await self._reach(lambda backend: _project(backend, scope, name)))
        contents = await self._cache.contents(scope, is_fresh=is_fresh)
        if uri == CONTEXT:
            return _content(uri, context.context_text(contents, scope))
        facts = _recent(contents) if uri == RECENT else self._hot_cache(contents, scope)
        return _content(uri, json.dumps(facts, ensure_ascii=False, indent=1), "application/json")

    async def fingerprint(self, scope: Scope, uri: str) -> str:
        """Return what differs as soon as the memories that a resource shows do. Raises as `read` does."""
        if uri.startswith(PROJECT):
            name = unquote(uri.removeprefix(PROJECT))
            memories = (await self._reach(lambda backend: _of_project(backend, scope, name))).results
        else:
            contents = await self._cache.contents(scope, is_fresh=True)
            recent = contents.recent[:_RECENT_SHOWN] if uri == RECENT else contents.recent
            memories = [*recent, *(() if uri == RECENT else (*contents.most_used, *contents.pinned))]
        facts = "\n".join(f"{one.id} {one.version} {one.pinned} {one.valid_to}" for one in memories)
        return hashlib.sha256(facts.encode()).hexdigest()

    async def project_names(self, scope: Scope, beginning: str) -> list[str]:
        """Return names of projects that begin so, for a host that completes them. Raises T4DMError."""
        names = await self._reach(lambda backend: _labels(backend, scope))
        return [quote(name, safe="") for name in names if name.lower().startswith(unquote(beginning).lower())]

    def _hot_cache(self, contents: Contents, scope: Scope) -> Json:
        age_s = (context.now() - contents.read_at).total_seconds()
        kept = {memory.id: memory for memory in (*contents.pinned, *contents.most_used, *contents.recent)}
        return {
            "read_at": contents.read_at.isoformat().replace("+00:00", "Z"),
            "age_s": round(age_s, 3),
            "max_age_s": self._cache.max_age_s,
            "measured": self._cache.measured(scope).as_json(),
            "total": contents.total,
            "pinned": context.ids(contents.pinned),
            "most_used": context.ids(contents.most_used),
            "recent": context.ids(contents.recent),
            "memories": [{**shown(memory), "access_count": memory.access_count} for memory in kept.values()],
        }


def check_known(uri: str) -> None:
    """Raise ProtocolFault unless a resource has this address."""
    if uri not in _FIXED and not (uri.startswith(PROJECT) and unquote(uri.removeprefix(PROJECT))):
        raise _unknown(uri)


def _unknown(uri: str) -> ProtocolFault:
    known = ", ".join([*(one["uri"] for one in LISTED), *(one["uriTemplate"] for one in TEMPLATES)])
    return ProtocolFault(
        RESOURCE_NOT_FOUND, f"there is no resource {uri[:200]!r}; there are {known}", {"uri": uri[:200]}
    )


def _content(uri: str, text: str, mime_type: str = "text/markdown") -> Json:
    return {"uri": uri, "mimeType": mime_type, "text": text}


def _recent(contents: Contents) -> Json:
    return {
        "read_at": contents.read_at.isoformat().replace("+00:00", "Z"),
        "total": contents.total,
        "results": [shown(memory) for memory in contents.recent[:_RECENT_SHOWN]],
    }


def _project(backend: MemoryBackend, scope: Scope, name: str) -> str:
    page, now = _of_project(backend, scope, name), context.now()
    if not page.total:
        return f"Nothing is stored of project {name!r} in {scope.told} (as of {now:%Y-%m-%d %H:%M:%S} UTC)."
    return context.list_text(f"# Project {name}: {page.total} memories", page.results, page.total, now)


def _of_project(backend: MemoryBackend, scope: Scope, name: str) -> m.ListAnswer:
    own: list[Any] = [
        m.Filter(field="namespace", op="contains", value=name),
        m.Filter(field="project", op="eq", value=name),
        m.Filter(field="episode.project", op="eq", value=name),
    ]
    request = m.ListRequest(
        space=scope.space, filter=m.Filter(or_=own), order_by="-event_time", limit=_PROJECT_MEMORIES,
        **scope.owner_fields,
    )  # fmt: skip
    try:
        return backend.list(request)
    except NotFoundError as error:
        if not error.is_missing_space:
            raise
        return m.ListAnswer(results=[], total=0)


def _labels(backend: MemoryBackend, scope: Scope) -> list[str]:
    request = n.NamespacesRequest(space=scope.space, max_depth=1, limit=_PROJECT_NAMES, **scope.owner_fields)
    try:
        return [one.namespace[0] for one in backend.namespaces(request).results if one.namespace]
    except NotFoundError as error:
        if not error.is_missing_space:
            raise
        return []
