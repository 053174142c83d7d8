"""Store the entries of a source through the client, batch by batch, and count what became of them.

To run an import again is to go on: ids are the same in every run, each batch is looked up first, and only what is new
or has changed is sent. So what was acknowledged before an interruption costs reading, not embedding, and an entry is
stored once however often it was read. A batch that the daemon refuses is halved until the entry at fault is found; the
others are stored.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import pydantic

from t4dm.sdk import ConflictError, T4DMClient, T4DMError, TransportError, ValidationError
from t4dm.sdk._validation import sentence
from t4dm.sdk.graph_models import EdgeIn, LinkRequest
from t4dm.sdk.models import BatchRequest, Memory, RecordIn
from t4dm.sdk.session_models import RestoredMessage, RestoreRequest
from t4dm_daemon.cli.importing.report import ImportReport
from t4dm_daemon.cli.importing.standing import standing, there
from t4dm_daemon.cli.progress import Advance
from t4dm_daemon.core.errors import DaemonError
from t4dm_daemon.core.ids import digest_id
from t4dm_daemon.memory.dedup import content_hash
from t4dm_daemon.sources import Entry, Identity, SourceLink, SourceMessage, SourceRecord, Unstored

OnConflict = Literal["replace", "keep", "refuse"]

_MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
"""A quarter of the largest body the daemon takes."""
_OWNERS: Final = ("user_id", "agent_id", "app_id", "run_id", "session_id")
_OF_THE_SPACE: Final = frozenset(("vector_required", "dimension_mismatch", "embedder_mismatch"))
"""Refusals that hold for every entry alike."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How entries are stored.

    Attributes:
        source: The kind of source; the metadata tells it under `imported_from`.
        space: Where to.
        owner: Columns that hold for every memory, whatever the source says.
        on_conflict: What becomes of an id that the store holds with something else.
        batch_size: Entries sent at once.
        keeps_duplicates: Also store words that an entry before has.
        has_sessions: Put chats back as sessions, too.
        is_strict: Stop at the first wrong entry.
    """

    source: str
    space: str
    owner: Mapping[str, str]
    on_conflict: OnConflict = "replace"
    batch_size: int = 200
    keeps_duplicates: bool = False
    has_sessions: bool = True
    is_strict: bool = False


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A record that is to be stored next."""

    place: str
    id: str
    record: RecordIn
    size_bytes: int


