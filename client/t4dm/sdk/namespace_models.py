"""The wire models of what there is in a space: its namespaces, categories and owners, with counts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from t4dm.sdk.model_bases import Answer, Request
from t4dm.sdk.models import Owner
from t4dm.sdk.wire_types import MAX_LIMIT, Kind, Label, SpaceName, Time

__all__ = [
    "CategoriesRequest",
    "CategoryCounts",
    "NamespaceInfo",
    "NamespaceList",
    "NamespacesRequest",
    "OwnerColumn",
    "OwnerInfo",
    "OwnerList",
    "OwnersRequest",
]

_MAX_DEPTH = 32
_MAX_OFFSET = 2**53 - 1


class NamespacesRequest(Owner):
    """Which namespaces. (Numbers come from a query string, so their texts are read, too.)"""

    space: SpaceName = "default"
    prefix: list[Label] | None = Field(
        default=None, max_length=_MAX_DEPTH, description="Labels that it begins with; `*` stands for any one label."
    )
    suffix: list[Label] | None = Field(
        default=None, max_length=_MAX_DEPTH, description="Labels that it ends with; `*` stands for any one label."
    )
    max_depth: Annotated[int, Field(ge=0, le=_MAX_DEPTH)] | None = Field(
        default=None, description="Cut longer ones off after so many labels, and count together what is then the same."
    )
    kind: Kind | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 100
    offset: Annotated[int, Field(ge=0, le=_MAX_OFFSET)] = 0


class NamespaceInfo(Answer):
    """A namespace and the memories in it (in it alone, unless `max_depth` cut it off)."""

    namespace: list[str]
    count: int
    categories: dict[str, int] = Field(description="How many of the memories have each category, most first.")
    oldest: Time = Field(description="`created_at` of the oldest memory.")
    newest: Time
    first_event: Time = Field(description="`event_time` of what happened first.")
    last_event: Time


class NamespaceList(Answer):
    """Namespaces in the order of their labels."""

    results: list[NamespaceInfo]
    total: int = Field(description="How many match altogether.")


class CategoriesRequest(Owner):
    """Of which memories."""

    space: SpaceName = "default"
    namespace_prefix: list[Label] | None = Field(default=None, max_length=_MAX_DEPTH)
    kind: Kind | None = None


class CategoryCounts(Answer):
    categories: dict[str, int] = Field(description="How many memories have each category, most first.")


OwnerColumn = Literal["user_id", "agent_id", "app_id", "run_id", "session_id"]


class OwnersRequest(Request):
    """Whose memories there are. (Numbers and booleans come from a query string, so their texts are read, too.)"""

    space: SpaceName = "default"
    columns: list[OwnerColumn] | None = Field(default=None, max_length=5, description="Only these; all when absent.")
    show_expired: bool = Field(default=False, description="Count what has expired, too.")
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 100
    offset: Annotated[int, Field(ge=0, le=_MAX_OFFSET)] = 0


class OwnerInfo(Answer):
    """One value of an owner's column, and the memories that have it."""

    column: OwnerColumn
    id: str
    count: int
    oldest: Time = Field(description="`created_at` of the oldest memory.")
    newest: Time
    updated: Time = Field(description="`updated_at` of what was changed last.")


class OwnerList(Answer):
    """Owners by column, in the order of their ids."""

    results: list[OwnerInfo]
    total: int = Field(description="How many match altogether.")
