"""What is known, as text for a prompt: made from the hot cache, where nobody has asked a question yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from t4dm.sdk import models as m
from t4dm_integrations.mcp.hot_cache import Contents
from t4dm_integrations.mcp.scope import Scope

CONTEXT_CHARS: Final = 8_000
"""About 2,000 tokens."""
_LINE_CHARS: Final = 400
_SPANS: Final = ((365 * 86_400, "year"), (30 * 86_400, "month"), (86_400, "day"), (3_600, "hour"), (60, "minute"))


def context_text(contents: Contents, scope: Scope, *, most_chars: int = CONTEXT_CHARS) -> str:
    """Return pinned memories, then what is used most, then the newest, each once, as far as there is room."""
    if not contents.total:
        return f"Nothing is stored yet in {scope.told} (as of {contents.read_at:%Y-%m-%d %H:%M:%S} UTC)."
    noun = "memory" if contents.total == 1 else "memories"
    heading = f"{contents.total} {noun} in {scope.told}, as of {contents.read_at:%Y-%m-%d %H:%M:%S} UTC."
    parts = [heading]
    left = most_chars - len(heading)
    shown: set[str] = set()
    for title, memories in (
        ("Pinned", contents.pinned),
        ("Used most", contents.most_used),
        ("Newest", contents.recent),
    ):
        lines: list[str] = []
        for memory in memories:
            line = memory_line(memory, contents.read_at)
            if memory.id in shown or not memory.content.strip() or is_over(memory, contents.read_at):
                continue
            if len(line) + 1 > left - len(title) - 5:
                break
            shown.add(memory.id)
            lines.append(line)
            left -= len(line) + 1
        if lines:
            parts.append(f"## {title}\n" + "\n".join(lines))
            left -= len(title) + 5
    return "\n\n".join(parts)


def list_text(title: str, memories: Sequence[m.Memory], total: int, now: datetime) -> str:
    """Return memories under a title, and how many more there are."""
    lines = [title, "", *(memory_line(memory, now) for memory in memories)]
    if total > len(memories):
        lines.append(f"({total - len(memories)} older ones are not listed; t4dm_search and t4dm_timeline find them)")
    return "\n".join(lines)


def memory_line(memory: m.Memory, now: datetime) -> str:
    """Return one memory as a line: when it happened, how long ago that is, its text, its id."""
    text = " ".join(memory.content.split())
    if len(text) > _LINE_CHARS:
        text = f"{text[:_LINE_CHARS]}…"
    until = f", true until {memory.valid_to:%Y-%m-%d}" if memory.valid_to is not None else ""
    return f"- [{memory.event_time:%Y-%m-%d}, {ago(memory.event_time, now)}{until}] {text} (id {memory.id})"


def is_over(memory: m.Memory, now: datetime) -> bool:
    """Say whether a memory is not true any more: it has been superseded, or has ended."""
    return memory.valid_to is not None and memory.valid_to <= now


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago something was, in the largest unit that fits."""
    seconds = (now - then).total_seconds()
    for size, name in _SPANS:
        count = int(abs(seconds) // size)
        if count:
            span = f"{count} {name}{'s' if count > 1 else ''}"
            return f"{span} ago" if seconds > 0 else f"in {span}"
    return "just now"


def now() -> datetime:
    return datetime.now(UTC)


def ids(memories: Iterable[m.Memory]) -> list[str]:
    return [memory.id for memory in memories]
