"""The wire models: what travels between client and daemon, on both sides.

Requests refuse fields they do not know, so that a typing mistake is an error and not a silent no-op.
Answers accept fields they do not know, so that an older client works with a newer daemon.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, Strict, field_validator, model_validator

from t4dm.sdk.model_bases import Answer, Request
from t4dm.sdk.search_models import Mmr, SearchWeights
from t4dm.sdk.wire_types import (
    MAX_BATCH,
    MAX_CONTENT_BYTES,
    MAX_CONTENT_CHARS,
    MAX_DIMENSION,
    MAX_ID_BYTES,
    MAX_K,
    MAX_LABEL_BYTES,
    MAX_LIMIT,
    MAX_METADATA_BYTES,
    MAX_TTL_S,
    MAX_VALUE_BYTES,
    Bool,
    Content,
    Float,
    HistoryEvent,
    Id,
    Include,
    Int,
    Json,
    Kind,
    Label,
    Metadata,
    OnConflict,
    OrderBy,
    SearchMode,
    SpaceName,
    Time,
    Unit,
    Vector,
    VectorNumbers,
    parse_time,
)

__all__ = [
    "MAX_BATCH",
    "MAX_CONTENT_BYTES",
    "MAX_CONTENT_CHARS",
    "MAX_DIMENSION",
    "MAX_ID_BYTES",
    "MAX_K",
    "MAX_LABEL_BYTES",
    "MAX_LIMIT",
    "MAX_METADATA_BYTES",
    "MAX_TTL_S",
    "MAX_VALUE_BYTES",
    "BatchAnswer",
    "BatchItem",
    "BatchRequest",
    "Bool",
    "Content",
    "DeleteAnswer",
    "DeleteRequest",
    "ErrorAnswer",
    "ErrorBody",
    "Filter",
    "Float",
    "GetRequest",
    "Health",
    "HealthReport",
    "HistoryAnswer",
    "HistoryEntry",
    "HistoryEvent",
    "Hit",
    "Id",
    "Include",
    "Int",
    "Json",
    "Kind",
    "Label",
    "ListAnswer",
    "ListRequest",
    "Memory",
    "MemoryList",
    "Metadata",
    "Mmr",
    "ModelState",
    "OnConflict",
    "OrderBy",
    "Owner",
    "Readiness",
    "RecordIn",
    "SearchAnswer",
    "SearchMode",
    "SearchRequest",
    "SearchWeights",
    "Selection",
    "Space",
    "SpaceList",
    "SpaceName",
    "SpaceRequest",
    "SpaceStats",
    "Stats",
    "StoreRequest",
    "Time",
    "TimeRange",
    "TouchAnswer",
    "TouchRequest",
    "Unit",
    "UpdateRequest",
    "Vector",
    "VectorNumbers",
    "VersionInfo",
    "parse_time",
]


# Memories ---------------------------------------------------------------------------------------------


class Owner(Request):
    """Whose memory it is. Each column restricts (AND) where it is given."""

    user_id: Label | None = None
    agent_id: Label | None = None
    app_id: Label | None = None
    run_id: Label | None = None
    session_id: Label | None = None


class RecordIn(Owner):
    """A memory to store."""

    id: Id | None = Field(default=None, description="Any string, unique in its space; a UUIDv7 is made when absent.")
    content: Content = Field(default="", description="The text that is embedded and searched; may be empty.")
    metadata: Metadata = Field(default_factory=dict, description="Filterable; returned exactly as given.")
    value: Json = Field(default=None, description="Opaque JSON, stored verbatim, never filtered.")
    vector: Vector | None = Field(default=None, description="The caller's own embedding; absent: the daemon embeds.")
    embed: Bool = Field(
        default=True, description="False stores without a vector: found by words and filters, not by meaning."
    )
    kind: Kind = "episodic"
    namespace: list[Label] = Field(default_factory=list, max_length=32)
    categories: list[Label] = Field(default_factory=list, max_length=64)
    importance: Unit = 0.5
    kappa: Unit = Field(default=0.0, description="Degree of consolidation, 0 (raw episode) to 1 (stable knowledge).")
    event_time: Time | None = Field(default=None, description="When it happened; now when absent.")
    valid_from: Time | None = Field(default=None, description="From when it is true; the event time when absent.")
    valid_to: Time | None = Field(default=None, description="Until when it is true (exclusive); open when absent.")
    created_at: Time | None = Field(default=None, description="For imports: when it was first stored.")
    updated_at: Time | None = Field(default=None, description="For imports: when it was last changed.")
    expires_at: Time | None = Field(default=None, description="Hidden from then on.")
    ttl_s: Float | None = Field(default=None, gt=0, le=MAX_TTL_S, description="Seconds until it expires.")
    pinned: Bool = Field(default=False, description="Never forgotten by sleep.")
    supersedes: list[Id] = Field(
        default_factory=list[Id],
        max_length=64,
        description="Memories that this one takes the place of: they stop being true when it begins to be.",
    )
    access_count: Int = Field(default=0, ge=0, lt=2**53, description="For imports: how often it was used.")
    last_accessed: Time | None = Field(default=None, description="For imports: when it was last used.")
    dedup: Literal["exact", "off"] = Field(
        default="exact",
        description="exact: without an id, the same text of the same owner is not stored twice.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> RecordIn:
        if self.ttl_s is not None and self.expires_at is not None:
            raise ValueError("give ttl_s or expires_at, not both")
        if self.valid_to is not None and self.valid_from is not None and self.valid_to <= self.valid_from:
            raise ValueError("valid_to must be later than valid_from")
        return self


class StoreRequest(RecordIn):
    """Store one memory; an existing id is replaced by a new version."""

    space: SpaceName = "default"


class BatchRequest(Request):
    """Store many memories, all or none."""

    records: list[RecordIn] = Field(max_length=MAX_BATCH)
    space: SpaceName = "default"
    on_conflict: OnConflict = Field(
        default="replace",
        description="What an existing id means: replace it, merge (metadata by key, other given fields), or fail.",
    )
    idempotency_key: Annotated[str, Field(min_length=1, max_length=255)] | None = None


class BatchItem(Answer):
    id: str
    status: Literal["created", "updated", "duplicate"]
    version: int


class BatchAnswer(Answer):
    """What became of each record, in the order given."""

    results: list[BatchItem]
    replayed: bool = Field(
        default=False, description="True: this idempotency key had been used; nothing new was written."
    )


class Memory(Answer):
    """One memory, as stored."""

    id: str
    space: str
    content: str
    metadata: dict[str, JsonValue]
    value: JsonValue = None
    vector: VectorNumbers | None = Field(default=None, description="Only when asked for.")
    kind: Kind
    namespace: list[str]
    user_id: str | None = None
    agent_id: str | None = None
    app_id: str | None = None
    run_id: str | None = None
    session_id: str | None = None
    categories: list[str]
    importance: float
    kappa: float
    event_time: Time
    valid_from: Time | None = None
    valid_to: Time | None = None
    recorded_at: Time
    created_at: Time
    updated_at: Time
    expires_at: Time | None = None
    access_count: int
    last_accessed: Time | None = None
    pinned: bool
    version: int
    status: Literal["created", "updated", "duplicate"] | None = Field(
        default=None, description="After a store: what it did. duplicate: it was known, nothing was added."
    )


class UpdateRequest(Request):
    """Change the fields that are given. A change of anything but learning state makes a new version."""

    content: Content | None = None
    metadata: Metadata | None = None
    metadata_mode: Literal["merge", "replace"] = Field(default="merge", description="merge: by top-level key.")
    value: Json = None
    vector: Vector | None = None
    kind: Kind | None = None
    namespace: list[Label] | None = Field(default=None, max_length=32)
    categories: list[Label] | None = Field(default=None, max_length=64)
    user_id: Label | None = None
    agent_id: Label | None = None
    app_id: Label | None = None
    run_id: Label | None = None
    session_id: Label | None = None
    event_time: Time | None = None
    valid_from: Time | None = None
    valid_to: Time | None = Field(default=None, description="null opens the interval again.")
    expires_at: Time | None = Field(default=None, description="null clears it.")
    importance: Unit | None = None
    kappa: Unit | None = None
    pinned: Bool | None = None
    expected_version: Annotated[int, Strict(), Field(ge=1)] | None = Field(
        default=None, description="Refuse (409) unless this is the current version."
    )

    @field_validator("content", "vector", "kind", "event_time", "importance", "kappa", "pinned", mode="before")
    @classmethod
    def _kept(cls, value: object) -> object:
        if value is None:
            raise ValueError("it cannot be null: leave it out to keep it")
        return value

    @model_validator(mode="after")
    def _merged(self) -> UpdateRequest:
        if "metadata" in self.model_fields_set and self.metadata is None and self.metadata_mode == "merge":
            raise ValueError("metadata: it cannot be null: leave it out to keep it, or replace it")
        return self


class GetRequest(Request):
    ids: list[Id] = Field(max_length=MAX_LIMIT)
    space: SpaceName = "default"
    as_of: Time | None = Field(default=None, description="Valid time.")
    known_at: Time | None = Field(default=None, description="Transaction time.")
    include_vectors: Bool = False


class MemoryList(Answer):
    results: list[Memory]


# Filters ----------------------------------------------------------------------------------------------


class Filter(Request):
    """A typed tree: exactly one of `and`, `or`, `not`, or a leaf of `field`, `op` and `value`.

    Operators: eq ne gt gte lt lte in nin contains any all text_match itext_match exists is_empty. Fields are
    metadata paths (`a.b`) and the memory's own columns. Comparison is typed, a missing field is false except
    for ne, nin and is_empty. An unknown operator is an error.
    """

    and_: list[Filter] | None = Field(default=None, alias="and", min_length=1, max_length=MAX_K)
    or_: list[Filter] | None = Field(default=None, alias="or", min_length=1, max_length=MAX_K)
    not_: Filter | None = Field(default=None, alias="not")
    field: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    op: str | None = None
    value: JsonValue = None

    model_config = ConfigDict(extra="forbid", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    @model_validator(mode="after")
    def _one_form(self) -> Filter:
        forms = [self.and_ is not None, self.or_ is not None, self.not_ is not None, self.field is not None]
        if sum(forms) != 1 or (self.field is None) != (self.op is None):
            raise ValueError('a filter is {"and": […]}, {"or": […]}, {"not": {…}} or {"field", "op", "value"}')
        return self


class Selection(Owner):
    """Which memories: everything given must hold."""

    space: SpaceName = "default"
    filter: Filter | None = None
    namespace_prefix: list[Label] | None = Field(default=None, max_length=32)
    kind: Kind | None = None


class TimeRange(Request):
    """Event time, half-open: `from <= event_time < to`; either end may be absent."""

    from_: Time | None = Field(default=None, alias="from")
    to: Time | None = None

    model_config = ConfigDict(extra="forbid", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    @model_validator(mode="after")
    def _is_forward(self) -> TimeRange:
        if self.from_ is not None and self.to is not None and self.to <= self.from_:
            raise ValueError("to must be later than from")
        return self


class SearchRequest(Selection):
    """Find memories by meaning, by words, and by what they are linked to."""

    query: Content | None = None
    vector: Vector | None = None
    k: Int = Field(default=10, ge=1, le=MAX_K)
    offset: Int = Field(default=0, ge=0, le=MAX_LIMIT)
    min_score: Unit | None = None
    scopes: list[Owner] | None = Field(default=None, max_length=64, description="OR of owners.")
    kappa_min: Unit | None = None
    kappa_max: Unit | None = None
    time_range: TimeRange | None = None
    as_of: Time | None = None
    known_at: Time | None = None
    mode: SearchMode | None = Field(
        default=None,
        description="hybrid: all signals (the default with a query) · vector: nearest neighbours only (with a vector "
        "alone) · lexical: words only · graph: what is linked to the best hits.",
    )
    weights: SearchWeights = Field(default_factory=SearchWeights)
    abstain_below: Unit | None = Field(
        default=None,
        description="No hits at all unless the best is at least this likely to answer; absent: as the daemon is set.",
    )
    mmr: Mmr | None = None
    collapse: Bool | None = Field(
        default=None, description="Show memories that say the same once. Absent: in every mode but vector."
    )
    include: list[Include] = Field(default_factory=list[Include], max_length=8)
    show_expired: Bool = False
    touch: Bool = Field(default=True, description="Count the hits as used (access_count), shortly after.")

    @model_validator(mode="after")
    def _has_question(self) -> SearchRequest:
        if self.vector is None and not (self.query and self.query.strip()):
            raise ValueError("give a query, a vector, or both")
        return self


class Hit(Answer):
    memory: Memory
    score: float = Field(description="In [0, 1], higher is better.")
    similarity: float | None = Field(default=None, description="Raw cosine in [-1, 1]; null if not a vector hit.")
    explain: dict[str, float] | None = Field(
        default=None, description="The contribution of each signal; they sum to the score."
    )
    ranks: dict[str, int] | None = Field(
        default=None, description="With `explain`: its place, from 1, among what each signal proposed."
    )


class SearchAnswer(Answer):
    results: list[Hit]
    took_ms: float


class ListRequest(Selection):
    """List memories page by page."""

    order_by: OrderBy = "-created_at"
    limit: Int = Field(default=100, ge=1, le=MAX_LIMIT)
    offset: Int = Field(default=0, ge=0)
    cursor: Annotated[str, Field(max_length=256)] | None = None
    as_of: Time | None = None
    known_at: Time | None = None
    include_vectors: Bool = False
    show_expired: Bool = False


class ListAnswer(Answer):
    results: list[Memory]
    total: int
    cursor: str | None = Field(default=None, description="Give it back for the next page; null at the end.")


class DeleteRequest(Selection):
    """Delete what matches. An empty selector is refused unless `all` is true."""

    ids: list[Id] | None = Field(default=None, max_length=MAX_LIMIT)
    older_than: Time | None = Field(default=None, description="Created before this time.")
    expired: Bool = Field(default=False, description="Only what has expired.")
    all: Bool = False
    dry_run: Bool = False
    purge: Bool = Field(
        default=False,
        description="Also forget every version, so that neither history nor known_at tells of them any more; ids "
        "that were deleted before are then found, too.",
    )


class DeleteAnswer(Answer):
    deleted: int = Field(description="How many were deleted, or would be (dry_run).")
    dry_run: bool = False
    purged: int = Field(default=0, description="How many versions were forgotten (purge).")


class HistoryEntry(Answer):
    """One event in the life of a memory."""

    event: HistoryEvent
    version: int
    recorded_at: Time
    old: Memory | None = None
    new: Memory | None = None


class HistoryAnswer(Answer):
    id: str
    results: list[HistoryEntry]


class TouchRequest(Request):
    """Record that memories were used."""

    ids: list[Id] = Field(min_length=1, max_length=MAX_LIMIT)
    space: SpaceName = "default"
    ttl_s: Float | None = Field(
        default=None,
        gt=0,
        le=MAX_TTL_S,
        description="Let them expire so many seconds from now; those that have expired stay so, and do not count.",
    )
    only_expiring: Bool = Field(
        default=False, description="With `ttl_s`: leave alone, and do not count, those that never expire."
    )


class TouchAnswer(Answer):
    touched: int


# Spaces -----------------------------------------------------------------------------------------------


class SpaceRequest(Request):
    """Create a space. Without a dimension, the first vector fixes it."""

    dimension: Int | None = Field(default=None, ge=1, le=MAX_DIMENSION)
    metric: Literal["cosine"] = "cosine"
    embedder: Literal["server", "client"] = Field(
        default="server", description="server: the daemon embeds texts; client: the caller brings every vector."
    )


class Space(Answer):
    name: str
    dimension: int | None
    metric: Literal["cosine"]
    embedder: Literal["server", "client"]
    model: str | None = Field(default=None, description="The daemon's embedder of this space, with its version.")
    items: int


class SpaceList(Answer):
    results: list[Space]


# Operations -------------------------------------------------------------------------------------------


class ModelState(Answer):
    name: str
    state: Literal["loading", "ready", "failed", "absent"] = Field(
        description="absent: this daemon has no such model, and needs none for what it does."
    )
    dimension: int | None = None
    error: str | None = None


class Health(Answer):
    """Whether the process is up (`/healthz`)."""

    status: Literal["ok"]
    instance_id: str
    pid: int
    uptime_s: float


class Readiness(Answer):
    """Whether it is recovered and serving (`/readyz`; 503 until `ready`)."""

    ready: bool
    phase: Literal["starting", "recovering", "warming_up", "ready", "stopping", "failed"]
    reason: str | None = None
    models: dict[str, ModelState]


class HealthReport(Answer):
    """Everything a client wants to know before it starts (`/api/v1/health`)."""

    status: Literal["ok", "starting", "stopping", "failed"]
    version: str
    instance_id: str
    pid: int
    uptime_s: float
    storage_path: str
    embedder: ModelState
    signals: list[str] = Field(description="Search signals this version has.")


class VersionInfo(Answer):
    version: str
    api: str
    data_format: int
    features: list[str]


class SpaceStats(Answer):
    space: str
    items: int
    versions: int
    by_kind: dict[str, int]
    by_kappa: dict[str, int]
    segments: int
    memtable_rows: int
    edges: int = 0
    wal_bytes: int
    disk_bytes: int
    memory_bytes: int


class Stats(Answer):
    """Counts over all spaces, and each space's own. Sizes are those of spaces and messages together."""

    items: int
    versions: int
    by_kind: dict[str, int]
    by_kappa: dict[str, int]
    edges: int = 0
    messages: int = Field(default=0, description="Messages of all sessions.")
    segments: int
    wal_bytes: int
    disk_bytes: int
    memory_bytes: int
    spaces: list[SpaceStats]
    models: dict[str, ModelState]
    embedding_cache: dict[str, int]


class ErrorBody(Answer):
    code: str = Field(description="Stable word for programs.")
    message: str = Field(description="One sentence for people.")
    details: dict[str, Any] = Field(default_factory=dict)


class ErrorAnswer(Answer):
    error: ErrorBody
