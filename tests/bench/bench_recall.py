"""Recall of dense search through the daemon, beside exact cosine in numpy with the same embedder.

    python -m tests.bench recall --data DIRECTORY

DIRECTORY holds conversations in the format of LoCoMo (`quality/locomo.py`). One turn is one memory, categories 1 to 4
are scored. How well other ways of searching do is the quality benchmark's question.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from t4dm.sdk import models as m
from t4dm_daemon.embedding.factory import make_embedder
from tests.bench.quality.locomo import read_all
from tests.bench.quality.metrics import recall
from tests.bench.report import Table
from tests.support.daemon import Daemon

_BATCH = 200


def run(data: Path, k: int = 10) -> None:
    conversations = read_all(data)
    with tempfile.TemporaryDirectory(prefix="t4dm-recall-") as directory:
        cache = Path(os.environ.get("T4DM_CACHE_PATH", directory)) / "cache"
        embedder = make_embedder("minilm", cache_dir=cache, threads=os.cpu_count() or 1, base_url=None, api_key=None)
        embedder.load()
        table = Table(f"Dense recall@{k}", ("conversation", "turns", "questions", "daemon", "numpy", "same ten"))
        sums = np.zeros(4)
        daemon = Daemon(Path(directory), cache=cache, model="minilm").start()
        try:
            with daemon.client(timeout_s=600.0) as client:
                for one in conversations:
                    ids, texts = [turn.id for turn in one.turns], [turn.content for turn in one.turns]
                    questions = one.answerable
                    records = [m.RecordIn(id=turn.id, content=turn.content) for turn in one.turns]
                    for at in range(0, len(records), _BATCH):
                        client.batch(m.BatchRequest(records=records[at : at + _BATCH], space=one.name))
                    vectors = embedder.embed(texts).astype(np.float64)
                    asked = embedder.embed([question.text for question in questions]).astype(np.float64)
                    ours = exact = same = 0.0
                    for question, vector in zip(questions, asked, strict=True):
                        answer = client.search(m.SearchRequest(query=question.text, k=k, space=one.name, mode="vector"))
                        found = [hit.memory.id for hit in answer.results]
                        best = [ids[at] for at in np.argsort(-(vectors @ vector), kind="stable")[:k]]
                        ours += recall(found, question.evidence, k)
                        exact += recall(best, question.evidence, k)
                        same += found == best
                    count = len(questions)
                    table.row(one.name, len(ids), count, ours / count, exact / count, same / count)
                    sums += (count, ours, exact, same)
        finally:
            daemon.close()
        table.row("all", None, int(sums[0]), *(sums[1:] / sums[0]).tolist())
        table.print()


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    run(parser.parse_args(given).data)


if __name__ == "__main__":
    main()
