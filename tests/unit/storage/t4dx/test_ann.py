from __future__ import annotations

import importlib.util
import re
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from t4dm_daemon.core.filter import Leaf
from t4dm_daemon.storage.protocol import Deletion, FieldUpdate
from t4dm_daemon.storage.t4dx import T4DXEngine, query
from t4dm_daemon.storage.t4dx.ann import BACKENDS, AnnIndex, FaissIndex, FlatIndex, Vectors, top_rows
from tests.unit.storage.t4dx.items import vectors, write

ROWS = 3000
DIMENSION = 24


def test_the_best_rows_come_first_and_ties_by_row() -> None:
    scores = np.array([1, 3, 3, -np.inf, 2], np.float32)

    assert top_rows(scores, 3).tolist() == [1, 2, 4]
    assert top_rows(scores, 9).tolist() == [1, 2, 4, 0, 3]
    assert top_rows(scores, 0).tolist() == []


def clusters(rows: int, *, centres: int = 40, seed: int = 1, noise: float = 0.5) -> Vectors:
    """Return unit vectors around random centres, (rows, D)."""
    middles = vectors(centres, dimension=DIMENSION, seed=seed)
    chosen = np.random.default_rng(seed + 1).integers(0, centres, rows)
    return unit(middles[chosen] + np.float32(noise) * vectors(rows, dimension=DIMENSION, seed=seed + 2))


def unit(rows: Vectors) -> Vectors:
    lengths: Vectors = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


def queries_near(rows: Vectors, *, seed: int = 5) -> Vectors:
    """Return 50 queries, each near a row."""
    chosen = np.random.default_rng(seed).integers(0, len(rows), 50)
    return unit(rows[chosen] + np.float32(0.05) * vectors(50, dimension=DIMENSION, seed=seed))


def recall(index: AnnIndex, rows: Vectors, queries: Vectors) -> float:
    """Return the share of the 10 best rows that a search finds, scored again as `query.search` does."""
    hits = 0
    for one in queries:
        found, _ = index.search(one, 56, ef=128)
        again = found[top_rows(rows[found] @ one, 10)]
        hits += len(set(again.tolist()) & set(top_rows(rows @ one, 10).tolist()))
    return hits / (10 * len(queries))


def answers(index: AnnIndex, queries: Vectors) -> list[list[int]]:
    return [index.search(one, 10, ef=64)[0].tolist() for one in queries]


def installed(kind: str) -> type[AnnIndex]:
    if kind == "hnswlib" and importlib.util.find_spec("hnswlib") is None:
        pytest.skip("hnswlib is not installed: pip install 't4dm[hnswlib]'")
    return BACKENDS[kind]


@pytest.fixture(scope="module", params=["flat", "faiss", "hnswlib"])
def backend(request: pytest.FixtureRequest) -> type[AnnIndex]:
    return installed(request.param)


@pytest.fixture(scope="module", params=["faiss", "hnswlib"])
def graph(request: pytest.FixtureRequest) -> type[AnnIndex]:
    """Return a backend that builds in chunks."""
    return installed(request.param)


@pytest.fixture(scope="module")
def rows() -> Vectors:
    return clusters(ROWS)


@pytest.fixture(scope="module")
def index(backend: type[AnnIndex], rows: Vectors) -> AnnIndex:
    return backend.build(rows)


@pytest.fixture(scope="module")
def extended(backend: type[AnnIndex], rows: Vectors) -> AnnIndex:
    return backend.build(rows[:2000]).extend(rows[2000:2500]).extend(rows[2500:])


def test_every_backend_has_the_name_it_is_found_by() -> None:
    assert {name: backend.kind for name, backend in BACKENDS.items()} == {name: name for name in BACKENDS}


def test_a_search_finds_nearly_all_of_the_best(index: AnnIndex, rows: Vectors) -> None:
    assert index.rows == ROWS
    assert recall(index, rows, queries_near(rows)) >= 0.95  # measured: 1.0 for each


