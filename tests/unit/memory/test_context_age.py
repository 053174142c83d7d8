from __future__ import annotations

import pytest

from t4dm._privacy import without_private
from t4dm_daemon.memory.context import age

DAY_US = 86_400_000_000


@pytest.mark.parametrize(
    ("days", "text"),
    [(0, "today"), (1, "1 day ago"), (13, "1 week ago"), (45, "1 month ago"), (800, "2 years ago"), (-2, "to come")],
)
def test_ages_are_told_in_the_largest_whole_unit(days: int, text: str) -> None:
    assert age(1000 * DAY_US - days * DAY_US, 1000 * DAY_US) == text


@pytest.mark.parametrize(
    ("content", "public"),
    [
        ("The code is <private>1234</private>, written down.", "The code is, written down."),
        ("a <PRIVATE>b\nc</PRIVATE> d <private>e</private>", "a d"),
        ("open <private>and never closed", "open"),
        ("nothing private, but a < b", "nothing private, but a < b"),
    ],
)
def test_private_spans_are_cut_out(content: str, public: str) -> None:
    assert without_private(content) == public
