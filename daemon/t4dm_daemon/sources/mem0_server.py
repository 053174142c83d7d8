"""Mem0 over HTTP: the cloud's API (also T4DM's own door for Mem0's clients), and the server that people host.

The cloud's list, newest first that is there:

    POST /v3/memories/?page=1&page_size=100   {"filters": {…}, "show_expired": true}   → {"count", "next", "results"}
    POST /v2/memories/?page=1&page_size=100   {"filters": {…}}                         → the same
    GET  /v1/memories/?user_id=…                                                       → an array

`Authorization: Token <key>`. "All" is the filter `{"OR": [{"user_id": "*"}, …]}`: `*` is any owner that is not null.
The hosted server lists without pages: `GET /memories?user_id=…&top_k=…`, `X-API-Key`; without an owner it gives all, to
an administrator, if it is new enough. It gives at most `top_k`, so a full answer may be a cut one, which is told.

Checked against mem0ai 2.2.1 (client), docs.mem0.ai, and server/main.py of github.com/mem0ai/mem0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Final

from t4dm_daemon.sources.entries import Entry, Unstored
from t4dm_daemon.sources.mem0 import memory
from t4dm_daemon.sources.mem0_http import ReadingHttp

PAGE_SIZE: Final = 100
_OWNERS: Final = ("user_id", "agent_id", "app_id", "run_id")
_TOP_K: Final = (10_000, 1000, None)
"""How many to ask a hosted server for: versions differ in what they allow."""
_DEFAULTS: Final = frozenset((20, 100, 1000, 10_000))
"""What hosted servers stop at when they are not told, or do not listen."""

Page = tuple[list[Any], bool]
"""Memories, and whether more follow."""


class Mem0Server:
    """Read all memories of a server, or of some owners.

    Args:
        url: Where it is.
        key: Of its API.
        owners: Only of these: `{"user_id": "ada"}`, each by itself. All when empty.
        pause: Waits so many seconds.
        timeout_s: For each answer.

    Raises:
        SourceError: The URL or the key cannot be one.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        owners: Sequence[Mapping[str, str]] = (),
        pause: Callable[[float], None] = time.sleep,
        timeout_s: float = 60.0,
    ) -> None:
        self._owners = owners
        self._http = ReadingHttp(url, key, pause=pause, timeout_s=timeout_s)

    def entries(self) -> Iterator[Entry]:
        """Yield the memories. Raises SourceError, which says how to go on."""
        with closing(self._http):
            seen: set[str] = set()  # a memory has several owners
            for place, given in self._found():
                if isinstance(given, Unstored):
                    yield given
                    continue
                if not isinstance(given, dict):
                    yield Unstored(place, "a memory is an object")
                    continue
                identifier = str(given.get("id") or "")
                if identifier and identifier in seen:
                    continue
                seen.add(identifier)
                yield memory(place, given)

    def _found(self) -> Iterator[tuple[str, object]]:
        scopes: Sequence[Mapping[str, str] | None] = self._owners or [None]
        is_cloud = self._is_cloud()
        for scope in scopes:
            yield from self._cloud(scope) if is_cloud else self._hosted(scope)

    def _is_cloud(self) -> bool:
        return isinstance(self._http.ask("GET", "/v1/ping/", missing=True), dict)

    # The cloud ----------------------------------------------------------------------------------------

    def _cloud(self, scope: Mapping[str, str] | None) -> Iterator[tuple[str, object]]:
        filters: dict[str, Any] = {"OR": [{name: "*"} for name in _OWNERS]}
        if scope is not None:
            filters = {"AND": [{name: value} for name, value in scope.items()]}
        for path, body in (
            ("/v3/memories/", {"filters": filters, "show_expired": True}),
            ("/v2/memories/", {"filters": filters}),
        ):
            page = partial(self._page, "POST", path, body)
            if (first := page({}, 1)) is not None:
                yield from self._pages(first, partial(page, {}))
                return
        for owner in [scope] if scope is not None else self._entities():
            page = partial(self._page, "GET", "/v1/memories/", None)
            if (first := page(owner, 1)) is None:
                raise self._http.strange("/v1/memories/", "it has none of Mem0's lists of memories")
            yield from self._pages(first, partial(page, owner))

    def _pages(self, first: Page, more: Callable[[int], Page | None]) -> Iterator[tuple[str, object]]:
        number, page = 1, first
        while True:
            results, goes_on = page
            for at, given in enumerate(results, start=1):
                yield f"page {number}, memory {at}", given
            if not goes_on or not results:
                return
            number += 1
            following = more(number)
            if following is None:
                place = f"page {number}"
                yield place, Unstored(place, "it is missing, though the page before has a next one")
                return
            page = following

    def _page(self, method: str, path: str, body: object, owner: Mapping[str, str], number: int) -> Page | None:
        """Return a page; None where there is none, or no such list."""
        query = {"page": str(number), "page_size": str(PAGE_SIZE), **owner}
        answer = self._http.ask(method, path, query=query, body=body, missing=True)
        if answer is None:
            return None
        if isinstance(answer, list):
            return answer, False
        if isinstance(answer, dict) and isinstance(answer.get("results"), list):
            return answer["results"], answer.get("next") is not None
        raise self._http.strange(path, "its answer holds no memories")

    def _entities(self) -> list[Mapping[str, str]]:
        answer = self._http.ask("GET", "/v1/entities/")
        found = answer.get("results") if isinstance(answer, dict) else answer
        if not isinstance(found, list):
            raise self._http.strange("/v1/entities/", "its answer holds no entities")
        return [
            {f"{one['type']}_id": str(one.get("name") or one.get("id"))}
            for one in found
            if isinstance(one, dict) and f"{one.get('type')}_id" in _OWNERS
        ]

    # Hosted by people ---------------------------------------------------------------------------------

    def _hosted(self, scope: Mapping[str, str] | None) -> Iterator[tuple[str, object]]:
        whose = ", ".join(f"{name} {value}" for name, value in scope.items()) if scope else "all"
        for top_k in _TOP_K:
            query = {**(scope or {}), "show_expired": "true", **({"top_k": str(top_k)} if top_k else {})}
            answer = self._http.ask("GET", "/memories", query=query, refused=(422,) if top_k else ())
            if answer is None:
                continue
            results = answer.get("results") if isinstance(answer, dict) else answer
            if not isinstance(results, list):
                raise self._http.strange("/memories", "its answer holds no memories")
            for at, given in enumerate(results, start=1):
                yield f"{whose}, memory {at}", given
            if len(results) in _DEFAULTS:
                reason = (
                    f"the server gave exactly {len(results)} memories, where its versions stop: there may be more; "
                    "ask for single owners with --from-user, --from-agent or --from-run"
                )
                yield whose, Unstored(whose, reason)
            return
