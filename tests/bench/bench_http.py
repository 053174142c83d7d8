"""The daemon over HTTP: round trips with 1 and 16 clients, the server's own share, imports against the embedder.

    python -m tests.bench http [--rows 10000] [--texts 600]

A raw socket shows the server's share without the client library; `/healthz` over the same socket is the limit
of the HTTP stack itself. Vectors are given, so that no model is timed except where it says so.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import numpy as np

from t4dm.sdk import T4DMClient
from t4dm.sdk import models as m
from t4dm_daemon.embedding.cache import VectorCache
from t4dm_daemon.embedding.factory import make_embedder
from t4dm_daemon.embedding.queue import EmbeddingQueue
from tests.bench.report import Table, percentiles
from tests.support.daemon import Daemon

DIMENSION = 384
SEED = 7
WORDS = [
    "river",
    "stone",
    "lamp",
    "bread",
    "violin",
    "snow",
    "harbour",
    "letter",
    "window",
    "engine",
    "garden",
    "winter",
    "copper",
    "market",
    "orchard",
    "signal",
]


def _sentences(count: int, rng: np.random.Generator, words: int = 14) -> list[str]:
    return [" ".join(rng.choice(WORDS, words)) + f" {n}." for n in range(count)]


def _timed(call: Callable[[int], object], count: int) -> list[float]:
    times = []
    for number in range(count):
        start = time.perf_counter()
        call(number)
        times.append(time.perf_counter() - start)
    return times


class RawConnection:
    """A keep-alive HTTP/1.1 connection with nothing between the socket and the clock."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host = f"{address.hostname}:{address.port}"
        self._socket = socket.create_connection((address.hostname, address.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._socket.recv(65536)
        header, _, rest = received.partition(b"\r\n\r\n")
        if not header.startswith(b"HTTP/1.1 2"):
            raise AssertionError(header.decode() + rest.decode())
        length = next(
            int(line.split(b":")[1]) for line in header.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        while len(rest) < length:
            rest += self._socket.recv(65536)
        return rest

    def close(self) -> None:
        self._socket.close()


class Pinger:
    """Ask /healthz every few milliseconds while something else goes on."""

    def __init__(self, url: str) -> None:
        self._raw = RawConnection(url)
        self._times: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ping)

    def _ping(self) -> None:
        while not self._stop.wait(0.004):
            start = time.perf_counter()
            self._raw.request("GET", "/healthz")
            self._times.append(time.perf_counter() - start)

    def summary(self) -> tuple[float, float, float]:
        """Return p50, p99 and maximum in milliseconds."""
        return (*percentiles(self._times), max(self._times) * 1e3)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._raw.close()


def _concurrent(
    url: str, clients: int, per_client: int, call: Callable[[T4DMClient, int], object]
) -> tuple[list[float], float]:
    def work(number: int) -> list[float]:
        with T4DMClient(url) as client:
            call(client, -number - 1)  # the connection is made outside the measurement
            return _timed(lambda at: call(client, number * per_client + at), per_client)

    with ThreadPoolExecutor(clients) as pool:
        start = time.perf_counter()
        times = [one for many in pool.map(work, range(clients)) for one in many]
        return times, clients * per_client / (time.perf_counter() - start)


def run(rows: int = 10_000, texts: int = 600) -> None:
    rng = np.random.default_rng(SEED)
    vectors = rng.standard_normal((rows + 4096, DIMENSION)).astype(np.float32)
    cache = Path(os.environ.get("T4DM_CACHE_PATH", Path(tempfile.gettempdir()) / "t4dm-bench-cache"))
    with tempfile.TemporaryDirectory(prefix="t4dm-bench-") as directory:
        home = Path(directory)
        daemon = Daemon(home, cache=cache, model="minilm").start(wait=False)
        try:
            health = Table(
                "GET /healthz over a raw socket (aim: within 100 ms)", ("while", "p50 ms", "p99 ms", "max ms")
            )
            with Pinger(daemon.url) as pinger:
                daemon.wait_ready()
            health.row("the model loads", *pinger.summary())
            _measure(daemon, vectors, rows)
            _measure_beside_load(daemon, vectors)
            _measure_import(daemon, cache, _sentences(texts, rng), health)
            health.print()
        finally:
            daemon.close()


def _question(vector: np.ndarray) -> m.SearchRequest:
    return m.SearchRequest(vector=vector.tobytes(), space="bench")


def _record(number: int, vector: np.ndarray) -> m.StoreRequest:
    return m.StoreRequest(id=f"stored {number}", content=f"stored {number}", vector=vector.tobytes(), space="bench")


def _measure(daemon: Daemon, vectors: np.ndarray, rows: int) -> None:
    with daemon.client() as client:
        start = time.perf_counter()
        for at in range(0, rows, 500):
            records = [
                m.RecordIn(id=f"r{n}", content=f"row {n}", vector=vectors[n].tobytes()) for n in range(at, at + 500)
            ]
            client.batch(m.BatchRequest(records=records, space="bench"))
        loaded = time.perf_counter() - start

        table = Table(
            f"HTTP at {rows} × {DIMENSION}, vectors given", ("operation", "p50 ms", "p99 ms", "per second", "note")
        )
        raw = RawConnection(daemon.url)
        ping = _timed(lambda _: raw.request("GET", "/healthz"), 1500)
        bodies = [json.dumps({"vector": q.tolist(), "space": "bench", "k": 10}).encode() for q in vectors[:200]]
        packed = [
            m.SearchRequest(vector=q.tobytes(), space="bench").model_dump_json(exclude_unset=True).encode()
            for q in vectors[:200]
        ]
        searches, engine, shares = [], [], []
        for number in range(600):  # the server's own clock (`took_ms`) and ours on the same request: noise is shared
            start = time.perf_counter()
            answer = raw.request("POST", "/api/v1/memory/search", packed[number % 200])
            searches.append(time.perf_counter() - start)
            engine.append(json.loads(answer)["took_ms"] / 1e3)
            shares.append(searches[-1] - engine[-1])
        listed = _timed(lambda at: raw.request("POST", "/api/v1/memory/search", bodies[at % 200]), 300)
        raw.close()
        table.row("GET /healthz, raw socket", *percentiles(ping), None, "the HTTP stack alone")
        table.row("search, raw socket, base64 vector", *percentiles(searches), None, "")
        table.row("  of which service and engine (took_ms)", *percentiles(engine), None, "measured by the daemon")
        table.row("  of which server share", *percentiles(shares), None, "aim: p50 ≤ 0.5 ms")
        table.row("search, raw socket, vector as JSON numbers", *percentiles(listed), None, "")

        for clients, each in ((1, 300), (16, 60)):
            times, rate = _concurrent(daemon.url, clients, each, lambda c, at: c.search(_question(vectors[at])))
            table.row(f"search, T4DMClient × {clients}", *percentiles(times), rate, "")
        for clients, each in ((1, 300), (16, 60)):
            given = vectors[rows:]
            times, rate = _concurrent(
                daemon.url, clients, each, lambda c, at, given=given: c.store(_record(at, given[at % len(given)]))
            )
            table.row(f"durable store, T4DMClient × {clients}", *percentiles(times), rate, "")
        table.row("batch of 500, T4DMClient × 1", None, None, rows / loaded, "items per second")
        table.print()


def _measure_beside_load(daemon: Daemon, vectors: np.ndarray) -> None:
    """Time searches and stores while another connection loads batches of 500 without a pause."""
    bodies = [
        m.BatchRequest(
            records=[
                m.RecordIn(id=f"l{n}", content=f"row {n}", vector=vectors[n].tobytes()) for n in range(at, at + 500)
            ],
            space="load",
        )
        .model_dump_json(exclude_unset=True)
        .encode()
        for at in range(0, 5000, 500)
    ]
    stop = threading.Event()

    def load() -> None:
        connection = RawConnection(daemon.url)
        while not stop.is_set():
            for body in bodies:
                connection.request("POST", "/api/v1/memory/batch", body)
        connection.close()

    table = Table("Beside a load of batches of 500", ("operation", "alone p50 ms", "p99 ms", "beside p50 ms", "p99 ms"))
    question = m.SearchRequest(vector=vectors[0].tobytes(), space="bench").model_dump_json(exclude_unset=True).encode()
    raw = RawConnection(daemon.url)
    calls: dict[str, Callable[[int], object]] = {
        "GET /healthz": lambda _: raw.request("GET", "/healthz"),
        "search": lambda _: raw.request("POST", "/api/v1/memory/search", question),
        "durable store": lambda at: raw.request(
            "POST", "/api/v1/memory/store", _record(at, vectors[at]).model_dump_json(exclude_unset=True).encode()
        ),
    }
    alone = {name: percentiles(_timed(call, 200)) for name, call in calls.items()}
    loader = threading.Thread(target=load)
    loader.start()
    beside = {name: percentiles(_timed(call, 200)) for name, call in calls.items()}
    stop.set()
    loader.join()
    raw.close()
    for name in calls:
        table.row(name, *alone[name], *beside[name])
    table.print()


def _measure_import(daemon: Daemon, cache: Path, texts: list[str], health: Table) -> None:
    embedder = make_embedder("minilm", cache_dir=cache, threads=os.cpu_count() or 1, base_url=None, api_key=None)
    with EmbeddingQueue(embedder, cache=VectorCache(0)) as queue:
        queue.start()
        queue.wait_ready()
        queue.embed(texts[:32], bulk=True)
        start = time.perf_counter()
        queue.embed(texts, bulk=True)
        alone = len(texts) / (time.perf_counter() - start)
    with daemon.client(timeout_s=600) as client, Pinger(daemon.url) as pinger:
        start = time.perf_counter()
        for at in range(0, len(texts), 100):
            client.batch(
                m.BatchRequest(records=[m.RecordIn(content=text) for text in texts[at : at + 100]], space="import")
            )
        imported = len(texts) / (time.perf_counter() - start)
    health.row(f"{len(texts)} sentences are imported", *pinger.summary())
    table = Table(f"Import of {len(texts)} sentences, embedded by the daemon", ("what", "texts per second", "ratio"))
    table.row("the embedder alone, in this process", alone, 1.0)
    table.row("import over HTTP, batches of 100", imported, imported / alone)
    table.print()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--texts", type=int, default=600)
    options = parser.parse_args(arguments)
    run(options.rows, options.texts)


if __name__ == "__main__":
    main()
