"""The asynchronous face of `ViewBackend`, and how a synchronous one gets it: parts of `_async_backend.py`."""

from __future__ import annotations

import asyncio
import builtins
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from t4dm._view_backend import ViewBackend
from t4dm.sdk import graph_models as g
from t4dm.sdk import view_models as v


class AsyncViewBackend(Protocol):
    """What `ViewBackend` does, awaited. The methods are described there."""

    # Episodes ----------------------------------------------------------------------------------------

    async def add_episode(self, request: v.EpisodeIn, *, idempotency_key: str | None = None) -> v.Episode: ...

    async def get_episode(
        self,
        episode_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> v.Episode: ...

    async def list_episodes(self, request: v.EpisodeListRequest | None = None) -> v.EpisodeList: ...

    async def search_episodes(self, request: v.EpisodeSearchRequest) -> v.EpisodeSearchAnswer: ...

    async def delete_episode(self, episode_id: str, *, space: str = "default") -> None: ...

    # Entities ----------------------------------------------------------------------------------------

    async def add_entity(self, request: v.EntityIn, *, idempotency_key: str | None = None) -> v.Entity: ...

    async def get_entity(
        self, entity_id: str, *, space: str = "default", as_of: datetime | None = None, known_at: datetime | None = None
    ) -> v.Entity: ...

    async def list_entities(self, request: v.EntityListRequest | None = None) -> v.EntityList: ...

    async def search_entities(self, request: v.EntitySearchRequest) -> v.EntitySearchAnswer: ...

    async def supersede_entity(
        self, entity_id: str, request: v.SupersedeRequest, *, space: str = "default"
    ) -> v.Entity: ...

    async def relate(self, entity_id: str, request: v.RelationIn, *, space: str = "default") -> g.Edge: ...

    async def relations(
        self, entity_id: str, request: v.RelationListRequest | None = None
    ) -> builtins.list[v.Relation]: ...

    async def related_entities(
        self, entity_id: str, request: v.RelatedRequest | None = None
    ) -> builtins.list[v.RelatedEntity]: ...

    async def delete_entity(self, entity_id: str, *, space: str = "default") -> None: ...

    # Procedures --------------------------------------------------------------------------------------

    async def add_procedure(self, request: v.ProcedureIn, *, idempotency_key: str | None = None) -> v.Procedure: ...

    async def get_procedure(
        self,
        procedure_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> v.Procedure: ...

    async def list_procedures(self, request: v.ProcedureListRequest | None = None) -> v.ProcedureList: ...

    async def search_procedures(self, request: v.ProcedureSearchRequest) -> v.ProcedureSearchAnswer: ...

    async def record_outcome(
        self, procedure_id: str, outcome: v.OutcomeRequest, *, space: str = "default"
    ) -> v.Procedure: ...

    async def deprecate_procedure(
        self, procedure_id: str, request: v.DeprecateRequest | None = None, *, space: str = "default"
    ) -> v.Procedure: ...

    async def delete_procedure(self, procedure_id: str, *, space: str = "default") -> None: ...


class ViewsInThread:
    """What `InThread` does with them."""

    if TYPE_CHECKING:

        def _opened(self) -> ViewBackend: ...

    # Episodes ----------------------------------------------------------------------------------------

    async def add_episode(self, request: v.EpisodeIn, *, idempotency_key: str | None = None) -> v.Episode:
        return await asyncio.to_thread(lambda: self._opened().add_episode(request, idempotency_key=idempotency_key))

    async def get_episode(
        self,
        episode_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> v.Episode:
        return await asyncio.to_thread(
            lambda: self._opened().get_episode(episode_id, space=space, as_of=as_of, known_at=known_at)
        )

    async def list_episodes(self, request: v.EpisodeListRequest | None = None) -> v.EpisodeList:
        return await asyncio.to_thread(lambda: self._opened().list_episodes(request))

    async def search_episodes(self, request: v.EpisodeSearchRequest) -> v.EpisodeSearchAnswer:
        return await asyncio.to_thread(lambda: self._opened().search_episodes(request))

    async def delete_episode(self, episode_id: str, *, space: str = "default") -> None:
        await asyncio.to_thread(lambda: self._opened().delete_episode(episode_id, space=space))

    # Entities ----------------------------------------------------------------------------------------

    async def add_entity(self, request: v.EntityIn, *, idempotency_key: str | None = None) -> v.Entity:
        return await asyncio.to_thread(lambda: self._opened().add_entity(request, idempotency_key=idempotency_key))

    async def get_entity(
        self, entity_id: str, *, space: str = "default", as_of: datetime | None = None, known_at: datetime | None = None
    ) -> v.Entity:
        return await asyncio.to_thread(
            lambda: self._opened().get_entity(entity_id, space=space, as_of=as_of, known_at=known_at)
        )

    async def list_entities(self, request: v.EntityListRequest | None = None) -> v.EntityList:
        return await asyncio.to_thread(lambda: self._opened().list_entities(request))

    async def search_entities(self, request: v.EntitySearchRequest) -> v.EntitySearchAnswer:
        return await asyncio.to_thread(lambda: self._opened().search_entities(request))

    async def supersede_entity(
        self, entity_id: str, request: v.SupersedeRequest, *, space: str = "default"
    ) -> v.Entity:
        return await asyncio.to_thread(lambda: self._opened().supersede_entity(entity_id, request, space=space))

    async def relate(self, entity_id: str, request: v.RelationIn, *, space: str = "default") -> g.Edge:
        return await asyncio.to_thread(lambda: self._opened().relate(entity_id, request, space=space))

    async def relations(
        self, entity_id: str, request: v.RelationListRequest | None = None
    ) -> builtins.list[v.Relation]:
        return await asyncio.to_thread(lambda: self._opened().relations(entity_id, request))

    async def related_entities(
        self, entity_id: str, request: v.RelatedRequest | None = None
    ) -> builtins.list[v.RelatedEntity]:
        return await asyncio.to_thread(lambda: self._opened().related_entities(entity_id, request))

    async def delete_entity(self, entity_id: str, *, space: str = "default") -> None:
        await asyncio.to_thread(lambda: self._opened().delete_entity(entity_id, space=space))

    # Procedures --------------------------------------------------------------------------------------

    async def add_procedure(self, request: v.ProcedureIn, *, idempotency_key: str | None = None) -> v.Procedure:
        return await asyncio.to_thread(lambda: self._opened().add_procedure(request, idempotency_key=idempotency_key))

    async def get_procedure(
        self,
        procedure_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> v.Procedure:
        return await asyncio.to_thread(
            lambda: self._opened().get_procedure(procedure_id, space=space, as_of=as_of, known_at=known_at)
        )

    async def list_procedures(self, request: v.ProcedureListRequest | None = None) -> v.ProcedureList:
        return await asyncio.to_thread(lambda: self._opened().list_procedures(request))

    async def search_procedures(self, request: v.ProcedureSearchRequest) -> v.ProcedureSearchAnswer:
        return await asyncio.to_thread(lambda: self._opened().search_procedures(request))

    async def record_outcome(
        self, procedure_id: str, outcome: v.OutcomeRequest, *, space: str = "default"
    ) -> v.Procedure:
        return await asyncio.to_thread(lambda: self._opened().record_outcome(procedure_id, outcome, space=space))

    async def deprecate_procedure(
        self, procedure_id: str, request: v.DeprecateRequest | None = None, *, space: str = "default"
    ) -> v.Procedure:
        return await asyncio.to_thread(lambda: self._opened().deprecate_procedure(procedure_id, request, space=space))

    async def delete_procedure(self, procedure_id: str, *, space: str = "default") -> None:
        await asyncio.to_thread(lambda: self._opened().delete_procedure(procedure_id, space=space))
