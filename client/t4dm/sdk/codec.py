"""Bodies of requests and answers: JSON, or MessagePack for bodies that carry vectors.

MessagePack carries a vector as its raw float32 bytes, JSON as base64 of them (a third longer) in requests and
as numbers in answers (about eight times longer). msgpack is optional: without it everything is JSON.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from pydantic import BaseModel, JsonValue
from pydantic_core import PydanticSerializationError, from_json, to_json

from t4dm.sdk import models as m
from t4dm.sdk import ops_models as o
from t4dm.sdk.errors import ValidationError

if TYPE_CHECKING:
    import httpx

JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"

M = TypeVar("M", bound=BaseModel)
_Pack = Callable[[object], bytes]
_Unpack = Callable[[bytes], object]


class _Msgpack(Protocol):
    """The part of msgpack that is used; it brings no types of its own."""

    def packb(self, value: object, /, *, default: Callable[[object], object]) -> bytes: ...

    def unpackb(self, content: bytes, /, *, strict_map_key: bool) -> object: ...


@cache
def has_msgpack() -> bool:
    """Say whether msgpack can be imported, without importing it."""
    return importlib.util.find_spec("msgpack") is not None


@cache
def _msgpack() -> tuple[_Pack, _Unpack]:
    import msgpack

    module = cast("_Msgpack", msgpack)
    return (
        lambda value: module.packb(value, default=_time_text),
        lambda content: module.unpackb(content, strict_map_key=False),
    )


def _time_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"msgpack cannot carry {type(value).__name__}")


def encode(body: BaseModel | JsonValue, *, binary: bool = True) -> tuple[bytes, str]:
    """Return a body and its content type.

    Args:
        body: A request model, of which only the fields that were given travel, or plain JSON.
        binary: Whether MessagePack may be used; it is when the body holds vectors and msgpack is installed.

    Raises:
        ValidationError: The body holds what JSON cannot carry.
    """
    if isinstance(body, BaseModel):
        note_given(body)
        if binary and _has_vectors(body) and has_msgpack():
            pack, _ = _msgpack()
            # msgpack cannot carry an integer beyond 64 bits, which `metadata` or `value` may hold; JSON can.
            with suppress(OverflowError, TypeError, ValueError):
                return pack(body.model_dump(mode="python", by_alias=True, exclude_unset=True)), MSGPACK
    try:
        if isinstance(body, BaseModel):
            return body.model_dump_json(by_alias=True, exclude_unset=True).encode(), JSON
        return to_json(body, inf_nan_mode="constants"), JSON
    except (PydanticSerializationError, UnicodeEncodeError, RecursionError) as error:
        raise ValidationError(f"the body cannot be written as JSON: {error}", code="validation_error") from error


def decode(response: httpx.Response, model: type[M]) -> M:
    """Return an answer as a model. Raises ValueError (pydantic's included) if it is none."""
    if media_type(response) == MSGPACK:
        _, unpack = _msgpack()
        return model.model_validate(unpack(response.content))
    return model.model_validate_json(response.content)


def decode_any(response: httpx.Response) -> JsonValue:
    """Return an answer as plain JSON. Raises ValueError if it is none."""
    if media_type(response) == MSGPACK:
        _, unpack = _msgpack()
        return cast("JsonValue", unpack(response.content))
    return cast("JsonValue", from_json(response.content))


def media_type(response: httpx.Response) -> str:
    content_type: str = response.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower()


def note_given(body: BaseModel) -> None:
    """Count containers that were filled in place (`record.metadata["a"] = 1`) as given."""
    fields: dict[str, Any] = vars(body)
    given = body.model_fields_set
    given.update(name for name, value in fields.items() if isinstance(value, list | dict) and value)
    if isinstance(body, m.BatchRequest):
        for record in body.records:
            note_given(record)
    if isinstance(body, o.OpsRequest):
        for op in body.ops:
            note_given(op)


def _has_vectors(body: BaseModel) -> bool:
    if isinstance(body, m.BatchRequest):
        return any(record.vector is not None for record in body.records)
    if isinstance(body, o.OpsRequest):
        return any(getattr(op, "vector", None) is not None for op in body.ops)
    return getattr(body, "vector", None) is not None
