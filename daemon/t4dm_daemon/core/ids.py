"""Identity: caller strings, and the 16-byte keys the engine indexes by."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
import uuid
from typing import Final

MAX_ID_BYTES: Final = 512
KEY_BYTES: Final = 16
_CANONICAL_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_lock = threading.Lock()
_last_ms = 0
_counter = 0


def key_of(item_id: str) -> bytes:
    """Return the 16-byte key of an id: the UUID itself, or BLAKE2b-128 of any other string.

    Only the canonical spelling counts as a UUID, so two different strings never share a key by spelling.
    """
    if len(item_id) == 36 and _CANONICAL_UUID.fullmatch(item_id):
        return bytes.fromhex(item_id.replace("-", ""))
    # Lone surrogates have a key, too: an id that cannot be stored is not found, and that is no error.
    return hashlib.blake2b(item_id.encode(errors="surrogatepass"), digest_size=KEY_BYTES).digest()


def digest_id(data: bytes) -> str:
    """Return a UUIDv8 (RFC 9562 §5.8) made from bytes: the same for the same bytes, on every machine."""
    number = int.from_bytes(hashlib.blake2b(data, digest_size=16).digest())
    number = number & ~(0xF << 76) & ~(0b11 << 62) | 0x8 << 76 | 0b10 << 62
    return str(uuid.UUID(int=number))


def new_id() -> str:
    """Return a fresh UUIDv7 (RFC 9562 §5.7): sortable by creation, monotonic within this process.

    The 12 bits of `rand_a` count ids of the same millisecond (method 1 of §6.2); when they run out, the
    millisecond is advanced, so order never breaks.
    """
    global _last_ms, _counter
    with _lock:
        now_ms = time.time_ns() // 1_000_000
        if now_ms > _last_ms:
            _last_ms, _counter = now_ms, int.from_bytes(os.urandom(1)) & 0x7F
        else:
            _counter += 1
            if _counter > 0xFFF:
                _last_ms, _counter = _last_ms + 1, 0
        ms, count = _last_ms, _counter
    tail = int.from_bytes(os.urandom(8)) & (2**62 - 1)
    number = (ms << 80) | (0x7 << 76) | (count << 64) | (0b10 << 62) | tail
    return str(uuid.UUID(int=number))
