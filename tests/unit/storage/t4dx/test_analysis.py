from __future__ import annotations

import pytest

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.storage.t4dx.analysis import Analyzer, analyzer, languages


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The dogs were WALKING home.", ["dog", "walk", "home"]),
        ("Caroline's, and don't", ["carolin"]),
        ("São Paulo naïve ﬁne", ["sao", "paulo", "naiv", "fine"]),
        ("東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("茶", ["茶"]),
        ("room 42b, user_id=7", ["room", "42b", "user", "id", "7"]),
        ("", []),
        ("?! — …", []),
        ("Привет мир", ["привет", "мир"]),
    ],
)
def test_texts_become_terms(text: str, terms: list[str]) -> None:
    assert analyzer("english").terms(text) == terms


def test_languages_have_their_own_stems_and_stop_words() -> None:
    assert analyzer("german").terms("Die Häuser und die Hunde") == ["haus", "hund"]
    assert analyzer("none").terms("Die Häuser und die Hunde") == ["die", "hauser", "und", "die", "hunde"]


def test_content_words_are_no_stop_words() -> None:
    assert analyzer("english").terms("work home family money") == ["work", "home", "famili", "money"]


def test_an_unknown_language_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInputError, match="known: none, arabic"):
        Analyzer("klingon")
    assert "english" in languages()


def test_quoted_parts_are_phrases_when_they_have_several_terms() -> None:
    assert analyzer("english").phrases('find "New York pizzas" and “old town” but not "one"') == [
        ["new", "york", "pizza"],
        ["old", "town"],
    ]


def test_a_very_long_word_counts_by_its_beginning() -> None:
    (term,) = analyzer("none").terms("a" * 100_000)
    assert term == "a" * 64
