"""What the LangChain adapter says to the daemon: each of its public operations once."""

from __future__ import annotations

import asyncio
import hashlib
import warnings
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage, message_to_dict
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

from t4dm_integrations.langchain import (
    T4DMChatMessageHistory,
    T4DMMemory,
    T4DMMemoryMiddleware,
    T4DMRetriever,
    T4DMVectorStore,
)


class ByHash(Embeddings):
    """Vectors that depend on the text alone, the same on every machine."""

    def __init__(self, size: int = 8) -> None:
        self.size = size

    def embed_query(self, text: str) -> list[float]:
        digest = hashlib.shake_128(text.encode()).digest(self.size)
        return [(byte - 127.5) / 128 for byte in digest]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    async def aembed_query(self, text: str) -> list[float]:
        return self.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.embed_documents(texts)


class Listener(BaseChatModel):
    """A model that keeps what it was told, and answers what it was given to say."""

    heard: list[list[BaseMessage]] = Field(default_factory=list)
    answers: list[AIMessage] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "listener"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.heard.append(list(messages))
        answer = self.answers.pop(0) if self.answers else AIMessage(content="Noted.")
        return ChatResult(generations=[ChatGeneration(message=answer)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages, stop)

    @property
    def told(self) -> str:
        """The text of the last prompt."""
        return "\n".join(str(message.text) for message in self.heard[-1])


TEXTS = ["The ferry leaves from pier four.", "The night train leaves at ten.", "Bread is baked at five.", "ναύς 船 🚢"]
METADATAS: list[dict[str, Any]] = [
    {"topic": "travel", "price": 12.5, "tags": ["sea"]},
    {"topic": "travel", "price": 49, "tags": ["rail", "night"]},
    {"topic": "food", "deep": {"er": [1, None, True]}},
    {},
]
IDS = ["ferry", "train", "bread/1", "ship"]


def play(url: str) -> Any:
    """Use every part of the adapter."""
    return {
        "vector store": _vector_store(url),
        "vector store, awaited": asyncio.run(_awaited_vector_store(url)),
        "embedded by the daemon": _embedded_by_the_daemon(url),
        "retriever": _retriever(url),
        "history": _history(url),
        "memory": _memory(url),
        "agent": _agent(url),
    }


def _vector_store(url: str) -> Any:
    told: dict[str, Any] = {}
    with T4DMVectorStore(ByHash(), url=url, user_id="ada") as store:
        told["empty"] = _plain(store.similarity_search("ferry"))
        told["added"] = store.add_texts(TEXTS, METADATAS, ids=IDS)
        told["similar"] = _plain(store.similarity_search(TEXTS[0], k=2))
        told["scores"] = [[one.id, score] for one, score in store.similarity_search_with_score("pier", k=4)]
        told["relevance"] = [
            [one.id, score] for one, score in store.similarity_search_with_relevance_scores("pier", k=4)
        ]
        told["vector"] = _plain(store.similarity_search_by_vector(ByHash().embed_query(TEXTS[1]), k=1))
        told["diverse"] = [one.id for one in store.max_marginal_relevance_search("pier", k=3, fetch_k=4)]
        grammar = {"$or": [{"price": {"$gte": 40, "$lt": 50}}, {"tags": {"$contains": "sea"}}], "topic": "travel"}
        told["filtered"] = [one.id for one in store.similarity_search("pier", filter=grammar)]
        told["hybrid"] = [one.id for one in store.similarity_search("night train", k=1, mode="hybrid")]
        told["retrieved"] = [one.id for one in store.as_retriever(search_kwargs={"k": 1}).invoke(TEXTS[2])]
        told["replaced"] = store.add_documents([Document(id="ferry", page_content="No ferry today.", metadata={})])
        told["got"] = _plain(store.get_by_ids(["ship", "missing", "ferry"]))
        told["deleted"] = [store.delete(["ship", "missing"]), store.delete(filter={"topic": "food"})]
        told["left"] = _plain(store.get_by_ids(IDS))
        told["all deleted"] = [store.delete(delete_all=True), len(store.get_by_ids(IDS))]
    return told


async def _awaited_vector_store(url: str) -> Any:
    async with T4DMVectorStore(ByHash(), url=url, space="awaited") as store:
        added = await store.aadd_texts(TEXTS, METADATAS, ids=IDS)
        similar = await store.asimilarity_search(TEXTS[0], k=1)
        diverse = await store.amax_marginal_relevance_search("pier", k=2)
        got = await store.aget_by_ids(["train"])
        deleted = await store.adelete(IDS)
    return [added, _plain(similar), [one.id for one in diverse], _plain(got), deleted]


def _embedded_by_the_daemon(url: str) -> Any:
    with T4DMVectorStore(url=url, space="texts") as store:
        made = store.add_texts(TEXTS[:2])
        return [len(made), [one.page_content for one in store.similarity_search("the pier of the ferry", k=1)]]


def _retriever(url: str) -> Any:
    retriever = T4DMRetriever(url=url, space="texts", k=1, score_key="score")
    try:
        return [[one.page_content, one.metadata] for one in retriever.invoke("When does the night train leave?")]
    finally:
        retriever.close()


def _history(url: str) -> Any:
    history = T4DMChatMessageHistory("chat/1", url=url, user_id="ada")
    call = {"name": "timetable", "args": {"line": 4}, "id": "call-1", "type": "tool_call"}
    history.add_messages(
        [
            HumanMessage(content="When?", id="h1"),
            AIMessage(content="", tool_calls=[call], id="a1"),
            ToolMessage(content="09:10", tool_call_id="call-1", id="t1"),
        ]
    )
    told = [[message_to_dict(one) for one in history.messages], [one.id for one in history.last(1)]]
    history.clear()
    told.append([one.id for one in history.messages])
    history.close()
    return told


def _memory(url: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        earlier = T4DMMemory(url=url, space="chains", user_id="ada", session_id="1")
        memory = T4DMMemory(url=url, space="chains", user_id="ada", session_id="2", return_messages=True)
    earlier.save_context({"input": "My cat is called Miso."}, {"response": "A fine name."})
    memory.save_context({"input": "Good morning.", "history": []}, {"response": "Good morning."})
    told = [
        [one.type, one.text] for one in memory.load_memory_variables({"input": "What is my cat called?"})["history"]
    ]
    memory.clear()
    left = memory.load_memory_variables({"input": "What is my cat called?"})["history"]
    earlier.close()
    memory.close()
    return [told, [[one.type, one.text] for one in left]]


def _agent(url: str) -> Any:
    from langchain.agents import create_agent

    model = Listener()
    memory = T4DMMemoryMiddleware(url, space="agents", user_id="ada")
    agent = create_agent(model, middleware=[memory])
    agent.invoke({"messages": [HumanMessage("My bicycle is green.", id="h1")]})
    memory.close()

    async def again() -> None:
        await agent.ainvoke({"messages": [HumanMessage("Which colour has my bicycle?", id="h2")]})
        await memory.aclose()

    asyncio.run(again())
    return [[[one.type, one.text] for one in prompt] for prompt in model.heard]


def _plain(documents: Sequence[Document]) -> list[dict[str, Any]]:
    return [{"id": one.id, "text": one.page_content, "metadata": one.metadata} for one in documents]
