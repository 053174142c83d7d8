from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.quality import fact_data, locomo
from tests.bench.quality.conversations import DATA, asked_elsewhere, batches, our_own, read_lines

CATEGORIES = {"single-hop", "multi-hop", "temporal", "open", "unanswerable", "examples"}


def test_every_question_names_turns_that_exist_and_unanswerable_ones_name_none() -> None:
    conversation = our_own()
    known = {turn.id for turn in conversation.turns}

    for question in conversation.questions:
        assert question.category in CATEGORIES, question
        assert question.evidence <= known, question
        assert bool(question.evidence) == (question.category != "unanswerable"), question
    assert len({question.text for question in conversation.questions}) == len(conversation.questions)
    assert len(conversation.answerable) >= 74
    assert len(conversation.unanswerable) >= 40


def test_turns_are_stored_in_the_order_of_their_times() -> None:
    records = [record for batch in batches(our_own()) for record in batch.records]

    times = [record.event_time for record in records if record.event_time is not None]
    assert len(times) == len(records)
    assert times == sorted(times)


def test_facts_have_versions_in_the_order_of_their_valid_times() -> None:
    facts = fact_data.facts()

    assert len(facts) >= 40
    assert len({fact.id for fact in facts}) == len(facts)
    for fact in facts:
        starts = [version.valid_from for version in fact.versions]
        assert 2 <= len(starts) <= 4, fact.id
        assert starts == sorted(starts), fact.id
        assert {version.phase for version in fact.versions} <= fact_data.PHASES.keys(), fact.id
        assert all(at < len(fact.versions) - 1 for _, at in fact.before), fact.id
        assert fact.known_in(4) is fact.versions[-1], fact.id


def test_some_facts_are_told_late_and_some_corrected_from_the_start() -> None:
    facts = {fact.id: fact for fact in fact_data.facts()}

    market = facts["market-day"]
    budget = facts["heron-budget"]
    assert market.known_in(2) is market.versions[2]
    assert market.versions[1].phase > market.versions[2].phase
    assert budget.known_in(2) is budget.versions[0]
    assert [version for version, _, _ in budget.spans()] == [budget.versions[1]]


def test_questions_that_nothing_answers_are_others_than_those_that_something_does() -> None:
    asked = [fact.question for fact in fact_data.facts()]
    never = fact_data.never_said()

    assert len(never) >= 40
    assert len(set(never)) == len(never)
    assert not set(asked) & set(never)


def test_duplicates_come_in_sets_of_five_facts_in_three_wordings() -> None:
    sets: dict[str, int] = {}
    for line in read_lines(DATA / "duplicates.jsonl"):
        assert len(set(line["wordings"])) == 3, line
        sets[line["set"]] = sets.get(line["set"], 0) + 1

    assert len(sets) >= 8
    assert set(sets.values()) == {5}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "1.json"
    turns = [
        {"speaker": "Ann", "dia_id": "D1:1", "text": "Hello."},
        {"speaker": "Bob", "dia_id": "D1:2", "text": "Look!", "blip_caption": "a red boat"},
    ]
    questions = [
        {"question": "What did Bob show?", "category": 4, "evidence": ["D1:02"]},
        {"question": "Where is it?", "category": 4, "evidence": ["D9:1"]},
        {"question": "What did Ann show?", "category": 5, "evidence": ["D1:2"]},
    ]
    document = {"session_1": turns, "session_1_date_time": "1:56 pm on 8 May, 2023", "qa": questions}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_locomo_turns_carry_speaker_caption_and_time(file: Path) -> None:
    conversation = locomo.read(file)

    assert [turn.content for turn in conversation.turns] == ["Ann: Hello.", "Bob: Look! [shares a photo: a red boat]"]
    assert [turn.at.isoformat() for turn in conversation.turns] == [
        "2023-05-08T13:56:00+00:00",
        "2023-05-08T13:56:30+00:00",
    ]
    assert conversation.speakers == ["Ann", "Bob"]


def test_locomo_questions_without_known_evidence_are_left_out_and_swapped_ones_have_none(file: Path) -> None:
    conversation = locomo.read(file)

    assert [question.text for question in conversation.answerable] == ["What did Bob show?"]
    assert conversation.answerable[0].evidence == {"D1:2"}
    assert [question.text for question in conversation.unanswerable] == ["What did Ann show?"]


def test_a_question_asked_elsewhere_is_about_the_people_there(file: Path) -> None:
    question = locomo.read(file).answerable[0]

    moved = asked_elsewhere(question, locomo.read(file), our_own())

    assert moved.text == "What did Joaquín show?"
    assert not moved.evidence
