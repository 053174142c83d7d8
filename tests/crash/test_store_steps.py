"""Each step of a backup, and of bringing an older store up to date, fails once or is the last one."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from t4dm_daemon.core.errors import DaemonError
from t4dm_daemon.storage.t4dx import FORMAT_VERSION, Database
from t4dm_daemon.storage.t4dx.backup import verify_files
from tests.crash.files import SteppedFileSystem
from tests.crash.test_faults import EVERY, first_steps
from tests.crash.workload import State, state_of, steps
from tests.unit.storage.t4dx.items import UnsyncedFileSystem

FORMATS = Path(__file__).parents[1] / "fixtures" / "formats"


def _content(root: Path, space: str) -> State:
    with Database(root, fs=UnsyncedFileSystem(), merge_in_background=False) as database:
        return state_of(database.space(space))


@first_steps
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
def test_a_backup_that_fails_harms_neither_the_store_nor_is_taken_for_one(
    tmp_path: Path, first: int, for_good: bool, error: int
) -> None:
    def run(fs: SteppedFileSystem, root: Path) -> State:
        with Database(root, fs=fs, merge_in_background=False) as database:
            engine = database.create_space("notes")
            for step in steps()[:9]:
                step(engine)
            before = state_of(engine)
            fs.at = None if fs.offset is None else fs.steps + fs.offset
            began = fs.steps
            try:
                database.backup(tmp_path / "backup")
            except DaemonError:
                assert not (tmp_path / "backup").exists() or fs.failed[0] == "sync directory"
            fs.taken = fs.steps - began
            fs.at = None
            assert state_of(engine) == before
        return before

    counting = _Offset(None, error, for_good)
    run(counting, tmp_path / "count")
    assert counting.taken > 10
    shutil.rmtree(tmp_path / "backup")
    for offset in range(first, counting.taken + 1, EVERY // 4):
        root = tmp_path / "store"
        before = run(_Offset(offset, error, for_good), root)

        assert _content(root, "notes") == before
        if (tmp_path / "backup").exists():
            assert verify_files(tmp_path / "backup").is_sound
            assert _content(tmp_path / "backup", "notes") == before
        assert not list(root.glob(".backup-*"))
        for folder in tmp_path.iterdir():
            if folder.name != "count":
                shutil.rmtree(folder)


class _Offset(SteppedFileSystem):
    """Fails `offset` steps after a moment that the test chooses."""

    def __init__(self, offset: int | None, error: int, for_good: bool) -> None:
        super().__init__(None, error=error, for_good=for_good)
        self.offset = offset
        self.taken = 0


@first_steps
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
def test_a_migration_that_is_cut_short_is_done_again(tmp_path: Path, first: int, for_good: bool) -> None:
    with tarfile.open(FORMATS / "format-1.tar.xz") as archive:
        archive.extractall(tmp_path / "golden", filter="data")
    golden = tmp_path / "golden" / "store"
    expected = json.loads((FORMATS / "format-1.json").read_text())

    def migrate(fs: SteppedFileSystem, root: Path) -> None:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(golden, root)
        with contextlib.suppress(DaemonError, OSError):
            Database(root, fs=fs, merge_in_background=False).close()

    counting = SteppedFileSystem()
    migrate(counting, tmp_path / "store")
    assert counting.steps > 20
    for at in range(first, counting.steps + 1, EVERY // 4):
        root = tmp_path / "store"
        migrate(SteppedFileSystem(at, error=errno.EIO, for_good=for_good), root)

        found = json.loads(json.dumps(_content(root, "default"), default=bytes.hex))

        assert found == expected, at
        assert json.loads((root / "FORMAT").read_text())["format"] == FORMAT_VERSION
        kept = root / "backups" / "format-1"
        assert json.loads((kept / "FORMAT").read_text())["format"] == 1
        assert verify_files(root).is_sound
