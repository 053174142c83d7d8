"""How a view's own fields lie in a memory.

All of them are in `value`. The few that one filters by are also in the metadata, under one key that is the view's
own: metadata is what filters see, and `value` is opaque to them. The view leaves that key out of the metadata that it
shows, so that metadata comes back as it was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import pydantic
from pydantic import BaseModel, JsonValue

from t4dm._privacy import without_private
from t4dm.sdk import models as m
from t4dm.sdk import view_models as v
from t4dm_daemon.core.clock import to_micros
from t4dm_daemon.core.errors import InvalidInputError, NotFoundError
from t4dm_daemon.core.item import ENTITY_COLUMNS, Item
from t4dm_daemon.memory import json_text, records
from t4dm_daemon.memory.service import MemoryService
from t4dm_daemon.storage.protocol import View

F = TypeVar("F", bound=BaseModel)
_COMMON = frozenset(v.TypedIn.model_fields) - {"metadata"}


@dataclass(frozen=True, slots=True)
class Shape(Generic[F]):
    """One view.

    Attributes:
        kind: Of its memories.
        noun: What one of them is called, and the key of the metadata that is the view's.
        fields: What is in `value`.
        holds_all: Whether every memory of the kind belongs to it, or only those that it made.
    """

    kind: m.Kind
    noun: str
    fields: type[F]
    holds_all: bool = False

    # Writing ------------------------------------------------------------------------------------------

    def record(
        self, given: v.TypedIn, own: F, labels: Mapping[str, str | None], *, content: str, **learned: float
    ) -> m.StoreRequest:
        """Return the request that stores a record of this view.

        What happens again, or has the name of another thing, is not the same record: texts are not compared.

        Args:
            given: What the caller sent.
            own: The view's own fields.
            labels: Those of them that one filters by.
            content: What is embedded and searched.
            learned: Learning state to begin with.

        Raises:
            InvalidInputError: The metadata uses the view's key.
        """
        common = {name: getattr(given, name) for name in given.model_fields_set & _COMMON}
        return m.StoreRequest(
            **common,
            **learned,
            content=content,
            kind=self.kind,
            metadata=self.metadata(given.metadata, labels),
            value=self.value(own),
            dedup="off",
        )

    def told(self, given: BaseModel) -> F:
        """Return the view's fields of what a caller sent, without private spans.

        Raises:
            InvalidInputError: Nothing is left of a field that must say something.
        """
        told = given.model_dump(include=set(self.fields.model_fields))
        try:
            return self.fields.model_validate(_public(told))
        except pydantic.ValidationError as error:
            field = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise InvalidInputError(
                f"{field}: all of it is private, so there is nothing to store", field=field
            ) from None

    def value(self, own: F) -> JsonValue:
        found: JsonValue = own.model_dump(mode="json", exclude_defaults=True)
        return found

    def metadata(self, given: Mapping[str, JsonValue], labels: Mapping[str, str | None]) -> dict[str, JsonValue]:
        """Return the metadata with the view's key, where it has something to say. Raises InvalidInputError."""
        if self.noun in given:
            raise InvalidInputError(
                f"the key {self.noun!r} of the metadata holds the view's own fields; use another", field="metadata"
            )
        told: dict[str, JsonValue] = {name: label for name, label in labels.items() if label is not None}
        return {**given, self.noun: told} if told else dict(given)

    # Reading ------------------------------------------------------------------------------------------

    def get(self, service: MemoryService, record_id: str, *, space: str, view: View) -> tuple[Item, F]:
        """Return one record of this view, and its own fields. Raises NotFoundError."""
        item = service.get(record_id, space=space, view=view)
        own = self.own(item)
        if own is None:
            raise NotFoundError(
                f"memory {record_id!r} in space {space!r} is no {self.noun}", id=record_id, space=space, kind=item.kind
            )
        return item, own

    def own(self, item: Item) -> F | None:
        """Return the view's fields of a memory, None when it does not belong to the view.

        One whose `value` was overwritten as that of a plain memory does not belong to it any more.
        """
        if item.kind != self.kind:
            return None
        if self.noun in json_text.decode(item.metadata_json):
            try:
                return self.fields.model_validate(json_text.decode(item.value_json))
            except pydantic.ValidationError:
                pass  # not the view's: a plain memory
        return self.fields() if self.holds_all else None

    def where(self, labels: Mapping[str, str | None], given: m.Filter | None, *more: m.Filter) -> m.Filter | None:
        """Return the filter of the view's records that have these labels and pass the others."""
        parts = [
            m.Filter(field=f"metadata.{self.noun}.{name}", op="eq", value=label)
            for name, label in labels.items()
            if label is not None
        ]
        if not parts and not self.holds_all:
            parts.append(m.Filter(field=f"metadata.{self.noun}", op="exists"))
        parts += [*more, *([] if given is None else [given])]
        return m.Filter(and_=parts) if parts else None

    def listing(
        self,
        given: v.TypedList,
        labels: Mapping[str, str | None],
        *more: m.Filter,
        as_of: datetime | None,
    ) -> m.ListRequest:
        """Return the request for one page of this view."""
        owner = {name: getattr(given, name) for name in ENTITY_COLUMNS}
        return m.ListRequest(
            **owner,
            kind=self.kind,
            filter=self.where(labels, None, *more),
            order_by=given.order_by,
            limit=given.limit,
            cursor=given.cursor,
            as_of=as_of,
            known_at=given.known_at,
            space=given.space,
        )

    def plain(self, item: Item, space: str, own: Mapping[str, Any], *, status: str | None = None) -> dict[str, Any]:
        """Return a record's wire fields: the memory's, without `value`, and the view's own."""
        metadata: dict[str, JsonValue] = json_text.decode(item.metadata_json)
        metadata.pop(self.noun, None)
        fields = {**records.plain(item, space), "metadata": metadata, **own}
        if status is not None:
            fields["status"] = status
        return fields


def _public(value: Any) -> Any:
    if isinstance(value, str):
        return without_private(value)
    if isinstance(value, dict):
        return {name: _public(one) for name, one in value.items()}
    return [_public(one) for one in value] if isinstance(value, list) else value


def present(as_of: datetime | None, known_at: datetime | None, *, show_ended: bool = False) -> datetime | None:
    """Return the valid time of a read that does not name one: now, or the moment of knowledge; None for all times."""
    if as_of is not None or show_ended:
        return as_of
    now = datetime.now(UTC)
    return now if known_at is None else min(now, known_at)


def seen(as_of: datetime | None, known_at: datetime | None) -> View:
    """Return the view of a read."""
    return View(None if as_of is None else to_micros(as_of), None if known_at is None else to_micros(known_at))
