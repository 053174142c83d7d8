"""Mem0 over HTTP: the cloud's API (also T4DM's own door for Mem0's clients), and the server that people host.

The cloud's list, newest first that is there:

    POST /v3/memories/?page=1&page_size=100   {"filters": {…}, "show_expired": true}   → {"count", "next", "results"}
    POST /v2/memories/?page=1&page_size=100   {"filters": {…}}                         → the same
    GET  /v1/memories/?user_id=…                                                       → an array

`Authorization: Token <key>`. "All" is the filter `{"OR": [{"user_id": "*"}, …]}`: `*` is any owner that is not null.
The hosted server lists without pages: `GET /memories?user_id=…&top_k=…`, `X-API-Key`; without an owner it gives all, to
an administrator, if it is new enough. It gives at most `top_k`, so a full answer may be a cut one, which is told.

Only reading calls are made; so what got no answer, or 429 or 5xx, is asked again, `Retry-After` kept. Redirects are not
followed: the key is for this server.

Checked against mem0ai 2.2.1 (client), docs.mem0.ai, and server/main.py of github.com/mem0ai/mem0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import httpx

from t4dm_daemon.core.errors import SourceError
from t4dm_daemon.sources.entries import Entry, Unstored
from t4dm_daemon.sources.mem0 import memory

PAGE_SIZE: Final = 100
ATTEMPTS: Final = 6
MAX_PAUSE_S: Final = 120.0
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
        self._url = url.rstrip("/")
        self._owners = owners
        self._pause = pause
        headers = {"Authorization": f"Token {key}", "X-API-Key": key} if key else {}
        self._http = httpx.Client(base_url=self._url, headers=headers, timeout=timeout_s, follow_redirects=False)

    def entries(self) -> Iterator[Entry]:
        """Yield the memories. Raises SourceError, which says how to go on."""
        with self._http:
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
        return isinstance(self._ask("GET", "/v1/ping/", missing=True), dict)

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
                raise self._strange("/v1/memories/", "it has none of Mem0's lists of memories")
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
        answer = self._ask(method, path, query=query, body=body, missing=True)
        if answer is None:
            return None
        if isinstance(answer, list):
            return answer, False
        if isinstance(answer, dict) and isinstance(answer.get("results"), list):
            return answer["results"], answer.get("next") is not None
        raise self._strange(path, "its answer holds no memories")

    def _entities(self) -> list[Mapping[str, str]]:
        answer = self._ask("GET", "/v1/entities/")
        found = answer.get("results") if isinstance(answer, dict) else answer
        if not isinstance(found, list):
            raise self._strange("/v1/entities/", "its answer holds no entities")
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
            answer = self._ask("GET", "/memories", query=query, refused=(422,) if top_k else ())
            if answer is None:
                continue
            results = answer.get("results") if isinstance(answer, dict) else answer
            if not isinstance(results, list):
                raise self._strange("/memories", "its answer holds no memories")
            for at, given in enumerate(results, start=1):
                yield f"{whose}, memory {at}", given
            if len(results) in _DEFAULTS:
                reason = (
                    f"the server gave exactly {len(results)} memories, where its versions stop: there may be more; "
                    "ask for single owners with --from-user, --from-agent or --from-run"
                )
                yield whose, Unstored(whose, reason)
            return

    # HTTP ---------------------------------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        missing: bool = False,
        refused: Sequence[int] = (),
    ) -> Any:
        """Return the JSON of an answer; None for 404 and 405 where it may be `missing`, and for what is `refused`."""
        reason, wait_s = "", 0.0
        for attempt in range(ATTEMPTS):
            if attempt:
                self._pause(min(MAX_PAUSE_S, wait_s))
            wait_s = 0.5 * 2**attempt
            try:
                answer = self._http.request(method, path, params=query, json=body)
            except httpx.TransportError as error:
                reason = f"no answer: {error or type(error).__name__}"
                continue
            except (httpx.InvalidURL, httpx.HTTPError) as error:
                raise SourceError(f"{self._url}{path}: {error}", url=self._url) from error
            if answer.status_code == 429 or answer.status_code >= 500:
                reason = f"{answer.status_code}: {_said(answer)}"
                wait_s = max(wait_s, _retry_after_s(answer))
                continue
            return self._answer(answer, path, missing=missing, refused=refused)
        raise SourceError(f"{self._url}{path}: {reason} ({ATTEMPTS} attempts)", url=self._url)

    def _answer(self, answer: httpx.Response, path: str, *, missing: bool, refused: Sequence[int]) -> Any:
        status = answer.status_code
        if status in refused or (missing and status in (404, 405)):
            return None
        if status in (401, 403):
            raise SourceError(
                f"{self._url}{path}: {status}: {_said(answer)}; the key is taken from MEM0_API_KEY", url=self._url
            )
        if status == 400 and "identifier" in _said(answer):
            raise SourceError(
                f"{self._url}{path}: {_said(answer)}; this server does not list all: name the owners with --from-user, "
                "--from-agent or --from-run",
                url=self._url,
            )
        if status != 200:
            raise SourceError(f"{self._url}{path}: {status}: {_said(answer)}", url=self._url)
        try:
            return answer.json()
        except ValueError:
            raise self._strange(path, "its answer is not JSON") from None

    def _strange(self, path: str, reason: str) -> SourceError:
        return SourceError(f"{self._url}{path}: {reason}: is this a server of Mem0's API?", url=self._url)


def _said(answer: httpx.Response) -> str:
    try:
        told = answer.json()
    except ValueError:
        told = None
    detail = told.get("detail") if isinstance(told, dict) else None
    return str(detail or answer.reason_phrase)[:300]


def _retry_after_s(answer: httpx.Response) -> float:
    try:
        return max(0.0, float(answer.headers.get("retry-after", "0")))
    except ValueError:  # a date
        return 0.0
