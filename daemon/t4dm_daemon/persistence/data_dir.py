"""The data directory: made private, checked to be usable before anything depends on it."""

from __future__ import annotations

import os
from pathlib import Path

from t4dm_daemon.core.errors import StorageError


def prepare(path: Path, *, setting: str) -> Path:
    """Create a directory for the daemon (mode 0700 when new) and make sure that it can be written.

    Args:
        path: The directory.
        setting: The variable that names it, for the message.

    Raises:
        StorageError: It is not a directory, or may not be written.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"cannot use {path}: {error.strerror or error}; choose another with {setting}", path=str(path)
        ) from error
    return path
