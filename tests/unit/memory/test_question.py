from __future__ import annotations

import pytest

from t4dm_daemon.memory.question import understand


def test_known_names_are_found_and_taken_out() -> None:
    asked = understand("What is Maria's dog called, and what does JON think?", ["Maria Lopez", "Jon", "Ada"], now=0)

    assert asked.actors == {"Maria Lopez", "Jon"}
    assert asked.nameless == "What is dog called, and what does think?"


def test_a_question_that_is_nothing_but_a_name_keeps_it() -> None:
    assert understand("Maria?", ["Maria"], now=0).nameless == "Maria?"


@pytest.mark.parametrize(
    ("text", "actors"), [("Will it rain?", set()), ("will it rain?", set()), ("What did Will say?", {"Will"})]
)
def test_a_name_that_is_a_word_counts_with_a_capital_inside_the_sentence(text: str, actors: set[str]) -> None:
    assert understand(text, ["Will"], now=0).actors == actors


def test_without_known_names_nothing_changes() -> None:
    asked = understand("What is Maria's dog called?", [], now=0)

    assert asked.nameless == asked.text
    assert asked.actors == frozenset()


@pytest.mark.parametrize("text", ["When did she go?", "how long has she lived there?", "On what date was it?"])
def test_questions_for_a_time_are_recognised(text: str) -> None:
    assert understand(text, [], now=0).asks_when


@pytest.mark.parametrize(
    "text", ["Where did she live before?", "What was his previous job?", "She used to drink what?"]
)
def test_questions_about_the_past_are_recognised(text: str) -> None:
    assert understand(text, [], now=0).asks_past
    assert not understand("Where does she live?", [], now=0).asks_past
