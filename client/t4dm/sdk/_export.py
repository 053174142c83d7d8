"""Read an export as it arrives.

{"space": {"name": …, "embedder": …, …}}     before the memories of each space
{"id": …, "space": "name", …}                a memory
{"edge": {"source": …, …}, "space": "name"}  a link, after the memories of its space
{"message": {"session_id": …, "seq": …, …}}  a message of a session, after all memories
{"end": true, "count": 2, "edges": 1, "messages": 1}   the last line: how many of each; without it, some are missing
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import pydantic

from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk import session_models as s
from t4dm.sdk._validation import sentence
from t4dm.sdk.errors import ProtocolError, TransportError

_END: Final = b'{"end"'
_MESSAGE: Final = b'{"message":'
_SPACE: Final = re.compile(rb'\s*\{\s*"space"\s*:\s*\{')
_EDGE: Final = re.compile(rb'\s*\{\s*"edge"\s*:\s*\{')


class _End(pydantic.BaseModel):
    end: bool
    count: int
    messages: int = 0
    edges: int = 0


class _SpaceLine(pydantic.BaseModel):
    space: m.Space


class _MessageLine(pydantic.BaseModel):
    message: s.RestoredMessage


class _EdgeLine(pydantic.BaseModel):
    edge: g.Edge
    space: str


@dataclass(frozen=True, slots=True)
class ExportLine:
    """One line of an export: its bytes without the newline, and what they say; None for the last line."""

    raw: bytes
    says: m.Memory | m.Space | g.Edge | s.RestoredMessage | None


class ExportReader:
    """Turn chunks of bytes into lines, and notice a stream that was cut.

    Lines end with a newline byte and nothing else: JSON may hold U+2028 and its kin, at which the splitters
    of `str` and httpx break lines too.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._rest = bytearray()
        self._count = self._edges = self._messages = 0
        self._is_complete = False

    def feed(self, chunk: bytes) -> list[ExportLine]:
        """Return the lines that are complete with this chunk."""
        searched = len(self._rest)
        self._rest += chunk
        if self._rest.find(b"\n", searched) < 0:
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        return [self._read(line) for line in lines if line.strip()]

    def finish(self) -> list[ExportLine]:
        """Return the last line if it came without a newline. Raises TransportError if the end did not arrive."""
        rest = bytes(self._rest)
        last = [self._read(rest)] if rest.startswith(_END) else []
        if not self._is_complete:
            raise self.cut()
        return last

    def cut(self) -> TransportError:
        """Return the error for a stream that ended before its end."""
        return TransportError(
            f"the export from {self._url} was cut off, with {self._count} memories received; run it again",
            code="export_cut",
            details={"received": self._count},
        )

    def _read(self, line: bytes) -> ExportLine:
        try:
            if line.startswith(_END):
                self._check_end(_End.model_validate_json(line))
                return ExportLine(line, None)
            if _SPACE.match(line):
                return ExportLine(line, _SpaceLine.model_validate_json(line).space)
            if line.startswith(_MESSAGE):
                message = _MessageLine.model_validate_json(line).message
                self._messages += 1
                return ExportLine(line, message)
            if _EDGE.match(line):
                edge = _EdgeLine.model_validate_json(line).edge
                self._edges += 1
                return ExportLine(line, edge)
            memory = m.Memory.model_validate_json(line)
        except pydantic.ValidationError as error:
            raise ProtocolError(
                f"what follows {self._count} memories in the export from {self._url} is not one: {sentence(error)}",
                code="protocol_error",
                details={"line": self._count + 1},
            ) from error
        self._count += 1
        return ExportLine(line, memory)

    def _check_end(self, end: _End) -> None:
        if not end.end or (end.count, end.edges) != (self._count, self._edges):
            raise TransportError(
                f"the export from {self._url} says it holds {end.count} memories and {end.edges} links, "
                f"{self._count} and {self._edges} arrived; run it again",
                code="export_cut",
                details={"received": self._count, "promised": end.count},
            )
        if end.messages != self._messages:
            raise TransportError(
                f"the export from {self._url} says it holds {end.messages} messages, {self._messages} arrived; "
                "run it again",
                code="export_cut",
                details={"received": self._messages, "promised": end.messages},
            )
        self._is_complete = True
