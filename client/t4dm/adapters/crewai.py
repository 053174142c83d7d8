"""T4DM for CrewAI. A façade."""

from t4dm._extras import missing_extra

try:
    from t4dm_integrations.crewai import T4DMCrewMemory, T4DMStorage, install
except ModuleNotFoundError as error:
    raise missing_extra("crewai", error) from error

__all__ = ["T4DMCrewMemory", "T4DMStorage", "install"]
