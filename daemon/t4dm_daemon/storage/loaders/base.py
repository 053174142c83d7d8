"""What a loader reads from: a source of items, in batches, with a place to go on from.

A source turns foreign records into items, one for one. A record that cannot become an item, or not without
losing something, is refused with its id and the reason; what is left of a record is never stored.
Optional packages are imported where they are used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType, TracebackType
from typing import Any, Final, Protocol, Self

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import InvalidInputError, MissingExtraError
from t4dm_daemon.core.ids import MAX_ID_BYTES
from t4dm_daemon.core.item import ENTITY_COLUMNS, KINDS, Item
from t4dm_daemon.storage.payload import encode, encode_object, split

Vector = npt.NDArray[np.float32]
Position = dict[str, Any]
"""Where a source goes on from: a small JSON object, opaque to everyone else."""

MIN_LENGTH: Final = 1e-15
MAX_LENGTH: Final = 1e15
UNIT_TOLERANCE: Final = 1e-3
"""How far a vector's length may be from 1 for Euclidean and dot-product order to be cosine order.

Embedders normalise in float32 or float16; float16 has a relative precision of 1e-3.
"""


def import_extra(module: str, extra: str) -> ModuleType:
    """Return an optional module. Raises MissingExtraError, which says what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
            raise  # it is installed, and broken
        raise MissingExtraError(
            f"{error.name} is not installed; it comes with: pip install 't4dm[{extra}]'",
            extra=extra,
            module=error.name,
        ) from error


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest memory that is taken. The defaults are the API's: what is loaded can be exported and imported."""

    content_bytes: int = 1024 * 1024
    content_chars: int = 999_999
    metadata_bytes: int = 64 * 1024
    value_bytes: int = 8 * 1024 * 1024
    dimension: int = 16_384
    label_bytes: int = 512
    namespace_labels: int = 32
    categories: int = 64


LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that was not stored: its id in the source (or its place, when it has none), and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What a source read in one step.

    Attributes:
        items: In the order of the source.
        refused: The others.
        position: Where the source goes on after this batch.
    """

    items: list[Item]
    refused: list[Refusal]
    position: Position


@dataclass(frozen=True, slots=True)
class Found:
    """A hit of the source's own search; `similarity` is a cosine, None when the source measures otherwise."""

    id: str
    similarity: float | None


class Source(Protocol):
    """Records of another store, as items. Used by one thread at a time."""

    @property
    def name(self) -> str:
        """What it is and where: it tells two sources apart, and one from itself after a restart."""
        ...

    @property
    def dimension(self) -> int | None:
        """Of its vectors; None when it cannot be known before they are read."""
        ...

    def count(self) -> int | None:
        """Return how many records there are; None when only reading them all would tell."""
        ...

    def batches(self, size: int, *, after: Position | None = None) -> Iterator[Batch]:
        """Yield all records, at most `size` at a time, from the beginning or from a batch's position.

        Memory is bounded by a batch.

        Raises:
            SourceError: It could not be read.
            InvalidInputError: `after` is no position in this source; or the source says itself that it is incomplete.
        """
        ...

    def search(self, vector: Vector, k: int) -> list[Found] | None:
        """Return the source's own k best for a vector, best first; None when it cannot search."""
        ...

    def close(self) -> None:
        """Release files and connections; safe to call twice."""
        ...


