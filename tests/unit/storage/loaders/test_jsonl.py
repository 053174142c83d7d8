from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t4dm_daemon.core.clock import OPEN, UNBOUNDED
from t4dm_daemon.core.errors import InvalidInputError, SourceError
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.loaders import JsonlSource, Limits, Refusal, jsonl, load
from t4dm_daemon.storage.t4dx import T4DXEngine
from tests.unit.storage.loaders.records import write_lines


def _read(source: JsonlSource, size: int = 100) -> tuple[list[Item], list[Refusal]]:
    batches = list(source.batches(size))
    return [one for batch in batches for one in batch.items], [one for batch in batches for one in batch.refused]


def _one(tmp_path: Path, line: Any, **options: Any) -> Item:
    items, refused = _read(JsonlSource(write_lines(tmp_path / "one.jsonl", [line]), **options))
    assert refused == []
    return items[0]


def _reason(tmp_path: Path, line: Any, **options: Any) -> str:
    items, refused = _read(JsonlSource(write_lines(tmp_path / "bad.jsonl", [line]), **options))
    assert items == []
    return refused[0].reason


MEMORY: dict[str, Any] = {
    "id": "m1",
    "space": "default",
    "content": "Ada likes tea",
    "kind": "semantic",
    "namespace": ["people", "ada"],
    "user_id": "u",
    "agent_id": None,
    "app_id": None,
    "run_id": None,
    "session_id": "s",
    "categories": ["drinks"],
    "importance": 0.75,
    "kappa": 0.25,
    "event_time": "2026-05-01T12:00:00.000001Z",
    "valid_from": None,
    "valid_to": "2027-01-01T00:00:00Z",
    "recorded_at": "2026-05-01T12:00:00Z",
    "created_at": "2026-05-01T12:00:00Z",
    "updated_at": "2026-05-02T12:00:00Z",
    "expires_at": None,
    "access_count": 3,
    "last_accessed": "2026-05-03T12:00:00Z",
    "pinned": True,
    "version": 7,
    "vector": [0.5, 0.25],
    "metadata": {"text": "stays", "n": 10**20},
    "value": {"raw": [1.0, None]},
}


def test_a_memory_of_an_export_is_read_whole(tmp_path: Path) -> None:
    item = _one(tmp_path, MEMORY)

    assert (item.id, item.content, item.kind) == ("m1", "Ada likes tea", "semantic")
    assert (item.namespace, item.categories) == (("people", "ada"), ("drinks",))
    assert (item.user_id, item.agent_id, item.session_id) == ("u", None, "s")
    assert (item.importance, item.kappa, item.pinned, item.access_count) == (0.75, 0.25, True, 3)
    assert item.event_time == 1_777_636_800_000_001  # date -u -d '2026-05-01 12:00' +%s, and one microsecond
    assert (item.valid_from, item.valid_to, item.expires_at) == (UNBOUNDED, 1_798_761_600_000_000, OPEN)
    assert item.last_accessed - item.updated_at == 86_400_000_000
    assert item.vector is not None
    assert item.vector.tolist() == [0.5, 0.25]
    assert json.loads(item.metadata_json) == MEMORY["metadata"]
    assert item.value_json == b'{"raw":[1.0,null]}'


@pytest.mark.parametrize(
    "line",
    [
        {"id": "a", "text": "hello", "embedding": [1, 2], "payload": {"n": 1}},
        {"id": "a", "content": "hello", "vector": [1, 2], "metadata": {"n": 1}},
        {"id": "a", "content": "hello", "metadatas": {"n": 1},
         "vector": base64.b64encode(np.array([1, 2], "<f4").tobytes()).decode()},
    ],
)  # fmt: skip
def test_a_plain_line_is_read_by_any_of_its_names(tmp_path: Path, line: dict[str, Any]) -> None:
    item = _one(tmp_path, line)

    assert (item.id, item.content, item.metadata_json) == ("a", "hello", b'{"n":1}')
    assert item.vector is not None
    assert item.vector.tolist() == [1.0, 2.0]


def test_a_number_for_an_id_is_its_digits(tmp_path: Path) -> None:
    assert _one(tmp_path, {"id": 42, "text": "x"}).id == "42"


def test_a_line_without_an_id_has_the_same_one_in_every_run(tmp_path: Path) -> None:
    first, again = _one(tmp_path, {"text": "x"}), _one(tmp_path, {"text": "x"})

    assert first.id == again.id != _one(tmp_path, {"text": "y"}).id


