"""The parts of a large JSON document, one at a time, without holding the rest.

The document is an array, or an object some of whose fields are arrays. It is cut at the commas of the outermost
arrays; each part is then decoded by itself. So memory is bounded by the largest part, and a part that is not JSON (a
NaN, a byte that is not UTF-8) costs that part only: the cut needs nothing but strings and brackets. A parser that
decodes while it reads has to end the file there. Where brackets do not match, or the document ends too early, the
place of the next part is not known any more, and the file ends with a SourceError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, NoReturn

from t4dm_daemon.core.errors import InvalidInputError, SourceError

MAX_PART_BYTES: Final = 256 * 1024 * 1024
_CHUNK: Final = 1024 * 1024
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},:"]', re.DOTALL)
"""A string, or what structures; a lone quote begins a string whose end is not there yet."""
_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_CLOSES: Final = {b"}": b"{", b"]": b"["}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the document, undecoded.

    Attributes:
        field: The field of the outermost object; "" in an outermost array.
        number: Its place in the array, from 1; 0 for a field that is no array, or an empty one (`[]`).
        raw: Its text.
    """

    field: str
    number: int
    raw: bytes

    def value(self) -> Any:
        """Return it decoded. Raises InvalidInputError with the reason."""
        return decoded(self.raw)


def decoded(raw: bytes) -> Any:
    """Return what JSON text says. Raises InvalidInputError with the reason."""
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"not UTF-8: byte {error.start} cannot be decoded") from None
    except RecursionError:
        raise InvalidInputError("nested too deeply") from None
    except ValueError as error:
        raise InvalidInputError(f"not JSON: {error}") from None


def parts(stream: BinaryIO, name: str) -> Iterator[Part]:
    """Yield the parts of a document. Raises SourceError, which says after which part it cannot go on."""
    return _Cutter(stream, name).parts()


class _Cutter:
    """One pass. `_held` is a window on the document; what lies before `_start` may be dropped from it."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._held = b""
        self._start = 0
        """Where the value begins that is being read."""
        self._at = 0
        """Where reading goes on."""
        self._place = ""

    def parts(self) -> Iterator[Part]:
        opener = self._opener()
        yield from self._array("") if opener == b"[" else self._object()
        rest = self._held[self._at :]
        while not rest.strip():
            rest = self._stream.read(_CHUNK)
            if not rest:
                return
        self._fail("there is more after its end")

    def _array(self, field: str) -> Iterator[Part]:
        number, closer = 0, b""
        while closer != b"]":
            raw, closer = self._value(b",]")
            if raw:
                number += 1
                self._place = f"{field} {number}".strip()
                yield Part(field, number, raw)
        if field and not number:
            yield Part(field, 0, b"[]")

    def _object(self) -> Iterator[Part]:
        token = b","
        while token != b"}":
            self._start = self._at
            key = self._token()
            if key == b"}":
                return
            if token != b"," or not key.startswith(b'"') or self._token() != b":":
                self._fail('a field is "name": value')
            try:
                name = str(decoded(key))
            except InvalidInputError as error:
                self._fail(error.message)
            if self._next_byte() == b"[":
                self._at += 1
                yield from self._array(name)
                self._start = self._at
                token = self._token()
                if token not in (b",", b"}"):
                    self._fail(f"{token[:20]!r} where a comma belongs")
            else:
                raw, token = self._value(b",}")
                yield Part(name, 0, raw)

    def _value(self, ends: bytes) -> tuple[bytes, bytes]:
        """Return the text up to one of `ends` outside of all brackets, and that end."""
        self._start = self._at
        opened = bytearray()
        while True:
            token = self._token()
            if not opened and token in ends:
                return self._held[self._start : self._at - 1].strip(), token
            if token in (b"[", b"{"):
                opened += token
            elif token in _CLOSES and (not opened or opened.pop() != ord(_CLOSES[token])):
                self._fail(f"{token.decode()} closes what it did not open")

    def _token(self) -> bytes:
        """Return the next token; `_at` stands behind it."""
        while True:
            found = _TOKEN.search(self._held, self._at)
            if found is not None and found[0] != b'"':
                self._at = found.end()
                return found[0]
            self._at = len(self._held) if found is None else found.start()
            self._more()

    def _next_byte(self) -> bytes:
        """Return the next byte that is no space; `_at` stands before it."""
        self._start = self._at
        while not (rest := self._held[self._at :].lstrip()):
            self._more()
        self._at = len(self._held) - len(rest)
        return rest[:1]

    def _opener(self) -> bytes:
        """Return the first bracket, past a byte order mark; `_at` stands behind it."""
        while len(self._held) < len(_BOM) and (data := self._stream.read(_CHUNK)):
            self._held += data
        if self._held[:2] in _UTF16:
            self._fail("it is UTF-16; save it as UTF-8")
        self._held = self._held.removeprefix(_BOM)
        while not self._held.strip():
            data = self._stream.read(_CHUNK)
            if not data:
                self._fail("the file is empty")
            self._held = data
        opener = self._next_byte()
        if opener not in (b"[", b"{"):
            self._fail("it is not JSON: it begins with neither [ nor {")
        self._at += 1
        return opener

    def _more(self) -> None:
        """Read on: as much again as is held, so that a long part is not copied once for each chunk."""
        self._held, self._at, self._start = self._held[self._start :], self._at - self._start, 0
        if len(self._held) > MAX_PART_BYTES:
            self._fail(f"a part is larger than {MAX_PART_BYTES:,} bytes")
        data = self._stream.read(max(_CHUNK, len(self._held)))
        if not data:
            self._fail("the file ends in the middle")
        self._held += data

    def _fail(self, reason: str) -> NoReturn:
        after = f", after entry {self._place}" if self._place else ""
        raise SourceError(f"{self._name}{after}: {reason}", file=self._name, after=self._place)


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")
