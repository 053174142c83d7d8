"""CrewAI's memory on T4DM: the daemon embeds, ranks and tells duplicates, so that no language model is asked.

Crew(…, memory=T4DMCrewMemory(root_scope="/crew/harbour"))
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import methodcaller
from typing import Any, Final, Literal

from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.memory_events import (
    MemoryQueryCompletedEvent,
    MemoryQueryFailedEvent,
    MemoryQueryStartedEvent,
    MemorySaveCompletedEvent,
    MemorySaveFailedEvent,
    MemorySaveStartedEvent,
)
from crewai.hooks.dispatch import HookAborted
from crewai.memory.types import MemoryConfig, MemoryMatch, MemoryRecord
from crewai.memory.unified_memory import Memory
from crewai.memory.utils import join_scope_paths
from pydantic import ConfigDict, Field, PrivateAttr

from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import T4DMError
from t4dm_integrations.crewai.extraction import statements_of
from t4dm_integrations.crewai.record_store import RecordStore, Steps
from t4dm_integrations.crewai.records import described, plain, to_memory_record

logger = logging.getLogger(__name__)

_SOURCE: Final = "unified_memory"
_OF_NO_USE: Final = (
    "storage", "embedder", "recency_weight", "semantic_weight", "importance_weight", "recency_half_life_days",
    "consolidation_threshold", "consolidation_limit", "confidence_threshold_high", "confidence_threshold_low",
    "complex_query_threshold", "exploration_budget", "query_analysis_threshold",
)  # fmt: skip
"""What CrewAI's memory can be told, and what means nothing where T4DM embeds, ranks and tells duplicates."""
_REASONS: Final = {"dense": "semantic"}
"""What CrewAI calls a signal, where it has a word for it."""


class MemoryAbortedError(HookAborted):
    """A memory failed that was told to abort the run; the cause is T4DM's error."""


