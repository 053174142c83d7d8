"""Vectors on the wire: packed little-endian float32 inside, a list of numbers or base64 in JSON.

Standard library only, so that the client needs no numpy; numpy arrays, `array.array` and anything else
with the buffer protocol or a `tolist` are accepted all the same.
"""

from __future__ import annotations

import base64
import binascii
import sys
from array import array
from math import inf, isfinite
from typing import cast


def pack(value: object) -> bytes:
    """Return a vector as little-endian float32 bytes.

    Args:
        value: A sequence of numbers, base64 text of float32 bytes, such bytes, or an array object.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except binascii.Error:
            raise ValueError("a vector given as text must be base64 of little-endian float32") from None
    if isinstance(value, bytes | bytearray):
        if len(value) % 4:
            raise ValueError(f"float32 bytes come in fours, these are {len(value)}")
        return bytes(value)
    if not isinstance(value, list | tuple):
        to_list = getattr(value, "tolist", None)
        value = to_list() if callable(to_list) else None
    if not isinstance(value, list | tuple):
        raise ValueError("a vector is a list of numbers, or base64 of little-endian float32")
    numbers = cast("list[float]", value)
    if not set(map(type, numbers)) <= {int, float}:
        raise ValueError("a vector holds only numbers")
    try:
        packed = array("f", numbers)
    except OverflowError:
        packed = array("f", [inf])
    if not all(map(isfinite, packed)):  # 1e39 is finite as a float64 and becomes infinite as a float32
        raise ValueError("a vector holds only finite float32 numbers")
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unpack(packed: bytes) -> list[float]:
    """Return the numbers of little-endian float32 bytes."""
    numbers = array("f")
    numbers.frombytes(packed)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def to_base64(packed: bytes) -> str:
    return base64.b64encode(packed).decode("ascii")