def test_results_come_best_first_with_their_inner_product(index: AnnIndex, rows: Vectors) -> None:
    wanted = queries_near(rows)[0]

    found, scores = index.search(wanted, 20, ef=64)

    assert found.dtype == np.int64
    assert scores.dtype == np.float32
    assert (np.diff(scores) <= 0).all()
    assert scores == pytest.approx(rows[found] @ wanted, abs=0.02)  # half a step of 8-bit codes, in 24 dimensions


def test_k_may_be_zero_or_exceed_the_rows(index: AnnIndex, rows: Vectors) -> None:
    assert len(index.search(rows[0], 0, ef=64)[0]) == 0
    found, _ = index.search(rows[0], ROWS + 5, ef=64)
    assert len(found) == len(set(found.tolist())) <= ROWS
    assert len(found) >= 0.99 * ROWS  # a graph may not reach all


def test_one_row_is_an_index(backend: type[AnnIndex], rows: Vectors) -> None:
    index = backend.build(rows[:1])

    assert index.search(rows[0], 10, ef=64)[0].tolist() == [0]
    assert answers(index.extend(rows[1:2]), rows[1:2]) == [[1, 0]]


def test_equal_rows_and_rows_of_zeros_are_never_an_error(backend: type[AnnIndex], rows: Vectors) -> None:
    many = np.concatenate((rows[:500], np.zeros((500, DIMENSION), np.float32), np.tile(rows[:1], (500, 1))))
    index = backend.build(many)

    for k in (1, 100, len(many)):
        found, scores = index.search(rows[0], k, ef=64)
        assert 0 < len(found) == len(scores) <= k


def test_an_extended_index_finds_old_and_new_rows_by_number(extended: AnnIndex, rows: Vectors) -> None:
    assert extended.rows == ROWS
    assert recall(extended, rows, queries_near(rows[:2000])) >= 0.95
    assert recall(extended, rows, queries_near(rows[2000:])) >= 0.95


def test_an_index_extended_by_other_topics_finds_them(backend: type[AnnIndex]) -> None:
    # 8-bit codes trained on few tight clusters clip all others: .56 before codes were widened.
    old, new = (clusters(1000, centres=4, seed=seed, noise=0.1) for seed in (11, 22))
    both = np.concatenate((old, new))

    index = backend.build(old).extend(new)

    assert recall(index, both, queries_near(old)) >= 0.95
    assert recall(index, both, queries_near(new)) >= 0.95


def test_extending_leaves_the_old_index_as_it_was(index: AnnIndex, rows: Vectors) -> None:
    queries = queries_near(rows)
    before, size = answers(index, queries), index.memory_bytes()

    longer = index.extend(-rows[:200])
    same = index.extend(rows[:0])

    assert answers(index, queries) == before
    assert (index.rows, longer.rows, same.rows) == (ROWS, ROWS + 200, ROWS)
    assert index.memory_bytes() == size < longer.memory_bytes()


def test_an_index_answers_from_many_threads_while_it_is_extended(index: AnnIndex, rows: Vectors) -> None:
    queries = queries_near(rows)
    efforts = [16, 64, 256]
    alone = [[index.search(one, 10, ef=ef)[0].tolist() for one in queries] for ef in efforts]
    started, finished = threading.Barrier(len(efforts) + 1), threading.Event()

    def search(ef: int) -> list[list[list[int]]]:
        rounds: list[list[list[int]]] = []
        started.wait(10)
        while not rounds or not finished.is_set():
            rounds.append([index.search(one, 10, ef=ef)[0].tolist() for one in queries])
        return rounds

    with ThreadPoolExecutor(len(efforts)) as pool:
        searches = [pool.submit(search, ef) for ef in efforts]
        started.wait(10)
        try:
            longer = index.extend(-rows[:1000])
        finally:
            finished.set()
        together = [one.result(10) for one in searches]

    assert longer.rows == ROWS + 1000
    for rounds, expected in zip(together, alone, strict=True):
        assert all(one == expected for one in rounds)


