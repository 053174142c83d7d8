"""What both clients share: where the daemon is, requests, the retry policy, and what an error answer means.

Nothing here waits or sends; `client.py` and `async_client.py` do only that. A call runs as an `Attempt`:

    attempt = self._attempt(call)
    while True:
        outcome = send(attempt.request())          an answer, or httpx's error
        pause_s = attempt.pause_s(outcome)
        if pause_s is None:
            return attempt.answer(outcome)         returns, or raises T4DMError
        sleep(pause_s)

What is tried again, at most `max_retries` times, with full-jitter exponential backoff:

- no connection, 429 and 503: always, because nothing was done; `Retry-After` is the shortest pause;
- a broken connection, a timeout, 502 and 504 (the daemon's own `deadline_exceeded`, too): only where a second
  request does no harm (reading, and writing with an idempotency key), because nobody knows whether the first
  was carried out.
"""

from __future__ import annotations

import ipaddress
import os
import random
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, Generic, TypeVar
from urllib.parse import urlencode
from uuid import uuid4

import httpx

from t4dm._version import __version__
from t4dm.sdk._answers import error_of, lost, result_of, retry_after_s
from t4dm.sdk._calls import Call
from t4dm.sdk.codec import JSON, MSGPACK, encode, has_msgpack
from t4dm.sdk.errors import T4DMError, ValidationError

T = TypeVar("T")

DEFAULT_URL: Final = "http://127.0.0.1:8765"
BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 5.0
# uvicorn closes a connection that was idle for 5 s; closing ours first avoids writing into a closed one.
KEEPALIVE_S: Final = 4.0
_MAYBE_DONE: Final = frozenset({502, 504})
_NOT_DONE: Final = frozenset({429, 503})
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Connection:
    """Hold where the daemon is and how to speak to it. All but `speaks_msgpack` stays as constructed."""

    def __init__(
        self,
        url: str | None,
        *,
        timeout_s: float,
        connect_timeout_s: float,
        max_retries: int,
        api_key: str | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        if timeout_s <= 0 or connect_timeout_s <= 0 or max_retries < 0:
            raise ValidationError(
                "timeout_s and connect_timeout_s are greater than 0, max_retries is not negative",
                code="validation_error",
            )
        base = _base_url(url or os.environ.get("T4DM_URL", "").strip() or DEFAULT_URL)
        self.base_url: Final = str(base).rstrip("/")
        self.url: Final = str(base.copy_with(userinfo=b"")).rstrip("/")  # for messages: without a password
        self.timeout: Final = httpx.Timeout(timeout_s, connect=min(connect_timeout_s, timeout_s))
        self.max_retries: Final = max_retries
        self.headers: Final = _headers(api_key if api_key is not None else os.environ.get("T4DM_API_KEY"), headers)
        self.random: Final = random.Random()
        self.speaks_msgpack = True
        # For http, loading the trust store (about 20 ms) is skipped.
        self.verify: Final = base.scheme == "https"
        # No proxy variable may capture what is meant for this machine.
        self.trust_env: Final = not is_loopback(base.host)

    @property
    def limits(self) -> httpx.Limits:
        return httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=KEEPALIVE_S)


class BaseClient:
    """What both clients are beside their methods."""

    _connection: Connection

    @property
    def url(self) -> str:
        """Where the daemon is."""
        return self._connection.url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _attempt(self, call: Call[T]) -> Attempt[T]:
        return Attempt(self._connection, call)


