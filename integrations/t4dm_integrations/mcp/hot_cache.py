"""The memories that a session most likely needs, kept in the server: the newest, the most used, and the pinned.

A cache is as old as its last reading at most `max_age_s`, and never outlives a write through this server. What it
saves is measured: how often it answered (`hits`), how often the daemon had to be asked (`misses`), and how long either
took. When the daemon cannot be asked and the cache is too old, that is an error, not an old answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from t4dm._backend import MemoryBackend
from t4dm.sdk import models as m
from t4dm.sdk.errors import NotFoundError
from t4dm_integrations.mcp.reach import Reach
from t4dm_integrations.mcp.scope import Scope

MAX_AGE_S: Final = 30.0
RECENT: Final = 50
MOST_USED: Final = 50
PINNED: Final = 50
_MOST_SCOPES: Final = 200


@dataclass(frozen=True, slots=True)
class Contents:
    """What was read, and when."""

    recent: tuple[m.Memory, ...]
    most_used: tuple[m.Memory, ...]
    pinned: tuple[m.Memory, ...]
    total: int
    read_at: datetime


@dataclass(slots=True)
class Measured:
    """What a cache has been good for since the server began."""

    hits: int = 0
    misses: int = 0
    joined: int = 0
    """Answered by what somebody else was just reading."""
    failures: int = 0
    hit_us_total: float = 0.0
    miss_ms_total: float = 0.0

    def as_json(self) -> dict[str, Any]:
        asked = self.hits + self.misses + self.joined
        return {
            "hits": self.hits,
            "misses": self.misses,
            "joined": self.joined,
            "failures": self.failures,
            "hit_rate": round(self.hits / asked, 4) if asked else None,
            "mean_hit_us": round(self.hit_us_total / self.hits, 1) if self.hits else None,
            "mean_miss_ms": round(self.miss_ms_total / self.misses, 2) if self.misses else None,
        }


class _Entry:
    __slots__ = ("contents", "expires_s", "generation", "lock", "measured")

    def __init__(self) -> None:
        self.contents: Contents | None = None
        self.expires_s = 0.0
        self.generation = 0
        self.lock = asyncio.Lock()
        self.measured = Measured()


class HotCache:
    """Caches by scope. Used from the event loop only; a scope is read once however many ask at the same time."""

    def __init__(
        self, reach: Reach, *, max_age_s: float = MAX_AGE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reach = reach
        self.max_age_s = max_age_s
        self._clock = clock
        self._entries: OrderedDict[Scope, _Entry] = OrderedDict()

    async def contents(self, scope: Scope, *, is_fresh: bool = False, deadline_s: float | None = None) -> Contents:
        """Return a scope's memories; with `is_fresh`, as the daemon has them now. Raises T4DMError."""
        started = time.perf_counter()
        entry = self._entry(scope)
        if not is_fresh and (found := self._kept(entry)) is not None:
            entry.measured.hits += 1
            entry.measured.hit_us_total += (time.perf_counter() - started) * 1e6
            return found
        async with entry.lock:
            if not is_fresh and (found := self._kept(entry)) is not None:  # somebody else has read it meanwhile
                entry.measured.joined += 1
                return found
            generation, asked_s = entry.generation, self._clock()
            try:
                found = await self._reach(lambda backend: read(backend, scope), deadline_s=deadline_s)
            except BaseException:
                entry.measured.failures += 1
                raise
            if generation == entry.generation:  # nothing was written while it was read
                entry.contents, entry.expires_s = found, asked_s + self.max_age_s
            if not is_fresh:
                entry.measured.misses += 1
                entry.measured.miss_ms_total += (time.perf_counter() - started) * 1e3
            return found

    def measured(self, scope: Scope) -> Measured:
        """Return what the cache of a scope has been good for."""
        return self._entry(scope).measured

    def drop(self, space: str) -> None:
        """Forget what was read of a space, because something was written to it."""
        for scope, entry in self._entries.items():
            if scope.space == space:
                entry.contents = None
                entry.generation += 1

    def _kept(self, entry: _Entry) -> Contents | None:
        return entry.contents if self._clock() < entry.expires_s else None

    def _entry(self, scope: Scope) -> _Entry:
        found = self._entries.get(scope)
        if found is None:
            found = self._entries[scope] = _Entry()
            if len(self._entries) > _MOST_SCOPES:
                self._entries.popitem(last=False)
        else:
            self._entries.move_to_end(scope)
        return found


def read(backend: MemoryBackend, scope: Scope) -> Contents:
    """Read a scope's newest, most used and pinned memories. A space that nobody has written to holds none."""
    read_at = datetime.now(UTC)
    recent, total = _page(backend, scope, RECENT)
    pinned = _page(backend, scope, PINNED, m.Filter(field="pinned", op="eq", value=True))[0] if total else []
    return Contents(tuple(recent), tuple(_most_used(backend, scope) if total else ()), tuple(pinned), total, read_at)


def _most_used(backend: MemoryBackend, scope: Scope) -> list[m.Memory]:
    """Return what was used most often, the newest first where there is a tie.

    The daemon lists by time, not by use; so the least number of uses is looked for that few enough have.
    """
    most = 4 * MOST_USED

    def used(at_least: int) -> tuple[list[m.Memory], int]:
        return _page(backend, scope, most, m.Filter(field="access_count", op="gte", value=at_least))

    too_few, enough = 0, 1
    # More than `most` were used at least `too_few` times; at least `enough` times, so many at most.
    while (found := used(enough))[1] > most:
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        page = used(middle)
        if page[1] > most:
            too_few = middle
        else:
            enough, found = middle, page
    best = {memory.id: memory for memory in found[0]}
    if len(best) < MOST_USED and too_few:
        best = {memory.id: memory for memory in used(too_few)[0]} | best
    return sorted(best.values(), key=lambda memory: -memory.access_count)[:MOST_USED]


def _page(
    backend: MemoryBackend, scope: Scope, limit: int, where: m.Filter | None = None
) -> tuple[list[m.Memory], int]:
    request = m.ListRequest(space=scope.space, filter=where, order_by="-created_at", limit=limit, **scope.owner_fields)
    try:
        page = backend.list(request)
    except NotFoundError as error:
        if not error.is_missing_space:
            raise
        return [], 0
    return page.results, page.total
