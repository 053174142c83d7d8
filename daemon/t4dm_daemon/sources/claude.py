"""Claude's data export: the zip, its folder, or `conversations.json`.

An array of conversations with their messages in order:

    {"uuid", "name", "created_at", "updated_at", "account": {"uuid"},
     "chat_messages": [{"uuid", "sender": "human" or "assistant", "created_at", "text",
                        "content": [{"type": "text", "text"}, {"type": "thinking"}, {"type": "tool_use"}, …],
                        "attachments": [{"file_name", "extracted_content"}], "files": [{"file_name"}]}]}

A message's words are those of its `text` blocks; older exports have only `text`. Thoughts and the traffic with tools
are left out. The text of an attachment is kept in the session, its name also with the memory. Other files of the
export (`projects.json`, `memories.json`, `users.json`) are not read.

The format is not documented by its maker. Checked against the type definitions and notes of several readers of real
exports (github.com/Sinity/polylogue, github.com/ejm554/claude-convo-converter, and others; 2025 and 2026).
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
_ROLES: Final = {"human": "user", "user": "user", "assistant": "assistant"}


def read(path: Path, files: Files) -> Iterator[Entry]:
    """Yield one memory and one message of a session for each turn. Raises SourceError."""
    for document in files.documents(path, NAMES):
        for given in json_objects(document, "conversation"):
            if isinstance(given, Unstored):
                yield given
            else:
                yield from _conversation(given)


def _conversation(given: Given) -> Iterator[Entry]:
    fields = given.fields
    messages, session = fields.get("chat_messages"), label(fields.get("uuid"))
    if not isinstance(messages, list) or session is None:
        yield Unstored(given.place, "a conversation has a uuid and chat_messages")
        return
    turns = [
        _turn(f"{given.place}, message {number}", message, fields) for number, message in enumerate(messages, start=1)
    ]
    name = fields.get("name")
    yield from conversation(session, name if isinstance(name, str) else None, turns, source="claude")


def _turn(place: str, message: object, talk: dict[str, Any]) -> Turn | Unstored:
    if not isinstance(message, dict) or not isinstance(message.get("sender"), str):
        return Unstored(place, "a message has a sender")
    role = _ROLES.get(message["sender"].lower())
    if role is None:
        return Unstored(place, f"a message of the {message['sender']}", is_wrong=False)
    try:
        time = moment(message.get("created_at")) or moment(talk.get("created_at"))
    except ValueError as error:
        return Unstored(place, str(error))
    attachments = [one for one in listed(message.get("attachments")) if isinstance(one, dict)]
    files = [one for one in listed(message.get("files")) if isinstance(one, dict)]
    names = [one["file_name"] for one in (*attachments, *files) if isinstance(one.get("file_name"), str)]
    texts = {
        str(one.get("file_name") or number): one["extracted_content"]
        for number, one in enumerate(attachments, start=1)
        if isinstance(one.get("extracted_content"), str) and one["extracted_content"]
    }
    return Turn(
        place,
        role,
        _text(message),
        message.get("uuid"),
        time,
        {"attachments": names} if names else {},
        {"attached_texts": texts} if texts else {},
    )


def _text(message: dict[str, Any]) -> str:
    blocks = message.get("content")
    if isinstance(blocks, list):
        texts = [one["text"] for one in blocks if isinstance(one, dict) and isinstance(one.get("text"), str)]
        said = "\n".join(one for one in texts if one.strip())
        if said:
            return said
    text = message.get("text")
    return text if isinstance(text, str) else ""
