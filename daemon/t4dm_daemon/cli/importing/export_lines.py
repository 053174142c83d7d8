"""Read memories and links from JSON lines and store them in batches.

Running an import again does no harm: a batch travels under a key made from its content, so one that was stored
is not stored a second time; and a memory that has an id, or a text that is known, is not stored twice either.
The daemon remembers keys for a day, whatever happened to the memories since; so when it says that a batch was
stored before, the memories are looked up, and the batch is sent afresh unless all stand as they were stored.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any, Final, cast

import pydantic

from t4dm.sdk import ConflictError, NotFoundError, T4DMClient, T4DMError, ValidationError
from t4dm.sdk._validation import sentence
from t4dm.sdk.graph_models import EdgeIn, LinkRequest
from t4dm.sdk.models import (
    BatchAnswer,
    BatchRequest,
    GetRequest,
    Memory,
    OnConflict,
    RecordIn,
    Space,
    SpaceRequest,
)
from t4dm.sdk.session_models import RestoredMessage, RestoreRequest
from t4dm_daemon.cli import output
from t4dm_daemon.cli.progress import Advance

_MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
"""A quarter of the largest body the daemon takes."""

_TAKEN: Final = frozenset(RecordIn.model_fields)
_ANSWERED: Final = frozenset(Memory.model_fields) - _TAKEN
"""What an export says about a memory and an import leaves to the daemon: version, recorded_at, …"""


_SUBSTANCE: Final = frozenset({"content", "value", "metadata", "vector"})
"""A line holds at least one of these, or it is no memory."""


@dataclass(frozen=True, slots=True)
class SpaceLine:
    """What an export says about a space, before its memories."""

    number: int
    space: Space


@dataclass(frozen=True, slots=True)
class Line:
    """One memory of the file."""

    number: int
    space: str
    record: RecordIn
    size_bytes: int
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MessageLine:
    """One message of a session."""

    number: int
    message: RestoredMessage
    size_bytes: int


@dataclass(frozen=True, slots=True)
class EdgeLine:
    """One link of the file, after the memories of its space."""

    number: int
    space: str
    edge: EdgeIn
    size_bytes: int


@dataclass(slots=True)
class Report:
    """What became of a file."""

    lines: int = 0
    created: int = 0
    updated: int = 0
    duplicate: int = 0
    messages: int = 0
    """Messages of sessions, put back or there already."""
    linked: int = 0
    unlinked: int = 0
    missing: set[str] = field(default_factory=set[str])
    """Ends of links that do not exist; those links are left out."""
    ignored: Counter[str] = field(default_factory=Counter[str])

    @property
    def stored(self) -> int:
        """How many memories of the file are in the store for certain."""
        return self.created + self.updated + self.duplicate

    def as_json(self, *, dry_run: bool) -> dict[str, Any]:
        return {
            "lines": self.lines,
            "created": self.created,
            "updated": self.updated,
            "duplicate": self.duplicate,
            "messages": self.messages,
            "linked": self.linked,
            "links_left_out": self.unlinked,
            "ignored_fields": dict(self.ignored),
            "dry_run": dry_run,
        }

    def sentence(self, *, dry_run: bool) -> str:
        if dry_run:
            return f"{output.memories(self.lines)}{self._and_more} can be imported; nothing was stored"
        stored = f"{self.created:,} created, {self.updated:,} updated, {self.duplicate:,} there already"
        return f"{stored}{self._and_more}"

    @property
    def _and_more(self) -> str:
        links = f", {output.links(self.linked)}" if self.linked else ""
        return links + (f", {output.messages(self.messages)}" if self.messages else "")


class LineReader:
    """Yield the memories, links and spaces of a file, checked; end lines are checked too. One pass.

    Exports may follow each other. `is_cut` says after the pass that the file is an export without its end line.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._count = self._edges = self._messages = 0
        self._has_spaces = False
        self._has_ended = False

    @property
    def is_cut(self) -> bool:
        return self._has_spaces and not self._has_ended

    def __iter__(self) -> Iterator[Line | EdgeLine | SpaceLine | MessageLine]:
        """Raises T4DMError with the line's number."""
        for number, raw in enumerate(self._stream, start=1):
            if not raw.strip():
                continue
            try:
                given = _document(raw, number)
                if given.keys() - {"edges", "messages"} == {"end", "count"}:
                    self._check_end(given)
                    continue
                self._has_ended = False
                if given.keys() == {"message"}:
                    yield self._message(number, given["message"], len(raw))
                    continue
                line = self._line(number, given, len(raw))
            except UnicodeDecodeError as error:
                raise _wrong(number, f"not UTF-8: byte {error.start} cannot be decoded") from error
            except pydantic.ValidationError as error:
                raise _wrong(number, sentence(error)) from error
            except json.JSONDecodeError as error:
                if self._has_spaces and not raw.endswith(b"\n"):  # the stream broke off within a line
                    self._has_ended = False
                    return
                raise _wrong(number, str(error)) from error
            except ValueError as error:
                raise _wrong(number, str(error)) from error
            except RecursionError as error:
                raise _wrong(number, "nested too deeply") from error
            yield line

    def _check_end(self, given: dict[str, Any]) -> None:
        if given["end"] is not True or given["count"] != self._count:
            raise ValueError(f"the file was cut: it says it holds {given['count']}, {self._count} are there")
        if given.get("edges", 0) != self._edges:
            raise ValueError(f"the file was cut: it says it holds {given['edges']} links, {self._edges} are there")
        if given.get("messages", 0) != self._messages:
            raise ValueError(
                f"the file was cut: it says it holds {given['messages']} messages, {self._messages} are there"
            )
        self._count = self._edges = self._messages = 0
        self._has_ended = True

    def _message(self, number: int, given: Any, size_bytes: int) -> MessageLine:
        self._has_spaces = True  # only an export has such lines
        message = RestoredMessage.model_validate(given)
        self._messages += 1
        return MessageLine(number, message, size_bytes)

    def _line(self, number: int, given: dict[str, Any], size_bytes: int) -> Line | EdgeLine | SpaceLine:
        space = given.get("space")
        if isinstance(space, dict) and len(given) == 1:
            self._has_spaces = True
            return SpaceLine(number, Space.model_validate(space))
        if not (space is None or (isinstance(space, str) and space)):
            raise ValueError("space is the name of a space")
        if isinstance(given.get("edge"), dict) and given.keys() <= {"edge", "space"}:
            self._edges += 1
            return EdgeLine(number, space or "default", EdgeIn.model_validate(given["edge"]), size_bytes)
        if given.keys().isdisjoint(_SUBSTANCE):
            raise ValueError("no content, value, metadata or vector")
        record = RecordIn.model_validate({name: value for name, value in given.items() if name in _TAKEN})
        is_bare = self._has_spaces and "vector" in given and record.vector is None and "embed" not in given
        if is_bare and record.content:  # an export with vectors says so of what was stored without one
            record = record.model_copy(update={"embed": False})
        self._count += 1
        return Line(
            number=number,
            space=space or "default",
            record=record,
            size_bytes=size_bytes,
            ignored=tuple(given.keys() - _TAKEN - _ANSWERED),
        )


