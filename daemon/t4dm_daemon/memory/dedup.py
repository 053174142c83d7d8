"""When two texts are the same memory: equal after normalisation, and of the same owner.

Normalisation is NFC and single spaces. Case is kept, because "US" and "us" are two facts. The owner is the
namespace and the entity columns: what Alice said is never swallowed by what Bob said.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence


def content_hash(content: str, owner: Sequence[str | None], namespace: Sequence[str]) -> int:
    """Return a 64-bit identity of the text within its owner; 0 for an empty text, which duplicates nothing."""
    text = " ".join(unicodedata.normalize("NFC", content).split())
    if not text:
        return 0
    digest = hashlib.blake2b(digest_size=8)
    for part in (text, *(("" if column is None else "=" + column) for column in owner), *namespace):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "little"))
        digest.update(encoded)
    return int.from_bytes(digest.digest(), "little") or 1
