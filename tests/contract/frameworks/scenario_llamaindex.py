"""One use of every operation of the LlamaIndex adapter, for the recorded contract."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.schema import ImageNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode, VectorStoreQueryResult

from t4dm_integrations.llamaindex import T4DMMemoryBlock, T4DMVectorStore

TEXTS = {
    "ferry": ("The ferry leaves from pier four.", [1.0, 0.0, 0.25], "travel", 2024),
    "train": ("The train leaves at noon.", [0.75, 0.5, 0.0], "travel", 2025),
    "soup": ("Soup is served with bread.", [0.0, 1.0, 0.0], "food", 2026),
}
CONDITIONS: list[tuple[str, Any]] = [
    ("==", 2024), (">", 2024), ("<", 2026), ("!=", 2025), (">=", 2025), ("<=", 2025), ("in", [2024, 2026]),
    ("nin", [2024]), ("is_empty", None),
]  # fmt: skip


def play(url: str) -> Any:
    store = T4DMVectorStore(url=url, space="recorded")
    owned = T4DMVectorStore(url=url, space="recorded", user_id="ada")
    served = T4DMVectorStore(url=url, space="recorded by the daemon", embedder="server")
    told: dict[str, Any] = {}
    try:
        told["empty"] = found(store.query(query()))
        told["added"] = store.add(nodes())
        told["again"] = store.add(nodes()[:1], importance=0.75)
        told["owned"] = owned.add([TextNode(id_="ada's", text="A boat.", embedding=[0.5, 0.0, 0.5])])
        told["served"] = served.add([TextNode(id_="a", text="The ferry leaves."), TextNode(id_="b", text="Soup.")])
        told["nodes"] = [one.to_dict() for one in store.get_nodes(["soup", "missing", "ferry"])]
        told["embeddings"] = [one.embedding for one in store.get_nodes(["ferry"], include_embeddings=True)]
        told["all"] = [one.node_id for one in store.get_nodes()]
        told["queries"] = queries(store)
        told["queries of the owner"] = found(owned.query(query()))
        told["queries of the daemon's"] = found(served.query(VectorStoreQuery(query_str="ferry", similarity_top_k=2)))
        told["filters"] = filters(store)
        owned.clear()
        store.delete("food")
        store.delete_nodes(["ferry", "missing"])
        store.delete_nodes(filters=MetadataFilters(filters=[MetadataFilter(key="year", value=2030)]))
        told["left"] = [one.node_id for one in store.get_nodes()]
        told["awaited"] = asyncio.run(awaited(url))
    finally:
        for one in (store, owned, served):
            one.close()
    return told


def nodes() -> list[TextNode]:
    made = [
        TextNode(
            id_=name,
            text=text,
            embedding=vector,
            metadata={"year": year, "tags": [document, "all"], "note": f"About the {name}"},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)},
        )
        for name, (text, vector, document, year) in TEXTS.items()
    ]
    return [*made, ImageNode(id_="image", text="A boat", image="aGVsbG8=", embedding=[0.0, 0.0, 1.0])]


def query(**fields: Any) -> VectorStoreQuery:
    return VectorStoreQuery(query_embedding=[1.0, 0.0, 0.0], **{"similarity_top_k": 3, **fields})


def found(result: VectorStoreQueryResult) -> list[Any]:
    return [
        [node.class_name(), name, similarity]
        for node, name, similarity in zip(result.nodes or [], result.ids or [], result.similarities or [], strict=True)
    ]


def queries(store: T4DMVectorStore) -> dict[str, Any]:
    text = {"query_str": "the train at noon"}
    mode = VectorStoreQueryMode
    return {
        "default": found(store.query(query())),
        "mmr": found(store.query(query(mode=mode.MMR), mmr_threshold=0.5)),
        "hybrid": found(store.query(query(mode=mode.HYBRID, **text))),
        "alpha": found(store.query(query(mode=mode.HYBRID, alpha=0.25, **text))),
        "sparse": found(store.query(query(mode=mode.SPARSE, **text))),
        "text_search": found(store.query(query(mode=mode.TEXT_SEARCH, **text))),
        "doc_ids": found(store.query(query(doc_ids=["food"]))),
        "node_ids": found(store.query(query(node_ids=["image", "train"]))),
    }


def filters(store: T4DMVectorStore) -> dict[str, Any]:
    asked = {f"year {op} {value}": MetadataFilter(key="year", operator=op, value=value) for op, value in CONDITIONS}  # type: ignore[arg-type]
    asked |= {
        "any": MetadataFilter(key="tags", operator=FilterOperator.ANY, value=["food", "x"]),
        "all": MetadataFilter(key="tags", operator=FilterOperator.ALL, value=["travel", "all"]),
        "contains": MetadataFilter(key="tags", operator=FilterOperator.CONTAINS, value="food"),
        "text_match": MetadataFilter(key="note", operator=FilterOperator.TEXT_MATCH, value="the f"),
        "insensitive": MetadataFilter(key="note", operator=FilterOperator.TEXT_MATCH_INSENSITIVE, value="ABOUT THE S"),
        "document": MetadataFilter(key="ref_doc_id", value="travel"),
    }
    told = {name: [one.node_id for one in store.get_nodes(filters=all_of(part))] for name, part in asked.items()}
    nested = all_of(
        MetadataFilters(filters=[asked["any"], asked["document"]], condition=FilterCondition.OR),
        MetadataFilters(filters=[asked["year == 2024"]], condition=FilterCondition.NOT),
    )
    told["nested"] = [one.node_id for one in store.get_nodes(filters=nested)]
    return told


def all_of(*parts: MetadataFilter | MetadataFilters) -> MetadataFilters:
    return MetadataFilters(filters=[*parts])


async def awaited(url: str) -> dict[str, Any]:
    block = T4DMMemoryBlock(url=url, user_id="ada", abstain_below=0.0)
    told: dict[str, Any] = {}
    async with T4DMVectorStore(url=url, space="recorded") as store:
        told["added"] = await store.async_add(nodes()[:2])
        told["found"] = found(await store.aquery(query()))
        told["nodes"] = [one.node_id for one in await store.aget_nodes(["train"])]
        await store.adelete("travel")
        await store.adelete_nodes(["soup"])
        told["left"] = [one.node_id for one in await store.aget_nodes()]
        await store.aclear()
    await block.aput(
        [ChatMessage(content="I keep bees."), ChatMessage(role="assistant", content="How many bees?")], session_id="one"
    )
    recalled = await block.aget([ChatMessage(content="What do I know of bees?")], session_id="two")
    told["recalled"] = [line.partition("] ")[2] for line in recalled.splitlines()]
    await block.aclose()
    return told
