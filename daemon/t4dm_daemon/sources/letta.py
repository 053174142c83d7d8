"""Letta (MemGPT): an agent file (`.af`), or its archival memory as JSON.

An agent file of today holds agents and what they share; one of before 2025-08 is a single agent:

    {"agents": [{"id": "agent-0", "name", "block_ids", "messages": [{"id": "message-0", "role", "created_at",
                 "content": "…" or [{"type": "text", "text"}], "tool_calls", …}]}],
     "blocks": [{"id": "block-0", "label", "value", "description"}], "groups", "files", "sources", "tools", …}
    {"name", "core_memory": [{"label", "value"}], "messages": […], "system", …}

Archival memory is what `GET /v1/agents/{id}/archival-memory` answers: `[{"id", "text", "created_at", "tags", …}]`.

Blocks and passages become semantic memories, messages of the user and the assistant a session of the agent. What the
framework says to the agent in the user's name (heartbeats, logins, summaries of tools) is JSON with a `type`: of that,
only `user_message` is the user's. Ids in a file are numbered anew by every export, so ids are made from the agent's
name, the label of a block (so that a later export updates it), and the words of a message.

Checked against letta/schemas/agent_file.py of github.com/letta-ai/letta (commit 4184ae2).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.sources.entries import Entry, SourceRecord, Unstored, own_or_made, with_rest
from t4dm_daemon.sources.files import Document, Files
from t4dm_daemon.sources.json_parts import decoded
from t4dm_daemon.sources.objects import Given, json_objects, label, listed
from t4dm_daemon.sources.times import moment, times
from t4dm_daemon.sources.turns import Turn, conversation

_PARTS: Final = ("agents", "blocks", "core_memory", "messages", "passages", "results")
_PASSAGE: Final = frozenset(("id", "text", "created_at", "updated_at", "metadata", "metadata_", "tags", "embedding"))
_OF_THE_STORE: Final = frozenset(("embedding_config", "organization_id", "created_by_id", "last_updated_by_id"))


def read(path: Path, files: Files) -> Iterator[Entry]:
    """Yield the blocks, passages and messages. Raises SourceError."""
    document = Document(path.name, lambda: files.open(path))
    owners, name = _agents(path)
    single: list[Turn | Unstored] = []
    for given in json_objects(document, "passage", of=_PARTS):
        if isinstance(given, Unstored):
            yield given
        elif given.field == "agents":
            yield from _agent(given)
        elif given.field in ("blocks", "core_memory"):
            yield _block(given, owners.get(str(given.fields.get("id")), [name]))
        elif given.field == "messages":
            single.append(_turn(given.place, given.fields))
        else:
            yield _passage(given)
    if single:
        yield from conversation(name, name, single, source="letta")


def _agents(path: Path) -> tuple[dict[str, list[str]], str]:
    """Return which agents have a block, and the name of a file's single agent.

    Both are needed before the blocks, wherever they stand in the file; so it is read twice.
    """
    owners: dict[str, list[str]] = {}
    name = path.stem
    document = Document(path.name, lambda: Files().open(path))
    for given in json_objects(document, "agent", of=("agents",)):
        if isinstance(given, Unstored) or given.field != "agents":
            continue
        for block in listed(given.fields.get("block_ids")):
            owners.setdefault(str(block), []).append(_name(given.fields, path.stem))
    return owners, name


def _name(agent: dict[str, Any], otherwise: str) -> str:
    return label(agent.get("name")) or label(agent.get("id")) or otherwise


def _agent(given: Given) -> Iterator[Entry]:
    messages = given.fields.get("messages")
    name = _name(given.fields, given.place)
    if not isinstance(messages, list):
        yield Unstored(given.place, "an agent has messages")
        return
    turns = [_turn(f"{given.place}, message {number}", one) for number, one in enumerate(messages, start=1)]
    for entry in conversation(name, name, turns, source="letta"):
        if isinstance(entry, SourceRecord):
            entry.fields["agent_id"] = name
        yield entry


def _turn(place: str, message: object) -> Turn | Unstored:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(role, str):
        return Unstored(place, "a message has a role")
    if role not in ("user", "assistant"):
        return Unstored(place, f"a message of role {role}", is_wrong=False)
    text = _text(message.get("content", message.get("text")))
    if role == "user":
        said = _said(text)
        if said is None:
            return Unstored(place, "a message of the framework", is_wrong=False)
        text = said
    elif not text.strip():
        text = _sent(message)
    try:
        return Turn(place, role, text, message.get("id"), moment(message.get("created_at")))
    except ValueError as error:
        return Unstored(place, str(error))


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(one["text"] for one in blocks if isinstance(one, dict) and isinstance(one.get("text"), str))


def _said(text: str) -> str | None:
    """Return the user's words of what came in the user's name; None where they are the framework's."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        packed = decoded(text.encode(errors="surrogatepass"))
    except InvalidInputError:
        return text
    if not (isinstance(packed, dict) and isinstance(packed.get("type"), str)):
        return text
    return packed["message"] if packed["type"] == "user_message" and isinstance(packed.get("message"), str) else None


def _sent(message: dict[str, Any]) -> str:
    """Return what the agent said by its tool `send_message`, as agents of the first kinds do."""
    for call in listed(message.get("tool_calls")):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and function.get("name") == "send_message":
            try:
                said = decoded(str(function.get("arguments")).encode(errors="surrogatepass"))
            except InvalidInputError:
                return ""
            if isinstance(said, dict) and isinstance(said.get("message"), str):
                return str(said["message"])
    return ""


def _block(given: Given, agents: list[str]) -> Entry:
    called, value = given.fields.get("label"), given.fields.get("value")
    if not (isinstance(called, str) and called and isinstance(value, str)):
        return Unstored(given.place, "a block has a label and a value")
    if not value.strip():
        return Unstored(given.place, f"the block {called!r} is empty", is_wrong=False)
    metadata: dict[str, Any] = {"block": called}
    if isinstance(given.fields.get("description"), str):
        metadata["description"] = given.fields["description"]
    if len(agents) > 1:
        metadata["agents"] = agents
    fields: dict[str, Any] = {"content": value, "kind": "semantic", "categories": ["block"], "metadata": metadata}
    if len(agents) == 1:
        fields["agent_id"] = agents[0]
    return SourceRecord(given.place, ("letta", "block", *agents, called), fields)


def _passage(given: Given) -> Entry:
    fields = given.fields
    text = fields.get("text")
    if not isinstance(text, str) or not text.strip():
        return Unstored(given.place, "a passage has a text", is_wrong=not isinstance(text, str))
    try:
        told = times(fields, event_time="created_at", created_at="created_at")
    except ValueError as error:
        return Unstored(given.place, str(error))
    own = fields.get("metadata") or fields.get("metadata_") or {}
    rest = {name: value for name, value in fields.items() if name not in _PASSAGE | _OF_THE_STORE}
    tags = [one for one in listed(fields.get("tags")) if isinstance(one, str) and one]
    record: dict[str, Any] = {
        "content": text,
        "kind": "semantic",
        "metadata": with_rest(own if isinstance(own, dict) else {}, rest, source="letta"),
        "categories": tags,
        **told,
    }
    agent = label(fields.get("agent_id"))
    if agent is not None:
        record["agent_id"] = agent
    identifier = fields.get("id")
    bare = identifier.removeprefix("passage-") if isinstance(identifier, str) else None
    return SourceRecord(given.place, own_or_made(bare, "letta", "passage", str(identifier), text), record)
