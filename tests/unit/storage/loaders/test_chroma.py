from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("chromadb", reason="needs chromadb: pip install 't4dm[chroma]'")

import chromadb

from t4dm_daemon.core.errors import InvalidInputError, SourceError
from t4dm_daemon.storage.loaders import ChromaSource, load, validate
from t4dm_daemon.storage.t4dx import T4DXEngine
from tests.unit.storage.loaders.records import vectors

Fill = Callable[..., Path]


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """Make a directory of Chroma with one collection, `notes`."""

    def make(space: str = "cosine", **records: Any) -> Path:
        path = tmp_path / "chroma"
        client = chromadb.PersistentClient(str(path), settings=chromadb.Settings(anonymized_telemetry=False))
        collection = client.create_collection(
            "notes",
            embedding_function=None,
            configuration={"hnsw": {"space": space}},  # type: ignore[typeddict-item]
        )
        if records:
            collection.add(**records)
        client.close()
        return path

    return make


def _records(count: int = 60, scale: float = 1.0) -> dict[str, Any]:
    return {
        "ids": [f"r{number}" for number in range(count)],
        "embeddings": vectors(count) * np.float32(scale),
        "documents": [f"text {number}" for number in range(count)],
        "metadatas": [{"n": number, "flag": True, "share": 0.5, "text": "a key"} for number in range(count)],
    }


def test_a_collection_is_loaded_whole_and_validated(fill: Fill, engine: T4DXEngine) -> None:
    path = fill(**_records(scale=3))

    with ChromaSource(path, "notes") as source:
        report = load(source, engine, batch_size=7)
        checked = validate(source, engine, queries=20, k=5, batch_size=7)
        again = load(source, engine)

    (stored,) = engine.get(["r7"], with_vectors=True)
    assert (report.read, report.created, report.refused, again.unchanged) == (60, 60, 0, 60)
    assert stored is not None
    assert stored.content == "text 7"
    assert json.loads(stored.metadata_json) == {"n": 7, "flag": True, "share": 0.5, "text": "a key"}
    np.testing.assert_allclose(stored.vector, vectors(60)[7] * 3, rtol=1e-6)  # Chroma's own rounding: 2e-7 measured
    assert checked.vector_gap < 1e-6
    assert checked.holds(min_overlap=1.0)
    assert checked.similarity_gap is not None
    assert checked.similarity_gap < 1e-5  # Chroma computes in float32


def test_a_load_goes_on_where_it_stopped(fill: Fill, engine: T4DXEngine, tmp_path: Path) -> None:
    path = fill(**_records())
    asked = iter(range(100))

    with ChromaSource(path, "notes") as source:
        load(source, engine, batch_size=10, resume_file=tmp_path / "at", cancelled=lambda: next(asked) == 3)
    with ChromaSource(path, "notes") as source:
        report = load(source, engine, batch_size=10, resume_file=tmp_path / "at")

    assert report.resumed
    assert (report.read, report.created) == (30, 30)
    assert engine.scan().total == 60


@pytest.mark.parametrize("space", ["l2", "ip"])
def test_another_metric_is_taken_where_its_order_is_the_same(fill: Fill, engine: T4DXEngine, space: str) -> None:
    records = _records()
    records["embeddings"][5] *= 2
    path = fill(space, **records)

    with ChromaSource(path, "notes") as source:
        report = load(source, engine)

    assert (report.created, [one.id for one in report.refusals]) == (59, ["r5"])
    assert "length is not 1" in report.refusals[0].reason


def test_the_order_of_distances_is_that_of_cosines_for_unit_vectors(fill: Fill, engine: T4DXEngine) -> None:
    with ChromaSource(fill("l2", **_records()), "notes") as source:
        load(source, engine)
        report = validate(source, engine, queries=20, k=5)

    assert report.similarity_gap is None
    assert report.holds(min_overlap=1.0)


def test_another_order_is_accepted_only_on_demand(fill: Fill, engine: T4DXEngine) -> None:
    with ChromaSource(fill("l2", **_records(scale=3)), "notes", allow_metric_change=True) as source:
        assert load(source, engine).created == 60


def test_records_without_documents_or_metadata_and_with_uris_are_loaded(fill: Fill, engine: T4DXEngine) -> None:
    path = fill(
        ids=["a", "b", "c"],
        embeddings=[[1, 0], [0, 1], [1, 1]],
        documents=["x", None, None],
        metadatas=[None, {"list": ["p", "q"]}, {"uri": "other"}],
        uris=[None, "file://b", "file://c"],
    )

    with ChromaSource(path, "notes") as source:
        report = load(source, engine)

    stored = {one.id: (one.content, json.loads(one.metadata_json)) for one in engine.scan().items}
    assert stored == {"a": ("x", {}), "b": ("", {"list": ["p", "q"], "uri": "file://b"})}
    assert [one.id for one in report.refusals] == ["c"]
    assert "URI" in report.refusals[0].reason


def test_a_record_that_is_no_memory_is_refused_by_id(fill: Fill, engine: T4DXEngine) -> None:
    path = fill(ids=["zero", "x" * 600, "fine"], embeddings=[[0, 0], [1, 0], [0, 1]])

    with ChromaSource(path, "notes") as source:
        report = load(source, engine)

    assert {one.id for one in report.refusals} == {"zero", "x" * 600}
    assert report.created == 1


def test_an_empty_collection_is_loaded(fill: Fill, engine: T4DXEngine) -> None:
    with ChromaSource(fill(), "notes") as source:
        assert source.dimension is None
        assert load(source, engine).read == 0
        assert validate(source, engine).holds()


def test_what_cannot_be_opened_is_an_error_of_the_source(fill: Fill, tmp_path: Path) -> None:
    path = fill()

    with pytest.raises(SourceError, match=r"no chroma\.sqlite3"):
        ChromaSource(tmp_path, "notes")
    with pytest.raises(SourceError, match="absent"):
        ChromaSource(path, "absent")
    with pytest.raises(SourceError):
        ChromaSource(path, "notes", tenant="nobody")
    with ChromaSource(path, "notes") as source, pytest.raises(InvalidInputError):
        next(source.batches(5, after={"next": 1}))
