"""`t4dm add`, `get`, `update`, `delete`, `history`."""

from __future__ import annotations

from pathlib import Path

import pytest

from t4dm_daemon.cli import output
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_daemon import FakeDaemon


def test_add_stores_what_every_option_says(run: Run, fake: FakeDaemon) -> None:
    done = run(
        *("add", "Ada likes tea", "--id", "m", "--meta", "topic=drinks", "--meta", "n=3", "--meta", "t=NaN"),
        *("--kind", "semantic", "--importance", "0.9", "--category", "food", "-c", "home", "--namespace", "work/notes"),
        *("--at", "2026-05-01", "--valid-from", "2026-01-01", "--ttl", "7d", "--user", "ada", "--session", "s1"),
    )

    assert done.exit_code == 0
    assert done.out == "stored m\n"
    assert fake.seen[-1].json == {
        "content": "Ada likes tea",
        "id": "m",
        "metadata": {"topic": "drinks", "n": 3, "t": "NaN"},
        "kind": "semantic",
        "importance": 0.9,
        "categories": ["food", "home"],
        "namespace": ["work", "notes"],
        "event_time": "2026-05-01T00:00:00Z",
        "valid_from": "2026-01-01T00:00:00Z",
        "ttl_s": 604_800.0,
        "user_id": "ada",
        "session_id": "s1",
        "space": "default",
    }


@pytest.mark.parametrize("arguments", [["add"], ["add", "-"]])
def test_add_reads_what_is_piped_in(run: Run, fake: FakeDaemon, arguments: list[str]) -> None:
    done = run(*arguments, "--quiet", "--id", "m", stdin="erste Zeile → ü\nzweite\n")

    assert done.out == "m\n"
    assert fake.spaces["default"]["m"].content == "erste Zeile → ü\nzweite"