def test_a_memory_is_true_from_when_it_happened_unless_the_line_says_otherwise(tmp_path: Path) -> None:
    item = _one(tmp_path, {"text": "x", "event_time": "2026-05-01"})

    assert item.valid_from == item.event_time != UNBOUNDED


def test_unknown_fields_are_refused_or_go_into_the_metadata(tmp_path: Path) -> None:
    line = {"id": "a", "text": "x", "author": "ann", "metadata": {"n": 1}}

    assert "unknown field 'author'" in _reason(tmp_path, line)
    assert json.loads(_one(tmp_path, line, unknown="metadata").metadata_json) == {"n": 1, "author": "ann"}
    assert "a key of the metadata" in _reason(tmp_path, line | {"metadata": {"author": 1}}, unknown="metadata")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{not json}\n", "not JSON"),
        (b'{"text": NaN}\n', "NaN is not JSON"),
        (b'{"text": "\xff"}\n', "not UTF-8"),
        (b'["a"]\n', "a line is a JSON object"),
        (b'{"text":' * 100_000 + b"\n", "nested too deeply"),
        ({"id": "a"}, "no content, vector, metadata or value"),
        ({"id": "", "text": "x"}, "the id has 0 bytes"),
        ({"id": "x" * 513, "text": "x"}, "the id has 513 bytes"),
        ({"id": 1.5, "text": "x"}, "neither a string nor an integer"),
        ({"id": True, "text": "x"}, "neither a string nor an integer"),
        ({"text": 5}, "content is int, not str"),
        ({"text": "a", "content": "b"}, "which are one field"),
        ({"text": "\ud800"}, "lone surrogate"),
        ({"text": "x", "metadata": []}, "metadata is list, not dict"),
        ({"text": "x", "vector": []}, "not a list of numbers"),
        ({"text": "x", "vector": [0, 0]}, "the vector is zero"),
        ({"text": "x", "vector": [1e300, 0]}, "not finite"),
        ({"text": "x", "vector": ["1"]}, "not a list of numbers"),
        ({"text": "x", "vector": [True]}, "not a list of numbers"),
        ({"text": "x", "vector": [[1], [2, 3]]}, "not a list of numbers"),
        ({"text": "x", "vector": "%%%"}, "nor base64"),
        ({"text": "x", "kind": "dream"}, "the kind is 'dream'"),
        ({"text": "x", "importance": 1.5}, "importance is not a number in [0, 1]"),
        ({"text": "x", "kappa": True}, "kappa is not a number in [0, 1]"),
        ({"text": "x", "access_count": -1}, "access_count is not a count"),
        ({"text": "x", "pinned": 1}, "pinned is int, not bool"),
        ({"text": "x", "namespace": "a"}, "namespace is str, not list"),
        ({"text": "x", "categories": [""]}, "a label of categories has 0 bytes"),
        ({"text": "x", "user_id": 7}, "user_id is int, not str"),
        ({"text": "x", "event_time": 5}, "not an RFC 3339 time"),
        ({"text": "x", "event_time": "2026-02-30"}, "not an RFC 3339 time"),
        ({"text": "x", "valid_from": "2026-02-02", "valid_to": "2026-01-01"}, "valid_to is not later"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_memory_is_refused_with_the_reason(tmp_path: Path, line: Any, reason: str) -> None:
    assert reason in _reason(tmp_path, line)


def test_a_refusal_names_the_record_or_else_its_line(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", [{"text": "fine"}, b"\n", b"nonsense\n", {"id": "me", "text": 1}])

    items, refused = _read(JsonlSource(path))

    assert len(items) == 1
    assert [one.id for one in refused] == ["line 3", "me"]


def test_what_is_too_large_for_the_api_is_refused(tmp_path: Path) -> None:
    limits = Limits(content_bytes=4, metadata_bytes=20, value_bytes=4, dimension=2)

    assert _one(tmp_path, {"text": "four"}, limits=limits).content == "four"
    assert "the content has 6 bytes" in _reason(tmp_path, {"text": "♥♥"}, limits=limits)
    assert "the metadata has" in _reason(tmp_path, {"metadata": {"k": "x" * 20}}, limits=limits)
    assert "the value has" in _reason(tmp_path, {"value": "12345"}, limits=limits)
    assert "the vector has 3 numbers" in _reason(tmp_path, {"vector": [1, 2, 3]}, limits=limits)


def test_a_line_that_is_too_long_is_refused_without_being_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 64)
    path = write_lines(tmp_path / "x.jsonl", [{"text": "a"}, {"text": "x" * 1000}, {"text": "b"}, {"text": "y" * 500}])

    items, refused = _read(JsonlSource(path))

    assert [one.content for one in items] == ["a", "b"]
    assert [one.id for one in refused] == ["line 2", "line 4"]


def test_batches_are_small_in_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_BATCH_BYTES", 100)
    path = write_lines(tmp_path / "x.jsonl", [{"text": "x" * 60}] * 6)

    assert [len(batch.items) for batch in JsonlSource(path).batches(1000)] == [2, 2, 2]


def test_reading_goes_on_from_every_position(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", [{"space": {"name": "s"}}, *({"id": n, "text": "t"} for n in range(20)),
                                              {"end": True, "count": 20}])  # fmt: skip
    source = JsonlSource(path)

    for batch in source.batches(3):
        position = json.loads(json.dumps(batch.position))
        rest = [one.id for later in source.batches(3, after=position) for one in later.items]
        assert rest == [str(number) for number in range(int(batch.items[-1].id) + 1, 20)]


