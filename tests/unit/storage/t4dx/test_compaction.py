from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from t4dm_daemon.core.errors import InvalidInputError, StorageError
from t4dm_daemon.core.filter import Leaf
from t4dm_daemon.core.item import Edge
from t4dm_daemon.storage.protocol import Deletion, EdgeChange, FieldUpdate, View
from t4dm_daemon.storage.t4dx import T4DXEngine
from t4dm_daemon.storage.t4dx.ann import FaissIndex
from t4dm_daemon.storage.t4dx.checkpoint import Pace
from t4dm_daemon.storage.t4dx.compaction import SegmentSummary, SizeTiered
from t4dm_daemon.storage.t4dx.fs import FileSystem
from tests.crash.workload import state_of
from tests.unit.storage.t4dx.items import UnsyncedFileSystem, vectors, write

Open = Callable[..., T4DXEngine]


def _summaries(*rows: int, purged: int = 0) -> list[SegmentSummary]:
    return [SegmentSummary(at, 0, count, purged if at == 0 else 0, count) for at, count in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "picked"),
    [
        ((), None),
        ((10, 10, 10), None),
        ((10, 10, 10, 10), range(4)),
        ((1000, 10, 10, 10, 10), range(1, 5)),  # the large one waits until the small ones have grown
        ((80, 10, 10, 10, 10), range(5)),
        ((10, 10, 10, 10, 1), range(1, 5)),
        ((999_999, 10, 10, 10, 10), range(1, 5)),
        ((2_000_000,), range(1)),  # too large: split
    ],
)
def test_neighbours_of_about_a_size_are_merged(rows: tuple[int, ...], picked: range | None) -> None:
    found = SizeTiered().pick(_summaries(*rows))
    if rows == (10, 10, 10, 10, 1):
        assert found is not None
        assert len(found) >= 4
    else:
        assert found == picked


def test_a_segment_full_of_purged_rows_is_rewritten() -> None:
    assert SizeTiered().pick(_summaries(100, 100, purged=21)) == range(1)
    assert SizeTiered().pick(_summaries(100, 100, purged=20)) is None


def test_the_number_of_segments_stays_small_however_many_are_flushed() -> None:
    segments: list[SegmentSummary] = []
    written = 0
    policy = SizeTiered()
    for number in range(1000):
        segments.append(SegmentSummary(number, 0, 100, 0, 100))
        while (chosen := policy.pick(segments)) is not None:
            rows = sum(one.rows for one in segments[chosen.start : chosen.stop])
            written += rows
            segments[chosen.start : chosen.stop] = [SegmentSummary(number, 0, rows, 0, rows)]
        assert len(segments) <= 16
    assert written <= 100_000 * 12  # each row is rewritten O(log n) times


def _fill(engine: T4DXEngine, flushes: int = 6, each: int = 20) -> None:
    for flush in range(flushes):
        rows = vectors(each, dimension=8, seed=flush)
        engine.insert(
            [write(f"{flush}-{n}", vector=rows[n] if n % 5 else None, user_id=f"u{n % 3}") for n in range(each)],
            [Edge(f"{flush}-1", f"{max(flush - 1, 0)}-2", "TEMPORAL_BEFORE", 0.5)],
        )
        engine.flush()


def test_merging_changes_nothing_that_a_reader_sees(open_engine: Open) -> None:
    engine = open_engine(ann_min_rows=30)
    _fill(engine)
    moment = engine.snapshot()
    past = View(known_at=moment)
    engine.delete([Deletion("2-7")])
    engine.insert([write("3-3", content="another text")])
    engine.update_fields([FieldUpdate("0-0", {"pinned": True})])
    before, then = state_of(engine), [item.id for item in engine.scan(view=past, limit=1000).items]
    wanted = vectors(1, dimension=8, seed=99)[0]
    hits = [hit.item.id for hit in engine.search(wanted, 10, where=Leaf("user_id", "eq", "u1"), exact=True)]

    report = engine.compact(everything=True)

    assert (report.segments_before, report.segments_after) == (7, 1)
    assert report.rows_after == report.rows_before
    for one in (engine, open_engine()):
        assert state_of(one) == before
        assert [item.id for item in one.scan(view=past, limit=1000).items] == then
        assert one.get(["2-7"], view=past)[0] is not None
        found = one.search(wanted, 10, where=Leaf("user_id", "eq", "u1"), exact=True)
        assert [hit.item.id for hit in found] == hits
        one.close()


