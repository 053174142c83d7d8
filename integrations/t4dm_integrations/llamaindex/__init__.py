"""T4DM for LlamaIndex: a vector store for its indexes, and a block of long-term memory for its agents."""

from __future__ import annotations

from t4dm_integrations.llamaindex.memory_block import T4DMMemoryBlock
from t4dm_integrations.llamaindex.vector_store import T4DMVectorStore

__all__ = ["T4DMMemoryBlock", "T4DMVectorStore"]
