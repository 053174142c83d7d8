"""Load another store into a space of a store that no daemon has open, and compare the two.

Only `t4dm import qdrant`, `chroma` and `vectors` import this: it loads the storage engine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from t4dm.sdk import T4DMError
from t4dm.sdk import models as m
from t4dm_daemon.cli import output
from t4dm_daemon.cli.arguments import UsageError
from t4dm_daemon.cli.importing.interrupts import asked_to_stop
from t4dm_daemon.cli.progress import progress
from t4dm_daemon.config import Settings
from t4dm_daemon.core.errors import (
    ConflictError,
    DaemonError,
    DimensionMismatchError,
    InvalidInputError,
    NotFoundError,
    StorageLockedError,
)
from t4dm_daemon.core.item import ENTITY_COLUMNS, Item
from t4dm_daemon.memory.backend import raise_for_caller
from t4dm_daemon.memory.dedup import content_hash
from t4dm_daemon.memory.spaces import DEFAULT_SPACE, SpaceHandle, Spaces
from t4dm_daemon.runtime import open_store
from t4dm_daemon.storage.loaders import LoadReport, Refusal, Source, ValidationReport, load, validate
from t4dm_daemon.storage.loaders.load import BATCH_SIZE, OnConflict

QUERIES: Final = 100
SHOWN: Final = 20
"""Refused records, reasons and differences that are listed; all are counted."""
AGAIN: Final = "run it again to go on; what is there already is not stored twice"
_OPTIONS: Final = {
    "load with allow_metric_change=True": "add --allow-metric-change",
    "load with drop_other_vectors=True": "add --drop-other-vectors",
    "with vector_name": "with --vector-name",
    "load unknown='metadata'": "add --unknown metadata",
}
"""What the loaders tell Python programs to do, and how a command line says it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a migration.

    Attributes:
        space: Where the records are now.
        dimension: Of its vectors, None while it has none.
        loaded: What was stored.
        compared: The comparison afterwards, None when it was not asked for.
        has_others: The space also holds memories of elsewhere, so no queries were asked: they find those, too.
    """

    space: str
    dimension: int | None
    loaded: LoadReport
    compared: ValidationReport | None
    has_others: bool

    @property
    def holds(self) -> bool:
        """Whether the space is what the source is, as far as it was compared.

        Records that were kept as they were differ as was asked for.
        """
        if self.compared is None:
            return True
        return self.compared.holds() or (self.loaded.kept > 0 and not self.compared.missing)

    @property
    def is_whole(self) -> bool:
        """Whether every record is stored, and the comparison holds."""
        return not self.loaded.refused and self.holds

    def as_json(self) -> dict[str, Any]:
        loaded = self.loaded
        return {
            "source": loaded.source,
            "space": self.space,
            "dimension": self.dimension,
            **{name: getattr(loaded, name) for name in ("read", "created", "updated", "unchanged", "kept", "refused")},
            "without_vector": loaded.bare,
            "reasons": {in_options(reason): count for reason, count in loaded.reasons.items()},
            "refusals": [{"id": one.id, "reason": in_options(one.reason)} for one in loaded.refusals[:SHOWN]],
            "validation": None if self.compared is None else self._comparison(self.compared),
        }

    def _comparison(self, compared: ValidationReport) -> dict[str, Any]:
        return {
            "holds": self.holds,
            "missing": compared.missing,
            "missing_ids": compared.missing_ids[:SHOWN],
            "sampled": compared.sampled,
            "differing": [{"id": one.id, "fields": one.fields} for one in compared.differing[:SHOWN]],
            "vector_gap": compared.vector_gap,
            "queries": compared.queries,
            "k": compared.k,
            "mean_overlap": compared.mean_overlap,
            "worst_overlap": compared.worst_overlap,
            "similarity_gap": compared.similarity_gap,
        }


def in_options(message: str) -> str:
    """Return a loader's message with the options of the command line instead of the arguments of Python."""
    for argument, option in _OPTIONS.items():
        message = message.replace(argument, option)
    return message


