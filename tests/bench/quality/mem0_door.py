"""Does Mem0's own client find as much through its door as a search of T4DM's own API does?

Every conversation is stored twice: by the native API, and by Mem0's client, turn by turn. Each of the two stores is
then asked through both doors. What differs between columns is the door a question takes; what differs between rows,
the door the memories took.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from t4dm.sdk import T4DMClient
from t4dm.sdk import models as m
from tests.bench.quality.conversations import Conversation, Turn
from tests.bench.quality.metrics import recall
from tests.bench.report import Table

K = 10
THRESHOLD = 0.1
"""The least score that Mem0's platform shows unless it is asked for another."""


def run(client: T4DMClient, url: str, conversations: Sequence[Conversation]) -> None:
    os.environ["MEM0_TELEMETRY"] = "False"
    if "MEM0_DIR" not in os.environ:  # the client writes there when it is imported
        os.environ["MEM0_DIR"] = tempfile.mkdtemp(prefix="mem0-")
        atexit.register(shutil.rmtree, os.environ["MEM0_DIR"], ignore_errors=True)
    from mem0 import MemoryClient

    mem0 = MemoryClient(api_key="any", host=url)
    for infer in (False, True):
        title = f"Recall@{K} through two doors" + (", with facts found by rules" if infer else "")
        table = Table(
            title, ("conversation", "stored by", "questions", "native", "mem0", f"mem0, threshold {THRESHOLD}")
        )
        sums: dict[str, list[list[float]]] = {}
        for one in conversations:
            for by, store in (("native", _store), ("mem0", _add)):
                if infer and by == "native":
                    continue
                owner = f"{one.name}-{by}-{infer}"
                turn_of = store(client if by == "native" else mem0, owner, one.turns, infer)
                doors = _ask(client, mem0, owner, turn_of)
                recalls = [[recall(door(asked.text), asked.evidence, K) for asked in one.answerable] for door in doors]
                table.row(one.name, by, len(one.answerable), *(float(np.mean(each)) for each in recalls))
                kept = sums.setdefault(by, [[] for _ in recalls])
                for total, each in zip(kept, recalls, strict=True):
                    total += each
        for by, kept in sums.items():
            table.row("all", by, len(kept[0]), *(float(np.mean(each)) for each in kept))
        table.print()


def _store(client: Any, owner: str, turns: Sequence[Turn], infer: bool) -> dict[str, str]:
    records = [
        m.RecordIn(
            id=f"{owner}/{turn.id}",
            content=turn.content,
            user_id=owner,
            session_id=turn.session,
            event_time=turn.at,
            metadata={} if turn.speaker is None else {"speaker": turn.speaker},
        )
        for turn in turns
    ]
    client.batch(m.BatchRequest(records=records))
    return {f"{owner}/{turn.id}": turn.id for turn in turns}


def _add(mem0: Any, owner: str, turns: Sequence[Turn], infer: bool) -> dict[str, str]:
    """Add turns one by one, as an agent would; facts are known by their turns."""
    turn_of = {}
    for turn in turns:
        told = mem0.add(
            [{"role": "user", "content": turn.content}],
            user_id=owner,
            run_id=turn.session,
            timestamp=int(turn.at.timestamp()),
            metadata={} if turn.speaker is None else {"speaker": turn.speaker},
            infer=infer,
        )
        for one in told["results"]:
            turn_of.setdefault(one["id"], turn.id)
    return turn_of


def _ask(client: T4DMClient, mem0: Any, owner: str, turn_of: dict[str, str]) -> tuple[Callable[[str], list[str]], ...]:
    def native(text: str) -> list[str]:
        found = client.search(m.SearchRequest(query=text, k=K, user_id=owner)).results
        return [turn_of[hit.memory.id] for hit in found]

    def through(**options: float) -> Callable[[str], list[str]]:
        def ask(text: str) -> list[str]:
            found = mem0.search(text, filters={"user_id": owner}, top_k=K, **options)
            return [turn_of[hit["id"]] for hit in found["results"]]

        return ask

    return native, through(), through(threshold=THRESHOLD)
