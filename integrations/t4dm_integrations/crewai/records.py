"""Between CrewAI's records and T4DM's memories.

A scope, `/crew/research`, is a namespace, ["crew", "research"]. What T4DM has no column for is kept in `value`:

    {"crewai": {"scope", "categories", "source", "private"}}

Metadata is stored as it is given. CrewAI's times are UTC and have no zone; T4DM's have one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from crewai.memory.types import MemoryRecord

from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import ValidationError

_KEY: Final = "crewai"


def labels_of(scope: str | None) -> list[str]:
    """Return the namespace of a scope; the root, and no scope at all, have none."""
    return [label for label in (scope or "").split("/") if label]


def scope_of(labels: Sequence[str]) -> str:
    """Return the scope of a namespace."""
    return "/" + "/".join(labels)


def to_record(record: MemoryRecord, owner: Mapping[str, str]) -> m.RecordIn:
    """Return what is stored for a record, under its own id and with its own times.

    Raises:
        ValidationError: It holds what T4DM cannot keep.
    """
    has_direction = record.embedding is not None and any(record.embedding)
    with as_validation_error():
        return m.RecordIn(
            id=record.id,
            content=record.content,
            vector=[float(number) for number in record.embedding or ()] if has_direction else None,
            embed=has_direction,
            importance=float(record.importance),
            created_at=record.created_at,
            event_time=record.created_at,
            last_accessed=record.last_accessed,
            **described(record.scope, record.categories, record.metadata, record.source, record.private),
            **owner,
        )


def described(
    scope: str, categories: Sequence[str], metadata: Mapping[str, Any], source: str | None, private: bool
) -> dict[str, Any]:
    """Return the fields of a memory that say what CrewAI says of a record."""
    return {
        "metadata": plain(metadata),
        "namespace": labels_of(scope),
        "categories": [*dict.fromkeys(filter(None, categories))],
        "value": {_KEY: {"scope": scope, "categories": list(categories), "source": source, "private": private}},
    }


def to_memory_record(memory: m.Memory) -> MemoryRecord:
    """Return a memory as CrewAI's record, whoever stored it."""
    value = memory.value.get(_KEY) if isinstance(memory.value, dict) else None
    told: Mapping[str, Any] = value if isinstance(value, dict) else {}
    return MemoryRecord(
        id=memory.id,
        content=memory.content,
        scope=told.get("scope") or scope_of(memory.namespace),
        categories=told.get("categories") or memory.categories,
        metadata=memory.metadata,
        importance=memory.importance,
        created_at=naive(memory.created_at),
        last_accessed=naive(memory.last_accessed or memory.created_at),
        embedding=memory.vector,
        source=told.get("source"),
        private=bool(told.get("private", False)),
    )


def naive(moment: datetime) -> datetime:
    """Return a time as CrewAI reckons with: UTC, without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as JSON keeps them: tuples are lists.

    Raises:
        ValidationError: JSON cannot keep them.
    """
    try:
        kept: dict[str, Any] = json.loads(json.dumps(metadata, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValidationError(f"the metadata are not JSON: {error}", code="validation_error") from error
    return kept
