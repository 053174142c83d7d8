from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from t4dm_daemon.embedding.graph_cache import read_or_build

CONTENT = b"a graph" * 100


def must_not_build() -> bytes:
    raise AssertionError("built although the cache was whole")


def test_what_was_built_once_is_read_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "graph"

    built = read_or_build(path, lambda: CONTENT)
    read = read_or_build(path, must_not_build)

    assert built == read == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["graph"]  # no temporary file stays


@pytest.mark.parametrize(
    "damage",
    [
        lambda stored: stored[:-1],
        lambda stored: stored[:40],
        lambda stored: b"",
        lambda stored: stored + b"x",
        lambda stored: stored[:200] + bytes([stored[200] ^ 1]) + stored[201:],
        lambda stored: b"0" + stored[1:] if stored[:1] != b"0" else b"1" + stored[1:],
    ],
    ids=[
        "cut by one byte",
        "cut in the digest",
        "empty",
        "longer",
        "one bit in the content",
        "one digit of the digest",
    ],
)
def test_a_damaged_file_is_built_again_and_replaced(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "graph"
    read_or_build(path, lambda: CONTENT)
    path.write_bytes(damage(path.read_bytes()))

    rebuilt = read_or_build(path, lambda: CONTENT)

    assert rebuilt == CONTENT
    assert read_or_build(path, must_not_build) == CONTENT


def test_a_folder_that_cannot_be_made_costs_a_warning_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")

    with caplog.at_level(logging.WARNING):
        content = read_or_build(tmp_path / "file" / "graph", lambda: CONTENT)

    assert content == CONTENT
    assert any("cache file not written" in record.message for record in caplog.records)


def test_a_full_disk_costs_a_warning_only_and_leaves_nothing_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)

    with caplog.at_level(logging.WARNING):
        content = read_or_build(tmp_path / "graph", lambda: CONTENT)

    assert content == CONTENT
    assert list(tmp_path.iterdir()) == []
    assert any("No space left" in str(record.__dict__.get("reason")) for record in caplog.records)


def test_two_that_build_at_once_both_get_the_content_and_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "graph"
    both_build = threading.Barrier(2, timeout=10)
    contents: list[bytes] = []

    def build() -> bytes:
        both_build.wait()
        return CONTENT

    threads = [threading.Thread(target=lambda: contents.append(read_or_build(path, build))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert contents == [CONTENT, CONTENT]
    assert read_or_build(path, must_not_build) == CONTENT
    assert [entry.name for entry in tmp_path.iterdir()] == ["graph"]
