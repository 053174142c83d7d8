"""T4DX beside the embedded stores a user would pick, and beside the limits of any of them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Final

from tests.bench.peers.protocol import Peer


@dataclass(frozen=True, slots=True)
class System:
    """Where a system's adapter is, and what it takes to have it.

    Attributes:
        title: Its heading in the tables.
        module, adapter: The class to load, within this package.
        install: What to give to `pip install`; empty when the daemon's own packages are enough.
        distribution: The package whose version is reported; empty for none.
    """

    title: str
    module: str
    adapter: str
    install: str = ""
    distribution: str = ""

    def load(self) -> type[Peer]:
        """Import the adapter, not yet the library behind it."""
        module: Any = importlib.import_module(f"tests.bench.peers.{self.module}")
        found: type[Peer] = getattr(module, self.adapter)
        return found


OURS: Final = "t4dx"
SYSTEMS: Final[dict[str, System]] = {
    OURS: System("T4DX", "ours", "Ours", "", "t4dm"),
    "chroma": System("Chroma", "chroma", "Chroma", "chromadb", "chromadb"),
    "lance": System("LanceDB", "lance", "Lance", "lancedb", "lancedb"),
    "qdrant": System("Qdrant local", "qdrant", "Qdrant", "qdrant-client", "qdrant-client"),
    "sqlite-vec": System("sqlite-vec", "vec0", "SqliteVec", "sqlite-vec pysqlite3-binary", "sqlite-vec"),
    "hnswlib": System("raw hnswlib", "limits", "RawHnswlib", "hnswlib", "hnswlib"),
    "faiss": System("raw faiss HNSW", "limits", "RawFaiss", "faiss-cpu", "faiss-cpu"),
    "numpy": System("numpy scan", "limits", "NumpyScan", "", "numpy"),
    "raw": System("raw pwrite+fdatasync", "limits", "RawFile", "", ""),
}
