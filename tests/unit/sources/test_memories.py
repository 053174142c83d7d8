"""Mem0, OpenMemory, the MCP memory server, JSON lines, Markdown."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from t4dm_daemon.sources import Files, jsonl, markdown, mcp_memory, mem0, openmemory
from tests.support import foreign_exports as made
from tests.support.foreign_exports import uid
from tests.unit.sources.reading import Read


@pytest.mark.parametrize("form", ["array", "results", "memories", "pretty", "lines"])
def test_mem0s_exports_keep_ids_owners_times_and_unknown_fields(tmp_path: Path, form: str) -> None:
    one = made.mem0_memory(1, expiration_date="2027-01-31", immutable=True, structured_attributes={"day": 3})
    path = tmp_path / "m.json"
    content = [one] if form == "array" else one if form == "lines" else {"count": 1, "results": [one]}
    content = {"memories": [one]} if form == "memories" else content
    path.write_text(json.dumps(content, indent=2 if form == "pretty" else None) + "\n")

    read = Read(mem0.read(path, Files()))

    assert (read.wrong, read.skipped) == ([], [])
    (record,) = read.records
    assert record.identity == uid("mem0-1")
    assert record.fields == {
        "content": "Ada keeps 1 bees",
        "kind": "semantic",
        "user_id": "ada",
        "metadata": {"n": 1, "immutable": True, "structured_attributes": {"day": 3}},
        "categories": ["hobbies"],
        "event_time": datetime(2025, 5, 1, 10, tzinfo=UTC),
        "created_at": datetime(2025, 5, 1, 10, tzinfo=UTC),
        "updated_at": datetime(2025, 6, 1, 10, tzinfo=UTC),
        "expires_at": datetime(2027, 1, 31, tzinfo=UTC),
    }


def test_mem0s_malformed_memories_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    bad = [
        {"id": 1},
        made.mem0_memory(2, metadata=[1]),
        made.mem0_memory(3, created_at="?"),
        made.mem0_memory(4, memory=" "),
    ]
    path.write_text(json.dumps([*bad, made.mem0_memory(5)]))

    read = Read(mem0.read(path, Files()))

    assert read.contents == ["Ada keeps 5 bees"]
    assert [one.place for one in read.wrong] == [f"m.json, memory {n}" for n in (1, 2, 3)]
    assert [one.reason for one in read.skipped] == ["its text is empty"]


def test_an_object_without_memories_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text('{\n"detail": "not found"\n}')

    assert [one.reason for one in Read(mem0.read(path, Files())).wrong] == [
        "nothing under results, memories; it holds detail"
    ]


@pytest.mark.parametrize("lines", [True, False])
def test_openmemorys_backup_keeps_user_app_categories_and_state(tmp_path: Path, lines: bool) -> None:
    path = made.openmemory_backup(tmp_path / "om.zip", lines=lines)

    read = Read(openmemory.read(path, Files()))

    assert read.contents == ["Ada prefers oolong", "Ada lived in Paris"]
    first, second = read.records
    assert first.identity == uid("om-1")
    assert (first.fields["user_id"], first.fields["app_id"], first.fields["categories"]) == (
        "ada",
        "cursor",
        ["drinks"],
    )
    assert first.fields["event_time"] == datetime(2025, 5, 1, 10, tzinfo=UTC)
    assert second.fields["metadata"]["state"] == "archived"
    assert [one.reason for one in read.skipped] == ["it was deleted"]
    assert read.wrong == []


def test_the_mcp_graph_becomes_entities_sentences_and_links(tmp_path: Path) -> None:
    path = made.as_lines(tmp_path / "memory.jsonl", made.mcp_graph())

    read = Read(mcp_memory.read(path, Files(), name="home"))

    assert read.contents == [
        "Ada: likes tea\nwas born in 1815",
        "Analytical Society",
        "Ada member of Analytical Society",
        "Ada supports Analytical Society",
    ]
    assert read.records[0].fields["value"] == {
        "name": "Ada",
        "entity_type": "person",
        "summary": "likes tea\nwas born in 1815",
    }
    assert [(one.source[-1], one.type, one.target[-1]) for one in read.links] == [
        ("Ada", "RELATES_TO", "Analytical Society"),
        ("Ada", "SUPPORTS", "Analytical Society"),
    ]


def test_a_broken_graph_is_told_line_by_line(tmp_path: Path) -> None:
    lines = [
        *made.mcp_graph(),
        {"type": "entity", "name": "Ada", "entityType": "again", "observations": []},
        {"type": "entity", "name": "Bob", "entityType": "person", "observations": "tea"},
        {"type": "relation", "from": "Ada", "to": "Nobody", "relationType": "knows"},
        {"type": "event"},
        [1],
    ]
    path = made.as_lines(tmp_path / "memory.jsonl", lines)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\n{half")

    read = Read(mcp_memory.read(path, Files()))

    assert len(read.records) == 4
    assert sorted((one.place, one.reason.partition(":")[0]) for one in read.wrong) == [
        ("memory.jsonl, line 11", "not JSON"),
        ("memory.jsonl, line 5", "the entity 'Ada' is there already, at memory.jsonl, line 1"),
        ("memory.jsonl, line 6", "observations is an array of texts"),
        ("memory.jsonl, line 7", "there is no entity 'Nobody'"),
        ("memory.jsonl, line 8", "neither entity nor relation"),
        ("memory.jsonl, line 9", "it is an array, not an object"),
    ]


def test_json_lines_are_read_by_the_names_that_people_use(tmp_path: Path) -> None:
    line = {
        "id": 7,
        "text": "tea at noon",
        "timestamp": 1_700_000_000_000,
        "tags": ["tea"],
        "payload": {"a": 1},
        "user_id": 12,
        "colour": "red",
        "a": 2,
        "embedding": [0.1],
        "score": None,
    }
    path = tmp_path / "n.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(line).encode()))

    (record,) = Read(jsonl.read(path, Files())).records

    assert record.identity == "7"
    assert record.fields == {
        "content": "tea at noon",
        "metadata": {"a": 1, "colour": "red", "line_a": 2},
        "event_time": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        "categories": ["tea"],
        "user_id": "12",
    }


def test_json_lines_with_faults_are_told_in_their_places(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    path.write_bytes(
        b'{"content": "one"}\n\n\xff\n{"content": 5}\n{"content": ""}\n[]\n{"content": "x", "date": "soon"}\n'
        b'{"content": "x", "metadata": 3}\n{"content": "last"}'
    )

    read = Read(jsonl.read(path, Files()))

    assert read.contents == ["one", "last"]
    assert [one.place for one in read.wrong] == [f"n.jsonl, line {n}" for n in (3, 4, 6, 7, 8)]
    assert [one.place for one in read.skipped] == ["n.jsonl, line 5"]


def test_a_json_array_is_read_as_lines_are_and_a_text_key_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    path.write_text(json.dumps([{"summary": "printer on fire", "content": "long"}]))

    (record,) = Read(jsonl.read(path, Files(), text_key="summary")).records

    assert (record.fields["content"], record.fields["metadata"]) == ("printer on fire", {"content": "long"})


NOTE = """---
title: Garden
tags: [plants, "#soil"]
date: 2026-04-01
rows: {north: 2}
---
First words.

