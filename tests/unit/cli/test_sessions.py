"""`t4dm session`, `namespaces`, `categories`."""

from __future__ import annotations

from typing import Any

import pytest

from t4dm_daemon.cli import output
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_daemon import EPOCH, FakeDaemon, Reply, error

STAMP = {"seq": 4, "created_at": EPOCH.isoformat()}
MESSAGE = {**STAMP, "value": {"role": "user", "content": "a\tb\nü"}}
PAGE = {"session_id": "chat", "space": "default", "results": [MESSAGE], "total": 9, "after": None}
SESSION = {
    "id": "chat", "messages": 3, "first_seq": 2, "last_seq": 4, "first_at": EPOCH.isoformat(), "last_at": EPOCH.isoformat(),
}  # fmt: skip
NAMESPACE = {
    "namespace": ["work", "notes"], "count": 3, "categories": {"tea": 2, "milk": 1},
    **dict.fromkeys(("oldest", "newest", "first_event", "last_event"), EPOCH.isoformat()),
}  # fmt: skip


def test_append_takes_json_and_text(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [Reply(201, {"results": [STAMP, {**STAMP, "seq": 5}]})]

    done = run("session", "append", "a/b", '{"role": "user"}', "hello", "--space", "s")

    assert done.out == "appended 2 messages to a/b: 4 to 5\n"
    assert fake.seen[-1].path == "/api/v1/sessions/a%2Fb/messages"
    assert fake.seen[-1].json == {"messages": [{"role": "user"}, "hello"], "space": "s"}


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_append_reads_json_lines(run: Run, fake: FakeDaemon, arguments: list[str]) -> None:
    fake.planned = [Reply(201, {"results": [STAMP, {**STAMP, "seq": 5}]})]

    done = run("session", "append", "chat", *arguments, "--quiet", stdin='"one"\n\n{"n": 1.0}\n')

    assert done.out == "4\n5\n"
    assert fake.seen[-1].json["messages"] == ["one", {"n": 1.0}]


def test_show_takes_the_newest_unless_told_otherwise(
    run: Run, fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.planned = [Reply(200, PAGE) for _ in range(4)]

    shown = run("session", "show", "chat")
    run("session", "show", "chat", "--last", "5", "--before", "9")
    as_json = run("session", "show", "chat", "--limit", "3", "--after", "2", "--json")
    monkeypatch.setattr(output, "is_person", lambda: True)
    told = run("session", "show", "chat")

    assert shown.out == '4\t2026-05-01T12:00:00Z\t{"role": "user", "content": "a\\tb\\nü"}\n'
    assert as_json.json["data"]["results"][0]["value"] == MESSAGE["value"]
    assert "1 of 9 messages" in told.err
    assert [seen.query for seen in fake.seen[:3]] == [
        {"space": "default", "last": "20"},
        {"space": "default", "last": "5", "before": "9"},
        {"space": "default", "limit": "3", "after": "2"},
    ]


def test_list_shows_sessions(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, {"results": [SESSION], "total": 1}) for _ in range(2)]

    assert run("session", "list", "--limit", "5").out == "3\t2026-05-01T12:00:00Z\t2026-05-01T12:00:00Z\tchat\n"
    assert run("session", "list", "--quiet").out == "chat\n"
    assert fake.seen[0].query == {"space": "default", "limit": "5", "offset": "0"}


def test_clear_asks_unless_told_yes(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, {"deleted": 3})]

    refused = run("session", "clear", "chat")
    done = run("session", "clear", "chat", "--yes")

    assert (refused.exit_code, len(fake.seen)) == (2, 1)
    assert "--yes" in refused.err
    assert done.out == "forgot 3 messages\n"
    assert (fake.seen[0].method, fake.seen[0].query) == ("DELETE", {"space": "default"})


def test_namespaces_are_lines_for_programs(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, {"results": [NAMESPACE], "total": 1}) for _ in range(3)]

    shown = run("namespaces", "--prefix", "work/*", "--suffix", "notes", "--depth", "2", "--user", "ada")

    assert shown.out == "3\t2026-05-01T12:00:00Z\ttea, milk\twork/notes\n"
    assert fake.seen[0].query.items() >= {"suffix": "notes", "max_depth": "2", "user_id": "ada"}.items()
    assert run("namespaces", "--quiet").out == "work/notes\n"
    assert run("namespaces", "--json").json["data"]["results"][0]["count"] == 3