class Migration:
    """One run: open the source, then the store, load, compare.

    Args:
        opened: Opens the source.
        space: Where to.
        settings: Say which store.
        on_conflict: What becomes of an id that the space holds with something else.
        is_validated: Compare afterwards.
        is_shown: Show a bar, if someone is looking.
    """

    def __init__(
        self,
        opened: Callable[[], Source],
        *,
        space: str,
        settings: Settings,
        on_conflict: OnConflict,
        is_validated: bool,
        is_shown: bool,
    ) -> None:
        self._opened = opened
        self._space: str = TypeAdapter(m.SpaceName).validate_python(space)
        self._settings = settings
        self._on_conflict = on_conflict
        self._is_validated = is_validated
        self._is_shown = is_shown
        self._report = LoadReport("")

    def run(self) -> Outcome:
        """Do all of it.

        Raises:
            StorageLockedError: Another process has the store open.
            UsageError: The default space was asked for.
            T4DMError: Anything else; what was stored before stays. Where other options would help, the message
                says which.
            KeyboardInterrupt: It was stopped; the message says how to go on.
        """
        try:
            with (
                closing(self._opened()) as source,
                open_store(self._settings, owner={"kind": "t4dm import"}) as database,
            ):
                handle = self._handle(Spaces(database), _dimension(source))
                before = handle.backend.stats()["items"]
                self._load(source, handle)
                report = self._report
                has_others = before > report.updated + report.unchanged + report.kept
                compared = self._compare(source, handle, has_others=has_others) if self._is_validated else None
                return Outcome(self._space, handle.backend.dimension, report, compared, has_others)
        except StorageLockedError:
            raise
        except DaemonError as error:
            error.message = in_options(error.message)
            raise_for_caller(error)

    def _handle(self, spaces: Spaces, dimension: int | None) -> SpaceHandle:
        """Return the space, made as the service makes one whose callers bring the vectors."""
        name = self._space
        if name == DEFAULT_SPACE:
            raise UsageError(
                f"the daemon embeds the space {name!r} itself, and its vectors cannot be compared with others; "
                "choose another with --space"
            )
        try:
            handle = spaces.open(name)
        except NotFoundError:
            return spaces.create(name, embedder="client", dimension=dimension)
        if handle.embeds:
            raise ConflictError(
                f"the space {name!r} is embedded by the daemon with {handle.model}, and vectors of two models cannot "
                "be compared; choose another with --space",
                space=name,
                model=handle.model,
            )
        stored = handle.backend.dimension
        if stored is not None and dimension not in (None, stored):
            raise DimensionMismatchError(stored, dimension or 0, space=name)
        return handle

    def _load(self, source: Source, handle: SpaceHandle) -> None:
        self._report = LoadReport(source.name)
        try:
            with (
                asked_to_stop() as stop,
                progress("Loading", total=source.count(), is_shown=self._is_shown) as advance,
            ):
                done = 0

                def follow(report: LoadReport, total: int | None) -> None:  # noqa: ARG001 - the bar knows it
                    nonlocal done
                    self._report = report
                    advance(report.read - done, report.read - done)
                    done = report.read

                self._report = load(
                    source,
                    handle.backend,
                    on_conflict=self._on_conflict,
                    content_hash=_identity,
                    progress=follow,
                    cancelled=stop.is_set,
                )
        except InvalidInputError as error:  # the source says at its end that it is incomplete
            raise T4DMError(f"{error.message} ({self._so_far()})", code=error.code, details=error.details) from error
        except DaemonError as error:
            error.message = f"{error.message} ({self._so_far()})"
            raise
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped: {self._so_far()}") from None
        if self._report.cancelled:
            raise KeyboardInterrupt(f"stopped: {self._so_far()}")

    def _so_far(self) -> str:
        return f"{output.memories(self._report.written)} stored; {AGAIN}"

    def _compare(self, source: Source, handle: SpaceHandle, *, has_others: bool) -> ValidationReport:
        if self._is_shown and sys.stderr is not None and sys.stderr.isatty():
            output.note("Comparing with the source …")
        try:
            return validate(source, handle.backend, queries=0 if has_others else QUERIES, exact=True)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("stopped while comparing; everything is stored") from None


def _dimension(source: Source) -> int | None:
    """Return the dimension of the vectors, where the source does not say it that of the first batch."""
    if source.dimension is not None:
        return source.dimension
    for batch in source.batches(BATCH_SIZE):
        return next((len(one.vector) for one in batch.items if one.vector is not None), None)
    return None


def _identity(item: Item) -> int:
    return content_hash(item.content, tuple(getattr(item, column) for column in ENTITY_COLUMNS), item.namespace)


# What is told -----------------------------------------------------------------------------------------


def sentence(outcome: Outcome) -> str:
    """Return what was stored, in a line."""
    loaded = outcome.loaded
    counts = f"{loaded.created:,} created, {loaded.updated:,} updated, {loaded.unchanged:,} there already"
    counts += f", {loaded.kept:,} kept as they were" if loaded.kept else ""
    counts += f", {loaded.refused:,} refused" if loaded.refused else ""
    return f"space {outcome.space}: {counts}"


def refused(report: LoadReport) -> Iterable[str]:
    """Yield lines about what was not stored: the reasons, then the first records."""
    yield f"{_records(report.refused)} not stored:"
    for reason, count in sorted(report.reasons.items(), key=lambda one: -one[1])[:SHOWN]:
        yield f"  {count:,} × {in_options(reason)}"
    if report.refused > SHOWN:
        yield f"The first {SHOWN}:"
    for one in report.refusals[:SHOWN]:
        yield _refusal(one)


def _refusal(one: Refusal) -> str:
    return f"  {output.one_line(one.id)}: {in_options(one.reason)}"


def comparison(outcome: Outcome, compared: ValidationReport) -> Iterable[str]:
    """Yield lines about the comparison."""
    line = f"compared: {_records(compared.sampled)}, largest vector gap {compared.vector_gap:.1e}"
    if compared.mean_overlap is not None:
        line += (
            f"; {compared.queries} queries, overlap@{compared.k} {compared.mean_overlap:.3f} on average, "
            f"{compared.worst_overlap:.3f} at worst"
        )
    yield line
    if outcome.has_others:
        yield "the space also holds memories of elsewhere, so no queries were compared"
    if compared.missing:
        ids = ", ".join(output.one_line(one) for one in compared.missing_ids[:SHOWN])
        yield f"missing: {_records(compared.missing)}: {ids}"
    for one in compared.differing[:SHOWN]:
        yield f"different: {output.one_line(one.id)}: {', '.join(one.fields)}"
    if not outcome.holds:
        yield "the space is not what the source is"


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"
