"""What routes need: the parts of the running daemon, and decoded path parameters.

The dependencies are coroutines although they wait for nothing: the framework runs plain functions in a thread,
which costs more than all they do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Path, Query, Request
from pydantic import TypeAdapter, ValidationError

from t4dm._backend import MemoryBackend
from t4dm.sdk import models as m
from t4dm_compat.openai.models import EmbeddingModel, LanguageState
from t4dm_daemon.api.work import Lane
from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.memory.graph import GraphService
from t4dm_daemon.memory.maintenance import Maintenance
from t4dm_daemon.memory.namespaces import NamespaceService
from t4dm_daemon.memory.ops import OpsService
from t4dm_daemon.memory.service import MemoryService
from t4dm_daemon.memory.sessions import SessionService
from t4dm_daemon.memory.views import Views
from t4dm_daemon.runtime import Runtime

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Doors:
    """What every route reaches: the runtime, and the lanes its work runs in."""

    runtime: Runtime
    quick: Lane
    bulk: Lane

    def stop(self) -> None:
        """Refuse what comes now and what waits; what is under way goes on."""
        self.runtime.stop_accepting()
        self.quick.stop()
        self.bulk.stop()

    async def call(self, work: Callable[[MemoryBackend], T]) -> T:
        """Run work with the backend in the quick lane: see `t4dm_compat.call.Call`."""
        backend = self.runtime.backend()
        return await self.quick.run(work, backend)

    async def with_embedder(self, work: Callable[[EmbeddingModel], T], /, *, bulk: bool = False) -> T:
        """Run work with what the daemon embeds with, in the lane for its size: see `t4dm_compat.openai.Models`."""
        embedder = self.runtime.embedder
        return await (self.bulk if bulk else self.quick).run(work, embedder)

    @property
    def language_state(self) -> LanguageState:
        return self.runtime.language_state

    @property
    def service(self) -> MemoryService:
        return self.runtime.service

    @property
    def graph(self) -> GraphService:
        return self.runtime.graph

    @property
    def sessions(self) -> SessionService:
        return self.runtime.sessions

    @property
    def namespaces(self) -> NamespaceService:
        return self.runtime.namespaces

    @property
    def ops(self) -> OpsService:
        return self.runtime.ops

    @property
    def maintenance(self) -> Maintenance:
        return self.runtime.maintenance

    @property
    def views(self) -> Views:
        return self.runtime.views


async def doors(request: Request) -> Doors:
    found: Doors = request.app.state.doors
    return found


_ID = TypeAdapter(m.Id)
_SPACE = TypeAdapter(m.SpaceName)
_SESSION = TypeAdapter(m.Label)
_InPath = Annotated[str, Path(description="Any string, percent-encoded (`/` is `%2F`).")]


def _decoded(raw: str, adapter: TypeAdapter[str], field: str) -> str:
    """Decode one path segment: the guard leaves these paths percent-encoded, so that `/` may be part of an id."""
    try:
        return adapter.validate_python(unquote_to_bytes(raw).decode())
    except UnicodeDecodeError:
        raise InvalidInputError(f"{field} is not UTF-8", field=field) from None
    except ValidationError as error:
        raise InvalidInputError(f"{field}: {error.errors()[0]['msg']}", field=field) from None


async def memory_id(memory_id: _InPath) -> str:
    return _decoded(memory_id, _ID, "id")


async def session_id(session_id: _InPath) -> str:
    return _decoded(session_id, _SESSION, "session_id")


async def episode_id(episode_id: _InPath) -> str:
    return _decoded(episode_id, _ID, "id")


async def entity_id(entity_id: _InPath) -> str:
    return _decoded(entity_id, _ID, "id")


async def procedure_id(procedure_id: _InPath) -> str:
    return _decoded(procedure_id, _ID, "id")


async def space_name(space: _InPath) -> str:
    return _decoded(space, _SPACE, "space")


ReachedDoors = Annotated[Doors, Depends(doors)]
MemoryId = Annotated[str, Depends(memory_id)]
SessionId = Annotated[str, Depends(session_id)]
EpisodeId = Annotated[str, Depends(episode_id)]
EntityId = Annotated[str, Depends(entity_id)]
ProcedureId = Annotated[str, Depends(procedure_id)]
PathSpace = Annotated[str, Depends(space_name)]
QuerySpace = Annotated[m.SpaceName, Query(description="The space.")]
