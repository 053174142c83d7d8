"""Vectors of texts embedded before, within a bound of bytes.

Keys are 16 bytes of blake2b over the embedder's identity and the text, so no text is held. Invariants, under
`_lock`: `_size_bytes` is the sum over entries of what `_entry_bytes` says; after `put`, it is at most the bound.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

# The array object, the key and the dictionary's slot, beside the vector's own bytes (CPython 3.11, 64 bit).
_OVERHEAD_BYTES: Final = 280


@dataclass(frozen=True, slots=True)
class CacheStats:
    hits: int
    misses: int
    entries: int
    size_bytes: int


class VectorCache:
    """Keep the vectors used last, by identity and text, in at most `max_bytes`. Thread-safe; 0 keeps none."""

    def __init__(self, max_bytes: int = 64 * 2**20) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._vectors: OrderedDict[bytes, npt.NDArray[np.float32]] = OrderedDict()
        self._size_bytes = 0
        self._hits = 0
        self._misses = 0

    def get(self, identity: str, text: str) -> npt.NDArray[np.float32] | None:
        """Return the vector, (D,) and read-only, or None."""
        key = _key(identity, text)
        with self._lock:
            vector = self._vectors.get(key)
            if vector is None:
                self._misses += 1
            else:
                self._hits += 1
                self._vectors.move_to_end(key)
            return vector

    def put(self, identity: str, text: str, vector: npt.NDArray[np.float32]) -> None:
        """Keep a copy of `vector`, and forget the ones unused longest beyond the bound."""
        kept = np.array(vector, np.float32)
        kept.flags.writeable = False
        if _entry_bytes(kept) > self._max_bytes:
            return
        key = _key(identity, text)
        with self._lock:
            old = self._vectors.pop(key, None)
            if old is not None:
                self._size_bytes -= _entry_bytes(old)
            self._vectors[key] = kept
            self._size_bytes += _entry_bytes(kept)
            while self._size_bytes > self._max_bytes:
                self._size_bytes -= _entry_bytes(self._vectors.popitem(last=False)[1])

    def clear(self) -> None:
        """Forget all vectors; hits and misses go on counting."""
        with self._lock:
            self._vectors.clear()
            self._size_bytes = 0

    def stats(self) -> CacheStats:
        with self._lock:
            return CacheStats(self._hits, self._misses, len(self._vectors), self._size_bytes)


def _key(identity: str, text: str) -> bytes:
    digest = hashlib.blake2b(identity.encode(), digest_size=16)
    digest.update(b"\0")
    digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.digest()


def _entry_bytes(vector: npt.NDArray[np.float32]) -> int:
    return vector.nbytes + _OVERHEAD_BYTES
