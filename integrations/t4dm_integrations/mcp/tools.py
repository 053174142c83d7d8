"""T4DM's own tools: what a language model may do with memory, and how a call is carried out.

Those that other tool APIs offer as well take the same arguments and do the same: `t4dm.tools` has both. The names
differ, because a host shows the tools of all its servers side by side.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

from t4dm._backend import MemoryBackend
from t4dm.tools import arguments as a
from t4dm.tools.actions import perform
from t4dm.tools.schema import arguments_schema
from t4dm_integrations.mcp import answers, automatic, related
from t4dm_integrations.mcp.protocol import Json
from t4dm_integrations.mcp.schemas import output_schema
from t4dm_integrations.mcp.scope import Scope
from t4dm_integrations.mcp.sessions import SessionLog

Act: TypeAlias = Callable[[MemoryBackend, Any, Scope, SessionLog | None], Json]
"""Carry a call out, in a thread; what it does to the log of the session is noted afterwards."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: what hosts are told of it, and what it does."""

    name: str
    title: str
    arguments: type[a.ToolArguments]
    answer: type[BaseModel]
    act: Act
    is_read_only: bool = False
    is_destructive: bool = False
    is_idempotent: bool = False
    writes: bool = True
    """Whether what was read before may be out of date afterwards."""

    @property
    def listed(self) -> Json:
        """The tool in the protocol's form. Nothing here reaches beyond the memory: the world is closed."""
        return {
            "name": self.name,
            "title": self.title,
            "description": renamed(a.description(self.arguments)),
            "inputSchema": renamed(arguments_schema(self.arguments, strict=False)),
            "outputSchema": output_schema(self.answer),
            "annotations": {
                "title": self.title,
                "readOnlyHint": self.is_read_only,
                "destructiveHint": self.is_destructive,
                "idempotentHint": self.is_idempotent,
                "openWorldHint": False,
            },
        }


SHARED: Final = {
    "memory_store": "t4dm_remember",
    "memory_search": "t4dm_search",
    "memory_get": "t4dm_get",
    "memory_update": "t4dm_update",
    "memory_forget": "t4dm_forget",
    "memory_timeline": "t4dm_timeline",
    "memory_link": "t4dm_link",
}
"""The names here of the tools that other tool APIs offer as well."""


def _perform(backend: MemoryBackend, arguments: Any, scope: Scope, _: SessionLog | None) -> Json:
    return perform(backend, arguments, scope.of_tools)


def renamed(part: Any) -> Any:
    """Return a text, or all texts of a schema, in which the shared tools are called as they are here."""
    if isinstance(part, str):
        return re.sub(r"\bmemory_[a-z]+\b", lambda found: SHARED.get(found[0], found[0]), part)
    if isinstance(part, list):
        return [renamed(one) for one in part]
    if isinstance(part, dict):
        return {key: renamed(one) for key, one in part.items()}
    return part


_ALL: Final = (
    Tool("t4dm_remember", "Remember", a.Store, answers.Remembered, _perform, is_idempotent=True),
    Tool("t4dm_search", "Search memories", a.Search, answers.SearchResults, _perform, is_read_only=True,
         is_idempotent=True, writes=False),
    Tool("t4dm_get", "Read memories", a.Get, answers.Got, _perform, is_read_only=True, is_idempotent=True,
         writes=False),
    Tool("t4dm_update", "Correct a memory", a.Update, answers.Updated, _perform, is_destructive=True,
         is_idempotent=True),
    Tool("t4dm_forget", "Forget memories", a.Forget, answers.Forgotten, _perform, is_destructive=True,
         is_idempotent=True),
    Tool("t4dm_timeline", "Memories in time", a.Timeline, answers.TimelineResults, _perform, is_read_only=True,
         is_idempotent=True, writes=False),
    Tool("t4dm_link", "Link two memories", a.Link, answers.Linked, _perform, is_idempotent=True),
    Tool("t4dm_related", "Linked memories", related.Related, answers.RelatedResults, related.related,
         is_read_only=True, is_idempotent=True, writes=False),
    Tool("t4dm_capture", "Keep what was said", automatic.Capture, answers.Captured, automatic.capture,
         is_idempotent=True),
    Tool("t4dm_session_summary", "Sum the session up", automatic.Summary, answers.SessionSummary, automatic.summary),
    Tool("t4dm_sleep_status", "State of the memory", automatic.SleepStatus, answers.SleepStatus,
         automatic.sleep_status, is_read_only=True, is_idempotent=True, writes=False),
)  # fmt: skip
TOOLS: Final[dict[str, Tool]] = {tool.name: tool for tool in _ALL}


def note(log: SessionLog | None, tool: Tool, arguments: Any, answer: Json) -> None:
    """Note in a session's log what a call did."""
    if log is None:
        return
    if tool.name == "t4dm_remember" and answer["status"] != "duplicate":
        log.remember(answer["id"], arguments.content)
    elif tool.name == "t4dm_capture":
        for one, content in zip(answer["results"], arguments.texts, strict=True):
            if one["status"] != "duplicate":
                log.remember(one["id"], content)
    elif tool.name == "t4dm_update":
        log.change(answer["id"], answer["memory"]["content"])
    elif tool.name == "t4dm_forget":
        missing = set(answer.get("missing", ()))
        log.forget([one for one in arguments.ids if one not in missing], answer["forgotten"])
    elif tool.name == "t4dm_search":
        log.searches += 1