class Importer:
    """Store lines batch by batch and count what became of them; without a client, only count."""

    def __init__(
        self, client: T4DMClient | None, *, space: str | None, batch_size: int, on_conflict: str, advance: Advance
    ) -> None:
        self._client = client
        self._space = space
        self._batch_size = batch_size
        self._on_conflict = cast("OnConflict", on_conflict)
        self._advance = advance
        self._anew: dict[str, str] = {}
        """Spaces of the file whose vectors are left out, and the sentence that says why, until it was said."""
        self._messages: list[MessageLine] = []
        """What is to be put back next."""
        self.report = Report()

    def run(self, lines: LineReader) -> None:
        """Import all.

        Raises:
            T4DMError: It failed; the message says how much is stored.
            KeyboardInterrupt: It was stopped; so does this.
        """
        try:
            for batch in self._batches(self._fitted(self._memories(lines))):
                memories = [line for line in batch if isinstance(line, Line)]
                if memories:
                    self._store(memories)
                else:
                    self._link([line for line in batch if isinstance(line, EdgeLine)])
                self.report.lines += len(memories)
                for line in memories:
                    self.report.ignored.update(line.ignored)
                self._advance(len(memories), sum(line.size_bytes for line in batch))
            self._restore()
        except T4DMError as error:
            if self._client is not None:
                error.message = f"{error.message} ({self._so_far()})"
                error.details["stored"] = self.report.stored
            raise
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped: {self._so_far()}") from None
        if lines.is_cut:
            count = self.report.lines
            became = "are there" if self._client is None else "was imported" if count == 1 else "were imported"
            raise T4DMError(
                f"this export was cut short: {output.memories(count)} {became}, the end line is missing",
                code="export_cut",
                details=self.report.as_json(dry_run=self._client is None),
            )

    def _memories(
        self, lines: Iterable[Line | EdgeLine | SpaceLine | MessageLine]
    ) -> Iterator[Line | EdgeLine | SpaceLine]:
        """Yield all lines but those of messages, which are put back as they come."""
        size_bytes = 0
        for line in lines:
            if not isinstance(line, MessageLine):
                yield line
                continue
            if len(self._messages) == self._batch_size or size_bytes + line.size_bytes > _MAX_BATCH_BYTES:
                self._restore()
                size_bytes = 0
            self._messages.append(line)
            size_bytes += line.size_bytes

    def _restore(self) -> None:
        """Put the messages back that have come together. Raises T4DMError, which names their lines."""
        lines, self._messages = self._messages, []
        if not lines:
            return
        messages = [line.message for line in lines]
        if self._space is not None:
            messages = [one.model_copy(update={"space": self._space}) for one in messages]
        if self._client is not None:
            try:
                self._client.restore_messages(RestoreRequest(messages=messages))
            except T4DMError as error:
                error.message = f"lines {lines[0].number} to {lines[-1].number}: {error.message}"
                raise
        self.report.messages += len(lines)
        self._advance(0, sum(line.size_bytes for line in lines))

    def _so_far(self) -> str:
        return f"{output.memories(self.report.stored)} stored; running the import again is safe"

    def _fitted(self, lines: Iterable[Line | EdgeLine | SpaceLine]) -> Iterator[Line | EdgeLine]:
        """Prepare each space when it is named, and yield memories and links as they are to be stored there."""
        for line in lines:
            if isinstance(line, SpaceLine):
                self._prepare(line)
            elif isinstance(line, EdgeLine):
                yield line
            elif line.space in self._anew and line.record.vector is not None:
                if self._anew[line.space]:
                    output.note(self._anew[line.space])
                    self._anew[line.space] = ""
                yield replace(line, record=line.record.model_copy(update={"vector": None}))
            else:
                yield line

    def _prepare(self, line: SpaceLine) -> None:
        """Create the space as it was, and compare the models: vectors of two models cannot be compared."""
        if self._client is None:
            return
        exported, name = line.space, line.space.name if self._space is None else self._space
        if self._space is None:
            self._create(line)
        try:
            target = self._client.get_space(name)
        except NotFoundError:
            target = None
        if target is None:
            keeps = exported.embedder == "client"
        else:
            keeps = target.embedder == "client" or (exported.model is not None and exported.model == target.model)
        if keeps:
            self._anew.pop(exported.name, None)
            return
        model = (target and target.model) or "a model that is not known yet"
        said = f"space {name}: the file's vectors are of {exported.model or 'an unknown model'}, the space's of {model}"
        self._anew.setdefault(exported.name, f"{said}; the texts are embedded anew")

    def _create(self, line: SpaceLine) -> None:
        assert self._client is not None
        space = line.space
        settings: dict[str, Any] = {"embedder": space.embedder, "metric": space.metric}
        if space.embedder == "client" and space.dimension is not None:
            settings["dimension"] = space.dimension
        try:
            self._client.create_space(space.name, SpaceRequest(**settings))
        except ConflictError as error:
            error.message = (
                f"line {line.number}: space {space.name!r} is there with other settings than in the file "
                f"(embedder {space.embedder}, dimension {space.dimension}): {error.message}; "
                "put the memories elsewhere with --space"
            )
            raise

    def _batches(self, lines: Iterable[Line | EdgeLine]) -> Iterator[list[Line | EdgeLine]]:
        """Group lines in their order; a batch goes to one space, and holds memories or links."""
        batch: list[Line | EdgeLine] = []
        size_bytes = 0
        for line in lines:
            fits = size_bytes + line.size_bytes <= _MAX_BATCH_BYTES
            is_alike = not batch or (type(line) is type(batch[0]) and self._target(line) == self._target(batch[0]))
            if batch and not (fits and is_alike):
                yield batch
                batch, size_bytes = [], 0
            batch.append(line)
            size_bytes += line.size_bytes
            if len(batch) == self._batch_size:
                yield batch
                batch, size_bytes = [], 0
        if batch:
            yield batch

    def _target(self, line: Line | EdgeLine) -> str:
        return line.space if self._space is None else self._space

    def _store(self, batch: list[Line]) -> None:
        if self._client is None:
            return
        request = BatchRequest(
            records=[line.record for line in batch], space=self._target(batch[0]), on_conflict=self._on_conflict
        )
        keyed = request.model_copy(update={"idempotency_key": _key(request)})
        try:
            answer = self._client.batch(keyed)
            if answer.replayed:
                if self._stands(answer, request.space):
                    self.report.duplicate += len(batch)
                    return
                answer = self._client.batch(request)
        except T4DMError as error:
            error.message = f"{_where(batch)}: {error.message}"
            raise
        became = Counter(item.status for item in answer.results)
        self.report.created += became["created"]
        self.report.updated += became["updated"]
        self.report.duplicate += became["duplicate"]

    def _link(self, lines: list[EdgeLine]) -> None:
        """Make links; one whose end is missing is left out and counted."""
        edges = [line.edge for line in lines]
        while self._client is not None and edges:
            try:
                self._client.link(LinkRequest(edges=edges, space=self._target(lines[0])))
                break
            except T4DMError as error:
                missing = set(error.details.get("ids", ())) if isinstance(error, ValidationError) else set()
                there = [edge for edge in edges if missing.isdisjoint((edge.source, edge.target))]
                if len(there) == len(edges):
                    error.message = f"{_where(lines)}: {error.message}"
                    raise
                self.report.unlinked += len(edges) - len(there)
                self.report.missing |= missing
                edges = there
        self.report.linked += len(edges)

    def _stands(self, answer: BatchAnswer, space: str) -> bool:
        """Say whether every memory of a batch that was stored before is still there in the version it got then."""
        assert self._client is not None
        stored = {item.id: item.version for item in answer.results}
        found = self._client.get_many(GetRequest(ids=list(stored), space=space))
        return {memory.id: memory.version for memory in found} == stored


def _document(raw: bytes, number: int) -> dict[str, Any]:
    document = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
    if not isinstance(document, dict):
        raise ValueError("a line is a JSON object")
    return cast("dict[str, Any]", document)


def _key(request: BatchRequest) -> str:
    """Return a key that is the same for the same memories, whatever the machine and the run."""
    body = request.model_dump_json(by_alias=True, exclude_unset=True)
    return f"import-{hashlib.sha256(body.encode()).hexdigest()}"


def _where(lines: Sequence[Line | EdgeLine]) -> str:
    first, last = lines[0].number, lines[-1].number
    return f"line {first}" if first == last else f"lines {first} to {last}"


def _wrong(number: int, reason: str) -> T4DMError:
    return T4DMError(f"line {number}: {reason}", code="invalid_line", details={"line": number})
