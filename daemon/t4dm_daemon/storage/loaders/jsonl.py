"""JSON lines as a source: T4DM's own export, or one plain object a line.

An export begins each space with `{"space": {…}}`, has one memory a line, then one link a line (`{"edge": {…}}`, passed
over: they are no vectors), and ends with `{"end": true, "count": n}`; without that line it was cut short, which is
said at the end. What a memory says about its storage (`version`,
`recorded_at`, `status`) is the new space's own business and not read; messages of sessions are passed over.

A plain line has any fields of a memory, and these by the names that other tools use:

    content   text                 a string
    vector    embedding            a list of numbers, or base64 of little-endian float32
    metadata  payload, metadatas   an object; unlike a payload elsewhere, its `text` stays in it

A line without an id gets one that is made from the line, so that it is the same in every run. An integer id
becomes its decimal digits. Of lines with the same id the last one stays. A field that is none of these is refused,
or goes into the metadata with `unknown="metadata"`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from t4dm_daemon.core.errors import InvalidInputError, SourceError
from t4dm_daemon.core.ids import digest_id
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.loaders.base import (
    LIMITS,
    Batch,
    ClosingSource,
    Found,
    Limits,
    Position,
    Refusal,
    Shape,
    Vector,
    checked_position,
)
from t4dm_daemon.storage.loaders.json_fields import Unknown, memory, own_names

MAX_LINE_BYTES: Final = 32 * 1024 * 1024
"""More than the largest memory: content, metadata, value, and 16 384 numbers of 20 digits."""
MAX_BATCH_BYTES: Final = 16 * 1024 * 1024


class JsonlSource(ClosingSource):
    """Read a file of JSON lines.

    Args:
        path: The file; it is read as it is when its turn comes, so leave it alone meanwhile.
        space: Of an export with several spaces, the one to read; the others' lines are passed over. Without it
            the first space named is read, and a line of another one is refused.
        unknown: What becomes of a field that no memory has.
        limits: The largest memory that is taken.

    Raises:
        SourceError: The file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        space: str | None = None,
        unknown: Unknown = "refuse",
        limits: Limits = LIMITS,
    ) -> None:
        self._path = path
        self._space = space
        self._unknown = unknown
        self._shape = Shape(limits=limits)
        self._open().close()

    @property
    def name(self) -> str:
        """The file and the space of it."""
        return f"jsonl {self._path.resolve()}" + (f" space {self._space}" if self._space else "")

    @property
    def dimension(self) -> int | None:
        """None: only reading tells."""
        return None

    def count(self) -> int | None:
        """Return None: only reading tells."""
        return None

    def search(self, vector: Vector, k: int) -> list[Found] | None:  # noqa: ARG002 - a file cannot search
        """Return None: a file cannot search."""
        return None

    def batches(self, size: int, *, after: Position | None = None) -> Iterator[Batch]:
        """Yield the memories of the file; see `Source.batches`.

        Raises:
            InvalidInputError: At the end: it is an export that was cut short. All that is there was yielded.
        """
        reading = _Reading(self._space, self._unknown, self._shape)
        with self._open() as stream:
            if after is not None:
                reading.go_on(after)
                _seek(stream, after["offset"])
            items: list[Item] = []
            refused: list[Refusal] = []
            begun = stream.tell()
            for line in self._lines(stream, reading):
                if line is None:
                    refused.append(Refusal(reading.place, f"the line is longer than {MAX_LINE_BYTES} bytes"))
                else:
                    try:
                        item = reading.item(line)
                    except InvalidInputError as error:
                        refused.append(Refusal(reading.last_id or reading.place, error.message))
                    else:
                        items += [] if item is None else [item]
                if len(items) + len(refused) >= size or stream.tell() - begun >= MAX_BATCH_BYTES:
                    yield Batch(items, refused, reading.position(stream.tell()))
                    items, refused, begun = [], [], stream.tell()
            if items or refused:
                yield Batch(items, refused, reading.position(stream.tell()))
        reading.check_complete(self._path)

    def _open(self) -> IO[bytes]:
        try:
            return self._path.open("rb")
        except OSError as error:
            raise SourceError(
                f"{self._path} cannot be read: {error.strerror or error}", file=str(self._path)
            ) from error

    def _lines(self, stream: IO[bytes], reading: _Reading) -> Iterator[bytes | None]:
        """Yield lines; None for one that is too long, which is passed over without being held."""
        while True:
            try:
                line = stream.readline(MAX_LINE_BYTES)
                is_whole = len(line) < MAX_LINE_BYTES or line.endswith(b"\n")
                rest = line
                while not is_whole and rest and not rest.endswith(b"\n"):
                    rest = stream.readline(MAX_LINE_BYTES)
            except OSError as error:
                raise SourceError(f"{self._path} cannot be read: {error}", file=str(self._path)) from error
            if not line:
                return
            reading.number += 1
            if not is_whole:
                yield None
            elif line.strip():
                yield line


