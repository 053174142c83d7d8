"""The JSON Schema of a tool's arguments, as language model APIs want it, and the tools in each of their forms.

Strict: every object names all its properties as required and allows no others, what may be left out is a union with
null, and there are no defaults. References are put in place and titles left out: some hosts do not follow the
former, and the latter cost tokens.
"""

from __future__ import annotations

from typing import Any, cast

from t4dm.tools.arguments import MODELS, ToolArguments, description

Schema = dict[str, Any]


def arguments_schema(model: type[ToolArguments], *, strict: bool = True) -> Schema:
    """Return the schema of a tool's arguments.

    Args:
        model: The arguments.
        strict: Make every property required, null for what is not given. Otherwise what has a default may be left
            out; everything else is the same.
    """
    schema = model.model_json_schema()
    definitions: Schema = schema.pop("$defs", {})
    found = _plain(schema, definitions, strict=strict)
    found.pop("description", None)  # the tool has it
    return found


def openai_tools() -> list[Schema]:
    """Return the tools for OpenAI's Chat Completions API (`tools=`), in strict mode."""
    return [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": description(model),
                "parameters": arguments_schema(model),
                "strict": True,
            },
        }
        for name, model in MODELS.items()
    ]


def openai_responses_tools() -> list[Schema]:
    """Return the tools for OpenAI's Responses API (`tools=`), in strict mode."""
    return [{"type": "function", **tool["function"]} for tool in openai_tools()]


def anthropic_tools() -> list[Schema]:
    """Return the tools for Anthropic's Messages API (`tools=`)."""
    return [
        {"name": name, "description": description(model), "input_schema": arguments_schema(model)}
        for name, model in MODELS.items()
    ]


def _plain(schema: Schema, definitions: Schema, *, strict: bool) -> Schema:
    """Return a schema with its references put in place, without titles, and without defaults of null."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        schema = {**definitions[name], **{key: value for key, value in schema.items() if key != "$ref"}}
    plain: Schema = {}
    for key, value in schema.items():
        if key == "title" or (key == "default" and value is None):
            continue
        if key == "properties":
            plain[key] = {name: _plain(one, definitions, strict=strict) for name, one in value.items()}
        elif isinstance(value, dict):
            plain[key] = _plain(cast("Schema", value), definitions, strict=strict)
        elif isinstance(value, list) and key == "anyOf":
            plain[key] = [_plain(one, definitions, strict=strict) for one in cast("list[Schema]", value)]
        else:
            plain[key] = value
    if plain.get("type") == "object" and strict:
        plain["required"] = list(plain.get("properties", {}))
    return plain
