from __future__ import annotations

import pytest

from t4dm_daemon.storage.t4dx import wal


@pytest.fixture(autouse=True)
def _small_log_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a new log file every few commands, so that a short workload meets that, too."""
    monkeypatch.setattr(wal, "MIN_FILE_BYTES", 512)
    monkeypatch.setattr(wal, "MAX_FILE_BYTES", 1024)
