"""`t4dm link`, `unlink`, `links`, `traverse`, `path`, `provenance`."""

from __future__ import annotations

import pytest

from t4dm_daemon.cli import output
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_daemon import EPOCH, FakeDaemon, Reply, error

EDGE = {"source": "storm", "target": "delay", "type": "CAUSES", "weight": 0.8, "created_at": EPOCH.isoformat()}
NODE = {"id": "delay", "depth": 1, "edge": EDGE}


def test_link_names_the_link_it_made(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, {"linked": 1})]

    done = run("link", "storm", "causes", "delay", "--weight", "0.8", "--space", "s")

    assert done.out == "linked storm CAUSES delay\n"
    assert fake.seen[-1].json == {
        "edges": [{"source": "storm", "target": "delay", "type": "CAUSES", "weight": 0.8}],
        "space": "s",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["link", "a", "LIKES", "b"], "'CAUSES', 'TEMPORAL_BEFORE'"),
        (["link", "a", "CAUSES", "b", "--weight", "2"], "weight: Input should be less than or equal to 1"),
        (["unlink", "a", "LIKES", "b"], "type: Input should be"),
        (["links", "a", "--direction", "up"], "--direction is out, in or both"),
        (["traverse", "a", "--direction", "up"], "direction: Input should be"),
        (["traverse", "a", "--depth", "7"], "depth: Input should be less than or equal to 6"),
        (["traverse", "a", "--type", "LIKES"], "edge_types.0: Input should be"),
        (["path", "a", "b", "--max-depth", "0"], "max_depth: Input should be"),
        (["provenance", "a", "--known-at", "yesterday"], "times are RFC 3339"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_why(
    run: Run, fake: FakeDaemon, arguments: list[str], message: str
) -> None:
    done = run(*arguments)

    assert done.exit_code == 2
    assert message in done.err
    assert fake.seen == []


def test_unlink_tells_whether_there_was_a_link(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, {"unlinked": count}) for count in (1, 0, 0)]

    done = run("unlink", "storm", "CAUSES", "delay")
    missing = run("unlink", "storm", "CAUSES", "delay")
    as_json = run("unlink", "storm", "CAUSES", "delay", "--json")

    assert (done.exit_code, done.out) == (0, "unlinked storm CAUSES delay\n")
    assert missing.exit_code == as_json.exit_code == 5
    assert "t4dm links storm" in missing.err
    assert as_json.json["error"]["details"] == {"source": "storm", "target": "delay", "type": "CAUSES"}


def test_links_are_lines_for_programs_and_a_table_for_people(
    run: Run, fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.planned = [Reply(200, {"results": [EDGE]}) for _ in range(3)]

    assert run("links", "storm", "--direction", "out").out == "0.800\tstorm\tCAUSES\tdelay\n"
    assert run("links", "storm", "--json").json["data"]["results"][0]["weight"] == 0.8
    monkeypatch.setattr(output, "is_person", lambda: True)
    assert "Weight" in run("links", "storm").out
    assert [seen.query["direction"] for seen in fake.seen] == ["out", "both", "both"]


def test_traverse_asks_for_everything_that_was_said(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, {"nodes": [NODE], "took_ms": 1.0}) for _ in range(2)]
    command = (
        *("traverse", "storm", "rain", "--depth", "3", "--type", "causes", "-t", "USES", "--direction", "both"),
        *("--limit", "7", "--as-of", "2026-05-01"),
    )

    assert run(*command).out == "1\t0.800\tdelay\tstorm CAUSES delay\t\n"
    assert run(*command, "--quiet").out == "delay\n"
    assert fake.seen[-1].json == {
        "start": ["storm", "rain"],
        "edge_types": ["CAUSES", "USES"],
        "direction": "both",
        "depth": 3,
        "limit": 7,
        "as_of": "2026-05-01T00:00:00Z",
        "known_at": None,
        "include_memories": True,
        "space": "default",
    }


def test_path_prints_its_links_and_nothing_where_there_is_none(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, {"edges": found}) for found in ([EDGE], None, None)]

    found = run("path", "storm", "delay")
    none = run("path", "delay", "storm")
    as_json = run("path", "delay", "storm", "--json")

    assert found.out == "0.800\tstorm\tCAUSES\tdelay\n"
    assert (none.exit_code, none.out) == (0, "")
    assert as_json.json["data"] == {"edges": None}


def test_provenance_looks_back_unless_told_otherwise(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, {"nodes": [NODE], "took_ms": 1.0}) for _ in range(2)]

    run("provenance", "delay", "--depth", "2")
    forward = run("provenance", "storm", "--forward", "--json")

    assert [(seen.query["direction"], seen.query["depth"]) for seen in fake.seen] == [
        ("backward", "2"),
        ("forward", "6"),
    ]
    assert forward.json["data"]["nodes"][0]["id"] == "delay"


@pytest.mark.parametrize(
    "arguments",
    [
        ["links", "x"],
        ["traverse", "x"],
        ["path", "x", "y"],
        ["provenance", "x"],
        ["link", "x", "USES", "y", "-s", "no"],
    ],
)
def test_what_does_not_exist_ends_with_5(run: Run, fake: FakeDaemon, arguments: list[str]) -> None:
    fake.planned = [error(404, "not_found")]

    assert run(*arguments).exit_code == 5
