"""The file of a key: not beside what it protects, and nobody else's to read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from t4dm_daemon.core.errors import StorageError

MIN_BYTES: Final = 32
MAX_BYTES: Final = 4096
"""A larger file is something else."""


def read(path: Path, *, setting: str, outside: Sequence[Path]) -> bytes:
    """Return the key in a file: all its bytes.

    Args:
        path: The file.
        setting: The variable that names it, for the message.
        outside: Directories that it may not lie in: whoever can write the log there could take the key.

    Raises:
        StorageError: It is not there, may be read by others, lies in one of the directories, or is too short or long.
    """

    def refuse(why: str) -> StorageError:
        return StorageError(f"the key {path} ({setting}) {why}", path=str(path), setting=setting)

    make = f"make one: head -c {MIN_BYTES} /dev/urandom > {path}; chmod 600 {path}"
    for directory in outside:
        if path.resolve().is_relative_to(directory.resolve()):
            raise refuse(f"lies in {directory}, where it protects nothing: move it elsewhere")
    try:
        if path.exists() and not path.is_file():
            raise refuse("is not a file: name one")
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            key = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise refuse(f"is not there; {make}") from error
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror or error}") from error
    if facts.st_mode & 0o077:
        raise refuse(f"may be read or changed by others: chmod 600 {path}")
    if not MIN_BYTES <= len(key) <= MAX_BYTES:
        raise refuse(f"has {facts.st_size} bytes, a key has {MIN_BYTES} to {MAX_BYTES}; {make}")
    return key
