"""Whose memories a tool call is about: bound by the program, out of the model's reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from t4dm._owners import is_owned
from t4dm.sdk import models as m
from t4dm.sdk.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class Scope:
    """A space and owner columns. What another owner has is not there."""

    space: str = "default"
    owner: Mapping[str, str] = field(default_factory=dict[str, str])

    def visible(self, memories: Iterable[m.Memory]) -> list[m.Memory]:
        """Return the memories that are the owner's."""
        return [memory for memory in memories if is_owned(memory, self.owner)]

    def missing(self, ids: Sequence[str]) -> NotFoundError:
        """Return the error for ids that do not exist, or that another owner has: nobody can tell which."""
        named = ", ".join(repr(one) for one in ids)
        what = "there is no memory with the id" if len(ids) == 1 else "there are no memories with the ids"
        return NotFoundError(
            f"{what} {named}; take ids from the answer of another memory tool",
            code="not_found",
            details={"ids": list(ids)},
        )
