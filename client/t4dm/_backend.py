"""What a memory backend does. `T4DMClient` does it over HTTP, the embedded runtime in this process.

The wire models are the vocabulary of both, so that one contract test runs over both, and adapters need not
know which one they hold. Methods raise `t4dm.sdk.errors`; none returns an empty result for a failure.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from t4dm._view_backend import ViewBackend
from t4dm.sdk import admin_models as a
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk import namespace_models as n
from t4dm.sdk import ops_models as o
from t4dm.sdk import recall_models as r
from t4dm.sdk import session_models as s


@runtime_checkable
class MemoryBackend(ViewBackend, Protocol):
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

    def context(self, request: r.ContextRequest) -> r.ContextAnswer:
        """Return a block of text for a prompt, made of what answers a question, within a budget of tokens."""
        ...

    def pin(self, request: r.PinRequest) -> int:
        """Pin memories so that sleep never forgets them, or unpin them; return how many exist."""
        ...

    def feedback(self, request: r.FeedbackRequest) -> int:
        """Say how useful memories were; return how many of them exist."""
        ...

    def list(self, request: m.ListRequest) -> m.ListAnswer:
        """Return one page, the total, and the cursor of the next page."""
        ...

    def update(self, memory_id: str, request: m.UpdateRequest, *, space: str = "default") -> m.Memory:
        """Change what is set in the request and return the result. Raises NotFoundError, ConflictError."""
        ...

    def delete(self, memory_id: str, *, space: str = "default", purge: bool = False) -> None:
        """Delete one memory; with `purge`, forget its history too. Raises NotFoundError."""
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

    def ops(self, request: o.OpsRequest, *, idempotency_key: str | None = None) -> o.OpsAnswer:
        """Carry out reads and writes in one request; the results are in the order given.

        All reads see the state before the batch's writes; the puts of a space are stored in one write, all or none.
        An operation that is wrong refuses the whole batch.
        """
        ...

    def namespaces(self, request: n.NamespacesRequest | None = None) -> n.NamespaceList:
        """Return the namespaces that hold memories, in the order of their labels, with what they hold."""
        ...

    def owners(self, request: n.OwnersRequest | None = None) -> n.OwnerList:
        """Return the users, agents, apps, runs and sessions that have memories, and how many."""
        ...

    def categories(self, request: n.CategoriesRequest | None = None) -> dict[str, int]:
        """Return how many memories have each category, most first."""
        ...

    def append_messages(
        self, session_id: str, request: s.AppendRequest, *, idempotency_key: str | None = None
    ) -> s.AppendAnswer:
        """Append messages to a session, all or none, and return the place of each."""
        ...

    def messages(self, session_id: str, request: s.MessagesRequest | None = None) -> s.MessagePage:
        """Return messages of a session in order: the oldest that match, or the newest with `last`. None is no error."""
        ...

    def clear_messages(self, session_id: str, *, space: str = "default") -> int:
        """Forget the messages of a session for good, and return how many there were."""
        ...

    def sessions(self, request: s.SessionsRequest | None = None) -> s.SessionList:
        """Return the sessions that hold messages, the one with the newest message first."""
        ...

    def restore_messages(self, request: s.RestoreRequest) -> s.RestoreAnswer:
        """Put messages back where an export says they were, all or none. Raises ConflictError (a place is taken)."""
        ...

    def link(self, request: g.LinkRequest) -> int:
        """Link memories, all or none, and return how many links were named; one that exists takes the new weight.

        Raises NotFoundError (no such space), ValidationError (an end that does not exist; `details` says which).
        """
        ...

    def reweigh(self, request: g.ReweighRequest) -> builtins.list[float | None]:
        """Change weights in place and return the new ones, in order; None where there is no such link."""
        ...

    def unlink(self, request: g.UnlinkRequest) -> int:
        """End links and return how many of them there were."""
        ...

    def scale_links(self, request: g.ScaleRequest) -> int:
        """Change the weight of every link chosen in one step; return how many were chosen."""
        ...

    def links(
        self,
        memory_id: str,
        *,
        direction: g.Direction = "both",
        space: str = "default",
        known_at: datetime | None = None,
    ) -> builtins.list[g.Edge]:
        """Return the links at one memory, by ends and type. Raises NotFoundError."""
        ...

    def traverse(self, request: g.TraverseRequest) -> g.TraverseAnswer:
        """Return the memories within `depth` links, nearest first. Raises NotFoundError for the start."""
        ...

    def path(self, request: g.PathRequest) -> builtins.list[g.Edge] | None:
        """Return a shortest path as its links in order, None when there is none. Raises NotFoundError for its ends."""
        ...

    def provenance(
        self,
        memory_id: str,
        *,
        direction: g.Lineage = "backward",
        depth: int = 6,
        limit: int = 100,
        known_at: datetime | None = None,
        include_memories: bool = False,
        space: str = "default",
    ) -> builtins.list[g.Node]:
        """Return what a memory was made from, or with `forward` what was made of it. Raises NotFoundError."""
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

    def flush(self, *, space: str | None = None) -> None:
        """Write what is in memory to segments and release the log behind it."""
        ...

    def compact(self, *, space: str | None = None, everything: bool = False) -> builtins.list[a.SpaceCompaction]:
        """Merge segments, and say for each space what that did; answers when it is done, which may take minutes."""
        ...

    def backup(self, *, path: str | None = None) -> a.BackupReport:
        """Copy the store as it is at one moment; without a path, beside the store, named by the time."""
        ...

    def verify(self) -> a.VerifyReport:
        """Compare every file of the store with what was written, and say what is wrong."""
        ...

    def close(self) -> None: ...
