"""Spaces: who embeds their texts, and with which model.

A space remembers the identity of the embedder that wrote its vectors. Vectors of two models cannot be
compared, so a daemon configured for another model refuses to serve the space instead of mixing them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final, Protocol

from t4dm_daemon.core.errors import (
    ConflictError,
    DimensionMismatchError,
    EmbedderMismatchError,
    InvalidInputError,
    NotFoundError,
)
from t4dm_daemon.storage.protocol import StorageBackend

logger = logging.getLogger(__name__)

DEFAULT_SPACE = "default"
MESSAGES: Final = "t4dm:messages"
"""The space in which the store keeps the messages of sessions. It is no space of memories, and nobody else's."""
FEEDBACK: Final = "t4dm:feedback"
"""The space in which the store keeps how useful memories were. It is no space of memories, and nobody else's."""
INTERNAL: Final = frozenset((MESSAGES, FEEDBACK))


class Catalog(Protocol):
    """A database of spaces (T4DX's `Database`)."""

    def create_space(self, name: str, **attributes: Any) -> StorageBackend: ...
    def space(self, name: str) -> StorageBackend: ...
    def attributes(self, name: str) -> Mapping[str, Any]: ...
    def spaces(self) -> Mapping[str, Mapping[str, Any]]: ...
    def delete_space(self, name: str) -> None: ...
    def stats(self) -> Mapping[str, Any]: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


def open_internal(catalog: Catalog, name: str) -> StorageBackend:
    """Return one of the internal spaces; the first use makes it."""
    try:
        return catalog.space(name)
    except NotFoundError:
        pass  # this use makes it
    try:
        return catalog.create_space(name, embedder="none", model=None, dimension=None)
    except ConflictError:  # another was faster
        return catalog.space(name)


@dataclass(frozen=True, slots=True)
class SpaceHandle:
    """A space ready for use."""

    name: str
    backend: StorageBackend
    embedder: str
    """`server`: the daemon embeds its texts; `client`: its callers bring every vector."""
    model: str | None

    @property
    def embeds(self) -> bool:
        return self.embedder == "server"


