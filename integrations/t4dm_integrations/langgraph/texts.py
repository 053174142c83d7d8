"""What items are found by: which of their texts are embedded, and who embeds them.

index=None                         the daemon embeds the whole value
index={"fields": […]}              the daemon embeds these fields
index={"dims", "embed", "fields"}  the caller's embedder does; scores are cosines, as in InMemoryStore
index=False                        nobody: a query has no effect, as in InMemoryStore without an index
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, cast

from langchain_core.embeddings import Embeddings
from langgraph.store.base import IndexConfig, PutOp, ensure_embeddings, get_text_at_path, tokenize_path

from t4dm.sdk import models as m
from t4dm_integrations.langgraph.records import MAX_TEXTS, Texts

_KNOWN: Final = frozenset(("dims", "embed", "fields"))
_WHOLE: Final = "$"
_PER_WILDCARD: Final = 4


class Indexing:
    """Say which texts of a value are embedded, and with what."""

    def __init__(self, config: IndexConfig | Literal[False] | None) -> None:
        """Read an index configuration.

        Raises:
            ValueError: It has keys that nobody would read, or an embedder without the number of its dimensions.
        """
        given = cast("Mapping[str, Any]", config or {})
        if unknown := [key for key in given if key not in _KNOWN and not key.startswith("__")]:
            raise ValueError(f"index has {', '.join(map(repr, unknown))}; it takes {', '.join(sorted(_KNOWN))}")
        self.config = config
        self.is_on = config is not False
        self.dims: int | None = given.get("dims")
        self.embeddings: Embeddings | None = None
        if given.get("embed") is not None:
            if self.dims is None:
                raise ValueError("index has an embedder and no dims: say how many numbers its vectors have")
            self.embeddings = ensure_embeddings(given["embed"])
        self._paths = [_tokens(path) for path in given.get("fields") or [_WHOLE]]

    @property
    def space(self) -> m.SpaceRequest:
        """What the space must be like."""
        embedder: Literal["client", "server"] = "server" if self.embeddings is None else "client"
        return m.SpaceRequest(embedder=embedder, dimension=self.dims)

    @property
    def expected(self) -> int:
        """About how many texts an item has."""
        wildcards = sum("*" in token for path in self._paths if isinstance(path, list) for token in path)
        return len(self._paths) + _PER_WILDCARD * wildcards

    def texts(self, op: PutOp) -> list[str]:
        """Return the different texts that an item is to be found by; none means that it is not indexed.

        Raises:
            ValueError: There are more than an item can have.
        """
        if not self.is_on or op.index is False or op.value is None:
            return []
        paths = self._paths if op.index is None else [_tokens(path) for path in op.index]
        found = dict.fromkeys(text for path in paths for text in get_text_at_path(op.value, path))
        if self.embeddings is None:  # the daemon does not embed what is blank
            found = dict.fromkeys(text for text in found if text.strip())
        if len(found) > MAX_TEXTS:
            raise ValueError(f"an item is found by at most {MAX_TEXTS} texts, not {len(found)}: index fewer fields")
        return list(found)

    def with_vectors(self, texts: Sequence[str], vectors: Mapping[str, Sequence[float]]) -> Texts:
        """Return the texts of an item with their vectors. What has no direction cannot be found, and is left out."""
        if self.embeddings is None:
            return Texts(texts)
        chosen = [text for text in texts if any(vectors[text])]
        return Texts(chosen, [vectors[text] for text in chosen])

    def checked(self, vector: Sequence[float]) -> list[float]:
        """Return an embedder's vector as plain numbers. Raises ValueError where it is not as long as `dims` says."""
        numbers = [float(one) for one in vector]
        if len(numbers) != self.dims:
            raise ValueError(f"the embedder made a vector of {len(numbers)} numbers, and index says dims={self.dims}")
        return numbers


def _tokens(path: str) -> str | list[str]:
    return path if path == _WHOLE else tokenize_path(path)
