"""What the routes of this door have in common: both forms of a path, ids in it, documented errors, pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from t4dm.sdk import models as m
from t4dm_compat.mem0.refusals import as_wrong, wrong

F = TypeVar("F", bound=Callable[..., Any])


class Problem(BaseModel):
    """What Mem0's clients read of an error."""

    detail: str


ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The selection, a filter or a field is not understood; nothing was done.",
        403: "The guard refused the Host or the Origin.",
        404: "There is no such memory.",
        408: "The body did not arrive in time.",
        409: "Another write came in between.",
        413: "The body is too large.",
        415: "The body is not JSON.",
        422: "A field is wrong.",
        500: "A defect; the log has the request id.",
        501: "Not served; the answer says what to use instead.",
        503: "Busy, starting or stopping; see Retry-After.",
        504: "The time is up, but the work goes on: a write may still be stored.",
        507: "The disk is full; nothing was stored.",
    }.items()
}


def both(routes: APIRouter, method: str, path: str, *, summary: str) -> Callable[[F], F]:
    """Serve a path with and without the slash at its end; the description has the first form."""

    def register(function: F) -> F:
        other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
        # The form with the slash first: a name that may hold slashes would take the last one for its own.
        for form, is_shown in sorted(((path, True), (other, False)), key=lambda one: not one[0].endswith("/")):
            routes.add_api_route(
                form,
                function,
                methods=[method],
                summary=summary,
                responses=ERRORS,
                response_model=None,
                include_in_schema=is_shown,
            )
        return function

    return register


async def _memory_id(memory_id: Annotated[str, Path(description="Any string, percent-encoded.")]) -> str:
    text = decoded(memory_id, "memory_id")
    with as_wrong():
        m.GetRequest(ids=[text])
    return text


def decoded(raw: str, field: str) -> str:
    """Decode one part of a path, which comes as it was sent, so that it may hold a slash."""
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise wrong(f"{field}: it is not UTF-8") from None


MemoryId = Annotated[str, Depends(_memory_id)]


def paged(request: Request, results: Sequence[Any], *, total: int, number: int, size: int) -> dict[str, Any]:
    """Return one page with absolute links to its neighbours."""

    def link(to: int) -> str:
        return str(request.url.include_query_params(page=to, page_size=size))

    return {
        "count": total,
        "next": link(number + 1) if number * size < total else None,
        "previous": link(number - 1) if number > 1 else None,
        "results": list(results),
    }


def answer(content: Any) -> JSONResponse:
    """Return finished JSON: integers of any size keep their value."""
    return JSONResponse(content)
