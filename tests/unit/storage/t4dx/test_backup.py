from __future__ import annotations

import json
import tarfile
import threading
from pathlib import Path

import pytest

from t4dm_daemon.core.errors import CorruptionError, InvalidInputError, NotFoundError, StorageLockedError
from t4dm_daemon.core.item import Edge
from t4dm_daemon.storage.protocol import Deletion, View
from t4dm_daemon.storage.t4dx import FORMAT_VERSION, Database, wal
from t4dm_daemon.storage.t4dx.backup import restore, verify_files
from t4dm_daemon.storage.t4dx.commit import Command
from t4dm_daemon.storage.t4dx.schema import INSERT, encode_insert
from tests.crash.workload import state_of
from tests.unit.storage.t4dx.items import vectors, write

FORMATS = Path(__file__).parents[3] / "fixtures" / "formats"


def _fill(database: Database, count: int = 30) -> None:
    engine = database.create_space("notes")
    rows = vectors(count)
    engine.insert([write(f"{n}", vector=rows[n]) for n in range(count)], [Edge("1", "2", "CAUSES", 0.5)])
    engine.flush()
    engine.delete([Deletion("3")])
    engine.insert([write("late", content="only in the log")])


def test_a_restored_backup_holds_what_the_store_held(tmp_path: Path) -> None:
    with Database(tmp_path / "store") as database:
        _fill(database)
        before = state_of(database.space("notes"))
        report = database.backup(tmp_path / "backup")
        database.space("notes").delete([Deletion("1")])  # what comes later is not in it
    assert report.files > 5
    assert verify_files(tmp_path / "backup").is_sound

    restore(tmp_path / "backup", tmp_path / "again")

    with Database(tmp_path / "again") as database:
        assert state_of(database.space("notes")) == before
        database.space("notes").insert([write("new")])
    with Database(tmp_path / "again") as database:
        assert set(state_of(database.space("notes"))) == {*before, "new"}


def test_a_backup_under_writes_is_a_prefix_of_what_was_acknowledged(tmp_path: Path) -> None:
    stop = threading.Event()
    with Database(tmp_path / "store", flush_items=50) as database:
        engine = database.create_space("notes")

        def insert() -> None:
            number = 0
            while not stop.wait(0.0005):
                engine.insert([write(f"{number}"), write(f"{number}+")], [Edge(f"{number}", f"{number}+", "PART_OF")])
                number += 1

        writer = threading.Thread(target=insert)
        writer.start()
        try:
            moments = []
            for at in range(3):
                moments.append(engine.snapshot())
                database.backup(tmp_path / f"backup-{at}")
        finally:
            stop.set()
            writer.join(30)
        last = engine.scan(limit=1).total
    for at, moment in enumerate(moments):
        with Database(tmp_path / f"backup-{at}") as database:
            found = [item.id for item in database.space("notes").scan(limit=10_000).items]
            acknowledged = database.space("notes").scan(limit=1, view=View(known_at=moment)).total
        assert found == [f"{n}{end}" for n in range(len(found) // 2) for end in ("", "+")]
        assert acknowledged <= len(found) <= last


def test_a_store_goes_back_to_any_moment_after_its_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal, "MIN_FILE_BYTES", 2048)
    monkeypatch.setattr(wal, "MAX_FILE_BYTES", 2048)
    states, moments = [], []
    with Database(tmp_path / "store", archive=tmp_path / "archive") as database:
        engine = database.create_space("notes")
        engine.insert([write("first")])
        database.backup(tmp_path / "backup")
        for number in range(40):
            engine.insert([write(f"{number}", content="x" * 100)])
            states.append(state_of(engine))
            moments.append(engine.snapshot())
            if number % 7 == 0:
                engine.flush()
        engine.flush()
    kept = len(list((tmp_path / "archive" / "1").iterdir()))
    assert kept >= 4

    for at in (0, 5, 20):
        restore(tmp_path / "backup", tmp_path / f"at-{at}", archive=tmp_path / "archive", until=moments[at])
        with Database(tmp_path / f"at-{at}") as database:
            engine = database.space("notes")
            assert state_of(engine) == states[at]
            engine.insert([write("another future")])
        with Database(tmp_path / f"at-{at}") as database:
            assert set(state_of(database.space("notes"))) == {*states[at], "another future"}
    restore(tmp_path / "backup", tmp_path / "all", archive=tmp_path / "archive")
    with Database(tmp_path / "all") as database:
        assert len(state_of(database.space("notes"))) > 30
    with pytest.raises(InvalidInputError, match="before the backup"):
        restore(tmp_path / "backup", tmp_path / "never", archive=tmp_path / "archive", until=5)
    assert not (tmp_path / "never").exists()


def test_a_gap_in_the_archive_ends_what_can_be_brought_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal, "MIN_FILE_BYTES", 2048)
    monkeypatch.setattr(wal, "MAX_FILE_BYTES", 2048)
    with Database(tmp_path / "store", archive=tmp_path / "archive") as database:
        engine = database.create_space("notes")
        engine.insert([write("first")])
        database.backup(tmp_path / "backup")
        for number in range(40):
            engine.insert([write(f"{number}", content="x" * 100)])
        engine.flush()
    sorted((tmp_path / "archive" / "1").iterdir())[4].unlink()

    restore(tmp_path / "backup", tmp_path / "again", archive=tmp_path / "archive")

    with Database(tmp_path / "again") as database:
        found = [item.id for item in database.space("notes").scan(limit=100).items]
    assert found == ["first", *(f"{n}" for n in range(len(found) - 1))]
    assert len(found) < 41


