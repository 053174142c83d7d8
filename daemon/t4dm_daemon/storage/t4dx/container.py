"""A file of named arrays and a little structured data.

    magic 8s "T4DXARR1" | header length u32 | CRC-32 of the header u32 | header (msgpack) | padding | arrays

The header is `{"meta": …, "arrays": {name: [dtype, shape, offset]}}`; offsets count from the start of the file
and are multiples of 64, so that mapped arrays are aligned. Whole-file checksums stand in the manifest.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import CorruptionError

_MAGIC: Final = b"T4DXARR1"
_HEAD: Final = struct.Struct("<8sII")
_ALIGNMENT: Final = 64


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def pack(meta: Any, arrays: Mapping[str, npt.NDArray[Any]]) -> list[bytes | memoryview]:
    """Return the parts of the file, in order."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}

    def header(start: int) -> tuple[bytes, int]:
        table, offset = {}, start
        for name, array in contiguous.items():
            offset = _aligned(offset)
            table[name] = (array.dtype.str, list(array.shape), offset)
            offset += array.nbytes
        packed: bytes = msgpack.packb({"meta": meta, "arrays": table})
        return packed, offset

    start, size = 0, -1
    while size != start:  # offsets stand in the header, whose length depends on them
        size, start = start, _aligned(_HEAD.size + len(header(start)[0]))
    packed, _ = header(start)
    parts: list[bytes | memoryview] = [_HEAD.pack(_MAGIC, len(packed), zlib.crc32(packed)), packed]
    offset = _HEAD.size + len(packed)
    for array in contiguous.values():
        padding = _aligned(max(offset, start)) - offset
        parts.append(bytes(padding))
        if array.nbytes:
            parts.append(array.data.cast("B"))
        offset += padding + array.nbytes
    return parts


def unpack(path: Path, content: memoryview) -> tuple[Any, dict[str, npt.NDArray[Any]]]:
    """Return the structured data, and read-only arrays that look into `content`.

    Raises:
        CorruptionError: It is not such a file.
    """
    try:
        magic, length, crc = _HEAD.unpack_from(content)
        packed = content[_HEAD.size : _HEAD.size + length]
        if magic != _MAGIC or zlib.crc32(packed) != crc:
            raise CorruptionError(f"{path}: the header of this file is damaged", file=str(path), offset=0)
        header = msgpack.unpackb(packed, strict_map_key=False)
        arrays = {
            name: np.frombuffer(content, np.dtype(kind), int(np.prod(shape)), offset).reshape(shape)
            for name, (kind, shape, offset) in header["arrays"].items()
        }
    except (struct.error, ValueError, KeyError) as error:
        raise CorruptionError(f"{path}: this file is damaged: {error}", file=str(path)) from error
    return header["meta"], arrays
