"""T4DM for LangChain: a vector store, a retriever, a chat history, a conversation memory, an agent's memory.

`T4DMMemory` needs `langchain-classic` and `T4DMMemoryMiddleware` needs `langchain`; both are imported when they are
asked for, so that the others need `langchain-core` alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from t4dm_integrations.langchain.chat_history import T4DMChatMessageHistory
from t4dm_integrations.langchain.filters import to_filter
from t4dm_integrations.langchain.retriever import T4DMRetriever
from t4dm_integrations.langchain.vector_store import T4DMVectorStore

if TYPE_CHECKING:
    from t4dm_integrations.langchain.memory import T4DMMemory
    from t4dm_integrations.langchain.middleware import T4DMMemoryMiddleware

__all__ = [
    "T4DMChatMessageHistory",
    "T4DMMemory",
    "T4DMMemoryMiddleware",
    "T4DMRetriever",
    "T4DMVectorStore",
    "to_filter",
]

_LATER: Final = {"T4DMMemory": "memory", "T4DMMemoryMiddleware": "middleware"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
