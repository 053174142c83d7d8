"""Everything that T4DMStore asks of a daemon, once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from langgraph.store.base import GetOp, Item, ListNamespacesOp, MatchCondition, PutOp, SearchOp

from t4dm_integrations.langgraph import T4DMStore

ADA, BOB = ("users", "ada"), ("users", "bob")
COLOURS = {"red": [1.0, 0.0, 0.0], "green": [0.0, 1.0, 0.0], "blue": [0.0, 0.0, 1.0]}


def embed(texts: Sequence[str]) -> list[list[float]]:
    return [COLOURS[text] for text in texts]


def play(url: str) -> Any:
    outcome: dict[str, Any] = {}
    with T4DMStore(url, space="items") as store:
        store.put(ADA, "food", {"likes": "plum cake", "rank": 1})
        store.put(ADA, "secret", {"likes": "walnuts", "rank": 2}, index=False)
        store.put(ADA, "odd", {"rank": 3, "a.b": {"": 1}, "body": {"x.y": 1}})
        store.put(BOB, "food", {"likes": "soup", "rank": 1}, ttl=60)
        outcome["get"] = shown(store.get(ADA, "food"))
        outcome["ttl"] = shown(store.get(BOB, "food"))
        outcome["absent"] = store.get(ADA, "nobody")
        outcome["list"] = shown(store.search(("users",), limit=2, offset=1))
        outcome["filter"] = shown(store.search(ADA, filter={"rank": {"$gte": 2}, "body": {"$ne": None}}))
        outcome["query"] = [(one.key, one.score is None) for one in store.search(ADA, query="plum cake")]
        outcome["batch"] = shown(
            store.batch(
                [
                    GetOp(ADA, "food"),
                    PutOp(ADA, "food", {"likes": "soup"}),
                    PutOp(ADA, "odd", None),
                    SearchOp(ADA),
                    ListNamespacesOp((MatchCondition("prefix", ("users", "*")),), max_depth=1),
                ]
            )
        )
        store.delete(BOB, "food")
        outcome["namespaces"] = store.list_namespaces(suffix=("ada",))
        outcome["swept"] = store.sweep_ttl()
        outcome["awaited"] = asyncio.run(awaited(store))
    index: Any = {"dims": 3, "embed": embed, "fields": ["colour", "parts[*]"]}
    with T4DMStore(url, space="colours", index=index) as store:
        store.put(ADA, "flag", {"colour": "red", "parts": ["green", "blue"]})
        store.put(ADA, "sea", {"colour": "blue"})
        outcome["meaning"] = shown(store.search(ADA, query="green"))
        store.put(ADA, "flag", {"colour": "red"})
        store.delete(ADA, "sea")
        outcome["shrunk"] = shown(store.search(ADA, query="red"))
    return outcome


async def awaited(store: T4DMStore) -> Any:
    await store.aput(BOB, "drink", {"likes": "tea"})
    found = [await store.aget(BOB, "drink"), await store.asearch(BOB, filter={"likes": "tea"})]
    await store.adelete(BOB, "drink")
    found += [await store.alist_namespaces(max_depth=1), await store.asweep_ttl()]
    await store.aclose()
    return shown(found)


def shown(result: Any) -> Any:
    if isinstance(result, list):
        return [shown(one) for one in result]
    if not isinstance(result, Item):
        return result
    value = {key: one if len(str(one)) < 100 else len(str(one)) for key, one in result.value.items()}
    return [list(result.namespace), result.key, value, getattr(result, "score", None)]
