"""A large JSON document, one part at a time."""

from __future__ import annotations

import io
import json
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t4dm_daemon.core.errors import InvalidInputError, SourceError
from t4dm_daemon.sources import json_parts

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class OneByte(io.BytesIO):
    """Give a byte at a time, so that every cut between two reads is met."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(1)


def parts(data: bytes) -> list[tuple[str, int, Any]]:
    return [(one.field, one.number, one.value()) for one in json_parts.parts(OneByte(data), "x.json")]


@given(st.lists(VALUES, max_size=5), st.sampled_from([None, 2]), st.booleans())
def test_an_array_comes_apart_into_what_it_holds(values: list[Any], indent: int | None, ascii_only: bool) -> None:
    data = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode(errors="surrogatepass")

    assert [value for _, _, value in parts(data)] == values


@given(st.dictionaries(st.text(min_size=1), st.lists(VALUES, max_size=3) | st.integers(), max_size=4))
def test_an_object_comes_apart_into_the_entries_of_its_arrays(given: dict[str, Any]) -> None:
    expected = []
    for name, value in given.items():
        many = enumerate(value, start=1) if isinstance(value, list) and value else [(0, value)]
        expected += [(name, number, one) for number, one in many]

    assert parts(json.dumps(given).encode()) == expected


def test_a_part_that_is_not_json_costs_only_itself() -> None:
    data = b'[{"a": NaN}, {"b": "\xff"}, {"c": 1}, ' + b"[" * 5000 + b"]" * 5000 + b', {"d": 99999999999999999999}]'

    read = list(json_parts.parts(io.BytesIO(data), "x.json"))

    assert [one.value() for one in (read[2], read[4])] == [{"c": 1}, {"d": 99999999999999999999}]
    for at, reason in ((0, "NaN is not JSON"), (1, "not UTF-8: byte 7"), (3, "nested too deeply")):
        with pytest.raises(InvalidInputError, match=reason):
            read[at].value()


@pytest.mark.parametrize(
    ("data", "reason", "before"),
    [
        (b"", "x.json: the file is empty", 0),
        (b" \n ", "x.json: the file is empty", 0),
        (b"hello", "begins with neither", 0),
        ("[1]".encode("utf-16"), "it is UTF-16", 0),
        (b"[1, 2", "after entry 1: the file ends in the middle", 1),
        (b'[1, {"a": "unfinis', "after entry 1: the file ends in the middle", 1),
        (b'[1, {"a": [2}]', "after entry 1: } closes what it did not open", 1),
        (b'{"m": [1, 2]', "after entry m 2: the file ends in the middle", 2),
        (b'{"m": [1] "n": 2}', "where a comma belongs", 1),
        (b'{"m" 1}', 'a field is "name": value', 0),
        (b"[1] [2]", "after entry 1: there is more after its end", 1),
    ],
)
def test_a_document_that_breaks_off_says_after_which_entry(data: bytes, reason: str, before: int) -> None:
    found = json_parts.parts(OneByte(data), "x.json")

    assert len(list(islice(found, before))) == before
    with pytest.raises(SourceError, match=reason.replace("[", r"\[")):
        next(found)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parts(b"\xef\xbb\xbf [1]") == [("", 1, 1)]


def test_a_part_too_large_to_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_parts, "MAX_PART_BYTES", 1000)
    monkeypatch.setattr(json_parts, "_CHUNK", 100)

    with pytest.raises(SourceError, match="after entry 1: a part is larger than 1,000 bytes"):
        list(json_parts.parts(io.BytesIO(b'["a", "' + b"x" * 5000 + b'"]'), "x.json"))
