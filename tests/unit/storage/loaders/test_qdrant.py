from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qdrant_client", reason="needs qdrant-client: pip install 't4dm[qdrant]'")

from qdrant_client import QdrantClient, models

from t4dm_daemon.core.errors import DimensionMismatchError, InvalidInputError, SourceError
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.loaders import QdrantSource, Refusal, load, validate
from t4dm_daemon.storage.t4dx import Database, T4DXEngine
from tests.unit.storage.loaders.records import vectors

COSINE = models.Distance.COSINE


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


def _collection(client: QdrantClient, count: int = 60, *, distance: models.Distance = COSINE, scale: float = 3) -> None:
    client.create_collection("notes", vectors_config=models.VectorParams(size=8, distance=distance))
    points = [
        models.PointStruct(
            id=number if number % 2 else str(uuid.UUID(int=number)),
            vector=(row * scale).tolist(),
            payload={"text": f"text {number}", "n": number, "deep": {"tags": ["a", None, 1.5]}},
        )
        for number, row in enumerate(vectors(count))
    ]
    client.upsert("notes", points)


def _read(source: QdrantSource, size: int = 100) -> tuple[list[Item], list[Refusal]]:
    batches = list(source.batches(size))
    return [one for batch in batches for one in batch.items], [one for batch in batches for one in batch.refused]


def test_a_collection_is_loaded_whole_and_validated(client: QdrantClient, engine: T4DXEngine) -> None:
    _collection(client)
    source = QdrantSource("notes", client=client)

    report = load(source, engine, batch_size=7)
    checked = validate(source, engine, queries=20, k=5, batch_size=7)

    (stored,) = engine.get(["7"], with_vectors=True)
    assert (report.read, report.created, report.refused) == (60, 60, 0)
    assert stored is not None
    assert stored.content == "text 7"
    assert json.loads(stored.metadata_json) == {"n": 7, "deep": {"tags": ["a", None, 1.5]}}
    assert np.linalg.norm(stored.vector) == pytest.approx(1.0)
    assert checked.holds(min_overlap=1.0)
    assert checked.sampled == 60
    assert checked.similarity_gap is not None
    assert checked.similarity_gap < 1e-5  # Qdrant computes in float32
    assert load(source, engine).unchanged == 60


def test_a_load_goes_on_where_it_stopped(client: QdrantClient, engine: T4DXEngine, tmp_path: Path) -> None:
    _collection(client)
    source = QdrantSource("notes", client=client)
    asked = iter(range(100))

    load(source, engine, batch_size=10, resume_file=tmp_path / "at", cancelled=lambda: next(asked) == 3)
    report = load(source, engine, batch_size=10, resume_file=tmp_path / "at")

    assert report.resumed
    assert (report.read, report.created) == (30, 30)
    assert engine.scan().total == 60


def test_a_local_directory_is_loaded(tmp_path: Path, engine: T4DXEngine) -> None:
    client = QdrantClient(path=str(tmp_path / "qdrant"))
    _collection(client)
    client.close()

    with QdrantSource("notes", path=tmp_path / "qdrant") as source:
        report = load(source, engine)
        assert validate(source, engine, queries=10).holds(min_overlap=1.0)
        source.close()

    assert report.created == 60
    assert str(tmp_path / "qdrant") in source.name


def test_what_cannot_be_opened_is_an_error_of_the_source(tmp_path: Path, client: QdrantClient) -> None:
    with pytest.raises(SourceError, match=r"no meta\.json"):
        QdrantSource("notes", path=tmp_path)
    with pytest.raises(SourceError, match="notes"):
        QdrantSource("notes", client=client)
    with pytest.raises(SourceError):
        QdrantSource("notes", url="http://127.0.0.1:1", timeout_s=2)
    with pytest.raises(InvalidInputError):
        QdrantSource("notes")
    assert list(tmp_path.iterdir()) == []


def test_a_point_that_is_no_memory_is_refused_by_id(client: QdrantClient, engine: T4DXEngine) -> None:
    client.create_collection("notes", vectors_config=models.VectorParams(size=2, distance=COSINE))
    client.upsert(
        "notes",
        [
            models.PointStruct(id=1, vector=[1, 0], payload={"text": "fine"}),
            models.PointStruct(id=2, vector=[0, 0], payload={}),
            models.PointStruct(id=3, vector=[1, 0], payload={"long": "x" * 70_000}),
            models.PointStruct(id=4, vector={}, payload={"text": "no vector"}),
        ],
    )

    report = load(QdrantSource("notes", client=client), engine)

    assert {one.id for one in report.refusals} == {"2", "3"}
    assert (report.read, report.created, report.bare) == (4, 2, 1)
    assert any("zero" in reason for reason in report.reasons)


def test_of_several_vectors_one_is_chosen_and_the_others_left_only_on_demand(client: QdrantClient) -> None:
    client.create_collection(
        "notes",
        vectors_config={
            "x": models.VectorParams(size=2, distance=COSINE),
            "y": models.VectorParams(size=3, distance=COSINE),
        },
        sparse_vectors_config={"words": models.SparseVectorParams()},
    )
    client.upsert("notes", [models.PointStruct(id=1, vector={"x": [3, 4], "y": [1, 0, 0]}, payload={})])

    with pytest.raises(InvalidInputError, match="choose one with vector_name"):
        QdrantSource("notes", client=client)
    with pytest.raises(InvalidInputError, match="'y', 'words'"):
        QdrantSource("notes", client=client, vector_name="x")
    source = QdrantSource("notes", client=client, vector_name="x", drop_other_vectors=True)
    items, refused = _read(source)
    assert source.dimension == 2
    assert refused == []
    assert items[0].vector is not None
    assert items[0].vector.tolist() == pytest.approx([0.6, 0.8])
    assert [hit.id for hit in source.search(np.array([1, 0], np.float32), 1) or []] == ["1"]