@pytest.mark.parametrize("change", [{"offset": 5}, {"offset": 10**6}, {"offset": -1}, {"line": "x"}, {"more": 1}])
def test_a_position_that_fits_no_line_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    source = JsonlSource(write_lines(tmp_path / "x.jsonl", [{"text": "one"}, {"text": "two"}]))
    batch = next(source.batches(1))

    with pytest.raises(InvalidInputError):
        list(source.batches(1, after=batch.position | change))


def test_a_last_line_without_a_newline_is_read(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x.jsonl", [b'\xef\xbb\xbf{"text": "a"}\r\n', b'{"text": "b"}'])

    assert [one.content for one in _read(JsonlSource(path))[0]] == ["a", "b"]


def test_one_space_of_an_export_is_chosen_by_name(tmp_path: Path) -> None:
    lines = [
        {"space": {"name": "one", "embedder": "client"}},
        {"id": "a", "space": "one", "content": "1"},
        {"space": {"name": "two", "embedder": "client"}},
        {"id": "b", "space": "two", "content": "2"},
        {"end": True, "count": 2},
    ]
    path = write_lines(tmp_path / "x.jsonl", lines)

    first, refused = _read(JsonlSource(path))
    second, none = _read(JsonlSource(path, space="two"))

    assert [one.id for one in first] == ["a"]
    assert [one.id for one in refused] == ["b"]
    assert "belongs to space 'two'" in refused[0].reason
    assert [one.id for one in second] == ["b"]
    assert none == []


def test_an_export_that_was_cut_short_says_so_after_all_is_stored(tmp_path: Path, engine: T4DXEngine) -> None:
    path = write_lines(tmp_path / "x.jsonl", [{"space": {"name": "one"}}, {"id": "a", "content": "1"}])

    with pytest.raises(InvalidInputError, match="cut short"):
        load(JsonlSource(path), engine)

    assert engine.get(["a"])[0] is not None


def test_an_end_line_that_promises_more_is_noticed(tmp_path: Path) -> None:
    lines = [{"space": {"name": "one"}}, {"id": "a", "content": "1"}, {"end": True, "count": 5}]
    batches = JsonlSource(write_lines(tmp_path / "x.jsonl", lines)).batches(10)

    batch = next(batches)

    assert "says it holds 5 memories, 1 are there" in batch.refused[0].reason
    with pytest.raises(InvalidInputError, match="cut short"):
        next(batches)


def test_a_file_that_is_not_there_is_an_error_of_the_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        JsonlSource(tmp_path / "absent.jsonl")


def test_a_file_is_loaded_once_and_again_without_writing(tmp_path: Path, engine: T4DXEngine) -> None:
    path = write_lines(tmp_path / "x.jsonl", [MEMORY, {"text": "no id"}, {"id": 3, "text": "t", "vector": [1, 0]}])

    first = load(JsonlSource(path), engine, batch_size=2)
    second = load(JsonlSource(path), engine, batch_size=2)

    assert (first.created, first.bare, second.unchanged, second.written) == (3, 1, 3, 0)


def test_messages_of_sessions_are_passed_over(tmp_path: Path) -> None:
    message = {"session_id": "s", "space": "one", "seq": 1, "created_at": "2026-05-01T12:00:00Z", "value": 7}
    lines = [
        {"space": {"name": "one"}},
        {"id": "a", "content": "1"},
        {"message": message},
        {"end": True, "count": 1, "messages": 1},
    ]

    items, refused = _read(JsonlSource(write_lines(tmp_path / "x.jsonl", lines)))

    assert [one.id for one in items] == ["a"]
    assert refused == []
