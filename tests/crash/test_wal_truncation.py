"""The log, cut at every byte and with bits flipped: what is recovered is exactly what was whole, or an error."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import pytest

from t4dm_daemon.core.clock import RecordClock
from t4dm_daemon.core.errors import CorruptionError
from t4dm_daemon.storage.t4dx import T4DXEngine, wal
from t4dm_daemon.storage.t4dx.wal_format import FILE_HEADER_BYTES, FRAME_BYTES
from tests.crash.workload import State, state_of, steps
from tests.unit.storage.t4dx.items import UnsyncedFileSystem, write


@pytest.fixture(autouse=True)
def _one_log_file(monkeypatch: pytest.MonkeyPatch, _small_log_files: None) -> None:
    monkeypatch.setattr(wal, "MIN_FILE_BYTES", 4096)
    monkeypatch.setattr(wal, "MAX_FILE_BYTES", 4096)


def _open(root: Path) -> T4DXEngine:
    return T4DXEngine(root, fs=UnsyncedFileSystem(), clock=RecordClock(lambda: 0))


class _Log:
    """A store whose log holds a workload, the end of every frame in it, and the state at that point."""

    def __init__(self, root: Path) -> None:
        self.root = root
        engine = _open(root)
        self.ends = [FILE_HEADER_BYTES]
        self.states: list[State] = [state_of(engine)]
        for step in steps():
            if engine.stats()["wal_bytes"] > 2500:
                break
            before = engine._state.applied_lsn
            with pytest.MonkeyPatch.context() as patch:  # all of it in one log
                patch.setattr(engine, "flush", lambda: None)
                patch.setattr(engine, "compact", lambda **_: None)
                step(engine)
            if engine._state.applied_lsn > before:
                self.ends.append(engine.stats()["wal_bytes"])
                self.states.append(state_of(engine))
        engine._wal.close()
        (self.path,) = (root / "wal").glob("*.wal")
        self.content = self.path.read_bytes()

    def with_content(self, root: Path, content: bytes) -> Path:
        """A copy of the store whose log has this content."""
        if not root.exists():
            shutil.copytree(self.root, root)
        for old in (root / "wal").iterdir():
            old.unlink()
        path = root / "wal" / self.path.name
        path.write_bytes(content)
        return path


@pytest.fixture
def log(tmp_path: Path) -> _Log:
    return _Log(tmp_path / "store")


def _seen(root: Path) -> State:
    engine = _open(root)
    state = state_of(engine)
    engine._wal.close()
    return state


def test_a_log_cut_at_any_byte_keeps_exactly_what_lies_before_the_cut(tmp_path: Path, log: _Log) -> None:
    for cut in range(log.ends[-1] + 1):
        whole = sum(end <= cut for end in log.ends) - 1
        log.with_content(tmp_path / "cut", log.content[:cut])

        assert _seen(tmp_path / "cut") == log.states[max(whole, 0)], cut


def test_a_log_whose_end_was_never_written_keeps_what_was(tmp_path: Path, log: _Log) -> None:
    for cut in range(0, log.ends[-1] + 1, 7):
        content = log.content[:cut].ljust(len(log.content), b"\0")
        whole = sum(content[:end] == log.content[:end] for end in log.ends) - 1  # some end in zeros
        log.with_content(tmp_path / "cut", content)

        assert _seen(tmp_path / "cut") == log.states[max(whole, 0)], cut


def test_a_flipped_bit_drops_the_tail_or_is_refused_by_file_and_offset(tmp_path: Path, log: _Log) -> None:
    rng = random.Random(11)
    last = log.ends[-2]
    for at in sorted(rng.sample(range(log.ends[-1]), 600)):
        content = bytearray(log.content)
        content[at] ^= 1 << rng.randrange(8)
        path = log.with_content(tmp_path / "flip", bytes(content))

        unused = range(FILE_HEADER_BYTES - 8, FILE_HEADER_BYTES)
        if at in unused or at >= last:
            assert _seen(tmp_path / "flip") == (log.states[-1] if at in unused else log.states[-2])
            continue
        with pytest.raises(CorruptionError, match=re.escape(str(path))) as caught:
            _seen(tmp_path / "flip")

        assert caught.value.details["file"] == str(path)
        assert caught.value.details["offset"] <= at


def test_a_frame_removed_from_the_middle_is_noticed(tmp_path: Path, log: _Log) -> None:
    for first in range(1, len(log.ends) - 1):
        for last in range(first, len(log.ends) - 1):
            gone = log.ends[last] - log.ends[first - 1]
            content = log.content[: log.ends[first - 1]] + log.content[log.ends[last] :] + bytes(gone)
            path = log.with_content(tmp_path / "gap", content)

            with pytest.raises(CorruptionError) as caught:
                _seen(tmp_path / "gap")

            assert caught.value.details["file"] == str(path)


def test_a_repeated_frame_is_not_applied_twice(tmp_path: Path, log: _Log) -> None:
    end, before = log.ends[-1], log.ends[-2]
    content = bytearray(log.content)
    content[end : end + (end - before)] = content[before:end]
    log.with_content(tmp_path / "twice", bytes(content))

    assert _seen(tmp_path / "twice") == log.states[-1]


def test_what_is_written_after_a_torn_tail_survives_the_next_crash(tmp_path: Path, log: _Log) -> None:
    for cut in range(log.ends[-2] + 1, log.ends[-1], 5):
        root = tmp_path / "torn"
        log.with_content(root, log.content[:cut].ljust(len(log.content), b"\0"))

        engine = _open(root)
        steps()[0](engine)
        written = state_of(engine)
        engine._wal.close()

        assert _seen(root) == written, cut


def test_stale_frames_of_an_earlier_life_of_the_disk_are_ignored(tmp_path: Path, log: _Log) -> None:
    other = _Log(tmp_path / "other")
    end, before = log.ends[-1], log.ends[-2]
    stale = log.content[:end] + other.content[before : other.ends[-1]]
    log.with_content(tmp_path / "stale", stale.ljust(len(log.content), b"\0"))

    assert _seen(tmp_path / "stale") == log.states[-1]


def test_a_frame_whose_text_looks_like_a_frame_is_no_damage(tmp_path: Path, log: _Log) -> None:
    engine = _open(tmp_path / "store")
    frame = log.content[log.ends[0] : log.ends[1]].decode("latin-1")
    for number in range(3):
        engine.insert([write(f"quote-{number}", frame)])
    wanted = state_of(engine)
    end = engine._wal._offset
    engine._wal.close()
    assert _seen(tmp_path / "store") == wanted

    content = log.path.read_bytes()
    log.with_content(tmp_path / "torn", content[: end - FRAME_BYTES].ljust(len(content), b"\0"))
    assert set(_seen(tmp_path / "torn")) == set(wanted) - {"quote-2"}
