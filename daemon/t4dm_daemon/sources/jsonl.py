"""Plain JSON lines, or one JSON array: an object for each memory, by the names that people give its fields.

    content         text, memory, body, page_content      the words; or the field that `text_key` names
    event_time      timestamp, time, date                 when it happened
    metadata        payload, metadatas                    an object
    categories      tags                                  an array of texts

and all other fields of a memory by their own names (`id`, `user_id`, `session_id`, `kind`, `created_at`, …). Fields
that no memory has go into the metadata. An `id` stays as it is; without one it is made from the line. Vectors are left
out, since those of two models cannot be compared: the daemon embeds the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from t4dm.sdk.models import RecordIn
from t4dm_daemon.sources.entries import Entry, SourceRecord, Unstored, with_rest
from t4dm_daemon.sources.files import Document, Files
from t4dm_daemon.sources.objects import Given, is_whole, json_lines, json_objects, label
from t4dm_daemon.sources.times import moment

_TEXTS: Final = ("content", "text", "memory", "body", "page_content")
_ALIASES: Final = {
    "event_time": ("timestamp", "time", "date"),
    "metadata": ("payload", "metadatas"),
    "categories": ("tags",),
}
_TIMES: Final = ("event_time", "valid_from", "valid_to", "created_at", "updated_at", "expires_at", "last_accessed")
_VECTORS: Final = frozenset(("vector", "embedding", "embeddings"))
_TAKEN: Final = frozenset(RecordIn.model_fields) - {"id", "vector", "embed", "dedup", "supersedes", "ttl_s"}
_OF_THE_STORE: Final = frozenset(("version", "recorded_at", "status", "space"))
_OF_AN_EXPORT: Final = frozenset(("space", "edge", "message", "end", "count", "edges", "messages"))
_LABELS: Final = ("user_id", "agent_id", "app_id", "run_id", "session_id")


def read(path: Path, files: Files, *, text_key: str | None = None) -> Iterator[Entry]:
    """Yield the memories of a file. Raises SourceError."""
    document = Document(path.name, lambda: files.open(path))
    is_array = path.is_file() and is_whole(Document(path.name, lambda: Files().open(path)))
    for given in json_objects(document, "entry") if is_array else json_lines(document):
        yield given if isinstance(given, Unstored) else _memory(given, text_key)


def _memory(given: Given, text_key: str | None) -> Entry:
    fields = dict(given.fields)
    if fields.keys() <= _OF_AN_EXPORT:
        return Unstored(given.place, "of an export of T4DM, which is imported with: t4dm import FILE", is_wrong=False)
    key = text_key or next((one for one in _TEXTS if one in fields), None)
    text = None if key is None else fields.pop(key, None)
    if not isinstance(text, str):
        return Unstored(given.place, f"no text under {text_key!r}" if text_key else f"no {', '.join(_TEXTS)}")
    if not text.strip():
        return Unstored(given.place, "its text is empty", is_wrong=False)
    for name, others in _ALIASES.items():
        other = next((one for one in others if one in fields), None)
        if name not in fields and other is not None:
            fields[name] = fields.pop(other)
    own = fields.pop("metadata", None) or {}
    if not isinstance(own, dict):
        return Unstored(given.place, "metadata is an object")
    try:
        told = {name: moment(fields.pop(name)) for name in _TIMES if name in fields}
    except ValueError as error:
        return Unstored(given.place, str(error))
    identifier = label(fields.pop("id", None))
    record = {name: fields.pop(name) for name in list(fields) if name in _TAKEN and name != "content"}
    record |= {name: label(record[name]) for name in _LABELS if isinstance(record.get(name), int)}
    rest = {name: value for name, value in fields.items() if name not in _VECTORS | _OF_THE_STORE}
    record = {
        **{name: value for name, value in record.items() if value is not None},
        **{name: value for name, value in told.items() if value is not None},
        "content": text,
        "metadata": with_rest(own, rest, source="line"),
    }
    return SourceRecord(given.place, identifier or ("jsonl", given.raw.decode()), record)
