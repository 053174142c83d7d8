"""A small file in the cache directory that checks itself.

Layout: 64 hexadecimal digits (sha256 of the rest), a newline, the content. One file and one rename, so a
reader sees the whole old file or the whole new one, and two daemons that build at the same moment replace
each other's identical result; no lock is needed. The content can always be rebuilt: a file that does not
match its digest is replaced, and a directory that cannot be written costs a warning, never a start.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

_DIGEST_HEX: Final = 64


def read_or_build(path: Path, build: Callable[[], bytes]) -> bytes:
    """Return the content of `path` if it is whole, else what `build` returns, kept at `path` if possible."""
    content = _read(path)
    if content is None:
        content = build()
        try:
            _write(path, content)
        except OSError as error:
            logger.warning(
                "cache file not written; it is built anew at every start",
                extra={"path": str(path), "reason": str(error)},
            )
    return content


def _read(path: Path) -> bytes | None:
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("cache file not readable", extra={"path": str(path), "reason": str(error)})
        return None
    content = stored[_DIGEST_HEX + 1 :]
    if stored[: _DIGEST_HEX + 1] == _header(content):
        return content
    logger.warning("cache file damaged, building it again", extra={"path": str(path), "bytes": len(stored)})
    return None


def _header(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + b"\n"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_header(content) + content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
