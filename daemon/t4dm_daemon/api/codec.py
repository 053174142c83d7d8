"""Bodies in and answers out: JSON or msgpack, strictly.

Incoming JSON must be what RFC 8259 says: UTF-8, no NaN, no lone surrogates. Integers of any size keep their
value. Outgoing metadata and values are the stored text, inserted as it is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn

import msgpack
import numpy as np
import orjson
from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from t4dm_daemon.api.errors import RefusedBodyError, RefusedRequestError
from t4dm_daemon.core.item import Item
from t4dm_daemon.memory import json_text, records

MSGPACK: Final = "application/msgpack"
LARGE_BODY_BYTES: Final = 64 * 1024
_MSGPACK_TYPES: Final = frozenset((MSGPACK, "application/x-msgpack", "application/vnd.msgpack"))
_SHAPE: Final = bytes(
    ord("0") if 0x30 <= byte <= 0x39 else byte if byte == ord(".") else ord(" ") for byte in range(256)
)
_LONG_INTEGER: Final = b" " + b"0" * 19
"""In a body whose digits are all 0 and whose other bytes but dots are spaces: the beginning of what may be an
integer beyond 64 bits, which orjson would turn into a float. Digits after a dot are a fraction's."""


def _refuse(code: str, message: str, status: int = 400) -> NoReturn:
    raise RefusedRequestError(status, code, message)


def read_json(body: bytes) -> Any:
    """Return the value of a JSON text; answers 400 with the place of the mistake."""
    try:
        if _LONG_INTEGER in body.translate(_SHAPE):
            value = json.loads(body.decode(), parse_constant=_no_constant)
            if b"\\u" in body:  # escapes may spell lone surrogates, which orjson refuses by itself
                json.dumps(value, ensure_ascii=False).encode()
            return value
        return orjson.loads(body)
    except UnicodeEncodeError:
        _refuse("invalid_utf8", "the body spells a lone surrogate, which is not valid Unicode")
    except UnicodeDecodeError as error:
        _refuse("invalid_utf8", f"the body is not UTF-8: byte {error.start} cannot be decoded")
    except orjson.JSONDecodeError as error:
        if "surrogate" in str(error):
            _refuse("invalid_utf8", "the body spells a lone surrogate, which is not valid Unicode")
        code = "invalid_utf8" if "utf-8" in str(error).lower() else "invalid_json"
        _refuse(code, f"the body is not JSON: {error}")
    except RecursionError:
        _refuse("invalid_json", "the body is nested too deeply")
    except ValueError as error:
        _refuse("invalid_json", f"the body is not JSON: {error}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def read_msgpack(body: bytes) -> Any:
    """Return the value of a msgpack body; answers 400 when it is not one."""
    try:
        return msgpack.unpackb(body, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        reason = str(error) or type(error).__name__
        _refuse("invalid_msgpack", f"the body is not msgpack: {reason}")


class _StrictRequest(Request):
    """A request whose body is read strictly, and whose msgpack looks like JSON to the framework.

    Large bodies are read and validated in a thread, so that the event loop goes on answering others; what the
    framework then gets is the finished model.
    """

    def __init__(self, request: Request, model: type[BaseModel], *, packed: bool) -> None:
        scope = request.scope
        if packed:
            headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
            scope = {**scope, "headers": [*headers, (b"content-type", b"application/json")]}
        super().__init__(scope, request.receive)
        self._model = model
        self._read = read_msgpack if packed else read_json

    async def json(self) -> Any:
        body = await self.body()
        if len(body) < LARGE_BODY_BYTES:
            return self._read(body)
        try:
            return await asyncio.to_thread(lambda: self._model.model_validate(self._read(body)))
        except ValidationError as error:
            facts = [
                {**fact, "loc": ("body", *fact["loc"])} for fact in error.errors(include_input=False, include_url=False)
            ]
            raise RefusedBodyError(facts) from None


class StrictRoute(APIRoute):
    """A route that takes JSON or msgpack and nothing else."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        model = None if self.body_field is None else self.body_field.field_info.annotation

        async def strict(request: Request) -> Response:
            if model is None:
                return await handler(request)
            encoding = request.headers.get("content-encoding", "").strip().lower()
            if encoding not in ("", "identity"):
                _refuse(
                    "unsupported_media_type",
                    f"send the body as it is, without Content-Encoding {encoding[:100]!r}",
                    415,
                )
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            packed = kind in _MSGPACK_TYPES
            if (
                not packed
                and kind != "application/json"
                and not (kind.startswith("application/") and kind.endswith("+json"))
            ):
                _refuse(
                    "unsupported_media_type",
                    f"send application/json or {MSGPACK}, not {kind[:100] or 'nothing'!r}",
                    415,
                )
            return await handler(_StrictRequest(request, model, packed=packed))

        return strict


def wants_msgpack(request: Request) -> bool:
    """Return whether the caller asked for msgpack answers."""
    accept = request.headers.get("accept", "")
    return "msgpack" in accept and any(kind in accept for kind in _MSGPACK_TYPES)


def memory_payload(
    item: Item,
    space: str,
    *,
    packed: bool,
    with_vector: bool = False,
    with_value: bool = True,
    status: str | None = None,
) -> Any:
    """Return a memory ready for `answer`: for JSON its finished text, for msgpack a dictionary.

    Args:
        item: The memory.
        space: Where it lives.
        packed: For msgpack: vectors as float32 bytes, JSON texts decoded.
        with_vector: Include the vector.
        with_value: Include the opaque value; null otherwise.
        status: What a store did.
    """
    payload = records.plain(item, space)
    if status is not None:
        payload["status"] = status
    if packed:
        payload["metadata"] = json_text.decode(item.metadata_json)
        payload["value"] = json_text.decode(item.value_json) if with_value else None
        if with_vector:
            payload["vector"] = None if item.vector is None else item.vector.astype("<f4", copy=False).tobytes()
        return payload
    payload["metadata"] = orjson.Fragment(item.metadata_json)
    payload["value"] = orjson.Fragment(item.value_json) if with_value else None
    if with_vector:
        payload["vector"] = None if item.vector is None else np.ascontiguousarray(item.vector)
    # One memory at a time: a list of thousands with vectors must not hold the interpreter in a single call.
    return orjson.Fragment(orjson.dumps(payload, option=orjson.OPT_SERIALIZE_NUMPY))


def json_payload(payload: Any, *, packed: bool) -> Any:
    """Return plain JSON ready for `answer`: for JSON as finished text, where integers of any size keep theirs."""
    if packed:
        return payload
    return orjson.Fragment(json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode())


def json_line(payload: Any) -> bytes:
    return orjson.dumps(payload, option=orjson.OPT_APPEND_NEWLINE)


def answer(request: Request, build: Callable[[bool], Any], *, status: int = 200) -> Response:
    """Return what `build(packed)` makes: msgpack when the caller asked for it, JSON otherwise.

    An integer beyond 64 bits does not exist in msgpack; such an answer is JSON all the same, so that it
    keeps its value. The Content-Type says which.
    """
    if wants_msgpack(request):
        try:
            return Response(msgpack.packb(build(True)), status, media_type=MSGPACK)
        except OverflowError:
            pass
    return Response(orjson.dumps(build(False)), status, media_type="application/json")