class _Reading:
    """What one pass over a file has seen."""

    def __init__(self, space: str | None, unknown: Unknown, shape: Shape) -> None:
        self._space = space
        self._is_chosen = space is not None
        self._unknown = unknown
        self._shape = shape
        self.number = 0
        self.last_id = ""
        self._memories = 0
        self._is_open = False
        """A space was named, and its end line has not come yet."""

    @property
    def place(self) -> str:
        return f"line {self.number}"

    def position(self, offset: int) -> Position:
        return {
            "offset": offset,
            "line": self.number,
            "memories": self._memories,
            "is_open": self._is_open,
            "space": self._space,
        }

    def go_on(self, after: Position) -> None:
        checked_position(
            after,
            {
                "offset": lambda one: type(one) is int and one >= 0,
                "line": lambda one: type(one) is int and one >= 0,
                "memories": lambda one: type(one) is int and one >= 0,
                "is_open": lambda one: type(one) is bool,
                "space": lambda one: one is None or (isinstance(one, str) and one == (self._space or one)),
            },
        )
        self.number, self._memories = after["line"], after["memories"]
        self._is_open, self._space = after["is_open"], after["space"]

    def item(self, line: bytes) -> Item | None:
        """Return the line's memory; None for a line that is none, or one of a space that was not asked for."""
        self.last_id = ""
        given = _document(line, is_first=self.number == 1)
        if given.keys() - {"edges", "messages"} == {"end", "count"}:
            self._end(given)
            return None
        if given.keys() == {"message"} and isinstance(given["message"], dict):
            return None  # of a session, which is no memory
        space = given.get("space")
        if isinstance(given.get("edge"), dict) and given.keys() == {"edge", "space"}:
            return None
        if isinstance(space, dict) and given.keys() == {"space"}:
            self._is_open = True
            if self._space is None and isinstance(space.get("name"), str):
                self._space = space["name"]
            return None
        self._memories += 1
        if type(given.get("id")) in (str, int):
            self.last_id = str(given["id"])
        if not self._belongs(space):
            return None
        return memory(self._renamed(given, line), self._shape)

    def _belongs(self, space: Any) -> bool:
        if space is None or space == self._space:
            return True
        if not isinstance(space, str):
            raise InvalidInputError("`space` is the name of a space")
        if self._space is None:
            self._space = space
            return True
        if self._is_chosen:
            return False
        raise InvalidInputError(f"it belongs to space {space!r}, and {self._space!r} is being read; load each by name")

    def _renamed(self, given: dict[str, Any], line: bytes) -> dict[str, Any]:
        """Return the fields by their own names, with an id."""
        identifier = given.get("id")
        if type(identifier) is int:
            identifier = str(identifier)
        elif identifier is None:
            identifier = digest_id(line.strip())
        elif not isinstance(identifier, str):
            raise InvalidInputError(f"the id is neither a string nor an integer: {identifier!r}")
        self.last_id = identifier
        return own_names({**given, "id": identifier}, self._unknown)

    def _end(self, given: dict[str, Any]) -> None:
        if given["end"] is not True or given["count"] != self._memories:
            raise InvalidInputError(
                f"the export says it holds {given['count']} memories, {self._memories} are there: it was cut"
            )
        self._is_open, self._memories = False, 0

    def check_complete(self, path: Path) -> None:
        if self._is_open:
            raise InvalidInputError(
                f"{path}: this export was cut short: the end line is missing after {self._memories} memories",
                file=str(path),
                memories=self._memories,
            )


def _seek(stream: IO[bytes], offset: int) -> None:
    """Go on at the beginning of a line. Raises InvalidInputError when there is none."""
    stream.seek(max(0, offset - 1))
    before = stream.read(1)
    size = stream.seek(0, 2)
    if offset and (offset > size or (before != b"\n" and offset < size)):
        raise InvalidInputError(f"no line begins at byte {offset}: the file was changed since", offset=offset)
    stream.seek(offset)


def _document(line: bytes, *, is_first: bool) -> dict[str, Any]:
    try:
        document = json.loads(line.decode("utf-8-sig" if is_first else "utf-8"), parse_constant=_not_json)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"not UTF-8: byte {error.start} cannot be decoded") from None
    except RecursionError:
        raise InvalidInputError("nested too deeply") from None
    except ValueError as error:
        raise InvalidInputError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInputError("a line is a JSON object")
    return document


def _not_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")
