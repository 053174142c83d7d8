"""CrewAI's records in a space of T4DM: written, listed, counted, changed and deleted.

Each operation is a generator that yields calls of a backend and is sent their answers, so that it is written once
for callers that wait and callers that await. To a call on a space that does not exist the answer is None: nothing
was ever stored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from operator import methodcaller
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from crewai.memory.storage.backend import EmbeddingDimensionMismatchError
from crewai.memory.types import MemoryRecord, ScopeInfo

from t4dm._async_backend import AsyncMemoryBackend
from t4dm._backend import MemoryBackend
from t4dm._connection import Connected, Connection
from t4dm._owners import check_owned, is_owned
from t4dm._requests import owner_defaults
from t4dm._steps import adrive, drive
from t4dm.sdk import models as m
from t4dm.sdk import namespace_models as n
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import ConflictError, NotFoundError, T4DMError, ValidationError
from t4dm_integrations.crewai.records import labels_of, naive, scope_of, to_memory_record, to_record
from t4dm_integrations.crewai.restriction import Restriction

logger = logging.getLogger(__name__)

T = TypeVar("T")
Call = Callable[[Any], Any]
"""What calls a method of a backend."""
Steps = Generator[Call, Any, T]

PAGE: Final = 500
"""Records of a request: with vectors of 3072 numbers that is 6 MB."""
_TEXTS: Final = 100
"""Records of a request whose texts the daemon embeds: it answers in seconds."""


class RecordStore(Connected):
    """Keep records in one space. Thread-safe; nothing is sent before the first call.

    A record belongs to the owner columns that were given, and nothing else is seen.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        embedder: Literal["client", "server"],
        space: str,
        storage_path: str | Path | None = None,
        client: MemoryBackend | AsyncMemoryBackend | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        run_id: str | None = None,
        session_id: str | None = None,
        timeout_s: float = 30.0,
        max_retries: int = 3,
    ) -> None:
        self._connection = Connection(
            url, storage_path=storage_path, client=client, timeout_s=timeout_s, max_retries=max_retries
        )
        self._owner = owner_defaults(
            user_id=user_id, agent_id=agent_id, app_id=app_id, run_id=run_id, session_id=session_id
        )
        self._space = space
        self._embedder: Literal["client", "server"] = embedder
        self._has_space = False

    @property
    def space(self) -> str:
        """Where the records are."""
        return self._space

    # Carrying out -------------------------------------------------------------------------------------

    def run(self, steps: Steps[T]) -> T:
        """Carry out an operation and return what it comes to."""
        backend = self._connection.backend()

        def carry_out(call: Call) -> Any:
            with _in_crewais_words():
                try:
                    return call(backend)
                except NotFoundError as error:
                    if error.is_missing_space:
                        return None
                    raise

        return drive(steps, carry_out)

    async def arun(self, steps: Steps[T]) -> T:
        """Carry out an operation as `run` does, awaited."""
        backend = self._connection.async_backend()

        async def carry_out(call: Call) -> Any:
            with _in_crewais_words():
                try:
                    return await call(backend)
                except NotFoundError as error:
                    if error.is_missing_space:
                        return None
                    raise

        return await adrive(steps, carry_out)

    def restriction(
        self,
        scope: str | None = None,
        categories: Sequence[str] | None = None,
        metadata: dict[str, Any] | None = None,
        older_than: datetime | None = None,
    ) -> Restriction:
        """Return what is asked for, within what is seen here."""
        return Restriction(scope, categories, metadata, older_than, self._owner)

    # Writing ------------------------------------------------------------------------------------------

    def save(self, records: list[MemoryRecord]) -> None:
        """Store records under their ids.

        Raises:
            EmbeddingDimensionMismatchError: An embedding is not as long as those that are stored.
            ConflictError: An id is another owner's; none of the records is stored.
            T4DMError: Some of them were not stored.
        """
        with logged("save"):
            self.run(self._saving(records))

    async def asave(self, records: list[MemoryRecord]) -> None:
        """Store records under their ids, awaited."""
        with logged("save"):
            await self.arun(self._saving(records))

    def update(self, record: MemoryRecord) -> None:
        """Replace the record of the same id; one that does not exist is stored."""
        self.save([record])

    def _saving(self, records: Sequence[MemoryRecord]) -> Steps[None]:
        lengths = [len(record.embedding) for record in records if record.embedding]
        for length in lengths:
            if length != lengths[0]:  # before anything of it is stored
                raise EmbeddingDimensionMismatchError(lengths[0], length)
        yield from self.storing([to_record(record, self._owner) for record in records])

    def storing(self, records: Sequence[m.RecordIn]) -> Steps[list[m.BatchItem]]:
        """Store records and come to what became of each. Raises ConflictError when an id is another owner's."""
        yield from self._check_owner([record.id for record in records if record.id is not None])
        items: list[m.BatchItem] = []
        if records and not self._has_space:
            yield methodcaller("create_space", self._space, m.SpaceRequest(embedder=self._embedder))
            self._has_space = True
        size = PAGE if self._embedder == "client" else _TEXTS
        for at in range(0, len(records), size):
            request = m.BatchRequest(records=list(records[at : at + size]), space=self._space)
            answer = yield methodcaller("batch", request)
            items += answer.results
        return items

    def _check_owner(self, ids: Sequence[str]) -> Steps[None]:
        if self._owner:
            check_owned((yield from self._stored(ids)), self._owner)

    def touch_records(self, record_ids: list[str]) -> None:
        """Note that records were used now; those that do not exist, or are another owner's, are no error."""
        self.run(self.touching(record_ids))

    def touching(self, ids: Sequence[str]) -> Steps[None]:
        """Note that those of the records were used now that are seen here."""
        if self._owner:
            ids = [memory.id for memory in (yield from self._stored(ids)) if is_owned(memory, self._owner)]
        for at in range(0, len(ids), m.MAX_LIMIT):
            part = list(ids[at : at + m.MAX_LIMIT])
            yield methodcaller("touch", m.TouchRequest(ids=part, space=self._space))

    def changing(self, record_id: str, request: m.UpdateRequest) -> Steps[None]:
        """Change what the request says of a record."""
        yield methodcaller("update", record_id, request, space=self._space)

    # Deleting -----------------------------------------------------------------------------------------

    def delete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """Delete the records for which all holds that is given, and return how many; their history stays.

        Args:
            scope_prefix: In this scope or below it.
            categories: With one of these.
            record_ids: Of these alone; an empty list names none.
            older_than: Created before.
            metadata_filter: With these metadata.
        """
        which = self.restriction(scope_prefix, categories, metadata_filter, older_than)
        return self.run(self._deleting(which, record_ids))

    async def adelete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """Delete records as `delete` does, awaited."""
        which = self.restriction(scope_prefix, categories, metadata_filter, older_than)
        return await self.arun(self._deleting(which, record_ids))

    def reset(self, scope_prefix: str | None = None) -> None:
        """Forget the records of a scope for good; without one all, and with them how long their vectors are."""
        self.run(self._resetting(self.restriction(scope_prefix)))

    async def areset(self, scope_prefix: str | None = None) -> None:
        """Forget records as `reset` does, awaited."""
        await self.arun(self._resetting(self.restriction(scope_prefix)))

    def _resetting(self, which: Restriction) -> Steps[None]:
        if which.restricts:
            yield from self._deleting(which, None, purge=True)
            return
        self._check_own(which)
        yield methodcaller("delete_space", self._space)
        self._has_space = False

    def _deleting(self, which: Restriction, ids: Sequence[str] | None, *, purge: bool = False) -> Steps[int]:
        if ids is None:
            self._check_own(which)
        if not which.is_exact:
            found = yield from self._matching(which)
            ids = found if ids is None else sorted(set(found).intersection(ids))
        deleted = 0
        with as_validation_error():
            asked: dict[str, Any] = which.selection | {"space": self._space, "purge": purge}
            if which.older_than is not None:
                asked["older_than"] = which.older_than
            if ids is None:
                requests = [m.DeleteRequest(all=not which.restricts, **asked)]
            else:
                parts = [ids[at : at + m.MAX_LIMIT] for at in range(0, len(ids), m.MAX_LIMIT)]
                requests = [m.DeleteRequest(ids=list(part), **asked) for part in parts]
        for request in requests:
            answer = yield methodcaller("delete_many", request)
            deleted += 0 if answer is None else answer.deleted
        return deleted

    def _check_own(self, which: Restriction) -> None:
        if self._space == "default" and not which.restricts:
            raise ValidationError(
                "this would delete everything in the space 'default', whoever stored it: give the memory a space of "
                "its own or a root_scope, or name a scope",
                code="empty_selector",
            )

    def _matching(self, which: Restriction) -> Steps[list[str]]:
        """Come to the ids of the records that match, where the daemon cannot tell by itself."""
        ids: list[str] = []
        cursor: str | None = None
        while True:
            answer = yield methodcaller("list", self._page(which, limit=PAGE, cursor=cursor))
            if answer is None:
                return ids
            ids += [memory.id for memory in answer.results if which.holds(to_memory_record(memory))]
            cursor = answer.cursor
            if cursor is None:
                return ids

    # Reading ------------------------------------------------------------------------------------------

    def get_record(self, record_id: str) -> MemoryRecord | None:
        """Return a record, None when there is none."""
        found = self.run(self.getting([record_id]))
        return found[0] if found else None

    def getting(self, ids: Sequence[str]) -> Steps[list[MemoryRecord]]:
        """Come to those of the records that exist, in the order given."""
        found = yield from self._stored(ids, vectors=self._embedder == "client")
        return [to_memory_record(memory) for memory in found if is_owned(memory, self._owner)]

    def _stored(self, ids: Sequence[str], *, vectors: bool = False) -> Steps[list[m.Memory]]:
        """Come to the memories that have these ids, whoever's they are."""
        memories: list[m.Memory] = []
        for at in range(0, len(ids), PAGE):
            with as_validation_error():
                request = m.GetRequest(ids=list(ids[at : at + PAGE]), space=self._space, include_vectors=vectors)
            memories += (yield methodcaller("get_many", request)) or ()
        return memories

    def list_records(self, scope_prefix: str | None = None, limit: int = 200, offset: int = 0) -> list[MemoryRecord]:
        """Return the records of a scope, newest first."""
        return self.run(self._listing(self.restriction(scope_prefix), limit, offset))

    def _listing(self, which: Restriction, limit: int, offset: int) -> Steps[list[MemoryRecord]]:
        records: list[MemoryRecord] = []
        while offset >= 0 and len(records) < limit:
            size = min(PAGE, limit - len(records))
            answer = yield methodcaller(
                "list", self._page(which, limit=size, offset=offset + len(records), vectors=True)
            )
            if answer is None or not answer.results:
                break
            records += map(to_memory_record, answer.results)
        return records

    def _page(
        self, which: Restriction, *, limit: int, offset: int = 0, cursor: str | None = None, vectors: bool = False
    ) -> m.ListRequest:
        return m.ListRequest(
            space=self._space,
            limit=limit,
            offset=offset,
            cursor=cursor,
            include_vectors=vectors and self._embedder == "client",
            **which.selection,
        )

    def count(self, scope_prefix: str | None = None) -> int:
        """Return how many records a scope has."""
        return self.run(self._counting(self.restriction(scope_prefix)))

    def _counting(self, which: Restriction) -> Steps[int]:
        answer = yield methodcaller("list", self._page(which, limit=1))
        return 0 if answer is None else int(answer.total)

    def get_scope_info(self, scope: str) -> ScopeInfo:
        """Return what a scope holds, with the scopes right below it."""
        return self.run(self._informing(scope))

    def _informing(self, scope: str) -> Steps[ScopeInfo]:
        found = yield from self._namespaces(scope)
        return ScopeInfo(
            path=scope.rstrip("/") or "/",
            record_count=sum(one.count for one in found),
            categories=sorted({category for one in found for category in one.categories}),
            oldest_record=min((naive(one.oldest) for one in found), default=None),
            newest_record=max((naive(one.newest) for one in found), default=None),
            child_scopes=_children(scope, found),
        )

    def list_scopes(self, parent: str = "/") -> list[str]:
        """Return the scopes right below one."""
        return _children(parent, self.run(self._namespaces(parent)))

    def _namespaces(self, scope: str) -> Steps[list[n.NamespaceInfo]]:
        """Come to a scope's own namespace and those right below it, each with all that lies deeper."""
        labels = labels_of(scope)
        found: list[n.NamespaceInfo] = []
        while True:
            with as_validation_error():
                request = n.NamespacesRequest(
                    space=self._space,
                    prefix=labels or None,
                    max_depth=len(labels) + 1,
                    limit=m.MAX_LIMIT,
                    offset=len(found),
                    **self._owner,
                )
            answer = yield methodcaller("namespaces", request)
            if answer is None or not answer.results:
                # `*` stands for any label there, and for itself here.
                return [one for one in found if one.namespace[: len(labels)] == labels]
            found += answer.results

    def list_categories(self, scope_prefix: str | None = None) -> dict[str, int]:
        """Return how many records of a scope have each category."""
        return self.run(self._categories(scope_prefix))

    def _categories(self, scope: str | None) -> Steps[dict[str, int]]:
        with as_validation_error():
            request = n.CategoriesRequest(space=self._space, namespace_prefix=labels_of(scope) or None, **self._owner)
        answer: dict[str, int] | None = yield methodcaller("categories", request)
        return answer or {}


def _children(scope: str, found: Iterable[n.NamespaceInfo]) -> list[str]:
    depth = len(labels_of(scope)) + 1
    return sorted(scope_of(one.namespace) for one in found if len(one.namespace) == depth)


@contextmanager
def _in_crewais_words() -> Iterator[None]:
    """Turn a refused vector into the error that CrewAI has for it."""
    try:
        yield
    except ConflictError as error:
        if error.code != "dimension_mismatch":
            raise
        raise EmbeddingDimensionMismatchError(error.details["stored"], error.details["given"]) from error


@contextmanager
def logged(what: str) -> Iterator[None]:
    """Log a failure before it is raised: what comes of a search or a background save, CrewAI goes on without."""
    try:
        yield
    except (T4DMError, EmbeddingDimensionMismatchError) as error:
        logger.error("memory %s failed: %s", what, error)
        raise
