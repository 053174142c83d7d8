"""Episodes: what happened, when, where, and how it ended."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from t4dm.sdk import models as m
from t4dm.sdk import view_models as v
from t4dm_daemon.core.item import Item
from t4dm_daemon.memory.ranking import Hit
from t4dm_daemon.memory.service import MemoryService
from t4dm_daemon.memory.views.shape import Shape, seen
from t4dm_daemon.memory.writing import Stored

EPISODE: Final = Shape("episodic", "episode", v.EpisodeFields, holds_all=True)


class EpisodeService:
    """Everything one can do with episodes. Thread-safe: it holds no state of its own."""

    def __init__(self, service: MemoryService) -> None:
        self._service = service

    def add(self, request: v.EpisodeIn, *, idempotency_key: str | None = None) -> Stored:
        """Store an episode; the same text again is another episode. Raises as `MemoryService.store`."""
        own = EPISODE.told(request)
        importance = request.importance if request.importance is not None else own.emotional_valence
        record = EPISODE.record(
            request,
            own,
            _labels(own.outcome, own.context.project, own.context.tool),
            content=request.content,
            kappa=request.kappa,
            **({} if importance is None else {"importance": importance}),
        )
        return self._service.store(record, idempotency_key=idempotency_key)

    def get(
        self,
        episode_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> Item:
        """Return one episode. Raises NotFoundError, also for a memory of another kind."""
        return EPISODE.get(self._service, episode_id, space=space, view=seen(as_of, known_at))[0]

    def search(self, request: v.EpisodeSearchRequest) -> list[Hit]:
        """Return the best episodes, best first: by default recent ones that have not been consolidated."""
        labels = _labels(request.outcome, request.project, request.tool)
        changes = {
            "kind": EPISODE.kind,
            "filter": EPISODE.where(labels, request.filter),
            "time_range": request.time_range or _window(request),
        }
        return self._service.search(request.model_copy(update=changes))

    def list(self, request: v.EpisodeListRequest) -> tuple[list[Item], int, str | None]:
        """Return one page, the total, and the cursor of the next page (None at the end)."""
        times = [
            m.Filter(field="event_time", op=op, value=moment.isoformat())
            for op, moment in (("gte", request.since), ("lt", request.until))
            if moment is not None
        ]
        labels = _labels(request.outcome, request.project, request.tool)
        return self._service.list(EPISODE.listing(request, labels, *times, as_of=request.as_of))

    def delete(self, episode_id: str, *, space: str = "default") -> None:
        """Delete one episode. Raises NotFoundError."""
        self.get(episode_id, space=space)
        self._service.delete(episode_id, space=space)

    @staticmethod
    def plain(item: Item, space: str, *, status: str | None = None) -> dict[str, Any]:
        """Return an episode's wire fields."""
        own = EPISODE.own(item) or v.EpisodeFields()
        return EPISODE.plain(item, space, own.model_dump(mode="json"), status=status)


def _labels(outcome: str | None, project: str | None, tool: str | None) -> dict[str, str | None]:
    return {"outcome": outcome, "project": project, "tool": tool}


def _window(request: v.EpisodeSearchRequest) -> m.TimeRange | None:
    if request.window_days is None:
        return None
    end = min(one for one in (request.as_of, request.known_at, datetime.now(UTC)) if one is not None)
    with suppress(OverflowError):  # it reaches beyond the year 1
        return m.TimeRange(from_=end - timedelta(days=request.window_days))
    return None
