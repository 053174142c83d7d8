"""Every step of a workload fails once, fails for good, or is the last one before the power goes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

import pytest

from t4dm_daemon.core.clock import RecordClock
from t4dm_daemon.core.errors import StorageError
from t4dm_daemon.storage.t4dx import T4DXEngine, wal
from t4dm_daemon.storage.t4dx.fs import FileSystem
from tests.crash.files import ForgetfulFileSystem, PowerCutFileSystem, SteppedFileSystem
from tests.crash.workload import State, state_of, steps
from tests.support.copies import copy_store
from tests.unit.storage.t4dx.items import UnsyncedFileSystem

EVERY = 16
"""Steps are taken in turns of so many: the first turn in every run, a second where there is time, all in a campaign."""
IS_CAMPAIGN = os.environ.get("T4DM_CRASH") == "all"
first_steps = pytest.mark.parametrize(
    "first",
    [1, *(pytest.param(first, marks=pytest.mark.slow) for first in (range(2, EVERY + 1) if IS_CAMPAIGN else [8]))],
)


class _Counter:
    """A wall clock that stands still: transaction times are 1, 2, 3, …"""

    def __call__(self) -> int:
        return 0


def _open(root: Path, fs: FileSystem) -> T4DXEngine:
    return T4DXEngine(root, fs=fs, clock=RecordClock(_Counter()), flush_items=1000, merge_in_background=False)


def _state(root: Path, copy: Path) -> State:
    """What a process that opens a copy of these files sees; opened twice, for the first may repair."""
    shutil.rmtree(copy, ignore_errors=True)
    copy_store(root, copy)
    seen = []
    for _ in range(2):
        engine = _open(copy, UnsyncedFileSystem())
        seen.append(state_of(engine))
        engine.close()
    assert seen[0] == seen[1]
    return seen[0]


def _run(engine: T4DXEngine) -> State:
    """Run the workload, whatever fails, and return what readers see at the end."""
    for step in steps():
        with contextlib.suppress(StorageError):
            step(engine)
    return state_of(engine)


def _count_steps(tmp_path: Path) -> int:
    fs = SteppedFileSystem()
    engine = _open(tmp_path / "count", fs)
    _run(engine)
    engine._wal.close()
    return fs.steps


@first_steps
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
def test_whatever_step_fails_nothing_acknowledged_is_lost(
    tmp_path: Path, error: int, for_good: bool, first: int
) -> None:
    total = _count_steps(tmp_path)
    assert total > 50

    for at in range(first, total + 1, EVERY):
        root = tmp_path / "store"
        shutil.rmtree(root, ignore_errors=True)
        fs = SteppedFileSystem(at, error=error, for_good=for_good)
        try:
            engine = _open(root, fs)
        except (OSError, StorageError):
            continue  # it did not open: nothing was acknowledged
        live = _run(engine)

        found = _state(root, tmp_path / "copy")
        engine._wal.close()

        if engine.stats()["is_read_only"]:
            # A frame whose sync failed may be there or not; the log takes nothing after it.
            assert _is_one_command_ahead(live, found), (at, fs.failed, live, found)
        else:
            assert found == live, (at, fs.failed)


def _is_one_command_ahead(live: State, found: State) -> bool:
    """Whether `found` is `live`, or what the command after it in the workload would have made of it."""
    if live == found:
        return True
    differing = [name for name in {*live, *found} if live.get(name) != found.get(name)]
    # No command of the workload touches more than two items and those it links, but for the scaling of two links.
    return len(differing) <= 4 and all(
        name not in live or name not in found or found[name][1:3] >= live[name][1:3] for name in differing
    )


@first_steps
def test_after_a_failed_flush_the_next_one_writes_it_all(tmp_path: Path, first: int) -> None:
    total = _count_steps(tmp_path)

    for at in range(first, total + 1, EVERY):
        root = tmp_path / "store"
        shutil.rmtree(root, ignore_errors=True)
        fs = SteppedFileSystem(at, error=errno.ENOSPC)
        try:
            engine = _open(root, fs)
        except (OSError, StorageError):
            continue
        live = _run(engine)
        if engine.stats()["is_read_only"]:
            engine._wal.close()
            continue

        fs.at = None  # the disk is well again
        engine.compact()
        after = state_of(engine)
        assert engine.stats()["flush_error"] is None
        engine.close()

        assert after == live, (at, fs.failed)
        assert _state(root, tmp_path / "copy") == live, (at, fs.failed)


def test_what_was_not_synced_may_vanish_but_nothing_acknowledged(tmp_path: Path) -> None:
    workload = steps()
    for stop in range(1, len(workload) + 1):
        root = tmp_path / f"store-{stop}"
        root.mkdir()
        fs = ForgetfulFileSystem()
        engine = _open(root, fs)
        for step in workload[:stop]:
            step(engine)
        live = state_of(engine)
        engine._wal.close()

        fs.forget()

        assert _state(root, tmp_path / "copy") == live, stop


@first_steps
@pytest.mark.parametrize("seed", [None, 1, 2], ids=["all", "some", "others"])
def test_whenever_the_power_goes_what_was_acknowledged_stays(tmp_path: Path, first: int, seed: int | None) -> None:
    """At each step the power goes; of what was not synced nothing, or any sectors, or the first names arrive."""
    fs = PowerCutFileSystem()
    engine = _open(tmp_path / "count", fs)
    _run(engine)
    engine._wal.close()
    total = fs.steps
    assert total > 50

    for at in range(first, total + 1, EVERY):
        root = tmp_path / "store"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        fs = PowerCutFileSystem(at)
        try:
            engine = _open(root, fs)
        except (OSError, StorageError):
            continue
        live = _run(engine)
        with contextlib.suppress(OSError):
            engine._wal.close()

        fs.forget(seed)

        assert _is_one_command_ahead(live, _state(root, tmp_path / "copy")), (at, seed)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_refuses_the_write_and_a_free_one_takes_it_again(
    tmp_path: Path, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "MIN_FILE_BYTES", 65536)
    fs = SteppedFileSystem()
    engine = _open(tmp_path / "store", fs)
    workload = steps()
    workload[0](engine)
    workload[2](engine)
    before = state_of(engine)

    fs._error, fs.at, fs._for_good = error, fs.steps + 1, True
    with pytest.raises(StorageError):
        workload[1](engine)
    assert state_of(engine) == before
    fs.at = None

    if error == errno.ENOSPC:
        workload[1](engine)
        assert set(state_of(engine)) == {"a", "b", "c"}
    else:
        with pytest.raises(StorageError, match="restart"):
            workload[1](engine)
        assert engine.stats()["is_read_only"]
    engine.close()
    reopened = _open(tmp_path / "store", FileSystem())
    assert set(before) <= set(state_of(reopened))
    reopened.close()
