"""What a newcomer does in the first hour, over a real daemon process, with the real embedder."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from t4dm import T4DM
from t4dm.sdk import NotFoundError, T4DMError
from t4dm.sdk import graph_models as g
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
        found = client.search(m.SearchRequest(query="river stone", space="notes", mode="vector")).results
        assert [hit.memory.id for hit in found] == ["a"]


def test_an_export_carries_links_and_the_record_of_use(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    first, second = make_daemon().start(), make_daemon().start()
    then = datetime(2024, 5, 1, tzinfo=UTC)
    with first.client() as client:
        for space in ("default", "notes"):
            records = [m.RecordIn(id=one, content=f"about {one}") for one in ("storm", "ferry", "pier")]
            client.batch(m.BatchRequest(records=records, space=space))
        edges = [
            g.EdgeIn(source="ferry", target="storm", type="DERIVED_FROM", weight=0.25, created_at=then),
            g.EdgeIn(source="storm", target="ferry", type="CAUSES"),
        ]
        client.link(g.LinkRequest(edges=edges))
        client.link(g.LinkRequest(edges=[g.EdgeIn(source="pier", target="pier", type="USES")], space="notes"))
        client.touch(m.TouchRequest(ids=["ferry"]))
        client.touch(m.TouchRequest(ids=["ferry"]))
        used = client.get("ferry")
        links = client.links("ferry"), client.links("pier", space="notes")
        memories = list(client.export())
    exported = tmp_path / "all.jsonl"
    written = _cli(first, "export", str(exported))["data"]
    assert (written["count"], written["edges"]) == (6, 3)  # type: ignore[index]
    assert json.loads(exported.read_text().splitlines()[-1]) == {"end": True, "count": 6, "edges": 3, "messages": 0}

    came = _cli(second, "import", str(exported))["data"]

    assert (came["created"], came["linked"], came["links_left_out"]) == (6, 3, 0)  # type: ignore[index]
    with second.client() as client:
        assert (client.links("ferry"), client.links("pier", space="notes")) == links
        assert {edge.created_at for edge in client.links("ferry")} > {then}
        assert client.get("ferry").access_count == 2
        assert client.get("ferry").last_accessed == used.last_accessed
        unstable = {"recorded_at"}
        assert [one.model_dump(exclude=unstable) for one in client.export()] == [
            one.model_dump(exclude=unstable) for one in memories
        ]

    # what stands as it was exported is there already
    again = _cli(second, "import", str(exported), "--batch-size", "2")["data"]
    assert (again["updated"], again["duplicate"]) == (0, 6)  # type: ignore[index]

    # a link whose end is missing is left out and named; the others come
    lines = [line for line in exported.read_text().splitlines() if '"id":"storm"' not in line and '"end"' not in line]
    partial = tmp_path / "partial.jsonl"
    partial.write_text("\n".join([*lines, '{"end": true, "count": 4, "edges": 3}']) + "\n")
    _cli(second, "delete", "--all", "--yes")

    told = second.run_cli("import", str(partial))

    assert told.returncode == 0
    assert "2 links left out: there is no memory 'storm' at an end of them" in told.stderr
    with second.client() as client:
        assert client.stats().edges == 1
