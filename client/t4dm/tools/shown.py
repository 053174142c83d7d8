"""How memories look to a language model: what tells something, and nothing that is empty."""

from __future__ import annotations

from typing import Any, Final

from t4dm.sdk import models as m

EXCERPT_CHARS: Final = 2_000
"""Of each result in a list: fifty of them still fit into a model's context."""
PAGE_CHARS: Final = 20_000
"""Of a memory that is read by its id; the rest is read by asking again."""


def time_text(memory: m.Memory, column: str) -> str | None:
    """Return a time of a memory as the wire has it."""
    text: str | None = memory.model_dump(mode="json", include={column})[column]
    return text


def shown(memory: m.Memory, *, start: int = 0, most: int = EXCERPT_CHARS) -> dict[str, Any]:
    """Return a memory as plain JSON, with so many characters of its text; `next_character` says that there are more."""
    text = memory.content[start : start + most]
    facts: dict[str, Any] = {"id": memory.id, "content": text}
    if start + len(text) < len(memory.content):
        facts["next_character"] = start + len(text)
    facts["kind"] = memory.kind
    facts["event_time"] = time_text(memory, "event_time")
    if memory.valid_from not in (None, memory.event_time):
        facts["valid_from"] = time_text(memory, "valid_from")
    for column in ("valid_to", "expires_at"):
        if getattr(memory, column) is not None:
            facts[column] = time_text(memory, column)
    if memory.categories:
        facts["categories"] = memory.categories
    if memory.metadata:
        facts["metadata"] = memory.metadata
    if memory.pinned:
        facts["pinned"] = True
    if memory.version > 1:
        facts["version"] = memory.version
    return facts
