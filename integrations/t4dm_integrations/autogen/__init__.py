"""T4DM as the memory of AutoGen's agents."""

from t4dm_integrations.autogen.memory import T4DMAutoGenMemory, T4DMAutoGenMemoryConfig

__all__ = ["T4DMAutoGenMemory", "T4DMAutoGenMemoryConfig"]
