"""ChatGPT's and Claude's exports, LangChain's histories, Letta's agent files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from t4dm_daemon.core.errors import SourceError
from t4dm_daemon.sources import Files, chatgpt, claude, langchain_history, letta
from tests.support import foreign_exports as made
from tests.support.foreign_exports import uid
from tests.unit.sources.reading import Read


def saved(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


# ChatGPT ----------------------------------------------------------------------------------------------


def test_chatgpt_gives_the_visible_path_with_times_roles_and_sessions(tmp_path: Path) -> None:
    talk = made.chatgpt_conversation(
        "one",
        made.chatgpt_message("q", "user", "Which tea, \U0001f375?"),
        made.chatgpt_message("a", "assistant", "Oolong.", time=1_700_000_001.5, metadata={"model_slug": "gpt-x"}),
        branches=2,
    )
    path = made.in_zip(tmp_path / "e.zip", conversations__json=[talk], user__json={})

    read = Read(chatgpt.read(path, Files()))

    assert read.contents == ["Which tea, \U0001f375?", "Oolong."]
    answer = read.records[1]
    assert answer.identity == uid("a")
    assert answer.place == "conversations.json, conversation 1, message 3"
    assert answer.fields["session_id"] == uid("one")
    assert answer.fields["event_time"] == datetime(2023, 11, 14, 22, 13, 21, 500_000, tzinfo=UTC)
    assert answer.fields["metadata"] == {"role": "assistant", "title": "Tea", "model": "gpt-x"}
    assert [(one.seq, one.value["role"], one.value["content"]) for one in read.messages] == [
        (1, "user", "Which tea, \U0001f375?"),
        (2, "assistant", "Oolong."),
    ]
    assert [one.reason for one in read.skipped] == ["on a branch that was left"] * 2


def test_chatgpt_passes_over_what_the_user_does_not_see(tmp_path: Path) -> None:
    unseen = [
        made.chatgpt_message("s", "system", "rules"),
        made.chatgpt_message("t", "tool", "result"),
        made.chatgpt_message("c", "assistant", "search(…)", recipient="browser"),
        made.chatgpt_message("h", "user", "profile", metadata={"is_visually_hidden_from_conversation": True}),
        made.chatgpt_message("th", "assistant", content={"content_type": "thoughts", "thoughts": []}),
        made.chatgpt_message("e", "user", ""),
    ]
    path = saved(tmp_path / "conversations.json", [made.chatgpt_conversation("one", *unseen)])

    read = Read(chatgpt.read(path, Files()))

    assert (read.records, read.messages, read.wrong) == ([], [], [])
    assert len(read.skipped) == len(unseen)


def test_chatgpt_keeps_words_beside_pictures_and_speech(tmp_path: Path) -> None:
    parts = [
        {"content_type": "audio_transcription", "text": "spoken"},
        {"content_type": "image_asset_pointer", "asset_pointer": "x"},
        "and typed",
    ]
    talk = made.chatgpt_conversation(
        "one",
        made.chatgpt_message("m", "user", *parts),
        made.chatgpt_message("p", "user", {"content_type": "image_asset_pointer"}),
        made.chatgpt_message("k", "assistant", content={"content_type": "code", "text": "print()"}),
    )
    read = Read(chatgpt.read(saved(tmp_path / "conversations.json", [talk]), Files()))

    assert read.contents == ["spoken\nand typed", "print()"]
    assert read.records[0].fields["metadata"]["attachments"] == ["image_asset_pointer"]
    assert [one.seq for one in read.messages] == [1, 2, 3]
    assert [one.reason for one in read.skipped] == ["no words in it; it is in the session"]


def test_chatgpt_without_a_current_node_follows_the_newest_leaf_and_survives_a_circle(tmp_path: Path) -> None:
    lost = made.chatgpt_talk("lost", 3)
    lost["current_node"] = None
    circle = made.chatgpt_talk("circle", 2)
    circle["mapping"]["root"]["parent"] = "circle-1"

    read = Read(chatgpt.read(saved(tmp_path / "conversations.json", [lost, circle]), Files()))

    assert read.contents == [
        *(f"lost says number {n}" for n in range(3)),
        "circle says number 0",
        "circle says number 1",
    ]


def test_chatgpt_tells_what_is_malformed_and_reads_on(tmp_path: Path) -> None:
    bad_time = made.chatgpt_conversation("t", made.chatgpt_message("x", "user", "hi", time="soon"))  # type: ignore[arg-type]
    bad_role = made.chatgpt_conversation("r", {"content": {}, "author": None})
    entries = [7, None, {"title": "no mapping"}, bad_time, bad_role, made.chatgpt_talk("good", 1)]

    read = Read(chatgpt.read(saved(tmp_path / "conversations.json", entries), Files()))

    assert read.contents == ["good says number 0"]
    assert [(one.place.rpartition(", ")[2], one.reason) for one in read.wrong] == [
        ("conversation 1", "it is a number, not an object"),
        ("conversation 2", "it is null, not an object"),
        ("conversation 3", "a conversation has an id and a mapping"),
        ("message 2", "'soon' is no time"),
        ("message 2", "a message has an author with a role"),
    ]


def test_chatgpt_reads_an_export_in_several_files_and_an_unpacked_one(tmp_path: Path) -> None:
    for n in range(2):
        saved(tmp_path / f"conversations-00{n}.json", [made.chatgpt_talk(f"t{n}", 1)])
    saved(tmp_path / "user.json", {})

    assert Read(chatgpt.read(tmp_path, Files())).contents == ["t0 says number 0", "t1 says number 0"]


def test_a_file_of_another_shape_is_told(tmp_path: Path) -> None:
    read = Read(chatgpt.read(saved(tmp_path / "user.json", {"id": "u", "email": "a@b"}), Files()))

    assert [one.reason for one in read.wrong] == ["an object, where an array belongs; it holds email, id"]


# Claude -----------------------------------------------------------------------------------------------


def test_claude_gives_turns_with_times_and_attachments(tmp_path: Path) -> None:
    paper = {"file_name": "soil.txt", "file_size": 3, "extracted_content": "loam"}
    blocks = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "Roses."},
        {"type": "tool_use", "name": "x"},
    ]
    talk = made.claude_conversation(
        "g",
        made.claude_message("m1", "human", "What grows here?", attachments=[paper], files=[{"file_name": "map.png"}]),
        made.claude_message("m2", "assistant", "older text", content=blocks),
        made.claude_message("m3", "human", "", content=[]),
    )

    read = Read(claude.read(made.in_zip(tmp_path / "c.zip", conversations__json=[talk]), Files()))

    assert read.contents == ["What grows here?", "Roses."]
    question = read.records[0]
    assert question.identity == uid("m1")
    assert question.fields["event_time"] == datetime(2026, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC)
    assert question.fields["metadata"] == {
        "role": "user",
        "title": "Planning the garden",
        "attachments": ["soil.txt", "map.png"],
    }
    assert read.messages[0].value["attached_texts"] == {"soil.txt": "loam"}
    assert [one.reason for one in read.skipped] == ["nothing is said in it"]


def test_claude_tells_what_is_malformed_and_reads_on(tmp_path: Path) -> None:
    talk = made.claude_conversation("g", {"text": "?"}, made.claude_message("x", "human", "hello"))
    path = saved(tmp_path / "conversations.json", [{"uuid": "u"}, talk])

    read = Read(claude.read(path, Files()))

    assert read.contents == ["hello"]
    assert [one.reason for one in read.wrong] == [
        "a conversation has a uuid and chat_messages",
        "a message has a sender",
    ]


# LangChain --------------------------------------------------------------------------------------------


def test_langchain_files_become_sessions_that_langchain_reads_back(tmp_path: Path) -> None:
    messages = pytest.importorskip("langchain_core.messages")
    said = [
        messages.SystemMessage("be brief"),
        messages.HumanMessage([{"type": "text", "text": "What is tea?"}, {"type": "image_url", "image_url": "x"}]),
        messages.AIMessage("A drink.", id="a1", tool_calls=[{"name": "f", "args": {}, "id": "1"}]),
        messages.ToolMessage("done", tool_call_id="1"),
    ]
    (tmp_path / "eu").mkdir()
    saved(tmp_path / "eu" / "chat-7.json", [messages.message_to_dict(one) for one in said])

    read = Read(langchain_history.read(tmp_path, Files()))

    assert {one.session_id for one in read.messages} == {"eu/chat-7"}
    assert messages.messages_from_dict([one.value for one in read.messages]) == said
    assert [(one.fields["metadata"]["role"], one.fields["content"]) for one in read.records] == [
        ("user", "What is tea?"),
        ("assistant", "A drink."),
    ]


def test_langchains_table_is_read_in_order_and_a_bad_row_is_told(tmp_path: Path) -> None:
    rows = [
        ("s1", json.dumps(made.langchain_message("human", "one"))),
        ("s2", json.dumps(made.langchain_message("human", "two"))),
        ("s1", "{oops"),
        ("s1", json.dumps(made.langchain_message("ai", "three"))),
        ("s1", "[]"),
    ]
    path = made.langchain_database(tmp_path / "memory.db", rows, table="odd name")

    read = Read(langchain_history.read(path, Files(), table="odd name"))

    assert [(one.session_id, one.seq) for one in read.messages] == [("s1", 1), ("s2", 1), ("s1", 2)]
    assert [one.place.rpartition(" ")[2] for one in read.wrong] == ["3", "5"]
    with pytest.raises(SourceError, match="no such table: message_store"):
        list(langchain_history.read(path, Files()))


# Letta ------------------------------------------------------------------------------------------------


def test_letta_gives_blocks_and_what_was_said(tmp_path: Path) -> None:
    read = Read(letta.read(saved(tmp_path / "a.af", made.letta_agent_file()), Files()))

    assert [(one.fields["content"], one.fields["agent_id"]) for one in read.records] == [
        ("I moved to Lisbon", "companion"),
        ("Lisbon is lovely", "companion"),
        ("The user is called Ada.", "companion"),
    ]
    assert read.records[2].fields["metadata"] == {"block": "human", "description": "Who it is"}
    assert [(one.session_id, one.value["role"]) for one in read.messages] == [
        ("companion", "user"),
        ("companion", "assistant"),
    ]
    assert read.wrong == []


def test_lettas_older_file_and_archival_memory_are_read(tmp_path: Path) -> None:
    old = {
        "name": "sam",
        "core_memory": [{"label": "human", "value": "Ada"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hello"}], "created_at": "2025-01-01T00:00:00"}
        ],
    }
    passage = {
        "id": f"passage-{uid('p')}",
        "text": "Ada owns a loom",
        "created_at": "2025-02-01T00:00:00Z",
        "tags": ["craft"],
    }

    before = Read(letta.read(saved(tmp_path / "sam.af", old), Files()))
    archive = Read(letta.read(saved(tmp_path / "archive.json", [passage, {"id": "x"}]), Files()))

    assert sorted(before.contents) == ["Ada", "hello"]
    assert archive.records[0].identity == uid("p")
    assert archive.records[0].fields["categories"] == ["craft"]
    assert archive.records[0].fields["event_time"] == datetime(2025, 2, 1, tzinfo=UTC)
    assert [one.reason for one in archive.wrong] == ["a passage has a text"]
