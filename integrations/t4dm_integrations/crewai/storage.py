"""The storage under CrewAI's own `Memory`: it embeds and ranks, T4DM keeps its records and finds the nearest.

    Memory(storage=T4DMStorage(), embedder=…, llm=…)

`crewai.memory.storage.backend.StorageBackend` is what it promises.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import methodcaller
from pathlib import Path
from typing import Any, Final

from crewai.memory.types import MemoryRecord

from t4dm._async_backend import AsyncMemoryBackend
from t4dm._backend import MemoryBackend
from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm_integrations.crewai.record_store import RecordStore, Steps, logged
from t4dm_integrations.crewai.records import to_memory_record
from t4dm_integrations.crewai.restriction import Restriction

DEFAULT_SPACE: Final = "crewai-vectors"
_LEAST: Final = 50
"""So many hits at least are asked for where some will be left out."""


class T4DMStorage(RecordStore):
    """Keep the records of a CrewAI `Memory` in a space of T4DM whose vectors CrewAI makes."""

    def __init__(
        self,
        url: str | None = None,
        *,
        storage_path: str | Path | None = None,
        client: MemoryBackend | AsyncMemoryBackend | None = None,
        space: str = DEFAULT_SPACE,
        user_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        run_id: str | None = None,
        session_id: str | None = None,
        timeout_s: float = 30.0,
        max_retries: int = 3,
    ) -> None:
        """Note where the records are; nothing is sent before the first call.

        Args:
            url: Where the daemon is; `T4DM_URL` when absent, else http://127.0.0.1:8765.
            storage_path: A data directory to serve in this process.
            client: A client or backend of your own.
            space: Where records live. It is made with the first save, and its vectors are all of one length.
            user_id: Stored with every record, and nothing of others is seen; so do agent_id, app_id, run_id and
                session_id.
            agent_id: See user_id.
            app_id: See user_id.
            run_id: See user_id.
            session_id: See user_id.
            timeout_s: Longest wait for an answer of the daemon.
            max_retries: How often a call is tried again where that does no harm.

        Raises:
            TypeError: More than one of url, storage_path and client is given.
        """
        super().__init__(
            url,
            embedder="client",
            space=space,
            storage_path=storage_path,
            client=client,
            user_id=user_id,
            agent_id=agent_id,
            app_id=app_id,
            run_id=run_id,
            session_id=session_id,
            timeout_s=timeout_s,
            max_retries=max_retries,
        )

    def search(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """Return the nearest records, nearest first, with scores in [0, 1].

        A score is 1 / (1 + d²) of the distance d between the vectors' directions, so that CrewAI's thresholds mean
        what they mean with its own storage.

        Raises:
            EmbeddingDimensionMismatchError: The embedding is not as long as those that are stored.
            T4DMError: The search failed. CrewAI's `recall(depth="deep")` logs that and goes on as if nothing was
                there, so it is logged here, too.
        """
        which = self.restriction(scope_prefix, categories, metadata_filter)
        with logged("search"):
            return self.run(self._searching(query_embedding, which, limit, min_score))

    async def asearch(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """Return the nearest records as `search` does, awaited."""
        which = self.restriction(scope_prefix, categories, metadata_filter)
        with logged("search"):
            return await self.arun(self._searching(query_embedding, which, limit, min_score))

    def _searching(
        self, embedding: Sequence[float], which: Restriction, limit: int, min_score: float
    ) -> Steps[list[tuple[MemoryRecord, float]]]:
        found: list[tuple[MemoryRecord, float]] = []
        if limit <= 0:
            return found
        k = min(limit if which.is_exact else max(limit, _LEAST), m.MAX_K)
        with as_validation_error():
            first = m.SearchRequest(
                vector=[float(number) for number in embedding],
                mode="vector",
                k=k,
                space=self._space,
                include=["vector", "value"],
                touch=False,  # CrewAI says what it used, by touch_records
                **which.selection,
            )
        for offset in range(0, m.MAX_LIMIT, k):
            answer = yield methodcaller("search", first.model_copy(update={"offset": offset}))
            hits: list[m.Hit] = [] if answer is None else answer.results
            for hit in hits:
                score = _score(hit)
                record = to_memory_record(hit.memory)
                if score < min_score or len(found) == limit:
                    return found
                if which.holds(record):
                    found.append((record, score))
            if len(hits) < k or len(found) == limit:
                break
        return found


def _score(hit: m.Hit) -> float:
    cosine = 2.0 * hit.score - 1.0 if hit.similarity is None else hit.similarity
    return 1.0 / (1.0 + max(0.0, 2.0 - 2.0 * cosine))
