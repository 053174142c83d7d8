"""What an error looks like behind each door: other people's clients read other people's errors.

/v1/models, /v1/embeddings, /v1/chat/…, /v1/completions, /v1/responses   OpenAI's
/v1/…, /v2/…, /v3/…, /memories, /search, /reset, /configure, /api/v1/{orgs,webhooks}/…   Mem0's
everything else   T4DM's own
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_OPENAI: Final = re.compile(r"/v1/(models|embeddings|chat|completions|responses)(/|$)")
_MEM0: Final = re.compile(r"/(v[123]|memories|search|reset|configure|api/v1/(orgs|webhooks))(/|$)")
_OPENAI_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}


def error_body(path: str, status: int, code: str, message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of an error answer at a path: `code` and `details` as T4DM has them."""
    if _OPENAI.match(path):
        fallback = "server_error" if status >= 500 else "invalid_request_error"
        facts = {"message": message, "type": _OPENAI_TYPES.get(status, fallback), "param": _param(details)}
        return {"error": {**facts, "code": code}}
    if _MEM0.match(path):
        return {"detail": message}
    return {"error": {"code": code, "message": message, "details": dict(details)}}


def field_name(path: str, field: str) -> str:
    """Return a field as the clients at a path know it: only T4DM's own say that it stands in the body."""
    return field.removeprefix("body.") if _OPENAI.match(path) or _MEM0.match(path) else field


def error_status(path: str, status: int) -> int:
    """Return the status with which an error is answered at a path: OpenAI knows no 422, only 400."""
    return 400 if status == 422 and _OPENAI.match(path) else status


def _param(details: Mapping[str, Any]) -> str | None:
    """Return the first field that was wrong, as OpenAI names it: without the `body` before it."""
    errors = details.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], Mapping):
        return str(errors[0].get("field", "")).removeprefix("body.") or None
    param = details.get("field")
    return param if isinstance(param, str) else None
