"""T4DM for LlamaIndex. A façade."""

from t4dm._extras import missing_extra

try:
    from t4dm_integrations.llamaindex import T4DMMemoryBlock, T4DMVectorStore
except ModuleNotFoundError as error:
    raise missing_extra("llamaindex", error) from error

__all__ = ["T4DMMemoryBlock", "T4DMVectorStore"]