class ClosingSource:
    """The context manager of every source."""

    def close(self) -> None:
        """Release files and connections; safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


# Items ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shape:
    """How foreign records become items.

    Attributes:
        text_key: The payload key whose text becomes the content (`storage.payload`); None: all is metadata.
        unit_length: Refuse vectors of another length than 1: the source ranks by distance or dot product, and
            only for these does that give the order of cosines.
        limits: The largest memory that is taken.
    """

    text_key: str | None = "text"
    unit_length: str | None = None
    limits: Limits = field(default=LIMITS)


def payload_item(item_id: str, payload: Any, vector: Any, shape: Shape) -> Item:
    """Return the item of an id, a payload and a vector (or None). Raises InvalidInputError with the reason."""
    payload = {} if payload is None else payload
    if shape.text_key is None:
        content, metadata_json = "", encode_object(payload, "payload")
    else:
        content, metadata_json = split(payload, shape.text_key)
    item = Item(
        id=item_id,
        content=content,
        metadata_json=metadata_json,
        vector=None if vector is None else to_vector(vector, shape),
    )
    check_item(item, shape.limits)
    return item


def to_vector(numbers: Any, shape: Shape) -> Vector:
    """Return (D,) float32. Raises InvalidInputError for what has no direction, or is no vector."""
    try:
        given = np.asarray(numbers)
    except (TypeError, ValueError):
        raise InvalidInputError("the vector is not a list of numbers") from None
    if given.ndim != 1 or not given.size or given.dtype.kind not in "fiu":
        raise InvalidInputError(f"the vector is not a list of numbers (shape {list(given.shape)}, {given.dtype})")
    if given.size > shape.limits.dimension:
        raise InvalidInputError(f"the vector has {given.size} numbers, at most {shape.limits.dimension} are taken")
    with np.errstate(over="ignore"):
        vector = given.astype(np.float32)
    if not np.isfinite(vector).all():
        raise InvalidInputError("the vector holds numbers that are not finite as float32")
    wide = vector.astype(np.float64)
    length = float(np.sqrt(wide.dot(wide)))
    if length == 0.0:
        raise InvalidInputError("the vector is zero: it has no direction, so cosine similarity is undefined")
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        raise InvalidInputError(f"the vector's length {length:.3g} lies outside [{MIN_LENGTH}, {MAX_LENGTH}]")
    if shape.unit_length is not None and abs(length - 1.0) > UNIT_TOLERANCE:
        raise InvalidInputError(
            f"the vector's length is not 1: the source ranks by {shape.unit_length}, T4DX by cosine, and these agree "
            "only at length 1; load with allow_metric_change=True to accept another order"
        )
    return vector


def check_item(item: Item, limits: Limits) -> None:
    """Raise InvalidInputError, with the reason, for an item that the daemon would not have taken."""
    _check_text("the id", item.id, MAX_ID_BYTES, least=1)
    if len(item.content) > limits.content_chars:
        raise InvalidInputError(
            f"the content has {len(item.content)} characters, at most {limits.content_chars} are taken"
        )
    _check_text("the content", item.content, limits.content_bytes)
    for name, size, limit in (
        ("metadata", len(item.metadata_json), limits.metadata_bytes),
        ("value", len(item.value_json), limits.value_bytes),
    ):
        if size > limit:
            raise InvalidInputError(f"the {name} has {size} bytes of JSON, at most {limit} are taken")
    if item.kind not in KINDS:
        raise InvalidInputError(f"the kind is {item.kind!r}; it must be one of {', '.join(KINDS)}")
    for column in ENTITY_COLUMNS:
        label = getattr(item, column)
        if label is not None:
            _check_text(column, label, limits.label_bytes, least=1)
    for column, labels, most in (
        ("namespace", item.namespace, limits.namespace_labels),
        ("categories", item.categories, limits.categories),
    ):
        if len(labels) > most:
            raise InvalidInputError(f"{column} has {len(labels)} labels, at most {most} are taken")
        for label in labels:
            _check_text(f"a label of {column}", label, limits.label_bytes, least=1)
    if item.valid_to <= item.valid_from:
        raise InvalidInputError("valid_to is not later than valid_from")


def _check_text(what: str, text: str, most: int, *, least: int = 0) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInputError(f"{what} holds a lone surrogate, which is not valid Unicode") from None
    if not least <= size <= most:
        raise InvalidInputError(f"{what} has {size} bytes of UTF-8, {least} to {most} are taken")


def value_json(value: Any) -> bytes:
    """Return the JSON text of any value. Raises InvalidInputError."""
    return encode(value, "value")


def checked_position(after: Position, names: Mapping[str, Callable[[Any], bool]]) -> Position:
    """Return a position that has these fields and they hold. Raises InvalidInputError for another source's."""
    if after.keys() == names.keys() and all(holds(after[name]) for name, holds in names.items()):
        return after
    raise InvalidInputError(f"this is no position in this source: {after}", position=after)
