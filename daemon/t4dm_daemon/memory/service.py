"""Store, find, change and forget memories.

The service takes the wire's request models and gives back items, so that the HTTP routes can write JSON
without building models they would take apart again; `memory.backend` builds the models for embedded mode.

Thread-safe: it holds no state of its own beside its parts, which are. What writes is in `writing`.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from t4dm.sdk import models as m
from t4dm.sdk.recall_models import ContextRequest, FeedbackRequest, PinRequest
from t4dm_daemon.core.clock import OPEN, to_micros
from t4dm_daemon.core.errors import (
    DaemonError,
    InvalidInputError,
    VectorRequiredError,
)
from t4dm_daemon.core.filter import Filter
from t4dm_daemon.core.item import Edge, Item
from t4dm_daemon.memory import context, filters, records
from t4dm_daemon.memory.context import Block
from t4dm_daemon.memory.feedback import FeedbackLog
from t4dm_daemon.memory.history import Event, events
from t4dm_daemon.memory.question import Understood, understand, words_of
from t4dm_daemon.memory.ranking import Hit, Question, rank
from t4dm_daemon.memory.spaces import SpaceHandle, Spaces
from t4dm_daemon.memory.use import UseRecorder
from t4dm_daemon.memory.writing import MemoryWriter, TextEmbedder, Vectors, check_dimension, not_found
from t4dm_daemon.storage.protocol import (
    PRESENT,
    FieldUpdate,
    Order,
    View,
)

logger = logging.getLogger(__name__)

_EXPORT_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class SearchDefaults:
    """What a search does that does not say.

    Attributes:
        candidates: Memories that each signal proposes.
        abstain_below: Confidence without which there is no answer.
        actor_fields: Where a memory says whose words it holds.
    """

    candidates: int = 80
    abstain_below: float = 0.0
    actor_fields: tuple[str, ...] = ("speaker", "user_id", "agent_id")


class MemoryService(MemoryWriter):
    """Everything one can do with memories.

    Args:
        spaces: Where they live.
        embedder: Embeds texts; its calls block until the model has answered.
        deadline_s: Longest wait for the embedder.
        bulk_deadline_s: The same for a batch.
        feedback: Keeps how useful memories were.
        search: What a search does that does not say.
    """

    def __init__(
        self,
        spaces: Spaces,
        embedder: TextEmbedder,
        *,
        deadline_s: float,
        bulk_deadline_s: float,
        feedback: FeedbackLog,
        search: SearchDefaults = SearchDefaults(),
    ) -> None:
        super().__init__(spaces, embedder, deadline_s=deadline_s, bulk_deadline_s=bulk_deadline_s)
        self._feedback = feedback
        self._search = search
        self._use = UseRecorder(spaces)

    @property
    def counted_by(self) -> str:
        """What counts the tokens of `context`."""
        return self._embedder.counted_by

    def warm_up(self) -> None:
        """Read what the first question of every space would otherwise wait for."""
        for handle in self.spaces.open_all():
            try:
                handle.backend.values_with(self._search.actor_fields, [])
            except DaemonError as error:  # deleted, or closing: there is nothing to be fast for
                logger.debug("not warmed up", extra={"space": handle.name, "reason": str(error)})

    def close(self) -> None:
        """Write what waits to be written. Before the store is closed."""
        self._use.close()

    # Reading ------------------------------------------------------------------------------------------

    def get(self, memory_id: str, *, space: str = "default", view: View = PRESENT, with_vector: bool = False) -> Item:
        """Return one memory. Raises NotFoundError."""
        return self._one(self.spaces.open(space), memory_id, view=view, with_vectors=with_vector)

    def get_many(self, request: m.GetRequest) -> list[Item]:
        """Return those of the ids that are visible, in the order given."""
        handle = self.spaces.open(request.space)
        found = handle.backend.get(
            request.ids, view=_view(request, show_expired=False), with_vectors=request.include_vectors
        )
        return [item for item in found if item is not None]

    def search(self, request: m.SearchRequest) -> list[Hit]:
        """Return the best hits, best first; empty when nothing is relevant.

        Raises:
            NotFoundError: There is no such space.
            VectorRequiredError: The mode needs a vector, and the space's callers bring theirs.
        """
        mode = request.mode or ("vector" if request.query is None else "hybrid")
        if request.query is None and mode == "lexical":
            raise InvalidInputError("searching by words needs a query", field="query")
        where = filters.search_filter(request)
        handle = self.spaces.open(request.space)
        view = _view(request, show_expired=request.show_expired)
        now = min(time.time_ns() // 1000, view.known_at if view.known_at is not None else OPEN)
        asked = None
        if request.query is not None and mode != "vector":
            asked = self._understand(handle, request, where, view, view.as_of if view.as_of is not None else now)
        vector = self._vector_for(handle, request, mode, asked)
        limit = request.k + request.offset
        default = self._search.abstain_below
        question = Question(
            asked=asked,
            vector=vector,
            where=where,
            view=view,
            now=now,
            limit=limit,
            mode=mode,
            weights=request.weights,
            min_score=request.min_score,
            abstain_below=default if request.abstain_below is None else request.abstain_below,
            mmr=request.mmr,
            collapse=mode != "vector" if request.collapse is None else request.collapse,
            candidates=self._search.candidates,
            actor_fields=self._search.actor_fields,
            with_vectors="vector" in request.include,
        )
        hits = rank(question, handle.backend)[request.offset :]
        if request.touch and view.known_at is None:
            self._use.record(handle.name, [hit.item.id for hit in hits])
        return hits

    def note_recall(self, space: str, ids: Sequence[str]) -> None:
        """Count memories as used, shortly after: for who searched with `touch` off and then chose among the hits."""
        self._use.record(space, ids)

    def context(self, request: ContextRequest) -> Block:
        """Return a block of text for a prompt. Raises as `search` does."""
        return context.build(request, self.search, self._embedder, now=time.time_ns() // 1000)

    def feedback(self, request: FeedbackRequest) -> int:
        """Keep how useful memories were; return how many of them exist."""
        return self._feedback.record(request, self.spaces.open(request.space).backend)

    def pin(self, request: PinRequest) -> int:
        """Pin memories, or unpin them; return how many of them exist."""
        backend = self.spaces.open(request.space).backend
        return sum(backend.update_fields([FieldUpdate(one, set={"pinned": request.pinned}) for one in request.ids]))

    def _understand(
        self, handle: SpaceHandle, request: m.SearchRequest, where: Filter | None, view: View, now: int
    ) -> Understood:
        assert request.query is not None
        words = words_of(request.query)
        actors = handle.backend.values_with(self._search.actor_fields, words, where=where, view=view)
        return understand(request.query, actors, now=now)

    def _vector_for(
        self, handle: SpaceHandle, request: m.SearchRequest, mode: m.SearchMode, asked: Understood | None
    ) -> Vectors | None:
        """Return what is looked for by meaning; None where words alone are asked."""
        if request.vector is not None:
            vector = records.to_vector(request.vector)
            check_dimension(handle, vector)
            return vector
        if mode == "lexical" or (mode == "hybrid" and (not handle.embeds or not request.weights.dense)):
            return None
        if not handle.embeds:
            raise VectorRequiredError(
                f"the vectors of space {handle.name!r} come from its callers: search it with a vector, or by words "
                "(mode lexical)",
                space=handle.name,
            )
        assert request.query is not None  # the model guarantees a question
        text = request.query if asked is None else asked.nameless
        embedded: Vectors = self._embedder.embed([text], timeout_s=self._deadline_s)[0]
        check_dimension(handle, embedded)
        return embedded

    def list(self, request: m.ListRequest) -> tuple[list[Item], int, str | None]:
        """Return one page, the total, and the cursor of the next page (None at the end)."""
        handle = self.spaces.open(request.space)
        descending = request.order_by.startswith("-")
        order: Order = request.order_by.removeprefix("-")  # type: ignore[assignment]  # the wire's Literal
        page = handle.backend.scan(
            where=filters.selection_filter(request),
            view=_view(request, show_expired=request.show_expired),
            order=order,
            descending=descending,
            limit=request.limit,
            offset=request.offset,
            after=_read_cursor(request.cursor, request.order_by),
            with_vectors=request.include_vectors,
        )
        return page.items, page.total, _write_cursor(page.after, request.order_by)

    def history(self, memory_id: str, *, space: str = "default") -> Sequence[Event]:
        """Return every event of one memory's life, oldest first. Raises NotFoundError."""
        versions = self.spaces.open(space).backend.history(memory_id)
        if not versions:
            raise not_found(memory_id, space)
        return events(versions)

    def export(
        self, *, space: str | None = None, with_vectors: bool = True
    ) -> Iterator[tuple[SpaceHandle, Item | Edge | None]]:
        """Yield every space: by itself, with each of its present memories in order of insertion, with their links.

        Each space is read as of one moment. One that is deleted meanwhile ends early, with StorageClosedError.
        """
        for handle in [self.spaces.open(space)] if space is not None else self.spaces.open_all():
            yield handle, None
            view = View(known_at=handle.backend.snapshot(), include_expired=True)
            after: tuple[int, int] | None = None
            while True:
                page = handle.backend.scan(view=view, limit=_EXPORT_PAGE, after=after, with_vectors=with_vectors)
                yield from ((handle, item) for item in page.items)
                after = page.after
                if after is None:
                    break
            if handle.backend.stats()["edges"]:
                yield from ((handle, edge) for edge in _links(handle, view))


