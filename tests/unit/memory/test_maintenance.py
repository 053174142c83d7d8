from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from t4dm_daemon.core.errors import BusyError, NotFoundError, StorageClosedError
from t4dm_daemon.memory.maintenance import Maintenance, plain_report
from t4dm_daemon.storage.t4dx.compaction import CompactionReport

REPORT = CompactionReport(1, 3, 1, 9, 7, 900, 700, 0.5)
TIMEOUT_S = 30
NOWHERE = Path("/nowhere")


class FakeStore:
    """A store whose spaces do what a test says."""

    def __init__(self, **spaces: Callable[[threading.Event | None], object]) -> None:
        self.engines = {name: FakeEngine(work) for name, work in spaces.items()}

    def spaces(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: {} for name in self.engines}

    def space(self, name: str) -> FakeEngine:
        if name not in self.engines:
            raise NotFoundError(f"there is no space {name!r}", space=name)
        return self.engines[name]


class FakeEngine:
    def __init__(self, work: Callable[[threading.Event | None], object]) -> None:
        self._work = work

    def flush(self) -> None:
        self._work(None)

    def compact(self, *, everything: bool = False, cancel: threading.Event | None = None) -> CompactionReport:
        self._work(cancel)
        return REPORT


def test_every_space_is_compacted_by_name() -> None:
    store = FakeStore(b=lambda _: None, a=lambda _: None)

    done = Maintenance(store, backups=NOWHERE).compact()

    assert [space for space, _ in done] == ["a", "b"]
    assert plain_report(*done[0])["rows_after"] == 7


def test_a_space_that_is_deleted_meanwhile_is_passed_over() -> None:
    def vanish(_: object) -> None:
        del store.engines["b"]
        raise StorageClosedError("the store is closed")

    store = FakeStore(a=lambda _: None, b=vanish, c=lambda _: None)

    assert [space for space, _ in Maintenance(store, backups=NOWHERE).compact()] == ["a", "c"]
    with pytest.raises(NotFoundError):
        Maintenance(store, backups=NOWHERE).compact(space="b")


def test_a_store_that_is_closed_is_no_deleted_space() -> None:
    def closed(_: object) -> None:
        raise StorageClosedError("the store is closed")

    with pytest.raises(StorageClosedError):
        Maintenance(FakeStore(a=closed), backups=NOWHERE).flush()


def test_one_compaction_runs_at_a_time() -> None:
    began, gate = threading.Event(), threading.Event()

    def wait(_: object) -> None:
        began.set()
        assert gate.wait(TIMEOUT_S)

    maintenance = Maintenance(FakeStore(a=wait), backups=NOWHERE)
    first = threading.Thread(target=maintenance.compact)
    first.start()
    assert began.wait(TIMEOUT_S)

    with pytest.raises(BusyError, match="under way"):
        maintenance.compact()

    gate.set()
    first.join(TIMEOUT_S)
    assert len(maintenance.compact()) == 1


def test_stopping_ends_a_compaction_under_way() -> None:
    def until_cancelled(cancel: threading.Event | None) -> None:
        assert cancel is not None
        assert cancel.wait(TIMEOUT_S)
        raise InterruptedError

    maintenance = Maintenance(FakeStore(a=until_cancelled), backups=NOWHERE)
    threading.Timer(0.01, maintenance.stop).start()

    with pytest.raises(BusyError, match="stopping") as refused:
        maintenance.compact()

    assert refused.value.details == {"phase": "stopping"}
