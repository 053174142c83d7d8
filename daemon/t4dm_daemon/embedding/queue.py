"""One embedder shared by many callers: batches across requests, queries before imports, bounds everywhere.

Callers wait in `embed`; one worker thread owns the embedder. It takes interactive texts first and bulk texts
when there are none, in micro-batches of at most `max_batch` texts and `_BATCH_CHARS` characters. An embedder
with `embed_in_steps` is not left alone with a bulk batch either: between its steps the worker serves the
interactive texts that have come, so even a book of one text does not keep a query waiting.
Bulk texts are not starved either: after `_INTERACTIVE_RUN` interactive micro-batches in a row comes one bulk
step (a micro-batch, if the embedder has no steps), so that is the longest an interactive text waits for others'.

    caller ── cache ── waiting (interactive | bulk) ── worker ── embedder ── cache ── caller

Locks: `_lock` guards the fields below it in `__init__` (single reads of `_state`, `_error`, `_is_closed` and
`_s_per_text` go without); `_work` is its condition, on which the worker waits.
An entry's `vector` and `failure` are written once, by the worker, before the requests that wait for it are
told under `_lock`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import BusyError, DaemonError, EmbeddingError, InvalidInputError
from t4dm_daemon.embedding.base import Embedder, RefusedTextsError
from t4dm_daemon.embedding.cache import VectorCache

logger = logging.getLogger(__name__)

State = Literal["loading", "ready", "failed"]

_BATCH_CHARS: Final = 4_000  # about 1000 tokens of English, 0.15 s of all-MiniLM-L6-v2 on two cores
_INTERACTIVE_RUN: Final = 8  # bulk work keeps at least a ninth of the worker's turns
_FIRST_GUESS_S_PER_TEXT: Final = 0.01
_CLOSE_TIMEOUT_S: Final = 10.0
CHARACTERS_PER_TOKEN: Final = 4  # of English prose, by the tokenizers of common models


@runtime_checkable
class SteppedEmbedder(Protocol):
    """What an embedder may offer beside `embed`: the same work, in steps between which it can be left."""

    def embed_in_steps(self, texts: Sequence[str]) -> Generator[None, None, npt.NDArray[np.float32]]: ...


@runtime_checkable
class TokenCounting(Protocol):
    """What an embedder with a tokenizer offers beside `embed`."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]: ...


@dataclass(eq=False, slots=True)
class _Request:
    """One call of `embed`, waiting for `missing` entries."""

    missing: int
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(eq=False, slots=True)
class _Entry:
    """One text that waits or is being embedded, for one or more requests."""

    text: str
    requests: list[_Request]
    vector: npt.NDArray[np.float32] | None = None
    failure: Exception | None = None


