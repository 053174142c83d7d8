"""From what came back to a result or an error of `t4dm.sdk.errors`."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast

import httpx
import pydantic

from t4dm.sdk import models as m
from t4dm.sdk._calls import Call
from t4dm.sdk._validation import sentence
from t4dm.sdk.codec import JSON, MSGPACK, decode, media_type
from t4dm.sdk.errors import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    T4DMError,
    TransportError,
    UnavailableError,
    ValidationError,
)

T = TypeVar("T")

_CLASSES: Final[dict[int, type[T4DMError]]] = {
    400: ValidationError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: ValidationError,
    415: ValidationError,
    422: ValidationError,
}
_SEEN_CHARS: Final = 120


def result_of(response: httpx.Response, call: Call[T], url: str) -> T:
    """Return what the call promised. Raises ProtocolError if the answer is something else."""
    kind = media_type(response)
    if response.content and kind not in {JSON, MSGPACK}:
        raise not_t4dm(response, url, f"{kind or 'no content type'}")
    try:
        return call.read(response)
    except pydantic.ValidationError as error:
        if response.is_error:
            raise error_of(response, url, "") from error
        raise not_t4dm(response, url, f"unexpected JSON: {sentence(error)}") from error
    except ValueError as error:
        raise not_t4dm(response, url, f"a body that cannot be decoded: {error}") from error


def error_of(response: httpx.Response, url: str, request_id: str) -> T4DMError:
    """Return the error that an answer means, whether T4DM or something before it wrote it."""
    status = response.status_code
    facts: dict[str, Any] = {
        "status": status,
        "request_id": response.headers.get("X-Request-ID", request_id),
    }
    try:
        body = decode(response, m.ErrorAnswer).error
    except ValueError:
        if status not in {429, 500, 502, 503, 504}:
            return not_t4dm(response, url, media_type(response) or "no content type")
        message = f"{url} answered {_status_text(status)} and no reason"
        facts |= {"code": f"http_{status}"}
    else:
        message = body.message
        facts |= {"code": body.code, "details": body.details}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitError(message, retry_after_s=_pause_asked_for(response, facts), **facts)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return UnavailableError(message, retry_after_s=_pause_asked_for(response, facts), **facts)
    kind = ServerError if response.is_server_error else _CLASSES.get(status, T4DMError)
    return kind(message, **facts)


def lost(
    error: httpx.RequestError, call: Call[Any], url: str, timeout: httpx.Timeout, *, request_id: str
) -> TransportError | ProtocolError:
    """Return the error for an exchange that had no answer."""
    facts: dict[str, Any] = {
        "details": {"url": url, "method": call.method, "path": call.path, "cause": type(error).__name__},
        "request_id": request_id,
    }
    if isinstance(error, httpx.ConnectError):
        if _is_refused(error):
            return TransportError(
                f"T4DM is not running at {url}; start it with: t4dm serve", code="not_running", **facts
            )
        return TransportError(f"cannot reach {url}: {error}", code="unreachable", **facts)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return TransportError(f"no connection to {url} within {timeout.connect} s", code="unreachable", **facts)
    doubt = "" if call.is_repeatable else "; it may have been carried out all the same"
    if isinstance(error, httpx.TimeoutException):
        return TransportError(
            f"{url} did not answer {call.method} {call.path} within {timeout.read} s{doubt}", code="timeout", **facts
        )
    if isinstance(error, httpx.TransportError):
        return TransportError(
            f"the connection to {url} broke during {call.method} {call.path} ({error or type(error).__name__}){doubt}",
            code="connection_lost",
            **facts,
        )
    return ProtocolError(f"the answer of {url} cannot be read: {error}", code="protocol_error", **facts)


def not_t4dm(response: httpx.Response, url: str, seen: str) -> ProtocolError:
    """Return the error for an answer that is not T4DM's, with the beginning of what was seen."""
    status = _status_text(response.status_code)
    try:
        text = " ".join(response.text[: 4 * _SEEN_CHARS].split())[:_SEEN_CHARS]
    except httpx.ResponseNotRead:
        text = ""
    location = response.headers.get("location")
    where = f", a redirect to {location}" if location else ""
    return ProtocolError(
        f"what answers at {url} does not speak T4DM's API: {status}{where}, {seen}, beginning with {text!r}",
        code="protocol_error",
        status=response.status_code,
        details={"url": str(response.request.url.copy_with(userinfo=b"")), "content_type": media_type(response)},
        request_id=response.headers.get("X-Request-ID"),
    )


def retry_after_s(response: httpx.Response) -> float | None:
    """Return the pause a `Retry-After` header asks for: seconds, or a date."""
    text: str = response.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if seconds == seconds else None  # NaN is not a pause


def _pause_asked_for(response: httpx.Response, facts: dict[str, Any]) -> float | None:
    header_s = retry_after_s(response)
    if header_s is not None:
        return header_s
    told: object = facts.get("details", {}).get("retry_after_s")
    return float(told) if isinstance(told, int | float) else None


def _is_refused(error: BaseException) -> bool:
    """Look for a refused connection among the causes; asyncio wraps one for each address into a group."""
    pending: list[BaseException | None] = [error]
    while pending:
        cause = pending.pop()
        if isinstance(cause, ConnectionRefusedError):
            return True
        if cause is not None:
            pending += [cause.__cause__, cause.__context__]
        if isinstance(cause, BaseExceptionGroup):
            pending += cast("BaseExceptionGroup[BaseException]", cause).exceptions
    return False


def _status_text(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
