from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t4dm_daemon.storage.t4dx import T4DXEngine, calibration, query
from t4dm_daemon.storage.t4dx.ann import FaissIndex
from t4dm_daemon.storage.t4dx.calibration import EFFORTS, least_effort
from tests.unit.storage.t4dx.items import vectors, write

ROWS = 4000


def _unit(rows: Any) -> Any:
    return (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32)


@pytest.fixture(scope="module")
def noise() -> Any:
    return _unit(np.random.default_rng(3).standard_normal((ROWS, 96)))


def test_many_dimensions_of_noise_take_more_effort_than_few() -> None:
    efforts = []
    for dimension in (16, 384):
        rows = _unit(np.random.default_rng(3).standard_normal((ROWS, dimension)))
        efforts.append(least_effort(FaissIndex.build(rows), rows, np.ones(ROWS, np.float32)))

    easy, hard = efforts
    assert easy == EFFORTS[0]
    assert hard is None or hard > easy


def test_ten_neighbours_are_found_even_in_noise(
    open_engine: Callable[..., T4DXEngine], noise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "ROWS_PER_EFFORT", 0)  # so few rows would be scanned
    engine = open_engine(ann_min_rows=1000)
    engine.insert([write(f"{n}", vector=one) for n, one in enumerate(noise)])
    engine.compact()
    queries = _unit(np.random.default_rng(9).standard_normal((40, 96)))

    found = 0
    for one in queries:
        near = {hit.item.id for hit in engine.search(one, 10)}
        found += len(near & {hit.item.id for hit in engine.search(one, 10, exact=True)})

    assert found >= 0.95 * 400
    effort = engine._compactor.segments()[0].effort
    engine.close()
    assert open_engine(ann_min_rows=1000)._compactor.segments()[0].effort == effort


def test_a_graph_that_finds_too_little_is_not_used(
    open_engine: Callable[..., T4DXEngine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(calibration, "MIN_RECALL", 1.1)
    engine = open_engine(ann_min_rows=100)
    rows = vectors(200)
    engine.insert([write(f"{n}", vector=one) for n, one in enumerate(rows)])

    engine.compact()

    assert engine._compactor.segments()[0].index is None
    assert len(engine.search(rows[0], 10)) == 10
    assert list(tmp_path.rglob("index.faiss")) == []


def test_rows_without_a_vector_do_not_count() -> None:
    rows = vectors(50)
    inverse = (1 / np.linalg.norm(rows, axis=1)).astype(np.float32)
    inverse[5:] = 0
    assert least_effort(FaissIndex.build(rows * inverse[:, None]), rows, inverse) == EFFORTS[0]


def test_calibration_stops_between_two_questions_when_it_is_told_to() -> None:
    rows = _unit(vectors(200))
    index = FaissIndex.build(rows)
    calls: list[int] = []

    def pace() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        least_effort(index, rows, np.ones(200, np.float32), pace=pace)

    assert len(calls) == 3
