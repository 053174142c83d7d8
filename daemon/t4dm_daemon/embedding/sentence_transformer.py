"""Any model the sentence-transformers library can open."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import EmbeddingError
from t4dm_daemon.embedding.pooling import pool, split_text, unit_rows
from t4dm_daemon.embedding.silent_import import import_silently

logger = logging.getLogger(__name__)

_HUB: Final = "https://huggingface.co"
_YES: Final = frozenset(("1", "ON", "YES", "TRUE"))  # as the hub's own library reads it
_PROBE_TIMEOUT_S: Final = 10.0
_BATCH_PIECES: Final = 16
_UNBOUNDED_WINDOW: Final = 2**31  # tokenizers without a limit report a huge one
_WEIGHT_FILES: Final = ("*.safetensors", "pytorch_model*.bin")


class SentenceTransformerEmbedder:
    """Embed with a sentence-transformers model: a folder, or a hub id such as `BAAI/bge-m3`.

    BGE-M3 (BAAI/bge-m3: 1024 dimensions, a window of 8192 tokens, over 100 languages, 2.3 GB) is the
    multilingual choice; a GPU is used when torch sees one. A hub id is downloaded by the library on the first
    `load()`; that, and a look whether the hub has it, is all that reaches for the network. Texts beyond the window
    are split at spaces by the model's own tokenizer and pooled. Prompts a model may want for queries or passages are
    not added.

    `embed` takes one call at a time: the library promises no thread-safety.
    """

    def __init__(self, model: str, *, device: str | None = None) -> None:
        self._model_name = model
        self._device = device
        self._lock = threading.Lock()
        self._model: Any = None
        self._identity = ""
        self._dimension = 0
        self._window_tokens = 0

    @property
    def name(self) -> str:
        return self._model_name

    @property
    def identity(self) -> str:
        """Model and weights; known, as the dimension is, once the model is loaded."""
        self._require_loaded()
        return self._identity

    @property
    def dimension(self) -> int:
        self._require_loaded()
        return self._dimension

    def load(self) -> None:
        """Open the model, downloading it if a hub id names it and the library has not kept it."""
        if self._model is not None:
            return
        absence = "" if Path(self._model_name).is_dir() else _ask_hub(self._model_name)
        if absence and not _is_kept(self._model_name):  # known before the library's slow import
            raise EmbeddingError(f"{self._model_name!r} is not on this machine, and {absence}", model=self._model_name)
        try:
            sentence_transformers = import_silently("sentence_transformers")
        except ImportError as error:
            raise EmbeddingError(
                f"embedder {self._model_name} needs sentence-transformers ({error}): pip install 't4dm[daemon]'",
                model=self._model_name,
            ) from error
        options = {"local_files_only": True} if absence else {}  # no patient tries for what will not come
        try:
            model = sentence_transformers.SentenceTransformer(self._model_name, device=self._device, **options)
        except (OSError, ValueError, RuntimeError, KeyError, ImportError, httpx.HTTPError) as error:
            if absence:
                raise EmbeddingError(
                    f"{self._model_name!r} is not on this machine, and {absence}", model=self._model_name
                ) from error
            raise EmbeddingError(
                f"sentence-transformers could not open {self._model_name!r} ({type(error).__name__}: {error}): "
                f"check the name; for a hub id the first load needs the network, for a folder all files of the model",
                model=self._model_name,
            ) from error
        window = int(model.max_seq_length or _UNBOUNDED_WINDOW)
        special = int(model.tokenizer.num_special_tokens_to_add()) if window < _UNBOUNDED_WINDOW else 0
        probe = np.asarray(model.encode(["dimension"], show_progress_bar=False, convert_to_numpy=True))
        with self._lock:
            self._identity = f"sentence-transformers:{_version(self._model_name, model)}"
            self._window_tokens = max(1, window - special)
            self._dimension = int(probe.shape[1])
            self._model = model

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one unit vector per text, (len(texts), dimension). Long texts are split and pooled, never cut."""
        with self._lock:
            model = self._require_loaded()
            pieces: list[str] = []
            owners: list[int] = []
            weights: list[int] = []
            for owner, text in enumerate(texts):
                text = text.encode("utf-8", "replace").decode()  # lone surrogates have no UTF-8
                for piece, tokens in split_text(text, self._window_tokens, lambda part: _count(model, part)):
                    pieces.append(piece)
                    owners.append(owner)
                    weights.append(tokens)
            if not pieces:
                return np.empty((0, self._dimension), np.float32)
            vectors = np.asarray(
                model.encode(pieces, batch_size=_BATCH_PIECES, show_progress_bar=False, convert_to_numpy=True),
                np.float32,
            )
        try:
            return pool(unit_rows(vectors), owners, weights, len(texts))
        except ValueError as error:
            raise EmbeddingError(f"{self._model_name} returned an unusable vector: {error}") from error

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text, without special tokens."""
        with self._lock:
            model = self._require_loaded()
            return [_count(model, text.encode("utf-8", "replace").decode()) for text in texts]

    def close(self) -> None:
        """Let go of the model, once a call that runs has ended."""
        with self._lock:
            self._model = None

    def _require_loaded(self) -> Any:
        if self._model is None:
            raise EmbeddingError(f"embedder {self._model_name} is not loaded (or closed): call load() first")
        return self._model


def _ask_hub(name: str) -> str:
    """Return why the hub will not give a model, with the next step; empty when it will. One request."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or _HUB
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in _YES:
        return "HF_HUB_OFFLINE is set: unset it for the first load, or give the path of a model folder"
    headers = {"Authorization": f"Bearer {token}"} if (token := os.environ.get("HF_TOKEN")) else {}
    try:
        answer = httpx.head(
            f"{endpoint}/api/models/{name}", headers=headers, timeout=_PROBE_TIMEOUT_S, follow_redirects=True
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return (
            f"{endpoint} cannot be reached ({error or type(error).__name__}): the first load of a hub id needs the "
            "network; or give the path of a model folder, or choose minilm, which comes with the installation"
        )
    if answer.status_code in {401, 403, 404}:
        return (
            f"{endpoint} has no model of this name, or keeps it private: check T4DM_EMBEDDING_MODEL; "
            "a private one needs HF_TOKEN"
        )
    return ""


def _is_kept(name: str) -> bool:
    """Return whether something of a hub model was downloaded before."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    cache = (
        os.environ.get("SENTENCE_TRANSFORMERS_HOME")
        or os.environ.get("HF_HUB_CACHE")
        or os.environ.get("HUGGINGFACE_HUB_CACHE")
        or Path(home) / "hub"
    )
    return (Path(cache).expanduser() / f"models--{name.replace('/', '--')}").is_dir()


def _count(model: Any, text: str) -> int:
    # The model's own tokens; `verbose=False` keeps back a warning about length, which is our business here.
    return len(model.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"])


def _version(name: str, model: Any) -> str:
    """Return the model's name with the revision of the hub or the digest of the folder's weights, if known."""
    folder = Path(name)
    if folder.is_dir():
        digest = hashlib.sha256()
        for file in sorted(file for pattern in _WEIGHT_FILES for file in folder.glob(pattern)):
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        return f"{folder.resolve().name}@{digest.hexdigest()[:12]}"
    revision = getattr(getattr(getattr(model[0], "auto_model", None), "config", None), "_commit_hash", None)
    if isinstance(revision, str) and re.fullmatch(r"[0-9a-f]{12,}", revision):
        return f"{name}@{revision[:12]}"
    logger.warning("revision of the model unknown; its vectors are recorded by name only", extra={"model": name})
    return name
