"""Carry out what a language model calls, in whichever form its API says so, and answer in the same form.

Whatever the model got wrong, and whatever T4DM could not do, becomes a result that the model can read: an agent's
loop goes on, and no failure looks like "there are no memories".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn, TypeAlias, Unpack, cast

import pydantic

from t4dm._async_backend import AsyncMemoryBackend, as_async
from t4dm._backend import MemoryBackend
from t4dm._requests import OwnerFields, owner_defaults
from t4dm.async_memory import AsyncT4DM
from t4dm.memory import T4DM
from t4dm.sdk._validation import sentence
from t4dm.sdk.errors import T4DMError, TransportError, UnavailableError, ValidationError
from t4dm.tools.actions import aperform, perform
from t4dm.tools.arguments import MODELS, ToolArguments
from t4dm.tools.scope import Scope

Client: TypeAlias = T4DM | MemoryBackend
AsyncClient: TypeAlias = AsyncT4DM | AsyncMemoryBackend
Form: TypeAlias = Literal["chat", "responses", "anthropic", "plain"]

_NO_ANSWER: Final = (
    "The memory does not answer, so nothing is known about what it holds; do not conclude that there are no memories. "
    "Tell the user that T4DM has to be running (start it with: t4dm serve). "
)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a model calls: a tool, its arguments as they came, and where the result goes."""

    form: Form
    id: str
    name: str
    arguments: str | Mapping[str, Any]


def run_tool_call(
    client: Client, call: Any, *, space: str | None = None, **owner: Unpack[OwnerFields]
) -> dict[str, Any]:
    """Carry out one tool call of a language model and return its result, ready to be sent back.

    Args:
        client: A `T4DM`, a `T4DMClient`, or a memory in this process. The space and the owner of a `T4DM` hold here.
        call: An item of a chat completion's `message.tool_calls`, a `function_call` item of a response's `output`, a
            `tool_use` block of an Anthropic message, each as the SDK's object or as a dict; or (name, arguments).
        space: Where the memories live; the client's own, else `default`, when absent.
        **owner: Whose memories the model may see and change: user_id, agent_id, app_id, run_id, session_id. The
            model cannot give another.

    Returns:
        For a chat completion a message of the role `tool`, for a response a `function_call_output` item, for an
        Anthropic message a `tool_result` block, for (name, arguments) `{"content", "is_error"}`. The content is
        JSON; for what went wrong it is `{"error": {"code", "message"}}`.

    Raises:
        TypeError: `call` is none of these, or the client only works with `await`.
        ValidationError: The space or the owner is not valid.
    """
    one = _read(call)
    backend, scope = _reach(client, space, owner)
    if as_async(cast("Any", backend)) is backend:
        raise TypeError("this client only works with await; use arun_tool_call, or give a T4DMClient")
    try:
        result = perform(cast("MemoryBackend", backend), parse_arguments(one.name, one.arguments), scope)
    except T4DMError as error:
        return _answer(one, failure(error), is_error=True)
    return _answer(one, result, is_error=False)


async def arun_tool_call(
    client: Client | AsyncClient, call: Any, *, space: str | None = None, **owner: Unpack[OwnerFields]
) -> dict[str, Any]:
    """Carry out one tool call as `run_tool_call` does, awaited; the client may be of either kind."""
    one = _read(call)
    backend, scope = _reach(client, space, owner)
    try:
        result = await aperform(as_async(backend), parse_arguments(one.name, one.arguments), scope)
    except T4DMError as error:
        return _answer(one, failure(error), is_error=True)
    return _answer(one, result, is_error=False)


def parse_arguments(name: str, arguments: str | Mapping[str, Any]) -> ToolArguments:
    """Return the checked arguments of a tool. Raises ValidationError with what the model should do instead."""
    model = MODELS.get(name)
    if model is None:
        raise ValidationError(
            f"there is no tool {name!r}; the memory tools are {', '.join(MODELS)}", code="unknown_tool"
        )
    if isinstance(arguments, str):
        arguments = _object(arguments)
    try:
        return model.model_validate(dict(arguments))
    except pydantic.ValidationError as error:
        raise ValidationError(
            f"{sentence(error)}; the arguments of {name} are {', '.join(model.model_fields)}",
            code="validation_error",
        ) from error


