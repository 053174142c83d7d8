"""Small files of structured data, replaced as a whole: `magic 8s "T4DXDATA" | CRC-32 u32 | msgpack`."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, Final

import msgpack

from t4dm_daemon.core.errors import CorruptionError
from t4dm_daemon.storage.t4dx.fs import FileSystem

_MAGIC: Final = b"T4DXDATA"
_HEAD: Final = struct.Struct("<8sI")


def encode(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return _HEAD.pack(_MAGIC, zlib.crc32(packed)) + packed


def decode(path: Path, content: bytes) -> Any:
    """Return the value. Raises CorruptionError when the file is not what was written."""
    if len(content) < _HEAD.size:
        raise CorruptionError(f"{path}: {len(content)} bytes are too few; restore a backup", file=str(path))
    magic, crc = _HEAD.unpack_from(content)
    packed = content[_HEAD.size :]
    if magic != _MAGIC or zlib.crc32(packed) != crc:
        raise CorruptionError(f"{path}: its checksum is wrong; restore a backup", file=str(path))
    return msgpack.unpackb(packed, strict_map_key=False)


def read(fs: FileSystem, path: Path) -> Any:
    if not fs.exists(path):
        raise CorruptionError(f"{path}: this file is missing; restore a backup", file=str(path))
    return decode(path, fs.read(path))
