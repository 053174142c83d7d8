"""Whose memories a session sees, by flags, environment and URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from t4dm.sdk import ValidationError
from t4dm_integrations.mcp.scope import Scope, scope_of
from t4dm_integrations.mcp.server import options_of


def test_nothing_given_is_everything_of_the_default_space() -> None:
    assert scope_of({}) == Scope() == options_of({}, {}).scope


def test_flags_win_over_the_environment() -> None:
    environment = {"T4DM_USER_ID": "env", "T4DM_SPACE": "env", "T4DM_MCP_PROFILE": "knowledge-graph"}

    scope = options_of({"user_id": "flag"}, environment).scope

    assert scope == Scope("env", (("user_id", "flag"),), "knowledge-graph")


def test_an_owner_that_was_not_filled_in_is_not_everybody() -> None:
    for given in ({"user_id": ""}, [("user_id", "")]):
        with pytest.raises(ValidationError, match="user_id is empty"):
            scope_of(given)
    with pytest.raises(ValidationError, match="user_id is empty"):
        options_of({"user_id": ""}, {"T4DM_USER_ID": "ada"})

    assert options_of({"user_id": None}, {"T4DM_USER_ID": ""}).scope == Scope() == scope_of({"space": None})


def test_a_data_directory_may_be_in_the_home_directory() -> None:
    assert options_of({"storage_path": "~/memories"}, {}).storage_path == Path.home() / "memories"


def test_two_scopes_of_the_same_columns_are_one() -> None:
    one = scope_of([("user_id", "ada"), ("agent_id", "x")])

    assert one == scope_of([("agent_id", "x"), ("user_id", "ada")])
    assert len({one, scope_of({"agent_id": "x", "user_id": "ada"})}) == 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([("user", "ada")], "is not one of"),
        ([("user_id", "a"), ("user_id", "b")], "given twice"),
        ([("user_id", "x" * 513)], "user_id: "),
        ([("profile", "all")], "there is no profile 'all'"),
    ],
)
def test_what_cannot_be_is_refused(given: list[tuple[str, str]], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        scope_of(given)


def test_a_memory_file_counts_for_the_knowledge_graph_only() -> None:
    environment = {"MEMORY_FILE_PATH": "/tmp/memory.jsonl"}

    assert options_of({}, environment).memory_file is None
    graph = options_of({"profile": "knowledge-graph"}, environment)
    assert graph.memory_file == Path("/tmp/memory.jsonl")
    named = options_of({"profile": "knowledge-graph", "import": "/tmp/other.jsonl"}, environment)
    assert named.memory_file == Path("/tmp/other.jsonl")


@pytest.mark.parametrize("given", ["0", "-1", "601", "nan", "inf", "soon"])
def test_a_deadline_is_a_number_of_seconds(given: str) -> None:
    with pytest.raises(ValidationError, match="the deadline is a number of seconds"):
        options_of({"deadline": given}, {})


def test_a_url_and_a_data_directory_exclude_each_other_and_the_directory_wins_over_the_environment() -> None:
    with pytest.raises(ValidationError, match="not both"):
        options_of({"url": "http://127.0.0.1:1", "storage_path": "x"}, {})

    options = options_of({"storage_path": "x"}, {"T4DM_URL": "http://127.0.0.1:1"})
    assert (options.url, options.storage_path) == (None, Path("x"))