@pytest.mark.parametrize("place", ["spaces/1/seg/000001/blobs.bin", "spaces/1/seg/000001/vectors.f32", "CATALOG"])
def test_a_flipped_bit_is_found_and_named(tmp_path: Path, place: str) -> None:
    with Database(tmp_path / "store") as database:
        _fill(database)
    path = tmp_path / "store" / place
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)

    (problem,) = verify_files(tmp_path / "store").problems

    assert problem.file == str(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["store"]
    with pytest.raises(CorruptionError, match=path.name):
        restore(tmp_path / "store", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_verifying_changes_nothing(tmp_path: Path) -> None:
    with Database(tmp_path / "store") as database:
        _fill(database)
        assert database.verify().is_sound
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}

    report = verify_files(tmp_path / "store")

    assert report.is_sound
    assert report.files > 3
    assert {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()} == before


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    with Database(tmp_path / "store") as database:
        _fill(database)
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "file").touch()
        wrong = (
            tmp_path / "full",
            tmp_path / "store" / "spaces" / "x",
            tmp_path / "full" / "file",
            tmp_path / ("x" * 300),
        )
        for target in wrong:
            with pytest.raises(InvalidInputError):
                database.backup(target)
        with pytest.raises(StorageLockedError):
            verify_files(tmp_path / "store")
    with pytest.raises(NotFoundError):
        verify_files(tmp_path / "full")
    with pytest.raises(NotFoundError):
        restore(tmp_path / "nowhere", tmp_path / "again")
    with pytest.raises(InvalidInputError):
        restore(tmp_path / "store", tmp_path / "full")


