"""The types of the wire: times, ids, labels, contents, vectors, and what each of them refuses."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    PlainSerializer,
    Strict,
    WithJsonSchema,
)

from t4dm.sdk.vectors import pack, to_base64, unpack

Kind = Literal["episodic", "semantic", "procedural"]
"""episodic: an event · semantic: a fact · procedural: how something is done."""

OnConflict = Literal["replace", "merge", "error"]
SearchMode = Literal["hybrid", "vector", "lexical", "graph"]
Include = Literal["vector", "value", "explain"]
OrderBy = Literal["created_at", "-created_at", "event_time", "-event_time", "insertion", "-insertion"]
HistoryEvent = Literal["ADD", "UPDATE", "DELETE", "SUPERSEDE", "CONSOLIDATE"]

MAX_ID_BYTES = 512
MAX_LABEL_BYTES = 512
MAX_CONTENT_CHARS = 999_999
MAX_CONTENT_BYTES = 1024 * 1024
MAX_METADATA_BYTES = 64 * 1024
MAX_VALUE_BYTES = 8 * 1024 * 1024
MAX_DIMENSION = 16_384
MAX_BATCH = 10_000
MAX_K = 1000
MAX_LIMIT = 10_000
MAX_TTL_S = 100 * 366 * 86_400

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)?|\d{4}-\d\d-\d\d", re.ASCII
)


def parse_time(value: object) -> datetime:
    """Accept RFC 3339 text (or a date, or no zone, which is UTC) and datetimes; numbers are refused."""
    if isinstance(value, str):
        if not _RFC3339.fullmatch(value):
            raise ValueError("times are RFC 3339, for example 2026-05-01T12:00:00Z")
        value = datetime.fromisoformat(value.upper())
    if not isinstance(value, datetime):
        raise ValueError("times are RFC 3339 text, for example 2026-05-01T12:00:00Z")
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time lies outside the years 1 to 9999 in UTC") from None


def _time_text(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


def _check_utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds a lone surrogate, which is not valid Unicode") from None
    return text


def _check_id(text: str) -> str:
    if not text:
        raise ValueError("an id is not empty")
    if len(_check_utf8(text).encode()) > MAX_ID_BYTES:
        raise ValueError(f"an id has at most {MAX_ID_BYTES} bytes of UTF-8")
    return text


def _check_label(text: str) -> str:
    if not text:
        raise ValueError("a label is not empty")
    if len(_check_utf8(text).encode()) > MAX_LABEL_BYTES:
        raise ValueError(f"a label has at most {MAX_LABEL_BYTES} bytes of UTF-8")
    return text


def _check_content(text: str) -> str:
    if len(text) > MAX_CONTENT_CHARS or len(_check_utf8(text).encode()) > MAX_CONTENT_BYTES:
        raise ValueError(
            f"content has at most {MAX_CONTENT_CHARS} characters and {MAX_CONTENT_BYTES} bytes of UTF-8; "
            "split it into several memories"
        )
    return text


def _packed_vector(value: object) -> bytes:
    packed = pack(value)
    if not packed:
        raise ValueError("a vector is not empty")
    if len(packed) > MAX_DIMENSION * 4:
        raise ValueError(f"a vector has at most {MAX_DIMENSION} numbers, this one has {len(packed) // 4}")
    return packed


def _vector_numbers(value: object) -> object:
    return unpack(pack(value)) if isinstance(value, bytes | str) else value


def _check_json(value: JsonValue) -> JsonValue:
    """Refuse what JSON cannot carry, so that a value comes back exactly as given or not at all."""
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            _check_utf8(part)
        elif isinstance(part, float):
            if not isfinite(part):
                raise ValueError(f"JSON has no {part}; give a finite number or null")
        elif isinstance(part, dict):
            pending.extend(part)
            pending.extend(part.values())
        elif isinstance(part, list):
            pending.extend(part)
    return value


def _check_object(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    _check_json(value)
    return value


_VECTOR_SCHEMA = {
    "anyOf": [
        {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": MAX_DIMENSION},
        {"type": "string", "format": "byte", "description": "base64 of little-endian float32"},
    ]
}
Time = Annotated[datetime, BeforeValidator(parse_time), PlainSerializer(_time_text, when_used="json")]
Id = Annotated[str, AfterValidator(_check_id), Field(max_length=MAX_ID_BYTES)]
Label = Annotated[str, AfterValidator(_check_label), Field(min_length=1, max_length=MAX_LABEL_BYTES)]
Content = Annotated[str, AfterValidator(_check_content), Field(max_length=MAX_CONTENT_CHARS)]
SpaceName = Annotated[str, AfterValidator(_check_label), Field(min_length=1, max_length=MAX_LABEL_BYTES)]
Vector = Annotated[
    bytes,
    BeforeValidator(_packed_vector),
    PlainSerializer(to_base64, when_used="json"),
    WithJsonSchema(_VECTOR_SCHEMA),
]
"""A vector in a request: give a list of numbers, a numpy array, float32 bytes, or base64 of them."""

VectorNumbers = Annotated[list[float], BeforeValidator(_vector_numbers)]
Json = Annotated[JsonValue, AfterValidator(_check_json)]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(_check_object)]
Bool = Annotated[bool, Strict()]
Int = Annotated[int, Strict()]
Float = Annotated[float, Strict()]
"""Of their own JSON type: "1" is not a number and 0 is not false."""
Unit = Annotated[float, Strict(), Field(ge=0, le=1)]
