"""From the name in the settings to an embedder, not yet loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from t4dm_daemon.core.errors import EmbeddingError
from t4dm_daemon.embedding.base import Embedder
from t4dm_daemon.embedding.hashing import HashingEmbedder
from t4dm_daemon.embedding.minilm import MiniLM
from t4dm_daemon.embedding.openai_compatible import OpenAICompatible
from t4dm_daemon.embedding.sentence_transformer import SentenceTransformerEmbedder

_OPENAI: Final = "openai:"
_CHOICES: Final = (
    "minilm (the default, all-MiniLM-L6-v2), openai:<model> (needs a base URL), a sentence-transformers hub id "
    "such as BAAI/bge-m3, the path of a model folder, or hashing (for tests: it does not understand meaning)"
)


def make_embedder(
    model: str,
    *,
    cache_dir: Path,
    threads: int,
    base_url: str | None,
    api_key: str | None,
    hashing_dimension: int = 256,
) -> Embedder:
    """Return the embedder that `model` names. Nothing is read or connected to before its `load()`.

    `hashing` is chosen by its name only, never in place of another. A hub id has a slash; a plain word that
    is neither known nor a folder is taken for a mistake and not looked up on the hub.
    """
    model = model.strip()
    if model == "minilm":
        return MiniLM(cache_dir, threads=threads)
    if model == "hashing":
        return HashingEmbedder(hashing_dimension)
    if model.startswith(_OPENAI):
        name = model.removeprefix(_OPENAI).strip()
        if not name:
            raise EmbeddingError(f"the embedder {model!r} names no model: choose {_CHOICES}", model=model)
        if not base_url:
            raise EmbeddingError(
                f"the embedder {model!r} needs a base URL, for example http://127.0.0.1:11434/v1", model=model
            )
        return OpenAICompatible(name, base_url=base_url, api_key=api_key)
    if model and ("/" in model or Path(model).is_dir()):
        return SentenceTransformerEmbedder(model)
    raise EmbeddingError(f"there is no embedder {model!r}: choose {_CHOICES}", model=model)
