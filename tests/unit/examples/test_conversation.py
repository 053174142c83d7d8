"""The conversation that `make run` imports: valid, ordered, and with questions that its turns answer."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from t4dm.sdk.models import RecordIn

DATA = Path(__file__).parents[3] / "examples" / "data"

CHANGED_FACTS = {
    "employer": ("conv-01-005", "conv-07-003"),
    "address": ("conv-01-007", "conv-09-012"),
    "diet": ("conv-01-014", "conv-08-005"),
    "deadline": ("conv-01-010", "conv-06-003", "conv-11-006"),
    "price of the van": ("conv-07-012", "conv-08-001", "conv-09-001"),
    "relationship": ("conv-05-013", "conv-10-006", "conv-13-004"),
    "pet": ("conv-05-016", "conv-07-009", "conv-08-008"),
}
"""The turns of each fact, oldest first: what is true now is said in the last one."""


@cache
def lines(name: str) -> tuple[dict[str, Any], ...]:
    text = (DATA / name).read_text(encoding="utf-8")
    return tuple(json.loads(line) for line in text.splitlines())


@cache
def turns() -> tuple[RecordIn, ...]:
    return tuple(RecordIn.model_validate(line) for line in lines("conversation.jsonl"))


@cache
def times() -> dict[str, datetime]:
    return {str(turn.id): turn.event_time for turn in turns() if turn.event_time is not None}


def test_every_turn_is_a_record_with_an_id_of_its_own():
    ids = [turn.id for turn in turns()]

    assert None not in ids
    assert len(set(ids)) == len(ids)


def test_the_conversation_is_long_enough_to_search_in():
    sessions = Counter(turn.session_id for turn in turns())

    assert 190 <= len(turns()) <= 230
    assert 12 <= len(sessions) <= 16
    assert min(sessions.values()) >= 10


def test_two_people_speak_and_the_text_says_who():
    speakers = Counter(turn.metadata["speaker"] for turn in turns())

    assert len(speakers) == 2
    assert min(speakers.values()) > len(turns()) / 3
    assert all(turn.content.startswith(f"{turn.metadata['speaker']}: ") for turn in turns())


def test_ids_metadata_and_session_agree():
    for turn in turns():
        session, number = turn.metadata["session"], turn.metadata["turn"]

        assert turn.session_id == f"conv-{session:02}"
        assert turn.id == f"{turn.session_id}-{number:03}"


def test_turns_of_a_session_are_numbered_without_gaps():
    seen: Counter[str | None] = Counter()
    for turn in turns():
        seen[turn.session_id] += 1

        assert turn.metadata["turn"] == seen[turn.session_id]


def test_time_runs_forward_over_the_whole_file():
    assert len(times()) == len(turns())
    assert all(earlier < later for earlier, later in pairwise(times().values()))


def test_it_covers_several_months_in_sittings_of_less_than_a_day():
    moments = list(times().values())
    by_session: dict[str, list[datetime]] = {}
    for key, moment in times().items():
        by_session.setdefault(key.rpartition("-")[0], []).append(moment)

    assert moments[-1] - moments[0] > timedelta(days=180)
    assert all(sitting[-1] - sitting[0] < timedelta(hours=12) for sitting in by_session.values())


def test_the_text_holds_more_than_ascii():
    text = "".join(turn.content for turn in turns())

    assert all(piece in text for piece in ("ē", "ń", "¡", "Š", "🌊"))


def test_every_question_is_answered_by_turns_that_exist():
    questions = lines("questions.jsonl")

    assert 10 <= len(questions) <= 16
    for entry in questions:
        assert entry.keys() == {"question", "evidence", "answer"}
        assert entry["question"].endswith("?")
        assert entry["answer"]
        assert entry["evidence"]
        assert set(entry["evidence"]) <= times().keys()


def test_no_question_repeats_the_words_of_its_evidence():
    contents = {turn.id: turn.content.casefold() for turn in turns()}

    for entry in lines("questions.jsonl"):
        question = entry["question"].casefold().rstrip("?")
        assert all(question not in contents[key] for key in entry["evidence"])


def test_changed_facts_are_told_in_order_and_in_different_sessions():
    for fact, told in CHANGED_FACTS.items():
        moments = [times()[key] for key in told]

        assert moments == sorted(moments), fact
        assert len({key.rpartition("-")[0] for key in told}) == len(told), fact


def test_some_questions_have_evidence_from_before_and_after_a_change():
    spanning = [
        entry
        for entry in lines("questions.jsonl")
        if times()[max(entry["evidence"])] - times()[min(entry["evidence"])] > timedelta(days=14)
    ]

    assert len(spanning) >= 4