class Spaces:
    """Open, create and delete spaces, and hold them to their embedder.

    Thread-safe: `_lock` guards creation and deletion; lookups go to the catalog, which is safe by itself.

    Args:
        catalog: All spaces of the store.
        on_delete: Told which space is being deleted, so that what else belongs to it goes first; returns how much
            that was.
    """

    def __init__(self, catalog: Catalog, *, on_delete: Callable[[str], int] = lambda name: 0) -> None:
        self._catalog = catalog
        self._on_delete = on_delete
        self._lock = threading.Lock()
        self._identity: str | None = None
        self._dimension: int | None = None

    def adopt_embedder(self, identity: str, dimension: int, setting: str) -> None:
        """Name the embedder that serves from now on, and create the default space.

        Args:
            identity: What the spaces' own records are compared with.
            dimension: Of its vectors.
            setting: The value of T4DM_EMBEDDING_MODEL, for the message.

        Raises:
            EmbedderMismatchError: A space that holds memories was written by another embedder.
        """
        for name, attributes in self._catalog.spaces().items():
            if attributes.get("embedder") != "server" or attributes.get("model") == identity:
                continue
            if self._catalog.space(name).stats()["versions"]:
                stored = attributes.get("model")
                raise EmbedderMismatchError(
                    f"space {name!r} was embedded by {stored} (dimension {attributes.get('dimension')}), but the "
                    f"daemon is configured for {identity} (dimension {dimension}, T4DM_EMBEDDING_MODEL={setting}). "
                    "Their vectors cannot be compared. To go on with the stored ones, start with the model that wrote "
                    "them. To re-embed: start with the old model and run 't4dm export memories.jsonl --no-vectors', "
                    "then start with the new model and another T4DM_STORAGE_PATH and run "
                    "'t4dm import memories.jsonl'.",
                    space=name,
                    stored=stored,
                    configured=identity,
                )
            # Nothing was ever stored: the space is made anew for the new model.
            self._catalog.delete_space(name)
            self._catalog.create_space(name, embedder="server", model=identity, metric="cosine", dimension=dimension)
            logger.info(
                "an empty space has another model from now on",
                extra={"space": name, "before": attributes.get("model"), "model": identity},
            )
        self._identity, self._dimension = identity, dimension
        if DEFAULT_SPACE not in self._catalog.spaces():
            self.create(DEFAULT_SPACE, embedder="server", dimension=None)

    def open(self, name: str) -> SpaceHandle:
        """Return an existing space. Raises NotFoundError."""
        try:
            _refuse_internal(name)
            attributes = self._catalog.attributes(name)
        except NotFoundError:
            raise NotFoundError(
                f"there is no space {name!r}; it is created by the first write, or by PUT", space=name
            ) from None
        return SpaceHandle(name, self._catalog.space(name), attributes["embedder"], attributes.get("model"))

    def open_all(self) -> list[SpaceHandle]:
        """Return every space, by name; one that is deleted meanwhile is left out."""
        handles = []
        for name in self.names():
            try:
                handles.append(self.open(name))
            except NotFoundError:  # deleted since its name was read
                continue
        return handles

    def open_or_create(self, name: str, *, dimensions: Set[int], needs_embedding: bool) -> SpaceHandle:
        """Return a space for writing; the first write makes it, embedded by whoever brings the vectors.

        Args:
            name: The space.
            dimensions: Of the vectors that the write brings.
            needs_embedding: Some of its texts come without a vector: the daemon embeds this space.

        Raises:
            DimensionMismatchError: The write contradicts itself. No space is made.
        """
        try:
            return self.open(name)
        except NotFoundError:
            pass  # this write makes it
        embedder = "client" if dimensions and not needs_embedding and name != DEFAULT_SPACE else "server"
        expected = self._dimension if embedder == "server" else min(dimensions)
        for given in dimensions:
            if given != expected:
                raise DimensionMismatchError(expected or 0, given, space=name)
        try:
            return self.create(name, embedder=embedder, dimension=None)
        except ConflictError:  # another request was faster
            return self.open(name)

    def create(self, name: str, *, embedder: str, dimension: int | None) -> SpaceHandle:
        """Create a space, or return it when it exists with these settings.

        Raises:
            ConflictError: It exists with other settings, or a server space is asked for with a dimension
                that is not the embedder's.
        """
        model = self._identity if embedder == "server" else None
        if embedder == "server":
            if dimension not in (None, self._dimension):
                raise ConflictError(
                    f"the daemon's embedder makes vectors of dimension {self._dimension}, not {dimension}; "
                    "leave the dimension out, or say embedder: client",
                    stored=self._dimension,
                    given=dimension,
                )
            dimension = self._dimension
        with self._lock:
            self._create(name, embedder, model, dimension)
        return self.open(name)

    def _create(self, name: str, embedder: str, model: str | None, dimension: int | None) -> None:
        """Requires: self._lock held."""
        if name in INTERNAL:
            raise InvalidInputError(f"the name {name!r} is taken: T4DM keeps something of its own there", space=name)
        existing = self._catalog.spaces().get(name)
        if existing is None:
            self._catalog.create_space(name, embedder=embedder, model=model, metric="cosine", dimension=dimension)
            return
        current = self._catalog.space(name).dimension
        if existing["embedder"] != embedder or dimension not in (None, current):
            raise ConflictError(
                f"space {name!r} exists with embedder {existing['embedder']} and dimension {current}",
                space=name,
                embedder=existing["embedder"],
                dimension=current,
            )

    def delete(self, name: str) -> None:
        """Delete a space and all it holds. Raises NotFoundError; the default space comes back empty."""
        _refuse_internal(name)
        with self._lock:
            removed = self._on_delete(name)
            if name not in self._catalog.spaces():
                if removed:
                    return
                raise NotFoundError(f"there is no space {name!r}", space=name)
            self._catalog.delete_space(name)
            if name == DEFAULT_SPACE and self._identity is not None:
                self._create(name, "server", self._identity, self._dimension)

    def names(self) -> list[str]:
        return sorted(self._catalog.spaces().keys() - INTERNAL)


def _refuse_internal(name: str) -> None:
    if name in INTERNAL:
        raise NotFoundError(f"there is no space {name!r}", space=name)
