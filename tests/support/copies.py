"""Copies of a running store's files: what a process killed at this moment would leave."""

from __future__ import annotations

import contextlib
import shutil
import threading
from pathlib import Path

from t4dm_daemon.storage.t4dx import T4DXEngine


def copy_store(root: Path, copy: Path, *, engine: T4DXEngine | None = None) -> Path:
    """Copy the files of a store that takes no writes just now, while none of its threads changes them.

    A copy made file by file while they work would be one that no moment had: it could hold a name whose file was
    gone when its turn came. With `engine`, whose files they are, a flush that has not begun stays undone.
    """
    with engine._flusher.lock if engine else contextlib.nullcontext():
        for thread in threading.enumerate():
            if thread.name == "t4dx-wal" or (engine is None and thread.name in ("t4dx-flush", "t4dx-merge")):
                thread.join(60)
                assert not thread.is_alive(), thread.name
        return Path(shutil.copytree(root, copy))
