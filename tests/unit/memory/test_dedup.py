from __future__ import annotations

import pytest

from t4dm_daemon.memory.dedup import content_hash

ANN = ("ann", None, None, None, None)


def test_spacing_and_composition_do_not_make_another_memory() -> None:
    assert content_hash("caf\u00e9  au\nlait ", ANN, ()) == content_hash("cafe\u0301 au lait", ANN, ())


@pytest.mark.parametrize(
    ("content", "owner", "namespace"),
    [
        ("US", ANN, ()),
        ("us", ("bob", None, None, None, None), ()),
        ("us", (None, "ann", None, None, None), ()),
        ("us", ANN, ("ann",)),
        ("us", (None, None, None, None, None), ("ann",)),
        ("us", ("", None, None, None, None), ()),
    ],
)
def test_case_owner_and_namespace_do(content: str, owner: tuple[str | None, ...], namespace: tuple[str, ...]) -> None:
    assert content_hash(content, owner, namespace) != content_hash("us", ANN, ())


def test_an_empty_text_duplicates_nothing() -> None:
    assert content_hash(" \n", ANN, ()) == 0
