"""The profile `knowledge-graph`: the nine tools of the reference memory server, over T4DM's memories and links."""

from t4dm_integrations.mcp.knowledge_graph.server import KnowledgeGraphs

__all__ = ["KnowledgeGraphs"]
