"""The log with a key: what was written with it comes back, and nothing else does."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t4dm_daemon.core.errors import CorruptionError, InvalidInputError, StorageError, WalKeyError
from t4dm_daemon.storage.t4dx import Database, T4DXEngine, wal
from t4dm_daemon.storage.t4dx.backup import restore, verify_files
from t4dm_daemon.storage.t4dx.wal import MIN_FILE_BYTES, Wal
from t4dm_daemon.storage.t4dx.wal_format import FILE_HEADER_BYTES, FRAME_BYTES, MAC_HEADER_BYTES
from t4dm_daemon.storage.t4dx.wal_mac import MAC_BYTES, LogKey
from tests.crash.files import SteppedFileSystem
from tests.crash.workload import state_of
from tests.unit.storage.t4dx.items import UnsyncedFileSystem, write

STORE = b"s" * 16
SECRET, OTHER = b"k" * 32, b"o" * 32


def _open(directory: Path, secret: bytes | None = SECRET, *, after: int = 0) -> tuple[Wal, list[tuple[int, bytes]]]:
    key = None if secret is None else LogKey(secret)
    log = Wal(UnsyncedFileSystem(), directory, store_id=STORE, sync=False, key=key)
    return log, [(record.lsn, bytes(record.body)) for record in log.recover(after)]


def _found(directory: Path, secret: bytes | None = SECRET, *, after: int = 0) -> list[tuple[int, bytes]]:
    log, found = _open(directory, secret, after=after)
    log.close()
    return found


def _write(directory: Path, bodies: Sequence[bytes], secret: bytes | None = SECRET) -> list[bytes]:
    """Write one frame a body into a new log file; return its header and each frame."""
    log, _ = _open(directory, secret)
    ends = [0]
    for body in bodies:
        log.append([(1, 10, body)])
        ends.append(log._offset)
    (path,) = directory.glob("*.wal")
    log.close()
    start = MAC_HEADER_BYTES if secret is not None else FILE_HEADER_BYTES
    content = path.read_bytes()
    return [content[:start], *(content[max(a, start) : b] for a, b in itertools.pairwise(ends))]


def _put(directory: Path, parts: Sequence[bytes]) -> Path:
    path = directory / "000000000001.wal"
    path.write_bytes(b"".join(parts).ljust(4096, b"\0"))
    return path


def _mended(header: bytes, frames: Sequence[bytes]) -> list[bytes]:
    """What a forger without the key can do: number and chain the frames, with right checksums."""
    mended, lsn, chain = [header], 1, 0
    for frame in frames:
        payload = frame[FRAME_BYTES:]
        magic, length, salt, _, count, _ = struct.unpack_from("<IIQQII", frame)
        fields = struct.pack("<IIQQII", magic, length, salt, lsn, count, chain)
        chain = zlib.crc32(payload, zlib.crc32(fields))
        mended.append(fields + struct.pack("<I", chain) + payload)
        lsn += count
    return mended


def test_what_was_written_with_a_key_comes_back_with_it_across_files(tmp_path: Path) -> None:
    log, _ = _open(tmp_path / "wal")
    bodies = [b"a", b"", b"c" * MIN_FILE_BYTES, b"d", b"e" * MIN_FILE_BYTES]
    for body in bodies:
        log.append([(1, 10, body), (2, 11, b"beside")])
    log.close()

    found = _found(tmp_path / "wal")

    assert [body for _, body in found] == [one for body in bodies for one in (body, b"beside")]
    assert len(list((tmp_path / "wal").glob("*.wal"))) > 1
    log, _ = _open(tmp_path / "wal")
    log.append([(1, 12, b"again")])
    log.close()
    assert _found(tmp_path / "wal")[-1] == (11, b"again")


def test_a_log_whose_first_files_were_released_is_still_authenticated(tmp_path: Path) -> None:
    log, _ = _open(tmp_path / "wal")
    for number in range(4):
        log.append([(1, number, bytes(MIN_FILE_BYTES))])
    log.release(3)
    log.append([(1, 4, b"last")])
    log.close()

    assert _found(tmp_path / "wal", after=3)[-1] == (5, b"last")
    with pytest.raises(WalKeyError):
        _found(tmp_path / "wal", OTHER, after=3)


def test_an_authenticated_log_cut_at_any_byte_keeps_exactly_what_lies_before_the_cut(tmp_path: Path) -> None:
    bodies = [b"first", b"", b"third" * 20, b"last"]
    content = b"".join(parts := _write(tmp_path / "wal", bodies))
    ends = [sum(map(len, parts[: n + 2])) for n in range(len(bodies))]
    for cut in range(len(content) + 1):
        for filled in (content[:cut], content[:cut].ljust(4096, b"\0")):
            (tmp_path / "wal" / "000000000001.wal").write_bytes(filled)
            whole = sum(filled[:end] == content[:end] for end in ends)  # a cut zero is no cut when zeros follow

            found = [body for _, body in _found(tmp_path / "wal")]

            assert found == bodies[:whole], cut


def test_a_flipped_bit_drops_the_last_frame_or_is_refused(tmp_path: Path) -> None:
    bodies = [b"first", b"second", b"last"]
    content = b"".join(parts := _write(tmp_path / "wal", bodies))
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        path = _put(tmp_path / "wal", [bytes(flipped)])

        if at >= len(content) - len(parts[-1]):
            assert [body for _, body in _found(tmp_path / "wal")] == bodies[:2]
        else:
            with pytest.raises(CorruptionError) as caught:
                _found(tmp_path / "wal")
            assert caught.value.details["file"] == str(path)


Forgery = Callable[[list[bytes]], list[bytes]]


@pytest.mark.parametrize(
    ("forge", "at"),
    [
        pytest.param(lambda f: [f[0], f[1].replace(b"second", b"forged"), f[2], f[3]], 1, id="changed"),
        pytest.param(lambda f: [f[0], f[1], f[2], f[3].replace(b"fourth", b"forged")], 3, id="last changed"),
        pytest.param(lambda f: [f[0], f[2], f[3]], 1, id="removed"),
        pytest.param(lambda f: [f[1], f[2], f[3]], 0, id="first removed"),
        pytest.param(lambda f: [f[0], f[2], f[1], f[3]], 1, id="reordered"),
        pytest.param(lambda f: [*f, f[3]], 4, id="repeated"),
        pytest.param(lambda f: [*f, f[0][:FRAME_BYTES] + bytes(MAC_BYTES) + f[0][FRAME_BYTES + MAC_BYTES :]], 4, id="no mac"),
        pytest.param(lambda f: [*f, f[0][:4] + struct.pack("<I", 13) + f[0][8:FRAME_BYTES] + f[0][-18:-5]], 4, id="short"),
    ],
)  # fmt: skip
def test_a_forged_frame_is_refused_by_file_and_offset_though_its_checksums_are_right(
    tmp_path: Path, forge: Forgery, at: int
) -> None:
    header, *frames = _write(tmp_path / "wal", [b"first", b"second", b"third!", b"fourth"])
    assert _mended(header, frames) == [header, *frames]
    forged = _mended(header, forge(frames))
    path = _put(tmp_path / "wal", forged)

    with pytest.raises(CorruptionError, match=r"not written with this key.*Restore a backup") as caught:
        _found(tmp_path / "wal")

    assert caught.value.details == {"file": str(path), "offset": sum(map(len, forged[: at + 1]))}
    with pytest.raises(CorruptionError):  # and again: nothing was mended, nothing passed over
        _found(tmp_path / "wal")


@pytest.mark.parametrize("place", [24, 32, 40, 48, 64, 96])
def test_a_forged_header_is_refused_though_its_checksum_is_right(tmp_path: Path, place: int) -> None:
    header, *frames = _write(tmp_path / "wal", [b"first"])
    forged = bytearray(header)
    forged[place] ^= 1
    forged[52:56] = struct.pack("<I", zlib.crc32(forged[56:], zlib.crc32(forged[:52])))
    for parts in ([bytes(forged), *frames], [bytes(forged)]):
        _put(tmp_path / "wal", parts)

        with pytest.raises(CorruptionError, match="header"):
            _found(tmp_path / "wal")


def test_a_file_of_another_life_of_the_log_does_not_continue_this_one(tmp_path: Path) -> None:
    chain = None
    for name in ("one", "two"):
        log, _ = _open(tmp_path / name)
        log.append([(1, 1, name.encode())])
        chain = log._chain = chain or log._chain  # as if the checksums were the same by chance
        log._begin_file(0)
        log.append([(1, 2, b"second")])
        log.close()
    shutil.copy(tmp_path / "two" / "000000000002.wal", tmp_path / "one")
    with pytest.raises(CorruptionError, match="missing or damaged"):
        _found(tmp_path / "one")


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        (SECRET, None, r"authenticated, and no key was given: set T4DM_STORAGE__WAL_MAC"),
        (SECRET, OTHER, r"another key than the one given"),
        (None, SECRET, r"not authenticated, but a key was given"),
    ],
)
def test_records_that_are_needed_are_refused_with_another_key_and_what_is_in_segments_is_not(
    tmp_path: Path, before: bytes | None, now: bytes | None, says: str
) -> None:
    directory = tmp_path / "wal"
    first = _write(directory, [b"first", b"second"], before)
    kept = {path: path.read_bytes() for path in directory.iterdir()}

    for after in (0, 1):
        with pytest.raises(WalKeyError, match=says) as caught:
            _found(directory, now, after=after)
        assert caught.value.details["file"] == str(directory / "000000000001.wal")
        assert caught.value.details["offset"] == sum(map(len, first[: after + 1]))
        assert {path: path.read_bytes() for path in directory.iterdir()} == kept
    log, found = _open(directory, now, after=2)
    assert found == []
    assert log.append([(1, 3, b"third")]) == 3
    log.close()

    assert _found(directory, now, after=2) == [(3, b"third")]
    assert [path.name for path in directory.iterdir()] == ["000000000002.wal"]
    with pytest.raises(WalKeyError):
        _found(directory, before, after=2)


def test_a_log_without_records_changes_its_key(tmp_path: Path) -> None:
    log, _ = _open(tmp_path / "wal")
    log._begin_file(0)
    log.close()

    for secret in (OTHER, None, SECRET):
        log, found = _open(tmp_path / "wal", secret)
        assert found == []
        log.close()
    log, _ = _open(tmp_path / "wal")
    log.append([(1, 1, b"first")])
    log.close()

    assert _found(tmp_path / "wal") == [(1, b"first")]


def test_an_empty_file_of_another_key_at_the_end_takes_nothing_away(tmp_path: Path) -> None:
    _write(tmp_path / "wal", [b"first"])
    log, _ = _open(tmp_path / "wal")
    log._key = LogKey(OTHER)
    log._begin_file(0)
    log.close()

    for _ in range(2):
        assert _found(tmp_path / "wal") == [(1, b"first")]


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="32 bytes"):
        T4DXEngine(tmp_path / "space", wal_key=b"short")
    with pytest.raises(InvalidInputError, match="32 bytes"), Database(tmp_path / "store", wal_key=b"short") as database:
        database.create_space("s")


class _Plain(Wal):
    """The log as it is specified without macs, written by hand."""

    def expected(self, groups: Sequence[Sequence[tuple[int, int, bytes]]]) -> bytes:
        salt = self._files[-1].salt
        header = struct.pack("<8s16sQQQI", b"T4DXWAL1", STORE, 1, salt, 1, 0)
        content = header + struct.pack("<I", zlib.crc32(header)) + bytes(8)
        lsn, chain = 1, 0
        for group in groups:
            payload = b"".join(struct.pack("<IBq", len(body), kind, time) + body for kind, time, body in group)
            fields = struct.pack("<IIQQII", 0x4D463454, len(payload), salt, lsn, len(group), chain)
            chain = zlib.crc32(payload, zlib.crc32(fields))
            content += fields + struct.pack("<I", chain) + payload
            lsn += len(group)
        return content


_record = st.tuples(st.integers(1, 7), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=60))


@given(groups=st.lists(st.lists(_record, min_size=1, max_size=4), min_size=1, max_size=6))
def test_a_log_without_a_key_is_the_same_to_the_byte(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[tuple[int, int, bytes]]]
) -> None:
    directory = tmp_path_factory.mktemp("log") / "wal"
    log = _Plain(UnsyncedFileSystem(), directory, store_id=STORE, sync=False)
    list(log.recover(0))
    for group in groups:
        log.append(group)
    log.close()

    content = (directory / "000000000001.wal").read_bytes()

    assert content == log.expected(groups).ljust(MIN_FILE_BYTES, b"\0")


@given(groups=st.lists(st.lists(_record, min_size=1, max_size=4), min_size=1, max_size=6))
def test_a_log_with_a_key_is_what_the_page_says(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[tuple[int, int, bytes]]]
) -> None:
    directory, key = tmp_path_factory.mktemp("log") / "wal", LogKey(SECRET)
    log = Wal(UnsyncedFileSystem(), directory, store_id=STORE, sync=False, key=key)
    list(log.recover(0))
    for group in groups:
        log.append(group)
    salt = log._files[-1].salt
    log.close()

    header = struct.pack("<8s16sQQQI", b"T4DXWALM", STORE, 1, salt, 1, 0)
    mac = key.mac(header + key.id + bytes(32))
    rest = key.id + bytes(32) + mac
    content = header + struct.pack("<I", zlib.crc32(header + rest)) + rest
    lsn, chain = 1, 0
    for group in groups:
        records = b"".join(struct.pack("<IBq", len(body), kind, time) + body for kind, time, body in group)
        fields = struct.pack("<IIQQII", 0x4D463454, 32 + len(records), salt, lsn, len(group), chain)
        mac = key.mac(mac + fields + records)
        chain = zlib.crc32(fields + mac + records)
        content += fields + struct.pack("<I", chain) + mac + records
        lsn += len(group)
    assert (directory / "000000000001.wal").read_bytes() == content.ljust(MIN_FILE_BYTES, b"\0")


# Whole stores -----------------------------------------------------------------------------------------


def _store(root: Path, **options: Any) -> Database:
    return Database(root, wal_key=SECRET, merge_in_background=False, **options)


def _crashed_copy(root: Path, target: Path) -> Path:
    shutil.copytree(root, target, ignore=shutil.ignore_patterns("LOCK", "CLEAN"))
    return target


def test_the_key_changes_after_a_clean_close_and_not_after_a_crash(tmp_path: Path) -> None:
    with _store(tmp_path / "store") as database:
        database.create_space("notes").insert([write("a")])
        crashed = _crashed_copy(tmp_path / "store", tmp_path / "crashed")
    for secret in (OTHER, None, SECRET):
        with Database(tmp_path / "store", wal_key=secret) as database:
            assert list(state_of(database.space("notes"))) == ["a"]

    for wrong in (OTHER, None):
        with pytest.raises(WalKeyError):
            Database(crashed, wal_key=wrong)
    with _store(crashed) as database:
        assert list(state_of(database.space("notes"))) == ["a"]


def test_a_change_of_key_that_fails_at_any_step_loses_nothing(tmp_path: Path) -> None:
    with _store(tmp_path / "store", fs=UnsyncedFileSystem()) as database:
        database.create_space("notes").insert([write("a")])
    steps = 0
    for step in itertools.count(1):
        root = _crashed_copy(tmp_path / "store", tmp_path / f"at-{step}")
        fs = SteppedFileSystem(step, for_good=True)
        with contextlib.suppress(StorageError), Database(root, wal_key=OTHER, fs=fs) as database:
            database.space("notes").insert([write("b")])
            if fs.steps < step:
                break
        steps = step
        with contextlib.suppress(WalKeyError), _store(root) as database:
            assert "a" in state_of(database.space("notes"))
            continue
        with Database(root, wal_key=OTHER) as database:  # "b" may be in its log: then the old key is refused
            assert set(state_of(database.space("notes"))) == {"a", "b"}
    assert steps > 10


def test_the_log_of_one_space_is_not_taken_for_that_of_another(tmp_path: Path) -> None:
    with _store(tmp_path / "store") as database:
        for name in ("one", "two"):
            database.create_space(name).insert([write(name)])
        crashed = _crashed_copy(tmp_path / "store", tmp_path / "crashed")
    one, two = crashed / "spaces" / "1" / "wal", crashed / "spaces" / "2" / "wal"
    shutil.rmtree(two)
    shutil.copytree(one, two)

    with pytest.raises(WalKeyError, match="another key"):
        Database(crashed, wal_key=SECRET)


def test_a_store_is_verified_backed_up_and_restored_to_any_moment_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "MIN_FILE_BYTES", 2048)
    monkeypatch.setattr(wal, "MAX_FILE_BYTES", 2048)
    states, moments = [], []
    with _store(tmp_path / "store", archive=tmp_path / "archive") as database:
        engine = database.create_space("notes")
        engine.insert([write("first")])
        database.backup(tmp_path / "backup")
        for number in range(30):
            engine.insert([write(f"{number}", content="x" * 100)])
            states.append(state_of(engine))
            moments.append(engine.snapshot())
            if number % 7 == 0:
                engine.flush()
        crashed = _crashed_copy(tmp_path / "store", tmp_path / "crashed")
        assert database.verify().is_sound

    assert verify_files(tmp_path / "backup", wal_key=SECRET).is_sound
    assert verify_files(crashed, wal_key=SECRET).is_sound
    with pytest.raises(WalKeyError, match=str(crashed / "spaces")):
        verify_files(crashed)
    for at in (3, 20):
        given_to = {"archive": tmp_path / "archive", "until": moments[at]}
        restore(tmp_path / "backup", tmp_path / f"at-{at}", wal_key=SECRET, **given_to)
        with _store(tmp_path / f"at-{at}") as database:
            assert state_of(database.space("notes")) == states[at]
        with pytest.raises(WalKeyError):
            restore(tmp_path / "backup", tmp_path / "never", **given_to)
    assert not (tmp_path / "never").exists()


def test_a_forged_frame_is_found_while_the_store_is_open_and_no_backup_is_made_of_it(tmp_path: Path) -> None:
    with _store(tmp_path / "store") as database:
        engine = database.create_space("notes")
        for name in ("first", "second", "third!"):
            engine.insert([write(name)])
        (path,) = (tmp_path / "store" / "spaces" / "1" / "wal").glob("*.wal")
        content = path.read_bytes()
        starts = [at for at in range(len(content)) if content.startswith(b"T4FM", at)]
        end = engine._wal._offset
        frames = [content[a:b] for a, b in zip(starts, [*starts[1:], end], strict=True)]
        forged = _mended(content[: starts[0]], [frames[0], frames[1].replace(b"second", b"forged"), frames[2]])
        with path.open("r+b") as file:
            file.write(b"".join(forged))

        report = database.verify()
        with pytest.raises(CorruptionError):
            database.backup(tmp_path / "backup")

    assert [problem.file for problem in report.problems] == [str(path)]
    assert f"byte {starts[1]}" in report.problems[0].message
    assert not (tmp_path / "backup").exists()


def test_an_archive_goes_on_where_the_key_was_changed(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with _store(tmp_path / "store", archive=archive) as database:
        engine = database.create_space("notes")
        engine.insert([write("a")])
        database.backup(tmp_path / "backup")
        engine.insert([write("b")])
        moment = engine.snapshot()
    for secret, name in ((OTHER, "c"), (SECRET, "d")):
        with Database(tmp_path / "store", archive=archive, wal_key=secret) as database:
            engine = database.space("notes")
            engine.insert([write(name)])
            engine.compact(everything=True)
            if name == "c":
                database.backup(tmp_path / "later")

    restore(tmp_path / "backup", tmp_path / "early", archive=archive, until=moment, wal_key=SECRET)
    with _store(tmp_path / "early") as database:
        assert list(state_of(database.space("notes"))) == ["a", "b"]
    with pytest.raises(WalKeyError, match="another key"):
        restore(tmp_path / "backup", tmp_path / "never", archive=archive, wal_key=SECRET)
    restore(tmp_path / "later", tmp_path / "late", archive=archive, wal_key=SECRET)
    with _store(tmp_path / "late") as database:
        assert list(state_of(database.space("notes"))) == ["a", "b", "c", "d"]
