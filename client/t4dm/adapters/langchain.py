"""T4DM for LangChain and LangGraph. A façade."""

from t4dm._extras import missing_extra

try:
    from t4dm_integrations.langchain import (
        T4DMChatMessageHistory,
        T4DMMemory,
        T4DMMemoryMiddleware,
        T4DMRetriever,
        T4DMVectorStore,
    )
    from t4dm_integrations.langgraph import T4DMStore
except ModuleNotFoundError as error:
    raise missing_extra("langchain", error) from error

__all__ = [
    "T4DMChatMessageHistory",
    "T4DMMemory",
    "T4DMMemoryMiddleware",
    "T4DMRetriever",
    "T4DMStore",
    "T4DMVectorStore",
]
