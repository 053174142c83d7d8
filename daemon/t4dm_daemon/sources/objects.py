"""The JSON objects of a document, each with its place: of a large JSON file, or one a line."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from t4dm_daemon.core.errors import InvalidInputError, SourceError
from t4dm_daemon.sources.entries import Unstored
from t4dm_daemon.sources.files import Document
from t4dm_daemon.sources.json_parts import decoded, parts

_HEAD_BYTES: Final = 64 * 1024
MAX_LINE_BYTES: Final = 32 * 1024 * 1024
"""More than the largest memory."""


@dataclass(frozen=True, slots=True)
class Given:
    """An object of the source.

    Attributes:
        place: Where it is.
        field: The field of the outermost object whose array it is in; "" elsewhere.
        fields: What it says.
        raw: As it was written.
    """

    place: str
    field: str
    fields: dict[str, Any]
    raw: bytes


def json_objects(document: Document, noun: str, *, of: Collection[str] = ()) -> Iterator[Given | Unstored]:
    """Yield the objects of an array, or of those fields of an object that are named.

    What cannot be read is told in its place; a document that breaks off, or holds none of the fields, at the end.
    """
    fields: set[str] = set()
    with closing(document.open()) as stream:
        try:
            for part in parts(stream, document.name):
                fields.add(part.field)
                if part.field and part.field not in of:
                    continue
                place = f"{document.name}, {part.field or noun} {part.number or ''}".rstrip()
                if part.number or part.raw not in (b"[]", b"null"):
                    yield _given(place, part.field, part.raw)
        except SourceError as error:
            yield _broken(document, error)
            return
    if fields and not fields & {"", *of}:
        wanted = f"nothing under {', '.join(of)}" if of else "an object, where an array belongs"
        yield Unstored(document.name, f"{wanted}; it holds {', '.join(sorted(fields))[:200]}")


def json_lines(document: Document) -> Iterator[Given | Unstored]:
    """Yield the objects of a file with one a line; empty lines are passed over."""
    is_empty = True
    with closing(document.open()) as stream:
        try:
            for number, raw in _lines(stream):
                place = f"{document.name}, line {number}"
                is_empty = is_empty and not (raw is None or raw.strip())
                if raw is None:
                    yield Unstored(place, f"the line is longer than {MAX_LINE_BYTES:,} bytes")
                elif raw.strip():
                    yield _given(place, "", raw.strip())
        except SourceError as error:
            yield _broken(document, error)
            return
    if is_empty:
        yield Unstored(document.name, "the file is empty", is_wrong=False)


def is_whole(document: Document, *, of: Collection[str] = ()) -> bool:
    """Say whether a file is one JSON document, an array or an object with such fields, rather than one a line."""
    with closing(document.open()) as stream:
        head = stream.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"["):
        return True
    if not (head.startswith(b"{") and of):
        return False
    first, newline, _ = head.partition(b"\n")
    try:
        fields = decoded(first.strip())
    except InvalidInputError:  # it goes on in the next line, or is long
        names = "|".join(map(re.escape, of)).encode()
        return bool(newline) or re.search(rb'"(' + names + rb')"\s*:\s*\[', first) is not None
    return isinstance(fields, dict) and not fields.keys().isdisjoint(of)


def label(value: object) -> str | None:
    """Return what can be the label of an owner: a text, or a number as text; None for nothing."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int):
        return str(value) or None
    return None


def listed(value: object) -> list[Any]:
    """Return an array; an empty one for anything else, where what it holds is only beside the point."""
    return value if isinstance(value, list) else []


def _given(place: str, field: str, raw: bytes) -> Given | Unstored:
    try:
        value = decoded(raw)
    except InvalidInputError as error:
        return Unstored(place, error.message)
    if not isinstance(value, dict):
        return Unstored(place, f"it is {_kind(value)}, not an object")
    return Given(place, field, value, raw)


def _broken(document: Document, error: SourceError) -> Unstored:
    reason = error.message.removeprefix(document.name).lstrip(",: ")
    return Unstored(document.name, f"{reason}; what follows was not read")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {"str": "a text", "list": "an array", "bool": "true or false"}.get(type(value).__name__, "a number")


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yield numbered lines; None for one that is too long, which is passed over without being held."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES):
        number += 1
        if number == 1:
            if line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise SourceError("it is UTF-16; save it as UTF-8")
            line = line.removeprefix(b"\xef\xbb\xbf")
        if len(line) < MAX_LINE_BYTES or line.endswith(b"\n"):
            yield number, line
            continue
        while (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
            pass
        yield number, None
