"""How an item of the store is kept: as a memory, and one more memory for each further text that it is found by.

    item     id         [app_id, [labels], key] as JSON; a hash of that where it is long
             kind       semantic
             content    the beginning of the first of its texts; empty where it is not indexed
             metadata   the item's value, entry by entry, so that the daemon can filter by it
             value      key, number of texts, time to live, and the entries that are not in the metadata
             categories `UNINDEXED`, and which entries the metadata leaves out (`OMITS`)
    text     id         that of its item, "#", its number from 1
             kind       procedural
             content    the beginning of the text
             metadata, namespace, expiry as the item's; run_id is the item's id

An item and its texts are stored in one write, so they have the same `recorded_at`: a text with another one is left over
from an earlier value and counts for nothing.

An entry is left out of the metadata when the daemon could not filter by it exactly: when it does not fit into what
metadata may hold, or when there are dots in its keys, where a path would be ambiguous.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from langgraph.store.base import Item, PutOp, SearchItem

from t4dm.sdk import models as m
from t4dm.sdk import ops_models as o
from t4dm.sdk.errors import ProtocolError, ValidationError

ITEM: Final = "semantic"
TEXT: Final = "procedural"
UNINDEXED: Final = "t4dm:unindexed"
OMITS: Final = "t4dm:omits"
"""`t4dm:omits:<key>` names an entry; by itself it means that any entry may be missing."""

MAX_TEXTS: Final = 500
MAX_CONTENT_CHARS: Final = 16_384
"""The beginning of a text by which the daemon finds it. It embeds every word of a content, which takes seconds for a
hundred pages and makes a vector of everything and nothing."""
_MAX_PLAIN_ID_BYTES: Final = 480
_MAX_PATH: Final = 900
"""Characters of a path by which the daemon filters; it takes 1024."""
_MAX_DEPTH: Final = 63
_MAX_OMITTED: Final = 48
_SECONDS: Final = 60.0
_OVERHEAD_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Partition:
    """Which memories are a store's: those of a space that have its `app_id`."""

    space: str
    app_id: str

    @property
    def fields(self) -> dict[str, str]:
        return {"space": self.space, "app_id": self.app_id}

    def id_of(self, namespace: Sequence[str], key: str) -> str:
        """Return the id of an item: one for each namespace and key, whatever characters they have.

        Raises:
            ValidationError: They are not Unicode text.
        """
        text = compact([self.app_id, list(namespace), key])
        if len(text) <= _MAX_PLAIN_ID_BYTES:
            return text.decode()
        return f"sha256:{hashlib.sha256(text).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Texts:
    """What an item is found by: its texts, and their vectors where the daemon does not make them."""

    texts: Sequence[str] = ()
    vectors: Sequence[Sequence[float]] | None = None


def text_id(item_id: str, number: int) -> str:
    return f"{item_id}#{number}"


def item_id_of(memory: m.Memory) -> str:
    """Return the id of the item that a memory is, or is a text of."""
    return memory.id if memory.kind == ITEM else memory.id.rpartition("#")[0]


def key_of(op: PutOp, partition: Partition) -> str:
    return partition.id_of(op.namespace, str(op.key))


def plain(op: PutOp) -> PutOp:
    """Return a put whose value is as JSON has it: mappings as dicts, tuples as lists.

    Raises:
        TypeError: It has something that JSON has not.
        ValidationError: It has a number that JSON has not, or is too deep.
    """
    return op if op.value is None else op._replace(value=_plain(op.value, "value", 0))


def records_of(op: PutOp, found_by: Texts, partition: Partition) -> tuple[list[o.PutOp], int]:
    """Return the memories of an item, itself first, and about how many bytes they have in a request.

    Raises:
        ValueError: It has a time to live that makes no sense.
        ValidationError: Its value is more than the daemon takes.
    """
    metadata, rest, size_bytes = _split(dict(op.value or {}))
    item_id = key_of(op, partition)
    texts = found_by.texts
    envelope: dict[str, Any] = {"key": str(op.key), "texts": len(texts)}
    shared: dict[str, Any] = {
        **partition.fields,
        "namespace": list(op.namespace),
        "metadata": metadata,
        "pinned": True,  # what a caller keeps under a name is not for sleep to forget
    }
    if op.ttl is not None:
        envelope["ttl_s"] = shared["ttl_s"] = _ttl_s(op.ttl)
    if rest:
        envelope["rest"] = rest
    omits = _omits(rest)
    records = []
    for number in range(max(1, len(texts))):
        given: dict[str, Any] = {"op": "put", **shared}
        if number == 0:
            unindexed = [] if texts else [UNINDEXED]
            given |= {"id": item_id, "kind": ITEM, "value": envelope, "categories": unindexed + omits}
        else:
            given |= {"id": text_id(item_id, number), "kind": TEXT, "run_id": item_id, "categories": omits}
        if not texts:
            given["embed"] = False
        else:
            given["content"] = texts[number][:MAX_CONTENT_CHARS]
            size_bytes += len(given["content"].encode("utf-8", "replace"))
        if texts and found_by.vectors is not None:
            given["vector"] = found_by.vectors[number]
            size_bytes += 6 * len(found_by.vectors[number])  # base64 of float32
        records.append(o.PutOp.model_validate(given))
    return records, len(records) * (size_bytes + _OVERHEAD_BYTES)


