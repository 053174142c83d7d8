"""`t4dm import`: other stores, into a space."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t4dm_daemon.core.item import Item
from t4dm_daemon.memory.dedup import content_hash
from t4dm_daemon.memory.spaces import Spaces
from t4dm_daemon.storage.loaders import JsonlSource
from t4dm_daemon.storage.protocol import Write
from t4dm_daemon.storage.t4dx import Database
from tests.unit.cli.conftest import Done, Run
from tests.unit.cli.test_command_line import at_a_terminal

Migrate = Callable[..., Done]
DIMENSION = 8


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def migrate(run: Run, store: Path, monkeypatch: pytest.MonkeyPatch) -> Migrate:
    monkeypatch.setenv("T4DM_STORAGE_PATH", str(store))
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    return lambda *arguments: run("import", *map(str, arguments))


def vectors(count: int, *, seed: int = 5) -> list[list[float]]:
    numbers = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    unit = numbers / np.linalg.norm(numbers, axis=1, keepdims=True)
    return [[float(one) for one in row] for row in unit.astype(np.float32)]


def records(count: int = 40) -> list[dict[str, Any]]:
    return [
        {"id": f"r{n}", "text": f"text {n}", "embedding": row, "metadata": {"n": n}}
        for n, row in enumerate(vectors(count))
    ]


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return write(tmp_path / "notes.jsonl", records())


def stored(store: Path, space: str, *ids: str) -> list[Item | None]:
    with Database(store) as database:
        return list(database.space(space).get(ids, with_vectors=True))


def test_lines_become_a_space_like_one_that_callers_fill_and_are_compared(
    migrate: Migrate, notes: Path, store: Path
) -> None:
    done = migrate("vectors", notes)

    assert done.exit_code == 0, done.err
    assert done.out.splitlines() == [
        "space notes: 40 created, 0 updated, 0 there already",
        "compared: 40 records, largest vector gap 0.0e+00; 100 queries, overlap@10 1.000 on average, 1.000 at worst",
    ]
    with Database(store) as database:
        assert database.attributes("notes") == {
            "embedder": "client",
            "model": None,
            "metric": "cosine",
            "dimension": DIMENSION,
        }
    (item,) = stored(store, "notes", "r7")
    assert item is not None
    assert (item.content, json.loads(item.metadata_json)) == ("text 7", {"n": 7})
    assert item.content_hash == content_hash("text 7", (None,) * 5, ())


def test_a_second_run_stores_nothing_and_says_so_in_json(migrate: Migrate, notes: Path) -> None:
    migrate("vectors", notes)

    again = migrate("vectors", notes, "--json")

    data = again.json["data"]
    assert again.exit_code == 0
    assert (data["read"], data["created"], data["updated"], data["unchanged"]) == (40, 0, 0, 40)
    assert (data["space"], data["dimension"], data["refusals"]) == ("notes", DIMENSION, [])
    assert data["validation"]["holds"]
    assert (data["validation"]["queries"], data["validation"]["mean_overlap"]) == (100, 1.0)


def test_refused_records_are_counted_and_the_first_twenty_named(migrate: Migrate, tmp_path: Path) -> None:
    bad = [{"id": f"bad{n}", "text": "x", "embedding": [0.0] * DIMENSION} for n in range(25)]
    file = write(tmp_path / "mixed.jsonl", [*records(5), *bad, {"id": "odd", "colour": "red", "text": "x"}])

    done = migrate("vectors", file)
    as_json = migrate("vectors", file, "--json")

    assert done.exit_code == as_json.exit_code == 1
    assert done.out.startswith("space mixed: 5 created, 0 updated, 0 there already, 26 refused\n")
    assert "26 records not stored:\n  25 × the vector is zero" in done.err
    assert "1 × unknown field 'colour'; put it into the metadata, or add --unknown metadata" in done.err
    assert "bad19: the vector is zero" in done.err
    assert "bad20:" not in done.err
    assert len(as_json.json["data"]["refusals"]) == 20
    assert sorted(as_json.json["data"]["reasons"].values()) == [1, 25]


def test_unknown_fields_go_into_the_metadata_when_asked(migrate: Migrate, tmp_path: Path, store: Path) -> None:
    file = write(tmp_path / "odd.jsonl", [{**records(1)[0], "colour": "red"}])

    done = migrate("vectors", file, "--unknown", "metadata", "--space", "elsewhere", "--no-validate")

    (item,) = stored(store, "elsewhere", "r0")
    assert done.out == "space elsewhere: 1 created, 0 updated, 0 there already\n"
    assert item is not None
    assert json.loads(item.metadata_json) == {"n": 0, "colour": "red"}


@pytest.mark.parametrize(
    ("on_conflict", "content", "exit_code", "said"),
    [
        ("replace", "text 0", 0, "1 updated"),
        ("keep", "other", 0, "1 kept as they were"),
        ("refuse", "other", 1, "1 refused"),
    ],
)
def test_an_id_that_holds_something_else_is_replaced_kept_or_refused(
    migrate: Migrate, notes: Path, store: Path, on_conflict: str, content: str, exit_code: int, said: str
) -> None:
    migrate("vectors", notes)
    with Database(store) as database:
        database.space("notes").insert([Write(Item(id="r0", content="other", vector=np.ones(DIMENSION, np.float32)))])

    done = migrate("vectors", notes, "--on-conflict", on_conflict)

    (item,) = stored(store, "notes", "r0")
    assert done.exit_code == exit_code
    assert said in done.out
    assert item is not None
    assert item.content == content


def test_of_lines_with_one_id_the_last_is_what_is_compared(migrate: Migrate, tmp_path: Path, store: Path) -> None:
    lines = records(20)
    file = write(tmp_path / "twice.jsonl", [{**lines[3], "text": "an older text"}, *lines])

    done = migrate("vectors", file)

    (item,) = stored(store, "twice", "r3")
    assert done.exit_code == 0, done.out
    assert item is not None
    assert item.content == "text 3"


def test_into_a_space_with_memories_of_elsewhere_no_queries_are_compared(
    migrate: Migrate, notes: Path, tmp_path: Path
) -> None:
    migrate("vectors", notes)
    more = [
        {**one, "id": f"more{n}", "embedding": row}
        for n, (one, row) in enumerate(zip(records(30), vectors(30, seed=6), strict=True))
    ]

    done = migrate("vectors", write(tmp_path / "more.jsonl", more), "--space", "notes")

    assert done.exit_code == 0
    assert "memories of elsewhere" in done.out
    assert "overlap" not in done.out


def test_memories_of_which_the_truth_or_the_time_has_ended_are_compared_too(migrate: Migrate, tmp_path: Path) -> None:
    ended = {"valid_to": "2020-01-01T00:00:00Z", "expires_at": "2020-01-01T00:00:00Z"}
    file = write(tmp_path / "old.jsonl", [{**one, **(ended if n % 2 else {})} for n, one in enumerate(records())])

    done = migrate("vectors", file)

    assert done.exit_code == 0
    assert "overlap@10 1.000 on average" in done.out


def test_a_comparison_that_does_not_hold_ends_with_1(
    migrate: Migrate, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from t4dm_daemon.cli.importing import migration
    from t4dm_daemon.storage.loaders import Difference, ValidationReport

    def other(*_: object, **__: object) -> ValidationReport:
        return ValidationReport(
            "x", 10, missing=1, missing_ids=["r1"], sampled=1, differing=[Difference("r2", ["vector"])]
        )

    monkeypatch.setattr(migration, "validate", other)

    done = migrate("vectors", notes)

    assert done.exit_code == 1
    assert done.out.splitlines()[2:] == [
        "missing: 1 record: r1",
        "different: r2: vector",
        "the space is not what the source is",
    ]


def test_texts_without_vectors_are_stored_and_told(migrate: Migrate, tmp_path: Path) -> None:
    done = migrate("vectors", write(tmp_path / "bare.jsonl", [{"id": "a", "text": "tea"}, *records(3)]))

    assert done.exit_code == 0
    assert "1 memory without a vector: found by filter, not by meaning" in done.err
    assert "t4dm import" in done.err


def test_a_store_that_is_in_use_is_answered_with_who_has_it(migrate: Migrate, notes: Path, store: Path) -> None:
    with Database(store, owner={"url": "http://127.0.0.1:8765"}):
        done = migrate("vectors", notes)
        as_json = migrate("vectors", notes, "--json")

    assert done.exit_code == as_json.exit_code == 1
    assert f"{store} is in use by" in done.err
    assert str(os.getpid()) in done.err
    assert "Stop the daemon, then run this again" in done.err
    assert as_json.json["error"]["code"] == "storage_locked"


def test_a_space_that_the_daemon_embeds_is_refused(migrate: Migrate, notes: Path, store: Path) -> None:
    with Database(store) as database:
        Spaces(database).adopt_embedder("minilm@1", DIMENSION, "minilm")
        database.create_space("notes", embedder="server", model="minilm@1", metric="cosine", dimension=DIMENSION)

    done = migrate("vectors", notes)
    default = migrate("vectors", notes, "--space", "default")

    assert done.exit_code == 6
    assert "embedded by the daemon with minilm@1" in done.err
    assert default.exit_code == 2
    assert "choose another with --space" in default.err


def test_another_dimension_than_the_space_has_is_refused_before_anything_is_stored(
    migrate: Migrate, notes: Path, store: Path
) -> None:
    with Database(store) as database:
        Spaces(database).create("notes", embedder="client", dimension=3)

    done = migrate("vectors", notes)

    assert done.exit_code == 6
    assert "space 'notes' holds vectors of dimension 3, the given vector has 8" in done.err
    assert stored(store, "notes", "r0") == [None]


def test_a_space_without_a_dimension_takes_the_first_one(migrate: Migrate, notes: Path, store: Path) -> None:
    with Database(store) as database:
        Spaces(database).create("notes", embedder="client", dimension=None)

    assert migrate("vectors", notes, "--json").json["data"]["dimension"] == DIMENSION


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--on-conflict", "merge"], "--on-conflict is replace, keep or refuse"),
        (["--unknown", "drop"], "--unknown is refuse or metadata"),
        (["--space", ""], "a label is not empty"),
        (["--space", "x" * 600], "at most 512 bytes"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(migrate: Migrate, notes: Path, arguments: list[str], message: str) -> None:
    done = migrate("vectors", notes, *arguments)

    assert done.exit_code == 2
    assert message in done.err


def test_a_file_that_is_not_there_makes_no_store(migrate: Migrate, tmp_path: Path, store: Path) -> None:
    done = migrate("vectors", tmp_path / "none.jsonl")

    assert done.exit_code == 1
    assert "none.jsonl cannot be read: No such file or directory" in done.err
    assert not store.exists()


def test_an_export_that_was_cut_short_is_told_with_what_is_stored(
    migrate: Migrate, tmp_path: Path, store: Path
) -> None:
    file = write(tmp_path / "cut.jsonl", [{"space": {"name": "s"}}, *records(3)])

    done = migrate("vectors", file)

    assert done.exit_code == 1
    assert "this export was cut short" in done.err
    assert "(3 memories stored; run it again to go on" in done.err
    assert None not in stored(store, "cut", "r0", "r1", "r2")


def test_ctrl_c_stops_between_batches_and_says_how_to_go_on(
    migrate: Migrate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "many.jsonl", records(600))
    read = JsonlSource.batches

    def pressed_after_the_first(self: JsonlSource, size: int, **options: Any) -> Any:
        for batch in read(self, size, **options):
            yield batch
            os.kill(os.getpid(), signal.SIGINT)

    # Not ignored, also where the tests run in the background.
    before = signal.default_int_handler
    given = signal.signal(signal.SIGINT, before)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(JsonlSource, "batches", pressed_after_the_first)
            stopped = migrate("vectors", file)
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, given)
    resumed = migrate("vectors", file)

    assert stopped.exit_code == 130
    assert "memories stored; run it again to go on; what is there already is not stored twice" in stopped.err
    assert resumed.exit_code == 0
    assert " there already" in resumed.out
    assert "600 created" not in resumed.out


def test_a_person_sees_a_bar_and_a_program_does_not(notes: Path, store: Path) -> None:
    exit_code, shown = at_a_terminal(
        "import", "vectors", str(notes), url="http://127.0.0.1:9", T4DM_STORAGE_PATH=str(store)
    )

    assert exit_code == 0
    assert "Loading" in shown
    assert "Comparing with the source" in shown


def test_the_engine_is_loaded_by_the_command_only() -> None:
    code = (
        "import sys; from t4dm_daemon.cli.importing import app; "
        "print([m for m in ('numpy', 'faiss', 'pydantic', 't4dm_daemon.storage') if m in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert found.stdout == "[]\n"


@pytest.mark.parametrize("store_of", ["qdrant", "chroma"])
def test_a_client_that_is_not_installed_is_told_with_what_to_install(
    migrate: Migrate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_of: str, store: Path
) -> None:
    monkeypatch.setitem(sys.modules, {"qdrant": "qdrant_client", "chroma": "chromadb"}[store_of], None)

    done = migrate(store_of, tmp_path, "--collection", "notes")

    assert done.exit_code == 1
    assert f"pip install 't4dm[{store_of}]'" in done.err
    assert not store.exists()


# Qdrant -----------------------------------------------------------------------------------------------


@pytest.fixture
def qdrant(tmp_path: Path) -> Path:
    """A local Qdrant with the collections notes (cosine), far (Euclidean, not of length 1) and two (two vectors)."""
    pytest.importorskip("qdrant_client", reason="needs qdrant-client: pip install 't4dm[qdrant]'")
    from qdrant_client import QdrantClient, models

    path = tmp_path / "qdrant"
    client = QdrantClient(path=str(path))
    cosine = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)
    euclid = models.VectorParams(size=DIMENSION, distance=models.Distance.EUCLID)
    client.create_collection("notes", vectors_config=cosine)
    client.create_collection("far", vectors_config=euclid)
    client.create_collection("two", vectors_config={"a": cosine, "b": cosine})
    for n, row in enumerate(vectors(30)):
        payload = {"text": f"text {n}", "n": n}
        twice = [2 * one for one in row]
        client.upsert("notes", [models.PointStruct(id=n, vector=twice, payload=payload)])
        client.upsert("far", [models.PointStruct(id=n, vector=twice, payload=payload)])
        client.upsert("two", [models.PointStruct(id=n, vector={"a": row, "b": row}, payload=payload)])
    client.close()
    return path


def test_a_collection_of_qdrant_becomes_a_space(migrate: Migrate, qdrant: Path, store: Path) -> None:
    done = migrate("qdrant", qdrant, "--collection", "notes")
    again = migrate("qdrant", qdrant, "-c", "notes")

    (item,) = stored(store, "notes", "7")
    assert done.exit_code == again.exit_code == 0, done.err
    assert done.out.startswith("space notes: 30 created")
    assert "overlap@10 1.000 on average" in done.out
    assert again.out.startswith("space notes: 0 created, 0 updated, 30 there already\n")
    assert item is not None
    assert item.content == "text 7"


def test_qdrants_other_vectors_and_metrics_are_taken_when_asked(migrate: Migrate, qdrant: Path) -> None:
    several = migrate("qdrant", qdrant, "-c", "two")
    others = migrate("qdrant", qdrant, "-c", "two", "--vector-name", "a")
    chosen = migrate("qdrant", qdrant, "-c", "two", "--vector-name", "a", "--drop-other-vectors")
    far = migrate("qdrant", qdrant, "-c", "far")
    changed = migrate("qdrant", qdrant, "-c", "far", "--allow-metric-change", "--no-validate")

    assert several.exit_code == others.exit_code == 2
    assert "choose one with --vector-name" in several.err
    assert "add --drop-other-vectors to leave those behind" in others.err
    assert chosen.exit_code == changed.exit_code == 0
    assert far.exit_code == 1
    assert "add --allow-metric-change to accept another order" in far.err
    assert "30 created" in changed.out


def test_a_collection_that_is_not_there_makes_no_store(migrate: Migrate, qdrant: Path, store: Path) -> None:
    done = migrate("qdrant", qdrant, "-c", "none")

    assert done.exit_code == 1
    assert "none" in done.err
    assert not store.exists()


def test_a_url_is_asked_as_a_server_with_the_key_of_the_environment(
    migrate: Migrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from t4dm_daemon.core.errors import SourceError
    from t4dm_daemon.storage import loaders

    given: dict[str, Any] = {}

    def refuse(collection: str, **options: Any) -> None:
        given.update(options, collection=collection)
        raise SourceError("qdrant http://127.0.0.1:9 collection notes: refused")

    monkeypatch.setattr(loaders, "QdrantSource", refuse)
    monkeypatch.setenv("QDRANT_API_KEY", "secret")

    done = migrate("qdrant", "http://127.0.0.1:9", "-c", "notes")

    assert done.exit_code == 1
    assert "secret" not in done.err
    assert "The key travels unencrypted" in done.err
    assert (given["url"], given["path"], given["api_key"]) == ("http://127.0.0.1:9", None, "secret")


# Chroma -----------------------------------------------------------------------------------------------


@pytest.fixture
def chroma(tmp_path: Path) -> Path:
    """A persistent Chroma with the collection notes."""
    chromadb = pytest.importorskip("chromadb", reason="needs chromadb: pip install 't4dm[chroma]'")
    path = tmp_path / "chroma"
    client = chromadb.PersistentClient(str(path), settings=chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection("notes", embedding_function=None, configuration={"hnsw": {"space": "cosine"}})
    collection.add(
        ids=[f"r{n}" for n in range(30)],
        embeddings=vectors(30),
        documents=[f"text {n}" for n in range(30)],
        metadatas=[{"n": n} for n in range(30)],
    )
    client.close()
    return path


def test_a_collection_of_chroma_becomes_a_space(migrate: Migrate, chroma: Path, store: Path) -> None:
    done = migrate("chroma", chroma, "--collection", "notes", "--space", "from chroma")

    (item,) = stored(store, "from chroma", "r7")
    assert done.exit_code == 0, done.err
    assert done.out.startswith("space from chroma: 30 created")
    assert "overlap@10 1.000 on average" in done.out
    assert item is not None
    assert (item.content, json.loads(item.metadata_json)) == ("text 7", {"n": 7})


def test_a_directory_that_is_no_chroma_is_told(migrate: Migrate, tmp_path: Path) -> None:
    pytest.importorskip("chromadb", reason="needs chromadb: pip install 't4dm[chroma]'")

    assert "it has no chroma.sqlite3" in migrate("chroma", tmp_path, "-c", "notes").err
