from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.bench.peers import SYSTEMS
from tests.bench.peers.comparison import compare
from tests.bench.peers.data import Data, K, conditions, load, make
from tests.bench.peers.protocol import NotInstalledError, require

ROWS, DIMENSION = 400, 16


@pytest.fixture
def data(tmp_path: Path) -> Data:
    (tmp_path / "data").mkdir()
    make(tmp_path / "data", ROWS, DIMENSION)
    return load(tmp_path / "data")


def test_answers_are_the_nearest_rows_that_pass(data: Data) -> None:
    scores = np.asarray(data.vectors) @ data.questions[0]

    for name, condition in conditions(ROWS).items():
        passing = np.nonzero(data.passing(condition))[0]
        expected = passing[np.argsort(-scores[passing])][:K]
        found = data.answers[name][0]
        assert set(found[found >= 0]) == set(expected), name


def test_filters_pass_as_many_rows_as_they_are_named_for() -> None:
    million = conditions(1_000_000)

    assert "filter_21" in million
    assert "filter_21" not in conditions(ROWS)
    assert million["time_10"].high - million["time_10"].low == 100_000 * 60_000_000


@pytest.mark.parametrize("name", ["t4dx", "numpy"])
def test_an_exact_system_finds_every_answer_after_it_is_opened_again(name: str, data: Data, tmp_path: Path) -> None:
    adapter = SYSTEMS[name].load()
    (tmp_path / name).mkdir()
    first = adapter(tmp_path / name, DIMENSION)
    first.open()
    first.insert_batch([data.record(number) for number in range(ROWS - 1)])
    first.insert_one(data.record(ROWS - 1))
    first.settle()
    first.close()
    again = adapter(tmp_path / name, DIMENSION)
    again.open()

    assert set(again.search(data.questions[0], K)) == set(data.answers["search"][0])
    for operation, condition in conditions(ROWS).items():
        answers = data.answers[operation][1]
        assert set(again.search_filtered(data.questions[1], K, condition)) == set(answers[answers >= 0]), operation
    again.close()


def test_a_walk_counts_what_lies_within_its_depth(data: Data, tmp_path: Path) -> None:
    ours = SYSTEMS["t4dx"].load()(tmp_path / "store", DIMENSION)
    ours.open()
    ours.insert_batch([data.record(number) for number in range(5)])
    ours.link([(0, 1), (1, 2), (2, 3), (4, 0)])

    reached = ours.traverse(0, 2)
    ours.close()

    assert reached == 2


def test_a_missing_library_says_what_to_install() -> None:
    with pytest.raises(NotInstalledError, match="the-package"):
        require("no_library_has_this_name", "the-package")


def test_ratios_say_how_many_times_better_ours_is() -> None:
    ours = {"get": {"p50_ms": 2.0, "p99_ms": 3.0}, "batch": {"value": 400.0, "seconds": 1.0}}
    theirs = {"get": {"p50_ms": 1.0, "p99_ms": 9.0}, "batch": {"value": 100.0, "seconds": 4.0}}

    table = compare("a size", {"t4dx": ours, "chroma": theirs})

    assert "1.0 / 9.0 · 0.500×" in table
    assert "100 · 4.0×" in table


def test_a_write_that_syncs_nothing_is_marked() -> None:
    found = {"lance": {"insert_one": {"p50_ms": 1.0, "p99_ms": 1.0}, "syncs": {"value": 0.0}}}

    assert "1.0 / 1.0, no sync" in compare("a size", found)


def test_a_system_that_is_missing_or_failed_has_its_note_in_the_table() -> None:
    found = {
        "t4dx": {"search": {"note": "failed: ValueError: no"}},
        "chroma": {"missing": {"note": "not installed: pip install chromadb"}},
    }

    table = compare("a size", found)

    assert "failed: ValueError: no" in table
    assert "Chroma: not installed: pip install chromadb" in table
