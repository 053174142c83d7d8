"""Recall of dense search through the daemon, beside exact cosine in numpy with the same embedder.

    python -m tests.bench recall --data DIRECTORY

DIRECTORY holds conversations in the format of LoCoMo (Maharana et al., ACL 2024): `session_N` lists of turns
`{speaker, dia_id, text, blip_caption?}`, and `qa` with `question`, `evidence` and `category`. One turn is one
memory; categories 1 to 4 are scored; recall@k is the share of a question's evidence among the first k hits.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t4dm.sdk import models as m
from t4dm_daemon.embedding.factory import make_embedder
from tests.bench.report import Table
from tests.support.daemon import Daemon

_SESSION = re.compile(r"session_\d+")
_TURN = re.compile(r"D:?(\d+):0*(\d+)")
_BATCH = 200


@dataclass(frozen=True)
class Conversation:
    name: str
    turns: dict[str, str]
    questions: list[tuple[str, set[str]]]


def read_conversation(path: Path) -> Conversation:
    """Return the turns by id and the questions whose evidence is among them."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    turns = {
        turn["dia_id"]: f"{turn['speaker']}: {turn['text']}"
        + (f" [shares a photo: {turn['blip_caption']}]" if turn.get("blip_caption") else "")
        for name, session in document.items()
        if _SESSION.fullmatch(name)
        for turn in session
    }
    questions = []
    for entry in document["qa"]:
        said = {f"D{a}:{b}" for text in entry.get("evidence", ()) for a, b in _TURN.findall(text)}
        evidence = said & turns.keys()
        if entry["category"] in (1, 2, 3, 4) and evidence:
            questions.append((entry["question"], evidence))
    return Conversation(path.stem, turns, questions)


def run(data: Path, k: int = 10) -> None:
    conversations = [read_conversation(path) for path in sorted(data.glob("*.json"))]
    if not conversations:
        raise SystemExit(f"{data} holds no .json conversations")
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
                    ids, texts = list(one.turns), list(one.turns.values())
                    records = [m.RecordIn(id=name, content=text) for name, text in one.turns.items()]
                    for at in range(0, len(records), _BATCH):
                        client.batch(m.BatchRequest(records=records[at : at + _BATCH], space=one.name))
                    vectors = embedder.embed(texts).astype(np.float64)
                    asked = embedder.embed([question for question, _ in one.questions]).astype(np.float64)
                    ours = exact = same = 0.0
                    for (question, evidence), vector in zip(one.questions, asked, strict=True):
                        answer = client.search(m.SearchRequest(query=question, k=k, space=one.name))
                        found = [hit.memory.id for hit in answer.results]
                        best = [ids[at] for at in np.argsort(-(vectors @ vector), kind="stable")[:k]]
                        ours += len(evidence.intersection(found)) / len(evidence)
                        exact += len(evidence.intersection(best)) / len(evidence)
                        same += found == best
                    count = len(one.questions)
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
