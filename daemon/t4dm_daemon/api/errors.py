"""One error shape for every failure, `{"error": {"code", "message", "details"}}`; behind other doors, theirs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from t4dm.sdk.errors import T4DMError, UnavailableError, ValidationError
from t4dm.sdk.models import ErrorAnswer
from t4dm_compat.error_shapes import error_body, error_status, field_name
from t4dm_daemon.core.errors import BusyError, DaemonError

logger = logging.getLogger(__name__)

_MAX_MESSAGE: Final = 1000
_MAX_FIELD: Final = 100
_HTTP_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}
_DOCUMENTED: Final = {
    400: "The body, an operator or the selection is not understood.",
    403: "The guard refused the Host or the Origin.",
    404: "There is no such memory, space or route.",
    408: "The body did not arrive in time.",
    409: "Another dimension, version or idempotency key.",
    413: "The body is too large.",
    415: "The body is neither JSON nor msgpack.",
    422: "A field is wrong; `details` says which.",
    500: "A defect; the log has the request id.",
    503: "Busy, starting or stopping; see Retry-After.",
    504: "The time is up, but the work goes on: a write may still be stored.",
    507: "The disk is full; nothing was stored.",
}


class RefusedRequestError(HTTPException):
    """A body that cannot be read, with its own code. (An HTTPException: the framework lets only those through.)"""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, message)
        self.code = code


class RefusedBodyError(RefusedRequestError):
    """A large body whose fields are wrong, found while it was validated in a thread."""

    def __init__(self, facts: Sequence[Any]) -> None:
        super().__init__(422, "validation_error", "the body is not valid")
        self.facts = facts


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI responses for these statuses, and for those that any route can answer."""
    return {
        status: {"model": ErrorAnswer, "description": _DOCUMENTED[status]}
        for status in sorted({*statuses, 400, 403, 408, 413, 422, 500, 503, 504})
    }


def error_response(
    path: str,
    status: int,
    code: str,
    message: str,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the error shape of a path. What a caller sent is repeated in part only, however long it is."""
    status = error_status(path, status)
    body = error_body(path, status, code, _shown(message, _MAX_MESSAGE), details or {})
    return Response(
        orjson.dumps(body, default=repr), status, headers=dict(headers or {}), media_type="application/json"
    )


def _shown(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _facts(errors: Sequence[Any]) -> list[dict[str, Any]]:
    """Return where and why, without repeating what the caller sent."""
    return [
        {
            "field": ".".join(_shown(str(part), _MAX_FIELD) for part in error["loc"]),
            "reason": _shown(error["msg"], _MAX_MESSAGE),
            "type": error["type"],
        }
        for error in errors[:20]
    ]


def _methods_at(app: FastAPI, scope: Scope) -> list[str]:
    """Return every method that some route answers at the path of this request."""
    return [
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in app.routes)
    ]


def _invalid(path: str, errors: Sequence[Any]) -> Response:
    facts = _facts(errors)
    message = f"{field_name(path, facts[0]['field'])}: {facts[0]['reason']}"
    if len(errors) > 1:
        message += f" (and {len(errors) - 1} more)"
    return error_response(path, 422, "validation_error", message, {"errors": facts})


def install(app: FastAPI) -> None:
    """Make every failure of the app answer in the one shape."""

    @app.exception_handler(DaemonError)
    async def daemon_error(request: Request, error: DaemonError) -> Response:
        headers = {}
        if isinstance(error, BusyError):
            headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
        elif error.status == 503:
            headers["Retry-After"] = "1"
        if error.status >= 500 and not isinstance(error, BusyError):
            logger.error("request failed", extra={"code": error.code, "reason": error.message})
        return error_response(request.url.path, error.status, error.code, error.message, error.details, headers)

    @app.exception_handler(T4DMError)
    async def backend_error(request: Request, error: T4DMError) -> Response:
        """Answer what a door that calls the backend could not do."""
        headers = {}
        status = error.status or (422 if isinstance(error, ValidationError) else 500)
        if isinstance(error, UnavailableError):
            headers["Retry-After"] = str(max(1, round(error.retry_after_s or 1)))
        elif status >= 500:
            logger.error("request failed", extra={"code": error.code, "reason": error.message})
        return error_response(request.url.path, status, error.code, error.message, error.details, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(request: Request, error: RequestValidationError) -> Response:
        return _invalid(request.url.path, error.errors())

    @app.exception_handler(RefusedBodyError)
    async def invalid_body(request: Request, error: RefusedBodyError) -> Response:
        return _invalid(request.url.path, error.facts)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        code, message = _HTTP_CODES.get(error.status_code, "error"), str(error.detail)
        if isinstance(error, RefusedRequestError):
            code = error.code
        elif error.status_code == 404:
            message = f"there is no route {request.method} {_shown(request.url.path, _MAX_FIELD)}; see /docs"
        elif error.status_code == 405:
            message = f"{request.method} is not allowed here"
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods_at(app, request.scope))
        return error_response(request.url.path, error.status_code, code, message, None, headers)
