from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.storage.t4dx import T4DXEngine
from tests.unit.storage.t4dx.items import vector, vectors, write

Open = Callable[..., T4DXEngine]


def test_search_equals_brute_force_over_memory_and_segments(open_engine: Open) -> None:
    engine = open_engine(flush_items=150)
    rows = vectors(1000, dimension=32)
    for start in range(0, 1000, 50):
        engine.insert([write(f"{n:04}", vector=rows[n]) for n in range(start, start + 50)])
    wide = rows.astype(np.float64)
    for seed in range(5):
        wanted = vectors(1, dimension=32, seed=seed)[0]
        scores = wide @ wanted / np.linalg.norm(wide, axis=1) / np.linalg.norm(wanted.astype(np.float64))

        hits = engine.search(wanted, 20, offset=5)

        assert [int(hit.item.id) for hit in hits] == np.argsort(-scores)[5:25].tolist()
        assert [hit.similarity for hit in hits] == pytest.approx(np.sort(scores)[::-1][5:25], abs=1e-8)


@pytest.mark.parametrize("is_flushed", [False, True])
def test_ties_go_by_id_and_k_may_exceed_what_there_is(open_engine: Open, is_flushed: bool) -> None:
    engine = open_engine()
    engine.insert([write(name, vector=vector(3, 4)) for name in "dbca"])
    if is_flushed:
        engine.flush()
    engine.insert([write("bb", vector=vector(6, 8)), write("bare")])

    assert [hit.item.id for hit in engine.search(vector(3, 4), 3)] == ["a", "b", "bb"]
    assert [hit.item.id for hit in engine.search(vector(3, 4), 99, offset=3)] == ["c", "d"]
    assert engine.search(vector(3, 4), 99, min_similarity=1.0)[0].similarity == 1.0
    assert engine.search(vector(-3, -4), 1, min_similarity=-0.5) == []


def test_rows_without_vectors_are_never_hits(engine: T4DXEngine) -> None:
    assert engine.search(vector(1, 0), 5) == []
    engine.insert([write("bare")])
    assert engine.search(vector(1, 0), 5) == []
    engine.flush()
    engine.insert([write("a", vector=vector(0, 1))])
    assert [hit.item.id for hit in engine.search(vector(1, 0), 5)] == ["a"]


@pytest.mark.parametrize("length", [1e-14, 1.0, 1e14])
def test_the_length_of_a_vector_does_not_matter(engine: T4DXEngine, length: float) -> None:
    rows = vectors(300)
    engine.insert([write(f"{n:03}", vector=one * np.float32(length if n % 2 else 1)) for n, one in enumerate(rows)])

    hits = engine.search(rows[0] * np.float32(length), 300)

    wide = rows.astype(np.float64)
    scores = wide @ wide[0] / np.linalg.norm(wide, axis=1) / np.linalg.norm(wide[0])
    assert [hit.similarity for hit in hits] == pytest.approx(np.sort(scores)[::-1], abs=1e-6)


@pytest.mark.parametrize(("k", "offset"), [(0, 0), (-1, 0), (1, -1)])
def test_k_and_offset_are_checked(engine: T4DXEngine, k: int, offset: int) -> None:
    with pytest.raises(InvalidInputError):
        engine.search(vector(1, 0), k, offset=offset)