def test_categories_are_counted(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, {"categories": {"tea": 2, "milk": 1}}) for _ in range(3)]

    assert run("categories", "--namespace", "work").out == "2\ttea\n1\tmilk\n"
    assert run("categories", "--quiet").out == "tea\nmilk\n"
    assert run("categories", "--json").json["data"] == {"categories": {"tea": 2, "milk": 1}}
    assert fake.seen[0].query == {"space": "default", "namespace_prefix": "work"}


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["session", "append", "chat"], " \n", "give at least one message"),
        (["session", "append", "chat", "-"], '1\n{"a"', "line 2 of standard input is not JSON"),
        (["session", "append", "chat", "-"], "NaN", "JSON has no nan"),
        (["session", "append", "", "x"], "", "the name of a session is not empty"),
        (["session", "show", "chat", "--last", "1", "--limit", "1"], "", "not both"),
        (["session", "show", "chat", "--last", "0"], "", "last: Input should be greater than or equal to 1"),
        (["session", "list", "--limit", "0"], "", "limit: Input should be"),
        (["namespaces", "--depth", "-1"], "", "max_depth: Input should be"),
        (["namespaces", "--prefix", "a//b"], "", "--prefix takes labels"),
        (["categories", "--kind", "x"], "", "kind: Input should be"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_why(
    run: Run, fake: FakeDaemon, arguments: list[str], stdin: str, message: str
) -> None:
    done = run(*arguments, stdin=stdin)

    assert done.exit_code == 2
    assert message in done.err
    assert fake.seen == []


@pytest.mark.parametrize("arguments", [["namespaces", "-s", "no"], ["categories", "-s", "no"]])
def test_what_does_not_exist_ends_with_5(run: Run, fake: FakeDaemon, arguments: list[str]) -> None:
    fake.planned = [error(404, "not_found")]

    assert run(*arguments).exit_code == 5


def _line(seq: int, **given: Any) -> str:
    import json

    message = {"session_id": "chat", "space": "s", "seq": seq, "created_at": EPOCH.isoformat(), "value": {"n": seq}}
    return json.dumps({"message": message | given}) + "\n"


def test_an_import_puts_messages_back_in_batches(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, {"created": 2, "duplicate": 0}), Reply(200, {"created": 0, "duplicate": 1})]
    text = _line(1) + _line(2) + _line(3) + '{"end": true, "count": 0, "messages": 3}\n'

    done = run("import", "-", "--batch-size", "2", "--space", "other", "--json", stdin=text)

    assert done.json["data"]["messages"] == 3
    assert [(seen.path, [one["seq"] for one in seen.json["messages"]]) for seen in fake.seen] == [
        ("/api/v1/sessions/restore", [1, 2]),
        ("/api/v1/sessions/restore", [3]),
    ]
    assert {one["space"] for seen in fake.seen for one in seen.json["messages"]} == {"other"}
    assert (
        run("import", "-", "--dry-run", stdin=text).out
        == "0 memories, 3 messages can be imported; nothing was stored\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_line(1) + '{"end": true, "count": 0, "messages": 2}\n', "it says it holds 2 messages, 1 are there"),
        (_line(1), "the end line is missing"),
        (_line(0), "line 1: seq: Input should be greater than or equal to 1"),
        ('{"message": 7}\n', "line 1: "),
    ],
)
def test_messages_that_are_missing_or_wrong_are_noticed(run: Run, fake: FakeDaemon, text: str, message: str) -> None:
    fake.planned = [Reply(200, {"created": 1, "duplicate": 0})]

    done = run("import", "-", stdin=text)

    assert done.exit_code == 1
    assert message in done.err


def test_an_export_that_lacks_messages_is_noticed(run: Run, fake: FakeDaemon) -> None:
    fake.export_tail = (_line(1) + '{"end":true,"count":0,"messages":2}\n').replace(" ", "").encode()

    done = run("export", "-")

    assert done.exit_code == 1
    assert "says it holds 2 messages, 1 arrived" in done.err
