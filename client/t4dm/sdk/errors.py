"""Errors of the client.

    T4DMError                    everything this package raises on purpose
    ├── ValidationError          400, 413, 415, 422: the request is wrong; `details` says where
    ├── AuthenticationError      401
    ├── PermissionDeniedError    403: the guard refused the Host or Origin, or the key lacks the scope
    ├── NotFoundError            404
    ├── ConflictError            409: another dimension, version, or idempotency key
    ├── RateLimitError           429, with `retry_after_s`
    ├── ServerError              5xx
    │   └── UnavailableError     503, with `retry_after_s`: busy, starting or stopping
    ├── TransportError           no answer: not running, unreachable, cut off, timed out
    ├── ProtocolError            an answer that is not T4DM's
    └── MissingExtraError        an optional dependency is not installed (also an ImportError)

`code` is the stable word of the answer's error object; `message` is for people; `details` holds the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class T4DMError(Exception):
    """Carry what the daemon said.

    Attributes:
        message: One sentence for people, with the next step where there is one.
        code: Stable word for programs.
        status: HTTP status, None where there was no answer.
        details: Facts: the field, the limit, the stored and given dimension.
        request_id: The `X-Request-ID` under which the daemon logged the request.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "error",
        status: int | None = None,
        details: Mapping[str, Any] | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.details: dict[str, Any] = dict(details or {})
        self.request_id = request_id


class ValidationError(T4DMError):
    """The request cannot be carried out as it is."""


class AuthenticationError(T4DMError):
    """The key is missing or wrong."""


class PermissionDeniedError(T4DMError):
    """The daemon will not do this for this caller."""


class NotFoundError(T4DMError):
    """There is no such memory, space or route."""

    @property
    def is_missing_space(self) -> bool:
        """What was not found is the space: nothing was ever written to it."""
        return "space" in self.details and "id" not in self.details


class ConflictError(T4DMError):
    """The request contradicts what is stored."""


class _RetryAfterError(T4DMError):
    """Carry the number of seconds after which to try again, None if the daemon did not say."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_after_s = retry_after_s


class RateLimitError(_RetryAfterError):
    """Too many requests."""


class ServerError(T4DMError):
    """The daemon failed; its log has the request id."""


class UnavailableError(_RetryAfterError, ServerError):
    """The daemon is busy, starting or stopping."""


class TransportError(T4DMError):
    """No answer came: the daemon is not running, unreachable, or the connection broke."""


class ProtocolError(T4DMError):
    """What answered does not speak T4DM's API."""


class MissingExtraError(T4DMError, ImportError):
    """An optional part of T4DM is not installed."""
