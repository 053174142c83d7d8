"""Payloads: the JSON objects of other stores, as an item's text and metadata.

A payload becomes the metadata of an item, but for one key: a non-empty string under the text key (by default
`text`) becomes the item's content, so that it is searched by words and embedded like any other memory. On the way
out the content stands under the text key again. An empty string, or something else than a string, under that key
stays in the metadata; so every payload comes back as it went in, but for the order of its keys.

An item that has both content and metadata under the text key was not written from a payload; its content wins.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.core.filter import And, Filter, Leaf, Not, Or

TEXT_KEY: Final = "text"
MAX_DEPTH: Final = 64
_PLAIN: Final = (str, int, bool, type(None))


def encode(value: Any, field: str) -> bytes:
    """Return compact UTF-8 JSON that decodes to an equal value.

    Raises:
        InvalidInputError: It holds what JSON cannot say; the message names the place.
    """
    _check(value, field)
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"{field} holds a lone surrogate, which is not valid Unicode", field=field) from None


def encode_object(value: Any, field: str) -> bytes:
    """Return the JSON text of an object. Raises InvalidInputError when it is none, or not JSON."""
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"{field} is a JSON object, not {_kind(value)}", field=field)
    return encode(dict(value), field)


def _check(value: Any, field: str) -> None:
    level: list[tuple[str, Any]] = [(field, value)]
    for _ in range(MAX_DEPTH + 1):
        deeper: list[tuple[str, Any]] = []
        for place, one in level:
            if type(one) is dict:
                for key, inner in one.items():
                    if type(key) is not str:
                        raise InvalidInputError(f"{place} has a key that is no string: {key!r}", field=field)
                    deeper.append((f"{place}.{key}", inner))
            elif type(one) is list:
                deeper += [(f"{place}[{at}]", inner) for at, inner in enumerate(one)]
            elif type(one) is float:
                if not math.isfinite(one):
                    raise InvalidInputError(f"{place} is {one}, which JSON cannot say", field=field)
            elif type(one) not in _PLAIN:
                raise InvalidInputError(f"{place} is {_kind(one)}, which JSON cannot say", field=field)
        if not deeper:
            return
        level = deeper
    raise InvalidInputError(f"{field} is nested deeper than {MAX_DEPTH} levels", field=field, max_depth=MAX_DEPTH)


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"


def split(payload: Any, text_key: str = TEXT_KEY) -> tuple[str, bytes]:
    """Return the content and the metadata's JSON text. Raises InvalidInputError when it is no JSON object."""
    if not isinstance(payload, Mapping):
        raise InvalidInputError(f"a payload is a JSON object, not {_kind(payload)}", field="payload")
    metadata = dict(payload)
    content = ""
    if metadata.get(text_key) and type(metadata[text_key]) is str:
        content = metadata.pop(text_key)
    return content, encode(metadata, "payload")


def join(content: str, metadata_json: bytes, text_key: str = TEXT_KEY) -> dict[str, Any]:
    """Return the payload that `split` was given."""
    payload: dict[str, Any] = json.loads(metadata_json)
    if content:
        payload[text_key] = content
    return payload


def translate(tree: Filter, text_key: str = TEXT_KEY) -> Filter:
    """Return a filter over items that means what `tree` means over payloads: the text key is where `split` put it."""
    if isinstance(tree, And):
        return And(tuple(translate(part, text_key) for part in tree.parts))
    if isinstance(tree, Or):
        return Or(tuple(translate(part, text_key) for part in tree.parts))
    if isinstance(tree, Not):
        return Not(translate(tree.part, text_key))
    if not isinstance(tree, Leaf) or tree.field not in (text_key, f"metadata.{text_key}"):
        return tree
    has_no_content = Leaf("content", "is_empty")
    in_content = And((Not(has_no_content), Leaf("content", tree.op, tree.operand)))
    in_metadata = And((has_no_content, Leaf(f"metadata.{text_key}", tree.op, tree.operand)))
    return Or((in_content, in_metadata))
