"""Load a source into a space: in batches, from where it stopped, and as often as one likes.

For each batch the items are compared with what the space holds under their ids; what is there already is not
written again. So a second run writes nothing, a run that was stopped goes on, and a record is stored once
however often it was sent. Vectors are the same when they differ by less than `VECTOR_TOLERANCE`: sources do not
give back the same bits each time. What was learnt about a memory since (importance, κ, accesses, pins, expiry) is not
compared and not undone.

A resume file, if given, says how far a load has come; it is replaced after each batch is on disk, and removed
at the end. Without it a load starts again from the beginning, which costs reading and no writing.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.clock import UNBOUNDED
from t4dm_daemon.core.errors import ConflictError, DimensionMismatchError, InvalidInputError, StorageError
from t4dm_daemon.core.item import ENTITY_COLUMNS, MUTABLE_FIELDS, Item
from t4dm_daemon.storage.loaders.base import Batch, Position, Refusal, Source
from t4dm_daemon.storage.protocol import StorageBackend, View, Write

logger = logging.getLogger(__name__)

BATCH_SIZE: Final = 256
MAX_EXAMPLES: Final = 1000
"""Refusals kept in a report. All are counted, by reason, and all go to `on_refused`."""
MAX_REASONS: Final = 100
ATTEMPTS: Final = 5
VECTOR_TOLERANCE: Final = 1e-6
"""Of |a - b| / |b|. Qdrant's local client rounds stored vectors anew when it searches, and Chroma's cosine collections
give back other last bits than they were given: 2e-7 measured (qdrant-client 1.20, chromadb 1.5.9)."""
OnConflict = Literal["replace", "keep", "refuse"]
Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]

_EVERYTHING: Final = View(include_expired=True)
_LEARNED: Final = frozenset(MUTABLE_FIELDS)
_EXACT: Final = ("content", "kind", "namespace", "categories", *ENTITY_COLUMNS)
_TIMES: Final = ("event_time", "valid_from", "valid_to", "created_at")


@dataclass(slots=True)
class LoadReport:
    """What became of a source's records: `read` is the sum of the counts after it.

    Attributes:
        read: Records seen by this run.
        created: Stored under a new id.
        updated: Stored as a new version of an id that held something else.
        unchanged: There already.
        kept: The id holds something else, and it was asked to stay.
        refused: Not stored; see the reasons.
        bare: Of the stored, those without a vector: found by filter, not by meaning.
        reasons: How often each reason was given; the rarest are summed as "other reasons" past 100.
        refusals: The first 1000 refused records.
        resumed: It went on from a resume file: records read before are in no count.
        cancelled: It was asked to stop before the end.
        position: Where it would go on.
    """

    source: str
    read: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    kept: int = 0
    refused: int = 0
    bare: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    resumed: bool = False
    cancelled: bool = False
    position: Position | None = None

    @property
    def written(self) -> int:
        """How many records this run stored."""
        return self.created + self.updated

    def refuse(self, refusal: Refusal) -> None:
        """Count a refusal, and keep it while there is room."""
        self.refused += 1
        reason = (
            refusal.reason if refusal.reason in self.reasons or len(self.reasons) < MAX_REASONS else "other reasons"
        )
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if len(self.refusals) < MAX_EXAMPLES:
            self.refusals.append(refusal)


def load(
    source: Source,
    engine: StorageBackend,
    *,
    batch_size: int = BATCH_SIZE,
    on_conflict: OnConflict = "replace",
    resume_file: Path | None = None,
    embed: Embed | None = None,
    embed_all: bool = False,
    content_hash: Callable[[Item], int] | None = None,
    progress: Callable[[LoadReport, int | None], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_refused: Callable[[Refusal], None] | None = None,
) -> LoadReport:
    """Store every record of a source, or say why not.

    Args:
        source: Read from its beginning, or from where the resume file says.
        engine: The space; its dimension must be the source's.
        batch_size: Records held in memory, and stored in one durable write.
        on_conflict: An id that holds something else: replace it by a new version, keep it, or refuse the record.
        resume_file: Where to keep the position between runs.
        embed: Makes vectors, (N, D) float32, of texts that come without one.
        embed_all: Embed every text anew; for a space whose vectors are another model's.
        content_hash: Gives stored items their identity of text (`memory.dedup`); without it they have none.
        progress: Called after each batch with the report so far and the number of all records, if known.
        cancelled: Asked before each batch; True ends the load with what is stored.
        on_refused: Told of every refusal as it happens.

    Returns:
        What became of the records. Refused ones are no error: look at `refused`.

    Raises:
        DimensionMismatchError: The source's vectors do not fit the space. Nothing was stored.
        InvalidInputError: The resume file belongs to another source, or the source says it is incomplete.
        SourceError, StorageError: Reading or writing failed. What the report counted is stored; run it again.
    """
    if batch_size < 1:
        raise InvalidInputError("batch_size is at least 1", batch_size=batch_size)
    if embed_all and embed is None:
        raise InvalidInputError("embed_all needs embed")
    if not embed_all and None not in (source.dimension, engine.dimension) and source.dimension != engine.dimension:
        raise DimensionMismatchError(engine.dimension or 0, source.dimension or 0)
    after = None if resume_file is None else _resume(resume_file, source.name)
    report = LoadReport(source.name, resumed=after is not None, position=after)
    total = source.count()
    loading = _Loading(engine, report, on_conflict, embed, embed_all, content_hash, on_refused)
    for batch in _until(source.batches(batch_size, after=after), cancelled, report):
        loading.store(batch)
        report.position = batch.position
        if resume_file is not None:
            _save(resume_file, source.name, batch.position)
        if progress is not None:
            progress(report, total)
    if resume_file is not None and not report.cancelled:
        resume_file.unlink(missing_ok=True)
    logger.info(
        "source loaded",
        extra={"records": report.read, "written": report.written, "refused": report.refused},
    )
    return report


def _until(batches: Iterator[Batch], cancelled: Callable[[], bool] | None, report: LoadReport) -> Iterator[Batch]:
    while True:
        if cancelled is not None and cancelled():
            report.cancelled = True
            return
        batch = next(batches, None)
        if batch is None:
            return
        yield batch


class _Loading:
    """Store batches and count."""

    def __init__(
        self,
        engine: StorageBackend,
        report: LoadReport,
        on_conflict: OnConflict,
        embed: Embed | None,
        embed_all: bool,
        content_hash: Callable[[Item], int] | None,
        on_refused: Callable[[Refusal], None] | None,
    ) -> None:
        self._engine = engine
        self._report = report
        self._on_conflict = on_conflict
        self._embed = embed
        self._embed_all = embed_all
        self._content_hash = content_hash
        self._on_refused = on_refused

    def store(self, batch: Batch) -> None:
        """Store what can be stored of a batch; it is on disk when this returns."""
        self._report.read += len(batch.items) + len(batch.refused)
        for refusal in batch.refused:
            self._refuse(refusal)
        for part in _without_repeats(self._fitting(self._embedded(batch.items))):
            self._insert(part)

    def _refuse(self, refusal: Refusal) -> None:
        self._report.refuse(refusal)
        if self._on_refused is not None:
            self._on_refused(refusal)

    def _embedded(self, items: list[Item]) -> list[Item]:
        """Give vectors to texts that need one; a text that is stored with its vector is not embedded again."""
        if self._embed is None:
            return items
        fitted: list[Item] = []
        wanted: list[int] = []
        stored = self._engine.get([one.id for one in items], view=_EVERYTHING, with_vectors=True)
        for item, there in zip(items, stored, strict=True):
            if item.vector is not None and not self._embed_all:
                fitted.append(item)
            elif not item.content and item.vector is not None:
                self._refuse(Refusal(item.id, "there is no text to embed, and the vector is another model's"))
            elif not item.content:
                fitted.append(item)
            elif there is not None and there.content == item.content and there.vector is not None:
                fitted.append(dataclasses.replace(item, vector=there.vector))
            else:
                wanted.append(len(fitted))
                fitted.append(item)
        if wanted:
            vectors = np.asarray(self._embed([fitted[at].content for at in wanted]), np.float32)  # (N, D)
            for at, vector in zip(wanted, vectors, strict=True):
                fitted[at] = dataclasses.replace(fitted[at], vector=vector)
        return fitted

    def _fitting(self, items: list[Item]) -> list[Item]:
        """Refuse vectors of another dimension; in an empty space the first vector decides."""
        dimension = self._engine.dimension
        fitting = []
        for item in items:
            given = None if item.vector is None else len(item.vector)
            dimension = given if dimension is None else dimension
            if given in (None, dimension):
                fitting.append(item)
            else:
                reason = f"the vector has dimension {given}, the space holds dimension {dimension}"
                self._refuse(Refusal(item.id, reason))
        return fitting

    def _insert(self, items: list[Item]) -> None:
        done: set[str] = set()
        for attempt in range(1, ATTEMPTS + 1):
            items = [one for one in items if one.id not in done]
            current = self._engine.get([one.id for one in items], view=_EVERYTHING, with_vectors=True)
            chosen, same, kept, refused = self._choose(items, current)
            try:
                refused += self._write(chosen, done)
            except ConflictError:  # another writer was there between the look and the write
                if attempt == ATTEMPTS:
                    raise
                continue
            self._report.unchanged += same
            self._report.kept += kept
            for refusal in refused:
                self._refuse(refusal)
            return

    def _choose(self, items: list[Item], current: Sequence[Item | None]) -> tuple[list[Write], int, int, list[Refusal]]:
        chosen: list[Write] = []
        same = kept = 0
        refused: list[Refusal] = []
        for item, there in zip(items, current, strict=True):
            if there is not None and not differences(item, there):
                same += 1
            elif there is not None and self._on_conflict == "keep":
                kept += 1
            elif there is not None and self._on_conflict == "refuse":
                refused.append(Refusal(item.id, "the space holds something else under this id"))
            else:
                if self._content_hash is not None:
                    item = dataclasses.replace(item, content_hash=self._content_hash(item))
                version = 0 if there is None else there.version
                chosen.append(Write(item, expected_version=version, carry=_LEARNED))
        return chosen, same, kept, refused

    def _write(self, writes: list[Write], done: set[str]) -> list[Refusal]:
        """Store, count and note what is done; of what the engine does not take, find out which it is.

        Raises ConflictError.
        """
        try:
            result = self._engine.insert(writes)
        except InvalidInputError as error:
            if len(writes) == 1:
                return [Refusal(writes[0].item.id, error.message)]
            half = len(writes) // 2
            return self._write(writes[:half], done) + self._write(writes[half:], done)
        for write, outcome in zip(writes, result.outcomes, strict=True):
            done.add(outcome.id)
            self._report.created += outcome.status == "created"
            self._report.updated += outcome.status == "updated"
            self._report.bare += write.item.vector is None
        return []


def _without_repeats(items: list[Item]) -> Iterator[list[Item]]:
    """Cut before an id comes again: of two records the later one stays, as if they had come in two batches."""
    part: list[Item] = []
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            yield part
            part, seen = [], set()
        part.append(item)
        seen.add(item.id)
    if part:
        yield part


def differences(item: Item, stored: Item, *, compare_vectors: bool = True) -> list[str]:
    """Return the names of the fields in which a stored item is not what was sent.

    Learning state and the engine's own fields are not compared, nor times that were left to the engine.
    """
    found = [name for name in _EXACT if getattr(item, name) != getattr(stored, name)]
    found += [name for name in _TIMES if getattr(item, name) not in (UNBOUNDED, getattr(stored, name))]
    for name in ("metadata_json", "value_json"):
        sent, there = getattr(item, name), getattr(stored, name)
        if sent != there and _canonical(sent) != _canonical(there):
            found.append(name.removesuffix("_json"))
    if compare_vectors and not _same_vector(item, stored):
        found.append("vector")
    return found


def _canonical(text: bytes) -> str:
    return json.dumps(json.loads(text), sort_keys=True)


def _same_vector(item: Item, stored: Item) -> bool:
    if item.vector is None or stored.vector is None:
        return item.vector is stored.vector
    return vector_gap(item.vector, stored.vector) <= VECTOR_TOLERANCE


def vector_gap(sent: npt.NDArray[np.float32], stored: npt.NDArray[np.float32]) -> float:
    """Return |sent - stored| / |stored|, infinite for vectors of different dimensions."""
    if len(sent) != len(stored):
        return math.inf
    wide = stored.astype(np.float64)
    return float(np.linalg.norm(sent - wide) / np.linalg.norm(wide))


def _resume(file: Path, source: str) -> Position | None:
    try:
        found: Any = json.loads(file.read_bytes())
        owner, position = found["source"], found["position"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{file} is no resume file: {error}", file=str(file)) from error
    if owner != source:
        raise InvalidInputError(
            f"{file} belongs to another load, of {owner}; this one is of {source}", file=str(file), source=owner
        )
    resumed: Position = position
    return resumed


def _save(file: Path, source: str, position: Position) -> None:
    partial = file.with_name(f".{file.name}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(json.dumps({"source": source, "position": position}).encode())
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    except OSError as error:
        raise StorageError(f"the resume file {file} could not be written: {error}", file=str(file)) from error