class Attempt(Generic[T]):
    """Carry one call through its tries. Not shared between threads."""

    def __init__(self, connection: Connection, call: Call[T]) -> None:
        self._connection = connection
        self._call = call
        self._tries = 0
        self._request_id = uuid4().hex
        self._query = f"?{urlencode(call.params, doseq=True)}" if call.params else ""
        self._timeout = connection.timeout if call.timeout_s is None else _shorter(connection.timeout, call.timeout_s)

    def request(self) -> httpx.Request:
        """Build the request of the next try."""
        connection, call = self._connection, self._call
        self._tries += 1
        headers = connection.headers.copy()
        headers.setdefault("X-Request-ID", self._request_id)
        if call.idempotency_key is not None:
            headers["Idempotency-Key"] = call.idempotency_key
        if call.wants_vectors and connection.speaks_msgpack and has_msgpack():
            headers["Accept"] = f"{MSGPACK}, {JSON};q=0.9"
        content = None
        if call.body is not None:
            content, headers["Content-Type"] = encode(call.body, binary=connection.speaks_msgpack)
        return httpx.Request(
            call.method,
            httpx.URL(f"{connection.base_url}{call.path}{self._query}"),
            headers=headers,
            content=content,
            extensions={"timeout": self._timeout.as_dict()},
        )

    def pause_s(self, outcome: httpx.Response | httpx.RequestError) -> float | None:
        """Return how long to wait before the next try, None if there is none."""
        call, connection = self._call, self._connection
        if _is_msgpack_refused(outcome) and connection.speaks_msgpack:
            connection.speaks_msgpack = False  # an older daemon; a 415 did nothing, so JSON may follow at once
            return 0.0
        if not call.is_retried or self._tries > connection.max_retries or not self._may_repeat(outcome):
            return None
        backoff_s = connection.random.uniform(0, min(LONGEST_BACKOFF_S, BACKOFF_S * 2 ** (self._tries - 1)))
        asked_s = retry_after_s(outcome) if isinstance(outcome, httpx.Response) else None
        if asked_s is None:
            return backoff_s
        read_timeout_s = connection.timeout.read
        if read_timeout_s is not None and asked_s > read_timeout_s:
            return None  # the error says when to come back; waiting longer than for an answer helps nobody
        return asked_s + connection.random.uniform(0, BACKOFF_S)

    def result(self, response: httpx.Response) -> T:
        """Return what the call promised, or raise."""
        return result_of(response, self._call, self._connection.url)

    def answer(self, outcome: httpx.Response | httpx.RequestError) -> httpx.Response:
        """Return a successful answer unread, or raise."""
        if isinstance(outcome, httpx.Response):
            if outcome.is_success or outcome.status_code in self._call.also_read:
                return outcome
            raise error_of(outcome, self._connection.url, self._sent_id(outcome.request))
        raise self.failure(outcome) from outcome

    def failure(self, error: httpx.RequestError) -> T4DMError:
        """Return the error for an exchange that broke."""
        request_id = self._sent_id(error.request)
        return lost(error, self._call, self._connection.url, self._timeout, request_id=request_id)

    def _sent_id(self, request: httpx.Request) -> str:
        return str(request.headers.get("X-Request-ID", self._request_id))

    def _may_repeat(self, outcome: httpx.Response | httpx.RequestError) -> bool:
        if isinstance(outcome, httpx.Response):
            if outcome.status_code in self._call.also_read:
                return False
            return outcome.status_code in _NOT_DONE or (self._call.is_repeatable and outcome.status_code in _MAYBE_DONE)
        if isinstance(outcome, _NOT_SENT):
            return True
        return self._call.is_repeatable and isinstance(outcome, httpx.TransportError)


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shorter(timeout: httpx.Timeout, longest_s: float) -> httpx.Timeout:
    return httpx.Timeout(
        **{part: longest_s if wait_s is None else min(wait_s, longest_s) for part, wait_s in timeout.as_dict().items()}
    )


def _base_url(text: str) -> httpx.URL:
    """Return a URL; `localhost:8765` means http."""
    try:
        url = httpx.URL(text if "://" in text else f"http://{text}")
    except (httpx.InvalidURL, ValueError) as error:
        raise ValidationError(f"the daemon's URL cannot be read: {error}", code="invalid_url") from error
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment:
        raise ValidationError(
            "the daemon's URL looks like http://127.0.0.1:8765, without a query; "
            f"this one is {url.copy_with(userinfo=b'')}",
            code="invalid_url",
        )
    return url


def _headers(api_key: str | None, extra: Mapping[str, str] | None) -> httpx.Headers:
    headers = {
        "Accept": JSON,
        "Accept-Encoding": "gzip, deflate",
        "User-Agent": f"t4dm/{__version__}",
        "T4DM-Client": f"python/{__version__}",
    }
    key = (api_key or "").strip()
    if key:
        if not (key.isascii() and key.isprintable()):
            raise ValidationError("an API key holds printable ASCII characters only", code="validation_error")
        headers["Authorization"] = f"Bearer {key}"
    try:
        merged = httpx.Headers(headers)
        merged.update(extra or {})
    except (UnicodeEncodeError, TypeError) as error:
        raise ValidationError(f"a header cannot be sent: {error}", code="validation_error") from error
    return merged


def _is_msgpack_refused(outcome: httpx.Response | httpx.RequestError) -> bool:
    return (
        isinstance(outcome, httpx.Response)
        and outcome.status_code == HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        and outcome.request.headers.get("content-type") == MSGPACK
    )
