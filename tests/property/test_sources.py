"""A reader tells what is wrong with an export, whatever is wrong with it; it never breaks."""

from __future__ import annotations

import contextlib
import copy
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t4dm_daemon.core.errors import SourceError
from t4dm_daemon.sources import (
    Entry,
    Files,
    chatgpt,
    claude,
    jsonl,
    langchain_history,
    letta,
    mcp_memory,
    mem0,
    openmemory,
)
from tests.support import foreign_exports as made

Reader = Callable[[Path], Iterator[Entry]]
ODD = st.sampled_from(
    [None, True, 0, -1.5, 1e300, 10**40, "", "x", "\ud800", [], {}, [[]], [None], [{}], {"": []}, {"id": 3}]
)

PAPER = {"file_name": "a", "extracted_content": "b"}
OPEN_MEMORY = {
    "user": {"user_id": "ada"},
    "apps": [{"id": "a", "name": "cursor"}],
    "categories": [{"id": "c", "name": "drinks"}],
    "memories": [
        {"id": "m", "content": "tea", "metadata": {}, "state": "active", "app_id": "a", "category_ids": ["c"]}
    ],
}
EXPORTS: dict[str, tuple[Reader, Any]] = {
    "chatgpt": (
        lambda path: chatgpt.read(path, Files()),
        [made.chatgpt_conversation("c", made.chatgpt_message("m", "user", "a", {"text": "b"}, metadata={"attachments": [{"name": "x"}]}), branches=1)],
    ),
    "claude": (
        lambda path: claude.read(path, Files()),
        [made.claude_conversation("c", made.claude_message("m", "human", "hi", attachments=[PAPER], files=[{"file_name": "x"}]))],
    ),
    "langchain": (
        lambda path: langchain_history.read(path, Files()),
        [made.langchain_message("human", [{"type": "text", "text": "hi"}]), made.langchain_message("ai", "ho")],
    ),
    "letta": (lambda path: letta.read(path, Files()), made.letta_agent_file()),
    "mem0": (lambda path: mem0.read(path, Files()), {"results": [made.mem0_memory(1)]}),
    "openmemory": (lambda path: openmemory.read(path, Files()), OPEN_MEMORY),
    "jsonl": (lambda path: jsonl.read(path, Files()), [{"text": "tea", "metadata": {}, "tags": ["a"], "time": 1, "user_id": "u"}]),
    "mcp": (lambda path: mcp_memory.read(path, Files(), name="g"), made.mcp_graph()),
}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value within a value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    inside = value
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = new
    return value


@pytest.mark.parametrize("source", EXPORTS)
@given(data=st.data())
def test_an_odd_value_anywhere_is_told_or_passed_over(source: str, data: st.DataObject) -> None:
    reader, export = EXPORTS[source]
    where = data.draw(st.sampled_from(list(places(export))))
    changed = put(copy.deepcopy(export), where, data.draw(ODD))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "export.json")
        lines = source == "mcp" and isinstance(changed, list)
        path.write_text("\n".join(map(json.dumps, changed)) if lines else json.dumps(changed))

        entries = list(reader(path))

    assert all(entry.place for entry in entries)


@pytest.mark.parametrize("source", EXPORTS)
@given(data=st.data())
def test_a_file_cut_or_changed_anywhere_is_told(source: str, data: st.DataObject) -> None:
    reader, export = EXPORTS[source]
    text = ("\n".join(map(json.dumps, export)) if source == "mcp" else json.dumps(export)).encode()
    at = data.draw(st.integers(0, len(text) - 1))
    changed = data.draw(
        st.sampled_from([text[:at], text[:at] + b"\xff" + text[at + 1 :], text[:at] + b'"' + text[at:]])
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "export.json")
        path.write_bytes(changed)
        with contextlib.suppress(SourceError):
            assert list(reader(path)), "nothing was told"
