"""Backups: a copy of a store as it was at one moment, verified, restored, and brought forward to a later moment.

A backup is a directory like the store's own. Files that never change after they are written are hard-linked (copied
where links are not possible), so a backup takes little room and time; the log is copied up to the last frame that
had been acknowledged. It is made under another name and renamed when it is whole: an interrupted one is never taken
for a backup. Links share their blocks with the store: against a failing disk, put backups on another one.

Point in time: a store that archives its log (`archive`) keeps every log file after it has been written to segments.
`restore` puts such files behind those of the backup (`timeline.py` says which), replays them up to a transaction time,
and drops the rest.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from t4dm_daemon.core.clock import OPEN
from t4dm_daemon.core.errors import CorruptionError, InvalidInputError, NotFoundError, StorageError, WalKeyError
from t4dm_daemon.storage.t4dx import checked
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.timeline import follow
from t4dm_daemon.storage.t4dx.wal_format import LogEnd, end_of_file, is_signed, read_header
from t4dm_daemon.storage.t4dx.wal_mac import LogKey, space_key

if TYPE_CHECKING:
    from t4dm_daemon.storage.t4dx.engine import T4DXEngine

logger = logging.getLogger(__name__)

PARTIAL: Final = ".partial"
STAGING: Final = ".backup-"
"""Links that a backup is made of, in the store itself; leftovers are removed when it is opened."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A backup that was made: where, and what it holds."""

    path: str
    files: int
    size_bytes: int
    seconds: float
    moment: int | None = None
    """Of a restored store: the last transaction time that was brought back."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not what was written, and how it differs."""

    file: str
    message: str


@dataclass(slots=True)
class VerifyReport:
    """What was read and compared, and what was wrong."""

    files: int = 0
    size_bytes: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not self.problems


def begin(fs: FileSystem, target: Path) -> Path:
    """Return the directory to write a backup (or a restored store) into; `finish` gives it its name.

    Raises:
        InvalidInputError: The target exists and is not an empty directory.
    """
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InvalidInputError(f"{target} exists already: name a directory that does not", path=str(target))
        partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}{PARTIAL}")
        fs.make_directory(partial)
    except OSError as error:
        raise InvalidInputError(f"{target} cannot be written: {error}", path=str(target)) from error
    return partial


def finish(fs: FileSystem, partial: Path, target: Path) -> None:
    """Give a finished copy its name, durably."""
    for folder in [partial, *(one for one in partial.rglob("*") if one.is_dir())]:
        fs.sync_directory(folder)
    if target.is_dir():
        target.rmdir()
    fs.rename(partial, target)
    fs.sync_directory(target.parent)


def link_files(fs: FileSystem, root: Path, names: Sequence[str], target: Path) -> None:
    """Give files a second name in a directory of the same file system."""
    for name in names:
        fs.make_directory((target / name).parent)
        fs.link(root / name, target / name)


def measure(path: Path) -> tuple[int, int]:
    """Return the number of files and their bytes."""
    sizes = [one.stat().st_size for one in path.rglob("*") if one.is_file()]
    return len(sizes), sum(sizes)


