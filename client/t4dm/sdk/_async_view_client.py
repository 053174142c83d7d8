"""The typed views of the asynchronous client. `_view_client.py` has the same methods; a test compares them."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from t4dm.sdk import _view_calls as calls
from t4dm.sdk import graph_models as g
from t4dm.sdk import view_models as v
from t4dm.sdk._calls import Call

T = TypeVar("T")


class AsyncViewClient:
    """Episodes, entities and procedures."""

    if TYPE_CHECKING:

        async def _run(self, call: Call[T]) -> T: ...

    # Episodes ----------------------------------------------------------------------------------------

    async def add_episode(self, request: v.EpisodeIn, *, idempotency_key: str | None = None) -> v.Episode:
        """Store something that happened; the same text again is another episode."""
        return await self._run(calls.add_episode(request, idempotency_key))

    async def get_episode(
        self,
        episode_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> v.Episode:
        """Return one episode. Raises NotFoundError, also for a memory of another kind."""
        return await self._run(calls.get_episode(episode_id, space, as_of, known_at))

    async def list_episodes(self, request: v.EpisodeListRequest | None = None) -> v.EpisodeList:
        """Return one page, the latest first, the total, and the cursor of the next page."""
        return await self._run(calls.list_episodes(request))

    async def search_episodes(self, request: v.EpisodeSearchRequest) -> v.EpisodeSearchAnswer:
        """Return the best episodes, best first: by default recent ones that have not been consolidated."""
        return await self._run(calls.search_episodes(request))

    async def delete_episode(self, episode_id: str, *, space: str = "default") -> None:
        """Delete one episode. Raises NotFoundError."""
        await self._run(calls.delete_episode(episode_id, space))

    # Entities ----------------------------------------------------------------------------------------

    async def add_entity(self, request: v.EntityIn, *, idempotency_key: str | None = None) -> v.Entity:
        """Store what is known of somebody or something; two entities may have the same name."""
        return await self._run(calls.add_entity(request, idempotency_key))

    async def get_entity(
        self, entity_id: str, *, space: str = "default", as_of: datetime | None = None, known_at: datetime | None = None
    ) -> v.Entity:
        """Return one entity, superseded or not. Raises NotFoundError."""
        return await self._run(calls.get_entity(entity_id, space, as_of, known_at))

    async def list_entities(self, request: v.EntityListRequest | None = None) -> v.EntityList:
        """Return one page of what is true now (or `as_of`), the total, and the cursor of the next page."""
        return await self._run(calls.list_entities(request))

    async def search_entities(self, request: v.EntitySearchRequest) -> v.EntitySearchAnswer:
        """Return the best entities, best first: by default those well consolidated and true now."""
        return await self._run(calls.search_entities(request))

    async def supersede_entity(
        self, entity_id: str, request: v.SupersedeRequest, *, space: str = "default"
    ) -> v.Entity:
        """End what was true of an entity, and return what is true from now on; the old record stays readable.

        Raises NotFoundError, ConflictError (it had ended before).
        """
        return await self._run(calls.supersede_entity(entity_id, request, space))

    async def relate(self, entity_id: str, request: v.RelationIn, *, space: str = "default") -> g.Edge:
        """Link one entity to another; one that exists takes the new weight. Raises NotFoundError, ValidationError."""
        return await self._run(calls.relate(entity_id, request, space))

    async def relations(
        self, entity_id: str, request: v.RelationListRequest | None = None
    ) -> builtins.list[v.Relation]:
        """Return the links of an entity with the entities at their other ends, the heaviest first."""
        return await self._run(calls.relations(entity_id, request))

    async def related_entities(
        self, entity_id: str, request: v.RelatedRequest | None = None
    ) -> builtins.list[v.RelatedEntity]:
        """Return the entities within `depth` links, nearest first. Raises NotFoundError."""
        return await self._run(calls.related_entities(entity_id, request))

    async def delete_entity(self, entity_id: str, *, space: str = "default") -> None:
        """Delete one entity and its links. Raises NotFoundError."""
        await self._run(calls.delete_entity(entity_id, space))

    # Procedures --------------------------------------------------------------------------------------

    async def add_procedure(self, request: v.ProcedureIn, *, idempotency_key: str | None = None) -> v.Procedure:
        """Store how something is done; it has not been executed yet."""
        return await self._run(calls.add_procedure(request, idempotency_key))

    async def get_procedure(
        self,
        procedure_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> v.Procedure:
        """Return one procedure, in use or not. Raises NotFoundError."""
        return await self._run(calls.get_procedure(procedure_id, space, as_of, known_at))

    async def list_procedures(self, request: v.ProcedureListRequest | None = None) -> v.ProcedureList:
        """Return one page of what is in use now (or `as_of`), the total, and the cursor of the next page."""
        return await self._run(calls.list_procedures(request))

    async def search_procedures(self, request: v.ProcedureSearchRequest) -> v.ProcedureSearchAnswer:
        """Return the best procedures for what is to be done, by relevance and by how often they worked."""
        return await self._run(calls.search_procedures(request))

    async def record_outcome(
        self, procedure_id: str, outcome: v.OutcomeRequest, *, space: str = "default"
    ) -> v.Procedure:
        """Count one execution and return the procedure; none is lost, however many are told at once."""
        return await self._run(calls.record_outcome(procedure_id, outcome, space))

    async def deprecate_procedure(
        self, procedure_id: str, request: v.DeprecateRequest | None = None, *, space: str = "default"
    ) -> v.Procedure:
        """Take a procedure out of use, and say what replaces it. Raises NotFoundError, ConflictError."""
        return await self._run(calls.deprecate_procedure(procedure_id, request, space))

    async def delete_procedure(self, procedure_id: str, *, space: str = "default") -> None:
        """Delete one procedure. Raises NotFoundError."""
        await self._run(calls.delete_procedure(procedure_id, space))
