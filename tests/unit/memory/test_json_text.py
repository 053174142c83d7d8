from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.memory import json_text

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(json_values)
def test_json_comes_back_number_for_number(value: object) -> None:
    text = json_text.encode(value, field="value", max_bytes=10**6)
    assert repr(json_text.decode(text)) == repr(json.loads(json.dumps(value)))


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": -float("inf")}, "\ud800", {"\udfff": 1}])
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError) as refused:
        json_text.encode(value, field="metadata", max_bytes=100)
    assert refused.value.details["field"] == "metadata"


def test_depth_and_size_are_bounded() -> None:
    deep: object = 1
    for _ in range(json_text.MAX_DEPTH - 1):
        deep = [deep]
    assert json_text.encode(deep, field="value", max_bytes=1000)
    with pytest.raises(InvalidInputError, match="deeper"):
        json_text.encode([deep], field="value", max_bytes=1000)
    with pytest.raises(InvalidInputError, match="limit is 5"):
        json_text.encode("12345", field="value", max_bytes=5)
