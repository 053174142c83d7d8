from __future__ import annotations

import os
from pathlib import Path

import pytest

from t4dm_daemon.core.errors import CorruptionError, StorageFullError, WalError
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.wal import MIN_FILE_BYTES, Wal
from tests.crash.files import SteppedFileSystem

STORE = b"s" * 16


def _open(directory: Path, *, after: int = 0, fs: FileSystem | None = None) -> tuple[Wal, list[tuple[int, bytes]]]:
    wal = Wal(fs or FileSystem(), directory, store_id=STORE, sync=True)
    return wal, [(record.lsn, bytes(record.body)) for record in wal.recover(after)]


def test_records_come_back_in_order_with_their_numbers(tmp_path: Path) -> None:
    wal, _ = _open(tmp_path / "wal")
    assert wal.append([(1, 10, b"a"), (2, 11, b"")]) == 1
    assert wal.append([(1, 12, b"c" * 5000)]) == 3
    wal.close()

    wal, found = _open(tmp_path / "wal")
    assert found == [(1, b"a"), (2, b""), (3, b"c" * 5000)]
    assert wal.append([(1, 13, b"d")]) == 4
    wal.close()
    assert _open(tmp_path / "wal", after=2)[1] == [(3, b"c" * 5000), (4, b"d")]


def test_a_record_larger_than_a_file_gets_a_file_that_holds_it(tmp_path: Path) -> None:
    wal, _ = _open(tmp_path / "wal")
    wal.append([(1, 1, b"small")])
    wal.append([(1, 2, b"x" * (16 * 1024 * 1024))])
    wal.append([(1, 3, b"small")])
    wal.close()

    _, found = _open(tmp_path / "wal")
    assert [len(body) for _, body in found] == [5, 16 * 1024 * 1024, 5]


def test_files_behind_a_checkpoint_are_released_but_never_the_last(tmp_path: Path) -> None:
    wal, _ = _open(tmp_path / "wal")
    for number in range(4):
        wal.append([(1, number, bytes(MIN_FILE_BYTES))])
    wal.release(3)
    assert len(list((tmp_path / "wal").glob("*.wal"))) == 1
    wal.release(4)
    wal.close()

    assert len(list((tmp_path / "wal").glob("*.wal"))) == 1
    assert _open(tmp_path / "wal", after=3)[1][0][0] == 4


def test_a_log_that_ends_before_the_checkpoint_opens_again_and_again(tmp_path: Path) -> None:
    """Without sync the checkpoint may survive a power failure that the log's end does not."""
    wal, _ = _open(tmp_path / "wal")
    wal.append([(1, 1, b"a")])
    wal.close()

    for _ in range(3):
        wal, found = _open(tmp_path / "wal", after=10)
        assert found == []
        wal.close()
    wal, _ = _open(tmp_path / "wal", after=10)
    assert wal.append([(1, 2, b"b")]) == 11
    wal.close()
    assert _open(tmp_path / "wal", after=10)[1] == [(11, b"b")]


def test_a_missing_log_is_refused_when_there_was_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CorruptionError, match="missing"):
        _open(tmp_path / "wal", after=1)


def test_a_missing_file_in_the_middle_is_refused(tmp_path: Path) -> None:
    wal, _ = _open(tmp_path / "wal")
    for number in range(6):
        wal.append([(1, number, bytes(MIN_FILE_BYTES))])
    _, second, third = wal._files
    wal.close()
    second.path.unlink()

    with pytest.raises(CorruptionError, match="missing or damaged"):
        _open(tmp_path / "wal")
    found = _open(tmp_path / "wal", after=third.first_lsn - 1)[1]
    assert found[0][0] == third.first_lsn  # a checkpoint has what is gone


def test_the_log_of_another_store_is_refused(tmp_path: Path) -> None:
    wal, _ = _open(tmp_path / "wal")
    wal.append([(1, 1, b"a")])
    wal.close()

    with pytest.raises(CorruptionError, match="another store"):
        list(Wal(FileSystem(), tmp_path / "wal", store_id=b"t" * 16, sync=True).recover(0))


def test_a_frame_torn_by_a_full_disk_does_not_bar_the_next_file(tmp_path: Path) -> None:
    fs = SteppedFileSystem(error=28)
    wal, _ = _open(tmp_path / "wal", fs=fs)
    wal.append([(1, 1, b"a")])
    fs.at, fs._for_good = fs.steps + 1, True
    with pytest.raises(StorageFullError):
        wal.append([(1, 2, b"torn" * 100)])
    fs.at = None
    wal.append([(1, 3, b"b" * MIN_FILE_BYTES)])
    wal.close()

    assert [lsn for lsn, _ in _open(tmp_path / "wal")[1]] == [1, 2]


def test_after_a_failed_sync_nothing_is_written_until_it_is_opened_again(tmp_path: Path) -> None:
    fs = SteppedFileSystem()
    wal, _ = _open(tmp_path / "wal", fs=fs)
    wal.append([(1, 1, b"a")])
    fs.at = fs.steps + 2
    with pytest.raises(WalError, match="read-only"):
        wal.append([(1, 2, b"b")])
    with pytest.raises(WalError, match="restart"):
        wal.append([(1, 3, b"c")])
    wal.close()

    wal, found = _open(tmp_path / "wal")
    assert found[0] == (1, b"a")
    assert wal.append([(1, 4, b"d")]) == len(found) + 1
    wal.close()


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    pwrite = os.pwrite

    def short(descriptor: int, content: memoryview, offset: int) -> int:
        written.append(pwrite(descriptor, content[: max(1, len(content) // 3)], offset))
        return written[-1]

    wal, _ = _open(tmp_path / "wal")
    wal.append([(1, 1, b"first")])
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", short)
        wal.append([(1, 2, bytes(range(256)) * 40)])
    wal.append([(1, 3, b"last")])
    wal.close()

    assert len(written) > 10
    assert _open(tmp_path / "wal")[1] == [(1, b"first"), (2, bytes(range(256)) * 40), (3, b"last")]


def test_a_new_file_is_written_whole_by_short_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, content, offset: pwrite(descriptor, content[:7], offset))

    size = FileSystem().write_new(tmp_path / "file", [b"0123456789", memoryview(b"abc"), b""])

    assert size == 13
    assert (tmp_path / "file").read_bytes() == b"0123456789abc"


@pytest.mark.parametrize("page", [0, 1, 3])
def test_a_zeroed_page_before_the_last_frame_is_damage_and_no_torn_tail(tmp_path: Path, page: int) -> None:
    wal, _ = _open(tmp_path / "wal")
    for number in range(10):
        wal.append([(1, number, b"x" * 2000)])
    wal.close()
    (path,) = (tmp_path / "wal").iterdir()
    content = bytearray(path.read_bytes())
    content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    path.write_bytes(content)

    with pytest.raises(CorruptionError, match=path.name):
        _open(tmp_path / "wal")
    assert path.read_bytes() == content
