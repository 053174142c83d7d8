"""T4DM as the memory of CrewAI's crews and agents.

`T4DMCrewMemory` is a whole memory: the daemon embeds, ranks and tells duplicates, without a language model.
`T4DMStorage` keeps what CrewAI's own `Memory` embeds and ranks; `install` gives it the form of a text, `t4dm://…`.
"""

from t4dm_integrations.crewai.factory import install
from t4dm_integrations.crewai.memory import MemoryAbortedError, T4DMCrewMemory
from t4dm_integrations.crewai.storage import T4DMStorage

__all__ = ["MemoryAbortedError", "T4DMCrewMemory", "T4DMStorage", "install"]
