"""Anthropic's memory tool over T4DM: beside the SDK's own, over files, and where T4DM does more."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("anthropic")

from anthropic.lib.tools import ToolError
from anthropic.lib.tools._beta_builtin_memory_tool import BetaLocalFilesystemMemoryTool

from t4dm._backend import MemoryBackend
from t4dm.adapters.anthropic import AsyncT4DMMemoryTool, T4DMMemoryTool
from t4dm.sdk import SearchRequest
from t4dm.sdk import models as m
from t4dm_daemon.runtime import open_embedded
from tests.support.daemon import Daemon

VERSION = tuple(int(part) for part in version("anthropic").split(".")[:2])
NAMES = ["a", "b", "a.txt", "b.md", ".hidden", "Ä"]
WORDS = ["", "tea", "one\ntwo\nthree\n", "tea tea", "a\r\nb", "x\n" * 7, "ooo", "\n"]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryBackend]:
    root = tmp_path_factory.mktemp("embedded")
    opened = open_embedded(
        root / "store", embedding_model="hashing", cache_path=root / "cache", storage={"sync": "off"}
    )
    yield opened
    opened.close()


@pytest.fixture
def tool(backend: MemoryBackend) -> T4DMMemoryTool:
    return T4DMMemoryTool(client=backend, user_id=str(uuid.uuid4()))


def said(tool: Any, **command: Any) -> str:
    """Return what a command answers, or what the model is told of its failure."""
    try:
        return str(tool.call(command))
    except ToolError as error:
        return f"error: {error.content}"


# The SDK's own tool -----------------------------------------------------------------------------------

LIKELY = {
    "/memories/a.txt": "one\ntwo\nthree\nfour\nfive\nsix\nseven\n",
    "/memories/a/b.md": "ooo\ntea\r\n",
    "/memories/a/b/Ä": "x\nx\ntwo",
    "/memories/.hidden": "",
}
"""What lies there at the beginning, so that most commands meet something."""
anywhere = st.lists(st.sampled_from([*NAMES, "..", "."]), max_size=3).map(lambda names: "/".join(["/memories", *names]))
paths = st.one_of(st.sampled_from([*LIKELY, "/memories/a"]), st.sampled_from([*LIKELY]), anywhere)
commands = st.one_of(
    st.fixed_dictionaries(
        {"command": st.just("view"), "path": paths},
        optional={"view_range": st.tuples(st.integers(-2, 9), st.integers(-2, 9)).map(list)},
    ),
    st.fixed_dictionaries({"command": st.just("create"), "path": paths, "file_text": st.sampled_from(WORDS)}),
    st.fixed_dictionaries(
        {
            "command": st.just("str_replace"),
            "path": paths,
            "old_str": st.sampled_from(["tea", "two", "four", "oo", "", "x\n", "nothing"]),
            "new_str": st.sampled_from(["", "coffee", "1\n2", "o"]),
        }
    ),
    st.fixed_dictionaries(
        {
            "command": st.just("insert"),
            "path": paths,
            "insert_line": st.integers(-1, 9),
            "insert_text": st.sampled_from(["new", "new\n", "", "1\n2\n\n"]),
        }
    ),
    st.fixed_dictionaries({"command": st.just("delete"), "path": paths}),
    st.fixed_dictionaries({"command": st.just("rename"), "old_path": paths, "new_path": paths}),
)


def told_by_the_sdk(tool: BetaLocalFilesystemMemoryTool, command: dict[str, Any]) -> str | None:
    """Return what the SDK's tool says; None where it has no words and lets an OSError through.

    A command that fails leaves nothing behind: the SDK's rename makes the directories of its destination first.
    """
    before = Path(tempfile.mkdtemp())
    shutil.copytree(tool.memory_root, before / "kept", symlinks=True)
    try:
        return str(tool.call(command))
    except (ToolError, OSError) as error:
        shutil.rmtree(tool.memory_root)
        shutil.copytree(before / "kept", tool.memory_root)
        return f"error: {error.content}" if isinstance(error, ToolError) else None
    finally:
        shutil.rmtree(before)


def without_directory_sizes(text: str) -> str:
    """Hide the sizes of directories: the file system's own, or for us that of what they hold."""
    if not text.startswith("Here're"):
        return text
    header, first, *rest = text.split("\n")
    lines = [first, *(line for line in rest)]
    hidden = [
        re.sub(r"^[\d.]+[BKMG]\t", "size\t", line) if line is first or line.endswith("/") else line for line in lines
    ]
    return "\n".join([header, *hidden])


