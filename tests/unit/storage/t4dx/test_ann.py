from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from t4dm_daemon.core.filter import Leaf
from t4dm_daemon.storage.t4dx import T4DXEngine, query
from t4dm_daemon.storage.t4dx.ann import FaissIndex, FlatIndex, top_rows
from tests.unit.storage.t4dx.items import vectors, write

ROWS = 3000


def test_the_best_rows_come_first_and_ties_by_row() -> None:
    scores = np.array([1, 3, 3, -np.inf, 2], np.float32)

    assert top_rows(scores, 3).tolist() == [1, 2, 4]
    assert top_rows(scores, 9).tolist() == [1, 2, 4, 0, 3]


@pytest.mark.parametrize("backend", [FlatIndex, FaissIndex])
def test_an_index_returns_only_rows_that_pass_the_mask(backend: type[FlatIndex] | type[FaissIndex]) -> None:
    rows = vectors(200, dimension=8)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = backend.build(rows)
    mask = np.zeros(200, np.bool_)
    mask[[3, 77]] = True

    found, scores = index.search(rows[3], 10, ef=64, mask=mask)

    assert found.tolist()[0] == 3
    assert set(found.tolist()) <= {3, 77}
    assert (np.diff(scores) <= 0).all()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> T4DXEngine:
    engine = T4DXEngine(tmp_path_factory.mktemp("ann") / "space", ann_min_rows=100)
    rows = vectors(ROWS, dimension=16)
    engine.insert([write(f"{n:05}", vector=one, access_count=n % 1000, importance=0.5) for n, one in enumerate(rows)])
    engine.insert([write(f"bare-{n}", access_count=n) for n in range(50)])
    engine.flush()
    return engine


@pytest.mark.parametrize("below", [1, 10, 200, 350, 500, 900, 1000])
@pytest.mark.parametrize("k", [1, 10, 2500])
def test_there_are_always_min_k_matches_hits_and_almost_all_are_the_best(
    engine: T4DXEngine, below: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "EXACT_ROWS", 10)
    where = Leaf("access_count", "lt", below)
    for seed in range(3):
        wanted = vectors(1, dimension=16, seed=100 + seed)[0]

        near = engine.search(wanted, k, where=where)
        exact = engine.search(wanted, k, where=where, exact=True)

        assert len(near) == len(exact) == min(k, below * ROWS // 1000)
        same = {hit.item.id for hit in near} & {hit.item.id for hit in exact}
        assert len(same) >= 0.9 * len(exact)  # 8-bit codes, 16 dimensions, random vectors: the hard case
        assert [hit.similarity for hit in near] == sorted((hit.similarity for hit in near), reverse=True)


def test_a_store_without_faiss_still_searches(
    open_engine: Callable[..., T4DXEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    engine = open_engine(ann_min_rows=5)
    engine.insert([write(str(n), vector=one) for n, one in enumerate(vectors(20))])
    engine.flush()

    assert len(engine.search(vectors(1)[0], 5)) == 5
