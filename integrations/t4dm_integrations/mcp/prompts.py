"""Prompts that a person picks in the host: recall a topic, begin with what is known, sum a session up."""

from __future__ import annotations

from typing import Any, Final

from t4dm._backend import MemoryBackend
from t4dm.sdk import recall_models as r
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import NotFoundError, ValidationError
from t4dm_integrations.mcp.context import context_text
from t4dm_integrations.mcp.hot_cache import HotCache
from t4dm_integrations.mcp.protocol import INVALID_PARAMS, Json, ProtocolFault
from t4dm_integrations.mcp.reach import Reach
from t4dm_integrations.mcp.scope import Scope
from t4dm_integrations.mcp.sessions import SessionLog

_BUDGET_TOKENS: Final = 1500

LISTED: Final[tuple[Json, ...]] = (
    {
        "name": "recall",
        "title": "Recall a topic",
        "description": "What is remembered of a topic or question, to answer with.",
        "arguments": [
            {"name": "topic", "description": "A topic or question in plain language.", "required": True},
            {
                "name": "budget_tokens",
                "description": f"At most so many tokens of memories; {_BUDGET_TOKENS} when absent.",
                "required": False,
            },
        ],
    },
    {
        "name": "start_session",
        "title": "Begin with what is known",
        "description": "Pinned, most used and newest memories, to begin a conversation with.",
        "arguments": [],
    },
    {
        "name": "summarise_session",
        "title": "Sum the session up",
        "description": "What this session remembered, changed and forgot, and how to keep the rest of it.",
        "arguments": [],
    },
)


class Prompts:
    """Make prompts for a scope. Used from the event loop only."""

    def __init__(self, reach: Reach, cache: HotCache) -> None:
        self._reach = reach
        self._cache = cache

    async def get(self, scope: Scope, log: SessionLog | None, name: str, arguments: dict[str, str]) -> Json:
        """Return a prompt in the protocol's form.

        Raises:
            ProtocolFault: There is no such prompt, or an argument is missing or wrong.
            T4DMError: The memory cannot be read.
        """
        listed = next((one for one in LISTED if one["name"] == name), None)
        if listed is None:
            known = ", ".join(one["name"] for one in LISTED)
            raise ProtocolFault(INVALID_PARAMS, f"there is no prompt {name[:200]!r}; there are {known}")
        _check_arguments(listed, arguments)
        if name == "recall":
            text = await self._recall(scope, arguments)
        elif name == "start_session":
            known = context_text(await self._cache.contents(scope), scope)
            text = f"This is what the long-term memory holds at the beginning of our conversation.\n\n{known}"
        else:
            text = _summary_prompt(log)
        return {
            "description": listed["description"],
            "messages": [{"role": "user", "content": {"type": "text", "text": text}}],
        }

    async def _recall(self, scope: Scope, arguments: dict[str, str]) -> str:
        topic = arguments["topic"]
        with as_validation_error():
            request = r.ContextRequest(
                query=topic,
                budget_tokens=_whole_number(arguments.get("budget_tokens")),
                space=scope.space,
                **scope.owner_fields,
            )
        found = await self._reach(lambda backend: _context(backend, request))
        if not found:
            return (
                f"Nothing relevant is stored of: {topic}\n\nSay so if I ask about it, rather than guess, and remember "
                "with t4dm_remember what I tell you."
            )
        return f"This is what the long-term memory holds of: {topic}\n\n{found}\n\nUse it where it is relevant."


def _context(backend: MemoryBackend, request: r.ContextRequest) -> str:
    try:
        return backend.context(request).text
    except NotFoundError as error:
        if not error.is_missing_space:
            raise
        return ""


def _check_arguments(listed: Json, arguments: dict[str, str]) -> None:
    known = {one["name"]: one["required"] for one in listed["arguments"]}
    for name in arguments:
        if name not in known:
            raise ProtocolFault(INVALID_PARAMS, f"the prompt {listed['name']} has no argument {name[:200]!r}")
    for name, is_required in known.items():
        if is_required and not arguments.get(name, "").strip():
            raise ProtocolFault(INVALID_PARAMS, f"the prompt {listed['name']} needs the argument {name}")


def _whole_number(given: str | None) -> Any:
    if given is None or not given.strip():
        return _BUDGET_TOKENS
    if not given.strip().isdecimal():
        raise ValidationError("budget_tokens is a whole number", code="validation_error")
    return int(given)


def _summary_prompt(log: SessionLog | None) -> str:
    if log is None:
        done = "This connection has no session of its own, so what was done before is not known here."
    else:
        done = log.summary
    return (
        f"{done}\n\nLook at our conversation. What else in it should outlast it: decisions, facts, preferences, "
        "things to be done? Remember each with t4dm_remember, one self-contained statement per call, then call "
        "t4dm_session_summary with store: true, and tell me in a few sentences what was kept."
    )
