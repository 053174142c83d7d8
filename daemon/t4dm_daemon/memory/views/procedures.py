"""Procedures: how something is done, and how often it worked.

Two numbers are told. `success_rate` is what was seen: successes / executions. `reliability` is what to expect:
Laplace's rule of succession, (successes + 1) / (executions + 2), which trusts one lucky execution less than fifty good
ones. Ranking uses the latter. Every outcome makes a new version, so that `known_at` tells what the record was.
"""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import Field, JsonValue

from t4dm.sdk import models as m
from t4dm.sdk import view_models as v
from t4dm_daemon.core.clock import to_micros
from t4dm_daemon.core.errors import ConflictError, InvalidInputError, NotFoundError
from t4dm_daemon.core.item import Item
from t4dm_daemon.memory.json_text import encode
from t4dm_daemon.memory.ranking import Hit
from t4dm_daemon.memory.service import MemoryService
from t4dm_daemon.memory.superseding import succession
from t4dm_daemon.memory.turns import MAX_ATTEMPTS, Turns
from t4dm_daemon.memory.views.shape import Shape, present, seen
from t4dm_daemon.memory.writing import Stored
from t4dm_daemon.storage.protocol import View

CANDIDATES: Final = 100
"""At least so many are ranked by how often they worked, however few are wanted."""


class _Kept(v.ProcedureFields):
    """What `value` holds: the procedure, and the sums of its outcomes."""

    executions: int = Field(default=0, ge=0)
    successes: int = Field(default=0, ge=0)
    timed: int = Field(default=0, ge=0)
    total_duration_s: float = Field(default=0.0, ge=0)
    last_outcome_at: m.Time | None = None
    last_error: str | None = None
    deprecated_reason: str | None = None

    @property
    def reliability(self) -> float:
        return (self.successes + 1) / (self.executions + 2)

    def after(self, outcome: v.OutcomeRequest) -> _Kept:
        """Return what is kept after one more execution."""
        has_duration = outcome.duration_s is not None
        at = datetime.now(UTC) if outcome.at is None else outcome.at
        return self.model_copy(
            update={
                "executions": self.executions + 1,
                "successes": self.successes + outcome.success,
                "timed": self.timed + has_duration,
                "total_duration_s": self.total_duration_s + (outcome.duration_s or 0.0),
                "last_outcome_at": at if self.last_outcome_at is None else max(at, self.last_outcome_at),
                "last_error": self.last_error if outcome.error is None else outcome.error,
            }
        )


PROCEDURE: Final = Shape("procedural", "procedure", _Kept)


