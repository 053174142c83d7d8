"""From the keyword arguments of `T4DM` and `AsyncT4DM` to the wire's requests: written once for both.

The `…Fields` name every keyword a method takes; type checkers complete and check them, and a name that is not
among them is a TypeError, as for any Python function.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal, Protocol, TypedDict, Unpack

from pydantic import TypeAdapter

from t4dm.sdk import models as m
from t4dm.sdk import recall_models as r
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import ValidationError

PAGE: Final = 1000

Time = datetime | str
"""A datetime or RFC 3339 text; without a zone it is UTC."""


class _Array(Protocol):
    """A numpy array or its like."""

    def tolist(self) -> Any: ...


Vector = Sequence[float] | bytes | str | _Array
"""Numbers, an array, little-endian float32 bytes, or base64 of them."""

FilterLike = m.Filter | Mapping[str, Any]
Record = str | Mapping[str, Any] | m.RecordIn


class OwnerFields(TypedDict, total=False):
    """Whose memory it is; None takes back the default given at construction."""

    user_id: str | None
    agent_id: str | None
    app_id: str | None
    run_id: str | None
    session_id: str | None


class RecordFields(OwnerFields, total=False):
    """See `t4dm.sdk.RecordIn`."""

    value: Any
    vector: Vector | None
    embed: bool
    kind: m.Kind
    namespace: Sequence[str]
    categories: Sequence[str]
    importance: float
    kappa: float
    event_time: Time | None
    valid_from: Time | None
    valid_to: Time | None
    created_at: Time | None
    updated_at: Time | None
    expires_at: Time | None
    ttl_s: float | None
    pinned: bool
    supersedes: Sequence[str]
    dedup: Literal["exact", "off"]


class SelectionFields(OwnerFields, total=False):
    """See `t4dm.sdk.Selection`."""

    namespace_prefix: Sequence[str] | None
    kind: m.Kind | None


class SearchFields(SelectionFields, total=False):
    """See `t4dm.sdk.SearchRequest`."""

    vector: Vector | None
    offset: int
    min_score: float | None
    scopes: Sequence[m.Owner | Mapping[str, str]] | None
    kappa_min: float | None
    kappa_max: float | None
    time_range: m.TimeRange | Mapping[str, Time] | None
    as_of: Time | None
    known_at: Time | None
    mode: m.SearchMode | None
    weights: m.SearchWeights | Mapping[str, float]
    abstain_below: float | None
    mmr: m.Mmr | Mapping[str, float] | None
    collapse: bool | None
    touch: bool
    include: Sequence[m.Include]
    show_expired: bool


class ListFields(SelectionFields, total=False):
    """See `t4dm.sdk.ListRequest`."""

    as_of: Time | None
    known_at: Time | None
    include_vectors: bool
    show_expired: bool


class DeleteFields(SelectionFields, total=False):
    """See `t4dm.sdk.DeleteRequest`."""

    ids: Sequence[str] | None
    filter: FilterLike | None
    older_than: Time | None
    expired: bool
    all: bool
    dry_run: bool
    purge: bool


class ChangeFields(OwnerFields, total=False):
    """See `t4dm.sdk.UpdateRequest`: what is given changes, None included; what is absent stays."""

    content: str
    metadata: Mapping[str, Any]
    metadata_mode: Literal["merge", "replace"]
    value: Any
    vector: Vector | None
    kind: m.Kind
    namespace: Sequence[str]
    categories: Sequence[str]
    event_time: Time
    valid_from: Time | None
    valid_to: Time | None
    expires_at: Time | None
    importance: float
    kappa: float
    pinned: bool
    expected_version: int


@dataclass(frozen=True, slots=True)
class Defaults:
    """What every call of one `T4DM` starts from: a space, and the owner columns that were given."""

    space: str
    owner: Mapping[str, str]

    def in_space(self, space: str | None) -> str:
        return self.space if space is None else space

    def store(
        self,
        content: str,
        space: str | None,
        id: str | None,
        metadata: Mapping[str, Any] | None,
        fields: RecordFields,
    ) -> m.StoreRequest:
        given = known_fields("add", fields, RecordFields.__annotations__)
        given |= _unless_none(id=id, metadata=metadata)
        with as_validation_error():
            return m.StoreRequest(content=content, space=self.in_space(space), **self._for_owner(given))

    def batch(
        self, records: Iterable[Record], space: str | None, on_conflict: m.OnConflict, idempotency_key: str | None
    ) -> m.BatchRequest:
        if isinstance(records, str | bytes | Mapping):
            raise TypeError("add_many takes a list of records; add takes one")
        with as_validation_error():
            return m.BatchRequest.model_validate(
                {
                    "records": [self._record(record) for record in records],
                    "space": self.in_space(space),
                    "on_conflict": on_conflict,
                    "idempotency_key": idempotency_key,
                }
            )

    def search(
        self, query: str | None, k: int, space: str | None, filter: FilterLike | None, fields: SearchFields
    ) -> m.SearchRequest:
        given = known_fields("search", fields, SearchFields.__annotations__) | _unless_none(query=query, filter=filter)
        with as_validation_error():
            return m.SearchRequest(k=k, space=self.in_space(space), **self._for_owner(given))

    def context(
        self, query: str, budget_tokens: int, space: str | None, filter: FilterLike | None, fields: SearchFields
    ) -> r.ContextRequest:
        given = known_fields("context", fields, SearchFields.__annotations__) | _unless_none(filter=filter)
        with as_validation_error():
            return r.ContextRequest(
                query=query, budget_tokens=budget_tokens, space=self.in_space(space), **self._for_owner(given)
            )

    def pin(self, ids: Sequence[str], pinned: bool, space: str | None) -> r.PinRequest:
        with as_validation_error():
            return r.PinRequest(ids=list(ids), pinned=pinned, space=self.in_space(space))

    def feedback(self, id: str, reward: float, query: str | None, space: str | None) -> r.FeedbackRequest:
        with as_validation_error():
            item = r.FeedbackItem(id=id, reward=reward)
            return r.FeedbackRequest(items=[item], query=query, space=self.in_space(space))

    def pages(
        self,
        space: str | None,
        filter: FilterLike | None,
        limit: int | None,
        order_by: m.OrderBy,
        fields: ListFields,
    ) -> Pages:
        given = known_fields("get_all", fields, ListFields.__annotations__) | _unless_none(filter=filter)
        if limit is not None and limit < 0:
            raise ValidationError("limit is not negative", code="validation_error")
        with as_validation_error():
            first = m.ListRequest(order_by=order_by, space=self.in_space(space), **self._for_owner(given))
        return Pages(first, limit)

    def change(self, changes: ChangeFields) -> m.UpdateRequest:
        given = known_fields("update", changes, ChangeFields.__annotations__)
        if not given:
            raise TypeError("update() needs at least one change, for example content=…")
        with as_validation_error():
            return m.UpdateRequest(**given)

    def deletion(self, space: str | None, selector: DeleteFields) -> m.DeleteRequest:
        given = known_fields("delete_all", selector, DeleteFields.__annotations__)
        with as_validation_error():
            return m.DeleteRequest(space=self.in_space(space), **self._for_owner(given))

    def _for_owner(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.owner, **given}

    def _record(self, record: Record) -> m.RecordIn:
        if isinstance(record, str):
            return m.RecordIn(content=record, **self._for_owner({}))
        if isinstance(record, m.RecordIn):
            missing = {name: value for name, value in self.owner.items() if name not in record.model_fields_set}
            return record.model_copy(update=missing) if missing else record
        return m.RecordIn.model_validate(self._for_owner(record))


class Pages:
    """Walk through a list by its cursor, up to a limit."""

    def __init__(self, first: m.ListRequest, limit: int | None) -> None:
        self._first = first
        self._limit = limit
        self._cursor: str | None = None
        self._is_done = limit == 0
        self.memories: list[m.Memory] = []

    def next_request(self) -> m.ListRequest | None:
        """Return the request for the next page, None after the last."""
        if self._is_done:
            return None
        size = PAGE if self._limit is None else min(PAGE, self._limit - len(self.memories))
        return self._first.model_copy(update={"limit": size} | _unless_none(cursor=self._cursor))

    def add(self, page: m.ListAnswer) -> None:
        self.memories += page.results
        self._cursor = page.cursor
        self._is_done = page.cursor is None or (self._limit is not None and len(self.memories) >= self._limit)


def owner_defaults(**columns: Unpack[OwnerFields]) -> dict[str, str]:
    """Return the columns that were given, checked."""
    with as_validation_error():
        m.Owner(**columns)
    return {name: str(value) for name, value in columns.items() if value is not None}


def moment(value: Time | None) -> datetime | None:
    if value is None:
        return None
    with as_validation_error():
        return _moments().validate_python(value)


@cache
def _moments() -> TypeAdapter[datetime]:
    return TypeAdapter(m.Time)


def known_fields(method: str, given: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    """Return the arguments, or raise the TypeError that a written-out signature would."""
    for name in given:
        if name not in known:
            raise TypeError(f"{method}() got an unexpected keyword argument {name!r}")
    return dict(given)


def _unless_none(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}