def value_of(memory: m.Memory) -> dict[str, Any]:
    """Return the value of an item as it was put."""
    return {**memory.metadata, **_envelope(memory).get("rest", {})}


def texts_of(memory: m.Memory) -> list[str]:
    """Return the ids of all memories that an item is kept in."""
    count = _envelope(memory)["texts"]
    return [memory.id, *(text_id(memory.id, number) for number in range(1, count))]


def ttl_s_of(memory: m.Memory) -> float | None:
    """Return how many seconds the item lives after each use; None where it does not expire."""
    ttl_s: float | None = _envelope(memory).get("ttl_s")
    return ttl_s


def item_of(memory: m.Memory) -> Item:
    return Item(
        value=value_of(memory),
        key=_envelope(memory)["key"],
        namespace=tuple(memory.namespace),
        created_at=memory.created_at,
        updated_at=memory.updated_at,
    )


def search_item_of(memory: m.Memory, score: float | None) -> SearchItem:
    return SearchItem(
        value=value_of(memory),
        key=_envelope(memory)["key"],
        namespace=tuple(memory.namespace),
        created_at=memory.created_at,
        updated_at=memory.updated_at,
        score=score,
    )


def compact(value: Any) -> bytes:
    """Return compact JSON. Raises ValidationError where it holds half a character."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        raise ValidationError("a text holds a lone surrogate, which is not valid Unicode") from None


def is_filterable(path: Sequence[str]) -> bool:
    """Return whether a path of keys names one place in any metadata."""
    return all(key and "." not in key for key in path) and sum(map(len, path)) + len(path) <= _MAX_PATH


def _envelope(memory: m.Memory) -> dict[str, Any]:
    if not isinstance(memory.value, dict) or "key" not in memory.value or "texts" not in memory.value:
        raise ProtocolError(
            f"memory {memory.id!r} of space {memory.space!r} has the app_id of this store, and is no item of it; "
            "give the store a space or an app_id of its own",
            code="not_an_item",
        )
    return memory.value


def _split(value: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Return the entries of a value that go into the metadata, those that do not, and how large they all are."""
    sizes = {key: len(compact({key: one})) for key, one in value.items()}
    chosen: set[str] = set()
    free = m.MAX_METADATA_BYTES - 2
    for key in sorted(value, key=lambda one: sizes[one]):
        if sizes[key] <= free and is_filterable([key]) and _has_plain_keys(value[key]):
            chosen.add(key)
            free -= sizes[key]
    metadata = {key: one for key, one in value.items() if key in chosen}
    rest = {key: one for key, one in value.items() if key not in chosen}
    return metadata, rest, sum(sizes.values())


def _has_plain_keys(value: Any) -> bool:
    """Return whether no path into a value could mean two things. (Paths do not lead into lists.)"""
    if not isinstance(value, dict):
        return True
    return all(key and "." not in key and _has_plain_keys(one) for key, one in value.items())


def _omits(rest: Mapping[str, Any]) -> list[str]:
    labels = [omitted(key) for key in rest]
    if len(labels) > _MAX_OMITTED or any(label is None for label in labels):
        return [OMITS]
    return [label for label in labels if label is not None]


def omitted(key: str) -> str | None:
    """Return the category that says that the entry `key` is not in the metadata; None where it would be too long."""
    label = f"{OMITS}:{key}"
    return label if len(label.encode()) <= m.MAX_LABEL_BYTES else None


def _plain(value: Any, where: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ValidationError(f"the value is nested deeper than {_MAX_DEPTH} levels")
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not isfinite(value):
            raise ValidationError(f"{where} is {value}, which JSON has not; give a finite number or None")
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}; keys are strings")
        return {key: _plain(one, f"{where}[{key!r}]", depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, f"{where}[{at}]", depth + 1) for at, one in enumerate(value)]
    raise TypeError(f"{where} is a {type(value).__name__}; a value has what JSON has")


def _ttl_s(minutes: float) -> float:
    seconds = float(minutes) * _SECONDS
    if not 0 < seconds <= m.MAX_TTL_S:
        raise ValueError(f"ttl is a number of minutes, greater than 0 and at most 100 years, not {minutes}")
    return seconds
