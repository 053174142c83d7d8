"""Say in T4DM's words what Pydantic found."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TypedDict

import pydantic

from t4dm.sdk.errors import ValidationError

_SHOWN = 3


class Problem(TypedDict):
    """One finding, in the daemon's own words: where (`metadata.a`, `records.3.id`), what, and Pydantic's type."""

    field: str
    reason: str
    type: str


def problems(error: pydantic.ValidationError) -> list[Problem]:
    """Return the findings without the values, which may be somebody's memories."""
    return [
        Problem(
            field=".".join(str(part) for part in found["loc"]),
            reason=found["msg"].removeprefix("Value error, "),
            type=found["type"],
        )
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def sentence(error: pydantic.ValidationError) -> str:
    """Return the findings as one line."""
    found = problems(error)
    parts = [f"{problem['field']}: {problem['reason']}" if problem["field"] else problem["reason"] for problem in found]
    more = f"; and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return "; ".join(parts[:_SHOWN]) + more


@contextmanager
def as_validation_error() -> Generator[None]:
    """Turn Pydantic's refusal of a request into T4DM's, which is what callers catch."""
    try:
        yield
    except pydantic.ValidationError as error:
        raise ValidationError(sentence(error), code="validation_error", details={"errors": problems(error)}) from error
