"""Whose memories: what adapters that were given owner columns may see and replace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from t4dm.sdk import models as m
from t4dm.sdk.errors import ConflictError


def is_owned(memory: m.Memory, owner: Mapping[str, str]) -> bool:
    """Say whether a memory's owner columns are those given."""
    return all(getattr(memory, column) == value for column, value in owner.items())


def check_owned(found: Iterable[m.Memory], owner: Mapping[str, str]) -> None:
    """Raise ConflictError when one of the memories that are about to be replaced is another owner's."""
    for memory in found:
        if not is_owned(memory, owner):
            raise ConflictError(
                f"the id {memory.id!r} is another owner's: ids are unique in space {memory.space!r}, so take another "
                "id, or a space for each owner",
                code="id_of_another_owner",
                details={"id": memory.id, "space": memory.space},
            )
