"""The routes: one function for each method of the clients, from its arguments to a `Call`.

A call says everything about one exchange and does nothing: both clients carry it out.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import BaseModel, JsonValue

from t4dm.sdk import models as m
from t4dm.sdk import recall_models as r
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.codec import decode, decode_any
from t4dm.sdk.errors import ValidationError

T = TypeVar("T")
A = TypeVar("A", bound=BaseModel)

_MEMORY: Final = "/api/v1/memory"
_SPACES: Final = "/api/v1/spaces"
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_KEY: Final = 255


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One exchange.

    Attributes:
        path: Percent-encoded, below the base URL.
        read: Makes the result from a successful answer; raises ValueError if it is not what was promised.
        is_repeatable: Whether a second request does no harm after a first one whose fate is unknown.
        wants_vectors: Whether the answer may hold vectors, which are better carried as MessagePack.
        also_read: Error statuses whose answers are results all the same.
        is_retried: Whether the retry policy applies at all.
        timeout_s: The longest wait in each try, where it is shorter than the client's.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    params: Mapping[str, str | list[str]] = field(default_factory=dict[str, str | list[str]])
    body: BaseModel | JsonValue = None
    idempotency_key: str | None = None
    is_repeatable: bool = False
    wants_vectors: bool = False
    also_read: frozenset[int] = frozenset()
    is_retried: bool = True
    timeout_s: float | None = None


def store(request: m.StoreRequest, idempotency_key: str | None) -> Call[m.Memory]:
    return Call(
        "POST",
        f"{_MEMORY}/store",
        answer_as(m.Memory),
        body=request,
        idempotency_key=checked_key(idempotency_key),
        is_repeatable=True,
    )


def batch(request: m.BatchRequest) -> Call[m.BatchAnswer]:
    key = None if request.idempotency_key is not None else checked_key(None)
    return Call(
        "POST", f"{_MEMORY}/batch", answer_as(m.BatchAnswer), body=request, idempotency_key=key, is_repeatable=True
    )


def get(
    memory_id: str, space: str, as_of: datetime | None, known_at: datetime | None, include_vector: bool
) -> Call[m.Memory]:
    params = in_space(space)
    if as_of is not None:
        params["as_of"] = time_text(as_of)
    if known_at is not None:
        params["known_at"] = time_text(known_at)
    if include_vector:
        params["include_vector"] = "true"
    return Call(
        "GET",
        memory_path(memory_id),
        answer_as(m.Memory),
        params=params,
        is_repeatable=True,
        wants_vectors=include_vector,
    )


def get_many(request: m.GetRequest) -> Call[builtins.list[m.Memory]]:
    return Call(
        "POST",
        f"{_MEMORY}/get",
        lambda response: decode(response, m.MemoryList).results,
        body=request,
        is_repeatable=True,
        wants_vectors=request.include_vectors,
    )


def search(request: m.SearchRequest) -> Call[m.SearchAnswer]:
    return Call(
        "POST",
        f"{_MEMORY}/search",
        answer_as(m.SearchAnswer),
        body=request,
        is_repeatable=True,
        wants_vectors="vector" in request.include,
    )


def context(request: r.ContextRequest) -> Call[r.ContextAnswer]:
    return Call("POST", "/api/v1/context", answer_as(r.ContextAnswer), body=request, is_repeatable=True)


def pin(request: r.PinRequest) -> Call[int]:
    return Call(
        "POST",
        f"{_MEMORY}/pin",
        lambda response: decode(response, r.PinAnswer).pinned,
        body=request,
        is_repeatable=True,
    )


def feedback(request: r.FeedbackRequest) -> Call[int]:
    return Call(
        "POST", f"{_MEMORY}/feedback", lambda response: decode(response, r.FeedbackAnswer).recorded, body=request
    )


def list_memories(request: m.ListRequest) -> Call[m.ListAnswer]:
    return Call(
        "POST",
        f"{_MEMORY}/list",
        answer_as(m.ListAnswer),
        body=request,
        is_repeatable=True,
        wants_vectors=request.include_vectors,
    )


def update(memory_id: str, request: m.UpdateRequest, space: str) -> Call[m.Memory]:
    return Call("PATCH", memory_path(memory_id), answer_as(m.Memory), params=in_space(space), body=request)


def delete(memory_id: str, space: str, purge: bool) -> Call[None]:
    params = in_space(space) | ({"purge": "true"} if purge else {})
    return Call("DELETE", memory_path(memory_id), nothing, params=params)


def delete_many(request: m.DeleteRequest) -> Call[m.DeleteAnswer]:
    return Call("POST", f"{_MEMORY}/delete", answer_as(m.DeleteAnswer), body=request, is_repeatable=request.dry_run)


def history(memory_id: str, space: str) -> Call[builtins.list[m.HistoryEntry]]:
    return Call(
        "GET",
        f"{memory_path(memory_id)}/history",
        lambda response: decode(response, m.HistoryAnswer).results,
        params=in_space(space),
        is_repeatable=True,
    )


def touch(request: m.TouchRequest) -> Call[int]:
    return Call("POST", f"{_MEMORY}/touch", lambda response: decode(response, m.TouchAnswer).touched, body=request)


def export(space: str | None, include_vectors: bool) -> Call[None]:
    params = {} if space is None else in_space(space)
    params["include_vectors"] = "true" if include_vectors else "false"
    return Call("GET", "/api/v1/export", nothing, params=params, is_repeatable=True)


def create_space(name: str, request: m.SpaceRequest | None) -> Call[m.Space]:
    return Call("PUT", _space(name), answer_as(m.Space), body=m.SpaceRequest() if request is None else request)


def get_space(name: str) -> Call[m.Space]:
    return Call("GET", _space(name), answer_as(m.Space), is_repeatable=True)


def list_spaces() -> Call[builtins.list[m.Space]]:
    return Call("GET", _SPACES, lambda response: decode(response, m.SpaceList).results, is_repeatable=True)


def delete_space(name: str) -> Call[None]:
    return Call("DELETE", _space(name), nothing)


def stats() -> Call[m.Stats]:
    return Call("GET", "/api/v1/stats", answer_as(m.Stats), is_repeatable=True)


def health() -> Call[m.HealthReport]:
    return Call("GET", "/api/v1/health", answer_as(m.HealthReport), is_repeatable=True)


def version() -> Call[m.VersionInfo]:
    return Call("GET", "/version", answer_as(m.VersionInfo), is_repeatable=True)


def ready(timeout_s: float | None = None) -> Call[m.Readiness]:
    return Call(
        "GET",
        "/readyz",
        answer_as(m.Readiness),
        is_repeatable=True,
        also_read=frozenset({503}),
        is_retried=False,
        timeout_s=timeout_s,
    )


def raw(
    method: str,
    path: str,
    params: Mapping[str, str | int | float | bool] | None,
    json: JsonValue,
    idempotency_key: str | None,
) -> Call[JsonValue]:
    """Call a route that has no method of its own."""
    if not path.startswith("/"):
        raise ValidationError(f"a path starts with /, this one is {path!r}", code="validation_error")
    texts = {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in (params or {}).items()
    }
    verb = method.upper()
    return Call(
        verb,
        path,
        lambda response: decode_any(response) if response.content else None,
        params=texts,
        body=json,
        idempotency_key=None if idempotency_key is None else checked_key(idempotency_key),
        is_repeatable=verb in _READING or idempotency_key is not None,
    )


def answer_as(model: type[A]) -> Callable[[httpx.Response], A]:
    return lambda response: decode(response, model)


def nothing(response: httpx.Response) -> None:
    del response


def segment(text: str) -> str:
    """Return a name as one segment of a path.

    A slash travels as %2F. `.` and `..` would be resolved away by URL libraries; written as %2E they are not,
    and a server decodes them like any other character.
    """
    if not text.strip("."):
        return text.replace(".", "%2E")
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise ValidationError(
            f"{text!a} holds a lone surrogate, which is not valid Unicode", code="validation_error"
        ) from None


def _is_text(value: object) -> bool:
    """Return whether it is a string that is not empty: callers without a type checker give anything."""
    return isinstance(value, str) and value != ""


def memory_path(memory_id: str) -> str:
    return record_path(_MEMORY, memory_id)


def record_path(place: str, record_id: str) -> str:
    if not _is_text(record_id):
        raise ValidationError("an id is a string, and not empty", code="validation_error")
    return f"{place}/{segment(record_id)}"


def _space(name: str) -> str:
    if not _is_text(name):
        raise ValidationError("the name of a space is a string, and not empty", code="validation_error")
    return f"{_SPACES}/{segment(name)}"


def in_space(space: str) -> dict[str, str | list[str]]:
    if not _is_text(space):
        raise ValidationError("the name of a space is a string, and not empty", code="validation_error")
    segment(space)  # refuses what is not Unicode
    return {"space": space}


def time_text(moment: datetime) -> str:
    """Return RFC 3339 UTC; a time without a zone is UTC, as everywhere in T4DM."""
    with as_validation_error():
        zoned = m.TimeRange(to=moment).to
    assert zoned is not None
    return zoned.astimezone(UTC).isoformat().replace("+00:00", "Z")


def checked_key(key: str | None) -> str:
    """Return the key, or a fresh one, so that a request whose answer got lost can be sent again."""
    if key is None:
        return uuid4().hex
    if not _is_text(key) or not (len(key) <= _MAX_KEY and key.isascii() and key.isprintable()):
        raise ValidationError(
            f"an idempotency key has 1 to {_MAX_KEY} printable ASCII characters", code="validation_error"
        )
    return key
