"""A server that speaks OpenAI's `POST /embeddings`: OpenAI, Ollama, vLLM, llama.cpp, text-embeddings-inference.

Sent: {"model", "input": [text, ...]}. Answered: {"data": [{"index", "embedding"}, ...]}, where an embedding is
a list of numbers or the base64 of little-endian float32.

Servers like to repeat the input in an error. So no part of an answer is in a message or a log line: its
beginning is `details["answer"]` of the error, which the caller sees and nobody logs.
"""

from __future__ import annotations

import base64
import binascii
import logging
import threading
from collections.abc import Sequence
from typing import Any, Final

import httpx
import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import EmbeddingError
from t4dm_daemon.embedding.base import RefusedTextsError
from t4dm_daemon.embedding.pooling import pool, split_text, unit_rows

logger = logging.getLogger(__name__)

_RETRIED: Final = frozenset({429, 500, 502, 503, 504})
_TOO_LONG: Final = frozenset({400, 413, 422})  # what servers answer to texts beyond their limits
_SHORTEST_SPLIT_BYTES: Final = 256
_LONGEST_PAUSE_S: Final = 30.0
_EXCERPT_CHARS: Final = 300


class OpenAICompatible:
    """Embed through a server. Its answers are scaled to unit length; the dimension is asked for in `load()`.

    A text of more than `max_text_bytes` of UTF-8 is split and pooled; with byte-level tokens that stays below
    the 8191 tokens of OpenAI's models. A text that the server refuses is halved and tried again, down to 256
    bytes. A server that cuts texts silently (Ollama with a small context) cannot be noticed: give it the context.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key: str | None = None,
        batch: int = 32,
        timeout_s: float = 60.0,
        attempts: int = 5,
        backoff_s: float = 0.5,
        max_text_bytes: int = 6000,
    ) -> None:
        self._model = model
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._api_key = api_key
        self._batch = batch
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._backoff_s = backoff_s
        self._max_text_bytes = max_text_bytes
        self._closing = threading.Event()
        self._client: httpx.Client | None = None
        self._dimension = 0

    @property
    def name(self) -> str:
        return f"openai:{self._model}"

    @property
    def identity(self) -> str:
        """The name alone: a server does not tell the version of its weights."""
        return self.name

    @property
    def dimension(self) -> int:
        if not self._dimension:
            raise EmbeddingError(f"embedder {self.name} is not loaded: call load() first")
        return self._dimension

    def load(self) -> None:
        """Connect, and learn the dimension from one short text."""
        if self._dimension:
            return
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        try:
            self._client = httpx.Client(headers=headers, timeout=self._timeout_s)
            self._dimension = int(self._request(["dimension"]).shape[1])
        except (EmbeddingError, RefusedTextsError) as error:
            if self._client is not None:
                self._client.close()
                self._client = None
            if isinstance(error, RefusedTextsError):  # who refuses "dimension" embeds nothing
                raise EmbeddingError(error.message, **error.details) from error
            raise

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one unit vector per text, (len(texts), dimension). Long texts are split and pooled."""
        dimension = self.dimension
        pieces: list[str] = []
        owners: list[int] = []
        weights: list[int] = []
        for owner, text in enumerate(texts):
            for piece, size in split_text(text.encode("utf-8", "replace").decode(), self._max_text_bytes, _utf8_bytes):
                pieces.append(piece)
                owners.append(owner)
                weights.append(size)
        vectors = np.empty((len(pieces), dimension), np.float32)
        for start in range(0, len(pieces), self._batch):
            batch = pieces[start : start + self._batch]
            vectors[start : start + len(batch)] = self._embed_batch(batch)
        return pool(vectors, owners, weights, len(texts))

    def close(self) -> None:
        """Close the connections; a call that waits to try again gives up."""
        self._closing.set()
        if self._client is not None:
            self._client.close()

    def _embed_batch(self, pieces: list[str]) -> npt.NDArray[np.float32]:
        """Embed one batch; if the server refuses it for its size, in halves."""
        try:
            vectors = self._request(pieces)
        except RefusedTextsError:
            if len(pieces) > 1:
                middle = len(pieces) // 2
                return np.concatenate([self._embed_batch(pieces[:middle]), self._embed_batch(pieces[middle:])])
            size = _utf8_bytes(pieces[0])
            if size <= _SHORTEST_SPLIT_BYTES:
                raise
            parts = split_text(pieces[0], -(-size // 2), _utf8_bytes)
            halves = np.concatenate([self._embed_batch([part]) for part, _ in parts])
            return pool(halves, [0] * len(parts), [part_size for _, part_size in parts], 1)
        if vectors.shape[1] != self._dimension:
            raise EmbeddingError(
                f"{self._url} answered vectors of dimension {vectors.shape[1]}, at first it was {self._dimension}",
                expected=self._dimension,
                found=int(vectors.shape[1]),
            )
        return vectors

    def _request(self, pieces: list[str]) -> npt.NDArray[np.float32]:
        """Return (len(pieces), D) unit vectors, trying again when the server is busy or does not answer."""
        # Some servers refuse an empty input; a space is as empty to a model.
        body = {"model": self._model, "input": [piece or " " for piece in pieces]}
        cause: httpx.TransportError | None = None
        details: dict[str, Any] = {}
        for attempt in range(1, self._attempts + 1):
            if self._client is None or self._closing.is_set():
                raise EmbeddingError(f"embedder {self.name} is closed")
            pause_s = self._backoff_s * 2 ** (attempt - 1)
            try:
                answer = self._client.post(self._url, json=body)
            except httpx.TransportError as error:
                # Other transport errors may quote what the server sent.
                cause = error if isinstance(error, httpx.ConnectError) else None
                reason, details = f"no answer ({type(error).__name__}{f': {cause}' if cause else ''})", {}
            except (httpx.InvalidURL, httpx.HTTPError, RuntimeError) as error:  # RuntimeError: closed meanwhile
                raise EmbeddingError(f"{self._url} cannot be asked: {error}", url=self._url) from error
            else:
                if answer.is_success:
                    return self._vectors(answer, len(pieces))
                if answer.status_code not in _RETRIED:
                    self._raise_refusal(answer)
                reason, details, cause = _outline(answer), self._details(answer), None
                pause_s = max(pause_s, _seconds(answer.headers.get("retry-after")))
            if attempt < self._attempts:
                logger.info("embedding server busy", extra={"url": self._url, "attempt": attempt, "reason": reason})
                self._closing.wait(min(pause_s, _LONGEST_PAUSE_S))
        raise EmbeddingError(
            f"{self._url} did not embed after {self._attempts} attempts, last {reason}: is the server running, and is "
            f"this its base URL?",
            **{"url": self._url, **details},
        ) from cause

    def _raise_refusal(self, answer: httpx.Response) -> None:
        hints = {401: "check the API key", 403: "check the API key", 404: "check the base URL and the model's name"}
        hint = hints.get(answer.status_code, f"is {self._model!r} an embedding model of this server?")
        kind = RefusedTextsError if answer.status_code in _TOO_LONG else EmbeddingError
        raise kind(f"{self._url} answered {_outline(answer)}: {hint}", **self._details(answer))

    def _details(self, answer: httpx.Response) -> dict[str, Any]:
        text = answer.text.replace(self._api_key, "***") if self._api_key else answer.text
        return {"url": self._url, "status": answer.status_code, "answer": text[:_EXCERPT_CHARS].strip()}

    def _vectors(self, answer: httpx.Response, count: int) -> npt.NDArray[np.float32]:
        try:
            rows = answer.json()["data"]
            order = sorted(range(len(rows)), key=lambda place: int(rows[place].get("index", place)))
            vectors = np.stack([_decode(rows[place]["embedding"]) for place in order])
            if len(vectors) != count or vectors.ndim != 2 or vectors.shape[1] == 0:
                raise ValueError(f"{count} vectors asked for, shape of the answer {vectors.shape}")
            return unit_rows(vectors)
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise EmbeddingError(
                f"{self._url} did not answer as /embeddings does ({type(error).__name__}), but {_outline(answer)}",
                **self._details(answer),
            ) from None  # numpy and json quote what they cannot read


def _outline(answer: httpx.Response) -> str:
    return f"status {answer.status_code} and {len(answer.content)} bytes"


def _decode(embedding: Any) -> npt.NDArray[np.float32]:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
    return np.asarray(embedding, np.float32)


def _utf8_bytes(text: str) -> int:
    return len(text.encode())


def _seconds(header: str | None) -> float:
    """Return the seconds of a Retry-After header; 0 for none, or for a date."""
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0
