"""`t4dm export` and `t4dm import`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from t4dm.sdk import StoreRequest, T4DMClient
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_daemon import FakeDaemon, Reply, Seen, error

HOSTILE = "a\u2028b\x85c\nd→ü"


@pytest.fixture
def client(fake: FakeDaemon) -> T4DMClient:
    return T4DMClient(transport=fake.transport())


def lines(*records: dict[str, object]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_what_was_exported_can_be_imported_as_it_was(
    run: Run, fake: FakeDaemon, client: T4DMClient, tmp_path: Path
) -> None:
    client.store(StoreRequest(content=HOSTILE, id="1", vector=[0.1, 0.2], metadata={"n": None}, value={"a": [1]}))
    client.store(StoreRequest(content="other", id="2", space="s"))
    before = {name: dict(space) for name, space in fake.spaces.items()}

    exported = run("export", str(tmp_path / "all.jsonl"), "--json")
    fake.spaces.clear()
    imported = run("import", str(tmp_path / "all.jsonl"))

    assert exported.json["data"]["count"] == 2
    assert imported.out == "2 created, 0 updated, 0 there already\n"
    assert fake.spaces == before


def test_an_export_holds_the_lines_as_the_daemon_sends_them(run: Run, client: T4DMClient) -> None:
    client.store(StoreRequest(content="tea", id="1", vector=[0.1, 0.2]))
    client.store(StoreRequest(content="milk", id="2"))

    space, one, two, end = map(json.loads, run("export", "-").out.splitlines())
    _, bare, _, _ = map(json.loads, run("export", "--no-vectors").out.splitlines())

    assert space["space"]["name"] == "default"
    assert space["space"]["model"] == "minilm@1"
    assert one["vector"] == pytest.approx([0.1, 0.2])
    assert two["vector"] is None
    assert end == {"end": True, "count": 2}
    assert "vector" not in bare


def test_an_export_that_fails_leaves_the_old_file_and_no_rest(run: Run, fake: FakeDaemon, tmp_path: Path) -> None:
    target = tmp_path / "all.jsonl"
    target.write_text("old")
    run("add", "tea")
    fake.export_tail = b""

    done = run("export", str(target))

    assert done.exit_code == 1
    assert "was cut off" in done.err
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_export_to_a_place_that_is_not_there_says_so(run: Run, tmp_path: Path) -> None:
    done = run("export", str(tmp_path / "none" / "all.jsonl"))

    assert done.exit_code == 1
    assert "No such file or directory" in done.err
    assert "Traceback" not in done.err


def test_json_and_an_export_cannot_share_standard_output(run: Run) -> None:
    assert run("export", "--json").exit_code == 2


def test_an_import_counts_what_became_of_the_lines(run: Run, fake: FakeDaemon) -> None:
    run("add", "old", "--id", "1")
    text = lines({"content": "new", "id": "1", "colour": "red", "version": 9}, {"content": "x"}, {"content": "x"})

    done = run("import", "-", "--json", stdin=text)

    assert done.json["data"] == {
        "lines": 3,
        "created": 1,
        "updated": 1,
        "duplicate": 1,
        "messages": 0,
        "linked": 0,
        "links_left_out": 0,
        "ignored_fields": {"colour": 1},
        "dry_run": False,
    }
    assert fake.spaces["default"]["1"].content == "new"


def test_running_an_import_again_stores_nothing_twice(run: Run, fake: FakeDaemon) -> None:
    text = lines(*({"content": f"tea {n}", "id": f"{n}"} for n in range(5)))
    run("import", "-", "--batch-size", "2", stdin=text)

    again = run("import", "-", "--batch-size", "2", stdin=text)

    assert again.out == "0 created, 0 updated, 5 there already\n"
    assert {one.version for one in fake.spaces["default"].values()} == {1}


def test_an_import_after_a_deletion_stores_again(run: Run, fake: FakeDaemon) -> None:
    text = lines({"content": "tea", "id": "1"}, {"content": "milk", "id": "2"})
    run("import", "-", stdin=text)
    run("delete", "1", "--yes")

    again = run("import", "-", stdin=text)

    assert again.exit_code == 0
    assert set(fake.spaces["default"]) == {"1", "2"}


def test_batches_are_cut_by_size_and_by_space(run: Run, fake: FakeDaemon) -> None:
    records = [{"content": f"{n}", "space": "a" if n < 3 else "b"} for n in range(5)]

    run("import", "-", "--batch-size", "2", stdin=lines(*records))
    run("import", "-", "--space", "c", stdin=lines(*records))

    batches = [(seen.json["space"], len(seen.json["records"])) for seen in fake.seen]
    assert batches == [("a", 2), ("a", 1), ("b", 2), ("c", 5)]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"{", "line 2: Expecting"),
        (b"[]", "line 2: a line is a JSON object"),
        (b"\xff", "line 2: not UTF-8"),
        (b'{"content": 1}', "line 2: content: Input should be a valid string"),
        (b'{"text": "tea"}', "line 2: no content"),
        (b'{"kind": "semantic"}', "line 2: no content"),
        (b'{"content": "x", "space": 7}', "line 2: space is the name of a space"),
        (b'{"space": {"name": "s"}}', "line 2: "),
        (b'{"content": "x", "value": ' + b"[" * 200_000, "line 2: nested too deeply"),
        (b'{"end": true, "count": 7}', "line 2: the file was cut: it says it holds 7, 1 are there"),
    ],
)
def test_a_bad_line_is_named_and_nothing_after_it_is_stored(
    run: Run, fake: FakeDaemon, bad: bytes, message: str
) -> None:
    text = b'{"content": "tea"}\n' + bad + b'\n{"content": "milk"}\n'

    done = run("import", "-", "--batch-size", "1", stdin=text)
    dry = run("import", "-", "--dry-run", stdin=text)

    assert done.exit_code == dry.exit_code == 1
    assert message in done.err
    assert message in dry.err
    assert "(1 memory stored; running the import again is safe)" in done.err
    assert [one.content for one in fake.spaces["default"].values()] == ["tea"]


def test_a_dry_run_asks_nothing_of_the_daemon(run: Run, fake: FakeDaemon) -> None:
    done = run("import", "-", "--dry-run", stdin=lines({"content": "tea"}, {"content": "milk"}))

    assert done.out == "2 memories can be imported; nothing was stored\n"
    assert fake.seen == []


def test_a_refused_batch_says_which_lines_and_how_much_is_stored(run: Run, fake: FakeDaemon) -> None:
    def refuse_the_second(seen: Seen) -> None:
        if len(fake.seen) == 2:
            fake.planned.append(error(409, "version_conflict"))

    fake.before = refuse_the_second

    done = run("import", "-", "--batch-size", "2", "--json", stdin=lines(*({"content": f"{n}"} for n in range(6))))

    assert done.exit_code == 6
    assert done.json["error"]["message"].startswith("lines 3 to 4: the reason for 409 (2 memories stored")
    assert done.json["error"]["details"]["stored"] == 2


def test_ctrl_c_says_how_much_is_stored(run: Run, fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    from t4dm.sdk.client import T4DMClient

    store = T4DMClient.batch

    def interrupted(self: T4DMClient, request: object) -> object:
        if len(fake.seen) == 1:
            raise KeyboardInterrupt
        return store(self, request)  # type: ignore[arg-type]

    monkeypatch.setattr(T4DMClient, "batch", interrupted)

    done = run("import", "-", "--batch-size", "2", stdin=lines(*({"content": f"{n}"} for n in range(6))))

    assert done.exit_code == 130
    assert "stopped: 2 memories stored; running the import again is safe" in done.err


def test_a_daemon_that_breaks_off_is_told(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, b"<html>", {"content-type": "text/html"})]

    done = run("import", "-", stdin=lines({"content": "tea"}))

    assert done.exit_code == 1
    assert "does not speak T4DM's API" in done.err


def space_line(name: str = "s", embedder: str = "server", model: str | None = "minilm@1") -> dict[str, object]:
    settings = {"dimension": 2, "metric": "cosine", "embedder": embedder, "model": model, "items": 1}
    return {"space": {"name": name, **settings}}


def memory(space: str = "s", vector: list[float] | None = None) -> dict[str, object]:
    return {"id": "1", "content": "tea", "space": space, "vector": vector}


def end(count: int = 1) -> dict[str, object]:
    return {"end": True, "count": count}


def sent_records(fake: FakeDaemon) -> list[dict[str, object]]:
    return [record for seen in fake.seen if seen.path.endswith("/batch") for record in seen.json["records"]]


def test_a_space_comes_back_with_its_settings(run: Run, fake: FakeDaemon) -> None:
    text = lines(space_line("a"), memory("a", [1.0, 0.0]), space_line("b", "client", None), memory("b", [0.0, 1.0]))

    done = run("import", "-", stdin=text + lines(end(2)))

    assert done.exit_code == 0
    assert done.err == ""
    puts = {seen.path: seen.json for seen in fake.seen if seen.method == "PUT"}
    assert puts["/api/v1/spaces/a"] == {"embedder": "server", "metric": "cosine"}
    assert puts["/api/v1/spaces/b"] == {"embedder": "client", "metric": "cosine", "dimension": 2}
    assert [record["vector"] is not None for record in sent_records(fake)] == [True, True]


@pytest.mark.parametrize("model", ["other@2", None])
def test_vectors_of_another_model_are_made_anew_and_it_is_said_once(
    run: Run, fake: FakeDaemon, model: str | None
) -> None:
    records = [memory("s", [1.0, 0.0]), {**memory("s", [0.0, 1.0]), "id": "2"}]

    done = run("import", "-", stdin=lines(space_line(model=model), *records, end(2)))

    assert done.exit_code == 0
    assert done.err.count("embedded anew") == 1
    assert [record.get("vector") for record in sent_records(fake)] == [None, None]


def test_a_memory_without_a_vector_stays_without_one(run: Run, fake: FakeDaemon) -> None:
    empty = {**memory(), "id": "2", "content": ""}
    bare = {"id": "3", "content": "an export without vectors"}

    run("import", "-", stdin=lines(space_line(), memory(), empty, bare, end(3)))
    run("import", "-", stdin=lines({**memory(), "id": "old"}))

    assert [record.get("embed", True) for record in sent_records(fake)] == [False, True, True, True]


def test_a_space_that_is_there_with_other_settings_is_told(run: Run, fake: FakeDaemon) -> None:
    fake.spaces["s"] = {}

    done = run("import", "-", stdin=lines(space_line("s", "client", None), memory("s", [1.0, 0.0]), end()))

    assert done.exit_code == 6
    assert "line 1: space 's' is there with other settings" in done.err
    assert fake.spaces["s"] == {}


@pytest.mark.parametrize(("settings", "keeps"), [({}, True), ({"model": "other@2"}, False), (None, False)])
def test_into_another_space_only_the_model_counts(
    run: Run, fake: FakeDaemon, settings: dict[str, object] | None, keeps: bool
) -> None:
    if settings is not None:
        fake.spaces["x"] = {}
        fake.settings["x"] = settings

    run("import", "-", "--space", "x", stdin=lines(space_line(), memory("s", [1.0, 0.0]), end()))

    assert not [seen for seen in fake.seen if seen.method == "PUT"]
    assert [record.get("vector") is not None for record in sent_records(fake)] == [keeps]


def test_exports_may_follow_each_other(run: Run, fake: FakeDaemon) -> None:
    text = lines(space_line(), memory(), end(), space_line("t"), memory("t"), end())

    assert run("import", "-", stdin=text).exit_code == 0
    assert set(fake.spaces) == {"s", "t"}


@pytest.mark.parametrize("tail", ["", '{"id": "2", "conte'])
def test_an_export_without_its_end_is_imported_and_told(run: Run, fake: FakeDaemon, tail: str) -> None:
    text = lines(space_line(), memory()) + tail

    dry = run("import", "-", "--dry-run", stdin=text)
    done = run("import", "-", stdin=text)

    assert dry.exit_code == done.exit_code == 1
    assert "this export was cut short: 1 memory was imported, the end line is missing" in done.err
    assert "cut short" in dry.err
    assert list(fake.spaces["s"]) == ["1"]


def test_one_line_is_not_called_lines(run: Run, fake: FakeDaemon) -> None:
    fake.planned = [error(409)]

    assert "t4dm: line 1: " in run("import", "-", stdin=lines({"content": "tea"})).err


def test_an_export_goes_through_a_pipe_that_is_there(run: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)

    done = run("export", str(pipe))
    received, _ = reader.communicate(timeout=30)

    assert done.exit_code == 0
    assert received == b'{"end":true,"count":0}\n'
    assert pipe.is_fifo()
    assert run("export", "/dev/null").exit_code == 0
    assert run("export", "/dev/stdout").out == '{"end":true,"count":0}\n'


def test_an_export_follows_a_link_and_keeps_the_mode(run: Run, tmp_path: Path) -> None:
    target, link = tmp_path / "target.jsonl", tmp_path / "link.jsonl"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)

    run("export", str(link))

    assert link.is_symlink()
    assert target.read_text().startswith('{"end"')
    assert target.stat().st_mode & 0o777 == 0o640


def test_an_error_of_an_export_names_the_target(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "none" / "all.jsonl"

    assert run("export", str(target)).err == f"t4dm: {target}: No such file or directory\n"
