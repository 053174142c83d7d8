"""T4DM as the store of LangGraph, whose graphs and agents keep there what they know across threads."""

from t4dm_integrations.langgraph.store import T4DMStore

__all__ = ["T4DMStore"]
