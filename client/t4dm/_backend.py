"""What a memory backend does. `T4DMClient` does it over HTTP, the embedded runtime in this process.

The wire models are the vocabulary of both, so that one contract test runs over both, and adapters need not
know which one they hold. Methods raise `t4dm.sdk.errors`; none returns an empty result for a failure.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from t4dm.sdk import models as m


@runtime_checkable
class MemoryBackend(Protocol):
    """Store, find, change and forget memories. Thread-safe; `close` may be called twice."""

    def store(self, request: m.StoreRequest, *, idempotency_key: str | None = None) -> m.Memory:
        """Store one memory and return it; `status` says whether it was created, updated or a duplicate."""
        ...

    def batch(self, request: m.BatchRequest) -> m.BatchAnswer:
        """Store many, all or none; the answer is in the order given."""
        ...

    def get(
        self,
        memory_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        include_vector: bool = False,
    ) -> m.Memory:
        """Return one memory. Raises NotFoundError."""
        ...

    def get_many(self, request: m.GetRequest) -> builtins.list[m.Memory]:
        """Return those of the ids that exist, in the order given."""
        ...

    def search(self, request: m.SearchRequest) -> m.SearchAnswer:
        """Return the best hits, best first; an empty answer means nothing relevant."""
        ...

    def list(self, request: m.ListRequest) -> m.ListAnswer:
        """Return one page, the total, and the cursor of the next page."""
        ...

    def update(self, memory_id: str, request: m.UpdateRequest, *, space: str = "default") -> m.Memory:
        """Change what is set in the request and return the result. Raises NotFoundError, ConflictError."""
        ...

    def delete(self, memory_id: str, *, space: str = "default") -> None:
        """Delete one memory. Raises NotFoundError."""
        ...

    def delete_many(self, request: m.DeleteRequest) -> m.DeleteAnswer:
        """Delete what matches; an empty selector is refused unless `all` is true."""
        ...

    def history(self, memory_id: str, *, space: str = "default") -> builtins.list[m.HistoryEntry]:
        """Return every event of one memory's life, oldest first. Raises NotFoundError."""
        ...

    def touch(self, request: m.TouchRequest) -> int:
        """Record that memories were used; return how many exist."""
        ...

    def export(self, *, space: str | None = None, include_vectors: bool = True) -> Iterator[m.Memory]:
        """Yield every present memory as of one moment, in order of insertion; all spaces when none is named."""
        ...

    def create_space(self, name: str, request: m.SpaceRequest | None = None) -> m.Space:
        """Create a space, or return it if it exists with the same settings. Raises ConflictError otherwise."""
        ...

    def get_space(self, name: str) -> m.Space: ...

    def list_spaces(self) -> Sequence[m.Space]: ...

    def delete_space(self, name: str) -> None:
        """Delete a space and everything in it, for good. Raises NotFoundError."""
        ...

    def stats(self) -> m.Stats: ...

    def health(self) -> m.HealthReport: ...

    def version(self) -> m.VersionInfo: ...

    def close(self) -> None: ...