# Roses #
Thorny.

```
# not a heading
```

## Care

Water them.
# Roses
Again.

Tulips
======
From Turkey.
"""


def test_markdown_gives_a_memory_for_each_section(tmp_path: Path) -> None:
    (tmp_path / "garden.md").write_bytes(NOTE.replace("\n", "\r\n").encode("utf-8-sig"))

    read = Read(markdown.read(tmp_path, Files()))

    assert read.contents == [
        "Garden\n\nFirst words.",
        "Garden > Roses\n\nThorny.\n\n```\n# not a heading\n```",
        "Garden > Roses > Care\n\nWater them.",
        "Garden > Roses\n\nAgain.",
        "Garden > Tulips\n\nFrom Turkey.",
    ]
    assert [one.place for one in read.records][:3] == [
        "garden.md, line 7",
        "garden.md, line 9",
        "garden.md, line 16",
    ]
    assert len({one.identity for one in read.records}) == 5
    fields = read.records[2].fields
    assert fields["categories"] == ["plants", "soil"]
    assert fields["event_time"] == datetime(2026, 4, 1, tzinfo=UTC)
    assert fields["metadata"] == {
        "title": "Garden",
        "tags": ["plants", "#soil"],
        "date": "2026-04-01",
        "rows": {"north": 2},
        "file": "garden.md",
        "headings": ["Roses", "Care"],
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe#", "not UTF-8"),
        (b"---\na: [1\n---\nx", "front matter: "),
        (b"---\na: &x [1]\nb: *x\n---\nx", "front matter: aliases are not followed"),
        (b"---\n- 1\n---\nx", "front matter: not a list of names"),
        (b"---\ndate: soon\n---\nx", "front matter: 'soon' is no time"),
    ],
)
def test_markdown_that_cannot_be_read_is_told_and_the_other_files_are_read(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "bad.md").write_bytes(content)
    (tmp_path / "empty.md").write_bytes(b"")
    (tmp_path / "good.MD").write_text("---\n\nfine: this is a rule, not front matter")

    read = Read(markdown.read(tmp_path, Files()))

    assert [one.place for one in read.wrong] == ["bad.md"]
    assert read.wrong[0].reason.startswith(reason)
    assert [one.place for one in read.skipped] == ["empty.md"]
    assert [one.fields["metadata"]["file"] for one in read.records] == ["good.MD"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_markdown_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("x")
    (tmp_path / "a.md").chmod(0)

    assert [one.place for one in Read(markdown.read(tmp_path, Files())).wrong] == ["a.md"]
