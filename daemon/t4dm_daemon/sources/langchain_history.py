"""Chat histories of LangChain: `FileChatMessageHistory` and `SQLChatMessageHistory`.

A file is a JSON array of what `langchain_core.messages.message_to_dict` makes, and names the session; a folder holds
one file for each session. The database is SQLite with a table `message_store(id, session_id, message)`, where
`message` is that JSON:

    {"type": "human", "data": {"content": "…" or [{"type": "text", "text": "…"}, …], "id", "name", "additional_kwargs"}}

Every message goes into the session as it is, so that T4DM's chat history for LangChain reads it back; those of people
and of the model are memories, too. LangChain keeps no times: a memory's is that of the import.

Checked against langchain-core 1.x (`message_to_dict`) and the sources of langchain-community's
`chat_message_histories/{file,sql}.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from t4dm_daemon.core.errors import InvalidInputError, SourceError
from t4dm_daemon.sources.entries import Entry, SourceMessage, SourceRecord, Unstored
from t4dm_daemon.sources.files import Document, Files, failing, walk
from t4dm_daemon.sources.json_parts import decoded
from t4dm_daemon.sources.objects import json_objects

_SQLITE: Final = b"SQLite format 3\x00"
_ROLES: Final = {"human": "user", "ai": "assistant", "HumanMessageChunk": "user", "AIMessageChunk": "assistant"}
_MAX_SESSIONS: Final = 1_000_000

Found = tuple[str, dict[str, Any]] | Unstored
"""A message with its place."""


def read(path: Path, files: Files, *, table: str = "message_store") -> Iterator[Entry]:
    """Yield the messages of every session, and their memories. Raises SourceError.

    Args:
        path: A file of one session, a folder of such files, or a SQLite database.
        files: Opens files.
        table: Of the database.
    """
    if path.is_dir():
        for found in walk(path, r".+\.json"):
            if isinstance(found, Unstored):
                yield found
            else:
                name = found.relative_to(path).with_suffix("").as_posix()
                yield from _session(name, _of_file(found, files), {})
    elif _is_database(path):
        yield from _database(path, table)
    else:
        yield from _session(path.stem, _of_file(path, files), {})


def _of_file(path: Path, files: Files) -> Iterator[Found]:
    document = Document(path.name, lambda: files.open(path))
    with failing(path):
        if not path.stat().st_size:
            yield Unstored(path.name, "the file is empty", is_wrong=False)
            return
    for given in json_objects(document, "message"):
        yield given if isinstance(given, Unstored) else (given.place, given.fields)


def _is_database(path: Path) -> bool:
    with failing(path), path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _database(path: Path, table: str) -> Iterator[Entry]:
    """Read only: a writer may be at work meanwhile."""
    quoted = '"' + table.replace('"', '""') + '"'
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute(f"SELECT id, session_id, message FROM {quoted} ORDER BY id")
            counts: dict[str, int] = {}
            for number, session, message in rows:
                place = f"{path.name}, {table} {number}"
                if not isinstance(session, str) or not session:
                    yield Unstored(place, "the row names no session")
                    continue
                if session not in counts and len(counts) >= _MAX_SESSIONS:
                    raise SourceError(f"{path} has more than {_MAX_SESSIONS:,} sessions", file=str(path))
                yield from _session(session, [_of_row(place, message)], counts)
    except sqlite3.Error as error:
        raise SourceError(f"{path}: {error}", file=str(path), table=table) from error


def _of_row(place: str, message: object) -> Found:
    try:
        value = decoded(message.encode(errors="surrogatepass") if isinstance(message, str) else bytes(0))
    except InvalidInputError as error:
        return Unstored(place, error.message)
    return (place, value) if isinstance(value, dict) else Unstored(place, "a message is an object")


def _session(session: str, found: Iterable[Found], counts: dict[str, int]) -> Iterator[Entry]:
    """Yield what the messages of a session become; `counts` knows how many came before."""
    for one in found:
        if isinstance(one, Unstored):
            yield one
            continue
        place, message = one
        data = message.get("data")
        kind = message.get("type")
        if not isinstance(kind, str) or not isinstance(data, dict) or "content" not in data:
            yield Unstored(place, "a message has a type, and data with a content")
            continue
        seq = counts[session] = counts.get(session, 0) + 1
        yield SourceMessage(place, session, seq, message)
        role, text = _ROLES.get(kind), _text(data["content"])
        if role is None:
            yield Unstored(place, f"a message of type {kind}; it is in the session", is_wrong=False)
        elif not text.strip():
            yield Unstored(place, "no words in it; it is in the session", is_wrong=False)
        else:
            name = data.get("name")
            metadata = {"role": role, **({"name": name} if isinstance(name, str) and name else {})}
            yield SourceRecord(
                place,
                ("langchain-history", session, str(seq), role, text),
                {"content": text, "metadata": metadata, "session_id": session},
            )


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    texts = [one if isinstance(one, str) else one.get("text") for one in blocks if isinstance(one, str | dict)]
    return "\n".join(one for one in texts if isinstance(one, str) and one.strip())
