"""The columns of a row, and how an item becomes one.

A row is one version of one item. Immutable numbers, mutable numbers (learning state, and the end of the
version), dictionary-encoded labels, the vector, and a blob with the texts.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgpack
import numpy as np
import numpy.typing as npt
import orjson

from t4dm_daemon.core.clock import UNBOUNDED
from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.core.ids import MAX_ID_BYTES, key_of
from t4dm_daemon.core.item import EDGE_TYPES, MUTABLE_FIELDS, Edge, Item
from t4dm_daemon.storage.protocol import Deletion, EdgeChange, FieldUpdate, Token, Write

GIVEN: Final = ("event_time", "valid_from", "valid_to", "created_at", "updated_at", "content_hash")
"""Immutable numbers that come with the item, in the order of the log."""
LEARNED: Final = ("importance", "kappa", "pinned", "access_count", "last_accessed", "expires_at")
"""Mutable numbers that come with the item, in the order of the log."""
IMMUTABLE: Final[dict[str, type]] = {
    "event_time": np.int64,
    "valid_from": np.int64,
    "valid_to": np.int64,
    "created_at": np.int64,
    "updated_at": np.int64,
    "recorded_at": np.int64,
    "content_hash": np.uint64,
    "seq": np.int64,
    "version": np.int64,
    "inv_norm": np.float32,
}
"""`inv_norm` is 1 / |vector|, 0 for a row without a vector."""
MUTABLE: Final[dict[str, type]] = {
    "importance": np.float64,
    "kappa": np.float64,
    "pinned": np.bool_,
    "access_count": np.int64,
    "last_accessed": np.int64,
    "expires_at": np.int64,
    "recorded_until": np.int64,
}
NUMBERS: Final = {**IMMUTABLE, **MUTABLE}
LABELS: Final = ("kind", "user_id", "agent_id", "app_id", "run_id", "session_id", "namespace", "categories")
LISTS: Final = frozenset(("namespace", "categories"))

INSERT: Final = 1
UPDATE: Final = 2
DELETE: Final = 3
WEIGH: Final = 4
UNLINK: Final = 5
SCALE: Final = 6
PURGE: Final = 7
COMMANDS: Final = frozenset((INSERT, UPDATE, DELETE, WEIGH, UNLINK, SCALE, PURGE))
PURGED: Final = UNBOUNDED
"""The `recorded_until` of a row that no reader of any moment sees: the next merge leaves it out."""
EDGE_CODES: Final = {name: code for code, name in enumerate(EDGE_TYPES)}

MIN_NORM: Final = 1e-15
MAX_NORM: Final = 1e15
"""Beyond these, products of float32 numbers underflow or overflow; no embedding comes near."""

Vector = npt.NDArray[np.float32]
_BITS: Final = {name: 1 << at for at, name in enumerate(LEARNED)}
_INTEGERS: Final = {int}
_OWNER_TYPES: Final = frozenset((str, type(None)))
_LABEL_TYPES: Final = frozenset((str,))
_labels_of = operator.attrgetter(*LABELS)
_given_of = operator.attrgetter(*GIVEN)
_learned_of = operator.attrgetter(*LEARNED)


class Row(NamedTuple):
    """A write, ready to be applied. A tuple: it is made in a fifth of the time of a frozen dataclass."""

    id: str
    key: bytes
    blob: bytes
    vector: Vector | None
    inv_norm: float
    labels: Sequence[Any]
    given: Sequence[int]
    learned: Sequence[float]
    expected_version: int | None
    dedup: int
    """0: stored whatever else there is. 1: not stored when a duplicate. 2: the batch fails unless a duplicate.
    3: not stored; with `expected_version`, which says what is there already."""
    carry: int
    """Bit i: `LEARNED[i]` is taken from the current version."""


Name = str | bytes
"""An id in a command; its key in those of logs before format 3, which could reach an item of another id."""
Link = tuple[str, str, int, float, int, bool]
"""Source id, target id, type code, weight, creation time, and whether it is left out where an end is missing."""


@dataclass(frozen=True, slots=True)
class Insert:
    """The command behind an INSERT record."""

    token: Token | None
    rows: Sequence[Row]
    links: Sequence[Link]


def blob_start(identifier: str) -> bytes | None:
    """Return what the blob of an item with this id begins with, None for what cannot be an id."""
    try:
        start: bytes = b"\x94" + msgpack.packb(identifier)
    except UnicodeEncodeError:
        return None
    return start


def pack_blob(item: Item) -> bytes:
    blob: bytes = msgpack.packb((item.id, item.content, item.metadata_json, item.value_json))
    return blob


def unpack_blob(blob: bytes | memoryview) -> tuple[str, str, bytes, bytes]:
    identifier, content, metadata_json, value_json = msgpack.unpackb(blob)
    return identifier, content, metadata_json, value_json


def check_vector(vector: Vector) -> tuple[Vector, float]:
    """Return the vector as contiguous float32, and 1 / |vector|.

    Raises:
        InvalidInputError: Not finite, or of a length that float32 cosines cannot be computed from.
    """
    vector = np.ascontiguousarray(vector, dtype=np.float32)
    if vector.ndim != 1 or not vector.size:
        raise InvalidInputError("a vector has one dimension and at least one number", shape=list(vector.shape))
    wide = vector.astype(np.float64)
    norm = math.sqrt(wide.dot(wide))
    if MIN_NORM <= norm <= MAX_NORM:
        return vector, 1.0 / norm
    if math.isfinite(norm):
        reason = (
            "a zero vector has no direction" if norm == 0 else f"a vector's length lies in [{MIN_NORM}, {MAX_NORM}]"
        )
        raise InvalidInputError(reason, length=norm)
    raise InvalidInputError("a vector holds only finite float32 numbers")


def check_id(identifier: Any) -> None:
    """Raise InvalidInputError for what is no id."""
    try:
        if type(identifier) is str and 1 <= len(identifier.encode()) <= MAX_ID_BYTES:
            return
    except UnicodeEncodeError:
        raise InvalidInputError("an id is valid Unicode: no lone surrogates", id=ascii(identifier)) from None
    raise InvalidInputError(f"an id is a string of 1 to {MAX_ID_BYTES} bytes of UTF-8", id=ascii(identifier)[:100])


def check_item(item: Item) -> None:
    """Raise InvalidInputError for what could be logged but not applied, or stored but not read."""
    check_id(item.id)
    try:
        item.content.encode()
    except UnicodeEncodeError:
        raise InvalidInputError("ids and content are valid Unicode: no lone surrogates", id=ascii(item.id)) from None
    if not (item.metadata_json.startswith(b"{") and item.value_json):
        raise InvalidInputError("metadata is a JSON object and value is JSON", id=item.id)
    if item.metadata_json != b"{}":
        _check_metadata(item)
    if not _are_labels(*_labels_of(item)):
        raise InvalidInputError("labels are strings, namespace and categories tuples of strings", id=item.id)
    given = _given_of(item)
    if set(map(type, given)) != _INTEGERS or min(given) < -(2**63) or max(given) >= 2**63 or item.content_hash < 0:
        for name, value in zip(GIVEN, given, strict=True):
            low, high = (0, 2**64) if name == "content_hash" else (-(2**63), 2**63)
            check_number(name, value, low, high)
    learned = _learned_of(item)
    if not _is_plain(*learned):
        for name, value in zip(LEARNED, learned, strict=True):
            check_learned(name, value)


def _check_metadata(item: Item) -> None:
    try:
        if isinstance(orjson.loads(item.metadata_json), dict):
            return
        reason = "not an object"
    except orjson.JSONDecodeError as error:
        reason = str(error)
    raise InvalidInputError(f"metadata is a JSON object: {reason}", id=item.id, field="metadata")


def _are_labels(kind: Any, *labels: Any) -> bool:
    *owners, namespace, categories = labels
    return (
        type(kind) is str
        and _OWNER_TYPES.issuperset(map(type, owners))
        and type(namespace) is type(categories) is tuple
        and _LABEL_TYPES.issuperset(map(type, namespace + categories))
    )


def _is_plain(importance: Any, kappa: Any, pinned: Any, access_count: Any, last_accessed: Any, expires_at: Any) -> bool:
    """Return whether the learning state is of the usual types and ranges, in one expression: every insert asks."""
    return (
        type(importance) is float
        and type(kappa) is float
        and type(pinned) is bool
        and type(access_count) is type(last_accessed) is type(expires_at) is int
        and 0.0 <= importance <= 1.0
        and 0.0 <= kappa <= 1.0
        and 0 <= access_count < 2**62
        and -(2**63) <= last_accessed < 2**63
        and -(2**63) <= expires_at < 2**63
    )


def check_number(name: str, value: Any, low: int, high: int) -> None:
    if type(value) is not int or not low <= value < high:
        raise InvalidInputError(f"{name} is an integer in [{low}, {high})", field=name)


def check_learned(name: str, value: Any) -> None:
    """Raise InvalidInputError unless `value` fits the learning-state column `name`."""
    if name in ("importance", "kappa"):
        if type(value) not in (int, float) or not 0.0 <= value <= 1.0:
            raise InvalidInputError(f"{name} is a number in [0, 1]", field=name)
    elif name == "pinned":
        if type(value) is not bool:
            raise InvalidInputError("pinned is true or false", field=name)
    elif name == "access_count":
        check_number(name, value, 0, 2**62)
    else:
        check_number(name, value, -(2**63), 2**63)


def encode_insert(
    writes: Sequence[Write], edges: Sequence[Edge], token: Token | None, optional_edges: Sequence[Edge] = ()
) -> tuple[bytes, Insert]:
    """Return the body of an INSERT record, and the command it stands for. Raises InvalidInputError."""
    rows: list[Row] = []
    for write in writes:
        item = write.item
        check_item(item)
        vector, inv_norm = (None, 0.0) if item.vector is None else check_vector(item.vector)
        rows.append(
            Row(
                item.id,
                key_of(item.id),
                pack_blob(item),
                vector,
                inv_norm,
                _labels_of(item),
                _given_of(item),
                _learned_of(item),
                write.expected_version,
                3 if write.unchanged else 2 if write.only_duplicate else int(write.dedup),
                sum(_BITS[name] for name in write.carry) if write.carry else 0,
            )
        )
    links: list[Link] = []
    if token is not None and not (type(token.key) is type(token.fingerprint) is bytes):
        raise InvalidInputError("a token's key and fingerprint are bytes")
    for at, edge in enumerate((*edges, *optional_edges)):
        check_id(edge.source)
        check_id(edge.target)
        _code(edge.type)
        _finite("an edge's weight", edge.weight, 0.0, 1.0)
        check_number("created_at", edge.created_at, -(2**63), 2**63)
        is_optional = at >= len(edges)
        links.append(
            (edge.source, edge.target, EDGE_CODES[edge.type], float(edge.weight), edge.created_at, is_optional)
        )
    packed = _pack(
        (
            None if token is None else (token.key, token.fingerprint),
            [
                (
                    row.blob,
                    None if row.vector is None else row.vector.data,
                    row.labels,
                    row.given,
                    row.learned,
                    row.expected_version,
                    row.dedup,
                    row.carry,
                )
                for row in rows
            ],
            [link if link[5] else link[:5] for link in links],
        )
    )
    return packed, Insert(token, rows, links)


def _pack(command: Any) -> bytes:
    try:
        packed: bytes = msgpack.packb(command)
    except (UnicodeEncodeError, OverflowError, ValueError, TypeError) as error:
        raise InvalidInputError(f"this cannot be stored: {error}") from None
    return packed


def decode_insert(body: bytes | memoryview) -> Insert:
    """Return the command that `encode_insert` wrote."""
    token, packed, links = msgpack.unpackb(body, use_list=False)
    rows: list[Row] = []
    for blob, raw, *rest in packed:
        identifier = unpack_blob(blob)[0]
        vector, inv_norm = (None, 0.0) if raw is None else check_vector(np.frombuffer(raw, np.float32))
        rows.append(Row(identifier, key_of(identifier), blob, vector, inv_norm, *rest))
    return Insert(None if token is None else Token(*token), rows, [(*link[:5], len(link) > 5) for link in links])


ADDABLE: Final = {"access_count": 2**62, "importance": 1.0, "kappa": 1.0}
"""Fields that take increments, and the greatest value of each."""


def encode_update(updates: Sequence[FieldUpdate]) -> tuple[bytes, list[Any]]:
    """Return the body of an UPDATE record and what it stands for. Raises InvalidInputError."""
    for update in updates:
        for name, value in update.set.items():
            if name not in MUTABLE_FIELDS:
                raise InvalidInputError(f"{name} is not learning state", field=name)
            check_learned(name, value)
        for name, increment in update.add.items():
            if name not in ADDABLE:
                raise InvalidInputError(f"{name} cannot be added to", field=name)
            is_whole = type(increment) is int
            if not (is_whole or (type(increment) is float and name != "access_count")) or not abs(increment) < 2**53:
                raise InvalidInputError(f"the increment of {name} is not a number that fits it", field=name)
    changes: list[Any] = []
    for one in updates:
        change = (_name(one.id), dict(one.set), dict(one.add))
        if one.expected_version is not None:
            check_number("expected_version", one.expected_version, 0, 2**62)
            change = (*change, one.expected_version)  # type: ignore[assignment]
        changes.append(change)
    return _pack(changes), changes


def encode_delete(deletions: Sequence[Deletion]) -> tuple[bytes, list[Any]]:
    """Return the body of a DELETE record and what it stands for. Raises InvalidInputError."""
    for one in deletions:
        if one.expected_version is not None:
            check_number("expected_version", one.expected_version, 0, 2**62)
    targets = [(_name(one.id), one.expected_version) for one in deletions]
    return _pack(targets), targets


def encode_purge(ids: Sequence[str], before: int | None) -> tuple[bytes, tuple[Any, ...]]:
    """Return the body of a PURGE record and what it stands for. Raises InvalidInputError."""
    if isinstance(ids, str):
        raise InvalidInputError("a list of ids is wanted, not one string", ids=ids)
    if before is not None:
        check_number("before", before, -(2**63) + 1, 2**63)
    meaning = [_name(one) for one in ids], before
    return _pack(meaning), meaning


def _name(identifier: Any) -> str:
    """Return an id as the log holds it: empty, which no item is called, for what no item can be called."""
    if type(identifier) is not str:
        raise InvalidInputError("an id is a string", id=ascii(identifier)[:100])
    try:
        identifier.encode()
    except UnicodeEncodeError:
        return ""
    return identifier


def _code(name: str) -> int:
    if type(name) is not str or name not in EDGE_CODES:
        raise InvalidInputError(f"unknown edge type {name!r}; known: {', '.join(EDGE_CODES)}", type=name)
    return EDGE_CODES[name]


def _finite(name: str, value: Any, low: float = -1e300, high: float = 1e300) -> float:
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise InvalidInputError(f"{name} is a number in [{low:g}, {high:g}]", field=name)
    return float(value)


def encode_weigh(changes: Sequence[EdgeChange]) -> tuple[bytes, list[Any]]:
    """Return the body of a WEIGH record and what it stands for. Raises InvalidInputError."""
    meaning = [
        (
            _name(one.source),
            _code(one.type),
            _name(one.target),
            None if one.set is None else _finite("weight", one.set, 0.0, 1.0),
            _finite("increment", one.add),
        )
        for one in changes
    ]
    return _pack(meaning), meaning


def encode_unlink(names: Sequence[tuple[str, str, str]]) -> tuple[bytes, list[Any]]:
    """Return the body of an UNLINK record and what it stands for. Raises InvalidInputError."""
    meaning = [(_name(source), _code(kind), _name(target)) for source, target, kind in names]
    return _pack(meaning), meaning


def encode_scale(
    multiply: float, add: float, low: float, high: float, types: Sequence[str] | None, sources: Sequence[str] | None
) -> tuple[bytes, tuple[Any, ...]]:
    """Return the body of a SCALE record and what it stands for. Raises InvalidInputError."""
    bounds = _finite("low", low, 0.0, 1.0), _finite("high", high, 0.0, 1.0)
    if bounds[0] > bounds[1]:
        raise InvalidInputError("low is at most high", low=low, high=high)
    meaning = (
        _finite("multiply", multiply),
        _finite("add", add),
        *bounds,
        None if types is None else [_code(one) for one in types],
        None if sources is None else [_name(one) for one in sources],
    )
    return _pack(meaning), meaning
