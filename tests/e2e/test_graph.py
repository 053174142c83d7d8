"""Links, purges and compaction over a real daemon: from the command line, and across a kill."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from t4dm.sdk import NotFoundError, T4DMError
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from tests.support.daemon import Daemon

MakeDaemon = Callable[..., Daemon]


def _cli(daemon: Daemon, *arguments: str, code: int = 0) -> Any:
    done = daemon.run_cli(*arguments, "--json")
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return json.loads(done.stdout).get("data")


@pytest.mark.slow
def test_what_was_linked_purged_and_compacted_is_so_after_a_kill(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start()
    for name in ("storm", "delay", "refund", "note", "secret"):
        _cli(daemon, "add", f"about the {name}", "--id", name)
    _cli(daemon, "link", "storm", "CAUSES", "delay", "--weight", "0.8")
    _cli(daemon, "link", "delay", "CAUSES", "refund")
    _cli(daemon, "link", "refund", "DERIVED_FROM", "note")
    _cli(daemon, "link", "secret", "CAUSES", "storm")
    _cli(daemon, "link", "storm", "CAUSES", "nobody", code=2)
    _cli(daemon, "flush")
    _cli(daemon, "delete", "secret", "--purge", "--yes")
    _cli(daemon, "unlink", "delay", "CAUSES", "refund")
    _cli(daemon, "link", "delay", "REQUIRES", "refund", "--weight", "0.25")

    (report,) = _cli(daemon, "compact", "--everything")["results"]
    assert (report["segments_after"], report["rows_after"]) == (1, 4)
    with daemon.client() as client:
        edges = [g.EdgeChange(source="storm", target="delay", type="CAUSES", add=-0.3)]
        assert client.reweigh(g.ReweighRequest(changes=edges)) == [pytest.approx(0.5)]
    daemon.kill()
    texts = [path.read_bytes() for path in daemon.storage_path.rglob("blobs.bin")]
    assert b"about the storm" in b"".join(texts)
    assert b"about the secret" not in b"".join(texts)
    words = b"".join(path.read_bytes() for path in daemon.storage_path.rglob("index.text"))
    assert b"storm" in words
    assert b"secret" not in words
    daemon.start()

    walked = _cli(daemon, "traverse", "storm", "--depth", "3")["nodes"]
    assert [(node["id"], node["depth"], node["edge"]["type"]) for node in walked] == [
        ("delay", 1, "CAUSES"),
        ("refund", 2, "REQUIRES"),
        ("note", 3, "DERIVED_FROM"),
    ]
    assert walked[0]["edge"]["weight"] == pytest.approx(0.5)
    assert walked[0]["memory"]["content"] == "about the delay"
    assert [edge["target"] for edge in _cli(daemon, "path", "storm", "note")["edges"]] == ["delay", "refund", "note"]
    assert _cli(daemon, "path", "note", "storm")["edges"] is None
    assert [node["id"] for node in _cli(daemon, "provenance", "refund")["nodes"]] == ["note"]
    assert [node["id"] for node in _cli(daemon, "provenance", "note", "--forward")["nodes"]] == ["refund"]
    assert [one["type"] for one in _cli(daemon, "links", "storm")["results"]] == ["CAUSES"]
    _cli(daemon, "history", "secret", code=5)
    with daemon.client() as client, pytest.raises(NotFoundError):
        client.delete("secret", purge=True)


def test_curl_can_unlink_with_delete_and_a_body(plain_daemon: Daemon) -> None:
    name = {"source": "x/1", "target": "y", "type": "USES"}
    with httpx.Client(base_url=plain_daemon.url, trust_env=False) as http:
        for one in ("x/1", "y"):
            assert http.post("/api/v1/memory/store", json={"id": one, "content": one, "space": "curl"}).is_success
        made = http.post("/api/v1/edges", json={"edges": [name], "space": "curl"})
        found = http.get("/api/v1/memory/x%2F1/edges", params={"space": "curl"})
        packed = http.get("/api/v1/memory/y/edges", params={"space": "curl"}, headers={"accept": "application/msgpack"})
        gone = http.request("DELETE", "/api/v1/edges", json={"edges": [name], "space": "curl"})
        refused = http.post("/api/v1/edges", json={"edges": [{**name, "type": "LIKES"}], "space": "curl"})
        missing = http.post("/api/v1/edges", json={"edges": [{**name, "target": "z"}], "space": "curl"})

    assert made.json() == {"linked": 1}
    assert found.json()["results"][0].items() >= {**name, "weight": 1.0}.items()
    assert packed.headers["content-type"] == "application/msgpack"
    assert gone.json() == {"unlinked": 1}
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "validation_error")
    assert (missing.status_code, missing.json()["error"]["details"]["ids"]) == (422, ["z"])


def test_a_daemon_that_compacts_answers_others_and_still_stops_in_time(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(settings={"T4DM_STORAGE__FLUSH_ITEMS": "500", "T4DM_STORAGE__ANN_MIN_ROWS": "1000"}).start()
    records = [m.RecordIn(content=f"number {n} of a long row", dedup="off") for n in range(4000)]
    with daemon.client() as client:
        for start in range(0, len(records), 1000):
            client.batch(m.BatchRequest(records=records[start : start + 1000]))
    ended = threading.Event()

    def compact_again_and_again() -> None:
        with daemon.client(max_retries=0) as client, contextlib.suppress(T4DMError):  # the daemon stops
            while True:
                client.compact(everything=True)
        ended.set()

    worker = threading.Thread(target=compact_again_and_again)
    worker.start()
    slowest_s = 0.0
    with daemon.client(max_retries=0) as client, httpx.Client(base_url=daemon.url, trust_env=False) as http:
        for _ in range(20):
            started = time.monotonic()
            assert http.get("/healthz").status_code == 200
            assert client.search(m.SearchRequest(query="number 7", k=1)).results
            slowest_s = max(slowest_s, time.monotonic() - started)
    started = time.monotonic()

    assert daemon.terminate() == 0, daemon.output

    assert time.monotonic() - started < 5.5
    assert slowest_s < 5.0  # a hang, not a speed: two busy cores answer in milliseconds
    assert ended.wait(10.0)
    worker.join()


@pytest.mark.slow
def test_a_backup_restored_by_the_command_line_serves_again(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    daemon = make_daemon().start()
    _cli(daemon, "add", "before the backup", "--id", "early")
    backup = _cli(daemon, "backup", str(tmp_path / "monday"))
    _cli(daemon, "add", "after the backup", "--id", "late")
    assert _cli(daemon, "verify")["is_sound"]
    assert daemon.terminate() == 0
    daemon.env.pop("T4DM_URL")
    verified = daemon.run_cli("verify", "--path", backup["path"])
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "are as they were written" in verified.stdout

    restored = make_daemon(home=tmp_path / "again")
    _cli(restored, "restore", backup["path"], str(restored.storage_path))
    restored.start()

    assert [one["id"] for one in _cli(restored, "list")["results"]] == ["early"]