class Writer:
    """Store one source.

    Args:
        client: Of the daemon.
        rules: How.
        report: Counts.
        advance: Shows progress: memories, then bytes of the source.
    """

    def __init__(self, client: T4DMClient, rules: Rules, report: ImportReport, advance: Advance) -> None:
        self._client = client
        self._rules = rules
        self._report = report
        self._advance = advance
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._messages: list[tuple[str, RestoredMessage]] = []
        self._messages_bytes = 0
        self._links: list[tuple[str, EdgeIn]] = []
        self._ids: dict[bytes, tuple[str, int]] = {}
        """Where each id of this run was seen, under 16 bytes of it, and with which words."""
        self._texts: dict[int, str] = {}
        """Where each text of an owner was seen."""
        self._now = datetime.now(UTC)

    def run(self, entries: Iterable[Entry]) -> None:
        """Store all.

        Raises:
            T4DMError: It failed, or an entry is wrong and the rules are strict; what was acknowledged stays stored.
            KeyboardInterrupt: It was stopped; likewise.
        """
        try:
            for entry in entries:
                self._take(entry)
        except DaemonError as error:
            self._flush()
            raise T4DMError(error.message, code=error.code, details=error.details) from error
        self._flush()

    def _take(self, entry: Entry) -> None:
        match entry:
            case Unstored():
                self._report.leave(entry)
                self._check(entry)
            case SourceRecord():
                self._record(entry)
            case SourceMessage() if self._rules.has_sessions:
                self._message(entry)
            case SourceLink():
                edge = EdgeIn(source=self._id(entry.source), target=self._id(entry.target), type=entry.type)
                self._links.append((entry.place, edge))
                if len(self._links) >= self._rules.batch_size:
                    self._flush()
            case _:
                pass

    def _check(self, entry: Unstored) -> None:
        if entry.is_wrong and self._rules.is_strict:
            self._flush()
            raise T4DMError(f"{entry.place}: {entry.reason}", code="invalid_entry", details={"place": entry.place})

    def _wrong(self, place: str, reason: str) -> None:
        entry = Unstored(place, reason)
        self._report.fail(entry)
        self._check(entry)

    # Memories -----------------------------------------------------------------------------------------

    def _record(self, entry: SourceRecord) -> None:
        self._report.read += 1
        fields = {**entry.fields, **self._rules.owner, "id": self._id(entry.identity)}
        metadata = fields.get("metadata", {})
        fields["metadata"] = {"imported_from": self._rules.source, **(metadata if isinstance(metadata, dict) else {})}
        try:
            record = RecordIn.model_validate(fields)
            size_bytes = len(record.model_dump_json(exclude_unset=True))
        except pydantic.ValidationError as error:
            self._wrong(entry.place, sentence(error))
            return
        except (RecursionError, ValueError) as error:
            self._wrong(entry.place, "nested too deeply" if isinstance(error, RecursionError) else str(error))
            return
        assert record.id is not None
        if self._is_repeated(entry.place, record, record.id):
            return
        if self._waiting and self._waiting_bytes + size_bytes > _MAX_BATCH_BYTES:
            self._store()
        self._waiting.append(_Waiting(entry.place, record.id, record, size_bytes))
        self._waiting_bytes += size_bytes
        if len(self._waiting) >= self._rules.batch_size:
            self._store()

    def _is_repeated(self, place: str, record: RecordIn, identifier: str) -> bool:
        """Count what this run has seen: the same words of the same owner, or the same id with other words."""
        text = content_hash(record.content, tuple(getattr(record, one) for one in _OWNERS), record.namespace)
        key = uuid.UUID(digest_id(identifier.encode())).bytes
        before, words = self._ids.get(key, (None, text))
        if words != text:
            self._wrong(place, f"the id {identifier!r} stands before with other words, at {before}")
            return True
        if before is None and text and not self._rules.keeps_duplicates:
            before = self._texts.get(text)
        if before is not None:
            self._report.repeat(Unstored(place, f"the same as {before}", is_wrong=False))
            return True
        self._ids[key] = (place, text)
        if text:
            self._texts.setdefault(text, place)
        return False

    def _id(self, identity: Identity) -> str:
        """Return an id; one that is made is another for another owner, so that imports do not meet by accident."""
        if isinstance(identity, str):
            return identity
        parts = [*identity, *(f"{name}={value}" for name, value in sorted(self._rules.owner.items()))]
        return digest_id(json.dumps(parts).encode())

    def _store(self) -> None:
        batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if not batch:
            return
        found = self._there(batch)
        fresh: list[_Waiting] = []
        for one in batch:
            match standing(one.record, found.get(one.id)):
                case "same":
                    self._report.there += 1
                case "other" if self._rules.on_conflict == "keep":
                    self._report.kept += 1
                case "other" if self._rules.on_conflict == "refuse":
                    self._wrong(one.place, f"the space holds something else under the id {one.id!r}")
                case _:
                    fresh.append(one)
        if self._report.dry_run:
            self._report.updated += sum(one.id in found for one in fresh)
            self._report.stored += sum(one.id not in found for one in fresh)
        elif fresh:
            self._send(fresh)
        self._advance(len(batch), 0)

    def _there(self, batch: list[_Waiting]) -> dict[str, Memory]:
        if not self._report.is_checked:
            return {}
        try:
            return there(self._client, self._rules.space, [one.id for one in batch])
        except TransportError as error:
            if not (self._report.dry_run and error.code in {"not_running", "unreachable"}):
                raise
            self._report.is_checked = False  # said in the report
            return {}

    def _send(self, batch: list[_Waiting]) -> None:
        request = BatchRequest(
            records=[one.record for one in batch],
            space=self._rules.space,
            idempotency_key=f"import-{uuid.uuid4()}",  # so that the client may send it again when no answer came
        )
        try:
            answer = self._client.batch(request)
        except ValidationError as error:
            if error.code in _OF_THE_SPACE:
                raise
            if len(batch) == 1:
                self._wrong(batch[0].place, error.message)
                return
            self._send(batch[: len(batch) // 2])
            self._send(batch[len(batch) // 2 :])
            return
        became = Counter(item.status for item in answer.results)
        self._report.stored += became["created"]
        self._report.updated += became["updated"]
        self._report.there += became["duplicate"]

    # Sessions -----------------------------------------------------------------------------------------

    def _message(self, entry: SourceMessage) -> None:
        try:
            message = RestoredMessage(
                session_id=entry.session_id,
                space=self._rules.space,
                seq=entry.seq,
                created_at=entry.created_at or self._now,
                value=entry.value,
            )
            size_bytes = len(message.model_dump_json())
        except (pydantic.ValidationError, RecursionError, ValueError) as error:
            reason = sentence(error) if isinstance(error, pydantic.ValidationError) else "nested too deeply"
            self._leave_messages([(entry.place, None)], reason)
            return
        if self._messages_bytes + size_bytes > _MAX_BATCH_BYTES or len(self._messages) >= self._rules.batch_size:
            self._restore()
        self._messages.append((entry.place, message))
        self._messages_bytes += size_bytes

    def _restore(self) -> None:
        messages, self._messages, self._messages_bytes = self._messages, [], 0
        if not messages:
            return
        if self._report.dry_run:
            self._report.messages += len(messages)
            return
        self._send_messages(messages)

    def _send_messages(self, messages: list[tuple[str, RestoredMessage]]) -> None:
        """Put messages back; where one's place is taken, those of its session are left as they are.

        One that the daemon refuses is found by halves, so that the others are put back.
        """
        try:
            answer = self._client.restore_messages(RestoreRequest(messages=[one for _, one in messages]))
        except ValidationError as error:
            if len(messages) == 1:
                self._leave_messages(messages, error.message)
                return
            self._send_messages(messages[: len(messages) // 2])
            self._send_messages(messages[len(messages) // 2 :])
            return
        except ConflictError as error:
            sessions = list(dict.fromkeys(one.session_id for _, one in messages))
            if len(sessions) == 1:
                self._leave_messages(messages, error.message)
                return
            for session in sessions:
                self._send_messages([(place, one) for place, one in messages if one.session_id == session])
            return
        self._report.messages += answer.created
        self._report.messages_there += answer.duplicate

    def _leave_messages(
        self, messages: list[tuple[str, RestoredMessage]] | list[tuple[str, None]], reason: str
    ) -> None:
        self._report.messages_left += len(messages)
        count = f" ({len(messages)} messages were not put back)" if len(messages) > 1 else ""
        entry = Unstored(messages[0][0], f"session: {reason}{count}")
        self._report.note(entry)
        self._check(entry)

    # Links --------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._store()
        self._restore()
        links, self._links = self._links, []
        if not links:
            return
        if self._report.dry_run:
            self._report.links += len(links)
            return
        edges = [edge for _, edge in links]
        while edges:
            try:
                self._client.link(LinkRequest(edges=edges, space=self._rules.space))
                break
            except ValidationError as error:
                missing = set(error.details.get("ids", ()))
                left = [edge for edge in edges if missing.isdisjoint((edge.source, edge.target))]
                if len(left) == len(edges):
                    raise
                self._report.links_left += len(edges) - len(left)
                for place, edge in links:
                    if edge in edges and edge not in left:
                        self._report.note(Unstored(place, "the link has no memory at one of its ends"))
                edges = left
        self._report.links += len(edges)