def test_a_loaded_index_answers_as_the_saved_one_and_can_be_extended(
    extended: AnnIndex, rows: Vectors, tmp_path: Path
) -> None:
    path = tmp_path / "index.tmp"
    queries = queries_near(rows)

    extended.save(path)
    loaded = type(extended).load(path)

    assert [one.name for one in tmp_path.iterdir()] == ["index.tmp"]
    assert loaded.rows == ROWS
    assert answers(loaded, queries) == answers(extended, queries)
    longer = loaded.extend(-rows[:200])
    assert recall(longer, np.concatenate((rows, -rows[:200])), queries_near(-rows[:200])) >= 0.95
    longer.save(path)
    assert answers(type(longer).load(path), queries) == answers(longer, queries)


def test_a_truncated_file_is_a_runtime_error(index: AnnIndex, tmp_path: Path) -> None:
    path = tmp_path / "index"
    index.save(path)
    content = path.read_bytes()

    for cut in (0, 1, 7, 28, 60, 95, 96, 111, 156, 1000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(RuntimeError):
            type(index).load(path)


def test_a_file_that_cannot_be_written_is_an_error(index: AnnIndex, tmp_path: Path) -> None:
    with pytest.raises((OSError, RuntimeError)):
        index.save(tmp_path / "missing" / "index")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_is_an_error(backend: type[AnnIndex], rows: Vectors) -> None:
    with pytest.raises((OSError, RuntimeError)):
        backend.build(rows[:2]).save(Path("/dev/full"))


def test_a_set_cancel_stops_building_and_extending(backend: type[AnnIndex], rows: Vectors) -> None:
    cancel = threading.Event()
    index = backend.build(rows[:50], cancel=cancel)
    cancel.set()

    with pytest.raises(InterruptedError):
        backend.build(rows, cancel=cancel)
    with pytest.raises(InterruptedError):
        index.extend(rows, cancel=cancel)
    assert answers(index, rows[:1])[0][0] == 0


def test_cancel_is_seen_after_the_chunk_it_was_set_in(graph: type[AnnIndex], rows: Vectors) -> None:
    index = graph.build(rows[:50])
    for start in (graph.build, index.extend):
        cancel = threading.Event()
        calls: list[int] = []

        def stop(calls: list[int] = calls, cancel: threading.Event = cancel) -> None:
            calls.append(1)
            cancel.set()

        with pytest.raises(InterruptedError):
            start(rows, cancel=cancel, throttle=stop)
        assert calls == [1]


def test_rows_of_any_length_are_indexed_as_the_unit_vectors_they_become(backend: type[AnnIndex], rows: Vectors) -> None:
    lengths = np.random.default_rng(4).uniform(0.1, 9, ROWS).astype(np.float32)
    long, inverse = rows * lengths[:, None], 1 / lengths

    index = backend.build(long[:2000], inv_norm=inverse[:2000]).extend(long[2000:], inv_norm=inverse[2000:])

    assert recall(index, rows, queries_near(rows)) >= 0.95
    found, scores = index.search(rows[7], 1, ef=64)
    assert found.tolist() == [7]
    assert scores == pytest.approx([1.0], abs=0.02)


def test_building_copies_a_chunk_of_the_rows_at_a_time(graph: type[AnnIndex]) -> None:
    many = vectors(4000, dimension=64)
    inverse = (1 / np.linalg.norm(many, axis=1)).astype(np.float32)
    index = graph.build(many[:100], inv_norm=inverse[:100])
    for start in (graph.build, index.extend):
        tracemalloc.start()
        try:
            start(many, inv_norm=inverse)
            _, peak = tracemalloc.get_traced_memory()  # numpy's; what the libraries take is not traced
        finally:
            tracemalloc.stop()
        assert peak < many.nbytes / 1.5  # a chunk is a quarter


def test_throttle_is_called_between_chunks(graph: type[AnnIndex], rows: Vectors) -> None:
    calls: list[int] = []

    index = graph.build(rows[:1024], throttle=lambda: calls.append(1))
    assert calls == []  # one chunk has no between
    index.extend(rows[:1025], throttle=lambda: calls.append(1))

    assert calls == [1]


def test_other_shapes_are_value_errors(backend: type[AnnIndex], index: AnnIndex, rows: Vectors) -> None:
    narrow = rows[:, :-1]
    with pytest.raises(ValueError, match=f"dimension {DIMENSION}"):
        index.search(narrow[0], 1, ef=64)
    with pytest.raises(ValueError, match=f"dimension {DIMENSION}"):
        index.search(rows[:2], 1, ef=64)
    with pytest.raises(ValueError, match=f"dimension {DIMENSION}"):
        index.extend(narrow)
    with pytest.raises(ValueError, match="n >= 1"):
        backend.build(rows[:0])


def test_memory_is_that_of_vectors_and_links(index: AnnIndex, rows: Vectors, tmp_path: Path) -> None:
    index.save(tmp_path / "index")

    # Both graph libraries write what they hold; locks and the label table of hnswlib come on top.
    assert 0.95 <= index.memory_bytes() / (tmp_path / "index").stat().st_size <= 1.5


def test_a_mapped_scan_holds_no_memory_of_its_own(rows: Vectors, tmp_path: Path) -> None:
    FlatIndex.build(rows).save(tmp_path / "index")

    assert FlatIndex.load(tmp_path / "index").memory_bytes() == 0


@pytest.mark.parametrize(("kind", "extra"), [("faiss", "daemon"), ("hnswlib", "hnswlib")])
def test_a_missing_library_says_what_to_install(
    kind: str, extra: str, rows: Vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, kind, None)

    message = re.escape(f"pip install 't4dm[{extra}]'")
    with pytest.raises(ImportError, match=message):
        BACKENDS[kind].build(rows)
    with pytest.raises(ImportError, match=message):
        BACKENDS[kind].load(tmp_path / "index")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> T4DXEngine:
    engine = T4DXEngine(tmp_path_factory.mktemp("ann") / "space", ann_min_rows=100)
    rows = vectors(ROWS, dimension=16)
    engine.insert([write(f"{n:05}", vector=one, access_count=n % 1000, importance=0.5) for n, one in enumerate(rows)])
    engine.insert([write(f"bare-{n}", access_count=n) for n in range(50)])
    engine.compact()
    return engine


@pytest.mark.parametrize("below", [1, 10, 200, 350, 500, 900, 1000])
@pytest.mark.parametrize("k", [1, 10, 2500])
def test_there_are_always_min_k_matches_hits_and_almost_all_are_the_best(
    engine: T4DXEngine, below: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "EXACT_ROWS", 10)
    monkeypatch.setattr(query, "ROWS_PER_EFFORT", 0)
    where = Leaf("access_count", "lt", below)
    for seed in range(3):
        wanted = vectors(1, dimension=16, seed=100 + seed)[0]

        near = engine.search(wanted, k, where=where)
        exact = engine.search(wanted, k, where=where, exact=True)

        assert len(near) == len(exact) == min(k, below * ROWS // 1000)
        same = {hit.item.id for hit in near} & {hit.item.id for hit in exact}
        assert len(same) >= 0.9 * len(exact)  # 8-bit codes, 16 dimensions, random vectors: the hard case
        assert [hit.similarity for hit in near] == sorted((hit.similarity for hit in near), reverse=True)


class _Clustered:
    """A store of 4000 rows around 30 centres with a graph, where filters and deletions go by centre."""

    def __init__(self, root: Path, ann: str) -> None:
        self.centres = unit(vectors(30, dimension=DIMENSION, seed=1))
        rng = np.random.default_rng(2)
        self.of_row = rng.integers(0, 30, 4000)
        rows = self.centres[self.of_row] + np.float32(0.08) * vectors(4000, dimension=DIMENSION, seed=3)
        self.engine = T4DXEngine(root, ann=ann, ann_min_rows=100, merge_in_background=False, flush_items=10_000)
        self.engine.insert([write(f"{n}", vector=one, session_id=f"{self.of_row[n]}") for n, one in enumerate(rows)])
        self.engine.compact()

    def nearest_centres(self, wanted: Vectors) -> list[int]:
        return [int(one) for one in np.argsort(-(self.centres @ wanted))]

    def recall(self, wanted: Vectors, where: Leaf | None) -> float:
        near = self.engine.search(wanted, 10, where=where)
        exact = {hit.item.id for hit in self.engine.search(wanted, 10, where=where, exact=True)}
        assert len(near) == len(exact) == 10
        return len(exact & {hit.item.id for hit in near}) / 10


@pytest.fixture(scope="module")
def clustered(backend: type[AnnIndex], tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Clustered]:
    store = _Clustered(tmp_path_factory.mktemp("clustered") / "space", backend.kind)
    yield store
    store.engine.close(discard=True)


@pytest.fixture
def graph_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the graph of a few thousand rows, too."""
    monkeypatch.setattr(query, "EXACT_ROWS", 10)
    monkeypatch.setattr(query, "ROWS_PER_EFFORT", 0)


@pytest.mark.usefixtures("graph_for_few")
@pytest.mark.parametrize("kept", [10, 20, 27, 29, 30])
def test_the_nearest_that_pass_are_found_although_the_surroundings_of_the_query_do_not(
    clustered: _Clustered, kept: int
) -> None:
    queries = unit(clustered.centres[:20] + np.float32(0.05) * vectors(20, dimension=DIMENSION, seed=4))

    found = []
    for one in queries:
        far = [f"{centre}" for centre in clustered.nearest_centres(one)[-kept:]]
        found.append(clustered.recall(one, Leaf("session_id", "in", far)))

    assert np.mean(found) >= 0.99  # measured: 1.0 for each


@pytest.mark.usefixtures("graph_for_few")
def test_the_nearest_that_are_left_are_found_after_the_surroundings_of_the_query_were_deleted(
    backend: type[AnnIndex], tmp_path: Path
) -> None:
    clustered = _Clustered(tmp_path / "space", backend.kind)
    queries = unit(clustered.centres[:3] + np.float32(0.05) * vectors(3, dimension=DIMENSION, seed=4))
    gone = {centre for one in queries for centre in clustered.nearest_centres(one)[:2]}

    clustered.engine.delete([Deletion(f"{n}") for n in np.nonzero(np.isin(clustered.of_row, list(gone)))[0]])

    for one in queries:
        assert clustered.recall(one, None) == 1.0
    clustered.engine.close(discard=True)


@pytest.mark.usefixtures("graph_for_few")
def test_a_filter_that_has_nothing_to_do_with_the_query_is_answered_by_the_graph(
    clustered: _Clustered, monkeypatch: pytest.MonkeyPatch
) -> None:
    (segment,) = clustered.engine._compactor.segments()
    if segment.index is None:
        pytest.skip("an exact scan has no graph")
    asked: list[int] = []
    search = type(segment.index).search

    def counting(self: AnnIndex, wanted: Vectors, k: int, *, ef: int) -> object:
        asked.append(k)
        return search(self, wanted, k, ef=ef)

    monkeypatch.setattr(type(segment.index), "search", counting)
    clustered.engine.update_fields([FieldUpdate(f"{n}", {"pinned": True}) for n in range(0, 4000, 2)])
    wanted = unit(clustered.centres[:10] + np.float32(0.05) * vectors(10, dimension=DIMENSION, seed=4))

    found = [clustered.recall(one, Leaf("pinned", "eq", True)) for one in wanted]

    assert asked == [60] * 10  # three for each row wanted, at half of the rows
    assert np.mean(found) >= 0.99


@pytest.mark.parametrize(("effort", "asked"), [(64, True), (128, True), (256, False)])
def test_the_graph_is_asked_where_that_costs_less_than_to_scan_all_rows(
    engine: T4DXEngine, effort: int, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (segment,) = (one for one in engine._compactor.segments() if one.index is not None)
    monkeypatch.setattr(segment, "effort", effort)
    depths: list[int] = []
    search = FaissIndex.search

    def counting(self: FaissIndex, wanted: Vectors, k: int, *, ef: int) -> object:
        depths.append(k)
        return search(self, wanted, k, ef=ef)

    monkeypatch.setattr(FaissIndex, "search", counting)

    engine.search(vectors(1, dimension=16)[0], 10)

    assert depths == ([56] if asked else [])  # 16 * 256 > 3050 rows


def test_a_store_without_faiss_still_searches(
    open_engine: Callable[..., T4DXEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    engine = open_engine(ann_min_rows=5)
    engine.insert([write(str(n), vector=one) for n, one in enumerate(vectors(20))])
    engine.compact()

    assert len(engine.search(vectors(1)[0], 5)) == 5
