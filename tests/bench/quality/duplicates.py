"""The same fact written three times in other words: how many are kept, linked, and shown.

Sets of five facts, each written by us in three wordings, stored one after the other without ids, in a space of their
own each (after mem0's issue 5850: fifteen writes of five facts, thirteen stored). The first wording is written once more at the end,
letter by letter.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from t4dm.sdk import T4DMClient
from t4dm.sdk import models as m
from tests.bench.quality.conversations import DATA, read_lines
from tests.bench.report import Table

SHOWN = 10


def run(client: T4DMClient) -> None:
    sets: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in read_lines(DATA / "duplicates.jsonl"):
        sets[line["set"]].append(line)
    table = Table(
        "Duplicates: five facts in three wordings, and one of them again as it was",
        (
            "set",
            "written",
            "stored",
            "linked SIMILAR_TO",
            "wordings of the fact in the first 10",
            "facts in the first 10",
            "first is right",
        ),
    )
    rows = []
    for name, facts in sets.items():
        space = f"duplicates-{name}"
        fact_of: dict[str, int] = {}
        for turn in range(4):
            for number, fact in enumerate(facts):
                stored = client.store(m.StoreRequest(content=fact["wordings"][turn % 3], space=space))
                fact_of[stored.id] = number
        linked = {
            (edge.source, edge.target)
            for one in fact_of
            for edge in client.links(one, space=space)
            if edge.type == "SIMILAR_TO"
        }
        same, shown, right = [], [], []
        for number, fact in enumerate(facts):
            hits = client.search(
                m.SearchRequest(query=fact["question"], k=SHOWN, space=space, abstain_below=0.0)
            ).results
            found = [fact_of[hit.memory.id] for hit in hits]
            same.append(found.count(number))
            shown.append(len(set(found)))
            right.append(found[:1] == [number])
        row = (
            4 * len(facts),
            len(fact_of),
            len(linked),
            float(np.mean(same)),
            float(np.mean(shown)),
            float(np.mean(right)),
        )
        rows.append(row)
        table.row(name, *row)
    total = np.array(rows)
    table.row("all", *(int(one) for one in total[:, :3].sum(axis=0)), *total[:, 3:].mean(axis=0).tolist())
    table.print()
