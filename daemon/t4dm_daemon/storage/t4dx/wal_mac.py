"""Keys of an authenticated log: HMAC-SHA256 over the chain of its frames.

With a key k, `mac_i = HMAC(k, mac_{i-1} || header of frame i || its records)`, and the chain of a file begins with
`HMAC(k, file header)`, which holds the last mac of the file before. Who has no key can neither forge nor change a
frame, nor remove or reorder any that others follow. What no chain can tell: that frames at the end are gone, or that
what follows the checkpoint is from another life of the same space (of a restored copy, say).
"""

from __future__ import annotations

import hmac
from typing import Final

from t4dm_daemon.core.errors import InvalidInputError

MAC_BYTES: Final = 32
NO_MAC: Final = bytes(MAC_BYTES)
"""The last mac of a log that has none, or has not begun."""
KEY_ID_BYTES: Final = 8
MIN_KEY_BYTES: Final = 32


class LogKey:
    """Make and compare macs. Thread-safe.

    Args:
        secret: At least 32 random bytes.

    Raises:
        InvalidInputError: It is shorter.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < MIN_KEY_BYTES:
            raise InvalidInputError(f"a key of the log has at least {MIN_KEY_BYTES} bytes", found=len(secret))
        self._hmac = hmac.new(secret, digestmod="sha256")
        self.id = self.mac(b"T4DX key id")[:KEY_ID_BYTES]

    def mac(self, *parts: bytes | memoryview) -> bytes:
        """Return the mac of the parts, one after the other."""
        state = self._hmac.copy()  # the key's own two blocks are hashed once
        for part in parts:
            state.update(part)
        return state.digest()

    def is_mac(self, mac: bytes | memoryview, *parts: bytes | memoryview) -> bool:
        """Return whether this is the mac of the parts, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(mac, self.mac(*parts))


def space_key(secret: bytes, directory: int) -> bytes:
    """Return the key of one space of a store, so that the log of one is never taken for that of another.

    Raises:
        InvalidInputError: The secret is too short.
    """
    return LogKey(secret).mac(b"T4DX space %d" % directory)
