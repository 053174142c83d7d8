"""JSON text that keeps what the caller wrote: number for number, key for key."""

from __future__ import annotations

import json
from typing import Any, Final

from t4dm_daemon.core.errors import InvalidInputError

MAX_DEPTH: Final = 64


def encode(value: Any, *, field: str, max_bytes: int) -> bytes:
    """Return compact UTF-8 JSON.

    Raises:
        InvalidInputError: Not JSON (NaN, infinity, a lone surrogate), too deep or too large.
    """
    _check_depth(value, field)
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"{field} holds a lone surrogate, which is not valid Unicode", field=field) from None
    except ValueError as error:
        raise InvalidInputError(f"{field} is not JSON: {error}", field=field) from None
    if len(text) > max_bytes:
        raise InvalidInputError(
            f"{field} has {len(text)} bytes, the limit is {max_bytes}",
            field=field,
            size_bytes=len(text),
            max_bytes=max_bytes,
        )
    return text


def decode(text: bytes) -> Any:
    return json.loads(text)


def _check_depth(value: Any, field: str) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise InvalidInputError(f"{field} is nested deeper than {MAX_DEPTH} levels", field=field, max_depth=MAX_DEPTH)
