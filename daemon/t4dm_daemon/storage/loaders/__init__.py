"""Loaders: what other stores hold, into a space."""

from t4dm_daemon.storage.loaders.base import (
    Batch,
    Found,
    Limits,
    Position,
    Refusal,
    Source,
)
from t4dm_daemon.storage.loaders.chroma import ChromaSource
from t4dm_daemon.storage.loaders.jsonl import JsonlSource
from t4dm_daemon.storage.loaders.load import LoadReport, load
from t4dm_daemon.storage.loaders.qdrant import QdrantSource
from t4dm_daemon.storage.loaders.validate import Difference, ValidationReport, validate

__all__ = [
    "Batch",
    "ChromaSource",
    "Difference",
    "Found",
    "JsonlSource",
    "Limits",
    "LoadReport",
    "Position",
    "QdrantSource",
    "Refusal",
    "Source",
    "ValidationReport",
    "load",
    "validate",
]
