"""The tools as a language model sees them: strict, valid, generated, and what the SDKs would make of the models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from t4dm.tools import TOOL_NAMES, anthropic_tools, openai_responses_tools, openai_tools
from t4dm.tools.arguments import MODELS, ToolArguments, description
from t4dm.tools.schema import arguments_schema

SCHEMAS = Path(__file__).parents[3] / "schemas"
FORMS = {
    "openai_tools.json": openai_tools,
    "openai_responses_tools.json": openai_responses_tools,
    "anthropic_tools.json": anthropic_tools,
}
UNDERSTOOD = {
    "type", "properties", "required", "additionalProperties", "description", "anyOf", "items", "enum", "format",
    "minimum", "maximum", "minItems", "maxItems",
}  # fmt: skip
"""Keywords of JSON Schema that OpenAI's strict mode takes, of those that we use.

Source: OpenAI's guide "Structured model outputs", section "Supported schemas".
"""


def objects(schema: dict[str, Any], path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema within a schema, with where it is."""
    yield path, schema
    for name, one in schema.get("properties", {}).items():
        yield from objects(one, f"{path}.{name}")
    for number, one in enumerate(schema.get("anyOf", [])):
        yield from objects(one, f"{path}|{number}")
    if isinstance(schema.get("items"), dict):
        yield from objects(schema["items"], f"{path}[]")


def complaints(schema: dict[str, Any]) -> list[str]:
    """Return what strict mode would refuse."""
    found = [] if schema.get("type") == "object" else ["$: the root is not an object"]
    for path, one in objects(schema):
        found += [f"{path}: the keyword {key}" for key in one.keys() - UNDERSTOOD]
        if one.get("type") == "object":
            if one.get("additionalProperties") is not False:
                found.append(f"{path}: an open object")
            if list(one.get("required", [])) != list(one.get("properties", {})):
                found.append(f"{path}: a property that is not required")
        elif "type" not in one and "anyOf" not in one:
            found.append(f"{path}: anything at all")
        elif one.get("type") == "array" and "items" not in one:
            found.append(f"{path}: an array of anything")
    return found


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request: pytest.FixtureRequest) -> type[ToolArguments]:
    chosen: type[ToolArguments] = request.param
    return chosen


def test_there_are_the_seven_promised_tools() -> None:
    assert TOOL_NAMES == (
        "memory_store", "memory_search", "memory_get", "memory_update", "memory_forget", "memory_timeline",
        "memory_link",
    )  # fmt: skip


def test_the_schema_keeps_every_rule_of_strict_mode(model: type[ToolArguments]) -> None:
    assert complaints(arguments_schema(model)) == []


def test_the_linter_notices_every_breach() -> None:
    broken = {
        "type": "object",
        "properties": {
            "metadata": {"type": "object"},
            "k": {"type": "integer", "default": 3},
            "tags": {"type": "array"},
        },
        "required": ["metadata"],
        "additionalProperties": False,
    }

    assert complaints(broken) == [
        "$: a property that is not required",
        "$.metadata: an open object",
        "$.k: the keyword default",
        "$.tags: an array of anything",
    ]


def test_the_schema_is_a_json_schema(model: type[ToolArguments]) -> None:
    jsonschema = pytest.importorskip("jsonschema")

    jsonschema.Draft202012Validator.check_schema(arguments_schema(model))


def test_whatever_the_schema_allows_for_nothing_is_understood_as_nothing(model: type[ToolArguments]) -> None:
    """A strict model must name every property, so that null is how it leaves one out."""
    properties = arguments_schema(model)["properties"]
    optional = {name for name, one in properties.items() if {"type": "null"} in one.get("anyOf", [])}

    assert optional == {name for name, one in model.model_fields.items() if not one.is_required()}


def test_every_tool_and_every_argument_is_described(model: type[ToolArguments]) -> None:
    assert len(description(model)) > 80
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", model.tool)
    for name, one in arguments_schema(model)["properties"].items():
        assert one.get("description", "").endswith("."), name


def test_without_strictness_only_what_must_be_given_differs(model: type[ToolArguments]) -> None:
    strict, loose = arguments_schema(model), arguments_schema(model, strict=False)

    needed = {name for name, one in model.model_fields.items() if one.is_required()}
    assert set(loose.pop("required", [])) == needed
    del strict["required"]
    assert strict == loose


def test_nobody_can_be_named_as_the_owner(model: type[ToolArguments]) -> None:
    assert not {"user_id", "agent_id", "app_id", "run_id", "session_id", "space"} & model.model_fields.keys()


@pytest.mark.parametrize("name", FORMS)
def test_the_committed_file_is_what_is_generated(name: str) -> None:
    assert json.loads((SCHEMAS / name).read_text()) == FORMS[name]()


def test_what_is_returned_is_the_callers_own_to_change() -> None:
    openai_tools()[0]["function"]["parameters"]["properties"].clear()

    assert openai_tools()[0]["function"]["parameters"]["properties"]


def test_openais_own_generator_makes_the_same_of_the_models(model: type[ToolArguments]) -> None:
    openai = pytest.importorskip("openai")

    chat = openai.pydantic_function_tool(model, name=model.tool, description=description(model))

    assert meaning(chat) == meaning(next(one for one in openai_tools() if one["function"]["name"] == model.tool))


def test_openais_own_generator_makes_the_same_for_responses(model: type[ToolArguments]) -> None:
    openai = pytest.importorskip("openai")
    if not hasattr(openai, "pydantic_responses_function_tool"):
        pytest.skip("openai has it since version 3")

    flat = openai.pydantic_responses_function_tool(model, name=model.tool, description=description(model))

    assert meaning(flat) == meaning(next(one for one in openai_responses_tools() if one["name"] == model.tool))


def meaning(tool: Any) -> Any:
    """Return a tool with its references put in place, without titles, and without what it says twice."""
    tool = json.loads(json.dumps(tool))
    parameters = tool.get("function", tool)["parameters"]
    definitions = parameters.pop("$defs", {})
    parameters.pop("description", None)

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            value = {**definitions[value["$ref"].rsplit("/", 1)[1]], **{k: v for k, v in value.items() if k != "$ref"}}
        return {key: plain(one) for key, one in value.items() if not (key == "title" and isinstance(one, str))}

    return plain(tool)