class ProcedureService:
    """Everything one can do with procedures.

    Thread-safe: it holds no state of its own beside the turns of those who change one.
    """

    def __init__(self, service: MemoryService) -> None:
        self._service = service
        self._turns = Turns()

    # Writing ------------------------------------------------------------------------------------------

    def add(self, request: v.ProcedureIn, *, idempotency_key: str | None = None) -> Stored:
        """Store a procedure that has not been executed yet. Raises as `MemoryService.store`."""
        own = PROCEDURE.told(request)
        record = PROCEDURE.record(
            request,
            own,
            _labels(own.name, own.domain),
            content=_content(own),
            importance=request.importance,
            kappa=request.kappa,
        )
        return self._service.store(record, idempotency_key=idempotency_key)

    def record_outcome(self, procedure_id: str, outcome: v.OutcomeRequest, *, space: str = "default") -> Item:
        """Count one execution and return the procedure. None is lost, however many are told at once.

        Raises:
            NotFoundError: There is no such procedure.
        """
        for lost in range(MAX_ATTEMPTS):
            with self._turns.attempt(lost):
                item, own = PROCEDURE.get(self._service, procedure_id, space=space, view=View())
                value = PROCEDURE.value(PROCEDURE.told(own.after(outcome)))
                change = m.UpdateRequest(value=value, expected_version=item.version)
                try:
                    return self._service.update(procedure_id, change, space=space)
                except ConflictError:
                    continue  # somebody else told an outcome meanwhile
        raise ConflictError(f"procedure {procedure_id!r} keeps changing; try again", id=procedure_id)

    def deprecate(self, procedure_id: str, request: v.DeprecateRequest, *, space: str = "default") -> Item:
        """Take a procedure out of use, link what replaces it, and return it: all in one write.

        Raises:
            NotFoundError: There is no such procedure.
            ConflictError: It is out of use already.
            InvalidInputError: The replacement is no procedure, or it comes into use only at that moment.
        """
        handle = self._service.spaces.open(space)
        for lost in range(MAX_ATTEMPTS):
            with self._turns.attempt(lost):
                _, own = PROCEDURE.get(self._service, procedure_id, space=space, view=View())
                if request.replacement is not None:
                    self._check_replacement(request.replacement, space)
                moment = time.time_ns() // 1000 if request.at is None else to_micros(request.at)
                closing, edges = succession(handle.backend, procedure_id, request.replacement, moment)
                told = PROCEDURE.told(own.model_copy(update={"deprecated_reason": request.reason}))
                item = dataclasses.replace(closing.item, value_json=_value_json(PROCEDURE.value(told)))
                try:
                    result = handle.backend.insert([dataclasses.replace(closing, item=item)], edges)
                except ConflictError:
                    continue  # it was changed meanwhile
                except InvalidInputError as error:
                    if error.details.get("id") != request.replacement:
                        raise
                    continue  # the replacement was deleted meanwhile
            written = View(known_at=result.recorded_at, include_expired=True)
            return self._service.get(procedure_id, space=space, view=written)
        raise ConflictError(f"procedure {procedure_id!r} keeps changing; try again", id=procedure_id)

    def _check_replacement(self, procedure_id: str, space: str) -> None:
        try:
            self.get(procedure_id, space=space)
        except NotFoundError as error:
            raise InvalidInputError(
                f"there is no procedure {procedure_id!r} in space {space!r} to be used instead",
                field="replacement",
                ids=[procedure_id],
            ) from error

    def delete(self, procedure_id: str, *, space: str = "default") -> None:
        """Delete one procedure. Raises NotFoundError."""
        self.get(procedure_id, space=space)
        self._service.delete(procedure_id, space=space)

    # Reading ------------------------------------------------------------------------------------------

    def get(
        self,
        procedure_id: str,
        *,
        space: str = "default",
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> Item:
        """Return one procedure, in use or not. Raises NotFoundError, also for a memory that is none."""
        return PROCEDURE.get(self._service, procedure_id, space=space, view=seen(as_of, known_at))[0]

    def search(self, request: v.ProcedureSearchRequest) -> list[Hit]:
        """Return the best procedures by relevance and reliability, best first, ties by id."""
        wanted = request.k + request.offset
        changes = {
            "kind": PROCEDURE.kind,
            "filter": PROCEDURE.where(_labels(None, request.domain), request.filter),
            "as_of": present(request.as_of, request.known_at, show_ended=request.show_deprecated),
            "k": max(CANDIDATES, 2 * wanted),
            "offset": 0,
            "min_score": None,  # of the score that is told, not of relevance
            "touch": False,  # only what is shown counts as used
        }
        hits = []
        for hit in self._service.search(request.model_copy(update=changes)):
            own = PROCEDURE.own(hit.item)
            if own is not None:
                hits.append(_weighed(hit, 1.0 - request.success_weight * (1.0 - own.reliability)))
        hits.sort(key=lambda hit: (-hit.score, hit.item.id))
        shown = [hit for hit in hits if hit.score >= (request.min_score or 0.0)][request.offset : wanted]
        if request.touch and request.known_at is None:
            self._service.note_recall(request.space, [hit.item.id for hit in shown])
        return shown

    def list(self, request: v.ProcedureListRequest) -> tuple[list[Item], int, str | None]:
        """Return one page, the total, and the cursor of the next page (None at the end)."""
        as_of = present(request.as_of, request.known_at, show_ended=request.show_deprecated)
        labels = _labels(request.name, request.domain)
        items, total, cursor = self._service.list(PROCEDURE.listing(request, labels, as_of=as_of))
        return [item for item in items if PROCEDURE.own(item) is not None], total, cursor

    @staticmethod
    def plain(item: Item, space: str, *, status: str | None = None) -> dict[str, Any]:
        """Return a procedure's wire fields."""
        own = PROCEDURE.own(item)
        assert own is not None  # every reader has asked
        fields = own.model_dump(mode="json", exclude={"timed", "total_duration_s"}) | {
            "success_rate": own.successes / own.executions if own.executions else None,
            "reliability": own.reliability,
            "mean_duration_s": own.total_duration_s / own.timed if own.timed else None,
        }
        return PROCEDURE.plain(item, space, fields, status=status)


def _labels(name: str | None, domain: str | None) -> dict[str, str | None]:
    return {"name": name, "domain": domain}


def _content(own: v.ProcedureFields) -> str:
    first = f"{own.name}: {own.trigger}" if own.trigger else own.name
    return "\n".join((first, *(step.action for step in own.steps)))


def _weighed(hit: Hit, factor: float) -> Hit:
    parts = {name: factor * part for name, part in hit.contributions.items()}
    return dataclasses.replace(hit, score=factor * hit.score, contributions=parts)


def _value_json(value: JsonValue) -> bytes:
    return encode(value, field="value", max_bytes=m.MAX_VALUE_BYTES)
