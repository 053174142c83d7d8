"""`t4dm flush`, `compact`, `backup`, `verify`, `restore`, and `delete --purge`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from t4dm_daemon.cli import output
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.protocol import Write
from t4dm_daemon.storage.t4dx import Database
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_daemon import FakeDaemon, Reply, error
from tests.unit.client.test_graph_routes import BACKUP, REPORT, SOUND


def test_flush_says_that_it_is_done(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [Reply(204), Reply(204)]

    assert run("flush").out == "flushed\n"
    assert run("flush", "--space", "s", "--json").json["ok"]
    assert [seen.query for seen in fake.seen] == [{}, {"space": "s"}]


def test_compact_tells_what_it_did_in_each_space(run: Run, fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.planned = [Reply(200, {"results": [REPORT]}) for _ in range(3)]

    assert run("compact", "--everything").out == "1\t3 → 1\t9 → 7\t900 → 700\t0.5\ts\n"
    assert run("compact", "--space", "s", "--json").json["data"]["results"] == [REPORT]
    monkeypatch.setattr(output, "is_person", lambda: True)
    assert "900 B → 700 B" in run("compact").out
    assert [seen.json for seen in fake.seen] == [
        {"space": None, "everything": True},
        {"space": "s", "everything": False},
        {"space": None, "everything": False},
    ]


def test_a_compaction_beside_another_is_told_in_a_line(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [error(503, "busy", retry_after="9999")]

    done = run("compact")

    assert done.exit_code == 1
    assert "t4dm status" in done.err


def test_purge_travels_with_the_deletion_and_is_told(run: Run, fake: FakeDaemon) -> None:
    run("add", "tea", "--id", "m")

    done = run("delete", "m", "--purge", "--yes")

    assert done.out == "1 memory deleted and forgotten\n"
    assert fake.seen[-1].json["purge"] is True
    assert "forget" in run("delete", "--all", "--purge").err


# Copies -----------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with one memory in a segment, and nobody who has it open."""
    with Database(tmp_path / "home" / "store") as database:
        vector = np.array([1.0, 0.0], np.float32)
        database.create_space("default", dimension=2).insert([Write(Item(id="m", content="tea", vector=vector))])
    return tmp_path / "home" / "store"


def _damage(store: Path) -> Path:
    """Change one byte of the largest file of a segment, and return it."""
    file = max(
        (one for one in store.rglob("*") if one.is_file() and "seg" in one.parts),
        key=lambda one: one.stat().st_size,
    )
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return file


def test_backup_goes_where_the_caller_stands(
    run: Run, fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    fake.planned = [Reply(200, BACKUP) for _ in range(3)]

    assert run("backup", "monday").out == "3 files (900 B) written to /b\n"
    assert run("backup", "--quiet").out == "/b\n"
    assert run("backup", "/else/where", "--json").json["data"] == BACKUP
    assert [seen.json["path"] for seen in fake.seen] == [str(tmp_path / "monday"), None, "/else/where"]


def test_verify_asks_the_daemon_that_runs(run: Run, fake: FakeDaemon) -> None:
    problem = {"file": "/s/vectors.bin", "message": "its checksum is another"}
    broken = {**SOUND, "problems": [problem], "is_sound": False}
    fake.planned = [Reply(200, SOUND), Reply(200, broken), Reply(200, broken)]

    sound, wrong, as_json = run("verify"), run("verify"), run("verify", "--json")

    assert (sound.exit_code, sound.out) == (0, "3 files (900 B) are as they were written\n")
    assert (wrong.exit_code, wrong.out) == (1, "/s/vectors.bin: its checksum is another\n")
    assert (as_json.exit_code, as_json.json["data"]["problems"]) == (1, [problem])


def test_verify_reads_the_store_itself_where_no_daemon_runs(
    run: Run, nobody: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T4DM_URL", nobody)
    monkeypatch.setenv("T4DM_HOME", str(store.parent))

    sound = run("verify")
    elsewhere = run("verify", "--url", nobody)
    damaged = _damage(store)
    wrong = run("verify", "--json")

    assert sound.exit_code == 0, sound.err
    assert "are as they were written" in sound.out
    assert f"reading {store}" in sound.err
    assert elsewhere.exit_code == 3
    assert wrong.exit_code == 1
    assert damaged.name in str(wrong.json["data"]["problems"])


def test_verify_by_path_asks_no_daemon_and_tells_what_it_cannot_read(
    run: Run, fake: FakeDaemon, store: Path, tmp_path: Path
) -> None:
    sound = run("verify", "--path", str(store))
    nothing = run("verify", "--path", str(tmp_path / "nothing"))
    with Database(store):
        held = run("verify", "--path", str(store))

    assert sound.exit_code == 0
    assert nothing.exit_code == 5
    assert "t4dm list" not in nothing.err
    assert held.exit_code == 6
    assert fake.seen == []


def test_verify_and_restore_take_the_key_of_the_log_from_the_settings(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, backup = tmp_path / "wal.key", tmp_path / "backup"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    with Database(tmp_path / "store", wal_key=b"k" * 32) as database:
        database.create_space("default")
        database.space("default").insert([Write(Item(id="m", content="tea"))])
        with monkeypatch.context() as patch:
            patch.setattr(type(database.space("default")._flusher), "flush", lambda *_, **__: None)
            database.backup(backup)  # with a log that must be read

    refused = [run("verify", "--path", str(backup)), run("restore", str(backup), str(tmp_path / "again"))]
    monkeypatch.setenv("T4DM_STORAGE__WAL_MAC", "hmac-sha256")
    half = run("verify", "--path", str(backup))
    monkeypatch.setenv("T4DM_STORAGE__WAL_KEY_FILE", str(key))
    sound = run("verify", "--path", str(backup))
    done = run("restore", str(backup), str(tmp_path / "again"))
    key.chmod(0o644)
    readable = run("verify", "--path", str(backup))

    assert [(one.exit_code, "T4DM_STORAGE__WAL_KEY_FILE" in one.err) for one in refused] == [(6, True), (6, True)]
    assert str(backup) in refused[0].err
    assert (half.exit_code, "T4DM_STORAGE__WAL_KEY_FILE" in half.err) == (2, True)
    assert (sound.exit_code, done.exit_code) == (0, 0), (sound.err, done.err)
    assert (readable.exit_code, "chmod 600" in readable.err) == (1, True)
    with Database(tmp_path / "again", wal_key=b"k" * 32) as database:
        assert database.space("default").get(["m"])[0] is not None


def test_restore_makes_a_store_of_a_backup_and_never_replaces_one(run: Run, store: Path, tmp_path: Path) -> None:
    with Database(store) as database:
        database.backup(tmp_path / "backup")
        moment = database.space("default").snapshot()
    target = tmp_path / "again"

    done = run("restore", str(tmp_path / "backup"), str(target), "--quiet")
    twice = run("restore", str(tmp_path / "backup"), str(target))
    missing = run("restore", str(tmp_path / "none"), str(tmp_path / "other"))
    wrong = run("restore", str(tmp_path / "backup"), str(tmp_path / "other"), "--until", "soon")

    assert (done.exit_code, done.out) == (0, f"{target}\n")
    with Database(target) as database:
        (item,) = database.space("default").get(["m"])
        assert item is not None
        assert item.content == "tea"
        assert item.recorded_at <= moment
    assert twice.exit_code == 2
    assert missing.exit_code == 5
    assert wrong.exit_code == 2
    assert not (tmp_path / "other").exists()
