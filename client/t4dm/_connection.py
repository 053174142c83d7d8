"""Where an adapter's memories are, and the backends that reach them, opened when first used.

An adapter is made from plain settings (`url` or `storage_path`), so that its framework can save and restore it, or
from a `client` of the caller's own. Nothing is opened, and nothing is sent, before the first call; a closed
connection opens again when it is used again.

One process may hold a data directory once, so all connections to one `storage_path` share what is open; the last
to close closes it.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

from t4dm._async_backend import AsyncMemoryBackend, InThread, as_async
from t4dm._backend import MemoryBackend
from t4dm.sdk.errors import ValidationError


@dataclass(slots=True)
class _Held:
    """A data directory that this process serves, and how many connections use it."""

    backend: MemoryBackend
    users: int = 0


_HELD: Final[dict[Path, _Held]] = {}
_HELD_LOCK: Final = threading.RLock()
"""Guards `_HELD`; held while a directory is opened or closed, which no two threads may do at once. Reentrant, because
a connection that nobody holds any more is closed wherever the garbage collector comes across it."""


class _Opened:
    """What a connection has opened for calls that wait."""

    __slots__ = ("backend", "path")

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.backend: MemoryBackend | None = None

    def close(self) -> None:
        opened, self.backend = self.backend, None
        if opened is None:
            return
        if self.path is not None:
            _release(self.path)
        else:
            opened.close()


class Connection:
    """Reach a daemon, a data directory in this process, or a backend given by the caller. Thread-safe.

    Can be pickled and copied unless it was made of a `client`: the settings travel, what is open does not. Frameworks
    make adapters anew for single calls, so what is open for calls that wait closes with the last reference, too.

    `_lock` guards what is open for calls that wait, and is held while a directory is opened; `_async_lock` guards
    `_async`, and is never held for long, because event loops take it.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        storage_path: str | Path | None = None,
        client: MemoryBackend | AsyncMemoryBackend | None = None,
        timeout_s: float = 30.0,
        max_retries: int = 3,
    ) -> None:
        """Note where the memories are. With nothing given: `T4DM_URL`, else http://127.0.0.1:8765.

        Args:
            url: Where the daemon is. Its key, if it wants one, is taken from `T4DM_API_KEY`, so that no settings
                that are saved hold a secret.
            storage_path: A data directory to serve in this process.
            client: A client or backend of the caller's own; it stays open when this closes.
            timeout_s: Longest wait for an answer of the daemon.
            max_retries: How often a call is tried again where that does no harm.

        Raises:
            TypeError: More than one of url, storage_path and client is given.
        """
        if sum(given is not None for given in (url, storage_path, client)) > 1:
            raise TypeError("give at most one of url, storage_path and client")
        self._url = url
        self._path = None if storage_path is None else Path(storage_path).expanduser().resolve()
        self._client = client
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        self._lock = threading.Lock()
        self._async_lock = threading.Lock()
        self._opened = _Opened(self._path)
        weakref.finalize(self, self._opened.close)
        self._async: AsyncMemoryBackend | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Plain JSON from which `Connection(**settings)` makes one like this.

        Raises:
            ValidationError: It was made of a `client`, which no settings describe.
        """
        if self._client is not None:
            raise ValidationError(
                "a client of your own cannot be saved or copied; give url= or storage_path= instead",
                code="not_serializable",
            )
        return {
            "url": self._url,
            "storage_path": None if self._path is None else str(self._path),
            "timeout_s": self._timeout_s,
            "max_retries": self._max_retries,
        }

    def backend(self) -> MemoryBackend:
        """Return what carries out calls that wait.

        Raises:
            T4DMError: The data directory cannot be opened; the message says why.
            TypeError: The caller's client only works with `await`.
        """
        if self._client is not None:
            if as_async(self._client) is self._client:
                raise TypeError(
                    "this client only works with await; give a T4DMClient, or url=, for calls that do not await"
                )
            return cast("MemoryBackend", self._client)
        with self._lock:
            if self._opened.backend is None:
                self._opened.backend = self._open()
            return self._opened.backend

    def async_backend(self) -> AsyncMemoryBackend:
        """Return what carries out calls that are awaited; nothing of it waits on the event loop."""
        with self._async_lock:
            if self._async is None:
                self._async = self._open_async()
            return self._async

    def _open(self) -> MemoryBackend:
        if self._path is not None:
            return _hold(self._path)
        from t4dm.sdk.client import T4DMClient

        return T4DMClient(self._url, timeout_s=self._timeout_s, max_retries=self._max_retries)

    def _open_async(self) -> AsyncMemoryBackend:
        if self._client is not None:
            return as_async(self._client)
        if self._path is not None:
            return InThread(self.backend)
        from t4dm.sdk.async_client import AsyncT4DMClient

        return AsyncT4DMClient(self._url, timeout_s=self._timeout_s, max_retries=self._max_retries)

    # The end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close what calls that wait have opened. Twice does no harm."""
        if self._path is not None:
            with self._async_lock:
                self._async = None
        with self._lock:
            self._opened.close()

    async def aclose(self) -> None:
        """Close what was opened, awaited or not. Twice does no harm."""
        with self._async_lock:
            opened, self._async = self._async, None
        if opened is not None and self._client is None and self._path is None:
            await opened.close()
        await asyncio.to_thread(self.close)  # a data directory is flushed, which takes its time

    # Copies -------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return self.settings

    def __setstate__(self, state: dict[str, Any]) -> None:
        Connection.__init__(self, **state)

    def __deepcopy__(self, memo: dict[int, Any]) -> Connection:
        return self if self._client is not None else Connection(**self.settings)


class Connected:
    """What reaches memories over a `_connection` of its own, and closes it."""

    __slots__ = ()

    _connection: Connection

    def close(self) -> None:
        """Close what was opened by calls that wait. Twice does no harm; a later call opens it again."""
        self._connection.close()

    async def aclose(self) -> None:
        """Close everything that was opened."""
        await self._connection.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _hold(path: Path) -> MemoryBackend:
    """Open a data directory, or share it."""
    from t4dm._embedded import open_embedded

    with _HELD_LOCK:
        held = _HELD.get(path)
        if held is None:
            held = _HELD[path] = _Held(open_embedded(path))
        held.users += 1
        return held.backend


def _release(path: Path) -> None:
    with _HELD_LOCK:
        held = _HELD[path]
        held.users -= 1
        if held.users:
            return
        del _HELD[path]
        held.backend.close()
