"""`t4dm search` and `t4dm list`."""

from __future__ import annotations

import pytest

from t4dm.sdk import BatchRequest, RecordIn, T4DMClient
from t4dm_daemon.cli import output
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_daemon import FakeDaemon


@pytest.fixture(autouse=True)
def _memories(fake: FakeDaemon) -> None:
    records = [RecordIn(content=f"tea {n}", id=f"{n}", metadata={"even": n % 2 == 0}) for n in range(30)]
    with T4DMClient(transport=fake.transport()) as client:
        client.batch(BatchRequest(records=records))


def test_search_prints_a_line_for_each_hit(run: Run) -> None:
    done = run("search", "tea 2", "--k", "2")

    assert done.out == "0.500\t2\t2026-05-01T12:00:00Z\ttea 2\n0.500\t20\t2026-05-01T12:00:00Z\ttea 20\n"
    assert run("search", "tea 2", "-k", "2", "-q").out == "2\n20\n"


def test_search_sends_what_every_option_says(run: Run, fake: FakeDaemon) -> None:
    run(
        *(
            "search",
            "-",
            "--min-score",
            "0.2",
            "--as-of",
            "2026-01-01",
            "--known-at",
            "2026-02-01",
            "--kind",
            "semantic",
        ),
        *("--explain", "--user", "ada", "--space", "default", "--namespace", "work"),
        *("--filter", '{"field": "topic", "op": "eq", "value": "tea"}'),
        stdin="what does Ada drink?\n",
    )

    assert fake.seen[-1].json == {
        "query": "what does Ada drink?",
        "k": 10,
        "space": "default",
        "min_score": 0.2,
        "as_of": "2026-01-01T00:00:00Z",
        "known_at": "2026-02-01T00:00:00Z",
        "kind": "semantic",
        "include": ["explain"],
        "user_id": "ada",
        "namespace_prefix": ["work"],
        "filter": {"field": "topic", "op": "eq", "value": "tea"},
    }


def test_explain_shows_the_signals(run: Run) -> None:
    assert "dense=0.500" in run("search", "tea 3", "--explain").out


def test_search_as_json_is_the_answer_in_an_envelope(run: Run) -> None:
    document = run("search", "tea 7", "--json").json

    assert document["ok"] is True
    assert document["data"]["results"][0]["memory"]["content"] == "tea 7"
    assert document["took_ms"] > 0


def test_nothing_relevant_is_no_failure(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_person", lambda: True)

    done = run("search", "coffee")

    assert done.exit_code == 0
    assert done.out == ""
    assert "Nothing relevant." in done.err


def test_list_shows_a_page_and_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = run("list")
    monkeypatch.setattr(output, "is_person", lambda: True)
    shown = run("list", "--limit", "10")

    assert len(plain.out.splitlines()) == 20
    assert "10 of 30; go on with --cursor 10" in shown.err
    assert run("list", "--cursor", "28", "-q").out == "28\n29\n"


def test_list_all_walks_through_every_page(run: Run, fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t4dm_daemon.cli.finding._PAGE", 7)

    lines = run("list", "--all").out.splitlines()
    document = run("list", "--all", "--json").json
    ids = run("list", "--all", "-q", "--filter", '{"field": "even", "op": "eq", "value": true}').out.split()

    assert len(lines) == 30
    assert document["data"]["total"] == len(document["data"]["results"]) == 30
    assert ids == [f"{n}" for n in range(0, 30, 2)]


def test_list_all_ends_at_the_limit(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t4dm_daemon.cli.finding._PAGE", 7)

    lines = run("list", "--all", "--limit", "10").out.splitlines()
    document = run("list", "--all", "--limit", "10", "--json").json["data"]

    assert len(lines) == len(document["results"]) == 10
    assert (document["total"], document["cursor"]) == (30, "10")
