"""What Mem0 holds, as its exports and its servers write it.

An export is what `get_all` answers, or an export job: an array of memories, or an object with them under `results` or
`memories`. A file with one a line is read, too:

    {"id": "<uuid>", "memory": "Ada likes tea", "user_id", "agent_id", "app_id", "run_id", "metadata": {…},
     "categories": ["food"], "created_at", "updated_at", "expiration_date": "2027-01-31"}

Ids stay as they are. Fields that no memory of T4DM has go into the metadata; the vectors of another model do not.

Checked against Mem0's OpenAPI document (docs.mem0.ai), and the server and client of mem0ai 2.2.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from t4dm_daemon.sources.entries import Entry, SourceRecord, Unstored, with_rest
from t4dm_daemon.sources.files import Document, Files
from t4dm_daemon.sources.objects import is_whole, json_lines, json_objects, label
from t4dm_daemon.sources.times import times

_ARRAYS: Final = ("results", "memories")
_OWNERS: Final = ("user_id", "agent_id", "app_id", "run_id")
_READ: Final = frozenset(
    (*_OWNERS, "id", "memory", "text", "data", "metadata", "categories", "created_at", "updated_at", "expiration_date")
)
_OF_THE_STORE: Final = frozenset(
    ("hash", "embedding", "embeddings", "vector", "score", "organization", "owner", "internal_metadata", "name", "type")
)
"""Mem0's own bookkeeping."""


def read(path: Path, files: Files) -> Iterator[Entry]:
    """Yield the memories of an export. Raises SourceError."""
    document = Document(path.name, lambda: files.open(path))
    if is_whole(Document(path.name, lambda: Files().open(path)), of=_ARRAYS):
        found = json_objects(document, "memory", of=_ARRAYS)
    else:
        found = json_lines(document)
    for given in found:
        yield given if isinstance(given, Unstored) else memory(given.place, given.fields)


def memory(place: str, given: dict[str, Any]) -> Entry:
    """Return what one memory of Mem0 becomes."""
    inner = given.get("data")
    text = given.get("memory", given.get("text", inner.get("memory") if isinstance(inner, dict) else inner))
    if not isinstance(text, str):
        return Unstored(place, "no memory: its text is missing")
    if not text.strip():
        return Unstored(place, "its text is empty", is_wrong=False)
    own = given.get("metadata") or {}
    categories = given.get("categories") or []
    if not isinstance(own, dict) or not isinstance(categories, list):
        return Unstored(place, "metadata is an object, and categories an array")
    try:
        told = times(
            given,
            event_time="created_at",
            created_at="created_at",
            updated_at="updated_at",
            expires_at="expiration_date",
        )
    except ValueError as error:
        return Unstored(place, str(error))
    rest = {name: value for name, value in given.items() if name not in _READ | _OF_THE_STORE}
    fields: dict[str, Any] = {
        "content": text,
        "kind": "semantic",
        "metadata": with_rest(own, rest, source="mem0"),
        "categories": [str(one) for one in categories],
        **{name: label(given.get(name)) for name in _OWNERS if label(given.get(name)) is not None},
        **told,
    }
    owner = [f"{name}={fields[name]}" for name in _OWNERS if name in fields]
    return SourceRecord(place, label(given.get("id")) or ("mem0", *owner, text), fields)
