"""What a newcomer does in the first hour, over a real daemon process, with the real embedder."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from t4dm import T4DM
from t4dm.sdk import NotFoundError, T4DMError
from t4dm.sdk import models as m
from tests.support.daemon import Daemon

SENTENCES = [
    "We hiked up to the ridge and saw the whole valley below us.",
    "The trail over the pass was steep, but the alpine meadows were worth it.",
    "Order two more cartridges of black toner for the office printer.",
    "The quarterly invoice must be sent before Friday.",
    "My sister is allergic to peanuts.",
]


def _cli(daemon: Daemon, *arguments: str, stdin: str | None = None, code: int = 0) -> dict[str, object]:
    done = daemon.run_cli(*arguments, "--json", stdin=stdin)
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_the_first_hour(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = make_daemon(model="minilm").start()

    # add, search
    added = [_cli(daemon, "add", text, "--meta", f"n={n}")["data"] for n, text in enumerate(SENTENCES)]
    found = _cli(daemon, "search", "mountain walks", "--k", "5")["data"]
    texts = [hit["memory"]["content"] for hit in found["results"]]  # type: ignore[index]
    assert set(texts[:2]) == set(SENTENCES[:2])
    assert texts.index(SENTENCES[2]) >= 2

    # list, get
    listed = _cli(daemon, "list")["data"]
    assert listed["total"] == len(SENTENCES)  # type: ignore[index]
    first = added[0]
    got = _cli(daemon, "get", first["id"])["data"]  # type: ignore[index]
    assert got["content"] == SENTENCES[0]  # type: ignore[index]
    assert got["metadata"] == {"n": 0}  # type: ignore[index]

    # update, history
    toner = added[2]["id"]  # type: ignore[index]
    updated = _cli(daemon, "update", toner, "--content", "Order four cartridges of cyan toner.")["data"]
    assert updated["version"] == 2  # type: ignore[index]
    events = _cli(daemon, "history", toner)["data"]
    told = events["results"] if isinstance(events, dict) else events
    assert [event["event"] for event in told] == ["ADD", "UPDATE"]  # type: ignore[index]
    assert told[1]["old"]["content"] == SENTENCES[2]  # type: ignore[index]

    # delete
    _cli(daemon, "delete", added[3]["id"], "--yes")  # type: ignore[index]
    _cli(daemon, "get", added[3]["id"], code=5)  # type: ignore[index]
    assert _cli(daemon, "list")["data"]["total"] == len(SENTENCES) - 1  # type: ignore[index]

    # stats agrees
    stats = _cli(daemon, "stats")["data"]
    assert stats["items"] == len(SENTENCES) - 1  # type: ignore[index]
    assert sum(stats["by_kind"].values()) == len(SENTENCES) - 1  # type: ignore[index]

    # export, delete everything, import
    exported = tmp_path / "memories.jsonl"
    _cli(daemon, "export", str(exported))
    with daemon.client() as client:
        before = list(client.export())
        _cli(daemon, "delete", "--all", "--yes")
        assert client.stats().items == 0
        _cli(daemon, "import", str(exported))
        after = list(client.export())
    unstable = {"recorded_at", "version"}
    assert [one.model_dump(exclude=unstable) for one in after] == [one.model_dump(exclude=unstable) for one in before]

    # SIGTERM: exit 0 within five seconds, and everything is there afterwards
    started = time.monotonic()
    assert daemon.terminate(timeout_s=6.0) == 0, daemon.output
    assert time.monotonic() - started < 5.5
    daemon.start()
    with daemon.client() as client:
        assert {one.id for one in client.export()} == {one.id for one in before}

    # the embedded API is refused by name of the daemon while it runs, and welcome afterwards
    with pytest.raises(T4DMError, match=daemon.url):
        T4DM(storage_path=daemon.storage_path, **_embedded(daemon))
    assert daemon.terminate() == 0
    with T4DM(storage_path=daemon.storage_path, **_embedded(daemon)) as memory:
        hits = memory.search("mountain walks", k=2)
        assert {hit.memory.content for hit in hits} == set(SENTENCES[:2])


def _embedded(daemon: Daemon) -> dict[str, object]:
    return {"settings": {"cache_path": daemon.env["T4DM_CACHE_PATH"], "embedding_model": "minilm"}}


def test_kill_in_the_middle_of_acknowledged_writes_loses_none_of_them(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon().start()
    acknowledged: list[str] = []
    enough = threading.Event()

    def write(number: int) -> None:
        with daemon.client(max_retries=0, timeout_s=5.0) as client:
            while True:
                identifier = f"w{number}-{len(acknowledged)}-{time.monotonic_ns()}"
                try:
                    client.store(m.StoreRequest(id=identifier, content=f"fact {identifier}"))
                except T4DMError:
                    return  # not acknowledged: the daemon is gone
                acknowledged.append(identifier)
                if len(acknowledged) >= 200:
                    enough.set()

    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write, number) for number in range(8)]
        assert enough.wait(60.0)
        daemon.kill()
        for writer in writers:
            writer.result(30.0)

    assert len(acknowledged) >= 200
    daemon.start()
    with daemon.client() as client:
        present = {one.id for one in client.export()}
        assert set(acknowledged) <= present
        assert len(present) - len(acknowledged) <= 8  # at most what each writer had in flight
        for identifier in acknowledged[::20]:
            assert client.get(identifier).content == f"fact {identifier}"
    with pytest.raises(NotFoundError), daemon.client() as client:
        client.get("never written")


def test_an_export_restores_every_space_as_it_was(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    first, second = make_daemon().start(), make_daemon().start()
    with first.client() as client:
        client.store(m.StoreRequest(id="a", content="river stone", space="notes"))
        client.store(m.StoreRequest(id="silent", content="river", embed=False, space="notes"))
        client.store(m.StoreRequest(id="v", vector=[1.0, 2.0], space="mine"))
        client.create_space("empty", m.SpaceRequest(embedder="client", dimension=7))
        spaces = client.list_spaces()
        memories = list(client.export())
    exported = tmp_path / "all.jsonl"
    _cli(first, "export", str(exported))

    _cli(second, "import", str(exported))

    unstable = {"recorded_at"}
    with second.client() as client:
        assert client.list_spaces() == spaces
        restored = list(client.export())
        assert [one.model_dump(exclude=unstable) for one in restored] == [
            one.model_dump(exclude=unstable) for one in memories
        ]
        found = client.search(m.SearchRequest(query="river stone", space="notes")).results
        assert [hit.memory.id for hit in found] == ["a"]
