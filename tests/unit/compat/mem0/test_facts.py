"""Which facts the rules find, and above all which they do not."""

from __future__ import annotations

import pytest

from t4dm_compat.mem0.facts import MAX_FACTS, extract


def _texts(message: str) -> list[str]:
    return [f"{fact.rule}: {fact.text}" for fact in extract(message)]


@pytest.mark.parametrize(
    ("message", "fact"),
    [
        ("My name is Alice", "name: The user's name is Alice"),
        ("Hi there, my name's Ana Lucía Pérez!", "name: The user's name is Ana Lucía Pérez"),
        ("I'm called Bob.", "name: The user's name is Bob"),
        ("You can call me Sam", "name: The user's name is Sam"),
        ("I really love hiking in the mountains.", "preference: The user loves hiking in the mountains"),
        ("I don't like cilantro, it tastes of soap", "preference: The user does not like cilantro"),
        ("I prefer tea over coffee because it is calmer", "preference: The user prefers tea over coffee"),
        ("My favourite colour is dark green.", "preference: The user's favourite colour is dark green"),
        ("I'm a vegetarian", "preference: The user is a vegetarian"),
        ("I’m allergic to peanuts and shellfish.", "preference: The user is allergic to peanuts and shellfish"),
        ("I love my dog", "preference: The user loves their dog"),
        ("I enjoy camping with my family- they are loud", "preference: The user enjoys camping with their family"),
        ("I live in São Paulo", "place: The user lives in São Paulo"),
        ("I'm currently living near the Alster", "place: The user lives near the Alster"),
        ("I work at a small bakery in Ghent.", "place: The user works at a small bakery in Ghent"),
        ("I grew up in Kyoto", "place: The user grew up in Kyoto"),
        ("I'm from the Netherlands", "place: The user is from the Netherlands"),
        ("I just moved to Berlin", "place: The user moved to Berlin"),
        ("My sister's name is Ruth", "relation: The user's sister is Ruth"),
        ("My younger brother is called Tom", "relation: The user's younger brother is Tom"),
        ("Maria is my wife", "relation: The user's wife is Maria"),
        ("I have two cats named Milo and Otis", "relation: The user has two cats named Milo and Otis"),
        ("I have a daughter", "relation: The user has a daughter"),
        ("I'm planning to visit Japan in April", "plan: The user is planning to visit Japan in April"),
        ("I want to learn the cello", "plan: The user wants to learn the cello"),
        ("I'm training for a marathon", "plan: The user is training for a marathon"),
    ],
)
def test_a_plain_statement_in_the_first_person_is_a_fact(message: str, fact: str) -> None:
    assert _texts(message) == [fact]


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Do I like tea?",
        "What is my name?",
        "If I live in Paris, what tax do I pay?",
        "I would love to live in Paris",
        "I used to live in Paris",
        "I no longer like tea",
        "Maybe I like tea",
        "I wish I lived in Rome",
        "She said I love tea",
        'He wrote "My name is Bob"',
        "Translate: My name is Bob",
        "Pretend my name is Bob",
        "I love it!",
        "I like that idea",
        "I like what you wrote",
        "I like how this works",
        "I'd like a coffee",
        "I want to know the weather",
        "I want to ask you something",
        "I am not from here",
        "My name is not important",
        "my name is on the list",
        "You like tea",
        "Bob lives in Paris",
        "We love our garden",
        "I live in the moment I love",
        "I hate when this happens",
        "I have a question",
        "I have a problem with my code",
        "My boss is Angry about everything and I left",
        "I'm going",
        "I love to",
        "I love the yellow leaves",
        "I love all the little details",
        "I want to pass it on to others",
        "I want to make that happen",
        "I want to be brave for them",
        "```\nI love tea\n```",
        "I love https://example.org",
        "<b>I love tea</b>",
    ],
)
def test_what_is_not_plainly_about_the_speaker_is_no_fact(message: str) -> None:
    assert _texts(message) == []


def test_several_facts_come_in_the_order_they_are_said_and_none_twice() -> None:
    message = "Hello! My name is Alice and I live in Lisbon, but I hate fado. I live in Lisbon.\nMy wife is Rita."

    assert _texts(message) == [
        "name: The user's name is Alice",
        "place: The user lives in Lisbon",
        "preference: The user hates fado",
        "relation: The user's wife is Rita",
    ]


def test_a_document_is_not_somebody_speaking() -> None:
    assert extract("I love tea. " * 1000) == []
    assert extract("I love " + "very " * 60 + "strong tea.") == []
    assert len(extract("\n".join(f"I love fruit number{number}" for number in range(50)))) == MAX_FACTS


@pytest.mark.parametrize(
    "piece", ["I love my ", "my name is A ", "and I ", ", but my ", "so and also ", "\u2019\u0130", "I have a "]
)
def test_hostile_repetition_is_read_in_no_time(piece: str) -> None:
    for length in (239, 3999):
        assert len(extract((piece * length)[:length])) <= MAX_FACTS
