from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import stat
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from t4dm_daemon.core.errors import (
    ConflictError,
    CorruptionError,
    FormatError,
    NotFoundError,
    SpaceDeletedError,
    StorageClosedError,
    StorageError,
    StorageLockedError,
)
from t4dm_daemon.storage.t4dx import FORMAT_VERSION, Database, wal
from t4dm_daemon.storage.t4dx.fs import FileSystem
from tests.crash.files import SteppedFileSystem
from tests.unit.storage.t4dx.items import UnsyncedFileSystem, vector, write


def test_spaces_of_any_name_come_back_with_their_attributes(tmp_path: Path) -> None:
    names = ["notes", "日本語 🗾", "../../etc", "a/b", "", "x" * 300]
    with Database(tmp_path / "db") as database:
        for name in names:
            database.create_space(name, dimension=2, note=name).insert([write("a", name)])

    with Database(tmp_path / "db") as database:
        assert database.spaces() == {name: {"dimension": 2, "note": name} for name in names}
        assert [database.space(name).scan().items[0].content for name in names] == names
    assert sorted(path.name for path in (tmp_path / "db" / "spaces").iterdir()) == ["1", "2", "3", "4", "5", "6"]


def test_every_file_is_the_users_alone(tmp_path: Path) -> None:
    with Database(tmp_path / "new" / "db", ann_min_rows=1) as database:
        engine = database.create_space("s")
        engine.insert([write("a", vector=vector(1, 0))])
        engine.compact()

        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").rglob("*")}

    assert any(path.name == "index.faiss" for path in modes)
    assert {path: oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}


def test_a_second_opener_is_told_who_has_it(tmp_path: Path) -> None:
    with Database(tmp_path, owner={"kind": "daemon"}) as database:
        database.set_owner(url="http://127.0.0.1:1")
        with pytest.raises(StorageLockedError, match=f"daemon with pid {os.getpid()} at http://127.0.0.1:1"):
            Database(tmp_path)
    Database(tmp_path).close()


def test_a_stale_lock_file_does_not_bar_anyone(tmp_path: Path) -> None:
    Database(tmp_path).close()
    (tmp_path / "LOCK").write_text("not json: a process that was killed")

    Database(tmp_path).close()


def test_a_failed_opening_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        Database(tmp_path / "db", fs=SteppedFileSystem(1))
    for step in range(2, 8):
        with pytest.raises(StorageError), Database(tmp_path / "db", fs=SteppedFileSystem(step, for_good=True)) as one:
            one.create_space("s")

    Database(tmp_path / "db").close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_that_outlives_its_parents_database_does_not_keep_the_lock(tmp_path: Path) -> None:
    database = Database(tmp_path / "store")
    mine, its = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(its)
        os.read(mine, 1)  # until the parent closes its end
        os._exit(0)
    os.close(mine)
    try:
        database.close()

        Database(tmp_path / "store").close()
    finally:
        os.close(its)
        os.waitpid(child, 0)


def test_a_forked_child_neither_uses_nor_unlocks_its_parents_store(tmp_path: Path) -> None:
    database = Database(tmp_path)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def child() -> None:
        try:
            database.spaces()
        except StorageError as error:
            answers.put(str(error))
        database.close()

    process = context.Process(target=child)
    process.start()
    process.join(20)

    assert "after the fork" in answers.get()
    with pytest.raises(StorageLockedError):
        Database(tmp_path)
    database.close()


def test_a_space_that_was_deleted_under_its_user_is_named_as_not_there(tmp_path: Path) -> None:
    with Database(tmp_path) as database:
        engine = database.create_space("notes")
        database.delete_space("notes")

        for call in (lambda: engine.insert([write("a")]), lambda: engine.get(["a"]), engine.flush):
            with pytest.raises(SpaceDeletedError, match="there is no space 'notes': it was deleted") as gone:
                call()
            assert (gone.value.code, gone.value.status) == ("not_found", 404)


