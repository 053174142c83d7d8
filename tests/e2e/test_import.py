"""`t4dm import <source>` into a real daemon: what comes out of the other end, again and after an interruption."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from t4dm.sdk import models as m
from t4dm.sdk import view_models as v
from t4dm.sdk.session_models import AppendRequest, MessagesRequest
from tests.support import foreign_exports as made
from tests.support.daemon import Daemon
from tests.support.foreign_exports import uid
from tests.support.mem0_stub import KEY, Mem0Stub, serving

TURNS = 600


def chatgpt(path: Path) -> Path:
    talk = made.chatgpt_conversation(
        "gpt",
        made.chatgpt_message("gpt-q", "user", "Which pier does the ferry leave from?", time=1_600_000_000.0),
        made.chatgpt_message("gpt-a", "assistant", "Pier six."),
    )
    return made.in_zip(path / "gpt.zip", conversations__json=[talk])


def claude(path: Path) -> Path:
    talk = made.claude_conversation("cl", made.claude_message("cl-1", "human", "Which ferry pier, please?"))
    return made.in_zip(path / "claude.zip", conversations__json=[talk])


def saved(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def langchain(path: Path) -> Path:
    said = [made.langchain_message("human", "Tell me of the ferry pier"), made.langchain_message("ai", "It is six")]
    return saved(path / "chat-7.json", said)


def markdown(path: Path) -> Path:
    (path / "notes").mkdir()
    (path / "notes" / "a.md").write_text("---\ndate: 2026-01-02\n---\n# Ferry\nThe pier is number six.\n\n# Empty\n")
    return path / "notes"


SOURCES: dict[str, Callable[[Path], Path]] = {
    "chatgpt": chatgpt,
    "claude": claude,
    "langchain-history": langchain,
    "mem0": lambda path: saved(path / "m.json", {"results": [made.mem0_memory(1, memory="Ferry pier six is Ada's")]}),
    "openmemory": lambda path: made.openmemory_backup(path / "om.zip"),
    "mcp-memory": lambda path: made.as_lines(path / "memory.jsonl", made.mcp_graph()),
    "letta": lambda path: saved(path / "a.af", made.letta_agent_file()),
    "jsonl": lambda path: made.as_lines(path / "n.jsonl", [{"text": "the ferry pier is six", "date": "2026-01-02"}]),
    "markdown": markdown,
}
STORED = {"chatgpt": 2, "langchain-history": 2, "openmemory": 2, "mcp-memory": 4, "letta": 3}
TIMES = {
    "chatgpt": datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC),
    "claude": datetime(2026, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC),
    "mem0": datetime(2025, 5, 1, 10, tzinfo=UTC),
    "openmemory": datetime(2025, 5, 1, 10, tzinfo=UTC),
    "letta": datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
    "jsonl": datetime(2026, 1, 2, tzinfo=UTC),
    "markdown": datetime(2026, 1, 2, tzinfo=UTC),
}
QUESTIONS = {"openmemory": "oolong", "mcp-memory": "born tea", "letta": "moved to Lisbon"}


def report(done: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    assert done.returncode == code, done.stderr + done.stdout
    return json.loads(done.stdout)["data" if code == 0 else "error"]


def counts(told: Any) -> dict[str, int]:
    names = ("read", "stored", "updated", "there", "kept", "duplicates", "skipped", "wrong")
    assert told["read"] == sum(told[name] for name in names[1:])
    return {name: told[name] for name in names if told[name]}


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_imported_is_found_with_its_time_and_owner_and_is_stored_once(
    plain_daemon: Daemon, tmp_path: Path, source: str
) -> None:
    path, space = str(SOURCES[source](tmp_path)), f"from-{source}"
    options = ("--space", space, "--user", "grace", "--json")
    stored = STORED.get(source, 1)

    with plain_daemon.client() as client:
        first = report(plain_daemon.run_cli("import", source, path, *options))
        again = report(plain_daemon.run_cli("import", source, path, *options))
        query = QUESTIONS.get(source, "ferry pier")
        hit = client.search(m.SearchRequest(query=query, user_id="grace", space=space)).results[0].memory
        total = client.list(m.ListRequest(space=space)).total
        other = client.list(m.ListRequest(space=space, user_id="ada")).total

    assert (first["stored"], first["wrong"], first["problems"]) == (stored, 0, [])
    assert counts(again) == {name: n for name, n in counts(first).items() if name != "stored"} | {"there": stored}
    assert again["messages"]["there"] == first["messages"]["stored"]
    assert (total, other) == (stored, 0)
    assert hit.metadata["imported_from"] == source
    if source in TIMES:
        assert hit.event_time == TIMES[source]


@pytest.mark.parametrize("source", ["chatgpt", "mcp-memory"])
def test_a_dry_run_says_what_would_happen_and_stores_nothing(plain_daemon: Daemon, tmp_path: Path, source: str) -> None:
    command = ("import", source, str(SOURCES[source](tmp_path)), "--space", f"dry-{source}", "--json")

    with plain_daemon.client() as client:
        before = client.stats()
        planned = report(plain_daemon.run_cli(*command, "--dry-run"))
        after = client.stats()
        done = report(plain_daemon.run_cli(*command))
        again = report(plain_daemon.run_cli(*command, "--dry-run"))

    assert (after.items, after.messages, after.edges) == (before.items, before.messages, before.edges)
    assert f"dry-{source}" not in {one.space for one in after.spaces}
    assert planned["dry_run"]
    assert counts(planned) == counts(done)
    assert counts(again) == {"read": done["read"], "there": done["stored"]}


def test_chats_are_sessions_in_order(plain_daemon: Daemon, tmp_path: Path) -> None:
    plain_daemon.run_cli("import", "chatgpt", str(chatgpt(tmp_path)), "--space", "talk")

    with plain_daemon.client() as client:
        page = client.messages(uid("gpt"), MessagesRequest(space="talk"))
        memories = client.list(m.ListRequest(space="talk", session_id=uid("gpt"))).results

    assert [(one.seq, one.value) for one in page.results] == [
        (1, {"role": "user", "content": "Which pier does the ferry leave from?", "id": uid("gpt-q")}),
        (2, {"role": "assistant", "content": "Pier six.", "id": uid("gpt-a")}),
    ]
    assert page.results[0].created_at == TIMES["chatgpt"]
    assert {one.metadata["role"] for one in memories} == {"user", "assistant"}


def test_langchains_history_is_read_back_by_ours(plain_daemon: Daemon, tmp_path: Path) -> None:
    pytest.importorskip("langchain_core")
    from t4dm.adapters.langchain import T4DMChatMessageHistory

    plain_daemon.run_cli("import", "langchain-history", str(langchain(tmp_path)), "--space", "lc")
    with plain_daemon.client() as client:
        history = T4DMChatMessageHistory("chat-7", client=client, space="lc")

        assert [one.text for one in history.messages] == ["Tell me of the ferry pier", "It is six"]


def test_the_mcp_graph_is_there_as_entities_with_their_relations(plain_daemon: Daemon, tmp_path: Path) -> None:
    path = SOURCES["mcp-memory"](tmp_path)
    plain_daemon.run_cli("import", "mcp-memory", str(path), "--space", "graph")
    grown = [{**made.mcp_graph()[0], "observations": ["likes tea", "likes bees"]}, *made.mcp_graph()[1:]]
    made.as_lines(path, grown)
    told = report(plain_daemon.run_cli("import", "mcp-memory", str(path), "--space", "graph", "--json"))

    with plain_daemon.client() as client:
        ada = client.list_entities(v.EntityListRequest(space="graph", entity_type="person")).results[0]
        links = client.links(ada.id, space="graph")

    assert counts(told) == {"read": 4, "updated": 1, "there": 3}
    assert (ada.name, ada.summary) == ("Ada", "likes tea\nlikes bees")
    assert {"RELATES_TO", "SUPPORTS"} <= {one.type for one in links}


def test_an_import_that_was_killed_goes_on_and_nothing_is_lost_or_doubled(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon().start()
    talks = [made.chatgpt_talk(f"talk{n}", 20) for n in range(TURNS // 20)]
    path = str(saved(tmp_path / "conversations.json", talks))
    command = [sys.executable, "-m", "t4dm", "import", "chatgpt", path, "--batch-size", "5"]

    running = subprocess.Popen(command, env=daemon.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with daemon.client() as client:
        before = wait_for(lambda: count(client, "default"), at_least=50)
        running.kill()
        running.communicate(timeout=30)
        killed_at = count(client, "default")
        told = report(daemon.run_cli("import", "chatgpt", path, "--json"))
        memories = [
            one for page in range(2) for one in client.list(m.ListRequest(limit=500, offset=page * 500)).results
        ]
        sessions = [client.messages(uid(f"talk{n}")).results for n in range(len(talks))]

    assert 50 <= before <= killed_at < TURNS
    assert counts(told) == {"read": TURNS, "stored": TURNS - killed_at, "there": killed_at}
    assert sorted(one.content for one in memories) == sorted(
        f"talk{n} says number {k}" for n in range(30) for k in range(20)
    )
    assert {one.version for one in memories} == {1}
    assert [[one.value["content"] for one in session] for session in sessions] == [  # type: ignore[index, call-overload]
        [f"talk{n} says number {k}" for k in range(20)] for n in range(30)
    ]


def test_ctrl_c_keeps_what_was_acknowledged_and_says_how_to_go_on(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon().start()
    command = [sys.executable, "-m", "t4dm", "import", "jsonl", "/dev/stdin", "--batch-size", "10", "--json"]

    with (
        daemon.client() as client,
        subprocess.Popen(
            command,
            env=daemon.env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Not ignored, also where the tests run in the background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as running,
    ):
        writer = threading.Thread(target=feed, args=(running.stdin, 5000), daemon=True)
        writer.start()
        wait_for(lambda: count(client, "default"), at_least=100)
        running.send_signal(signal.SIGINT)
        assert running.stdout is not None
        out = running.stdout.read()
        code = running.wait(30)
        writer.join(30)
        stored = count(client, "default")

    error = json.loads(out)["error"]
    assert code == 130
    assert error["code"] == "interrupted"
    assert "run the same command again to go on" in error["message"]
    assert stored - 10 <= error["details"]["report"]["stored"] <= stored


def test_wrong_entries_are_told_and_the_rest_is_stored_unless_strict(plain_daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    large = {"id": "large", "text": "large", "blob": "x" * 70_000}
    lines = [{"id": f"{n}", "text": f"line {n}"} for n in range(20)]
    made.as_lines(
        path, [*lines[:9], large, {"id": "b", "text": "t", "kind": "odd"}, *lines[9:], {"id": "3", "text": "other"}]
    )
    path.write_bytes(path.read_bytes() + b"\xff\n")

    told = plain_daemon.run_cli("import", "jsonl", str(path), "--space", "wrong", "--json")
    strict = plain_daemon.run_cli("import", "jsonl", str(path), "--space", "strict", "--strict", "--json")
    spoken = plain_daemon.run_cli("import", "jsonl", str(path), "--space", "wrong")

    data = json.loads(told.stdout)["data"]
    assert told.returncode == strict.returncode == spoken.returncode == 1
    assert counts(data) == {"read": 24, "stored": 20, "wrong": 4}
    problems = {one["place"]: one["reason"] for one in data["problems"]}
    assert sorted(problems) == [f"n.jsonl, line {n}" for n in (10, 11, 23, 24)]
    assert "metadata" in problems["n.jsonl, line 10"]
    assert problems["n.jsonl, line 11"].startswith("kind: ")
    assert problems["n.jsonl, line 23"] == "the id '3' stands before with other words, at n.jsonl, line 4"
    assert "n.jsonl, line 10: metadata" in json.loads(strict.stdout)["error"]["message"]
    assert "n.jsonl, line 24: not UTF-8" in spoken.stderr
    assert "20 there already" in spoken.stdout


def test_the_same_words_of_the_same_owner_are_counted_and_stored_once(plain_daemon: Daemon, tmp_path: Path) -> None:
    lines = [{"text": "tea  time"}, {"text": "tea time", "x": 1}, {"text": "tea time", "user_id": "bob"}]
    path = str(made.as_lines(tmp_path / "n.jsonl", lines))

    once = report(plain_daemon.run_cli("import", "jsonl", path, "--space", "once", "--json"))
    all_of_them = report(plain_daemon.run_cli("import", "jsonl", path, "--space", "all", "--keep-duplicates", "--json"))

    assert counts(once) == {"read": 3, "stored": 2, "duplicates": 1}
    assert once["duplicate_entries"] == [{"place": "n.jsonl, line 2", "reason": "the same as n.jsonl, line 1"}]
    assert counts(all_of_them) == {"read": 3, "stored": 3}


@pytest.mark.parametrize(
    ("choice", "code", "became", "content"),
    [("replace", 0, "updated", "new"), ("keep", 0, "kept", "old"), ("refuse", 1, "wrong", "old")],
)
def test_an_id_with_something_else_is_treated_as_asked(
    plain_daemon: Daemon, tmp_path: Path, choice: str, code: int, became: str, content: str
) -> None:
    path = str(made.as_lines(tmp_path / "n.jsonl", [{"id": "1", "text": "new"}]))
    with plain_daemon.client() as client:
        client.store(m.StoreRequest(id="1", content="old", space=choice))

        done = plain_daemon.run_cli("import", "jsonl", path, "--space", choice, "--on-conflict", choice, "--json")
        memory = client.get("1", space=choice)

    assert done.returncode == code
    assert counts(json.loads(done.stdout)["data"]) == {"read": 1, became: 1}
    assert memory.content == content


def test_a_session_with_other_messages_is_left_alone_and_told(plain_daemon: Daemon, tmp_path: Path) -> None:
    with plain_daemon.client() as client:
        client.append_messages(uid("gpt"), AppendRequest(messages=[{"role": "user", "content": "mine"}], space="taken"))

        done = plain_daemon.run_cli("import", "chatgpt", str(chatgpt(tmp_path)), "--space", "taken", "--json")
        page = client.messages(uid("gpt"), MessagesRequest(space="taken"))

    told = json.loads(done.stdout)["data"]
    assert done.returncode == 1
    assert (told["stored"], told["messages"]["left_out"]) == (2, 2)
    assert "has another message" in told["problems"][0]["reason"]
    assert [one.value for one in page.results] == [{"role": "user", "content": "mine"}]


def test_a_message_that_cannot_be_stored_is_told_and_its_neighbours_are_stored(
    plain_daemon: Daemon, tmp_path: Path
) -> None:
    said = [made.langchain_message("human", f"message {n}") for n in range(5)]
    said[2]["data"]["additional_kwargs"] = {"large": "x" * (8 * 1024 * 1024)}
    path = str(saved(tmp_path / "large.json", said))

    done = plain_daemon.run_cli("import", "langchain-history", path, "--space", "large", "--json")
    with plain_daemon.client() as client:
        kept = client.messages("large", MessagesRequest(space="large")).results

    told = json.loads(done.stdout)["data"]
    assert done.returncode == 1
    assert told["messages"] == {"stored": 4, "there": 0, "left_out": 1}
    assert told["problems"][0]["place"] == "large.json, message 3"
    assert [one.seq for one in kept] == [1, 2, 4, 5]


def test_mem0_is_read_from_its_server_with_the_key_of_the_environment(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(settings={"MEM0_API_KEY": KEY}).start()
    with serving(Mem0Stub("v3", [made.mem0_memory(n) for n in range(120)], faults=["cut"])) as stub:
        told = report(daemon.run_cli("import", "mem0", stub.url, "--json"))
        again = report(daemon.run_cli("import", "mem0", stub.url, "--json"))
        daemon.env["MEM0_API_KEY"] = "wrong"
        refused = daemon.run_cli("import", "mem0", stub.url)
    with daemon.client() as client:
        memory = client.get(uid("mem0-7"))

    assert (counts(told), counts(again)) == ({"read": 120, "stored": 120}, {"read": 120, "there": 120})
    assert (memory.content, memory.user_id, memory.categories) == ("Ada keeps 7 bees", "ada", ["hobbies"])
    assert refused.returncode == 1
    assert "401" in refused.stderr
    assert "MEM0_API_KEY" in refused.stderr


def test_a_daemon_is_read_by_another_as_if_it_were_mem0s_server(
    plain_daemon: Daemon, make_daemon: Callable[..., Daemon]
) -> None:
    plain_daemon.env["MEM0_API_KEY"] = "any"
    other = make_daemon().start()
    with other.client() as client:
        told = client.store(m.StoreRequest(content="The ferry leaves at nine.", user_id="through two doors"))

    done = plain_daemon.run_cli("import", "mem0", other.url)

    assert done.returncode == 0, done.stderr
    with plain_daemon.client() as client:
        (found,) = client.list(m.ListRequest(user_id="through two doors")).results
    assert (found.id, found.content, found.created_at) == (told.id, told.content, told.created_at)


def test_without_a_daemon_an_import_ends_with_3_and_a_dry_run_says_that_it_could_not_ask(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(settings={"T4DM_URL": "http://127.0.0.1:9"})
    path = str(SOURCES["jsonl"](tmp_path))

    done = daemon.run_cli("import", "jsonl", path)
    dry = report(daemon.run_cli("import", "jsonl", path, "--dry-run", "--json"))

    assert done.returncode == 3
    assert "t4dm serve" in done.stderr
    assert (dry["stored"], dry["checked"]) == (1, False)


def test_two_owners_may_import_the_same_file(plain_daemon: Daemon, tmp_path: Path) -> None:
    path = str(SOURCES["mcp-memory"](tmp_path))

    for user in ("ada", "bob"):
        told = report(plain_daemon.run_cli("import", "mcp-memory", path, "--space", "both", "--user", user, "--json"))
        assert counts(told) == {"read": 4, "stored": 4}


@pytest.mark.slow
def test_the_commands_of_the_guide_do_what_it_says(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon().start()
    home = daemon.home
    markdown(home)
    (home / "histories").mkdir()
    langchain(home / "histories")
    row = ("s1", json.dumps(made.langchain_message("human", "hello from the table")))
    made.langchain_database(home / "memory.db", [row])
    chatgpt(home).rename(home / "export.zip")
    claude(home).rename(home / "data.zip")
    made.openmemory_backup(home / "memories_export_ada.zip")
    saved(home / "memories.json", [made.mem0_memory(1)])
    saved(home / "agent.af", made.letta_agent_file())
    made.as_lines(home / "memory.jsonl", made.mcp_graph())
    made.as_lines(home / "notes.jsonl", [{"text": "a note"}])
    daemon.run_cli("export", "backup.jsonl")
    guide = (Path(__file__).parents[2] / "docs" / "migrate.md").read_text().partition("One command for each")[2]
    commands = [
        line.split()[2:] for line in guide.partition("```\n\n")[0].splitlines() if line.startswith("$ t4dm import")
    ]

    done = [daemon.run_cli(*command) for command in commands]

    assert {*SOURCES, "backup.jsonl"} <= {command[1] for command in commands}
    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * len(commands)


def count(client: Any, space: str) -> int:
    return next((one.items for one in client.list_spaces() if one.name == space), 0)


def wait_for(value: Callable[[], int], *, at_least: int, timeout_s: float = 60.0) -> int:
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while (now := value()) < at_least:
        assert time.monotonic() < deadline, f"only {now} after {timeout_s} s"
        pause.wait(0.005)
    return now


def feed(stream: Any, lines: int) -> None:
    """Write lines; whoever reads may go away."""
    try:
        for n in range(lines):
            stream.write(json.dumps({"id": f"n{n}", "text": f"line {n}"}) + "\n")
            stream.flush()
        stream.close()
    except BrokenPipeError:
        with contextlib.suppress(BrokenPipeError):
            stream.close()
