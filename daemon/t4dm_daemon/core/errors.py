"""Errors of the daemon, below HTTP.

    DaemonError
    ├── InvalidInputError          the caller can fix it: 4xx
    │   ├── UnknownFieldError      a filter names an operator or field that cannot exist
    │   ├── EmptySelectorError     a deletion that names nothing
    │   ├── ModeNotAvailableError  a search mode this version does not have
    │   ├── VectorRequiredError    the space's vectors come from its callers, and none was given
    │   └── DimensionMismatchError a vector of another dimension than its space's
    ├── NotFoundError
    ├── ConflictError              a precondition of the write does not hold
    │   ├── IdempotencyMismatchError
    │   └── GoneError              the first answer to an idempotency key tells of what has been purged
    ├── EmbeddingError             the embedder failed or is not ready
    │   └── EmbedderMismatchError  the space was written by another embedder
    ├── ModelError                 the language model could not be loaded, or files are not its own
    │   └── WeightsMissingError    its weights are not on this machine; the message says how to get them
    ├── MissingExtraError          an optional package is not installed; the message says how to install it
    ├── BusyError                  a bounded queue is full: nothing was done
    │   └── DeadlineExceededError  the time is up, but the work goes on
    └── StorageError
        ├── CorruptionError        stored bytes are not what was written
        ├── WalError               the log could not be written; the write is not acknowledged
        │   └── StorageFullError
        ├── WalKeyError            the log needs another key, or none, to be read
        ├── StorageClosedError
        │   └── SpaceDeletedError  the space is not there any more: a NotFoundError for callers
        ├── StorageLockedError     another process owns the directory
        ├── SourceError            another store, which is loaded from, failed or could not be opened
        └── FormatError            written by a format this version does not read

Every error carries `code` (stable, for machines), `status` (the class of answer, in HTTP's numbers, so that
the API and embedded mode agree), a message (for people) and `details` (the facts).
"""

from __future__ import annotations

from typing import Any, ClassVar, Self


class DaemonError(Exception):
    """Carry a stable code, a sentence for people, and the facts behind it."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def with_facts(self, more: str, **details: Any) -> Self:
        """Return the same error with more to its message and details; this one may be another caller's, too."""
        error = type(self).__new__(type(self))
        DaemonError.__init__(error, f"{self.message}; {more}", **self.details | details)
        error.__dict__ |= {name: value for name, value in self.__dict__.items() if name not in error.__dict__}
        return error


class InvalidInputError(DaemonError):
    code = "invalid_input"
    status = 422


class UnknownFieldError(InvalidInputError):
    code = "unknown_field"
    status = 400


class EmptySelectorError(InvalidInputError):
    code = "empty_selector"
    status = 400


class ModeNotAvailableError(InvalidInputError):
    code = "mode_not_available"


class VectorRequiredError(InvalidInputError):
    code = "vector_required"


class DimensionMismatchError(InvalidInputError):
    code = "dimension_mismatch"
    status = 409

    def __init__(self, stored: int, given: int, *, space: str = "") -> None:
        where = f"space {space!r} holds" if space else "the space holds"
        super().__init__(
            f"{where} vectors of dimension {stored}, the given vector has {given}",
            stored=stored,
            given=given,
        )


class NotFoundError(DaemonError):
    code = "not_found"
    status = 404


class ConflictError(DaemonError):
    code = "conflict"
    status = 409


class IdempotencyMismatchError(ConflictError):
    code = "idempotency_mismatch"


class GoneError(ConflictError):
    code = "gone"


class EmbeddingError(DaemonError):
    code = "embedding_failed"
    status = 503


class EmbedderMismatchError(EmbeddingError):
    code = "embedder_mismatch"


class ModelError(DaemonError):
    code = "model_failed"
    status = 503


class WeightsMissingError(ModelError):
    code = "weights_missing"


class MissingExtraError(DaemonError, ImportError):
    code = "missing_extra"
    status = 501


class BusyError(DaemonError):
    """Ask the caller to come back after `retry_after_s` seconds."""

    code = "busy"
    status = 503

    def __init__(self, message: str, *, retry_after_s: float = 1.0, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after_s = retry_after_s


class DeadlineExceededError(BusyError):
    """The time is up, but the work goes on: a write may still be stored."""

    code = "deadline_exceeded"
    status = 504


class StorageError(DaemonError):
    code = "storage_error"


class CorruptionError(StorageError):
    code = "corruption"


class WalError(StorageError):
    code = "wal_error"
    status = 500  # not 503: after a failed sync nobody knows what is on disk, so a client must not just repeat


class StorageFullError(WalError):
    code = "storage_full"
    status = 507


class WalKeyError(StorageError):
    """Nothing of the log was touched; the message says which key is needed."""

    code = "wal_key"
    status = 409


class StorageClosedError(StorageError):
    code = "storage_closed"
    status = 503


class SpaceDeletedError(StorageClosedError):
    code = "not_found"
    status = 404


class StorageLockedError(StorageError):
    code = "storage_locked"
    status = 409


class SourceError(StorageError):
    """What was loaded before stays."""

    code = "source_failed"
    status = 502


class FormatError(StorageError):
    code = "format_error"