def test_a_newer_format_is_refused_untouched(tmp_path: Path) -> None:
    Database(tmp_path).close()
    facts = json.loads((tmp_path / "FORMAT").read_text()) | {"format": FORMAT_VERSION + 1}
    (tmp_path / "FORMAT").write_text(json.dumps(facts))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "LOCK"}

    with pytest.raises(FormatError, match=r"format \d.*upgrade") as caught:
        Database(tmp_path)

    assert caught.value.details == {"expected": FORMAT_VERSION, "found": FORMAT_VERSION + 1}
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize("text", ["3", "{}", "[1]", '{"format": null}', "not json", '{"format": 2, "store_id": 5}'])
def test_a_damaged_format_is_corruption_in_words(tmp_path: Path, text: str) -> None:
    Database(tmp_path).close()
    (tmp_path / "FORMAT").write_text(text)

    with pytest.raises(CorruptionError, match="FORMAT: this file is damaged: it holds no format and store_id; restore"):
        Database(tmp_path)


@pytest.mark.parametrize("name", ["FORMAT", "CATALOG"])
def test_a_missing_format_or_catalog_is_refused_and_not_made_anew(tmp_path: Path, name: str) -> None:
    with Database(tmp_path) as database:
        database.create_space("s")
    (tmp_path / name).unlink()

    for _ in range(2):
        with pytest.raises(CorruptionError, match=name):
            Database(tmp_path)
    assert not (tmp_path / name).exists()


def test_a_crash_while_the_first_space_is_made_leaves_a_store_that_opens(tmp_path: Path) -> None:
    fs = UnsyncedFileSystem()
    database = Database(tmp_path / "db", fs=fs)
    at_catalog = SteppedFileSystem(1, for_good=True)
    database._fs = at_catalog  # the space's files are written by `fs`… and the catalog never is
    with pytest.raises(StorageError):
        database.create_space("s")
    (tmp_path / "db" / "spaces" / "1").mkdir(parents=True, exist_ok=True)
    os.close(database._descriptor)

    with Database(tmp_path / "db") as again:
        assert again.spaces() == {}
        again.create_space("s")


def test_a_deleted_space_is_gone_with_its_files_while_others_read_and_flush(tmp_path: Path) -> None:
    with Database(tmp_path, flush_items=20) as database:
        engine = database.create_space("s")
        engine.insert([write(str(number), vector=vector(1, number + 1)) for number in range(100)])
        errors: list[BaseException] = []
        started = threading.Barrier(4)

        def use(call) -> None:  # type: ignore[no-untyped-def]
            started.wait(10)
            try:
                for _ in range(10_000):
                    call()
            except StorageClosedError:
                pass
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test shows it
                errors.append(error)

        calls = [lambda: engine.search(vector(1, 1), 5), lambda: engine.insert([write("x")]), engine.flush]
        threads = [threading.Thread(target=use, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        started.wait(10)
        database.delete_space("s")
        for thread in threads:
            thread.join(30)

        assert errors == []
        assert not (tmp_path / "spaces" / "1").exists()
        with pytest.raises(NotFoundError):
            database.space("s")
        database.flush()
        assert database.stats() == {}


def test_a_space_cannot_be_made_twice_nor_a_missing_one_deleted(tmp_path: Path) -> None:
    with Database(tmp_path) as database:
        database.create_space("s")
        with pytest.raises(ConflictError):
            database.create_space("s")
        with pytest.raises(NotFoundError):
            database.delete_space("t")
    database.close()
    with pytest.raises(StorageClosedError):
        database.spaces()


def test_a_file_in_place_of_the_directory_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("")

    with pytest.raises(StorageError, match="cannot be written"):
        Database(tmp_path / "db")


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_store_whose_directory_goes_away_says_so_and_takes_no_more_writes(tmp_path: Path, is_moved: bool) -> None:
    root = tmp_path / "store"
    database = Database(root, merge_in_background=False)
    engine = database.create_space("notes")
    engine.insert([write("a")])
    if is_moved:
        root.rename(tmp_path / "elsewhere")
    else:
        shutil.rmtree(root)

    for refused in (
        lambda: engine.insert([write("b")]),
        engine.flush,
        lambda: engine.put_blob("name", b"x"),
        lambda: database.create_space("more"),
        lambda: database.backup(tmp_path / "backup"),
    ):
        with pytest.raises(StorageError, match="removed or moved while the store was open"):
            refused()

    assert engine.get(["a"])[0] is not None
    assert engine.get(["b"]) == [None]
    (problem,) = database.verify().problems
    assert problem.file == str(root / "LOCK")
    database.close()
    assert not root.exists()


def test_a_store_that_another_was_put_in_place_of_takes_no_more_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    with Database(root, merge_in_background=False) as database:
        engine = database.create_space("notes")
        engine.insert([write("a")])
        root.rename(tmp_path / "elsewhere")
        shutil.copytree(tmp_path / "elsewhere", root)

        monkeypatch.setattr(wal, "LOOK_EVERY_S", -1.0)  # a second has passed

        with pytest.raises(StorageError, match="removed or moved while the store was open"):
            engine.insert([write("b")])
        assert engine.get(["b"]) == [None]


def test_writes_do_not_look_at_the_file_that_they_go_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Path] = []
    is_named = FileSystem.is_named
    monkeypatch.setattr(
        FileSystem, "is_named", lambda self, descriptor, path: looks.append(path) or is_named(self, descriptor, path)
    )
    monkeypatch.setattr(wal, "LOOK_EVERY_S", 3600.0)
    with Database(tmp_path / "store", merge_in_background=False) as database:
        engine = database.create_space("notes")
        for number in range(20):
            engine.insert([write(f"n{number}")])

        assert len([path for path in looks if path.suffix == ".wal"]) <= 1


@pytest.mark.parametrize("name", ["FORMAT", "CATALOG", "spaces/1/CURRENT", "spaces/1/MANIFEST-", "spaces/1/wal/"])
def test_files_that_went_missing_are_problems_and_no_errors(tmp_path: Path, name: str) -> None:
    root = tmp_path / "store"
    with Database(root, merge_in_background=False) as database:
        database.create_space("notes").insert([write("a")])
        database.flush()
        (path,) = root.glob(f"{name}*") if not name.endswith("/") else (root / name).glob("*.wal")
        path.unlink()

        (problem,) = database.verify().problems

        assert problem.file == str(path)
        assert "missing" in problem.message or "removed" in problem.message


def test_a_data_directory_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with Database(tmp_path / "link") as database:
        database.create_space("notes").insert([write("a")])
        with pytest.raises(StorageLockedError):
            Database(tmp_path / "real")
        assert database.verify().is_sound

    with Database(tmp_path / "real") as database:
        assert database.space("notes").get(["a"])[0] is not None
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match="lost"):
        Database(tmp_path / "lost")