def test_purged_text_is_gone_from_the_disk(open_engine: Open, tmp_path: Path) -> None:
    engine = open_engine()
    engine.insert([write("secret", content="the launch code is 0000", vector=vectors(1)[0]), write("kept")])
    engine.flush()
    engine.delete([Deletion("secret")])
    assert engine.history("secret")

    assert engine.purge(["secret"]) == 1

    assert engine.history("secret") == []
    assert engine.get(["secret"], view=View(known_at=engine.snapshot())) == [None]
    size = engine.stats()["disk_bytes"]
    engine.compact(everything=True)
    assert engine.stats()["disk_bytes"] < size
    engine.close()
    for path in (tmp_path / "space").rglob("*"):
        assert not path.is_file() or b"launch code" not in path.read_bytes(), path


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note of how many rows graphs are built; what is extended is not among them."""
    calls: list[int] = []
    build = FaissIndex.build.__func__  # type: ignore[attr-defined]

    def counting(cls: type, rows: np.ndarray, **options: object) -> FaissIndex:
        calls.append(len(rows))
        index: FaissIndex = build(cls, rows, **options)
        return index

    monkeypatch.setattr(FaissIndex, "build", classmethod(counting))
    return calls


def _insert(engine: T4DXEngine, first: int, end: int) -> None:
    rows = vectors(400, dimension=8)
    engine.insert([write(f"{n}", vector=rows[n]) for n in range(first, end)])
    engine.flush()


def test_the_graph_of_the_large_segment_is_extended_not_rebuilt(open_engine: Open, built: list[int]) -> None:
    engine = open_engine(ann_min_rows=50)
    _insert(engine, 0, 300)
    engine.compact()
    _insert(engine, 300, 400)
    engine.compact(everything=True)

    assert built == [300]
    (segment,) = engine._compactor.segments()
    assert segment.index is not None
    assert segment.index.rows == 400
    rows = vectors(400, dimension=8)
    found = sum(engine.search(one, 1)[0].item.id == f"{n}" for n, one in enumerate(rows))
    assert found >= 396


def test_a_graph_is_built_from_the_mapped_vectors_and_not_from_a_copy(
    open_engine: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[np.ndarray] = []
    build = FaissIndex.build.__func__  # type: ignore[attr-defined]

    def noting(cls: type, rows: np.ndarray, **options: object) -> FaissIndex:
        given.append(rows)
        index: FaissIndex = build(cls, rows, **options)
        return index

    monkeypatch.setattr(FaissIndex, "build", classmethod(noting))
    engine = open_engine(ann_min_rows=50)
    _insert(engine, 0, 300)

    engine.compact()

    (segment,) = engine._compactor.segments()
    assert np.shares_memory(given[0], segment.vectors())


def test_all_merging_comes_before_the_one_graph(open_engine: Open, built: list[int]) -> None:
    engine = open_engine(ann_min_rows=50)
    for first in range(0, 400, 20):
        _insert(engine, first, first + 20)
        engine.flush()

    engine.compact()

    segments = engine._compactor.segments()
    assert len(segments) < 6
    assert built == [one.rows for one in segments if one.rows >= 50]
    assert all(one.index is not None for one in segments if one.rows >= 50)


def test_a_graph_is_kept_when_nothing_of_its_rows_changes(open_engine: Open, built: list[int]) -> None:
    engine = open_engine(ann_min_rows=50)
    _insert(engine, 0, 300)
    engine.compact(everything=True)
    (before,) = engine._compactor.segments()

    engine.compact(everything=True)

    assert built == [300]
    (after,) = engine._compactor.segments()
    assert after.effort == before.effort
    engine.close()
    (again,) = open_engine(ann_min_rows=50)._compactor.segments()
    assert again.index is not None
    assert again.effort == before.effort


@pytest.mark.parametrize(("purged", "is_kept"), [(60, True), (61, False)])
def test_a_graph_outlives_a_fifth_of_its_rows(
    open_engine: Open, after_crash: Open, built: list[int], purged: int, is_kept: bool
) -> None:
    engine = open_engine(ann_min_rows=50, merge_policy=SizeTiered(fan_in=2, growth=1000))
    _insert(engine, 0, 300)
    engine.compact()
    gone = [f"{n}" for n in range(purged)]
    engine.delete([Deletion(one) for one in gone])
    assert engine.purge(gone) == purged
    _insert(engine, 300, 310)
    before = state_of(engine)

    report = engine.compact()

    assert report.segments_after == 1
    assert report.rows_after == (310 if is_kept else 310 - purged)
    assert built == ([300] if is_kept else [300, 310 - purged])
    for one in (engine, after_crash(ann_min_rows=50)):
        assert state_of(one) == before
        assert one.history("0") == []
        assert not {hit.item.id for hit in one.search(vectors(400, dimension=8)[0], 310)} & set(gone)
    engine.compact(everything=True)  # forgetting for good includes the vectors in a graph
    assert [one.rows for one in engine._compactor.segments()] == [310 - purged]
    assert built == [300, 310 - purged]
    assert state_of(engine) == before


def test_a_policy_may_have_a_graph_built_again_for_fewer_purged_rows(open_engine: Open, built: list[int]) -> None:
    engine = open_engine(ann_min_rows=50, merge_policy=SizeTiered(purged_share=0.01))
    _insert(engine, 0, 300)
    engine.compact()
    engine.delete([Deletion(f"{n}") for n in range(10)])
    engine.purge([f"{n}" for n in range(10)])

    assert engine.compact().rows_after == 290
    assert built == [300, 290]


def test_a_segment_that_is_too_large_is_split(open_engine: Open) -> None:
    engine = open_engine(merge_policy=SizeTiered(max_rows=30))
    engine.insert([write(f"{n}") for n in range(100)], [Edge("1", "99", "CAUSES")])
    before = state_of(engine)

    report = engine.compact()

    assert report.segments_after == 4
    assert max(one.rows for one in engine._compactor.segments()) == 30
    assert state_of(engine) == before
    assert engine.compact().merges == 0


def test_flushes_in_the_background_are_followed_by_merges(open_engine: Open) -> None:
    engine = open_engine(flush_items=10, merge_in_background=True)
    for number in range(300):
        engine.insert([write(f"{number}")])
    for _ in range(1000):
        if engine.stats()["segments"] <= 8:
            break
        threading.Event().wait(0.01)
    assert engine.stats()["segments"] <= 8
    assert engine.scan(limit=1).total == 300


def test_a_long_log_is_followed_by_a_checkpoint(open_engine: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t4dm_daemon.storage.t4dx.engine.FLUSH_LOG_BYTES", 5_000)
    engine = open_engine()
    engine.insert([write("a")])
    for _ in range(2000):
        engine.update_fields([FieldUpdate("a", {}, {"access_count": 1})])
        if engine._checkpoints.lsn:
            break
    assert engine._checkpoints.lsn


def test_levels_are_kept_and_raised(open_engine: Open) -> None:
    engine = open_engine()
    _fill(engine, flushes=2)
    engine.compact(everything=True, level=1)
    _fill(engine, flushes=1)
    engine.compact(everything=True)
    assert [one.level for one in engine._compactor.segments()] == [1]
    assert [one.level for one in open_engine()._compactor.segments()] == [1]
    engine.insert([write("lone")])
    engine.compact(level=2)
    assert {one.level for one in engine._compactor.segments()} == {2}
    with pytest.raises(InvalidInputError, match="level"):
        engine.compact(level=3)


def test_a_cancelled_merge_leaves_everything_as_it_was(open_engine: Open, tmp_path: Path) -> None:
    engine = open_engine()
    _fill(engine)
    before = state_of(engine)
    cancel = threading.Event()
    cancel.set()

    with pytest.raises(InterruptedError):
        engine.compact(everything=True, cancel=cancel)

    assert state_of(engine) == before
    assert engine.stats()["segments"] == 6
    engine.insert([write("more")])
    engine.flush()  # removes what the cancelled merge had begun
    assert len(list((tmp_path / "space" / "seg").iterdir())) == 7


class _HeldForMerges(UnsyncedFileSystem):
    """A disk on which merges come to a stand until they are let go."""

    def __init__(self) -> None:
        self.is_held = False
        self.reached, self.go_on = threading.Event(), threading.Event()

    def write_new(self, path: Path, parts: object) -> int:
        if self.is_held and path.name == "blobs.bin" and threading.current_thread().name == "t4dx-merge":
            self.reached.set()
            assert self.go_on.wait(30)
        return FileSystem.write_new(self, path, parts)  # type: ignore[arg-type]


def test_who_waits_for_a_merge_in_the_background_can_stop_waiting_or_gets_its_turn(open_engine: Open) -> None:
    fs = _HeldForMerges()
    engine = open_engine(fs=fs, merge_in_background=True, merge_policy=SizeTiered(fan_in=2))
    fs.is_held = True
    for number in range(2):
        engine.insert([write(f"{number}")])
        engine.flush()
    assert fs.reached.wait(30)
    cancel = threading.Event()
    threading.Timer(0.05, cancel.set).start()

    with pytest.raises(InterruptedError):
        engine.compact(everything=True, cancel=cancel)

    threading.Timer(0.05, fs.go_on.set).start()
    assert engine.compact(everything=True).segments_after == 1


def test_work_in_the_background_rests_unless_it_is_awaited() -> None:
    class Stop(threading.Event):
        rested = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.rested += 1
            return self.is_set()

    stop = Stop()
    awaited = False
    pace = Pace(stop, rest=0.5, is_awaited=lambda: awaited)

    pace()
    assert stop.rested == 1
    awaited = True
    pace()
    assert stop.rested == 1
    stop.set()
    with pytest.raises(InterruptedError):
        pace()


class _FullForMerges(UnsyncedFileSystem):
    """A disk with no room for large new files."""

    def __init__(self) -> None:
        self.is_full = False

    def write_new(self, path: Path, parts: object) -> int:
        if self.is_full and path.name == "blobs.bin":
            raise OSError(28, "No space left on device")
        return FileSystem.write_new(self, path, parts)  # type: ignore[arg-type]


def test_a_merge_without_room_fails_by_name_and_works_again_later(open_engine: Open) -> None:
    fs = _FullForMerges()
    engine = open_engine(fs=fs)
    _fill(engine)
    before = state_of(engine)
    fs.is_full = True
    with pytest.raises(StorageError, match="No space"):
        engine.compact(everything=True)
    assert state_of(engine) == before

    fs.is_full = False
    assert engine.compact(everything=True).segments_after == 1
    assert state_of(engine) == before


@pytest.mark.slow
def test_readers_and_writers_go_on_while_segments_are_merged(open_engine: Open) -> None:
    """One writer, eight readers, merging all the time: every reader sees whole batches, and never less than before."""
    engine = open_engine(
        flush_items=40, merge_policy=SizeTiered(fan_in=2, max_rows=400), merge_in_background=True, ann_min_rows=60
    )
    done = threading.Event()
    wrong: list[str] = []
    size = 5

    def read(seed: int) -> None:
        query = vectors(1, dimension=8, seed=seed)[0]
        last = 0
        while not done.wait(0.001):
            moment = engine.snapshot()
            view = View(known_at=moment)
            total = engine.scan(limit=1, view=view).total
            linked = sum(len(engine.edges(f"{batch}-0", direction="out", view=view)) for batch in range(0, 60, 20))
            hits = {hit.item.id for hit in engine.search(query, 5000, view=view, exact=True)}
            again = engine.scan(limit=1, view=view).total
            if total % size or total < last or again != total or len(hits) != total or linked > 3:
                wrong.append(f"{last} → {total}, {again}, {len(hits)} hits, {linked} links")
            last = total

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for reader in readers:
        reader.start()
    try:
        for batch in range(60):
            rows = vectors(size, dimension=8, seed=batch)
            engine.insert(
                [write(f"{batch}-{n}", vector=rows[n]) for n in range(size)],
                [Edge(f"{batch}-0", f"{batch}-1", "PART_OF", 0.5)],
            )
            engine.update_edges([EdgeChange(f"{batch}-0", f"{batch}-1", "PART_OF", add=0.25)])
            engine.update_fields([FieldUpdate(f"{batch // 2}-2", {}, {"access_count": 1})])
            if batch % 20 == 19:
                engine.compact(everything=True)
    finally:
        done.set()
        for reader in readers:
            reader.join(60)

    assert wrong == []
    assert sum(item.access_count for item in engine.scan(limit=1000).items) == 60
    assert all(engine.edges(f"{batch}-0")[0].weight == 0.75 for batch in range(60))


def test_closing_stops_a_merge_in_the_background(open_engine: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Event()
    rows = vectors(3000, dimension=64)
    build = FaissIndex.build.__func__  # type: ignore[attr-defined]

    def slowly(cls: type, some: np.ndarray, *, inv_norm: np.ndarray, throttle: Callable[[], None]) -> FaissIndex:
        started.set()
        while True:  # a build that would take for ever
            throttle()
            build(cls, some[:50], inv_norm=inv_norm[:50])

    monkeypatch.setattr(FaissIndex, "build", classmethod(slowly))
    engine = open_engine(merge_in_background=True, ann_min_rows=100)
    engine.insert([write(f"{n}", vector=rows[n]) for n in range(200)])
    engine.flush()
    assert started.wait(30)
    assert len(engine.search(rows[0], 5)) == 5

    engine.close()

    assert open_engine().scan(limit=1).total == 200
