"""The store by itself: items in namespaces, found by key, by filter and by meaning, one request for a whole batch.

Needs a running daemon (`t4dm serve`) at T4DM_URL, by default http://127.0.0.1:8765.
"""

import asyncio

from langgraph.store.base import GetOp, PutOp, SearchOp

from t4dm.adapters.langchain import T4DMStore

ADA = ("users", "ada")


async def main() -> None:
    async with T4DMStore(space="langgraph-example-store", ttl={"default_ttl": 60 * 24 * 30}) as store:
        await store.aput(ADA, "profile", {"name": "Ada", "born": 1815, "topics": ["engines", "poetry"]}, ttl=None)
        await store.aput(ADA, "note-1", {"text": "She keeps the spare key behind the fuse box.", "weight": 2})
        await store.aput(ADA, "note-2", {"text": "Her sister Ragnhild loves plum cake.", "weight": 5})

        profile = await store.aget(ADA, "profile")
        print("by key:    ", profile.value["topics"])
        heavy = await store.asearch(ADA, filter={"weight": {"$gt": 3}})
        print("by filter: ", [item.key for item in heavy])
        found = await store.asearch(ADA, query="How do I get in when I am locked out?", limit=1)
        print("by meaning:", found[0].value["text"], f"({found[0].score:.2f})")

        before, _, kept = await store.abatch([GetOp(ADA, "note-1"), PutOp(ADA, "note-1", None), SearchOp(ADA)])
        print("in a batch:", before.key, "is read before it is deleted;", len(kept), "items were there")
        print("namespaces:", await store.alist_namespaces(prefix=("users",)))


if __name__ == "__main__":
    asyncio.run(main())
