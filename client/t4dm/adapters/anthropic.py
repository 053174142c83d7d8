"""T4DM for Anthropic's SDK. A façade."""

from t4dm._extras import missing_extra

try:
    from t4dm_integrations.anthropic import AsyncT4DMMemoryTool, T4DMMemoryTool
except ModuleNotFoundError as error:
    raise missing_extra("anthropic", error) from error

__all__ = ["AsyncT4DMMemoryTool", "T4DMMemoryTool"]
