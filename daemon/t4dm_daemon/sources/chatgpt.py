"""ChatGPT's data export: the zip, its folder, or `conversations.json` (newer: `conversations-000.json`, …).

An array of conversations, each a tree of messages:

    {"conversation_id" or "id", "title", "create_time", "current_node",
     "mapping": {"<node>": {"parent": "<node>" or null, "children": […],
                            "message": {"id", "author": {"role", "name"}, "create_time", "recipient",
                                        "content": {"content_type", "parts": […]} or {"content_type", "text"},
                                        "metadata": {"model_slug", "is_visually_hidden_from_conversation"}} or null}}}

Times are seconds since 1970. The conversation that the user sees is the path from `current_node` up to the root; what
was edited or generated anew lies on other branches, which are counted and not stored. So are the messages of the
system and of tools, calls to tools, and the model's thoughts.

The format is not documented by its maker. Checked against descriptions of real exports: the format page of
github.com/mitkury/chatgpt-export-parser, and the type definitions of several other readers (2026).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from t4dm_daemon.sources.entries import Entry, Unstored
from t4dm_daemon.sources.files import Files
from t4dm_daemon.sources.objects import Given, json_objects, label, listed
from t4dm_daemon.sources.times import moment
from t4dm_daemon.sources.turns import Turn, conversation

NAMES: Final = r"conversations(-\d+)?\.json"
_UNSPOKEN: Final = frozenset(("thoughts", "reasoning_recap", "model_editable_context", "user_editable_context"))


def read(path: Path, files: Files) -> Iterator[Entry]:
    """Yield one memory and one message of a session for each turn that the user sees. Raises SourceError."""
    for document in files.documents(path, NAMES):
        for given in json_objects(document, "conversation"):
            if isinstance(given, Unstored):
                yield given
            else:
                yield from _conversation(given)


def _conversation(given: Given) -> Iterator[Entry]:
    fields = given.fields
    mapping, session = fields.get("mapping"), label(fields.get("conversation_id") or fields.get("id"))
    if not isinstance(mapping, dict) or session is None:
        yield Unstored(given.place, "a conversation has an id and a mapping")
        return
    nodes = {name: node for name, node in mapping.items() if isinstance(node, dict)}
    path = _path(nodes, fields.get("current_node"))
    on_path = set(path)
    turns: list[Turn | Unstored] = []
    for number, name in enumerate(path, start=1):
        place = f"{given.place}, message {number}"
        turn = _turn(place, nodes[name].get("message"), fields)
        if turn is not None:
            turns.append(turn)
    title = fields.get("title")
    yield from conversation(session, title if isinstance(title, str) else None, turns, source="chatgpt")
    for name, node in nodes.items():
        if name not in on_path and isinstance(_turn(given.place, node.get("message"), fields), Turn):
            yield Unstored(f"{given.place}, node {name}", "on a branch that was left", is_wrong=False)


def _path(nodes: dict[str, Any], current: object) -> list[str]:
    """Return the nodes from the root to the current one; without one, to the newest leaf."""
    if not (isinstance(current, str) and current in nodes):
        leaves = [name for name, node in nodes.items() if not node.get("children")]
        current = max(leaves, key=lambda name: (_written(nodes[name]), name), default=None)
    found: dict[str, None] = {}
    while isinstance(current, str) and current in nodes and current not in found:
        found[current] = None
        current = nodes[current].get("parent")
    return list(found)[::-1]


def _written(node: dict[str, Any]) -> float:
    message = node.get("message")
    time = message.get("create_time") if isinstance(message, dict) else None
    return float(time) if isinstance(time, int | float) else 0.0


def _turn(place: str, message: object, talk: dict[str, Any]) -> Turn | Unstored | None:
    """Return what a node says; None for a node that holds no message."""
    if message is None:
        return None
    author = message.get("author") if isinstance(message, dict) else None
    role = author.get("role") if isinstance(author, dict) else None
    if not isinstance(message, dict) or not isinstance(role, str):
        return Unstored(place, "a message has an author with a role")
    facts, content = _object(message, "metadata"), _object(message, "content")
    if role not in ("user", "assistant"):
        return Unstored(place, f"a message of the {'system' if role == 'system' else 'tools'}", is_wrong=False)
    if facts.get("is_visually_hidden_from_conversation") or str(content.get("content_type")) in _UNSPOKEN:
        return Unstored(place, "not shown in the conversation", is_wrong=False)
    if message.get("recipient") not in (None, "", "all"):
        return Unstored(place, "a call to a tool", is_wrong=False)
    try:
        text, others = _text(content)
        time = moment(message.get("create_time")) or moment(talk.get("create_time"))
    except ValueError as error:
        return Unstored(place, str(error))
    names = [one.get("name") for one in listed(facts.get("attachments")) if isinstance(one, dict)]
    more = {
        "model": facts.get("model_slug"),
        "attachments": [one for one in names if isinstance(one, str)] + others,
    }
    return Turn(place, role, text, message.get("id"), time, {name: value for name, value in more.items() if value})


def _object(given: dict[str, Any], name: str) -> dict[str, Any]:
    value = given.get(name)
    return value if isinstance(value, dict) else {}


def _text(content: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the words of a message, and what else it holds by its kind. Raises ValueError."""
    parts = content.get("parts")
    if parts is None:
        parts = [content.get("text") or content.get("result") or ""]
    if not isinstance(parts, list):
        raise ValueError("the parts of a message are an array")
    texts, others = [], []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])  # what was spoken
        elif isinstance(part, dict):
            others.append(str(part.get("content_type") or "something else"))
    return "\n".join(one for one in texts if one.strip()), others
