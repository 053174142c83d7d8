"""How this door says no: a wrong request is 400, what it does not serve is 501 and says what to use instead."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import pydantic
from starlette.exceptions import HTTPException

from t4dm.sdk._validation import problems, sentence
from t4dm.sdk.errors import NotFoundError, ValidationError


def wrong(message: str) -> ValidationError:
    """Return the error of a request that cannot be carried out as it is."""
    return ValidationError(message, code="bad_request", status=400)


def unserved(message: str) -> HTTPException:
    """Return the error of a request that is right, but not for this server."""
    return HTTPException(501, message)


def no_memory(*ids: str) -> NotFoundError:
    """Return the error of ids that are nobody's."""
    named = ", ".join(repr(one[:100]) for one in ids[:5]) + (", …" if len(ids) > 5 else "")
    return NotFoundError(f"Memory not found: {named}", code="not_found", status=404, details={"ids": list(ids[:100])})


@contextmanager
def as_wrong() -> Generator[None]:
    """Turn what a model refuses into a 400 that says where."""
    try:
        yield
    except pydantic.ValidationError as error:
        raise ValidationError(
            sentence(error), code="validation_error", status=400, details={"errors": problems(error)}
        ) from error
