"""Finding, explaining and knowing when, from the command line of a real daemon with the real embedder."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.daemon import Daemon


def _cli(daemon: Daemon, *arguments: str, code: int = 0) -> Any:
    done = daemon.run_cli(*arguments, "--json")
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return json.loads(done.stdout).get("data")


def test_a_fact_that_changes_is_found_as_it_is_and_as_it_was(daemon: Daemon) -> None:
    for number, text in enumerate(("Bob asked about the weather.", "The hikers reached the summit at noon.")):
        _cli(daemon, "add", text, "--id", f"noise-{number}", "--at", "2026-01-02", "--session", "talk")
    _cli(daemon, "add", "Ada lives in Riga.", "--id", "old", "--at", "2026-01-05", "--session", "talk")
    _cli(
        daemon, "add", "Ada has moved, she lives in Oslo now.", "--id", "new", "--at", "2026-06-01",
        "--supersedes", "old", "--session", "talk",
    )  # fmt: skip

    def best(*arguments: str) -> str:
        return str(_cli(daemon, "search", *arguments)["results"][0]["memory"]["id"])

    assert best("Where does Ada live?") == "new"
    assert best("Where did Ada live before?") == "old"
    assert best("Where does Ada live?", "--as-of", "2026-03-01") == "old"
    assert [row["id"] for row in _cli(daemon, "timeline", "--session", "talk")["results"]] == [
        "noise-0",
        "noise-1",
        "old",
        "new",
    ]
    assert [row["id"] for row in _cli(daemon, "timeline", "--from", "2026-05-01", "--session", "talk")["results"]] == [
        "new"
    ]
    assert {node["id"] for node in _cli(daemon, "graph", "new", "--direction", "both")["nodes"]} == {"old"}


def test_search_explains_and_a_context_fits_its_budget(daemon: Daemon) -> None:
    for number, text in enumerate(
        ("The boiler code is on the lid.", "We ate pasta by the lake.", "The key hangs outside.")
    ):
        _cli(daemon, "add", text, "--id", f"h-{number}", "--user", "house")

    (first, *_) = _cli(daemon, "search", "Where is the code of the boiler?", "--user", "house", "--explain")["results"]
    shown = daemon.run_cli("search", "Where is the code of the boiler?", "--user", "house", "--explain")
    block = _cli(daemon, "context", "Where is the code of the boiler?", "--user", "house", "--budget", "40")
    text = daemon.run_cli("context", "Where is the code of the boiler?", "--user", "house", "--budget", "40")
    nothing = daemon.run_cli("search", "the price of uranium futures", "--user", "house", "--abstain-below", "0.5")

    assert first["memory"]["id"] == "h-0"
    assert abs(sum(first["explain"].values()) - first["score"]) < 1e-9
    assert "lexical=" in shown.stdout
    assert block["parts"][0]["id"] == "h-0"
    assert 0 < block["tokens"] <= 40
    assert block["counted_by"] == "minilm"
    assert text.stdout.startswith("- [")
    assert (nothing.returncode, nothing.stdout) == (0, "")


@pytest.mark.slow
def test_pins_feedback_and_forgetting(daemon: Daemon) -> None:
    _cli(daemon, "add", "a thing to keep", "--id", "keep")
    _cli(daemon, "add", "a thing to lose", "--id", "lose")

    assert _cli(daemon, "pin", "keep") == {"pinned": 1}
    assert _cli(daemon, "get", "keep")["pinned"] is True
    assert _cli(daemon, "unpin", "keep") == {"unpinned": 1}
    assert _cli(daemon, "feedback", "keep", "1", "--query", "what to keep?") == {"recorded": 1}
    assert _cli(daemon, "forget", "lose", "--yes")["deleted"] == 1
    assert daemon.run_cli("history", "lose").returncode == 5
    assert daemon.run_cli("pin", "nobody").returncode == 5
    assert daemon.run_cli("feedback", "keep", "7").returncode == 2


def test_all_of_it_is_there_after_a_kill(daemon: Daemon) -> None:
    _cli(daemon, "add", "The ferry leaves from pier four.", "--id", "ferry")
    _cli(daemon, "flush")
    _cli(daemon, "add", "The tram stops at pier six.", "--id", "tram")
    before = _cli(daemon, "search", "pier", "--mode", "lexical")["results"]

    daemon.kill()
    daemon.start()

    after = _cli(daemon, "search", "pier", "--mode", "lexical")["results"]
    assert [(hit["memory"]["id"], hit["score"]) for hit in after] == [
        (hit["memory"]["id"], hit["score"]) for hit in before
    ]
    assert {hit["memory"]["id"] for hit in after} >= {"ferry", "tram"}
