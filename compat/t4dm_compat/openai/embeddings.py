"""Texts in, vectors out: what a request for embeddings means, and its answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn

from starlette.responses import Response

from t4dm.sdk.errors import ValidationError
from t4dm.sdk.vectors import to_base64, unpack
from t4dm_compat.openai.bodies import MAX_INPUT_CHARS, MAX_INPUTS, MAX_TOTAL_CHARS, EmbeddingsRequest
from t4dm_compat.openai.models import EmbeddingModel

_BULK_TEXTS: Final = 16
_BULK_CHARS: Final = 16_000
"""More than this lets single searches and stores go first."""
_TOKEN_IDS: Final = (
    "input holds token ids; they mean another tokenizer's words, so send the texts themselves. With langchain-openai: "
    "OpenAIEmbeddings(check_embedding_ctx_length=False)"
)


def texts_of(given: Any) -> list[str]:
    """Return the texts of `input`. Raises ValidationError (400) that says what to send instead."""
    if isinstance(given, str):
        return texts_of([given])
    if not isinstance(given, list):
        _refuse("input is a text or a list of texts")
    if not given:
        _refuse("input is empty: send at least one text")
    if _is_token(given[0]) or (isinstance(given[0], list) and (not given[0] or _is_token(given[0][0]))):
        _refuse(_TOKEN_IDS, "token_ids_not_supported")
    if len(given) > MAX_INPUTS:
        _refuse(f"input holds {len(given)} texts; send at most {MAX_INPUTS} in one request", "too_many_inputs")
    total = 0
    for number, text in enumerate(given):
        if not isinstance(text, str):
            _refuse(f"input[{number}] is not a text")
        if not text:
            _refuse(f"{_place(given, number)} is empty: every text has at least one character")
        if len(text) > MAX_INPUT_CHARS:
            _refuse(
                f"{_place(given, number)} has {len(text)} characters; send at most {MAX_INPUT_CHARS} in one text",
                "input_too_long",
            )
        total += len(text)
    if total > MAX_TOTAL_CHARS:
        _refuse(
            f"the texts have {total} characters together; send at most {MAX_TOTAL_CHARS} in one request",
            "input_too_long",
        )
    return given


def is_bulk(texts: Sequence[str]) -> bool:
    """Say whether these are so many that single texts of others should go first."""
    return len(texts) > _BULK_TEXTS or sum(map(len, texts)) > _BULK_CHARS


def embeddings_answer(
    embedder: EmbeddingModel, asked: EmbeddingsRequest, texts: Sequence[str], *, bulk: bool
) -> Response:
    """Embed the texts and return the finished answer."""
    if asked.dimensions not in (None, embedder.dimension):
        _refuse(
            f"dimensions={asked.dimensions} cannot be had: {embedder.id} has {embedder.dimension}, and shortening its "
            "vectors would make others of them than memories have",
            "dimensions_not_supported",
            field="dimensions",
        )
    vectors = embedder.embed(texts, bulk=bulk)
    counts = embedder.count_tokens(texts)
    usage = None if counts is None else {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
    body = b"".join(_parts(vectors, embedder.id, usage, is_text=asked.encoding_format == "base64"))
    return Response(body, media_type="application/json")


def _parts(vectors: Sequence[bytes], model: str, usage: Any, *, is_text: bool) -> Iterator[bytes]:
    """Yield the answer vector by vector: encoding thousands in one call would hold the interpreter for seconds."""
    yield b'{"object":"list","data":['
    for index, vector in enumerate(vectors):
        embedding = to_base64(vector) if is_text else unpack(vector)
        item = {"object": "embedding", "index": index, "embedding": embedding}
        yield (b"," if index else b"") + _json(item)
    yield b'],"model":' + _json(model) + b',"usage":' + _json(usage) + b"}"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _place(texts: Sequence[Any], number: int) -> str:
    return "input" if len(texts) == 1 else f"input[{number}]"


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _refuse(message: str, code: str = "invalid_value", *, field: str = "input") -> NoReturn:
    raise ValidationError(message, code=code, status=400, details={"field": field})
