"""T4DM behind Anthropic's memory tool (`memory_20250818`): files that are memories."""

from t4dm_integrations.anthropic.tool import AsyncT4DMMemoryTool, T4DMMemoryTool

__all__ = ["AsyncT4DMMemoryTool", "T4DMMemoryTool"]