@pytest.mark.skipif(VERSION < (2, 14), reason="older versions of the SDK say some things differently")
@settings(max_examples=120, suppress_health_check=list(HealthCheck))
@given(sequence=st.lists(commands, min_size=1, max_size=14))
def test_it_says_what_the_sdks_own_tool_says(backend: MemoryBackend, sequence: list[dict[str, Any]]) -> None:
    ours = T4DMMemoryTool(client=backend, user_id=str(uuid.uuid4()))
    with tempfile.TemporaryDirectory() as directory:
        theirs = BetaLocalFilesystemMemoryTool(directory)
        begin = [{"command": "create", "path": path, "file_text": text} for path, text in LIKELY.items()]
        for command in [*begin, *sequence, {"command": "view", "path": "/memories"}]:
            expected = told_by_the_sdk(theirs, command)
            found = said(ours, **command)
            if expected is None:
                assert found.startswith("error: "), command
            else:
                assert without_directory_sizes(found) == without_directory_sizes(expected), command


def test_a_session_as_a_model_has_it_ends_the_same(tool: T4DMMemoryTool, tmp_path: Path) -> None:
    """Written out, so that one sequence that does everything is surely played."""
    theirs = BetaLocalFilesystemMemoryTool(str(tmp_path))
    text = "# Ada\n\nlikes tea\nlives in Rome\n"
    session: list[dict[str, Any]] = [
        {"command": "view", "path": "/memories"},
        {"command": "create", "path": "/memories/people/ada.md", "file_text": text},
        {"command": "create", "path": "/memories/people/ada.md", "file_text": "again"},
        {"command": "create", "path": "/memories/people/far/away/deep.md", "file_text": "x" * 1536},
        {"command": "view", "path": "/memories/people/ada.md", "view_range": [2, -1]},
        {"command": "str_replace", "path": "/memories/people/ada.md", "old_str": "tea", "new_str": "coffee"},
        {"command": "insert", "path": "/memories/people/ada.md", "insert_line": 2, "insert_text": "speaks English"},
        {"command": "view", "path": "/memories/people/ada.md"},
        {"command": "rename", "old_path": "/memories/people", "new_path": "/memories/friends/close"},
        {"command": "view", "path": "/memories"},
        {"command": "view", "path": "/memories/friends/close/far"},
        {"command": "delete", "path": "/memories/friends/close/far"},
        {"command": "view", "path": "/memories/people/ada.md"},
        {"command": "view", "path": "/memories/friends/close/ada.md"},
        {"command": "delete", "path": "/memories"},
    ]

    for command in session:
        expected = told_by_the_sdk(theirs, command)
        assert expected is not None
        assert without_directory_sizes(said(tool, **command)) == without_directory_sizes(expected), command
    assert tool.clear_all_memory() == theirs.clear_all_memory()
    assert "ada.md" not in said(tool, command="view", path="/memories")


