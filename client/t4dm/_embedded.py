"""The service in this process, for `T4DM(storage_path=…)`. A façade: the code lives in the daemon package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from t4dm._extras import missing_extra

if TYPE_CHECKING:
    from t4dm._backend import MemoryBackend


def open_embedded(storage_path: str | Path, **settings: Any) -> MemoryBackend:
    """Open a data directory and serve it in this process, without HTTP.

    Args:
        storage_path: The data directory; made if absent. One process at a time may hold it.
        **settings: Settings of the daemon by their names, for example `embedding_model`.

    Raises:
        MissingExtraError: The daemon's dependencies are not installed.
    """
    try:
        from t4dm_daemon.runtime import open_embedded as open_in_process

        return open_in_process(Path(storage_path).expanduser(), **settings)
    except ModuleNotFoundError as error:
        raise missing_extra("daemon", error) from error
