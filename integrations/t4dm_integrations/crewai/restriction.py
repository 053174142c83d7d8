"""Which records a call is about: what the daemon is asked for, and what is looked at again when it has answered.

All that is given must hold. A scope holds what lies in it or below it: `/a` has `/a` and `/a/b`, not `/ab`. Of
categories one must be there. Metadata are equal as Python says it: 1 is True, and what is missing is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crewai.memory.types import MemoryRecord

from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm_integrations.crewai.records import labels_of


@dataclass(frozen=True, slots=True)
class Restriction:
    """What records must be like; nothing given restricts nothing."""

    scope: str | None = None
    categories: Sequence[str] | None = None
    metadata: Mapping[str, Any] | None = None
    older_than: datetime | None = None
    owner: Mapping[str, str] = field(default_factory=dict)

    @property
    def selection(self) -> dict[str, Any]:
        """The fields of a request that restrict it so, as far as the daemon can."""
        fields: dict[str, Any] = dict(self.owner)
        if labels := labels_of(self.scope):
            fields["namespace_prefix"] = labels
        with as_validation_error():
            conditions = [_equal(key, value) for key, value in (self.metadata or {}).items() if _is_path(key)]
            if self.categories:
                conditions.append(m.Filter(field="categories", op="any", value=list(self.categories)))
            if conditions:
                fields["filter"] = conditions[0] if len(conditions) == 1 else m.Filter(and_=conditions)
        return fields

    @property
    def is_exact(self) -> bool:
        """Whether the selection alone says it all. A key with a dot is a path to the daemon, so it is not asked."""
        return all(map(_is_path, self.metadata or ()))

    @property
    def restricts(self) -> bool:
        """Whether anything is restricted at all."""
        return bool(self.owner or labels_of(self.scope) or self.categories or self.metadata or self.older_than)

    def holds(self, record: MemoryRecord) -> bool:
        """Say whether a record that the selection found has the metadata, too."""
        return all(record.metadata.get(key) == value for key, value in (self.metadata or {}).items())


def _is_path(key: str) -> bool:
    return bool(key) and "." not in key


def _equal(key: str, value: Any) -> m.Filter:
    name = f"metadata.{key}"
    if value is None:
        null = m.Filter(field=name, op="eq", value=None)
        return m.Filter(or_=[null, m.Filter(not_=m.Filter(field=name, op="exists"))])
    if isinstance(value, bool | int | float) and value in (0, 1):
        return m.Filter(field=name, op="in", value=[int(value), bool(value)])
    return m.Filter(field=name, op="eq", value=value)
