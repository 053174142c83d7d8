"""T4DX, the embedded storage engine: an LSM store of versioned items with vectors, labels, texts and links."""

from t4dm_daemon.storage.t4dx.database import FORMAT_VERSION, Database
from t4dm_daemon.storage.t4dx.engine import T4DXEngine

__all__ = ["FORMAT_VERSION", "Database", "T4DXEngine"]
