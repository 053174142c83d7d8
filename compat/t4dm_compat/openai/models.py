"""The models that a daemon has, as this router needs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeVar

T = TypeVar("T")

LanguageState = Literal["absent", "loading", "ready", "failed"]


class EmbeddingModel(Protocol):
    """What the daemon embeds with: the same model and the same cache as for memories. Thread-safe.

    It has no longest text: what is longer than its window is split and pooled, never cut.
    """

    @property
    def id(self) -> str:
        """The name under which clients ask for it."""
        ...

    @property
    def aliases(self) -> Sequence[str]:
        """More names of the same model."""
        ...

    @property
    def identity(self) -> str:
        """Name and version of the weights; vectors of equal identity are comparable."""
        ...

    @property
    def dimension(self) -> int: ...

    @property
    def loaded_at(self) -> int:
        """When this daemon loaded it, as a Unix time."""
        ...

    def embed(self, texts: Sequence[str], *, bulk: bool) -> list[bytes]:
        """Return the vector of each text as little-endian float32; bulk lets others go first."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        """Return the tokens of each text, None when it has no tokenizer to tell."""
        ...


class Models(Protocol):
    """How a route reaches the models of the running daemon."""

    async def with_embedder(self, work: Callable[[EmbeddingModel], T], /, *, bulk: bool = False) -> T:
        """Run work with the embedding model, off the event loop; what it raises is answered in the door's shape."""
        ...

    @property
    def language_state(self) -> LanguageState:
        """Whether a language model can answer."""
        ...
