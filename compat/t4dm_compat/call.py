"""How a router reaches memory: by work that the daemon runs in a thread, with the backend of this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from t4dm._backend import MemoryBackend

T = TypeVar("T")


class Call(Protocol):
    """Run work off the event loop and return what it returns; what it raises is answered in the door's own shape."""

    async def __call__(self, work: Callable[[MemoryBackend], T], /) -> T: ...