class _ReadOnlyDisk(UnsyncedFileSystem):
    """A disk that is, or becomes, read-only; root may write where the mode forbids it, so a mode is no test."""

    def __init__(self, *, is_read_only: bool = False) -> None:
        self.is_read_only = is_read_only

    def _refuse(self, path: Path | None = None) -> None:
        if self.is_read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), None if path is None else str(path))

    def make_directory(self, path: Path) -> None:
        if not path.is_dir():
            self._refuse(path)
        super().make_directory(path)

    def lock(self, path: Path) -> int | None:
        self._refuse(path)
        return super().lock(path)

    def write_at(self, descriptor: int, content: bytes | bytearray | memoryview, offset: int) -> None:
        self._refuse()
        super().write_at(descriptor, content, offset)

    def write_new(self, path: Path, parts: Iterable[bytes | memoryview]) -> int:
        self._refuse(path)
        return super().write_new(path, parts)

    def rename(self, path: Path, name: Path) -> None:
        self._refuse(path)
        super().rename(path, name)

    def remove(self, path: Path) -> None:
        self._refuse(path)
        super().remove(path)


def test_a_store_on_a_read_only_disk_is_refused_by_name_and_left_as_it_is(tmp_path: Path) -> None:
    with Database(tmp_path / "store") as database:
        database.create_space("notes").insert([write("a")])
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}

    for name in ("store", "new"):
        with pytest.raises(StorageError, match=rf"{name}.*Read-only file system"):
            Database(tmp_path / name, fs=_ReadOnlyDisk(is_read_only=True))

    assert {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()} == before
    assert not (tmp_path / "new").exists()


def test_a_disk_that_becomes_read_only_refuses_writes_and_loses_nothing(tmp_path: Path) -> None:
    fs = _ReadOnlyDisk()
    database = Database(tmp_path / "store", fs=fs, merge_in_background=False)
    engine = database.create_space("notes")
    engine.insert([write("a")])
    fs.is_read_only = True

    for refused in (lambda: engine.insert([write("b")]), engine.flush, lambda: database.create_space("more")):
        with pytest.raises(StorageError):
            refused()

    assert engine.get(["a", "b"])[1] is None
    assert engine.get(["a"])[0] is not None
    assert engine.stats()["is_read_only"]
    database.close()
    with Database(tmp_path / "store") as database:
        assert [item.id for item in database.space("notes").scan().items] == ["a"]
