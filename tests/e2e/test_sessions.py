"""Chat histories, mixed batches and namespaces over a real daemon: by curl, from the command line, across a kill."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from t4dm.sdk import T4DMError
from t4dm.sdk import models as m
from t4dm.sdk import session_models as s
from tests.support.daemon import Daemon

MakeDaemon = Callable[..., Daemon]


def _cli(daemon: Daemon, *arguments: str, code: int = 0, stdin: str | None = None) -> Any:
    done = daemon.run_cli(*arguments, "--json", stdin=stdin)
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return json.loads(done.stdout).get("data")


def test_messages_come_back_byte_for_byte(plain_daemon: Daemon) -> None:
    value = (
        '{"z":1,"a":1.0,"big":123456789012345678901234567890,"small":5e-324,"neg":-0.0,"none":null,"t":[true,false],'
        '"text":"日本語 \\u0000 🎈","id":"mine","seq":7,"tool_calls":[{"args":"{\\"x\\": 1}"}]}'
    )
    path = "/api/v1/sessions/a%2Fb%3F%20%F0%9F%94%91/messages"
    headers = {"content-type": "application/json"}
    with httpx.Client(base_url=plain_daemon.url, trust_env=False) as http:
        body = f'{{"messages":[{value},"x"],"space":"bytes"}}'.encode()
        made = http.post(path, content=body, headers=headers)
        page = http.get(path, params={"space": "bytes"})
        listed = http.get("/api/v1/sessions", params={"space": "bytes"}).json()
        packed = http.get(path, params={"space": "bytes", "after": 1}, headers={"accept": "application/msgpack"})

    assert made.status_code == 201, made.text
    assert [one["seq"] for one in made.json()["results"]] == [1, 2]
    assert value.replace("\\u0000", "\\u0000") in page.text
    assert listed["results"][0]["id"] == "a/b? 🔑"
    assert packed.headers["content-type"] == "application/msgpack"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"messages": "x"}, 422),
        ({"messages": {"role": "user"}}, 422),
        ({"messages": None}, 422),
        ({}, 422),
        ({"messages": [1], "space": ""}, 422),
        ({"messages": [1], "seq": 5}, 422),
        ({"messages": ["x" * (8 * 1024 * 1024 + 1)]}, 422),
        ({"messages": ["x" * (33 * 1024 * 1024)]}, 413),
        ({"messages": [0] * 10_001}, 422),
        ({"messages": []}, 200),
    ],
)
def test_what_cannot_be_appended_is_refused_whole(plain_daemon: Daemon, body: dict[str, Any], status: int) -> None:
    with httpx.Client(base_url=plain_daemon.url, trust_env=False, timeout=60.0) as http:
        answer = http.post("/api/v1/sessions/refused/messages", json=body)
        assert http.get("/api/v1/sessions/refused/messages").json()["total"] == 0

    assert answer.status_code == status, answer.text[:300]
    if status != 200:
        assert set(answer.json()["error"]) == {"code", "message", "details"}


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/v1/sessions/x/messages", "limit=0"),
        ("/api/v1/sessions/x/messages", "limit=5&last=5"),
        ("/api/v1/sessions/x/messages", "after=-1"),
        ("/api/v1/sessions/x/messages", "after=99999999999999999999"),
        ("/api/v1/sessions/x/messages", "last=many"),
        ("/api/v1/sessions/x/messages", "newest=1"),
        ("/api/v1/sessions/%FF/messages", ""),
        ("/api/v1/sessions", "offset=-1"),
        ("/api/v1/namespaces", "max_depth=33"),
        ("/api/v1/namespaces", "prefix="),
        ("/api/v1/categories", "kind=odd"),
    ],
)
def test_a_wrong_question_is_422(plain_daemon: Daemon, path: str, query: str) -> None:
    answer = httpx.get(f"{plain_daemon.url}{path}?{query}", trust_env=False)

    assert answer.status_code == 422
    assert set(answer.json()["error"]) == {"code", "message", "details"}


def test_a_wrong_operation_is_422_and_names_its_position(plain_daemon: Daemon) -> None:
    ops = [{"op": "put", "id": "x", "content": "x", "space": "ops"}, {"op": "get", "ids": [7]}]
    with httpx.Client(base_url=plain_daemon.url, trust_env=False) as http:
        answer = http.post("/api/v1/ops", json={"ops": ops})
        missing = http.get("/api/v1/memory/x", params={"space": "ops"})

    assert answer.status_code == 422
    assert answer.json()["error"]["details"]["errors"][0]["field"] == "body.ops.1.get.ids.0"
    assert missing.status_code == 404


def test_curl_can_send_a_mixed_batch_and_list_namespaces(plain_daemon: Daemon) -> None:
    put = {"op": "put", "space": "mixed", "categories": ["c"], "value": {"big": 2**70}}
    ops = [
        {**put, "id": "1", "content": "one", "namespace": ["a", "b"]},
        {**put, "id": "2", "content": "two", "namespace": ["a", "c"]},
    ]
    with httpx.Client(base_url=plain_daemon.url, trust_env=False) as http:
        stored = http.post("/api/v1/ops", json={"ops": ops})
        read = http.post("/api/v1/ops", json={"ops": [{"op": "get", "ids": ["2", "1"], "space": "mixed"}]})
        names = http.get("/api/v1/namespaces?space=mixed&prefix=a&prefix=*&suffix=c")
        counted = http.get("/api/v1/categories?space=mixed&namespace_prefix=a")

    assert [one["status"] for one in stored.json()["results"]] == ["created", "created"]
    assert [one["value"]["big"] for one in read.json()["results"][0]["results"]] == [2**70, 2**70]
    (found,) = names.json()["results"]
    assert (found["namespace"], found["count"], found["categories"]) == (["a", "c"], 1, {"c": 1})
    assert counted.json() == {"categories": {"c": 2}}


def test_acknowledged_messages_survive_a_kill_and_numbers_go_on(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(settings={"T4DM_STORAGE__FLUSH_ITEMS": "50"}).start()
    given: dict[int, list[int]] = {}

    def write(writer: int) -> None:
        given[writer] = []
        with daemon.client(max_retries=0) as client:
            try:
                for n in range(10_000):
                    request = s.AppendRequest(messages=[[writer, n], [writer, n, "b"]])
                    given[writer] += [one.seq for one in client.append_messages("s", request).results]
                    if writer == 0 and n == 60:
                        daemon.kill()
            except T4DMError:
                pass  # killed

    with daemon.client() as client:
        client.append_messages("cleared", s.AppendRequest(messages=[1, 2, 3]))
        client.clear_messages("cleared")
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    daemon.start()

    acknowledged = [seq for one in given.values() for seq in one]
    with daemon.client() as client:
        found = client.messages("s", s.MessagesRequest(limit=10_000)).results
        added = client.append_messages("s", s.AppendRequest(messages=["after"])).results
        cleared = client.append_messages("cleared", s.AppendRequest(messages=["after"])).results
    assert len(acknowledged) == len(set(acknowledged)) >= 122
    assert set(acknowledged) <= {one.seq for one in found}
    assert [one.seq for one in found] == list(range(1, len(found) + 1))
    for one, two in zip(found[::2], found[1::2], strict=True):  # two of a request are both there, side by side
        assert [*one.value, "b"] == two.value  # type: ignore[misc]
    assert added[0].seq == len(found) + 1
    assert cleared[0].seq == 4


@pytest.mark.slow
def test_sessions_travel_by_export_and_by_backup(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    daemon = make_daemon().start()
    _cli(daemon, "add", "a memory", "--id", "one")
    _cli(daemon, "session", "append", "chat/7", '{"role": "user", "n": 1.0}', "text")
    _cli(daemon, "session", "append", "other", "-", "--space", "s", stdin='{"b": null}\n"\\u2028"\n')
    _cli(daemon, "session", "clear", "chat/7", "--yes")
    _cli(daemon, "session", "append", "chat/7", "third")
    file = tmp_path / "all.jsonl"
    _cli(daemon, "export", str(file))
    _cli(daemon, "export", str(tmp_path / "s.jsonl"), "--space", "s")
    _cli(daemon, "export", str(tmp_path / "none.jsonl"), "--space", "nowhere", code=5)
    backup = _cli(daemon, "backup", str(tmp_path / "backup"))
    assert _cli(daemon, "verify")["is_sound"]
    lines = [json.loads(line) for line in file.read_text().split("\n") if line]
    assert [line["message"]["value"] for line in lines if "message" in line] == [{"b": None}, "\u2028", "third"]
    assert lines[-1] == {"end": True, "count": 1, "edges": 0, "messages": 3}
    assert len((tmp_path / "s.jsonl").read_text().strip().split("\n")) == 3

    other = make_daemon().start()
    imported = _cli(other, "import", str(file))
    again = _cli(other, "import", str(file))
    restored = make_daemon(home=tmp_path / "restored")
    _cli(restored, "restore", backup["path"], str(restored.storage_path))
    restored.start()

    assert (imported["messages"], again["messages"]) == (3, 3)
    with daemon.client() as client:
        before = [client.messages("chat/7"), client.messages("other", s.MessagesRequest(space="s"))]
    for copy in (other, restored):
        with copy.client() as client:
            assert [client.messages("chat/7"), client.messages("other", s.MessagesRequest(space="s"))] == before
            assert [one.id for one in client.sessions().results] == ["chat/7"]
            assert client.stats().messages == 3
            assert client.append_messages("chat/7", s.AppendRequest(messages=["next"])).results[0].seq == 4


def test_the_command_line_lists_what_there_is(plain_daemon: Daemon) -> None:
    with plain_daemon.client() as client:
        records = [
            m.RecordIn(content=f"{path}", namespace=path.split("/"), categories=["c"])
            for path in ("u/1/x", "u/2/x", "v")
        ]
        client.batch(m.BatchRequest(records=records, space="cli"))
    _cli(plain_daemon, "session", "append", "chat", "a", "b", "c", "--space", "cli")

    shown = plain_daemon.run_cli("session", "show", "chat", "--space", "cli", "--last", "2")

    assert [line.split("\t")[::2] for line in shown.stdout.splitlines()] == [["2", '"b"'], ["3", '"c"']]
    assert _cli(plain_daemon, "session", "list", "--space", "cli")["results"][0]["messages"] == 3
    assert _cli(plain_daemon, "session", "clear", "chat", "--yes", "--space", "cli") == {"deleted": 3}
    names = _cli(plain_daemon, "namespaces", "--prefix", "u/*", "--depth", "1", "--space", "cli")["results"]
    assert [(one["namespace"], one["count"]) for one in names] == [(["u"], 2)]
    assert _cli(plain_daemon, "categories", "--space", "cli") == {"categories": {"c": 3}}
    _cli(plain_daemon, "namespaces", "--space", "nowhere", code=5)
