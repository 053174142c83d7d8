"""The wire models of links between memories, and of walks along them.

A link goes from a source to a target, both memories of one space; at most one of each type leads from one to the
other.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from t4dm.sdk.model_bases import Answer, Request
from t4dm.sdk.models import Memory
from t4dm.sdk.wire_types import MAX_BATCH, MAX_K, Bool, Float, Id, Int, SpaceName, Time, Unit

EdgeType = Literal[
    "CAUSES",
    "TEMPORAL_BEFORE",
    "PART_OF",
    "SIMILAR_TO",
    "MERGED_FROM",
    "SUPERSEDES",
    "RELATES_TO",
    "CONSOLIDATED_INTO",
    "IMPLEMENTS",
    "HAS_CONTEXT",
    "DERIVED_FROM",
    "DEPENDS_ON",
    "USES",
    "PRODUCES",
    "REQUIRES",
    "CONTRADICTS",
    "SUPPORTS",
]
Direction = Literal["out", "in", "both"]
"""Along a link, against it, or either way."""

Lineage = Literal["backward", "forward"]
"""backward: where it came from · forward: what was made of it."""

MAX_TYPES: Final = 64
MAX_TRAVERSAL: Final = 6
MAX_PATH: Final = 64
MAX_NODES: Final = 1000
MAX_FACTOR: Final = 1e6

__all__ = [
    "MAX_FACTOR",
    "MAX_NODES",
    "MAX_PATH",
    "MAX_TRAVERSAL",
    "MAX_TYPES",
    "Direction",
    "Edge",
    "EdgeChange",
    "EdgeIn",
    "EdgeList",
    "EdgeName",
    "EdgeType",
    "EdgeTypes",
    "Lineage",
    "LinkAnswer",
    "LinkRequest",
    "Node",
    "PathAnswer",
    "PathRequest",
    "ReweighAnswer",
    "ReweighRequest",
    "ScaleAnswer",
    "ScaleRequest",
    "TraverseAnswer",
    "TraverseRequest",
    "UnlinkAnswer",
    "UnlinkRequest",
]

EdgeTypes = Annotated[list[EdgeType], Field(min_length=1, max_length=MAX_TYPES)]


# Links ------------------------------------------------------------------------------------------------


class EdgeName(Request):
    """Which link: where it begins, where it ends, and of which type."""

    source: Id
    target: Id
    type: EdgeType


class EdgeIn(EdgeName):
    """A link to make."""

    weight: Unit = 1.0
    created_at: Time | None = Field(default=None, description="For imports: when it was first made; now when absent.")


class Edge(Answer):
    """One link, as stored. Weights change in place: a read of the past shows the weight of today."""

    source: str
    target: str
    type: EdgeType
    weight: float
    created_at: Time


class EdgeList(Answer):
    results: list[Edge]


class LinkRequest(Request):
    """Link memories, all or none; a link that exists takes the new weight."""

    edges: list[EdgeIn] = Field(min_length=1, max_length=MAX_BATCH)
    space: SpaceName = "default"


class LinkAnswer(Answer):
    linked: int


class EdgeChange(EdgeName):
    """A new weight for a link: `set` it, or `add` to it; it stays within [0, 1]."""

    add: Annotated[Float, Field(ge=-1, le=1)] | None = None
    set: Unit | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> EdgeChange:
        if (self.add is None) == (self.set is None):
            raise ValueError("give add or set")
        return self


class ReweighRequest(Request):
    """Change weights, in the order given."""

    changes: list[EdgeChange] = Field(min_length=1, max_length=MAX_BATCH)
    space: SpaceName = "default"


class ReweighAnswer(Answer):
    weights: list[float | None] = Field(description="The new weight of each; null where there is no such link.")


class UnlinkRequest(Request):
    """End links; those that do not exist are left out of the count."""

    edges: list[EdgeName] = Field(min_length=1, max_length=MAX_BATCH)
    space: SpaceName = "default"


class UnlinkAnswer(Answer):
    unlinked: int


class ScaleRequest(Request):
    """Set the weight w of every link chosen to `w * multiply + add`, then to `low` or `high` where it lies beyond."""

    multiply: Annotated[Float, Field(ge=0, le=MAX_FACTOR)] = 1.0
    add: Annotated[Float, Field(ge=-1, le=1)] = 0.0
    low: Unit = 0.0
    high: Unit = 1.0
    types: EdgeTypes | None = Field(default=None, description="Only links of these types; all when absent.")
    sources: Annotated[list[Id], Field(min_length=1, max_length=MAX_BATCH)] | None = Field(
        default=None, description="Only links that begin at these memories; all when absent."
    )
    space: SpaceName = "default"

    @model_validator(mode="after")
    def _ordered(self) -> ScaleRequest:
        if self.low > self.high:
            raise ValueError("low is at most high")
        return self


class ScaleAnswer(Answer):
    scaled: int = Field(description="How many links were chosen, changed or not.")


# Walks ------------------------------------------------------------------------------------------------


class TraverseRequest(Request):
    """Walk from one or several memories along links, breadth first."""

    start: Id | Annotated[list[Id], Field(min_length=1, max_length=MAX_K)] = Field(
        description="An id, or a list of them."
    )
    edge_types: EdgeTypes | None = Field(default=None, description="Only along links of these types.")
    direction: Direction = "out"
    depth: Int = Field(default=1, ge=1, le=MAX_TRAVERSAL, description="The most links between start and end.")
    limit: Int = Field(default=100, ge=1, le=MAX_NODES)
    as_of: Time | None = Field(default=None, description="Valid time.")
    known_at: Time | None = Field(default=None, description="Transaction time.")
    include_memories: Bool = False
    space: SpaceName = "default"


class Node(Answer):
    """A memory that a walk came to."""

    id: str
    depth: int = Field(description="How many links away.")
    edge: Edge = Field(description="The link by which it was first reached.")
    memory: Memory | None = Field(default=None, description="Only when asked for.")


class TraverseAnswer(Answer):
    """The nearest first, then by weight (falling) and id; the start is not among them."""

    nodes: list[Node]
    took_ms: float


class PathRequest(Request):
    """Find a shortest path."""

    source: Id
    target: Id
    edge_types: EdgeTypes | None = Field(default=None, description="Only along links of these types.")
    direction: Direction = "out"
    max_depth: Int = Field(default=6, ge=1, le=MAX_PATH, description="The most links it may have.")
    space: SpaceName = "default"


class PathAnswer(Answer):
    edges: list[Edge] | None = Field(description="In order; empty from a memory to itself, null when there is none.")