def test_add_reads_a_file(run: Run, fake: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("from a file\n")

    run("add", "--file", str(tmp_path / "note.txt"), "--id", "m")

    assert fake.spaces["default"]["m"].content == "from a file\n"


def test_add_says_when_the_text_was_known(run: Run) -> None:
    first = run("add", "tea", "-q").out.strip()

    again = run("add", "tea")

    assert again.out == f"known already: {first}\n"
    assert run("add", "coffee", "--id", first).out == f"replaced {first}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "tea", "--meta", "topic"], "--meta takes key=value"),
        (["add", "tea", "--meta", "a=1", "--meta", "a=2"], "gives 'a' twice"),
        (["add", "tea", "--ttl", "soon"], "--ttl takes seconds"),
        (["add", "tea", "--importance", "7"], "importance: Input should be less than or equal to 1"),
        (["add", "tea", "--at", "yesterday"], "event_time: times are RFC 3339"),
        (["add", "tea", "--namespace", "a//b"], "--namespace takes labels"),
        (["add"], "standard input is empty"),
        (["update", "m"], "give at least one change"),
        (["delete"], "say what to delete"),
        (["delete", "m"], "Add --yes"),
        (["delete", "m", "--all", "--yes"], "not both"),
        (["search", "tea", "--filter", "{"], "--filter is not JSON"),
        (["search", "tea", "--filter", "[]"], "--filter takes a JSON object"),
        (["list", "--order-by", "size"], "order_by"),
        (["list", "--all", "--limit", "0"], "--limit is at least 1"),
        (["update", "m", "--set", "content=null"], "content cannot be null"),
        (["add", "tea", "--meta", "a=" + "[" * 100_000], "--meta is nested too deeply"),
        (["search", "tea", "--filter", "[" * 100_000], "--filter is nested too deeply"),
        (["search", "tea", "--filter", '{"not": ' * 600 + "{}" + "}" * 600], "filter"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_why(run: Run, arguments: list[str], message: str) -> None:
    done = run(*arguments)
    as_json = run(*arguments, "--json")

    assert done.exit_code == 2
    assert message in done.err
    assert done.out == ""
    assert as_json.exit_code == 2
    assert as_json.json["ok"] is False
    assert message in as_json.json["error"]["message"]


def test_get_shows_a_memory(run: Run) -> None:
    run("add", "Ada likes\ttea\nand coffee", "--id", "a/b", "--meta", "topic=drinks", "--user", "ada")

    lines = dict(line.split("\t", 1) for line in run("get", "a/b").out.splitlines())

    assert lines["content"] == "Ada likes\\ttea\\nand coffee"
    assert lines["metadata"] == '{"topic": "drinks"}'
    assert lines["user_id"] == "ada"
    assert lines["created"] == "2026-05-01T12:00:00Z"


def test_a_terminal_shows_local_times_with_their_age_and_no_control_characters(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("add", "clear \x1b[2J screen\nsecond \u202e line", "--id", "m")
    monkeypatch.setattr(output, "is_person", lambda: True)

    shown = run("get", "m").out
    table = run("list").out

    assert "clear \\x1b[2J screen\nsecond \\u202e line" in shown
    assert "\x1b[2J" not in table
    assert "Content" in table


def test_update_changes_what_is_said_and_nothing_else(run: Run, fake: FakeDaemon) -> None:
    run("add", "tea", "--id", "m")

    done = run(
        *("update", "m", "--content", "-", "--meta", "n=2", "--set", "importance=0.9", "--set", "valid_to=null"),
        *("--set", "user_id=123", "--set", "categories=a,b", "--set", "namespace=work/notes"),
        stdin="coffee\n",
    )

    assert done.out == "updated m (version 2)\n"
    assert fake.seen[-1].json == {
        "content": "coffee",
        "metadata": {"n": 2},
        "metadata_mode": "merge",
        "importance": 0.9,
        "valid_to": None,
        "user_id": "123",
        "categories": ["a", "b"],
        "namespace": ["work", "notes"],
    }


def test_a_missing_memory_ends_with_5_and_says_what_to_do(run: Run) -> None:
    for arguments in (["get", "x"], ["update", "x", "--content", "y"], ["history", "x"], ["delete", "x", "--yes"]):
        done = run(*arguments)
        as_json = run(*arguments, "--json")

        assert done.exit_code == as_json.exit_code == 5
        assert "t4dm list" in done.err
        assert "Traceback" not in done.err
        assert as_json.json["ok"] is False


def test_delete_takes_ids_and_counts(run: Run, fake: FakeDaemon) -> None:
    for name in "abc":
        run("add", f"tea {name}", "--id", name)

    dry = run("delete", "a", "b", "--dry-run")
    partly = run("delete", "a", "x", "--yes")
    piped = run("delete", "-", "--yes", stdin="b\nc\n")

    assert dry.out == "2 memories would be deleted\n"
    assert partly.exit_code == 5
    assert "1 of the 2 ids do not exist; 1 memory deleted" in partly.err
    assert piped.out == "2 memories deleted\n"
    assert fake.spaces["default"] == {}


def test_delete_all_of_an_owner_leaves_the_others(run: Run, fake: FakeDaemon) -> None:
    run("add", "tea", "--user", "ada", "--id", "a")
    run("add", "coffee", "--user", "bob", "--id", "b")

    done = run("delete", "--all", "--user", "ada", "--yes", "--json")

    assert done.json["data"] == {"deleted": 1, "dry_run": False, "purged": 0}
    assert list(fake.spaces["default"]) == ["b"]


def test_history_tells_what_happened(run: Run) -> None:
    run("add", "tea", "--id", "m")

    assert run("history", "m").out == "1\tADD\t2026-05-01T12:00:00Z\ttea\n"
    assert run("history", "m", "--json").json["data"]["results"][0]["event"] == "ADD"


def test_an_id_that_is_not_selected_is_not_called_missing(run: Run, fake: FakeDaemon) -> None:
    run("add", "tea", "--id", "a", "--user", "ada")
    run("add", "milk", "--id", "b", "--user", "bob")

    done = run("delete", "a", "b", "--user", "ada", "--yes")

    assert done.exit_code == 5
    assert "1 of the 2 ids do not exist or are not selected by the other options; 1 memory deleted" in done.err
    assert list(fake.spaces["default"]) == ["b"]


def test_more_ids_than_a_request_holds_are_sent_in_several(run: Run, fake: FakeDaemon) -> None:
    fake.spaces["default"] = {}
    run("add", "tea", "--id", "9")
    run("add", "milk", "--id", "10500")
    fake.seen.clear()

    done = run("delete", "-", "--yes", "--json", stdin="\r\n".join(f"{n}" for n in range(10_501)))

    assert [len(seen.json["ids"]) for seen in fake.seen] == [10_000, 501]
    assert done.json["error"]["details"]["deleted"] == 2


@pytest.mark.parametrize(("command", "option"), [("add", "--valid-to"), ("delete", "--older-than")])
def test_the_help_says_how_times_are_written(run: Run, command: str, option: str) -> None:
    text = " ".join(run(command, "--help").out.replace("│", " ").split())

    assert "RFC 3339" in text[text.index(option) :][:200]
    assert "Only of, or for, this user" in text