def test_sparse_and_multi_vectors_alone_are_refused(client: QdrantClient) -> None:
    client.create_collection("sparse", vectors_config={}, sparse_vectors_config={"s": models.SparseVectorParams()})
    multi = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    client.create_collection(
        "multi", vectors_config=models.VectorParams(size=2, distance=COSINE, multivector_config=multi)
    )

    with pytest.raises(InvalidInputError, match="no dense vectors"):
        QdrantSource("sparse", client=client)
    with pytest.raises(InvalidInputError, match="multivector"):
        QdrantSource("multi", client=client)


@pytest.mark.parametrize("distance", [models.Distance.DOT, models.Distance.EUCLID])
def test_another_metric_is_taken_where_its_order_is_the_same(
    client: QdrantClient, database: Database, distance: models.Distance
) -> None:
    _collection(client, distance=distance, scale=1)
    client.upsert("notes", [models.PointStruct(id=1001, vector=[2.0] * 8, payload={})])
    source = QdrantSource("notes", client=client)
    engine = database.create_space("strict")

    report = load(source, engine)

    assert (report.created, [one.id for one in report.refusals]) == (60, ["1001"])
    assert "length is not 1" in report.refusals[0].reason
    client.delete("notes", [1001])
    assert validate(source, engine, queries=20).holds(min_overlap=1.0)


def test_another_order_is_accepted_only_on_demand(client: QdrantClient, engine: T4DXEngine) -> None:
    _collection(client, distance=models.Distance.MANHATTAN)

    with pytest.raises(InvalidInputError, match="Manhattan"):
        QdrantSource("notes", client=client)
    assert load(QdrantSource("notes", client=client, allow_metric_change=True), engine).created == 60


def test_a_space_of_another_dimension_is_refused_before_anything_is_read(
    client: QdrantClient, database: Database
) -> None:
    _collection(client)

    with pytest.raises(DimensionMismatchError):
        load(QdrantSource("notes", client=client), database.create_space("small", dimension=3))


def test_the_text_is_taken_from_the_key_that_is_named(client: QdrantClient) -> None:
    client.create_collection("notes", vectors_config=models.VectorParams(size=2, distance=COSINE))
    client.upsert("notes", [models.PointStruct(id=1, vector=[1, 0], payload={"page_content": "p", "text": "t"})])

    items, _ = _read(QdrantSource("notes", client=client, text_key="page_content"))

    assert (items[0].content, items[0].metadata_json) == ("p", b'{"text":"t"}')


# Over HTTP ----------------------------------------------------------------------------------------------


class _Server:
    """The five calls of Qdrant's REST API that a load makes, answered from a local client.

    No Qdrant server can be installed from PyPI; what this shows is that the client's HTTP side is used rightly.
    """

    def __init__(self, client: QdrantClient) -> None:
        self.client = client
        self.broken = False
        self.keys: set[str | None] = set()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, body: dict[str, Any]) -> Any:
        name = path.split("/")[2]
        with self._lock:
            if path.endswith("/points/scroll"):
                points, after = self.client.scroll(
                    name, limit=body["limit"], offset=body.get("offset"), with_vectors=body["with_vector"]
                )
                return {"points": [one.model_dump(mode="json") for one in points], "next_page_offset": after}
            if path.endswith("/points/count"):
                return {"count": self.client.count(name).count}
            if path.endswith("/points/query"):
                return self.client.query_points(name, query=body["query"]["nearest"], limit=body["limit"]).model_dump(
                    mode="json"
                )
            return self.client.get_collection(name).model_dump(mode="json")

    def _handler(outer) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply({})

            def do_POST(self) -> None:
                self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _reply(self, body: dict[str, Any]) -> None:
                outer.keys.add(self.headers.get("api-key"))
                if outer.broken:
                    status, answer = 503, {"status": {"error": "overloaded"}}
                else:
                    status, answer = 200, {"result": outer.answer(self.path, body), "status": "ok", "time": 0.0}
                raw = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture
def server(client: QdrantClient) -> Iterator[_Server]:
    server = _Server(client)
    yield server
    server.close()


def test_a_server_is_loaded_over_http(server: _Server, engine: T4DXEngine) -> None:
    _collection(server.client)

    with QdrantSource("notes", url=server.url, timeout_s=10) as source:
        report = load(source, engine, batch_size=7)
        checked = validate(source, engine, queries=5, k=5)

    assert (report.created, report.refused) == (60, 0)
    assert checked.holds(min_overlap=1.0)
    assert server.url in source.name


def test_a_server_that_fails_in_the_middle_is_gone_on_with(server: _Server, engine: T4DXEngine, tmp_path: Path) -> None:
    _collection(server.client)
    resume = tmp_path / "at"

    def break_down(report: Any, total: int | None) -> None:
        server.broken = report.read == 40

    with QdrantSource("notes", url=server.url, timeout_s=10) as source:
        with pytest.raises(SourceError, match="503"):
            load(source, engine, batch_size=20, resume_file=resume, progress=break_down)
        server.broken = False
        report = load(source, engine, batch_size=20, resume_file=resume)

    assert (report.resumed, report.created) == (True, 20)
    assert engine.scan().total == 60
