"""Configurations are changed in place: comments, order and indentation of all the rest survive."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t4dm_integrations.mcp.hosts import jsonc

WRITTEN = """// mine
{
\t"theme": "dark", // keep
\t"servers": {
\t\t"other": {"command": "x"} // theirs
\t\t/* the end */
\t},
\t"last": [1, 2.5e3, -0, null, true,],
}
"""

keys = st.text('abc/*"\\ é', max_size=4)
leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.text('ab/*"\\,:{}', max_size=6)
values: st.SearchStrategy[Any] = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
objects = st.dictionaries(keys, values, max_size=4)
indents = st.sampled_from([None, 0, 2, 4, "\t"])


def test_a_member_is_put_where_it_belongs_and_nothing_else_changes() -> None:
    after = jsonc.with_member(WRITTEN, ("servers", "t4dm"), {"args": ["-m"]})

    assert after == WRITTEN.replace(
        '{"command": "x"} // theirs\n\t\t/* the end */\n',
        '{"command": "x"}, // theirs\n\t\t/* the end */\n\t\t"t4dm": {\n\t\t\t"args": [\n\t\t\t\t"-m"\n\t\t\t]\n\t\t}\n',
    )


def test_taking_it_out_again_gives_the_text_back() -> None:
    after = jsonc.with_member(WRITTEN, ("servers", "t4dm"), {"args": ["-m"]})

    assert jsonc.without_member(after, ("servers", "t4dm")) == WRITTEN


@pytest.mark.parametrize("text", ["", "  \n", "\ufeff"])
def test_an_empty_file_becomes_an_object(text: str) -> None:
    assert json.loads(jsonc.with_member(text, ("a", "b"), 1)) == {"a": {"b": 1}}


def test_windows_line_ends_stay_what_they_are() -> None:
    after = jsonc.with_member('{\r\n  "a": 1\r\n}\r\n', ("b",), {"c": [2]})

    assert after.count("\n") == after.count("\r\n")
    assert json.loads(after) == {"a": 1, "b": {"c": [2]}}


def test_a_byte_order_mark_stays() -> None:
    assert jsonc.with_member('\ufeff{"a": 1}', ("b",), 2).startswith("\ufeff{")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "line 1, column 2: the text ends too early"),
        ('{\n  "a": }', "line 2, column 8: a value is expected, not '}'"),
        ('{"a" 1}', "a colon is expected after 'a'"),
        ('{"a": 1 "b": 2}', "a comma or } is expected"),
        ("[1 2]", "a comma or ] is expected"),
        ("{a: 1}", "a key in quotes is expected"),
        ('{"a": "x}', "Unterminated string"),
        ("{} {}", "there is something after the end"),
        ("/* {}", "a comment without an end"),
        ('{"servers": []}', "servers is not an object"),
        ("[]", "the whole is not an object"),
        ('{"servers": {"t4dm": 1, "t4dm": 2}}', "the key 't4dm' is there twice"),
        ("[" * 1000, "nested deeper"),
        ("{'a': 1}", "a key in quotes is expected"),
        ('{"a": NaN}', "a value is expected"),
        ('{"a": 01}', "a comma or } is expected"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(text: str, told: str) -> None:
    for change in (
        lambda: jsonc.with_member(text, ("servers", "t4dm"), {}),
        lambda: jsonc.without_member(text, ("servers", "t4dm")),
    ):
        with pytest.raises(jsonc.JsoncError) as caught:
            change()
        assert told in str(caught.value)


@given(objects, keys, values, indents)
def test_any_json_keeps_everything_beside_the_member(before: Any, key: str, value: Any, indent: Any) -> None:
    text = json.dumps(before, indent=indent)

    after = jsonc.with_member(text, (key,), value)

    assert json.loads(after) == {**before, key: value}
    assert list(json.loads(after)) == list({**before, key: value})
    without = {one: other for one, other in before.items() if one != key}
    assert json.loads(jsonc.without_member(after, (key,))) == without
    assert jsonc.value_at(after, (key,)) == value


@given(objects, keys, keys, values)
def test_objects_on_the_way_are_made(before: Any, outer: str, inner: str, value: Any) -> None:
    before = {**before, outer: {inner: 1, "kept": 2}} if before else before

    after = json.loads(jsonc.with_member(json.dumps(before, indent=1), (outer, inner), value))

    assert after[outer][inner] == value
    assert {key: one for key, one in after.items() if key != outer} == {
        key: one for key, one in before.items() if key != outer
    }