def failure(error: T4DMError) -> dict[str, Any]:
    """Return an error as a model should read it."""
    message = error.message
    if isinstance(error, TransportError):
        message = f"{_NO_ANSWER}({message})"
    elif isinstance(error, UnavailableError):
        pause = "" if error.retry_after_s is None else f" in {error.retry_after_s:g} s"
        message = f"{message}; nothing was done: try again{pause}"
    return {"error": {"code": error.code, "message": message}}


def result_text(result: Mapping[str, Any]) -> str:
    """Return a result as compact JSON."""
    return json.dumps(result, ensure_ascii=False, separators=(",", ":"))


# Forms ------------------------------------------------------------------------------------------------


def _read(call: Any) -> ToolCall:
    """Return what is called, whichever API's form it has."""
    if isinstance(call, tuple):
        pair: list[Any] = [*call]
        if len(pair) != 2 or not isinstance(pair[0], str):
            raise TypeError("a pair is (name of the tool, its arguments)")
        return ToolCall("plain", "", pair[0], _arguments(pair[1]))
    kind = _part(call, "type")
    if kind == "function_call":
        return ToolCall("responses", _text(call, "call_id"), _text(call, "name"), _arguments(_part(call, "arguments")))
    if kind == "tool_use":
        return ToolCall("anthropic", _text(call, "id"), _text(call, "name"), _arguments(_part(call, "input")))
    function = _part(call, "function")
    if kind in ("function", None) and function is not None:
        arguments = _arguments(_part(function, "arguments"))
        return ToolCall("chat", _text(call, "id"), _text(function, "name"), arguments)
    return _not_a_call(call)


def _answer(call: ToolCall, result: Mapping[str, Any], *, is_error: bool) -> dict[str, Any]:
    text = result_text(result)
    if call.form == "chat":
        return {"role": "tool", "tool_call_id": call.id, "content": text}
    if call.form == "responses":
        return {"type": "function_call_output", "call_id": call.id, "output": text}
    if call.form == "anthropic":
        return {"type": "tool_result", "tool_use_id": call.id, "content": text, "is_error": is_error}
    return {"content": text, "is_error": is_error}


def _part(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value).get(name)
    return getattr(value, name, None)


def _text(value: Any, name: str) -> str:
    part = _part(value, name)
    return part if isinstance(part, str) else _not_a_call(value)


def _arguments(value: Any) -> str | Mapping[str, Any]:
    if value is None:
        return {}
    if isinstance(value, str):
        return value
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else json.dumps(value, default=repr)


def _not_a_call(call: Any) -> NoReturn:
    raise TypeError(
        "a tool call is an item of a chat completion's message.tool_calls, a function_call item of a response's "
        "output, a tool_use block of an Anthropic message, or (name, arguments), not "
        f"{type(call).__name__}"
    )


def _object(text: str) -> Mapping[str, Any]:
    """Return the JSON object that a model wrote; some write nothing for no arguments."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValidationError("the arguments are nested too deeply", code="invalid_arguments") from None
    except ValueError as error:
        raise ValidationError(f"the arguments are not JSON: {error}", code="invalid_arguments") from None
    if not isinstance(value, dict):
        raise ValidationError("the arguments are a JSON object", code="invalid_arguments")
    return cast("dict[str, Any]", value)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Clients ----------------------------------------------------------------------------------------------


def _reach(
    client: Client | AsyncClient, space: str | None, owner: OwnerFields
) -> tuple[MemoryBackend | AsyncMemoryBackend, Scope]:
    """Return what carries calls out, and whose memories they are about."""
    for name in owner:
        if name not in OwnerFields.__annotations__:
            raise TypeError(f"run_tool_call() got an unexpected keyword argument {name!r}")
    bound = owner_defaults(**owner)
    if isinstance(client, T4DM | AsyncT4DM):
        kept = {name: value for name, value in client.owner.items() if name not in owner}
        scope = Scope(client.space if space is None else space, {**kept, **bound})
        return client.backend, scope
    return client, Scope("default" if space is None else space, bound)
