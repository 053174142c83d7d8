"""What must hold when two do something at once, over the service in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from t4dm._backend import MemoryBackend
from t4dm.sdk import ConflictError, NotFoundError, T4DMError, ValidationError
from t4dm.sdk import models as m
from t4dm_daemon.embedding.hashing import HashingEmbedder
from t4dm_daemon.runtime import open_embedded


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[MemoryBackend]:
    opened = open_embedded(tmp_path / "store", embedding_model="hashing", cache_path=tmp_path / "cache")
    yield opened
    opened.close()


def test_a_change_in_place_survives_an_update_of_the_text_under_way(
    backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.store(m.StoreRequest(id="a", content="one"))
    embedding, go_on = threading.Event(), threading.Event()
    embed = HashingEmbedder.embed

    def slowly(self: HashingEmbedder, texts: list[str]) -> object:
        if "two" in texts:
            embedding.set()
            assert go_on.wait(10.0)
        return embed(self, texts)

    monkeypatch.setattr(HashingEmbedder, "embed", slowly)
    expires = datetime(2100, 1, 1, tzinfo=UTC)
    with ThreadPoolExecutor(1) as pool:
        update = pool.submit(backend.update, "a", m.UpdateRequest(content="two"))
        assert embedding.wait(10.0)
        backend.update("a", m.UpdateRequest(pinned=True, importance=0.9, expires_at=expires))
        backend.touch(m.TouchRequest(ids=["a"]))
        go_on.set()
        update.result(10.0)

    memory = backend.get("a")
    assert (memory.content, memory.version) == ("two", 2)
    assert (memory.pinned, memory.importance, memory.expires_at, memory.access_count) == (True, 0.9, expires, 1)


def test_touches_beside_updates_are_all_counted(backend: MemoryBackend) -> None:
    backend.store(m.StoreRequest(id="a", content="x"))

    def touch() -> None:
        for _ in range(40):
            backend.touch(m.TouchRequest(ids=["a"]))

    def change() -> None:
        for number in range(20):
            backend.update("a", m.UpdateRequest(metadata={threading.current_thread().name: number}))
            record = m.RecordIn(id="a", metadata={"merged": number})
            backend.batch(m.BatchRequest(records=[record], on_conflict="merge"))

    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(touch), pool.submit(touch), pool.submit(change), pool.submit(change)]:
            job.result(30.0)
    assert backend.get("a").access_count == 80


def test_a_text_that_is_deleted_while_it_is_stored_again_is_still_found_by_meaning(backend: MemoryBackend) -> None:
    stop = threading.Event()

    def delete() -> None:
        while not stop.wait(0.001):
            backend.delete_many(m.DeleteRequest(all=True))

    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(delete)
        try:
            stored = [backend.store(m.StoreRequest(content="the same text")) for _ in range(300)]
        finally:
            stop.set()
        deleting.result(30.0)
    known = {one.id for one in stored}
    for entry in (entry for one in known for entry in backend.history(one) if entry.event == "ADD"):
        assert entry.new is not None
        found = backend.get(entry.new.id, known_at=entry.new.recorded_at, include_vector=True)
        assert found.vector is not None


def test_deleting_the_default_space_beside_writes_leaves_it_as_it_is_meant_to_be(backend: MemoryBackend) -> None:
    stop = threading.Event()
    refused: set[str] = set()

    def write(vector: list[float] | None) -> None:
        while not stop.wait(0.001):  # a writer that never rests would keep the interpreter from everyone else
            try:
                backend.store(m.StoreRequest(content="x", vector=vector, dedup="off"))
            except T4DMError as error:
                refused.add(error.code)

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, None), pool.submit(write, [1.0, 2.0, 3.0])]
        try:
            for _ in range(40):
                backend.delete_space("default")
        finally:
            stop.set()
        for writer in writers:
            writer.result(30.0)
    assert backend.get_space("default").embedder == "server"
    assert refused <= {"dimension_mismatch", "not_found", "storage_closed"}


def test_a_request_that_fails_leaves_no_space_behind(backend: MemoryBackend) -> None:
    mixed = [m.RecordIn(vector=[1.0, 2.0]), m.RecordIn(content="text")]
    unequal = [m.RecordIn(vector=[1.0, 2.0]), m.RecordIn(vector=[1.0, 2.0, 3.0])]
    for records in (mixed, unequal):
        with pytest.raises(ConflictError):
            backend.batch(m.BatchRequest(records=records, space="new"))
    with pytest.raises(ValidationError):
        backend.store(m.StoreRequest(vector=[0.0, 0.0], space="new"))
    backend.batch(m.BatchRequest(records=[], space="new"))
    with pytest.raises(NotFoundError):
        backend.get_space("new")


def test_a_merge_never_keeps_the_vector_of_another_text(backend: MemoryBackend) -> None:
    backend.store(m.StoreRequest(id="a", content="cats and dogs"))
    backend.store(m.StoreRequest(id="silent", content="cats and dogs", embed=False))

    def merge(record: m.RecordIn) -> None:
        backend.batch(m.BatchRequest(records=[record], on_conflict="merge"))

    merge(m.RecordIn(id="a", content="the market crashed", embed=False))
    merge(m.RecordIn(id="silent", metadata={"seen": True}))
    assert backend.search(m.SearchRequest(query="cats and dogs", mode="vector")).results == []
    merge(m.RecordIn(id="a", content="the market rose"))
    assert [hit.memory.id for hit in backend.search(m.SearchRequest(query="market", mode="vector")).results] == ["a"]


@pytest.mark.parametrize("name", ["", "x" * 600, "\ud800"])
def test_embedded_mode_refuses_the_names_that_http_refuses(backend: MemoryBackend, name: str) -> None:
    with pytest.raises(ValidationError):
        backend.create_space(name)


def test_wrong_settings_are_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="nope"):
        open_embedded(tmp_path / "store", nope=5)
