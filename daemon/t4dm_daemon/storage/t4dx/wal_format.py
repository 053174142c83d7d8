"""What is in the files of a write-ahead log, `NNNNNNNNNNNN.wal`, and how it is checked. All integers are little-endian.

File header, 64 bytes at offset 0:

    magic 8s "T4DXWAL1" | store id 16s | file number u64 | salt u64 | first LSN u64 | previous CRC u32 |
    CRC-32 of the 52 bytes before u32 | 8 bytes zero

In an authenticated log (`wal_mac`) the magic is "T4DXWALM", the header has 128 bytes, and its CRC covers all others:

    ... | CRC-32 u32 | key id 8s | last mac of the file before 32s | mac of this header 32s

Frames follow, one per group commit, without gaps:

    magic u32 | payload length u32 | salt u64 | first LSN u64 | records u32 | previous CRC u32 | CRC-32 u32 | payload

The CRC covers the header before it and the payload. `previous CRC` is that of the frame before (across files),
so a frame that is removed, repeated or moved breaks the chain. `salt` is random per file: bytes of an earlier
life of the disk block are never mistaken for frames. The payload is a run of records:

    length of body u32 | type u8 | transaction time i64 | body

and begins, in an authenticated log, with the frame's mac (32 bytes), so that the CRC covers it: a frame that is
whole by its CRC but not by its mac was not torn, it was forged, and recovery refuses.

Record i of a frame has LSN `first LSN + i`. The log ends at the first frame that does not check out. If any
later frame does, that is no torn tail but damage, and recovery refuses with CorruptionError.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from t4dm_daemon.core.errors import CorruptionError
from t4dm_daemon.storage.t4dx.wal_mac import KEY_ID_BYTES, MAC_BYTES, NO_MAC, LogKey

FILE_MAGIC: Final = b"T4DXWAL1"
FILE_HEADER: Final = struct.Struct("<8s16sQQQI")
FILE_HEADER_BYTES: Final = 64
MAC_MAGIC: Final = b"T4DXWALM"
MAC_HEADER: Final = struct.Struct(f"<{KEY_ID_BYTES}s{MAC_BYTES}s{MAC_BYTES}s")
MAC_HEADER_BYTES: Final = 128
CRC: Final = struct.Struct("<I")
FRAME_MAGIC: Final = 0x4D46_3454
_FRAME_MAGIC_BYTES: Final = struct.pack("<I", FRAME_MAGIC)
FRAME: Final = struct.Struct("<IIQQII")
FRAME_BYTES: Final = FRAME.size + CRC.size
RECORD: Final = struct.Struct("<IBq")


@dataclass(frozen=True, slots=True)
class Record:
    """One command in the log."""

    lsn: int
    type: int
    time: int
    body: memoryview


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What a log file says of itself; `chain` and `last_mac` are the CRC and the mac of the last frame before it."""

    store_id: bytes
    number: int
    salt: int
    first_lsn: int
    chain: int
    key_id: bytes = b""
    """Empty when the file is not authenticated; then the macs are `NO_MAC`."""
    last_mac: bytes = NO_MAC
    mac: bytes = NO_MAC
    signed: bytes = b""
    """What `mac` is of."""

    @property
    def size(self) -> int:
        return MAC_HEADER_BYTES if self.key_id else FILE_HEADER_BYTES

    def follows(self, end: LogEnd) -> bool:
        """Return whether the file goes on where another ends; one without macs cannot say by which mac."""
        is_next = (self.first_lsn, self.chain) == (end.lsn + 1, end.chain)
        return is_next and (not self.key_id or self.last_mac == end.mac)


@dataclass(frozen=True, slots=True)
class LogEnd:
    """The end of the frames of a log: its last LSN, the CRC and the mac of the last frame, and where that ends."""

    lsn: int = 0
    chain: int = 0
    mac: bytes = NO_MAC
    offset: int = 0


def read_header(content: memoryview) -> FileHeader | None:
    """Return the header of a log file, None when there is no whole one. Its mac is not checked: see `is_signed`."""
    if len(content) < FILE_HEADER_BYTES:
        return None
    magic, store_id, number, salt, first_lsn, chain = FILE_HEADER.unpack_from(content)
    (crc,) = CRC.unpack_from(content, FILE_HEADER.size)
    found = zlib.crc32(content[: FILE_HEADER.size])
    if magic == FILE_MAGIC and crc == found:
        return FileHeader(store_id, number, salt, first_lsn, chain)
    rest = content[FILE_HEADER_BYTES - KEY_ID_BYTES : MAC_HEADER_BYTES]
    if magic != MAC_MAGIC or len(rest) < MAC_HEADER.size or crc != zlib.crc32(rest, found):
        return None
    key_id, last_mac, mac = MAC_HEADER.unpack(rest)
    signed = bytes(content[: FILE_HEADER.size]) + key_id + last_mac
    return FileHeader(store_id, number, salt, first_lsn, chain, key_id, last_mac, mac, signed)


