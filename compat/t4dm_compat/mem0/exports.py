"""Exports: a caller's schema, filled with memories where their own fields can fill it.

Mem0's platform has a language model fill any schema. Here a property is filled whose meaning is plain:

    an array of objects whose properties are fields of a memory     the memories, with these fields
    an array of strings called `memories`                           their texts
    an integer called `count` or `total`                            how many there are

One with any other property is answered 501. An export is kept as what was asked, and is filled when it is fetched:
so it holds no memory that has been deleted since.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from t4dm._backend import MemoryBackend
from t4dm.sdk.errors import NotFoundError
from t4dm_compat.mem0 import memories
from t4dm_compat.mem0.bodies import ExportBody, ListBody
from t4dm_compat.mem0.refusals import unserved, wrong

_MOST: Final = 1000
_FIELDS: Final = {
    **{
        name: name
        for name in (
            "id", "memory", "user_id", "agent_id", "app_id", "run_id", "hash", "metadata", "categories", "immutable",
            "expiration_date", "created_at", "updated_at",
        )
    },
    "memory_id": "id",
    "text": "memory",
    "content": "memory",
}  # fmt: skip
"""What an object of a schema may ask of a memory, and what that is called in an answer."""
NEEDS_A_MODEL: Final = (
    "filling a schema needs a language model, which is not loaded; get_all() pages through the same memories, "
    "and GET /api/v1/export gives all of them as JSON lines"
)


@dataclass(frozen=True, slots=True)
class Export:
    """What was asked: for each property of the schema a filler, and which memories."""

    fillers: Mapping[str, Mapping[str, str] | str]
    """The fields of its objects by their names, or `texts`, or `count`."""
    selection: ListBody


class Exports:
    """The latest thousand exports of this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exports: OrderedDict[str, Export] = OrderedDict()  # guarded by _lock

    def create(self, body: ExportBody) -> str:
        """Keep an export and return its id. Raises ValidationError (400), or HTTPException (501)."""
        export = Export(_fillers(_read(body.schema_)), _selection(body))
        export_id = str(uuid.uuid4())
        with self._lock:
            self._exports[export_id] = export
            if len(self._exports) > _MOST:
                self._exports.popitem(last=False)
        return export_id

    def find(self, body: ExportBody) -> Export:
        """Return the export of an id, or the latest of the same selection. Raises NotFoundError."""
        with self._lock:
            if body.memory_export_id is not None:
                found = self._exports.get(body.memory_export_id)
            else:
                asked = _selection(body)
                found = next((one for one in reversed(self._exports.values()) if one.selection == asked), None)
        if found is None:
            raise NotFoundError(
                "Export not found: create_memory_export() with the same filters comes first; exports are known until "
                "many others came, or the daemon stopped",
                status=404,
            )
        return found


def fill(backend: MemoryBackend, export: Export) -> dict[str, Any]:
    """Return the schema's properties with what the memories are now, newest first."""
    found = memories.every(backend, export.selection)
    return {name: _filled(filler, found) for name, filler in export.fillers.items()}


def _filled(filler: Mapping[str, str] | str, found: list[dict[str, Any]]) -> Any:
    if filler == "count":
        return len(found)
    if isinstance(filler, str):
        return [one["memory"] for one in found]
    return [{name: one[field] for name, field in filler.items()} for one in found]


def _selection(body: ExportBody) -> ListBody:
    chosen = body.model_dump(include=set(ListBody.model_fields) - {"fields", "page", "page_size"}, exclude_none=True)
    return ListBody.model_validate(chosen)


def _read(schema: Any) -> Mapping[str, Any]:
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError):
            raise wrong("schema: it is not JSON; give a JSON Schema, for example Model.model_json_schema()") from None
    if not isinstance(schema, Mapping):
        raise wrong("schema: it is not an object; give a JSON Schema, for example Model.model_json_schema()")
    return schema


def _fillers(schema: Mapping[str, Any]) -> dict[str, Mapping[str, str] | str]:
    """Return what fills each property. Raises HTTPException (501) for one that nothing here can fill."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        raise unserved(NEEDS_A_MODEL)
    fillers: dict[str, Mapping[str, str] | str] = {}
    for name, part in properties.items():
        filler = _filler(name, _resolved(part, schema), schema)
        if filler is None:
            raise unserved(f"schema: nothing that a memory has fills {str(name)[:100]!r}; {NEEDS_A_MODEL}")
        fillers[name] = filler
    return fillers


def _filler(name: str, part: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, str] | str | None:
    if part.get("type") == "integer" and name in ("count", "total"):
        return "count"
    if part.get("type") != "array":
        return None
    items = _resolved(part.get("items"), schema)
    if items.get("type") == "string" and name == "memories":
        return "texts"
    wanted = items.get("properties")
    if not isinstance(wanted, Mapping) or not wanted or not wanted.keys() <= _FIELDS.keys():
        return None
    return {field: _FIELDS[field] for field in wanted}


def _resolved(part: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a part of a schema with its reference followed, and without an alternative that is null."""
    for _ in range(8):  # references that lead in a circle lead nowhere
        if not isinstance(part, Mapping):
            return {}
        if isinstance(part.get("$ref"), str):
            definitions = schema.get("$defs")
            part = definitions.get(part["$ref"].rpartition("/")[2]) if isinstance(definitions, Mapping) else None
        elif isinstance(part.get("anyOf"), list):
            others = [one for one in part["anyOf"] if not (isinstance(one, Mapping) and one.get("type") == "null")]
            part = others[0] if len(others) == 1 else None
        else:
            return part
    return {}
