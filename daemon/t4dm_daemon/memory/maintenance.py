"""Operations on the store as a whole: write memory to files, merge them, copy them, verify them.

Thread-safe: `_turn` lets one compaction run at a time; `_cancel` ends it when the daemon stops.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from t4dm.sdk import admin_models as a
from t4dm_daemon.core.errors import BusyError, InvalidInputError, NotFoundError, StorageClosedError, StorageError

T = TypeVar("T")

_COME_BACK_S: Final = 5.0
_UNUSABLE: Final = frozenset(
    (
        errno.EACCES,
        errno.EEXIST,
        errno.EINVAL,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    )
)
"""What the system says of a path that was badly chosen, not of a disk that fails."""


class Report(Protocol):
    """What a compaction did in one space (T4DX's `CompactionReport`)."""

    @property
    def merges(self) -> int: ...
    @property
    def segments_before(self) -> int: ...
    @property
    def segments_after(self) -> int: ...
    @property
    def rows_before(self) -> int: ...
    @property
    def rows_after(self) -> int: ...
    @property
    def disk_bytes_before(self) -> int: ...
    @property
    def disk_bytes_after(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class Backup(Protocol):
    """A backup that was made (T4DX's `BackupReport`)."""

    @property
    def path(self) -> str: ...
    @property
    def files(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class Problem(Protocol):
    """A file that is not what was written, and how it differs."""

    @property
    def file(self) -> str: ...
    @property
    def message(self) -> str: ...


class Verification(Protocol):
    """What was read and compared, and what is wrong (T4DX's `VerifyReport`)."""

    @property
    def files(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def problems(self) -> Sequence[Problem]: ...


class Engine(Protocol):
    """What is asked of one space."""

    def flush(self) -> None: ...
    def compact(self, *, everything: bool = False, cancel: threading.Event | None = None) -> Report: ...


class Store(Protocol):
    """What is asked of all spaces together (T4DX's `Database`)."""

    def space(self, name: str) -> Engine: ...
    def spaces(self) -> Mapping[str, Mapping[str, Any]]: ...
    def backup(self, target: Path) -> Backup: ...
    def verify(self) -> Verification: ...


def plain_backup(report: Backup) -> dict[str, Any]:
    """Return the wire fields of a backup."""
    return {name: getattr(report, name) for name in a.BackupReport.model_fields}


def plain_verification(report: Verification) -> dict[str, Any]:
    """Return the wire fields of a verification."""
    problems = [{"file": one.file, "message": one.message} for one in report.problems]
    return {
        "files": report.files,
        "size_bytes": report.size_bytes,
        "problems": problems,
        "is_sound": not problems,
    }


def plain_report(space: str, report: Report) -> dict[str, Any]:
    """Return the wire fields of a compaction of one space."""
    names = [name for name in a.SpaceCompaction.model_fields if name != "space"]
    return {"space": space} | {name: getattr(report, name) for name in names}


class Maintenance:
    """Look after a store. Calls take as long as the disk needs: they belong into a thread that nobody waits for.

    Args:
        store: All spaces.
        backups: Where backups go that are given no place.
    """

    def __init__(self, store: Store, *, backups: Path) -> None:
        self._store = store
        self._backups = backups
        self._turn = threading.Lock()
        self._cancel = threading.Event()

    def flush(self, *, space: str | None = None) -> None:
        """Write what is in memory to segments and release the log behind it. Raises NotFoundError, StorageError."""
        self._each(space, lambda engine: engine.flush())

    def compact(self, *, space: str | None = None, everything: bool = False) -> list[tuple[str, Report]]:
        """Merge segments, one space after the other; return what that did in each.

        Raises:
            NotFoundError: There is no such space.
            BusyError: Another compaction is under way, or the daemon is stopping. What was merged stays.
        """
        if not self._turn.acquire(blocking=False):
            raise BusyError("a compaction is under way", retry_after_s=_COME_BACK_S)
        try:
            return self._each(space, lambda engine: engine.compact(everything=everything, cancel=self._cancel))
        except InterruptedError:
            raise BusyError("the daemon is stopping; what was merged until now stays", phase="stopping") from None
        finally:
            self._turn.release()

    def backup(self, path: str | None = None) -> Backup:
        """Copy the store as it is at one moment, to a place that does not exist.

        Raises:
            InvalidInputError: The path is not absolute, or exists.
            StorageError: It could not be written; nothing is left of it.
        """
        if path is None:
            return self._store.backup(self._backups / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        target = Path(path)
        if not target.is_absolute() or not path.isprintable():
            raise InvalidInputError(
                "the path of a backup is absolute, for the daemon has a directory of its own, and printable", path=path
            )
        try:
            return self._store.backup(target)
        except (OSError, StorageError) as error:
            reason = error if isinstance(error, OSError) else error.__cause__
            if isinstance(reason, OSError) and reason.errno in _UNUSABLE:
                raise InvalidInputError(f"{path} cannot be used: {reason.strerror}", path=path) from error
            raise

    def verify(self) -> Verification:
        """Compare every file with its checksum, and every reference with what it leads to."""
        return self._store.verify()

    def stop(self) -> None:
        """End a compaction that is under way, soon."""
        self._cancel.set()

    def _each(self, space: str | None, work: Callable[[Engine], T]) -> list[tuple[str, T]]:
        """Do the work in one space, or in all; one that is deleted while they are walked is passed over."""
        if space is not None:
            return [(space, work(self._store.space(space)))]
        done = []
        for name in sorted(self._store.spaces()):
            try:
                done.append((name, work(self._store.space(name))))
            except (NotFoundError, StorageClosedError):
                if name in self._store.spaces():
                    raise
        return done
