"""LangChain's vector store interface: T4DM beside Chroma and Qdrant, through the adapter of each.

    python -m tests.bench langchain [--texts 1000] [--searches 1000]

The same texts, metadata, ids and vectors (384 numbers, made beforehand) for all, in batches of 100 as an indexer adds
them; then one search after another, ten documents each, and a fifth as many with a filter that a tenth passes.
Chroma and Qdrant keep their data in a directory and run in this process, as T4DM does in its second row; in its first
it is a daemon, over HTTP. What is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from t4dm_integrations.langchain import T4DMVectorStore
from tests.bench.report import Table, percentiles
from tests.support.daemon import Daemon

DIMENSION: Final = 384
SEED: Final = 7
BATCH: Final = 100
K: Final = 10
GROUPS: Final = 10


class Precomputed(Embeddings):
    """Look vectors up, so that no model is timed."""

    def __init__(self, texts: list[str]) -> None:
        vectors = np.random.default_rng(SEED).standard_normal((len(texts), DIMENSION)).astype(np.float32)
        self._known = dict(zip(texts, vectors.tolist(), strict=True))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._known[text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self._known[text]


Open = Callable[[Path, Embeddings], Any]
"""A context manager that gives a store in an empty directory."""


@contextmanager
def _t4dm_daemon(directory: Path, embedding: Embeddings) -> Iterator[VectorStore]:
    daemon = Daemon(directory, cache=directory / "cache", model="hashing").start()
    try:
        with T4DMVectorStore(embedding, url=daemon.url) as store:
            yield store
    finally:
        daemon.close()


@contextmanager
def _t4dm_embedded(directory: Path, embedding: Embeddings) -> Iterator[VectorStore]:
    os.environ |= {"T4DM_EMBEDDING_MODEL": "hashing", "T4DM_CACHE_PATH": str(directory / "cache")}
    with T4DMVectorStore(embedding, storage_path=directory / "store") as store:
        yield store


@contextmanager
def _chroma(directory: Path, embedding: Embeddings) -> Iterator[VectorStore]:
    from langchain_chroma import Chroma

    yield Chroma(
        "bench",
        embedding,
        persist_directory=str(directory),
        collection_metadata={"hnsw:space": "cosine"},
    )


@contextmanager
def _qdrant(directory: Path, embedding: Embeddings) -> Iterator[VectorStore]:
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(directory))
    client.create_collection("bench", models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE))
    yield QdrantVectorStore(client, "bench", embedding, validate_collection_config=False)
    client.close()


def _mongo_like(group: int) -> Any:
    return {"group": group}


def _of_qdrant(group: int) -> Any:
    from qdrant_client import models

    return models.Filter(must=[models.FieldCondition(key="metadata.group", match=models.MatchValue(value=group))])


SYSTEMS: Final[dict[str, tuple[str, Open, Callable[[int], Any]]]] = {
    "T4DM, daemon over HTTP": ("t4dm", _t4dm_daemon, _mongo_like),
    "T4DM, in this process": ("t4dm_daemon", _t4dm_embedded, _mongo_like),
    "langchain-chroma, in this process": ("langchain_chroma", _chroma, _mongo_like),
    "langchain-qdrant, in this process": ("langchain_qdrant", _qdrant, _of_qdrant),
}


def run(texts: int = 1000, searches: int = 1000) -> None:
    logging.disable(logging.WARNING)
    documents = [f"document {at} of the benchmark, long enough to be a sentence." for at in range(texts)]
    questions = [f"question {at}" for at in range(searches)]
    embedding = Precomputed(documents + questions)
    expected = _nearest(embedding, documents, questions)
    columns = ("store", "add s", "texts per s", "search p50 ms", "p99 ms", "filtered p50 ms", "p99 ms", f"recall@{K}")
    table = Table(f"LangChain: {texts} texts added, {searches} searches, {DIMENSION} dimensions", columns)
    for name, (module, opened, filter_of) in SYSTEMS.items():
        if importlib.util.find_spec(module) is None:
            print(f"{name}: {module} is not installed")
            continue
        with (
            tempfile.TemporaryDirectory(prefix="t4dm-bench-", ignore_cleanup_errors=True) as directory,
            opened(Path(directory), embedding) as store,
        ):
            table.row(name, *_measure(store, documents, questions, expected, filter_of))
    table.print()


def _measure(
    store: VectorStore,
    documents: list[str],
    questions: list[str],
    expected: list[set[str]],
    filter_of: Callable[[int], Any],
) -> list[float]:
    ids, metadatas = _ids(len(documents)), [{"group": at % GROUPS, "at": at} for at in range(len(documents))]
    store.similarity_search(questions[0], K)  # what is opened at the first use is not counted
    start = time.perf_counter()
    for at in range(0, len(documents), BATCH):
        part = slice(at, at + BATCH)
        store.add_texts(documents[part], metadatas[part], ids=ids[part])
    added_s = time.perf_counter() - start

    found: list[set[str]] = []

    def search(number: int) -> None:
        found.append({one.page_content for one in store.similarity_search(questions[number], K)})

    def search_filtered(number: int) -> None:
        hits = store.similarity_search(questions[number], K, filter=filter_of(number % GROUPS))
        assert all(hit.metadata["group"] == number % GROUPS for hit in hits)

    plain, filtered = _timed(search, len(questions)), _timed(search_filtered, len(questions) // 5)
    recall = np.mean([len(mine & exact) / len(exact) for mine, exact in zip(found, expected, strict=True)])
    return [added_s, len(documents) / added_s, *percentiles(plain), *percentiles(filtered), float(recall)]


def _nearest(embedding: Embeddings, documents: list[str], questions: list[str]) -> list[set[str]]:
    """Return the documents that an exact search finds."""
    stored, asked = (np.array(embedding.embed_documents(texts)) for texts in (documents, questions))
    cosines = asked @ (stored / np.linalg.norm(stored, axis=1, keepdims=True)).T
    return [{documents[at] for at in np.argsort(-row)[:K]} for row in cosines]


def _timed(call: Callable[[int], object], count: int) -> list[float]:
    times = []
    for number in range(count):
        start = time.perf_counter()
        call(number)
        times.append(time.perf_counter() - start)
    return times


def _ids(count: int) -> list[str]:
    """Return UUIDs: one of the stores takes no other ids."""
    return [str(uuid.UUID(int=at + 1)) for at in range(count)]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--searches", type=int, default=1000)
    options = parser.parse_args(arguments)
    run(options.texts, options.searches)


if __name__ == "__main__":
    main()
