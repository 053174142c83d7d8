"""Requests of a size that a daemon takes, and answers soon: many records, or many ids, in parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from t4dm.sdk import models as m

T = TypeVar("T")

BODY_BYTES: Final = 8 * 1024 * 1024
"""A request ends here, well below the 32 MiB that a daemon takes: answers, too, stay prompt."""
_OVERHEAD_BYTES: Final = 200
_IDS: Final = 1000


def records_in_requests(records: Sequence[m.RecordIn], *, most: int = m.MAX_BATCH) -> Iterator[list[m.RecordIn]]:
    """Yield the records in parts that fit into a request each, of at most so many."""
    return in_requests(((one, _size_of(one)) for one in records), most=most)


def in_requests(sized: Iterable[tuple[T, int]], *, most: int = m.MAX_BATCH) -> Iterator[list[T]]:
    """Yield values, given with their sizes in bytes, in parts; a value that is too large by itself is a part."""
    part: list[T] = []
    size_bytes = 0
    for value, of_one in sized:
        if part and (len(part) == most or size_bytes + of_one > BODY_BYTES):
            yield part
            part, size_bytes = [], 0
        part.append(value)
        size_bytes += of_one
    if part:
        yield part


def size_of_json(value: Any) -> int:
    """Return about how many bytes a value takes as JSON; rather too many."""
    return 2 * len(repr(value))


def ids_in_requests(ids: Sequence[str], *, name: str) -> Iterator[list[str]]:
    """Yield ids in parts.

    Args:
        ids: A list of them.
        name: What the caller's argument is called.

    Raises:
        ValueError: It is one text, which would be taken for a list of its letters.
    """
    if isinstance(ids, str):
        raise ValueError(f"{name} is a list of ids, not one id")
    for at in range(0, len(ids), _IDS):
        yield list(ids[at : at + _IDS])


def _size_of(record: m.RecordIn) -> int:
    vector_bytes = len(record.vector or b"")
    texts = 2 * (len(record.content.encode()) + vector_bytes)
    return _OVERHEAD_BYTES + texts + size_of_json(record.metadata) + size_of_json(record.value)