# What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/memories/../etc/passwd", "would escape"),
        ("/memories/a/../../x", "would escape"),
        ("/memories/..", "would escape"),
        ("/etc/passwd", "must start with /memories"),
        ("/memoriesandmore/x", "must start with /memories"),
        ("memories/x", "must start with /memories"),
        ("", "must start with /memories"),
        ("/memories/a\0b", "null character"),
        ("/memories/\ud800", "surrogate"),
        ("/memories/" + "x" * 300, "longer than 255 bytes"),
        ("/memories/" + "x/" * 33, "deeper than 32"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused_by_every_command(tool: T4DMMemoryTool, path: str, says: str) -> None:
    given: list[dict[str, Any]] = [
        {"command": "view", "path": path},
        {"command": "create", "path": path, "file_text": "x"},
        {"command": "str_replace", "path": path, "old_str": "a", "new_str": "b"},
        {"command": "insert", "path": path, "insert_line": 0, "insert_text": "x"},
        {"command": "delete", "path": path},
        {"command": "rename", "old_path": path, "new_path": "/memories/x"},
        {"command": "rename", "old_path": "/memories/x", "new_path": path},
    ]

    for command in given:
        assert says in said(tool, **command)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ({"command": "format"}, "Unknown command: 'format'"),
        ({}, "Unknown command: None"),
        ({"command": "view"}, "Invalid `path`"),
        ({"command": "view", "path": 7}, "Invalid `path`"),
        ({"command": "view", "path": "/memories", "view_range": "1-3"}, "Invalid `view_range`"),
        ({"command": "create", "path": "/memories/x"}, "Invalid `file_text`"),
        ({"command": "create", "path": "/memories/x", "file_text": "\ud800"}, "surrogate"),
        ({"command": "create", "path": "/memories/x", "file_text": "x" * 1_000_000}, "Split it"),
        ({"command": "create", "path": "/memories/x", "file_text": "a <private>PIN"}, "never stored"),
        (
            {"command": "insert", "path": "/memories/x", "insert_line": "one", "insert_text": "x"},
            "Invalid `insert_line`",
        ),
    ],
)
def test_a_command_that_is_no_command_is_told_and_changes_nothing(
    tool: T4DMMemoryTool, command: dict[str, Any], says: str
) -> None:
    before = said(tool, command="view", path="/memories")

    assert says in said(tool, **command)
    assert said(tool, command="view", path="/memories") == before


def test_a_daemon_that_is_down_is_told_and_never_an_empty_directory() -> None:
    with T4DMMemoryTool("http://127.0.0.1:1") as tool:
        assert "start it with: t4dm serve" in said(tool, command="view", path="/memories")


# What T4DM adds ---------------------------------------------------------------------------------------


def test_every_edit_and_deletion_stays_in_the_history(tool: T4DMMemoryTool) -> None:
    said(tool, command="create", path="/memories/x.md", file_text="tea\n")
    said(tool, command="str_replace", path="/memories/x.md", old_str="tea", new_str="coffee")
    said(tool, command="delete", path="/memories/x.md")
    said(tool, command="create", path="/memories/x.md", file_text="water\n")

    events = tool.history("/memories/x.md")

    assert [event.event for event in events] == ["ADD", "UPDATE", "DELETE", "ADD"]
    assert [event.new.content for event in events if event.new] == ["tea\n", "coffee\n", "water\n"]


def test_files_are_found_by_what_they_say(tool: T4DMMemoryTool, backend: MemoryBackend) -> None:
    said(tool, command="create", path="/memories/ferry.md", file_text="The ferry leaves from pier six.")
    owner = tool.history("/memories/ferry.md")[0].new
    assert owner is not None

    found = backend.search(
        SearchRequest(query="Which pier has the ferry?", space="memory-files", user_id=owner.user_id)
    )

    assert found.results[0].memory.metadata == {"path": "/memories/ferry.md", "type": "file"}


def test_each_owner_has_files_of_their_own(backend: MemoryBackend) -> None:
    ada, bob = (T4DMMemoryTool(client=backend, user_id=f"{name}-{uuid.uuid4()}") for name in ("ada", "bob"))
    said(ada, command="create", path="/memories/x", file_text="Ada's")
    said(bob, command="create", path="/memories/x", file_text="Bob's")

    bob.clear_all_memory()

    assert "Ada's" in said(ada, command="view", path="/memories/x")
    assert "does not exist" in said(bob, command="view", path="/memories/x")


