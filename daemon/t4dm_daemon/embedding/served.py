"""What the daemon embeds with, as other people's clients ask for it: see `t4dm_compat.openai.EmbeddingModel`."""

from __future__ import annotations

import time
from collections.abc import Sequence

from t4dm_daemon.embedding.queue import EmbeddingQueue

_ALIASES = {"minilm": ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")}
_ELSEWHERE = "openai:"


class ServedEmbedder:
    """Embed through the queue and the cache that memories go through.

    Args:
        queue: Loaded.
        deadline_s: Longest wait for a few texts.
        bulk_deadline_s: Longest wait for many.
    """

    def __init__(self, queue: EmbeddingQueue, *, deadline_s: float, bulk_deadline_s: float) -> None:
        self._queue = queue
        self._deadline_s = deadline_s
        self._bulk_deadline_s = bulk_deadline_s
        self._loaded_at = int(time.time())

    @property
    def id(self) -> str:
        return self._queue.name

    @property
    def aliases(self) -> tuple[str, ...]:
        if self.id.startswith(_ELSEWHERE):
            return (self.id.removeprefix(_ELSEWHERE),)
        return _ALIASES.get(self.id, ())

    @property
    def identity(self) -> str:
        return self._queue.identity

    @property
    def dimension(self) -> int:
        return self._queue.dimension

    @property
    def loaded_at(self) -> int:
        return self._loaded_at

    def embed(self, texts: Sequence[str], *, bulk: bool) -> list[bytes]:
        """Return the vector of each text as little-endian float32."""
        timeout_s = self._bulk_deadline_s if bulk else self._deadline_s
        vectors = self._queue.embed(texts, bulk=bulk, timeout_s=timeout_s).astype("<f4", copy=False)
        return [vector.tobytes() for vector in vectors]

    def count_tokens(self, texts: Sequence[str]) -> list[int] | None:
        """Return the tokens of each text, None when the embedder has no tokenizer."""
        return self._queue.count_tokens(texts) if self._queue.has_tokenizer else None
