"""The key of the log, from settings and a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from t4dm_daemon.config import Settings
from t4dm_daemon.core.errors import StorageError, WalKeyError
from t4dm_daemon.runtime import open_store, wal_key
from tests.unit.storage.t4dx.items import write


def _settings(tmp_path: Path, key: Path) -> Settings:
    storage = {"wal_mac": "hmac-sha256", "wal_key_file": key, "archive": tmp_path / "archive"}
    return Settings(storage_path=tmp_path / "store", storage=storage)  # type: ignore[arg-type]


def _key(path: Path, *, content: bytes = b"k" * 32, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_the_store_is_opened_with_the_key_in_the_file(tmp_path: Path) -> None:
    settings = _settings(tmp_path, _key(tmp_path / "wal.key"))
    assert wal_key(settings) == b"k" * 32
    with open_store(settings, owner={}) as database:
        database.create_space("s").insert([write("a")])
        (log,) = (tmp_path / "store").glob("spaces/1/wal/*.wal")
        assert log.read_bytes().startswith(b"T4DXWALM")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    for mode in (0o640, 0o604, 0o620, 0o601):
        with pytest.raises(StorageError, match="chmod 600"):
            wal_key(_settings(tmp_path, _key(tmp_path / "wal.key", mode=mode)))


def test_a_key_beside_what_it_protects_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(_key(tmp_path / "store" / "wal.key"))
    for path in (tmp_path / "store" / "wal.key", tmp_path / "link", _key(tmp_path / "archive" / "1" / "wal.key")):
        with pytest.raises(StorageError, match="move it elsewhere"):
            wal_key(_settings(tmp_path, path))


def test_a_key_that_is_none_says_how_to_make_one(tmp_path: Path) -> None:
    short = _key(tmp_path / "short", content=b"k" * 31)
    for path in (tmp_path / "nothing", short, _key(tmp_path / "long", content=b"k" * 5000)):
        with pytest.raises(StorageError, match=rf"head -c 32 /dev/urandom > {path}; chmod 600 {path}"):
            wal_key(_settings(tmp_path, path))
    with pytest.raises(StorageError, match="not a file"):
        wal_key(_settings(tmp_path, tmp_path))


def test_settings_that_do_not_go_together_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("T4DM_STORAGE__WAL_MAC", "hmac-sha256")
    with pytest.raises(ValidationError, match="T4DM_STORAGE__WAL_KEY_FILE"):
        Settings()
    monkeypatch.delenv("T4DM_STORAGE__WAL_MAC")
    monkeypatch.setenv("T4DM_STORAGE__WAL_KEY_FILE", str(tmp_path / "wal.key"))
    with pytest.raises(ValidationError, match="T4DM_STORAGE__WAL_MAC"):
        Settings()
    monkeypatch.setenv("T4DM_STORAGE__WAL_MAC", "off")
    assert wal_key(Settings()) is None


def test_switching_off_is_refused_until_the_log_is_in_segments(tmp_path: Path) -> None:
    on = _settings(tmp_path, _key(tmp_path / "wal.key"))
    off = Settings(storage_path=tmp_path / "store")
    database = open_store(on, owner={})
    engine = database.create_space("s")
    engine.insert([write("a")])
    engine._queue.close()
    database._fs.close(database._descriptor)  # as if it had been killed

    with pytest.raises(WalKeyError, match="T4DM_STORAGE__WAL_KEY_FILE"):
        open_store(off, owner={})
    open_store(on, owner={}).close()
    with open_store(off, owner={}) as database:
        assert database.space("s").get(["a"])[0] is not None