class T4DMCrewMemory(Memory):
    """Remember and recall for crews, agents and flows, in a space of T4DM that the daemon embeds.

    It needs no language model, no embedder and no key. What is remembered without a scope lies at the root scope;
    nothing is inferred. Unlike in CrewAI's own memory, `remember_many` returns when all is stored.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    url: str | None = Field(default=None, description="Where the daemon is; T4DM_URL when absent.")
    storage_path: str | None = Field(default=None, description="A data directory to serve in this process.")
    client: Any = Field(default=None, exclude=True, repr=False, description="A client or backend of your own.")
    space: str = Field(default="crewai", description="Where memories live.")
    user_id: str | None = Field(default=None, description="Stored with every memory; nothing of others is seen.")
    agent_id: str | None = Field(default=None, description="See user_id.")
    app_id: str | None = Field(default=None, description="See user_id.")
    run_id: str | None = Field(default=None, description="See user_id.")
    session_id: str | None = Field(default=None, description="See user_id.")
    timeout_s: float = Field(default=30.0, gt=0, description="Longest wait for an answer of the daemon.")
    max_retries: int = Field(default=3, ge=0, description="How often a call is tried again where that does no harm.")
    min_score: float | None = Field(default=None, ge=0, le=1, description="Leave out what scores less.")
    weights: dict[str, float] = Field(default_factory=dict, description="What each signal of a search counts.")
    abort_on_failure: bool = Field(
        default=False,
        description="When a recall or a save fails, end the run. CrewAI goes on without memory otherwise, and says so "
        "in an event; an error is logged in any case.",
    )

    _records: RecordStore = PrivateAttr()

    def model_post_init(self, _context: Any, /) -> None:
        """Note where the memories are; nothing is sent, and nothing of CrewAI's own is made."""
        fields = Memory.model_fields
        if unused := [name for name in _OF_NO_USE if getattr(self, name) != fields[name].default]:
            raise ValueError(
                f"{', '.join(unused)} would have no effect: T4DM embeds and ranks by itself (see weights and "
                "min_score). For CrewAI's own ranking use Memory(storage=T4DMStorage(…), embedder=…)"
            )
        with as_validation_error():
            m.SearchWeights.model_validate(self.weights)
        self._config = MemoryConfig(default_importance=self.default_importance)
        self._records = RecordStore(
            self.url,
            embedder="server",
            space=self.space,
            storage_path=self.storage_path,
            client=self.client,
            user_id=self.user_id,
            agent_id=self.agent_id,
            app_id=self.app_id,
            run_id=self.run_id,
            session_id=self.session_id,
            timeout_s=self.timeout_s,
            max_retries=self.max_retries,
        )
        # What CrewAI's memory does with its storage besides searching it, it does with this one.
        self._storage = self._records  # type: ignore[assignment]

    # Recalling ----------------------------------------------------------------------------------------

    def recall(
        self,
        query: str,
        scope: str | None = None,
        categories: list[str] | None = None,
        limit: int = 10,
        depth: Literal["shallow", "deep"] = "deep",
        source: str | None = None,
        include_private: bool = False,
    ) -> list[MemoryMatch]:
        """Return what answers a question, best first; an empty list means that nothing is relevant.

        Args:
            query: The question.
            scope: In this scope, or below it, within the root scope.
            categories: With one of these.
            limit: At most so many.
            depth: `deep` searches by meaning, words, links and times; `shallow` for the nearest by meaning alone.
            source: Sees the private memories of this source, too.
            include_private: See all private memories.

        Raises:
            T4DMError: The search failed.
            MemoryAbortedError: It failed, and `abort_on_failure` is set.
        """
        with self._recalling(query, limit) as results:
            results += self._records.run(self._finding(query, scope, categories, limit, depth, source, include_private))
        return results

    async def arecall(
        self,
        query: str,
        scope: str | None = None,
        categories: list[str] | None = None,
        limit: int = 10,
        depth: Literal["shallow", "deep"] = "deep",
        source: str | None = None,
        include_private: bool = False,
    ) -> list[MemoryMatch]:
        """Return what answers a question; see `recall`."""
        with self._recalling(query, limit) as results:
            results += await self._records.arun(
                self._finding(query, scope, categories, limit, depth, source, include_private)
            )
        return results

    def _finding(
        self,
        query: str,
        scope: str | None,
        categories: list[str] | None,
        limit: int,
        depth: str,
        source: str | None,
        include_private: bool,
    ) -> Steps[list[MemoryMatch]]:
        matches: list[MemoryMatch] = []
        if not query.strip() or limit <= 0:
            return matches
        which = self._records.restriction(self._within_root(scope), categories)
        k = min(limit, m.MAX_K)
        given: dict[str, Any] = {} if self.min_score is None else {"min_score": self.min_score}
        with as_validation_error():
            first = m.SearchRequest(
                query=query[: m.MAX_CONTENT_CHARS // 4],
                k=k,
                mode="hybrid" if depth == "deep" else "vector",
                weights=m.SearchWeights.model_validate(self.weights),
                space=self._records.space,
                include=["value", "explain"],
                touch=not self.read_only,
                **given,
                **which.selection,
            )
        for offset in range(0, m.MAX_LIMIT, k):
            answer = yield methodcaller("search", first.model_copy(update={"offset": offset}))
            hits: list[m.Hit] = [] if answer is None else answer.results
            for hit in hits:
                record = to_memory_record(hit.memory)
                is_visible = include_private or not record.private or (source is not None and record.source == source)
                if is_visible and len(matches) < limit:
                    matches.append(MemoryMatch(record=record, score=hit.score, match_reasons=_reasons(hit)))
            if len(hits) < k or len(matches) == limit:
                break
        return matches

    def _within_root(self, scope: str | None) -> str | None:
        within: str | None = join_scope_paths(self.root_scope, scope) if self.root_scope else scope
        return within

    # Remembering --------------------------------------------------------------------------------------

    def extract_memories(self, content: str) -> list[str]:
        """Return what is worth remembering of a run: its result with its task, cut where it is long."""
        return statements_of(content)

    async def aextract_memories(self, content: str) -> list[str]:
        """Return what is worth remembering of a run; see `extract_memories`."""
        return statements_of(content)

    def remember(
        self,
        content: str,
        scope: str | None = None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        importance: float | None = None,
        source: str | None = None,
        private: bool = False,
        agent_role: str | None = None,
        root_scope: str | None = None,
    ) -> MemoryRecord | None:
        """Store a text and return its record: the one that is there when the same was stored before.

        Args:
            content: What to remember.
            scope: Where, within the root scope.
            categories: What it is about.
            metadata: Kept with it.
            importance: In [0, 1]; from how new it is, when absent.
            source: Whose it is.
            private: Only for its source.
            agent_role: Told in events.
            root_scope: Takes the place of the memory's own.

        Returns:
            None when this memory is read-only.
        """
        if self.read_only:
            return None
        with self._saving(content, metadata, agent_role):
            records = self._described([content], scope, categories, metadata, importance, source, private, root_scope)
            return self._records.run(self._storing(records))[0]

    async def aremember(
        self,
        content: str,
        scope: str | None = None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        importance: float | None = None,
        source: str | None = None,
        private: bool = False,
        agent_role: str | None = None,
        root_scope: str | None = None,
    ) -> MemoryRecord | None:
        """Store a text and return its record; see `remember`."""
        if self.read_only:
            return None
        with self._saving(content, metadata, agent_role):
            records = self._described([content], scope, categories, metadata, importance, source, private, root_scope)
            return (await self._records.arun(self._storing(records)))[0]

    def remember_many(
        self,
        contents: list[str],
        scope: str | None = None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        importance: float | None = None,
        source: str | None = None,
        private: bool = False,
        agent_role: str | None = None,
        root_scope: str | None = None,
    ) -> list[MemoryRecord]:
        """Store texts and return their records; see `remember`."""
        if not contents or self.read_only:
            return []
        with self._saving(f"{len(contents)} memories", metadata, agent_role):
            records = self._described(contents, scope, categories, metadata, importance, source, private, root_scope)
            return self._records.run(self._storing(records))

    async def aremember_many(
        self,
        contents: list[str],
        scope: str | None = None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        importance: float | None = None,
        source: str | None = None,
        private: bool = False,
        agent_role: str | None = None,
        root_scope: str | None = None,
    ) -> list[MemoryRecord]:
        """Store texts and return their records; see `remember`."""
        if not contents or self.read_only:
            return []
        with self._saving(f"{len(contents)} memories", metadata, agent_role):
            records = self._described(contents, scope, categories, metadata, importance, source, private, root_scope)
            return await self._records.arun(self._storing(records))

    def _described(
        self,
        contents: Sequence[str],
        scope: str | None,
        categories: Sequence[str] | None,
        metadata: Mapping[str, Any] | None,
        importance: float | None,
        source: str | None,
        private: bool,
        root_scope: str | None,
    ) -> list[m.RecordIn]:
        root = self.root_scope if root_scope is None else root_scope
        fields = described(join_scope_paths(root, scope), categories or (), metadata or {}, source, private)
        if importance is None and "default_importance" in self.model_fields_set:
            importance = self.default_importance
        if importance is not None:
            fields["importance"] = float(importance)
        if private or source is not None:  # the same words of another source are another memory
            fields["dedup"] = "off"
        owner = self._records.restriction().owner
        with as_validation_error():
            return [m.RecordIn(content=content, **fields, **owner) for content in contents]

    def _storing(self, records: list[m.RecordIn]) -> Steps[list[MemoryRecord]]:
        items = yield from self._records.storing(records)
        return (yield from self._records.getting([item.id for item in items]))

    def update(
        self,
        record_id: str,
        content: str | None = None,
        scope: str | None = None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        importance: float | None = None,
    ) -> MemoryRecord:
        """Change a record and return it; what is not given stays. Its past stays in T4DM's history.

        Raises:
            ValueError: There is no such record.
        """
        existing = self._records.get_record(record_id)
        if existing is None:
            raise ValueError(f"Record not found: {record_id}")
        if self.read_only:
            return existing
        changes: dict[str, Any] = {} if content is None else {"content": content}
        if importance is not None:
            changes["importance"] = float(importance)
        if metadata is not None:
            changes |= {"metadata": plain(metadata), "metadata_mode": "replace"}
        if scope is not None or categories is not None:
            fields = described(
                existing.scope if scope is None else scope,
                existing.categories if categories is None else categories,
                {},
                existing.source,
                existing.private,
            )
            changes |= {name: fields[name] for name in ("namespace", "categories", "value")}
        with as_validation_error():
            request = m.UpdateRequest(**changes)
        return self._records.run(self._updating(existing, request))

    def _updating(self, existing: MemoryRecord, request: m.UpdateRequest) -> Steps[MemoryRecord]:
        if request.model_fields_set:
            yield from self._records.changing(existing.id, request)
        yield from self._records.touching([existing.id])
        found = yield from self._records.getting([existing.id])
        return found[0]

    # Events -------------------------------------------------------------------------------------------

    @contextmanager
    def _recalling(self, query: str, limit: int) -> Iterator[list[MemoryMatch]]:
        """Tell CrewAI of a recall, and of how it ended."""
        told: dict[str, Any] = {"query": query, "limit": limit, "score_threshold": None, "source_type": _SOURCE}
        results: list[MemoryMatch] = []
        start = time.perf_counter()
        crewai_event_bus.emit(self, MemoryQueryStartedEvent(**told))
        try:
            yield results
        except Exception as error:
            crewai_event_bus.emit(self, MemoryQueryFailedEvent(**told, error=str(error)))
            self._failed("recall", error)
            raise
        took_ms = (time.perf_counter() - start) * 1000
        crewai_event_bus.emit(self, MemoryQueryCompletedEvent(**told, results=results, query_time_ms=took_ms))

    @contextmanager
    def _saving(self, value: str, metadata: dict[str, Any] | None, agent_role: str | None) -> Iterator[None]:
        """Tell CrewAI of a save, and of how it ended."""
        told: dict[str, Any] = {"value": value, "source_type": _SOURCE}
        start = time.perf_counter()
        crewai_event_bus.emit(self, MemorySaveStartedEvent(**told, metadata=metadata))
        try:
            yield
        except Exception as error:
            crewai_event_bus.emit(self, MemorySaveFailedEvent(**told, metadata=metadata, error=str(error)))
            self._failed("save", error)
            raise
        took_ms = (time.perf_counter() - start) * 1000
        crewai_event_bus.emit(
            self,
            MemorySaveCompletedEvent(**told, metadata=metadata or {}, agent_role=agent_role, save_time_ms=took_ms),
        )

    def _failed(self, what: str, error: Exception) -> None:
        """Log a failure, because CrewAI goes on without memory; raise what ends the run if that is wanted."""
        logger.error("memory %s failed: %s", what, error)
        if self.abort_on_failure and isinstance(error, T4DMError):
            raise MemoryAbortedError(f"memory {what} failed: {error}", source=self) from error

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> T4DMCrewMemory:
        """Return a memory with the same settings and connections of its own; a client of the caller's is shared."""
        return type(self)(**{name: getattr(self, name) for name in self.model_fields_set})

    # The end ------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close everything that was opened."""
        await self._records.aclose()


def _reasons(hit: m.Hit) -> list[str]:
    """Return which signals speak for a hit, the weightiest first."""
    told = sorted((hit.explain or {}).items(), key=lambda one: -one[1])
    return [_REASONS.get(name, name) for name, share in told if share > 0] or ["semantic"]
