"""What readers yield: memories, messages of chats, links, and what is not stored with the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

Identity = str | tuple[str, ...]
"""By what an entry is known: an id that stays as it is, or the parts that an id is made from.

A text is for ids that are unique in the world (UUIDs) or that the user chose. Parts are for everything else.
"""

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A memory to be.

    Attributes:
        place: Where in the source: file, line, entry.
        identity: By what it is known.
        fields: Those of `t4dm.sdk.RecordIn`, without `id`; not checked yet.
    """

    place: str
    identity: Identity
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """A message of a chat: its place in the session, and JSON that is kept as it is.

    Attributes:
        created_at: When it was written; None where the source does not say.
    """

    place: str
    session_id: str
    seq: int
    value: Any
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SourceLink:
    """A link between two records that came before it."""

    place: str
    source: Identity
    target: Identity
    type: str


@dataclass(frozen=True, slots=True)
class Unstored:
    """An entry that becomes no memory, and why.

    Attributes:
        is_wrong: It should have become one: it is malformed, or cannot be read. False: it is passed over by design.
    """

    place: str
    reason: str
    is_wrong: bool = field(default=True)


Entry = SourceRecord | SourceMessage | SourceLink | Unstored


def own_or_made(own: object, *parts: str) -> Identity:
    """Return the entry's own id where it is a UUID, else the parts that one is made from."""
    return own if isinstance(own, str) and _UUID.fullmatch(own) else parts


def with_rest(metadata: Mapping[str, Any], rest: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Return metadata with the fields that no memory has: under their own names, or the source's before them."""
    merged = dict(metadata)
    for name, value in rest.items():
        if value is None or value in ([], {}, ""):
            continue
        merged[name if name not in merged else f"{source}_{name}"] = value
    return merged
