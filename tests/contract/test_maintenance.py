"""Every promise about forgetting for good and about the files, once, over HTTP and in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from t4dm._backend import MemoryBackend
from t4dm.sdk import NotFoundError, ValidationError
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm_daemon.runtime import open_embedded


def _store(backend: MemoryBackend, space: str, names: str) -> None:
    records = [m.RecordIn(id=name, content=f"about {name}") for name in names.split()]
    backend.batch(m.BatchRequest(records=records, space=space))


def _link(backend: MemoryBackend, space: str, source: str, target: str) -> None:
    backend.link(g.LinkRequest(edges=[g.EdgeIn(source=source, target=target, type="CAUSES")], space=space))


def test_a_purged_memory_is_forgotten_on_both_time_axes(backend: MemoryBackend, space: str) -> None:
    first = backend.store(m.StoreRequest(id="a", content="one", space=space))
    backend.update("a", m.UpdateRequest(content="two"), space=space)
    _store(backend, space, "b c")
    _link(backend, space, "a", "b")

    backend.delete("a", space=space, purge=True)

    with pytest.raises(NotFoundError):
        backend.history("a", space=space)
    with pytest.raises(NotFoundError):
        backend.get("a", space=space, known_at=first.recorded_at)
    with pytest.raises(NotFoundError):
        backend.delete("a", space=space, purge=True)
    assert backend.links("b", space=space) == []
    assert backend.get("b", space=space).content == "about b"


def test_what_was_deleted_before_can_still_be_purged_by_its_id(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a b c")
    for name in "ab":
        backend.delete(name, space=space)

    backend.delete("a", space=space, purge=True)
    dry = backend.delete_many(m.DeleteRequest(ids=["b", "c", "x"], purge=True, dry_run=True, space=space))
    done = backend.delete_many(m.DeleteRequest(ids=["b", "c", "x"], purge=True, space=space))

    assert (dry.deleted, dry.purged) == (2, 0)
    assert (done.deleted, done.purged) == (2, 2)
    for name in "abc":
        with pytest.raises(NotFoundError):
            backend.history(name, space=space)


def test_a_selection_can_be_purged_and_leaves_the_rest_its_history(backend: MemoryBackend, space: str) -> None:
    for name in "abc":
        kind: m.Kind = "semantic" if name == "a" else "episodic"
        backend.store(m.StoreRequest(id=name, content=name, kind=kind, space=space))
        backend.update(name, m.UpdateRequest(content=f"{name} again"), space=space)
    backend.delete("c", space=space)

    answer = backend.delete_many(m.DeleteRequest(kind="semantic", purge=True, space=space))

    assert (answer.deleted, answer.purged) == (1, 2)
    assert len(backend.history("b", space=space)) == 2
    assert [entry.event for entry in backend.history("c", space=space)] == ["ADD", "UPDATE", "DELETE"]
    with pytest.raises(NotFoundError):
        backend.history("a", space=space)


def test_flush_and_compact_keep_everything_and_leave_purged_rows_out(backend: MemoryBackend, space: str) -> None:
    for part in ("a b", "c d", "e f"):
        _store(backend, space, part)
        backend.flush(space=space)
    _link(backend, space, "a", "c")
    _link(backend, space, "c", "e")
    backend.delete_many(m.DeleteRequest(ids=["b", "d"], purge=True, space=space))

    (report,) = backend.compact(space=space, everything=True)

    assert (report.space, report.segments_after) == (space, 1)
    assert report.segments_before >= 3
    assert (report.rows_before, report.rows_after) == (6, 4)
    assert [one.id for one in backend.list(m.ListRequest(order_by="insertion", space=space)).results] == list("acef")
    assert [node.id for node in backend.traverse(g.TraverseRequest(start="a", depth=2, space=space)).nodes] == [
        "c",
        "e",
    ]
    (mine,) = [one for one in backend.stats().spaces if one.space == space]
    assert (mine.segments, mine.versions, mine.edges) == (1, 4, 2)
    assert space in {one.space for one in backend.compact()}
    backend.flush()
    for refused in (lambda: backend.flush(space="nowhere"), lambda: backend.compact(space="nowhere")):
        with pytest.raises(NotFoundError):
            refused()


def test_a_backup_is_the_store_as_it_was(backend: MemoryBackend, space: str, tmp_path: Path) -> None:
    _store(backend, space, "a b")
    _link(backend, space, "a", "b")
    backend.flush(space=space)
    _store(backend, space, "c")

    report = backend.backup(path=str(tmp_path / "copy"))
    backend.delete_many(m.DeleteRequest(ids=["a", "c"], purge=True, space=space))
    backend.compact(space=space, everything=True)

    assert report.path == str(tmp_path / "copy")
    assert report.files >= 3
    opened = open_embedded(tmp_path / "copy", embedding_model="hashing", cache_path=tmp_path / "cache")
    try:
        assert {one.id for one in opened.list(m.ListRequest(space=space)).results} == set("abc")
        assert [edge.target for edge in opened.links("a", direction="out", space=space)] == ["b"]
    finally:
        opened.close()


def test_a_backup_without_a_place_goes_beside_the_store(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a")

    first, second = backend.backup(), backend.backup()

    home = Path(backend.health().storage_path).parent
    assert Path(first.path).parent == Path(second.path).parent == home / "backups"
    assert first.path < second.path


def test_a_backup_replaces_nothing_and_its_path_is_absolute(
    backend: MemoryBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")

    wrong = [str(tmp_path / "full"), "relative", "", "/dev/null/below", "/proc/none/below", f"/{'x' * 300}", "/a\0b"]
    for path in wrong:
        with pytest.raises(ValidationError):
            backend.backup(path=path)

    assert (tmp_path / "full" / "file").read_text() == "mine"
    assert not (tmp_path / "relative").exists()


def test_a_store_that_is_whole_is_verified_so(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "a b")
    backend.flush(space=space)

    report = backend.verify()

    assert report.is_sound, report.problems
    assert report.files >= 1
    assert report.size_bytes > 0
