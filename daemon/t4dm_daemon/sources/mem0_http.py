"""Calls that only read, to a server of Mem0's API.

So what got no answer, or 429 or 5xx, is asked again, as late as `Retry-After` says. Redirects are not followed: the key
is for this server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import httpx

from t4dm_daemon.core.errors import SourceError

ATTEMPTS: Final = 6
MAX_PAUSE_S: Final = 120.0


class ReadingHttp:
    """Ask one server.

    Args:
        url: Where it is.
        key: Of its API.
        pause: Waits so many seconds.
        timeout_s: For each answer.

    Raises:
        SourceError: The URL or the key cannot be one.
    """

    def __init__(self, url: str, key: str | None, *, pause: Callable[[float], None], timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._pause = pause
        self._has_answered = False
        if key and not (key.isascii() and key.isprintable()):
            raise SourceError("a key of Mem0 holds visible ASCII characters only; it is taken from MEM0_API_KEY")
        headers = {"Authorization": f"Token {key}", "X-API-Key": key} if key else {}
        try:
            self._client = httpx.Client(base_url=self._url, headers=headers, timeout=timeout_s, follow_redirects=False)
        except httpx.InvalidURL as error:
            raise SourceError(f"{url}: {error}", url=url) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(
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
        reason, wait_s, attempt = "", 0.0, 0
        for attempt in range(ATTEMPTS):
            if attempt:
                self._pause(min(MAX_PAUSE_S, wait_s))
            wait_s = 0.5 * 2**attempt
            try:
                answer = self._client.request(method, path, params=query, json=body)
            except httpx.TransportError as error:
                reason = f"no answer: {error or type(error).__name__}"
                if isinstance(error, httpx.ConnectError) and not self._has_answered:
                    break  # nobody is there
                continue
            except (httpx.InvalidURL, httpx.HTTPError) as error:
                raise SourceError(f"{self._url}{path}: {error}", url=self._url) from error
            self._has_answered = True
            if answer.status_code == 429 or answer.status_code >= 500:
                reason = f"{answer.status_code}: {_said(answer)}"
                wait_s = max(wait_s, _retry_after_s(answer))
                continue
            return self._answer(answer, path, missing=missing, refused=refused)
        raise SourceError(f"{self._url}{path}: {reason} (attempt {attempt + 1})", url=self._url)

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
            raise self.strange(path, "its answer is not JSON") from None

    def strange(self, path: str, reason: str) -> SourceError:
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
