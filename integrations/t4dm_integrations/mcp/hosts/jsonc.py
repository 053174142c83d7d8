"""JSON with comments, changed in place: what is not meant stays as it is, to the byte.

Hosts' configurations are written by people. So a text is read into members that know where they stand, and a change is
made in the text: comments, order and indentation of all the rest survive.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_SPACE: Final = re.compile(r"(?:[ \t\r\n\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_SCALAR: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
_STRINGS: Final = json.JSONDecoder()
_DEPTH: Final = 200


class JsoncError(ValueError):
    """The text is not JSON; says where."""

    def __init__(self, text: str, at: int, message: str) -> None:
        line = text.count("\n", 0, at) + 1
        column = at - text.rfind("\n", 0, at)
        super().__init__(f"line {line}, column {column}: {message}")


@dataclass(slots=True)
class Node:
    """A value, and where it stands in the text."""

    start: int
    end: int
    value: Any
    members: list[Member] = field(default_factory=list["Member"])
    """Of an object, in order."""


@dataclass(slots=True)
class Member:
    start: int
    key: str
    node: Node
    comma: int | None = None
    """Where the comma after it stands."""


def parse(text: str) -> Node:
    """Return the value of a text. Raises JsoncError."""
    node = _value(text, _skipped(text, 0), 0)
    end = _skipped(text, node.end)
    if end != len(text):
        raise JsoncError(text, end, "there is something after the end")
    return node


def with_member(text: str, path: Sequence[str], value: Any) -> str:
    """Return a text in which the member at a path has this value; objects on the way are made.

    Raises:
        JsoncError: The text is not JSON, or what should be an object is none.
    """
    if not text.strip("\ufeff \t\r\n"):
        return _rendered(_nested(path, value), "  ", "") + "\n"
    indent, newline = _indent(text), "\r\n" if "\r\n" in text else "\n"
    node, depth = parse(text), 0
    for depth, key in enumerate(path):
        member = _member(text, node, key, path[:depth])
        if member is None:
            return _inserted(text, node, key, _nested(path[depth + 1 :], value), indent, depth + 1, newline)
        node = member.node
    new = _rendered(value, indent, indent * (depth + 1)).replace("\n", newline)
    return text[: node.start] + new + text[node.end :]


def without_member(text: str, path: Sequence[str]) -> str:
    """Return a text without the member at a path; the text itself where there is none. Raises JsoncError."""
    node = parse(text)
    for depth, key in enumerate(path[:-1]):
        found = _member(text, node, key, path[:depth])
        if found is None:
            return text
        node = found.node
    member = _member(text, node, path[-1], path[:-1])
    if member is None:
        return text
    start = len(text[: member.start].rstrip(" \t\r\n"))
    if member.comma is not None:
        return text[:start] + text[member.node.end : member.comma] + text[member.comma + 1 :]
    at = node.members.index(member)
    before = node.members[at - 1].comma if at else None
    head = text[:start] if before is None else text[:before] + text[before + 1 : start]
    return head + text[member.node.end :]


def value_at(text: str, path: Sequence[str]) -> Any:
    """Return the value at a path, None where there is none. Raises JsoncError."""
    if not text.strip("\ufeff \t\r\n"):
        return None
    node = parse(text)
    for depth, key in enumerate(path):
        member = _member(text, node, key, path[:depth])
        if member is None:
            return None
        node = member.node
    return node.value


# Reading ----------------------------------------------------------------------------------------------


def _skipped(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # it may be empty
    if text.startswith("/*", found.end()):
        raise JsoncError(text, found.end(), "a comment without an end")
    return found.end()


def _value(text: str, at: int, depth: int) -> Node:
    if depth > _DEPTH:
        raise JsoncError(text, at, f"nested deeper than {_DEPTH} levels")
    sign = text[at : at + 1]
    if sign == "{":
        return _object(text, at, depth)
    if sign == "[":
        return _array(text, at, depth)
    if sign == '"':
        value, end = _string(text, at)
        return Node(at, end, value)
    found = _SCALAR.match(text, at)
    if found is None:
        raise JsoncError(text, at, f"a value is expected, not {sign!r}" if sign else "the text ends too early")
    return Node(at, found.end(), json.loads(found[0]))


def _object(text: str, start: int, depth: int) -> Node:
    node = Node(start, start, {})
    at = _skipped(text, start + 1)
    while text[at : at + 1] != "}":
        if text[at : at + 1] != '"':
            raise JsoncError(text, at, "a key in quotes is expected" if at < len(text) else "the text ends too early")
        key, end = _string(text, at)
        colon = _skipped(text, end)
        if text[colon : colon + 1] != ":":
            raise JsoncError(text, colon, f"a colon is expected after {key!r}")
        value = _value(text, _skipped(text, colon + 1), depth + 1)
        member = Member(at, key, value)
        node.members.append(member)
        node.value[key] = value.value
        at = _skipped(text, value.end)
        if text[at : at + 1] == ",":
            member.comma = at
            at = _skipped(text, at + 1)
        elif text[at : at + 1] != "}":
            raise JsoncError(text, at, "a comma or } is expected" if at < len(text) else "the text ends too early")
    node.end = at + 1
    return node


def _array(text: str, start: int, depth: int) -> Node:
    node = Node(start, start, [])
    at = _skipped(text, start + 1)
    while text[at : at + 1] != "]":
        value = _value(text, at, depth + 1)
        node.value.append(value.value)
        at = _skipped(text, value.end)
        if text[at : at + 1] == ",":
            at = _skipped(text, at + 1)
        elif text[at : at + 1] != "]":
            raise JsoncError(text, at, "a comma or ] is expected" if at < len(text) else "the text ends too early")
    node.end = at + 1
    return node


def _string(text: str, at: int) -> tuple[str, int]:
    try:
        value, end = _STRINGS.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise JsoncError(text, error.pos, error.msg) from None
    return str(value), end


def _member(text: str, node: Node, key: str, path: Sequence[str]) -> Member | None:
    if not isinstance(node.value, dict):
        where = ".".join(path) or "the whole"
        raise JsoncError(text, node.start, f"{where} is not an object, so nothing can be put into it")
    found = [member for member in node.members if member.key == key]
    if len(found) > 1:
        raise JsoncError(text, found[1].start, f"the key {key!r} is there twice")
    return found[0] if found else None


# Writing ----------------------------------------------------------------------------------------------


def _nested(path: Sequence[str], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def _rendered(value: Any, indent: str, margin: str) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False).replace("\n", f"\n{margin}")


def _inserted(text: str, node: Node, key: str, value: Any, indent: str, depth: int, newline: str) -> str:
    """Return a text with one more member at the end of an object, behind what comments stand there."""
    margin = indent * depth
    member = f"\n{margin}{json.dumps(key, ensure_ascii=False)}: {_rendered(value, indent, margin)}".replace(
        "\n", newline
    )
    inside = text[node.start + 1 : node.end - 1]
    end = node.start + 1 + len(inside.rstrip(" \t\r\n"))
    last = node.members[-1] if node.members else None
    if last is not None and last.comma is None:
        text, end = f"{text[: last.node.end]},{text[last.node.end :]}", end + 1
    rest = text[end:]
    if "\n" not in rest[: len(rest) - len(rest.lstrip(" \t\r\n"))]:
        rest = newline + indent * (depth - 1) + rest.lstrip(" \t")
    return text[:end] + member + rest


def _indent(text: str) -> str:
    """Return how far the first indented line is."""
    found = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
    return found[1] if found else "  "
