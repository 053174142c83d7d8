from __future__ import annotations

import numpy as np
import pytest

from t4dm_daemon.storage.t4dx.analysis import analyzer
from t4dm_daemon.storage.t4dx.text_index import MAX_COUNT, GrowingTextIndex, read

TEXTS = ["The cat sat; the cats sat.", "", "Joaquín walked the cat", "東京の猫", "cat " * (MAX_COUNT + 5), "the of a"]


@pytest.mark.parametrize("rows", [0, 1, 6, 200])
def test_an_index_read_in_one_go_is_the_one_that_grew(rows: int) -> None:
    texts = [TEXTS[row % len(TEXTS)] for row in range(rows)]
    english = analyzer("english")
    growing = GrowingTextIndex(english)
    growing.extend(texts.__getitem__, rows)

    found, grown = read(english, texts.__getitem__, rows), growing.arrays()

    assert found.keys() == grown.keys()
    for name, array in grown.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, name)


def test_an_index_in_the_making_lets_others_work_in_between() -> None:
    paces: list[None] = []

    read(analyzer("english"), lambda row: f"text {row}", 1000, pace=lambda: paces.append(None))

    assert len(paces) > 10
