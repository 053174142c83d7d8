"""Every file of a flushed store, damaged: refused by name, or built again when it is an index."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from t4dm_daemon.core.errors import CorruptionError, DaemonError
from t4dm_daemon.core.item import Edge, Item
from t4dm_daemon.storage.protocol import Write
from t4dm_daemon.storage.t4dx import Database
from tests.unit.storage.t4dx.items import UnsyncedFileSystem, vectors

ROWS = 60
PAGE_BYTES = 4096
OPTIONS = {"ann_min_rows": 50, "merge_in_background": False, "fs": UnsyncedFileSystem()}


def _fill(root: Path) -> None:
    with Database(root, **OPTIONS) as database:
        engine = database.create_space("notes")
        items = [Item(id=f"{n}", content=f"text {n}", vector=one) for n, one in enumerate(vectors(ROWS))]
        engine.insert([Write(one) for one in items], [Edge("1", "2", "CAUSES", 0.5), Edge("2", "3", "USES")])
        engine.put_blob("model", b"weights")
        engine.compact()


def _read(root: Path) -> list[tuple[str, float]]:
    with Database(root, **OPTIONS) as database:
        engine = database.space("notes")
        assert engine.scan(limit=1).total == ROWS
        assert engine.blob("model") == b"weights"
        assert [(one.id, one.depth) for one in engine.traverse(["1"], depth=2)] == [("2", 1), ("3", 2)]
        return [(hit.item.content, hit.similarity) for hit in engine.search(vectors(1)[0], 5)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store") / "data"
    _fill(root)
    return root


def _files(root: Path) -> list[Path]:
    return sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file() and path.name != "LOCK")


def _copy(store: Path, tmp_path: Path) -> Path:
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    return Path(shutil.copytree(store, tmp_path / "copy"))


def test_the_store_has_every_kind_of_file(store: Path) -> None:
    kinds = {path.name.split("-")[0] for path in _files(store)}

    assert {"FORMAT", "CATALOG", "CURRENT", "MANIFEST", "columns.bin", "blobs.bin", "vectors.f32"} <= kinds
    assert {"index.faiss", "index.text", "edges.bin", "000001", "000000000001.wal"} <= kinds


@pytest.mark.parametrize("damage", ["removed", "emptied", "cut", "grown", "flipped", "zeroed"])
def test_a_damaged_file_is_refused_by_name_or_built_again(store: Path, tmp_path: Path, damage: str) -> None:
    wanted = _read(_copy(store, tmp_path))
    for name in _files(store):
        if damage == "grown" and name.suffix == ".wal":
            continue  # bytes after the end of the log are a torn tail
        root = _copy(store, tmp_path)
        content = bytearray((root / name).read_bytes())
        if damage == "removed":
            (root / name).unlink()
        else:
            if damage == "flipped":
                content[len(content) // 2 if name.suffix != ".wal" else 20] ^= 4
            if damage == "zeroed":  # the page in the middle, as a disk loses it
                page = len(content) // 2 // PAGE_BYTES * PAGE_BYTES if name.suffix != ".wal" else 0
                content[page : page + PAGE_BYTES] = bytes(len(content[page : page + PAGE_BYTES]))
            new = {"emptied": b"", "cut": content[: len(content) // 2], "grown": bytes(content) + b"x"}
            (root / name).write_bytes(new.get(damage, bytes(content)))

        if name.name in ("index.faiss", "index.text"):  # derived: built again
            assert _read(root) == wanted
            continue
        if name.suffix == ".wal" and damage in ("cut", "emptied", "flipped", "zeroed"):
            continue  # see test_wal_truncation
        found, error = _outcome(root)
        if error is None:
            assert found == wanted, name
            assert name.name in ("FORMAT", "CLEAN"), f"{name} {damage}: opened without a word"
        else:
            assert str(root / name.parent) in str(error), (name, error)
            if not (name.name == "FORMAT" and damage == "flipped"):
                assert name.name in str(error) or name.suffix == ".wal", (name, error)


def _outcome(root: Path) -> tuple[list[tuple[str, float]], DaemonError | None]:
    try:
        return _read(root), None
    except DaemonError as error:
        return [], error


def test_every_flipped_byte_of_a_manifest_and_catalog_is_noticed(store: Path, tmp_path: Path) -> None:
    for name in [one for one in _files(store) if one.name == "CATALOG" or one.name.startswith("MANIFEST")]:
        content = (store / name).read_bytes()
        for at in range(0, len(content), 17):
            root = _copy(store, tmp_path)
            (root / name).write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])

            with pytest.raises(CorruptionError, match=name.name):
                _read(root)


def test_leftovers_are_ignored_and_removed(store: Path, tmp_path: Path) -> None:
    root = _copy(store, tmp_path)
    space = root / "spaces" / "1"
    before = _files(root)
    strangers = ["CURRENT.new", "MANIFEST-000099", "cols/000009-9.bin", "state/9.bin", "seg/000009/columns.bin"]
    strangers += ["wal/spare.tmp", "seg/000001/index.tmp"]
    for name in strangers:
        (space / name).parent.mkdir(exist_ok=True, parents=True)
        (space / name).write_bytes(b"leftover")

    _read(root)

    assert _files(root) == before


def test_a_damaged_index_is_built_again_once_and_then_known(store: Path, tmp_path: Path) -> None:
    root = _copy(store, tmp_path)
    (path,) = root.rglob("index.faiss")
    path.write_bytes(b"not an index")
    with Database(root, **OPTIONS) as database:
        database.space("notes").compact()
    built = path.stat().st_mtime_ns

    _read(root)

    assert path.stat().st_mtime_ns == built
