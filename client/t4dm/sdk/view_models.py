"""The wire models of the typed views: episodes (what happened), entities (what is known of something), procedures
(how something is done).

They are memories like any other, seen with fields of their own. Those fields live in the memory's `value`; the few
that one filters by stand in its metadata as well, under a key that is the view's own (`episode`, `entity`,
`procedure`) and that the view leaves out of the metadata it answers.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from t4dm.sdk.graph_models import MAX_NODES, MAX_TRAVERSAL, Direction, Edge, EdgeType
from t4dm.sdk.model_bases import Answer, Request
from t4dm.sdk.models import Memory, Owner, SearchRequest
from t4dm.sdk.wire_types import (
    MAX_LIMIT,
    Bool,
    Content,
    Float,
    Id,
    Kind,
    Label,
    Metadata,
    OrderBy,
    SpaceName,
    Time,
    Unit,
    Vector,
)

MAX_SUMMARY_CHARS: Final = 100_000
MAX_STEPS: Final = 200
MAX_ACTION_CHARS: Final = 1000
MAX_LINE_CHARS: Final = 4096
MAX_DURATION_S: Final = 1e9
MAX_WINDOW_DAYS: Final = 36_600.0

EPISODIC_KAPPA: Final = 0.3
EPISODIC_WINDOW_DAYS: Final = 30.0
SEMANTIC_KAPPA: Final = 0.7
TOLD_KAPPA: Final = 0.85
"""κ of what is told as knowledge, rather than learnt from episodes: that of a semantic prototype."""

__all__ = [
    "DeprecateRequest",
    "Entity",
    "EntityFields",
    "EntityHit",
    "EntityIn",
    "EntityList",
    "EntityListRequest",
    "EntitySearchAnswer",
    "EntitySearchRequest",
    "Episode",
    "EpisodeContext",
    "EpisodeFields",
    "EpisodeHit",
    "EpisodeIn",
    "EpisodeList",
    "EpisodeListRequest",
    "EpisodeOutcome",
    "EpisodeSearchAnswer",
    "EpisodeSearchRequest",
    "OutcomeRequest",
    "Procedure",
    "ProcedureFields",
    "ProcedureHit",
    "ProcedureIn",
    "ProcedureList",
    "ProcedureListRequest",
    "ProcedureSearchAnswer",
    "ProcedureSearchRequest",
    "ProcedureStep",
    "RelatedAnswer",
    "RelatedEntity",
    "RelatedRequest",
    "Relation",
    "RelationIn",
    "RelationList",
    "RelationListRequest",
    "StoredContext",
    "StoredStep",
    "SupersedeRequest",
]

EpisodeOutcome = Literal["success", "failure", "partial", "neutral"]
Line = Annotated[Content, StringConstraints(max_length=MAX_LINE_CHARS)]
Summary = Annotated[Content, StringConstraints(max_length=MAX_SUMMARY_CHARS)]
Action = Annotated[Content, StringConstraints(min_length=1, max_length=MAX_ACTION_CHARS)]


# What the views share ---------------------------------------------------------------------------------


class TypedIn(Owner):
    """What every record of a view may say beside its own fields; see `RecordIn`."""

    id: Id | None = Field(default=None, description="Any string, unique in its space; a UUIDv7 is made when absent.")
    metadata: Metadata = Field(default_factory=dict, description="Filterable; returned exactly as given.")
    vector: Vector | None = Field(default=None, description="The caller's own embedding; absent: the daemon embeds.")
    embed: Bool = Field(default=True, description="False stores without a vector: found by words, not by meaning.")
    namespace: list[Label] = Field(default_factory=list, max_length=32)
    categories: list[Label] = Field(default_factory=list, max_length=64)
    event_time: Time | None = Field(default=None, description="When it happened or was learnt; now when absent.")
    valid_from: Time | None = Field(default=None, description="From when it is true; the event time when absent.")
    valid_to: Time | None = Field(default=None, description="Until when it is true (exclusive); open when absent.")
    expires_at: Time | None = Field(default=None, description="Hidden from then on.")
    pinned: Bool = Field(default=False, description="Never forgotten by sleep.")
    space: SpaceName = "default"

    @model_validator(mode="after")
    def _is_forward(self) -> TypedIn:
        if self.valid_to is not None and self.valid_from is not None and self.valid_to <= self.valid_from:
            raise ValueError("valid_to must be later than valid_from")
        return self


class TypedList(Owner):
    """One page of a view. Its fields travel in the query string."""

    order_by: OrderBy = "-created_at"
    limit: int = Field(default=100, ge=1, le=MAX_LIMIT)
    cursor: Annotated[str, Field(max_length=256)] | None = None
    as_of: Time | None = Field(default=None, description="Valid time.")
    known_at: Time | None = Field(default=None, description="Transaction time.")
    space: SpaceName = "default"


class TypedSearch(SearchRequest):
    """A search whose kind is the view's, and whose hits hold the view's fields."""

    KIND: ClassVar[Kind]

    @model_validator(mode="after")
    def _of_this_view(self) -> TypedSearch:
        if self.kind not in (None, self.KIND):
            raise ValueError(f"the kind is {self.KIND} here")
        if set(self.include) - {"explain"}:
            raise ValueError("here, only explain can be included")
        return self


class Ranked(Answer):
    """Why a hit is where it is; see `Hit`."""

    score: float = Field(description="In [0, 1], higher is better.")
    similarity: float | None = Field(default=None, description="Raw cosine in [-1, 1]; null if not a vector hit.")
    explain: dict[str, float] | None = Field(
        default=None, description="The contribution of each signal; they sum to the score."
    )
    ranks: dict[str, int] | None = Field(
        default=None, description="With `explain`: its place, from 1, among what each signal proposed."
    )


# Episodes ---------------------------------------------------------------------------------------------


class EpisodeContext(Request):
    """Where an episode took place."""

    project: Label | None = None
    tool: Label | None = None
    file: Line | None = None
    working_directory: Line | None = None
    git_branch: Line | None = None


class EpisodeFields(Request):
    """What an episode says beside what every memory does."""

    outcome: EpisodeOutcome | None = Field(default=None, description="How it ended.")
    emotional_valence: Unit | None = Field(default=None, description="How much it mattered, 0 to 1.")
    context: EpisodeContext = Field(default_factory=EpisodeContext)


class EpisodeIn(TypedIn, EpisodeFields):
    """Something that happened."""

    content: Annotated[Content, StringConstraints(min_length=1)] = Field(description="What happened.")
    importance: Unit | None = Field(default=None, description="Absent: `emotional_valence`, or 0.5 without one.")
    kappa: Unit = Field(default=0.0, description="Degree of consolidation; an episode begins at 0.")


class StoredContext(EpisodeContext):
    """The context as an answer holds it: a newer daemon may say more."""

    model_config = ConfigDict(extra="ignore")


class Episode(Memory):
    """A memory of kind `episodic`."""

    outcome: EpisodeOutcome | None = None
    emotional_valence: float | None = None
    context: StoredContext = Field(default_factory=StoredContext)


class EpisodeListRequest(TypedList):
    """List episodes, the latest first."""

    order_by: OrderBy = "-event_time"
    since: Time | None = Field(default=None, description="Happened at this time or later.")
    until: Time | None = Field(default=None, description="Happened before this time.")
    outcome: EpisodeOutcome | None = None
    project: Label | None = None
    tool: Label | None = None


class EpisodeList(Answer):
    results: list[Episode]
    total: int
    cursor: str | None = Field(default=None, description="Give it back for the next page; null at the end.")


class EpisodeSearchRequest(TypedSearch):
    """Recall episodes: by default recent ones that have not been consolidated."""

    KIND: ClassVar[Kind] = "episodic"

    kappa_max: Unit | None = Field(default=EPISODIC_KAPPA, description="null: however much they are consolidated.")
    window_days: Annotated[Float, Field(gt=0, le=MAX_WINDOW_DAYS)] | None = Field(
        default=EPISODIC_WINDOW_DAYS,
        description="Only what happened in that many days before now (or before `as_of` or `known_at`); null: of all "
        "times. A `time_range` takes its place.",
    )
    outcome: EpisodeOutcome | None = None
    project: Label | None = None
    tool: Label | None = None


class EpisodeHit(Ranked):
    episode: Episode


class EpisodeSearchAnswer(Answer):
    results: list[EpisodeHit]
    took_ms: float


# Entities ---------------------------------------------------------------------------------------------


class EntityFields(Request):
    """What an entity says beside what every memory does."""

    name: Label
    entity_type: Label = Field(description="What it is: person, project, tool, concept, place, …")
    summary: Summary = Field(default="", description="One or two sentences; it is searched together with the name.")
    details: Content | None = Field(default=None, description="All the rest; returned, not searched.")
    source: Line | None = Field(default=None, description="Where it is known from.")


class EntityIn(TypedIn, EntityFields):
    """Something that is known: who or what it is, and what is true of it."""

    importance: Unit = 0.5
    kappa: Unit = Field(default=TOLD_KAPPA, description="Degree of consolidation; what is told counts as knowledge.")


class Entity(Memory):
    """A memory of kind `semantic` that is about one thing. Its content is `name: summary`."""

    name: str
    entity_type: str
    summary: str = ""
    details: str | None = None
    source: str | None = None


class EntityListRequest(TypedList):
    """List entities; without `as_of`, as they are now."""

    name: Label | None = None
    entity_type: Label | None = None
    show_superseded: bool = Field(default=False, description="Also what is not true now; not with `as_of`.")


class EntityList(Answer):
    results: list[Entity]
    total: int
    cursor: str | None = Field(default=None, description="Give it back for the next page; null at the end.")


class EntitySearchRequest(TypedSearch):
    """Recall what is known: by default what is well consolidated and true now, however old it is."""

    KIND: ClassVar[Kind] = "semantic"

    kappa_min: Unit | None = Field(default=SEMANTIC_KAPPA, description="null: however little it is consolidated.")
    name: Label | None = None
    entity_type: Label | None = None
    show_superseded: Bool = Field(default=False, description="Also what is not true now; not with `as_of`.")


class EntityHit(Ranked):
    entity: Entity


class EntitySearchAnswer(Answer):
    results: list[EntityHit]
    took_ms: float


class SupersedeRequest(Request):
    """Say what is true of an entity from now on. What is left out stays as it was."""

    id: Id | None = Field(default=None, description="Of the new record; a UUIDv7 is made when absent.")
    name: Label | None = None
    entity_type: Label | None = None
    summary: Summary | None = None
    details: Content | None = Field(default=None, description="null takes them away.")
    source: Line | None = Field(default=None, description="null takes it away.")
    metadata: Metadata | None = Field(default=None, description="In place of the old.")
    importance: Unit | None = None
    valid_from: Time | None = Field(default=None, description="When the old ceased to be true; now when absent.")
    vector: Vector | None = Field(default=None, description="The caller's own embedding; absent: the daemon embeds.")
    carry_relations: Bool = Field(default=True, description="The new record has the relations of the old one, too.")


class RelationIn(Request):
    """A typed, weighted link from one entity to another."""

    target: Id
    type: EdgeType = "RELATES_TO"
    weight: Unit = 1.0


class RelationListRequest(Request):
    """Which relations of an entity, and as of when."""

    type: EdgeType | None = None
    direction: Direction = "both"
    limit: int = Field(default=100, ge=1, le=MAX_NODES)
    as_of: Time | None = Field(default=None, description="Valid time; now when absent.")
    known_at: Time | None = Field(default=None, description="Transaction time.")
    show_superseded: bool = Field(default=False, description="Also to what is not true now; not with `as_of`.")
    space: SpaceName = "default"


class RelatedRequest(RelationListRequest):
    """How far to walk from an entity."""

    depth: int = Field(default=2, ge=1, le=MAX_TRAVERSAL, description="The most links between the two.")


class Relation(Answer):
    """A link of an entity, and the entity at its other end."""

    edge: Edge
    entity: Entity


class RelationList(Answer):
    """By weight (falling), then by the names of the link."""

    results: list[Relation]


class RelatedEntity(Relation):
    """An entity that a walk came to, and the link by which it first did."""

    depth: int


class RelatedAnswer(Answer):
    """The nearest first, then by weight (falling) and id."""

    results: list[RelatedEntity]


# Procedures -------------------------------------------------------------------------------------------


class ProcedureStep(Request):
    """One step; a plain text is a step with that action."""

    action: Action
    tool: Label | None = None
    parameters: Metadata = Field(default_factory=dict)
    expected: Line | None = Field(default=None, description="How one sees that it worked.")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"action": given} if isinstance(given, str) else given


class ProcedureFields(Request):
    """What a procedure says beside what every memory does."""

    name: Label
    domain: Label = Field(default="general", description="What it belongs to: coding, research, writing, …")
    trigger: Line = Field(default="", description="When to do it; searched together with the name and the steps.")
    steps: list[ProcedureStep] = Field(
        default_factory=list[ProcedureStep],
        max_length=MAX_STEPS,
        description="In order; a plain text is a step with that action.",
    )
    script: Content | None = Field(default=None, description="The whole of it to be run; returned, not searched.")


class ProcedureIn(TypedIn, ProcedureFields):
    """How something is done. An existing id is replaced, its record of outcomes included."""

    importance: Unit = 0.5
    kappa: Unit = Field(default=TOLD_KAPPA, description="Degree of consolidation; what is told counts as knowledge.")


class StoredStep(ProcedureStep):
    """A step as an answer holds it: a newer daemon may say more."""

    model_config = ConfigDict(extra="ignore")


class Procedure(Memory):
    """A memory of kind `procedural`. Its content is `name: trigger` and the actions of its steps."""

    name: str
    domain: str
    trigger: str = ""
    steps: list[StoredStep] = Field(default_factory=list[StoredStep])
    script: str | None = None
    executions: int = 0
    successes: int = 0
    success_rate: float | None = Field(default=None, description="successes / executions; null before the first.")
    reliability: float = Field(
        default=0.5,
        description="(successes + 1) / (executions + 2), Laplace's rule of succession: what it is ranked by.",
    )
    mean_duration_s: float | None = Field(default=None, description="Of the executions that told how long they took.")
    last_outcome_at: Time | None = None
    last_error: str | None = Field(default=None, description="Of the latest failure that told one.")
    deprecated_reason: str | None = None


class ProcedureListRequest(TypedList):
    """List procedures; without `as_of`, those that are in use now."""

    name: Label | None = None
    domain: Label | None = None
    show_deprecated: bool = Field(default=False, description="Also what is not in use now; not with `as_of`.")


class ProcedureList(Answer):
    results: list[Procedure]
    total: int
    cursor: str | None = Field(default=None, description="Give it back for the next page; null at the end.")


class ProcedureSearchRequest(TypedSearch):
    """Recall how to do something: ranked by relevance and by how often it worked."""

    KIND: ClassVar[Kind] = "procedural"

    domain: Label | None = None
    success_weight: Unit = Field(
        default=0.5,
        description="The score is relevance * (1 - success_weight * (1 - reliability)); 0: relevance alone.",
    )
    show_deprecated: Bool = Field(default=False, description="Also what is not in use now; not with `as_of`.")


class ProcedureHit(Ranked):
    procedure: Procedure


class ProcedureSearchAnswer(Answer):
    results: list[ProcedureHit]
    took_ms: float


class OutcomeRequest(Request):
    """How one execution of a procedure ended."""

    success: Bool
    error: Line | None = Field(default=None, description="What went wrong.")
    duration_s: Annotated[Float, Field(ge=0, le=MAX_DURATION_S)] | None = None
    at: Time | None = Field(default=None, description="When it ended; now when absent.")

    @model_validator(mode="after")
    def _no_error_in_success(self) -> OutcomeRequest:
        if self.success and self.error is not None:
            raise ValueError("a success has no error")
        return self


class DeprecateRequest(Request):
    """Take a procedure out of use."""

    replacement: Id | None = Field(default=None, description="The procedure to use instead.")
    reason: Line | None = None
    at: Time | None = Field(default=None, description="From when on; now when absent.")