def write_backup(
    fs: FileSystem, staged: Path, target: Path, logs: Mapping[str, int], *, wal_key: bytes | None = None
) -> BackupReport:
    """Make a backup of staged links, which nothing changes but the logs that grow.

    Args:
        fs: The file system.
        staged: The files of a store, as links.
        target: Where to; must not exist.
        logs: Per log file (path in the store) the bytes of it that had been acknowledged.
        wal_key: The key of the logs.

    Raises:
        InvalidInputError: The target exists.
        CorruptionError: The store's own small files are damaged: a backup of them would be worth nothing.
        StorageError: It could not be written; nothing is left of it.
    """
    began = time.monotonic()
    partial = begin(fs, target)
    try:
        for path in sorted(one for one in staged.rglob("*") if one.is_file()):
            name = path.relative_to(staged)
            fs.make_directory((partial / name).parent)
            if str(name) in logs:
                fs.write_new(partial / name, [fs.map(path)[: logs[str(name)]]])
            else:
                fs.link(path, partial / name)
        check_small_files(fs, partial, wal_key=wal_key)
        finish(fs, partial, target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StorageError(f"the backup could not be written: {error}", path=str(target)) from error
    except StorageError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    count, size = measure(target)
    logger.info("backup written", extra={"path": str(target), "files": count, "bytes": size})
    return BackupReport(str(target), count, size, time.monotonic() - began)


def check_small_files(
    fs: FileSystem, root: Path, logs: Mapping[str, int] | None = None, *, wal_key: bytes | None = None
) -> None:
    """Read what says which files are the truth, and the logs.

    Args:
        fs: The file system.
        root: A store, or a backup.
        logs: Per log file (path in the store) the bytes that must be frames; None: all of each.
        wal_key: The key of the logs.

    Raises:
        CorruptionError: Names the first that is damaged.
    """
    path = root / "FORMAT"
    try:
        int(json.loads(fs.read(path))["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(f"{path}: this file is damaged: {error}", file=str(path)) from error
    catalog = checked.read(fs, root / "CATALOG")
    for entry in catalog["spaces"].values():
        space = root / "spaces" / str(entry["directory"])
        manifest = checked.read(fs, space / fs.read(space / "CURRENT").decode("ascii", "replace").strip())
        files = {path: path.stat().st_size for path in sorted((space / "wal").glob("*.wal"))}
        if logs is not None:
            files = {path: logs[name] for path in files if (name := str(path.relative_to(root))) in logs}
        key = None if wal_key is None else LogKey(space_key(wal_key, entry["directory"]))
        _check_log(fs, files, manifest["lsn"], key)


def _check_log(fs: FileSystem, files: Mapping[Path, int], checkpoint_lsn: int, key: LogKey | None) -> None:
    """Follow the chain of a log from file to file; the last must be frames up to so many bytes.

    What is missing between two files is no damage if the checkpoint has it: recovery sees it so, too.
    """
    before: tuple[Path, LogEnd] | None = None
    for path, wanted in files.items():
        content = fs.map(path)
        header = read_header(content)
        if header is None or not is_signed(header, key):
            raise CorruptionError(f"{path}: the header of this log file is damaged", file=str(path), offset=0)
        if before is not None and header.first_lsn > checkpoint_lsn + 1:
            file, end = before
            if not header.follows(end):
                raise CorruptionError(f"{file}: a frame is damaged, or missing at its end", file=str(file))
        end = end_of_file(content, key)
        if path == list(files)[-1] and end.offset < wanted:
            raise CorruptionError(
                f"{path}: the frame at byte {end.offset} is damaged", file=str(path), offset=end.offset
            )
        before = path, end


def verify_engine(engine: T4DXEngine, report: VerifyReport) -> None:
    """Compare every file, row and reference of an open space with what was written."""
    for path, facts in engine.named_files():
        try:
            engine.check_file(path, facts)
        except (CorruptionError, OSError) as error:
            if path in {one for one, _ in engine.named_files()}:  # not replaced meanwhile
                report.problems.append(problem_of(engine.root / path, error))
        report.files += 1
        report.size_bytes += facts["size"]
    if any(one.file.startswith(str(engine.root)) for one in report.problems):
        return  # what is damaged leads nowhere
    report.problems += [Problem(file, message) for file, message in engine.broken_references()]


def problem_of(path: Path, error: CorruptionError | OSError) -> Problem:
    """Return what an error says of a file; of `path` when it names none."""
    if isinstance(error, CorruptionError):
        return Problem(str(error.details.get("file", path)), error.message)
    if isinstance(error, FileNotFoundError):
        return Problem(str(error.filename or path), f"{error.filename or path}: this file is missing; restore a backup")
    return Problem(str(error.filename or path), f"it cannot be read: {error}")


def verify_files(root: Path, *, wal_key: bytes | None = None) -> VerifyReport:
    """Verify a store, or a backup, that nobody has open: every checksum, every reference, the log to its end.

    It is opened as a recovery would, on links in a directory beside it, so that nothing of it changes.

    Raises:
        NotFoundError: There is no store.
        StorageLockedError: A daemon has it open; ask the daemon to verify.
        WalKeyError: Its log needs another key.
    """
    from t4dm_daemon.storage.t4dx.database import Database, hold

    if not (root / "FORMAT").exists():
        raise NotFoundError(f"{root} holds no store", path=str(root))
    fs = FileSystem()
    with hold(fs, root):
        scratch = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}.", suffix=".verify"))
        try:
            copy_closed(fs, root, scratch)
            with Database(scratch, merge_in_background=False, read_only=True, wal_key=wal_key) as database:
                return database.verify()
        except WalKeyError as error:  # nothing is wrong with the files
            raise WalKeyError(error.message.replace(str(scratch), str(root)), **error.details) from error
        except (CorruptionError, StorageError) as error:
            where = str(error.details.get("file", root)).replace(str(scratch), str(root))
            return VerifyReport(problems=[Problem(where, error.message.replace(str(scratch), str(root)))])
        finally:
            fs.remove_tree(scratch)


def copy_closed(fs: FileSystem, root: Path, target: Path, *, link: bool = True) -> None:
    """Copy a store that nobody has open; with `link`, what never changes is linked."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if name.parts[0] in ("LOCK", "backups") or name.parts[0].startswith(STAGING) or not path.is_file():
            continue
        fs.make_directory((target / name).parent)
        if link and path.suffix != ".wal":
            fs.link(path, target / name)
        else:
            fs.write_new(target / name, [fs.map(path)])


def restore(
    backup: Path,
    target: Path,
    *,
    archive: Path | None = None,
    until: int | None = None,
    wal_key: bytes | None = None,
) -> BackupReport:
    """Make a store of a backup; with an archive of its log, as of a later transaction time.

    Args:
        backup: A backup, or a store that nobody has open.
        target: Where to; must not exist.
        archive: Directory of archived log files, as the store's setting named it.
        until: Last transaction time (microseconds) to bring back; None brings back all there is.
        wal_key: The key of its log and of the archived one; the restored store's log goes on with it.

    Raises:
        NotFoundError: There is no backup.
        StorageLockedError: It is a store that a process has open; make a backup of it instead.
        CorruptionError: The backup, or the log behind it, is damaged; nothing was made.
        WalKeyError: Its log, or the archived one, needs another key; nothing was made.
        InvalidInputError: The target exists, or `until` lies before the backup.
    """
    from t4dm_daemon.storage.t4dx.database import Database, hold

    began = time.monotonic()
    if not (backup / "FORMAT").exists():
        raise NotFoundError(f"{backup} holds no backup", path=str(backup))
    fs = FileSystem()
    partial = begin(fs, target)
    try:
        with hold(fs, backup) if (backup / "LOCK").exists() else contextlib.nullcontext():
            copy_closed(fs, backup, partial, link=False)
        last = OPEN if until is None else until
        if archive is not None:
            for space in sorted((partial / "spaces").iterdir()):
                _add_archived(fs, archive / space.name, space / "wal", last)
        with Database(partial, merge_in_background=False, recover_until=last, wal_key=wal_key) as database:
            report = database.verify()
            moment = max((database.space(name).snapshot() for name in database.spaces()), default=None)
            if not report.is_sound:
                first = report.problems[0]
                raise CorruptionError(f"{first.file}: {first.message}", file=first.file)
        (partial / "LOCK").unlink(missing_ok=True)
        finish(fs, partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    count, size = measure(target)
    return BackupReport(str(target), count, size, time.monotonic() - began, moment)


def _add_archived(fs: FileSystem, archive: Path, log: Path, until: int) -> None:
    """Put archived log files behind those of a backup, in place of the last of which they are the final form."""
    present = sorted(log.glob("*.wal"))
    for part in follow(fs, archive, present[-1] if present else None, until):
        target = log / f"{part.number:012}.wal"
        if part.path != target:
            fs.make_directory(log)
            fs.write_new(target, [fs.map(part.path)[: part.size]])