def test_of_many_who_create_a_file_at_once_one_does_and_no_edit_is_lost(plain_daemon: Daemon) -> None:
    def write(number: int) -> list[str]:
        with T4DMMemoryTool(plain_daemon.url, user_id="many") as tool:
            return [
                said(tool, command="create", path="/memories/all/log", file_text="begin\n"),
                said(tool, command="insert", path="/memories/all/log", insert_line=0, insert_text=f"line {number}"),
            ]

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(write, range(8)))

    assert sorted(one for one, _ in told).count("File created successfully at: /memories/all/log") == 1
    assert {two for _, two in told} == {"The file /memories/all/log has been edited."}
    with T4DMMemoryTool(plain_daemon.url, user_id="many") as tool:
        text = said(tool, command="view", path="/memories/all/log")
    assert all(f"line {number}" in text for number in range(8))


def test_files_survive_the_daemon(make_daemon: Any) -> None:
    daemon = make_daemon().start()
    with T4DMMemoryTool(daemon.url) as tool:
        said(tool, command="create", path="/memories/a/x.md", file_text="tea")
    daemon.kill()
    daemon.start()

    with T4DMMemoryTool(daemon.url) as tool:
        assert said(tool, command="view", path="/memories/a/x.md").endswith("     1\ttea")


def test_a_large_directory_is_listed_moved_and_deleted_whole(tool: T4DMMemoryTool, backend: MemoryBackend) -> None:
    """More entries than one request of the client takes."""
    said(tool, command="create", path="/memories/many/0", file_text="x")
    first = tool.history("/memories/many/0")[0].new
    assert first is not None
    records = [
        m.RecordIn(
            id=f"{first.user_id}-{number}", content="x", user_id=first.user_id, namespace=["many"], embed=False,
            metadata={"path": f"/memories/many/{number}", "type": "file"},
        )
        for number in range(1, 1200)
    ]  # fmt: skip
    backend.batch(m.BatchRequest(records=records, space="memory-files"))

    said(tool, command="rename", old_path="/memories/many", new_path="/memories/moved")

    assert said(tool, command="view", path="/memories/moved").count("1B\t") == 1200
    assert "does not exist" in said(tool, command="view", path="/memories/many")
    assert said(tool, command="delete", path="/memories/moved") == "Successfully deleted /memories/moved"
    assert said(tool, command="view", path="/memories").count("\n") == 1


def test_the_awaited_tool_does_the_same(plain_daemon: Daemon) -> None:
    async def session() -> list[str]:
        async with AsyncT4DMMemoryTool(plain_daemon.url, user_id="awaited") as tool:
            answers = [
                str(await tool.call(command))
                for command in (
                    {"command": "create", "path": "/memories/x", "file_text": "tea\n"},
                    {"command": "str_replace", "path": "/memories/x", "old_str": "tea", "new_str": "coffee"},
                    {"command": "insert", "path": "/memories/x", "insert_line": 1, "insert_text": "milk"},
                    {"command": "rename", "old_path": "/memories/x", "new_path": "/memories/y"},
                    {"command": "view", "path": "/memories/y"},
                    {"command": "delete", "path": "/memories/y"},
                )
            ]
            answers.append(await tool.clear_all_memory())
            with pytest.raises(ToolError, match="does not exist"):
                await tool.call({"command": "view", "path": "/memories/y"})
            answers.append(str(len(await tool.history("/memories/x"))))
        return answers

    answers = asyncio.run(session())

    assert answers[4].endswith("     1\tcoffee\n     2\tmilk\n     3\t")
    assert answers[-2:] == ["All memory cleared", "4"]


def test_it_presents_itself_as_the_sdks_tools_do() -> None:
    tool = T4DMMemoryTool(cache_control={"type": "ephemeral"})

    assert tool.name == "memory"
    assert tool.to_dict() == {
        "type": "memory_20250818", "name": "memory", "cache_control": {"type": "ephemeral"},
    }  # fmt: skip