def _links(handle: SpaceHandle, view: View) -> Iterator[Edge]:
    """Yield the links of a space, by their sources in order of insertion."""
    after: tuple[int, int] | None = None
    while True:
        page = handle.backend.scan(view=view, limit=_EXPORT_PAGE, after=after)
        for item in page.items:
            yield from handle.backend.edges(item.id, direction="out", view=view)
        after = page.after
        if after is None:
            break


def _view(request: m.GetRequest | m.SearchRequest | m.ListRequest, *, show_expired: bool) -> View:
    return View(
        as_of=None if request.as_of is None else to_micros(request.as_of),
        known_at=None if request.known_at is None else to_micros(request.known_at),
        include_expired=show_expired,
    )


def _write_cursor(after: tuple[int, int] | None, order_by: str) -> str | None:
    if after is None:
        return None
    return base64.urlsafe_b64encode(json.dumps([order_by, *after]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None, order_by: str) -> tuple[int, int] | None:
    if cursor is None:
        return None
    try:
        order, value, seq = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        bounds = range(-(2**63), 2**63)
        if order == order_by and type(value) is int and type(seq) is int and value in bounds and seq in bounds:
            return value, seq
    except (ValueError, TypeError, binascii.Error):
        pass  # reported below, like every other cursor that is not ours
    raise InvalidInputError("the cursor is not one that this list order gave out", field="cursor")
