"""Whose memories a session sees: a space, owner columns, and which set of tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from pydantic import TypeAdapter
from pydantic import ValidationError as InvalidError

from t4dm.sdk import models as m
from t4dm.sdk.errors import ValidationError
from t4dm.tools import scope as tools

Profile = Literal["memory", "knowledge-graph"]
"""memory: T4DM's own tools · knowledge-graph: the nine tools of the reference memory server."""

OWNER_COLUMNS: Final = ("user_id", "agent_id", "app_id", "run_id", "session_id")
NAMES: Final = ("space", *OWNER_COLUMNS, "profile")
"""What a scope is made from, by the names of flags, of query parameters, and (in capitals) of the environment."""

_LABEL: Final = TypeAdapter(m.Label)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a session reads and writes. Everything it stores gets these columns; it sees nothing else."""

    space: str = "default"
    columns: tuple[tuple[str, str], ...] = ()
    profile: Profile = "memory"

    @property
    def owner(self) -> dict[str, str]:
        """The owner columns that were given."""
        return dict(self.columns)

    @property
    def owner_fields(self) -> dict[str, Any]:
        """The owner columns as arguments of a request."""
        return dict(self.columns)

    @property
    def of_tools(self) -> tools.Scope:
        """The same as a tool call takes it."""
        return tools.Scope(space=self.space, owner=self.owner)

    @property
    def told(self) -> str:
        """The scope in words, for messages."""
        owner = ", ".join(f"{column} {value!r}" for column, value in self.columns)
        return f"space {self.space!r}" + (f" of {owner}" if owner else "")


def scope_of(given: Mapping[str, str | None] | Iterable[tuple[str, str]]) -> Scope:
    """Return the scope that settings by name ask for; None is none.

    Raises:
        ValidationError: A name that is none of `NAMES`, one given twice, or a value that cannot be one. An empty one
            cannot: whoever asks for one owner must not be given everybody's memories because a name was not filled in.
    """
    pairs = list(given.items() if isinstance(given, Mapping) else given)
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in NAMES:
            raise ValidationError(f"{name!r} is not one of {', '.join(NAMES)}", code="unknown_scope")
        if name in found:
            raise ValidationError(f"{name} is given twice", code="unknown_scope")
        if value == "":
            raise ValidationError(f"{name} is empty; leave it out for all that there is", code="unknown_scope")
        if value is not None:
            found[name] = _checked(name, value)
    profile = found.get("profile", "memory")
    if profile not in get_args(Profile):
        raise ValidationError(
            f"there is no profile {profile!r}: it is one of {', '.join(get_args(Profile))}", code="unknown_profile"
        )
    columns = tuple((column, found[column]) for column in OWNER_COLUMNS if column in found)
    return Scope(found.get("space", "default"), columns, cast("Profile", profile))


def _checked(name: str, value: str) -> str:
    try:
        return _LABEL.validate_python(value)
    except InvalidError as error:
        raise ValidationError(f"{name}: {error.errors()[0]['msg']}", code="validation_error") from None