class EmbeddingQueue:
    """Embed for many threads at once with one embedder. Every method may be called from any thread."""

    def __init__(
        self, embedder: Embedder, *, cache: VectorCache, max_batch: int = 32, max_waiting: int = 20_000
    ) -> None:
        self._embedder = embedder
        self._cache = cache
        self._has_steps = isinstance(embedder, SteppedEmbedder)
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._state: State = "loading"
        self._error: str | None = None
        self._settled = threading.Event()  # set while the state is not "loading"
        self._worker: threading.Thread | None = None
        self._is_closed = False
        self._interactive: OrderedDict[str, _Entry] = OrderedDict()
        self._bulk: OrderedDict[str, _Entry] = OrderedDict()
        self._requests: set[_Request] = set()
        self._s_per_text = _FIRST_GUESS_S_PER_TEXT

    @property
    def name(self) -> str:
        return self._embedder.name

    @property
    def identity(self) -> str:
        return self._embedder.identity

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    @property
    def has_tokenizer(self) -> bool:
        """Whether `count_tokens` counts, and does not estimate."""
        return isinstance(self._embedder, TokenCounting)

    @property
    def counted_by(self) -> str:
        """What `count_tokens` counts with."""
        return self.name if isinstance(self._embedder, TokenCounting) else "characters / 4"

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text, by the embedder's tokenizer; an estimate where it has none."""
        if isinstance(self._embedder, TokenCounting):
            return self._embedder.count_tokens(texts)
        return [-(-len(text) // CHARACTERS_PER_TOKEN) for text in texts]

    @property
    def state(self) -> State:
        return self._state

    @property
    def error(self) -> str | None:
        """The reason and the next step when the state is "failed"."""
        return self._error

    @property
    def cache(self) -> VectorCache:
        return self._cache

    @property
    def waiting(self) -> int:
        """Texts that wait for the worker, without those it is embedding."""
        with self._lock:
            return len(self._interactive) + len(self._bulk)

    def start(self) -> None:
        """Begin loading in the worker thread and return at once. After a failure, try again."""
        with self._lock:
            if self._is_closed or (self._worker is not None and self._state != "failed"):
                return
            self._state, self._error = "loading", None
            self._settled.clear()
            self._worker = threading.Thread(target=self._work_until_closed, name="t4dm-embedding", daemon=True)
            self._worker.start()

    def wait_ready(self, timeout_s: float | None = None) -> bool:
        """Wait until loading has ended; return whether the embedder is ready."""
        self._settled.wait(timeout_s)
        return self._state == "ready"

    def embed(
        self, texts: Sequence[str], *, bulk: bool = False, timeout_s: float | None = None
    ) -> npt.NDArray[np.float32]:
        """Return one unit vector per text, (len(texts), dimension), the caller's own to change.

        Starts the worker if `start` was not called, and waits while the embedder loads.

        Args:
            texts: In any order, with repetitions; at most `max_waiting` that are not in the cache.
            bulk: True for imports: interactive texts overtake these.
            timeout_s: For waiting and embedding together; None waits as long as it takes.

        Raises:
            BusyError: Too many texts wait already, the time is up, or the queue is closed.
            EmbeddingError: The embedder failed.
            InvalidInputError: The embedder refuses one of the texts, or they are more than the queue ever holds.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._require_ready(deadline)
        vectors = np.empty((len(texts), self._embedder.dimension), np.float32)
        rows: dict[str, list[int]] = {}
        identity = self._embedder.identity
        for row, text in enumerate(texts):
            if text in rows:
                rows[text].append(row)
            elif (vector := self._cache.get(identity, text)) is not None:
                vectors[row] = vector
            else:
                rows[text] = [row]
        if not rows:
            return vectors

        request = _Request(len(rows))
        entries = self._enqueue(list(rows), request, bulk=bulk)
        if not request.done.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
            self._withdraw(entries, request)
            raise BusyError(
                f"{len(texts)} texts were not embedded within {timeout_s} s",
                retry_after_s=self._retry_after_s(),
                timeout_s=timeout_s,
            )
        for entry in entries:
            if entry.vector is None:
                raise self._failure_of(entry)
            vectors[rows[entry.text]] = entry.vector
        return vectors

    def close(self) -> None:
        """Fail the callers that wait, stop the worker and close the embedder. Again, it does nothing."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._state, self._error = "failed", "the embedding queue is closed"
            self._settled.set()
            self._interactive.clear()
            self._bulk.clear()
            for request in self._requests:
                request.done.set()
            self._requests.clear()
            worker = self._worker
            self._work.notify_all()
        self._embedder.close()
        if worker is not None and worker is not threading.current_thread():
            worker.join(_CLOSE_TIMEOUT_S)
            if worker.is_alive():
                logger.warning("embedding worker still busy at close", extra={"waited_s": _CLOSE_TIMEOUT_S})

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Callers' side

    def _require_ready(self, deadline: float | None) -> None:
        if self._state == "loading":
            self.start()
            self.wait_ready(None if deadline is None else max(0.0, deadline - time.monotonic()))
        if self._state == "loading":
            raise BusyError(f"the embedder {self.name} is still loading", retry_after_s=1.0, state="loading")
        if self._is_closed:
            raise _stopping()
        if self._state == "failed":
            raise EmbeddingError(f"the embedder {self.name} is not available: {self._error}", state="failed")

    def _enqueue(self, texts: Sequence[str], request: _Request, *, bulk: bool) -> list[_Entry]:
        """Make `request` wait for `texts`, each joined with an entry of the same text that waits already."""
        with self._lock:
            if self._is_closed:
                raise _stopping()
            waiting = len(self._interactive) + len(self._bulk)
            new = sum(text not in self._interactive and text not in self._bulk for text in texts)
            if new > self._max_waiting:
                raise InvalidInputError(
                    f"{new} texts at once are more than the embedding queue holds ({self._max_waiting}): "
                    f"send them in parts",
                    texts=new,
                    limit=self._max_waiting,
                )
            if waiting + new > self._max_waiting:
                raise BusyError(
                    f"{waiting} texts wait to be embedded and {new} more would exceed {self._max_waiting}",
                    retry_after_s=self._retry_after_s(waiting),
                    waiting=waiting,
                    limit=self._max_waiting,
                )
            entries = [self._join_or_add(text, bulk=bulk) for text in texts]
            for entry in entries:
                entry.requests.append(request)
            self._requests.add(request)
            self._work.notify()
        return entries

    def _join_or_add(self, text: str, *, bulk: bool) -> _Entry:
        """Return the entry of `text`. Requires: self._lock held."""
        entry = self._interactive.get(text)
        if entry is not None:
            return entry
        entry = self._bulk.get(text) if bulk else self._bulk.pop(text, None)  # a query takes it along
        if entry is None:
            entry = _Entry(text, [])
        (self._bulk if bulk else self._interactive)[text] = entry
        return entry

    def _withdraw(self, entries: Sequence[_Entry], request: _Request) -> None:
        """Forget a request whose time is up, and the texts that nobody else waits for."""
        with self._lock:
            self._requests.discard(request)
            for entry in entries:
                entry.requests.remove(request)
                if not entry.requests:
                    for waiting in (self._interactive, self._bulk):
                        if waiting.get(entry.text) is entry:
                            del waiting[entry.text]

    def _failure_of(self, entry: _Entry) -> DaemonError:
        failure = entry.failure
        if failure is None:
            return _stopping()
        what = f"a text of {len(entry.text)} characters was not embedded"
        if not isinstance(failure, DaemonError):
            return EmbeddingError(f"{what}: {type(failure).__name__}")  # its own words may quote the text
        kind = InvalidInputError if isinstance(failure, RefusedTextsError) else EmbeddingError
        error = kind(f"{what}: {failure.message}", **failure.details)
        error.__cause__ = failure
        return error

    def _retry_after_s(self, waiting: int | None = None) -> float:
        waiting = self.waiting if waiting is None else waiting
        return round(min(60.0, max(0.5, waiting * self._s_per_text)), 1)

    # Worker's side

    def _work_until_closed(self) -> None:
        try:
            self._embedder.load()
            failure = None
        except DaemonError as error:  # its own sentence says all; who waits for the embedder tells it
            logger.debug("embedder not loaded", exc_info=True)
            failure = error.message
        except Exception as error:
            logger.exception("embedder not loaded", extra={"embedder": self._embedder.name})
            failure = f"{type(error).__name__}: {error}"
        with self._lock:
            if not self._is_closed:
                self._state, self._error = ("ready", None) if failure is None else ("failed", failure)
            self._settled.set()
            is_closed = self._is_closed
        if is_closed:
            self._embedder.close()  # close() came before load() had ended
        if is_closed or failure is not None:
            return
        run = 0  # interactive micro-batches in a row while bulk texts waited
        while True:
            with self._lock:
                self._work.wait_for(lambda: self._is_closed or self._interactive or self._bulk)
                if self._is_closed:
                    return
                is_bulk = bool(self._bulk) and (not self._interactive or run >= _INTERACTIVE_RUN)
                run = run + 1 if self._bulk and not is_bulk else 0
                if is_bulk:
                    entries = self._take(self._bulk, max_chars=None if self._has_steps else _BATCH_CHARS)
                else:
                    entries = self._take(self._interactive)
            self._embed_entries(entries, in_steps=is_bulk)

    def _take(self, waiting: OrderedDict[str, _Entry], *, max_chars: int | None = _BATCH_CHARS) -> list[_Entry]:
        """Remove and return the next micro-batch, oldest first. Requires: self._lock held."""
        entries: list[_Entry] = []
        chars = 0
        while waiting and len(entries) < self._max_batch:
            text = next(iter(waiting))
            chars += len(text)
            if entries and max_chars is not None and chars > max_chars:
                break
            entries.append(waiting.pop(text))
        return entries

    def _serve_interactive(self) -> None:
        """Embed the interactive texts that wait, for as long as the bulk batch at hand may be left alone."""
        for _ in range(_INTERACTIVE_RUN):
            with self._lock:
                entries = self._take(self._interactive)
            if not entries:
                return
            self._embed_entries(entries, in_steps=False)

    def _embed_entries(self, entries: Sequence[_Entry], *, in_steps: bool) -> None:
        """Give each entry its vector or its failure, and tell the requests. Raises nothing.

        Only a refused batch is tried text by text: a server that is away would cost its time-outs for each.
        """
        failure = self._try(entries, in_steps=in_steps)
        if len(entries) == 1 or not isinstance(failure, RefusedTextsError):
            self._settle(entries, failure)
            return
        for number, entry in enumerate(entries):
            if in_steps:
                self._serve_interactive()
            failure = self._try([entry], in_steps=in_steps)
            if failure is not None and not isinstance(failure, RefusedTextsError):
                self._settle(entries[number:], failure)
                return
            self._settle([entry], failure)

    def _try(self, entries: Sequence[_Entry], *, in_steps: bool) -> Exception | None:
        """Give each entry its vector, or return why none got one."""
        try:
            vectors = self._compute([entry.text for entry in entries], in_steps=in_steps)
            identity = self._embedder.identity
            for entry, vector in zip(entries, vectors, strict=True):
                self._cache.put(identity, entry.text, vector)
                entry.vector = vector
        except Exception as error:
            if not self._is_closed:
                facts = {
                    "texts": len(entries),
                    "chars": sum(len(entry.text) for entry in entries),
                    "error": type(error).__name__,
                    "code": getattr(error, "code", None),
                }
                logger.warning("texts not embedded", extra=facts)
                logger.debug("why texts were not embedded", exc_info=True)  # may quote them
            return error
        return None

    def _settle(self, entries: Sequence[_Entry], failure: Exception | None) -> None:
        """Tell the requests that these entries have their vectors, or that `failure` came instead."""
        with self._lock:
            if self._is_closed and failure is not None:
                return  # close() has told them
            if isinstance(failure, DaemonError) and len({id(one) for entry in entries for one in entry.requests}) > 1:
                failure.details.pop("answer", None)  # it may quote one caller's text to another
            for entry in entries:
                entry.failure = failure
                for request in entry.requests:
                    request.missing -= 1
                    if request.missing == 0:
                        self._requests.discard(request)
                        request.done.set()

    def _compute(self, texts: list[str], *, in_steps: bool) -> npt.NDArray[np.float32]:
        began = time.monotonic()
        away_s = 0.0
        if in_steps and self._has_steps:
            assert isinstance(self._embedder, SteppedEmbedder)
            steps = self._embedder.embed_in_steps(texts)
            while True:
                try:
                    next(steps)
                except StopIteration as finished:
                    vectors: npt.NDArray[np.float32] = finished.value
                    break
                left = time.monotonic()
                self._serve_interactive()
                away_s += time.monotonic() - left
                if self._is_closed:
                    raise EmbeddingError("the embedding queue is closed")
        else:
            vectors = self._embedder.embed(texts)
        expected = (len(texts), self._embedder.dimension)
        if vectors.shape != expected or not np.isfinite(vectors).all():
            raise EmbeddingError(
                f"{self.name} returned an array {vectors.shape}, finite: {bool(np.isfinite(vectors).all())}; "
                f"expected {expected}"
            )
        s_per_text = (time.monotonic() - began - away_s) / len(texts)
        self._s_per_text += 0.2 * (s_per_text - self._s_per_text)
        return vectors


def _stopping() -> BusyError:
    return BusyError("the embedder is stopping; nothing was done", phase="stopping")
