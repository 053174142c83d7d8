"""OpenMemory's backup: the zip of `POST /api/v1/backup/export`, its folder, or one of its two files.

`memories.jsonl.gz` holds a memory a line with the names of app and categories; `memories.json` holds the tables:

    {"id": "<uuid>", "content", "metadata": {…}, "created_at", "updated_at", "state": "active", "app": "cursor",
     "categories": ["work"]}
    {"user": {"user_id"}, "apps": [{"id", "name"}], "categories": [{"id", "name"}],
     "memories": [{"id", "user_id", "app_id", "content", "metadata", "state", "created_at", "category_ids"}], …}

The first names no user, the second does; a zip has both. What was deleted there stays so; what is archived or paused is
stored, and its state is in the metadata.

Checked against openmemory/api/app/routers/backup.py of github.com/mem0ai/mem0 (commit 54e275a).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from t4dm_daemon.core.errors import InvalidInputError, SourceError
from t4dm_daemon.sources.entries import Entry, SourceRecord, Unstored, with_rest
from t4dm_daemon.sources.files import Document, Files
from t4dm_daemon.sources.json_parts import parts
from t4dm_daemon.sources.objects import is_whole, json_lines, json_objects, label, listed
from t4dm_daemon.sources.times import times

_ARRAYS: Final = ("memories", "results", "items")
_NAMES: Final = r"memories\.(json|jsonl|jsonl\.gz)"
_READ: Final = frozenset(
    ("id", "user_id", "app_id", "app", "content", "metadata", "metadata_", "state", "created_at", "updated_at")
) | {"categories", "category_ids", "archived_at", "deleted_at", "vector"}


class _Names:
    """What ids in the tables stand for."""

    def __init__(self, document: Document | None) -> None:
        self.user: str | None = None
        self.problem: Unstored | None = None
        self.apps: dict[str, str] = {}
        self.categories: dict[str, str] = {}
        if document is not None:
            self._learn(document)

    def _learn(self, document: Document) -> None:
        with closing(document.open()) as stream:
            try:
                for part in parts(stream, document.name):
                    if part.field not in ("user", "apps", "categories"):
                        continue
                    told = part.value()
                    if part.field == "user":
                        self.user = label(told.get("user_id"))
                    elif isinstance(told.get("name"), str):
                        known = self.apps if part.field == "apps" else self.categories
                        known[str(told.get("id"))] = told["name"]
            except (SourceError, InvalidInputError, AttributeError) as error:
                self.problem = Unstored(document.name, f"the names of users, apps and categories: {error}")


def read(path: Path, files: Files) -> Iterator[Entry]:
    """Yield the memories of a backup. Raises SourceError."""
    documents = files.documents(path, _NAMES)
    tables = next((one for one in documents if one.name.endswith(".json")), None)
    lines = next((one for one in documents if not one.name.endswith(".json")), None)
    quiet = next((one for one in Files().documents(path, _NAMES) if one.name.endswith(".json")), None)
    if lines is None and tables is None:  # one file of any name
        document = documents[0]
        lines, tables = (None, document) if is_whole(document, of=_ARRAYS) else (document, None)
    names = _Names(quiet if tables is not None else None)
    if lines is not None:
        found = json_lines(lines)
        if names.problem is not None:  # else it is told when the memories are read
            yield names.problem
    else:
        assert tables is not None
        found = json_objects(tables, "memory", of=_ARRAYS)
    for given in found:
        yield given if isinstance(given, Unstored) else _memory(given.place, given.fields, names)


def _memory(place: str, given: dict[str, Any], names: _Names) -> Entry:
    content, state = given.get("content"), given.get("state") or "active"
    if not isinstance(content, str):
        return Unstored(place, "no content")
    if state == "deleted":
        return Unstored(place, "it was deleted", is_wrong=False)
    if not content.strip():
        return Unstored(place, "its content is empty", is_wrong=False)
    own = given.get("metadata") or given.get("metadata_") or {}
    categories = given.get("categories") or [
        names.categories.get(str(one), str(one)) for one in listed(given.get("category_ids"))
    ]
    if not isinstance(own, dict) or not isinstance(categories, list):
        return Unstored(place, "metadata is an object, and categories an array")
    try:
        told = times(given, event_time="created_at", created_at="created_at", updated_at="updated_at")
    except ValueError as error:
        return Unstored(place, str(error))
    rest = {name: value for name, value in given.items() if name not in _READ}
    if state != "active":
        rest["state"] = state
    app = label(given.get("app"))
    if app is None and given.get("app_id") is not None:
        app = names.apps.get(str(given["app_id"]), str(given["app_id"]))
    user = names.user or label(given.get("user_id"))
    fields: dict[str, Any] = {
        "content": content,
        "kind": "semantic",
        "metadata": with_rest(own, rest, source="openmemory"),
        "categories": [str(one) for one in categories],
        **told,
    }
    fields |= {name: value for name, value in (("user_id", user), ("app_id", app)) if value}
    return SourceRecord(place, label(given.get("id")) or ("openmemory", user or "", content), fields)
