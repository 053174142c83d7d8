"""The wire models of a mixed batch: reads and writes in one request.

All reads see the state before the batch's writes. Then, space by space, its puts are stored in one atomic write;
then deletions and touches are carried out. The answers stand in the order of the operations.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from t4dm.sdk import models as m
from t4dm.sdk.model_bases import Answer, Request
from t4dm.sdk.namespace_models import NamespaceInfo, NamespacesRequest
from t4dm.sdk.wire_types import MAX_K, MAX_LIMIT, Id, OnConflict, SpaceName

__all__ = [
    "DeleteOp",
    "DeleteResult",
    "GetOp",
    "GetResult",
    "ListNamespacesOp",
    "ListNamespacesResult",
    "ListOp",
    "ListResult",
    "Op",
    "OpResult",
    "OpsAnswer",
    "OpsRequest",
    "PutOp",
    "PutResult",
    "SearchOp",
    "SearchResult",
    "TouchOp",
    "TouchResult",
]


class GetOp(m.GetRequest):
    """`memory/get`."""

    op: Literal["get"]


class SearchOp(m.SearchRequest):
    """`memory/search`."""

    op: Literal["search"]


class ListOp(m.ListRequest):
    """`memory/list`."""

    op: Literal["list"]


class ListNamespacesOp(NamespacesRequest):
    """`namespaces`."""

    op: Literal["list_namespaces"]


class PutOp(m.StoreRequest):
    """One record of a `memory/batch`."""

    op: Literal["put"]


class DeleteOp(Request):
    """Delete by ids; those that do not exist are left out of the count."""

    op: Literal["delete"]
    ids: list[Id] = Field(max_length=MAX_LIMIT)
    space: SpaceName = "default"


class TouchOp(m.TouchRequest):
    """`memory/touch`."""

    op: Literal["touch"]


Op = Annotated[GetOp | SearchOp | ListOp | ListNamespacesOp | PutOp | DeleteOp | TouchOp, Field(discriminator="op")]


class OpsRequest(Request):
    """A mixed batch. Whatever is wrong with one operation refuses all of them and names its position."""

    ops: list[Op] = Field(max_length=MAX_K)
    on_conflict: OnConflict = Field(default="replace", description="What an existing id means to the puts.")


class GetResult(Answer):
    op: Literal["get"] = "get"
    results: list[m.Memory]


class SearchResult(Answer):
    op: Literal["search"] = "search"
    results: list[m.Hit]


class ListResult(Answer):
    op: Literal["list"] = "list"
    results: list[m.Memory]
    total: int
    cursor: str | None = None


class ListNamespacesResult(Answer):
    op: Literal["list_namespaces"] = "list_namespaces"
    results: list[NamespaceInfo]
    total: int


class PutResult(Answer):
    op: Literal["put"] = "put"
    id: str
    status: Literal["created", "updated", "duplicate"]
    version: int


class DeleteResult(Answer):
    op: Literal["delete"] = "delete"
    deleted: int


class TouchResult(Answer):
    op: Literal["touch"] = "touch"
    touched: int


OpResult = Annotated[
    GetResult | SearchResult | ListResult | ListNamespacesResult | PutResult | DeleteResult | TouchResult,
    Field(discriminator="op"),
]


class OpsAnswer(Answer):
    """One result for each operation, in order."""

    results: list[OpResult]
    took_ms: float
