"""`T4DXEngine` and `Database` under their promised names. A façade: the code lives in the daemon package."""

from t4dm._extras import missing_extra

try:
    from t4dm_daemon.storage.t4dx import Database, T4DXEngine
except ModuleNotFoundError as error:
    raise missing_extra("daemon", error) from error

__all__ = ["Database", "T4DXEngine"]