def is_signed(header: FileHeader, key: LogKey | None) -> bool:
    """Return whether a header's mac is right; True when it is of another key, or there is none to compare."""
    return key is None or header.key_id != key.id or key.is_mac(header.mac, header.signed)


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole frame: its last LSN, CRC and mac, where it ends, and the times of its first and last record."""

    last_lsn: int
    chain: int
    mac: bytes
    end: int
    first_time: int
    last_time: int


def frames(content: memoryview, key: LogKey | None = None) -> Iterator[Frame]:
    """Yield the frames of a log file with a whole header, as far as they follow one another.

    With the key that the file was written with, their macs are checked, too.
    """
    header = read_header(content)
    assert header is not None
    end = LogEnd(header.first_lsn - 1, header.chain, header.mac, header.size)
    while (found := check_frame(content, end.offset, header.salt)) is not None:
        first_lsn, count, payload_bytes, before, crc = found
        mac = mac_of(content, end.offset, payload_bytes, header, end.mac, key)
        if first_lsn != end.lsn + 1 or before != end.chain or mac is None:
            break
        at = end.offset + FRAME_BYTES + (MAC_BYTES if header.key_id else 0)
        times = []
        for _ in range(count):
            length, _, time = RECORD.unpack_from(content, at)
            times.append(time)
            at += RECORD.size + length
        end = LogEnd(end.lsn + count, crc, mac, end.offset + FRAME_BYTES + payload_bytes)
        yield Frame(end.lsn, crc, mac, end.offset, times[0], times[-1])


def end_of_file(content: memoryview, key: LogKey | None = None) -> LogEnd:
    """Return where the frames of a log file end; with the key that it was written with, its macs are checked, too."""
    header = read_header(content)
    assert header is not None
    end = LogEnd(header.first_lsn - 1, header.chain, header.mac, header.size)
    for frame in frames(content, key):
        end = LogEnd(frame.last_lsn, frame.chain, frame.mac, frame.end)
    return end


def mac_of(
    content: memoryview, offset: int, payload_bytes: int, header: FileHeader, before: bytes, key: LogKey | None
) -> bytes | None:
    """Return the mac of a whole frame (NO_MAC in a file without), None if it is not what the key makes of it."""
    if not header.key_id:
        return NO_MAC
    if payload_bytes < MAC_BYTES:
        return None
    start = offset + FRAME_BYTES + MAC_BYTES
    mac = bytes(content[start - MAC_BYTES : start])
    parts = before, content[offset : offset + FRAME.size], content[start : offset + FRAME_BYTES + payload_bytes]
    return mac if key is None or header.key_id != key.id or key.is_mac(mac, *parts) else None


def check_frame(content: memoryview, offset: int, salt: int | None) -> tuple[int, int, int, int, int] | None:
    """Return (first LSN, records, payload bytes, previous CRC, CRC) of a whole frame at `offset`, else None."""
    if offset + FRAME_BYTES > len(content):
        return None
    magic, payload_bytes, its_salt, first_lsn, count, chain = FRAME.unpack_from(content, offset)
    if magic != FRAME_MAGIC or (salt is not None and its_salt != salt):
        return None
    end = offset + FRAME_BYTES + payload_bytes
    if end > len(content):
        return None
    (crc,) = CRC.unpack_from(content, offset + FRAME.size)
    if crc != zlib.crc32(content[offset + FRAME_BYTES : end], zlib.crc32(content[offset : offset + FRAME.size])):
        return None
    return first_lsn, count, payload_bytes, chain, crc


def any_frame(content: memoryview, offset: int, salt: int | None, lsn: int) -> int | None:
    """Return the place of a whole frame from `offset` on with an LSN of at least `lsn`, None if there is none."""
    raw = bytes(content)
    at = raw.find(_FRAME_MAGIC_BYTES, offset)
    while at >= 0:
        found = check_frame(content, at, salt)
        if found is not None and found[0] >= lsn:
            return at
        at = raw.find(_FRAME_MAGIC_BYTES, at + 1)
    return None


def records_in(
    path: Path, content: memoryview, offset: int, payload_bytes: int, count: int
) -> Iterator[tuple[int, int, memoryview]]:
    end = offset + payload_bytes
    for _ in range(count):
        length, kind, time = RECORD.unpack_from(content, offset)
        offset += RECORD.size
        # A copy: the record outlives the mapping of the file.
        yield kind, time, memoryview(bytes(content[offset : offset + length]))
        offset += length
    if offset != end:
        raise CorruptionError(f"{path}: a frame's records do not fill it", file=str(path), offset=offset)
