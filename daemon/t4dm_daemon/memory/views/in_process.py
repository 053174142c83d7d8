"""The typed views in this process: a part of `ServiceBackend`."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from t4dm._view_backend import ViewBackend
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk import view_models as v
from t4dm_daemon.core.item import Item
from t4dm_daemon.memory.graph import edge_model
from t4dm_daemon.memory.ranking import Hit
from t4dm_daemon.memory.views import Views

T = TypeVar("T")


class ViewsInProcess(ViewBackend):
    """Answer like `T4DMClient`, without HTTP."""

    _views: Views

    if TYPE_CHECKING:

        def _call(self, work: Callable[[], T]) -> T: ...

    # Episodes ----------------------------------------------------------------------------------------

    def add_episode(self, request: v.EpisodeIn, *, idempotency_key: str | None = None) -> v.Episode:
        def work() -> v.Episode:
            stored = self._views.episodes.add(request, idempotency_key=idempotency_key)
            return self._episode(stored.item, request.space, stored.outcome.status)

        return self._call(work)

    def get_episode(
        self,
        episode_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> v.Episode:
        return self._episode(
            self._call(lambda: self._views.episodes.get(episode_id, space=space, as_of=as_of, known_at=known_at)), space
        )

    def list_episodes(self, request: v.EpisodeListRequest | None = None) -> v.EpisodeList:
        asked = v.EpisodeListRequest() if request is None else request
        items, total, cursor = self._call(lambda: self._views.episodes.list(asked))
        found = [self._episode(item, asked.space) for item in items]
        return v.EpisodeList(results=found, total=total, cursor=cursor)

    def search_episodes(self, request: v.EpisodeSearchRequest) -> v.EpisodeSearchAnswer:
        started = time.perf_counter()
        hits = self._call(lambda: self._views.episodes.search(request))
        found = [v.EpisodeHit(episode=self._episode(hit.item, request.space), **_why(hit, request)) for hit in hits]
        return v.EpisodeSearchAnswer(results=found, took_ms=(time.perf_counter() - started) * 1e3)

    def delete_episode(self, episode_id: str, *, space: str = "default") -> None:
        self._call(lambda: self._views.episodes.delete(episode_id, space=space))

    # Entities ----------------------------------------------------------------------------------------

    def add_entity(self, request: v.EntityIn, *, idempotency_key: str | None = None) -> v.Entity:
        def work() -> v.Entity:
            stored = self._views.entities.add(request, idempotency_key=idempotency_key)
            return self._entity(stored.item, request.space, stored.outcome.status)

        return self._call(work)

    def get_entity(
        self, entity_id: str, *, space: str = "default", as_of: datetime | None = None, known_at: datetime | None = None
    ) -> v.Entity:
        return self._entity(
            self._call(lambda: self._views.entities.get(entity_id, space=space, as_of=as_of, known_at=known_at)), space
        )

    def list_entities(self, request: v.EntityListRequest | None = None) -> v.EntityList:
        asked = v.EntityListRequest() if request is None else request
        items, total, cursor = self._call(lambda: self._views.entities.list(asked))
        found = [self._entity(item, asked.space) for item in items]
        return v.EntityList(results=found, total=total, cursor=cursor)

    def search_entities(self, request: v.EntitySearchRequest) -> v.EntitySearchAnswer:
        started = time.perf_counter()
        hits = self._call(lambda: self._views.entities.search(request))
        found = [v.EntityHit(entity=self._entity(hit.item, request.space), **_why(hit, request)) for hit in hits]
        return v.EntitySearchAnswer(results=found, took_ms=(time.perf_counter() - started) * 1e3)

    def supersede_entity(self, entity_id: str, request: v.SupersedeRequest, *, space: str = "default") -> v.Entity:
        return self._entity(self._call(lambda: self._views.entities.supersede(entity_id, request, space=space)), space)

    def relate(self, entity_id: str, request: v.RelationIn, *, space: str = "default") -> g.Edge:
        return edge_model(self._call(lambda: self._views.entities.relate(entity_id, request, space=space)))

    def relations(self, entity_id: str, request: v.RelationListRequest | None = None) -> builtins.list[v.Relation]:
        asked = v.RelationListRequest() if request is None else request
        found = self._call(lambda: self._views.entities.relations(entity_id, asked))
        return [v.Relation(edge=edge_model(one.edge), entity=self._entity(one.item, asked.space)) for one in found]

    def related_entities(
        self, entity_id: str, request: v.RelatedRequest | None = None
    ) -> builtins.list[v.RelatedEntity]:
        asked = v.RelatedRequest() if request is None else request
        found = self._call(lambda: self._views.entities.related(entity_id, asked))
        return [
            v.RelatedEntity(depth=one.depth, edge=edge_model(one.edge), entity=self._entity(one.item, asked.space))
            for one in found
        ]

    def delete_entity(self, entity_id: str, *, space: str = "default") -> None:
        self._call(lambda: self._views.entities.delete(entity_id, space=space))

    # Procedures --------------------------------------------------------------------------------------

    def add_procedure(self, request: v.ProcedureIn, *, idempotency_key: str | None = None) -> v.Procedure:
        def work() -> v.Procedure:
            stored = self._views.procedures.add(request, idempotency_key=idempotency_key)
            return self._procedure(stored.item, request.space, stored.outcome.status)

        return self._call(work)

    def get_procedure(
        self,
        procedure_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> v.Procedure:
        return self._procedure(
            self._call(lambda: self._views.procedures.get(procedure_id, space=space, as_of=as_of, known_at=known_at)),
            space,
        )

    def list_procedures(self, request: v.ProcedureListRequest | None = None) -> v.ProcedureList:
        asked = v.ProcedureListRequest() if request is None else request
        items, total, cursor = self._call(lambda: self._views.procedures.list(asked))
        found = [self._procedure(item, asked.space) for item in items]
        return v.ProcedureList(results=found, total=total, cursor=cursor)

    def search_procedures(self, request: v.ProcedureSearchRequest) -> v.ProcedureSearchAnswer:
        started = time.perf_counter()
        hits = self._call(lambda: self._views.procedures.search(request))
        found = [
            v.ProcedureHit(procedure=self._procedure(hit.item, request.space), **_why(hit, request)) for hit in hits
        ]
        return v.ProcedureSearchAnswer(results=found, took_ms=(time.perf_counter() - started) * 1e3)

    def record_outcome(self, procedure_id: str, outcome: v.OutcomeRequest, *, space: str = "default") -> v.Procedure:
        return self._procedure(
            self._call(lambda: self._views.procedures.record_outcome(procedure_id, outcome, space=space)), space
        )

    def deprecate_procedure(
        self, procedure_id: str, request: v.DeprecateRequest | None = None, *, space: str = "default"
    ) -> v.Procedure:
        asked = v.DeprecateRequest() if request is None else request
        return self._procedure(
            self._call(lambda: self._views.procedures.deprecate(procedure_id, asked, space=space)), space
        )

    def delete_procedure(self, procedure_id: str, *, space: str = "default") -> None:
        self._call(lambda: self._views.procedures.delete(procedure_id, space=space))

    # Models -------------------------------------------------------------------------------------------

    def _episode(self, item: Item, space: str, status: str | None = None) -> v.Episode:
        return v.Episode.model_validate(self._views.episodes.plain(item, space, status=status))

    def _entity(self, item: Item, space: str, status: str | None = None) -> v.Entity:
        return v.Entity.model_validate(self._views.entities.plain(item, space, status=status))

    def _procedure(self, item: Item, space: str, status: str | None = None) -> v.Procedure:
        return v.Procedure.model_validate(self._views.procedures.plain(item, space, status=status))


def _why(hit: Hit, request: m.SearchRequest) -> dict[str, Any]:
    facts: dict[str, Any] = {"score": hit.score, "similarity": hit.similarity}
    if "explain" in request.include:
        facts |= {"explain": dict(hit.contributions), "ranks": dict(hit.ranks)}
    return facts
