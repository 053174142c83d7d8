from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from t4dm_daemon.core.errors import CorruptionError
from t4dm_daemon.core.filter import Leaf
from t4dm_daemon.storage.protocol import FieldUpdate
from t4dm_daemon.storage.t4dx import T4DXEngine
from t4dm_daemon.storage.t4dx.lookup import Lookup
from tests.unit.storage.t4dx.items import vectors, write

Open = Callable[..., T4DXEngine]


def test_a_lookup_finds_all_rows_of_a_value_oldest_first() -> None:
    lookup = Lookup.build(np.array([5, 2**64 - 1, 5, 0], np.uint64))

    assert lookup.find(5).tolist() == [0, 2]
    assert lookup.find(2**64 - 1).tolist() == [1]
    assert lookup.find(7).tolist() == []


def test_a_lookup_finds_many_values_at_once() -> None:
    rng = np.random.default_rng(5)
    values = rng.integers(0, 500, 1000).astype(np.uint64)
    wanted = rng.integers(0, 1000, 300).astype(np.uint64)
    lookup = Lookup.build(values)

    rows, which = lookup.find_all(wanted)

    found = {(int(row), int(at)) for row, at in zip(rows, which, strict=True)}
    assert found == {(int(row), at) for at, one in enumerate(wanted.tolist()) for row in lookup.find(one)}
    assert len(found) == len(rows)
    assert len(lookup.find_all(wanted[:0])[0]) == len(Lookup.build(values[:0]).find_all(wanted)[0]) == 0


def test_thousands_of_ids_are_found_in_a_segment_with_every_version(open_engine: Open) -> None:
    engine = open_engine()
    engine.insert([write(f"{n}") for n in range(3000)])
    engine.insert([write(f"{n}") for n in range(0, 3000, 3)])
    engine.flush()
    wanted = [f"{n}" for n in range(0, 6000, 2)]

    assert engine.scan(where=Leaf("id", "in", wanted), limit=1).total == 1500
    (segment,) = engine._compactor.segments()
    assert len(segment.rows_of_ids(wanted)) == 2000


def test_items_read_from_a_segment_are_those_of_the_memtable(open_engine: Open) -> None:
    engine = open_engine()
    rows = vectors(20)
    engine.insert(
        [
            write(
                f"{n}", f"täxt {n}", vector=rows[n] if n % 3 else None, namespace=("a", str(n % 2)), user_id=None,
                categories=(), session_id="", metadata_json=b'{"n": 1.0}', value_json=b"[]", content_hash=n, kappa=0.25,
            )
            for n in range(20)
        ]
    )  # fmt: skip
    before = engine.scan(limit=100, with_vectors=True).items
    engine.flush()
    engine.close()

    after = open_engine().scan(limit=100, with_vectors=True).items

    assert [str(one) for one in after] == [str(one) for one in before]


def test_what_changes_while_a_segment_is_written_is_kept(open_engine: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_engine()
    engine.insert([write("a"), write("b")])
    write_files = engine._checkpoints._write_files

    def slowly(*arguments):  # type: ignore[no-untyped-def]
        made = write_files(*arguments)
        engine.update_fields([FieldUpdate("a", {"pinned": True}, {"access_count": 5})])
        engine.insert([write("b", "new")])
        return made

    with monkeypatch.context() as patch:
        patch.setattr(engine._checkpoints, "_write_files", slowly)
        engine.flush()
    engine.close()

    again = open_engine()
    a, b = again.get(["a", "b"])
    assert a is not None
    assert b is not None
    assert (a.pinned, a.access_count, b.content, b.version) == (True, 5, "new", 2)


def test_a_text_that_was_damaged_after_opening_is_not_returned(open_engine: Open, tmp_path: Path) -> None:
    engine = open_engine()
    engine.insert([write("a", "x" * 100), write("b", "y" * 100)])
    engine.flush()
    (path,) = tmp_path.rglob("blobs.bin")
    with path.open("r+b") as file:
        file.seek(50)
        file.write(b"!")

    with pytest.raises(CorruptionError, match=r"blobs\.bin.*row 0"):
        engine.get(["a"])
    assert engine.get(["b"]) != [None]
