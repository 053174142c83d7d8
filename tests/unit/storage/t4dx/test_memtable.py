from __future__ import annotations

from typing import Any

from t4dm_daemon.core.clock import OPEN
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.protocol import View, Write
from t4dm_daemon.storage.t4dx.memtable import Memtable
from t4dm_daemon.storage.t4dx.schema import decode_insert, encode_insert
from tests.unit.storage.t4dx.items import vectors


def _append(memtable: Memtable, name: str, time: int, **fields: Any) -> int:
    body, _ = encode_insert([Write(Item(id=name, **fields))], (), None)
    (row,) = decode_insert(body).rows
    return memtable.append(row, recorded_at=time, created_at=time, seq=time, version=1)


def test_rows_are_seen_when_published_and_whole_after_growth() -> None:
    memtable = Memtable()
    rows = vectors(1000)
    for number, one in enumerate(rows):
        _append(memtable, str(number), number, content=f"text {number}", vector=one, user_id=f"u{number % 7}")
    assert memtable.rows == 0

    memtable.publish()

    assert memtable.rows == 1000
    for number in (0, 255, 256, 257, 999):
        item = memtable.item(number, with_vector=True)
        assert (item.id, item.content, item.user_id) == (str(number), f"text {number}", f"u{number % 7}")
        assert item.vector is not None
        assert item.vector.tolist() == rows[number].tolist()
        assert (item.event_time, item.recorded_at, item.recorded_until) == (number, number, OPEN)


def test_a_readers_columns_stay_whole_while_the_memtable_grows() -> None:
    memtable = Memtable()
    for number in range(256):
        _append(memtable, str(number), number, vector=vectors(1)[0])
    memtable.publish()
    before, taken = memtable.vectors(), memtable.number("recorded_at", 256)

    for number in range(256, 600):
        _append(memtable, str(number), number)

    assert before is not None
    assert len(before) >= 256
    assert taken.tolist() == list(range(256))


def test_the_rows_of_a_key_come_newest_first() -> None:
    memtable = Memtable()
    at = [_append(memtable, "a" if number % 2 else "b", number) for number in range(6)]
    memtable.publish()

    key = memtable.keys()[1]
    assert list(memtable.rows_of(key)) == [at[5], at[3], at[1]]
    assert list(memtable.rows_of(b"?" * 16)) == []


def test_masks_are_skipped_where_everything_is_visible() -> None:
    memtable = Memtable()
    for number in range(3):
        _append(memtable, str(number), number)
    memtable.publish()
    assert memtable.visible(View(), 2, 2, 3) is None

    memtable.close_row(0, 2)

    assert memtable.visible(View(), 2, 2, 3).tolist() == [False, True, True]  # type: ignore[union-attr]
    assert memtable.visible(View(), 1, 1, 3).tolist() == [True, True, False]  # type: ignore[union-attr]
