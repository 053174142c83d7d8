from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from t4dm_daemon.core.errors import CorruptionError, StorageError
from t4dm_daemon.storage.protocol import FieldUpdate
from t4dm_daemon.storage.t4dx import T4DXEngine
from t4dm_daemon.storage.t4dx.fs import FileSystem
from tests.support.copies import copy_store
from tests.unit.storage.t4dx.items import UnsyncedFileSystem, vectors, write

Open = Callable[..., T4DXEngine]


class _NoCurrent(FileSystem):
    """Lose the step that puts a manifest in force: before it (nothing happened) or after it (only the sync failed)."""

    is_done = False

    def __init__(self, *, after: bool) -> None:
        self._after = after
        self.is_failing = False

    def rename(self, path: Path, name: Path) -> None:
        if not self.is_failing or name.name != "CURRENT":
            super().rename(path, name)
            return
        if self._after:
            super().rename(path, name)
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("after", [False, True])
def test_a_manifest_that_may_be_in_force_keeps_its_files(open_engine: Open, after_crash: Open, after: bool) -> None:
    fs = _NoCurrent(after=after)
    engine = open_engine(fs=fs)
    engine.insert([write(str(number)) for number in range(5)])
    fs.is_failing = True
    for _ in range(3):
        with pytest.raises(StorageError):
            engine.flush()
        assert after_crash().scan(limit=1).total == 5
    fs.is_failing = False

    engine.flush()

    assert engine.scan(limit=1).total == 5
    assert after_crash().stats()["segments"] == 1
    assert after_crash().scan(limit=1).total == 5


def test_old_files_that_cannot_be_removed_do_not_undo_the_checkpoint(
    open_engine: Open, after_crash: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine()
    engine.insert([write("a")])

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(engine._checkpoints, "_remove_strangers", refuse)
        engine.flush()
    engine.insert([write("b")])
    engine.flush()

    assert after_crash().scan(limit=1).total == 2


def test_a_missing_current_is_refused_by_name_even_before_the_first_flush(open_engine: Open, tmp_path: Path) -> None:
    open_engine().insert([write("a")])
    copy_store(tmp_path / "space", tmp_path / "copy")
    (tmp_path / "copy" / "CURRENT").unlink()

    with pytest.raises(CorruptionError, match="CURRENT"):
        open_engine(tmp_path / "copy")


def test_only_what_changed_is_written_again(open_engine: Open, tmp_path: Path) -> None:
    engine = open_engine()
    for name in ("a", "b"):
        engine.insert([write(name)])
        engine.flush()
    before = {path.name for path in (tmp_path / "space" / "cols").iterdir()}
    engine.update_fields([FieldUpdate("a", {"pinned": True})])
    engine.flush()
    after = {path.name for path in (tmp_path / "space" / "cols").iterdir()}

    assert len(after - before) == len(before - after) == 1
    engine.close()
    assert open_engine().get(["a"])[0].pinned  # type: ignore[union-attr]


def test_restarts_without_writes_change_nothing(open_engine: Open, tmp_path: Path) -> None:
    engine = open_engine()
    engine.insert([write(str(number), vector=one) for number, one in enumerate(vectors(9))])
    engine.close()
    files = {path: path.read_bytes() for path in (tmp_path / "space").rglob("*") if path.is_file()}

    for _ in range(5):
        open_engine().close()

    assert {path: path.read_bytes() for path in (tmp_path / "space").rglob("*") if path.is_file()} == files


def test_an_index_that_cannot_be_built_or_saved_fails_no_compaction(
    open_engine: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from t4dm_daemon.storage.t4dx.ann import FaissIndex

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Error in faiss: could not write")

    engine = open_engine(ann_min_rows=5)
    with monkeypatch.context() as patch:
        patch.setattr(FaissIndex, "save", refuse)
        engine.insert([write(str(number), vector=one) for number, one in enumerate(vectors(20))])
        engine.compact()
    assert len(engine.search(vectors(1)[0], 20)) == 20
    engine.close()

    again = open_engine(ann_min_rows=5)
    assert len(again.search(vectors(1)[0], 20)) == 20


class _SlowToRemove(UnsyncedFileSystem):
    """Removing mutable columns takes until a merge has written its files."""

    def __init__(self) -> None:
        self.is_slow = False
        self.is_removing = threading.Event()
        self.is_merged = threading.Event()

    def remove(self, path: Path) -> None:
        if self.is_slow and path.parent.name == "cols":
            self.is_removing.set()
            assert self.is_merged.wait(30)
        super().remove(path)

    def write_new(self, path: Path, parts: Iterable[bytes | memoryview]) -> int:
        size = super().write_new(path, parts)
        if self.is_slow and path.name == "index.tmp":
            self.is_merged.set()  # the last file of a merged segment
        return size


def test_a_merge_that_begins_while_old_files_are_removed_keeps_its_own(open_engine: Open, after_crash: Open) -> None:
    fs = _SlowToRemove()
    engine = open_engine(fs=fs)
    for name in ("a", "b"):
        engine.insert([write(name)])
        engine.flush()
    engine.update_fields([FieldUpdate("a", {"pinned": True})])
    fs.is_slow = True
    flush = threading.Thread(target=engine.flush)
    flush.start()
    assert fs.is_removing.wait(30)

    engine._compactor.run(everything=True)

    flush.join(30)
    assert engine.stats()["segments"] == 1
    assert [item.id for item in after_crash().scan().items] == ["a", "b"]
