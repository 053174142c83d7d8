"""JSON schemas as every host reads them: without references, and without titles that repeat the names."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from t4dm_integrations.mcp.protocol import Json


def input_schema(model: type[BaseModel]) -> Json:
    """Return the schema of a tool's arguments."""
    return {"type": "object", "properties": {}, **_schema(model, "validation")}


def output_schema(model: type[BaseModel]) -> Json:
    """Return the schema of a tool's structured answer."""
    return _schema(model, "serialization")


def _schema(model: type[BaseModel], mode: Literal["validation", "serialization"]) -> Json:
    schema = model.model_json_schema(mode=mode)
    definitions = schema.pop("$defs", {})
    flat: Json = _flat(schema, definitions)
    flat.pop("description", None)  # it is the tool's own
    return flat


def _flat(part: Any, definitions: Json) -> Any:
    """Return a part of a schema with what it refers to in place; none of the models contains itself."""
    if isinstance(part, list):
        return [_flat(one, definitions) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        meant = definitions[part["$ref"].rpartition("/")[2]]
        return _flat({**meant, **{key: value for key, value in part.items() if key != "$ref"}}, definitions)
    flat: Json = {}
    for key, value in part.items():
        if key == "properties":
            flat[key] = {name: _flat(one, definitions) for name, one in value.items()}
        elif key != "title":
            flat[key] = _flat(value, definitions)
    return flat
