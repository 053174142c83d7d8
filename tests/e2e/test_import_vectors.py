"""What was migrated is served: a file into a store, and a real daemon on that store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from t4dm.sdk import models as m
from tests.support.daemon import Daemon


def test_a_daemon_finds_what_was_migrated_and_keeps_its_store_to_itself(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    numbers = np.random.default_rng(3).standard_normal((300, 16)).astype(np.float32)
    file = tmp_path / "notes.jsonl"
    file.write_text(
        "".join(
            json.dumps({"id": f"n{n}", "text": f"note {n}", "embedding": row.tolist(), "metadata": {"n": n}}) + "\n"
            for n, row in enumerate(numbers)
        )
    )
    daemon = make_daemon()

    migrated = daemon.run_cli("import", "vectors", str(file), "--json")
    daemon.start()
    beside = daemon.run_cli("import", "vectors", str(file))
    with daemon.client() as client:
        hits = client.search(m.SearchRequest(vector=numbers[42].tolist(), k=3, space="notes")).results
        memory = client.get("n7", space="notes")
        spaces = {one.name: one for one in client.list_spaces()}
        duplicate = client.store(
            m.StoreRequest(content="note 7", vector=numbers[7].tolist(), space="notes", dedup="exact")
        )

    assert migrated.returncode == 0, migrated.stderr
    assert json.loads(migrated.stdout)["data"]["created"] == 300
    assert hits[0].memory.id == "n42"
    assert (memory.content, memory.metadata) == ("note 7", {"n": 7})
    assert (spaces["notes"].embedder, spaces["notes"].dimension, spaces["notes"].items) == ("client", 16, 300)
    assert duplicate.id == "n7"
    assert beside.returncode == 1
    assert daemon.url in beside.stderr
    assert "Stop the daemon, then run this again" in beside.stderr
