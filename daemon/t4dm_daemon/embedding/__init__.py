"""Turn texts into vectors: embedders of several kinds, and the queue and cache before them.

Importing this package loads no model library; an embedder imports its own in `load()`.
"""

from t4dm_daemon.embedding.base import Embedder
from t4dm_daemon.embedding.cache import CacheStats, VectorCache
from t4dm_daemon.embedding.factory import make_embedder
from t4dm_daemon.embedding.hashing import HashingEmbedder
from t4dm_daemon.embedding.minilm import MiniLM
from t4dm_daemon.embedding.openai_compatible import OpenAICompatible
from t4dm_daemon.embedding.queue import EmbeddingQueue
from t4dm_daemon.embedding.sentence_transformer import SentenceTransformerEmbedder
from t4dm_daemon.embedding.served import ServedEmbedder

__all__ = [
    "CacheStats",
    "Embedder",
    "EmbeddingQueue",
    "HashingEmbedder",
    "MiniLM",
    "OpenAICompatible",
    "SentenceTransformerEmbedder",
    "ServedEmbedder",
    "VectorCache",
    "make_embedder",
]
