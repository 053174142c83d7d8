"""T4DM for AutoGen. A façade."""

from t4dm._extras import missing_extra

try:
    from t4dm_integrations.autogen import T4DMAutoGenMemory
except ModuleNotFoundError as error:
    raise missing_extra("autogen", error) from error

__all__ = ["T4DMAutoGenMemory"]
