"""What T4DM's tools answer, as models: the output schemas that hosts check structured answers with."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from t4dm.sdk.graph_models import EdgeType
from t4dm.sdk.wire_types import Kind


class ToolAnswer(BaseModel):
    """Says what is always there; a newer version may say more."""

    model_config = ConfigDict(extra="allow")


class ShownMemory(ToolAnswer):
    id: str
    content: str = Field(description="Its text, or the part of it that is shown.")
    kind: Kind
    event_time: str = Field(description="When it happened.")
    valid_from: str | None = Field(default=None, description="From when it is true, where that is another time.")
    valid_to: str | None = Field(default=None, description="Until when it is true; absent while no end is known.")
    expires_at: str | None = None
    categories: list[str] = []
    metadata: dict[str, Any] = {}
    pinned: bool = False
    version: int = 1
    next_character: int | None = Field(default=None, description="Where the rest of its text begins.")


class Found(ShownMemory):
    score: float = Field(description="From 0 to 1, higher is better.")


class Remembered(ToolAnswer):
    id: str
    status: Literal["created", "updated", "duplicate"] = Field(description="duplicate: it was known already.")
    version: int


class SearchResults(ToolAnswer):
    results: list[Found] = Field(description="Best first; none means that nothing relevant is stored.")
    note: str | None = None


class Got(ToolAnswer):
    results: list[ShownMemory]
    missing: list[str] = Field(default=[], description="Ids that do not exist.")


class Updated(ToolAnswer):
    id: str
    status: Literal["updated"]
    version: int
    memory: ShownMemory


class Forgotten(ToolAnswer):
    forgotten: int
    missing: list[str] = Field(default=[], description="Ids that did not exist.")


class TimelineResults(ToolAnswer):
    results: list[ShownMemory] = Field(description="Oldest first.")
    total: int = Field(description="How many there are of that time.")
    note: str | None = None


class Linked(ToolAnswer):
    status: Literal["linked"]
    source_id: str
    type: EdgeType
    target_id: str
    weight: float


class RelatedMemory(ShownMemory):
    depth: int = Field(description="How many links away.")
    link: LinkOfWalk = Field(description="The link by which it was reached.")


class LinkOfWalk(ToolAnswer):
    source_id: str
    type: EdgeType
    target_id: str
    weight: float


class RelatedResults(ToolAnswer):
    results: list[RelatedMemory] = Field(description="The nearest first.")
    note: str | None = None


class Counts(ToolAnswer):
    """What is stored, in one space or in all."""

    memories: int
    versions: int
    by_kind: dict[str, int]
    by_kappa: dict[str, int] = Field(description="Memories by degree of consolidation, from 0 (raw) to 1 (stable).")
    links: int
    segments: int = Field(description="Files of the store; compaction merges them.")
    disk_bytes: int


class SleepStatus(ToolAnswer):
    has_sleep: Literal[False] = Field(description="This version has no sleep cycle.")
    note: str
    features: list[str] = Field(description="What the daemon can do.")
    everything: Counts = Field(description="All spaces and owners together.")
    space: Annotated[Counts | None, Field(description="The session's space; null: nothing was ever written to it.")]


class Captured(ToolAnswer):
    results: list[Remembered]
    left_out: int = Field(description="Turns without text, or private throughout.")


class SessionSummary(ToolAnswer):
    summary: str = Field(description="What was remembered, changed and forgotten, in words.")
    remembered: list[str] = Field(description="Ids, in order.")
    changed: list[str]
    forgotten: int
    searches: int
    began: str
    stored_id: str | None = Field(default=None, description="The memory that the summary was stored as.")


RelatedMemory.model_rebuild()