def _golden(tmp_path: Path, version: int) -> Path:
    with tarfile.open(FORMATS / f"format-{version}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "store"


def _plain(value: object) -> object:
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value.hex() if isinstance(value, bytes) else value


@pytest.mark.parametrize(("version", "linked"), [(1, "tail"), (2, "m1")])
def test_a_store_of_an_older_format_is_brought_up_to_date_after_a_backup(
    tmp_path: Path, version: int, linked: str
) -> None:
    root = _golden(tmp_path, version)
    expected = json.loads((FORMATS / f"format-{version}.json").read_text())

    for _ in range(2):
        with Database(root) as database:
            found = {name: _plain(one) for name, one in state_of(database.space("default")).items()}
            assert found == expected
            assert database.space("default").traverse([linked], depth=2)

    kept = root / "backups" / f"format-{version}"
    assert json.loads((root / "FORMAT").read_text())["format"] == FORMAT_VERSION
    assert json.loads((kept / "FORMAT").read_text())["format"] == version
    assert verify_files(root).is_sound
    # The backup is a store of the old format in its own right.
    with Database(kept) as database:
        assert {name: _plain(one) for name, one in state_of(database.space("default")).items()} == expected


def test_a_start_knows_whether_the_last_run_ended_as_it_should(tmp_path: Path) -> None:
    with Database(tmp_path / "store") as database:
        assert database.was_clean is None
        _fill(database)
    with Database(tmp_path / "store") as database:
        assert database.was_clean is True
        database.backup(tmp_path / "copy")  # as a process that was killed would leave it
    with Database(tmp_path / "copy") as database:
        assert database.was_clean is False


@pytest.mark.parametrize("place", ["FORMAT", "CATALOG", "CURRENT", "MANIFEST", "wal"])
def test_a_running_store_notices_damage_to_its_small_files_and_makes_no_backup_of_it(
    tmp_path: Path, place: str
) -> None:
    with Database(tmp_path / "store") as database:
        _fill(database)
        database.flush()
        space = tmp_path / "store" / "spaces" / "1"
        places = {"FORMAT": tmp_path / "store" / "FORMAT", "CATALOG": tmp_path / "store" / "CATALOG"}
        places |= {"CURRENT": space / "CURRENT", "MANIFEST": next(space.glob("MANIFEST-*"))}
        places |= {"wal": next((space / "wal").glob("*.wal"))}
        path = places[place]
        content = path.read_bytes()
        at = 0 if place == "FORMAT" else 80
        damaged = bytearray(content)
        damaged[at % len(content)] ^= 1
        with path.open("r+b") as file:
            file.write(bytes(damaged))

        # Verifying and backing up write a checkpoint first where there is something to write: not here.
        (problem,) = database.verify().problems

        assert Path(problem.file).name in (path.name, "CURRENT") or place == "CURRENT"
        with pytest.raises(CorruptionError):
            database.backup(tmp_path / "backup")
        assert sorted(one.name for one in tmp_path.iterdir()) == ["store"]
        with path.open("r+b") as file:
            file.write(content)


def test_a_copy_with_the_same_archive_does_not_spoil_the_originals(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with Database(tmp_path / "store", archive=archive) as database:
        engine = database.create_space("notes")
        engine.insert([write("first")])
        database.backup(tmp_path / "b0")
        engine.insert([write("second")])
        database.backup(tmp_path / "b1")
        engine.insert([write(f"{n}") for n in range(20)])
        moment = engine.snapshot()
        engine.compact(everything=True)
    restore(tmp_path / "b1", tmp_path / "other")
    with Database(tmp_path / "other", archive=archive) as database:
        database.space("notes").insert([write("elsewhere")])
        database.space("notes").compact(everything=True)

    report = restore(tmp_path / "b0", tmp_path / "again", archive=archive, until=moment)

    assert report.moment == moment
    with Database(tmp_path / "again") as database:
        assert database.space("notes").scan(limit=1).total == 22


class _Histories:
    """A store with an archive, a backup of its beginning, and stores that were restored from them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = folder / "archive"
        self.count = 0
        with self.open("store") as database:
            database.create_space("notes").insert([write("base")])
            database.backup(folder / "backup")

    def open(self, name: str) -> Database:
        return Database(self.folder / name, archive=self.archive, merge_in_background=False)

    def insert(self, name: str, *items: str, rotate: bool) -> int:
        """Insert items one by one and return the moment after the last; all of it is in the archive then."""
        with self.open(name) as database:
            engine = database.space("notes")
            for item in items:
                engine.insert([write(item)])
                if rotate:
                    engine.compact(everything=True)
            moment = engine.snapshot()
            engine.compact(everything=True)
        return moment

    def restore(self, until: int | None = None) -> str:
        self.count += 1
        restore(self.folder / "backup", self.folder / f"{self.count}", archive=self.archive, until=until)
        return f"{self.count}"

    def items(self, name: str) -> list[str]:
        with self.open(name) as database:
            return [item.id for item in database.space("notes").scan().items]


@pytest.mark.parametrize("rotate", [False, True])
def test_what_was_written_after_going_back_is_what_the_next_restore_brings_back(
    tmp_path: Path, rotate: bool, caplog: pytest.LogCaptureFixture
) -> None:
    histories = _Histories(tmp_path)
    before = histories.insert("store", "one", rotate=rotate)
    mistake = histories.insert("store", "bad", "worse", rotate=rotate)
    other = histories.restore(before)
    histories.insert(other, "good", "better", rotate=rotate)

    caplog.clear()
    assert histories.items(histories.restore()) == ["base", "one", "good", "better"]

    (warning,) = [one for one in caplog.records if one.message.startswith("the archive holds several histories")]
    assert warning.left_out  # type: ignore[attr-defined]
    assert histories.items(histories.restore(mistake)) == ["base", "one", "bad", "worse"]  # as it was at that moment
    assert histories.items(histories.restore(before)) == ["base", "one"]


@pytest.mark.parametrize("rotate", [False, True])
def test_a_store_may_go_back_again_and_again(tmp_path: Path, rotate: bool) -> None:
    histories = _Histories(tmp_path)
    first = histories.insert("store", "a1", rotate=rotate)
    histories.insert("store", "a2", rotate=rotate)
    second = histories.restore(first)
    at_b1 = histories.insert(second, "b1", rotate=rotate)
    histories.insert(second, "b2", rotate=rotate)
    third = histories.restore(at_b1)
    histories.insert(third, "c", rotate=rotate)
    assert histories.items(histories.restore()) == ["base", "a1", "b1", "c"]

    fourth = histories.restore(first)
    histories.insert(fourth, "d", rotate=rotate)

    assert histories.items(histories.restore()) == ["base", "a1", "d"]
    assert histories.items(histories.restore(at_b1)) == ["base", "a1", "b1"]


def test_a_history_may_begin_inside_a_group_of_commands(tmp_path: Path) -> None:
    histories = _Histories(tmp_path)
    with histories.open("store") as database:
        engine = database.space("notes")
        bodies = [encode_insert([write(name)], (), None) for name in ("one", "two", "three")]
        engine._carry_out([Command(INSERT, body, meaning) for body, meaning in bodies])
        (one,) = engine.history("one")
        engine.compact(everything=True)
    other = histories.restore(one.recorded_at)
    assert histories.items(other) == ["base", "one"]
    histories.insert(other, "good", rotate=False)

    assert histories.items(histories.restore()) == ["base", "one", "good"]


def test_a_plain_history_is_followed_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    histories = _Histories(tmp_path)
    histories.insert("store", "a", "b", "c", rotate=True)
    caplog.clear()

    assert histories.items(histories.restore()) == ["base", "a", "b", "c"]
    assert not [one for one in caplog.records if "histories" in one.message]


def test_a_space_that_was_empty_in_the_backup_comes_back_from_the_archive(tmp_path: Path) -> None:
    with Database(tmp_path / "store", archive=tmp_path / "archive") as database:
        engine = database.create_space("notes")
        database.backup(tmp_path / "backup")
        engine.insert([write("a"), write("b")])
        engine.compact(everything=True)

    restore(tmp_path / "backup", tmp_path / "again", archive=tmp_path / "archive")

    with Database(tmp_path / "again") as database:
        assert set(state_of(database.space("notes"))) == {"a", "b"}


def test_damage_inside_an_earlier_log_file_is_noticed_while_the_store_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "MIN_FILE_BYTES", 2048)
    monkeypatch.setattr(wal, "MAX_FILE_BYTES", 2048)
    with Database(tmp_path / "store") as database:
        engine = database.create_space("notes")
        monkeypatch.setattr(engine._wal, "release", lambda lsn: None)
        engine.insert([write("first")])
        monkeypatch.setattr(engine._flusher, "flush", lambda **_: None)  # the log stays ahead of the checkpoint
        for number in range(20):
            engine.insert([write(f"{number}", content="x" * 100)])
        assert database.verify().is_sound
        path = sorted((tmp_path / "store" / "spaces" / "1" / "wal").glob("*.wal"))[1]
        with path.open("r+b") as file:
            file.seek(200)
            file.write(b"\xff\xff")

        (problem,) = database.verify().problems

        assert problem.file == str(path)
        with pytest.raises(CorruptionError, match=path.name):
            database.backup(tmp_path / "backup")
        assert not (tmp_path / "backup").exists()
        monkeypatch.undo()
