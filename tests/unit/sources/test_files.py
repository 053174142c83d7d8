"""Files, zips and folders as sources."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import pytest

from t4dm_daemon.core.errors import SourceError
from t4dm_daemon.sources import files as files_module
from t4dm_daemon.sources.entries import Unstored
from t4dm_daemon.sources.files import Files, plain_size, walk
from tests.support.foreign_exports import in_zip


def test_a_gzip_file_is_read_as_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(gzip.compress(b"one\ntwo\n"))
    files = Files()

    with files.open(path) as stream:
        assert stream.read() == b"one\ntwo\n"

    assert files.read_bytes == 8
    assert plain_size(path) is None


@pytest.mark.parametrize("packer", ["gzip", "zip"])
def test_what_unpacks_to_far_more_than_it_is_is_refused_before_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packer: str
) -> None:
    monkeypatch.setattr(files_module, "FREE_BYTES", 1024 * 1024)
    bomb = b"0" * (50 * 1024 * 1024)
    path = tmp_path / "bomb"
    files = Files()
    if packer == "gzip":
        path.write_bytes(gzip.compress(bomb))
        stream = files.open(path)
    else:
        stream = files.documents(in_zip(path, bomb__json=bomb), r"bomb\.json")[0].open()

    with stream, pytest.raises(SourceError, match="unpacks to more than"):
        list(iter(lambda: stream.read(1024 * 1024), b""))

    assert files.read_bytes < 15 * 1024 * 1024


def test_a_member_of_a_zip_is_found_wherever_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "e.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../etc/conversations.json", "[]")  # a name is a name: nothing is unpacked to disk
        archive.writestr("__MACOSX/conversations.json", "x")
        archive.writestr("user.json", "{}")

    (found,) = Files().documents(path, r"conversations\.json")

    with found.open() as stream:
        assert stream.read() == b"[]"


@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_a_damaged_zip_is_told(tmp_path: Path, damage: str) -> None:
    path = in_zip(tmp_path / "e.zip", conversations__json=os.urandom(200_000))
    data = path.read_bytes()
    path.write_bytes(data[:100_000] if damage == "cut" else data[:500] + b"\0" * 1000 + data[1500:])

    def read() -> bytes:
        with Files().documents(path, r"conversations\.json")[0].open() as stream:
            return stream.read()

    with pytest.raises(SourceError, match="cannot be unpacked"):
        read()


def test_a_missing_file_a_folder_and_a_zip_without_the_member_are_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        Files().open(tmp_path / "none")
    with pytest.raises(SourceError, match=r"directory|folder"):
        Files().open(tmp_path)
    with pytest.raises(SourceError, match="holds no file named like"):
        Files().documents(in_zip(tmp_path / "e.zip", user__json={}), r"conversations\.json")


def test_a_folder_is_walked_in_order_and_no_link_leads_out_of_it(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside.md", tmp_path / "notes"
    (root / "sub").mkdir(parents=True)
    (root / ".hidden").mkdir()
    outside.write_text("secret")
    for name in ("b.md", "a.md", "sub/c.md", ".hidden/d.md", "e.txt"):
        (root / name).write_text("x")
    (root / "link.md").symlink_to(outside)
    (root / "inner.md").symlink_to(root / "a.md")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.md")

    found = list(walk(root, r".+\.md"))

    assert [one.name for one in found if isinstance(one, Path)] == ["a.md", "b.md", "inner.md", "c.md"]
    assert {(one.place, one.reason) for one in found if isinstance(one, Unstored)} == {
        ("link.md", "a link that leads out of the folder"),
        ("pipe.md", "not a file"),
    }
