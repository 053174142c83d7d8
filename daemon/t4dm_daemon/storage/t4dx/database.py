"""A directory of spaces: the lock, the format, the clock, and the catalog.

LOCK       held with flock for as long as the database is open; its text says who holds it (information only)
FORMAT     {"format": 3, "created_by": version, "store_id": hex}
CATALOG    space names, their directory numbers and attributes, with a checksum, replaced atomically
spaces/N/  one engine each
backups/   the store as it was before its format was brought up to date
CLEAN      the last run ended as it should; not there while one goes on
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from t4dm_daemon.core.clock import RecordClock
from t4dm_daemon.core.errors import (
    ConflictError,
    CorruptionError,
    FormatError,
    InvalidInputError,
    NotFoundError,
    StorageClosedError,
    StorageError,
    StorageLockedError,
)
from t4dm_daemon.storage.t4dx import checked
from t4dm_daemon.storage.t4dx.backup import (
    STAGING,
    BackupReport,
    VerifyReport,
    begin,
    check_small_files,
    copy_closed,
    finish,
    link_files,
    problem_of,
    verify_engine,
    write_backup,
)
from t4dm_daemon.storage.t4dx.engine import T4DXEngine
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.wal_mac import space_key

logger = logging.getLogger(__name__)

FORMAT_VERSION: Final = 3
OLDEST_FORMAT: Final = 1
"""A store of this format or a later one is brought up to date when it is opened, after a backup.

    1  all links of a space in its state file
    2  links in segments, with transaction times; named blobs; purged rows
    3  commands in the log name items by id, not by key
"""
CREATED_BY: Final = "t4dx"


class Database:
    """Open a directory of spaces, and own it until `close`. Thread-safe.

    Args:
        root: The directory; created when absent, with access for the user alone.
        sync: "always": writes are on disk when they return; "off": when the system gets to it.
        flush_items, ann, ann_min_rows, verify, language: See `T4DXEngine`.
        wal_key: Authenticates the logs of all spaces, at least 32 bytes; see `wal_mac`.
        clock: Transaction times.
        owner: Facts for whoever finds the directory locked, for example the URL.
        on_claimed: Called when the directory is locked and its format is known, before the spaces are recovered.
        fs: The file system.

    Raises:
        StorageLockedError: Another process (or another Database) has it open; the message says who.
        FormatError: A newer version wrote it. Nothing was touched.
        CorruptionError: Files are damaged.
        WalKeyError: A log holds what is needed and was written with another key, or without.

    `_lock` guards `_engines`, `_catalog` and `_owner`.
    """

    def __init__(
        self,
        root: Path,
        *,
        sync: Literal["always", "off"] = "always",
        flush_items: int = 10_000,
        ann: str = "faiss",
        ann_min_rows: int = 50_000,
        verify: bool = True,
        merge_in_background: bool = True,
        archive: Path | None = None,
        recover_until: int | None = None,
        read_only: bool = False,
        language: str = "english",
        wal_key: bytes | None = None,
        clock: RecordClock | None = None,
        owner: Mapping[str, Any] | None = None,
        on_claimed: Callable[[], None] | None = None,
        fs: FileSystem | None = None,
    ) -> None:
        self._fs = fs or FileSystem()
        self._root = root
        self._clock = clock or RecordClock()
        self._options: dict[str, Any] = {
            "sync": sync == "always",
            "flush_items": flush_items,
            "ann": ann,
            "ann_min_rows": ann_min_rows,
            "verify": verify,
            "merge_in_background": merge_in_background,
            "recover_until": recover_until,
            "read_only": read_only,
            "language": language,
        }
        self._archive = archive
        self._wal_key = wal_key
        self._read_only = read_only
        self._lock = threading.Lock()
        self._migrates_from: int | None = None
        self._pid = os.getpid()
        self._engines: dict[str, T4DXEngine] = {}
        self._is_closed = False
        self._owner: dict[str, Any] = {"pid": self._pid, "started_at": int(time.time()), **(owner or {})}
        self._descriptor = self._take_lock()
        try:
            self._write_owner()
            self._store_id = self._check_format()
            self._catalog = self._load_catalog()
            if on_claimed is not None:
                on_claimed()
            self._keep_old_format()
            for name, entry in self._catalog["spaces"].items():
                self._engines[name] = self._open(entry)
            self._remove_orphans()
            self._finish_migration()
            self.was_clean = self._note_start()
        except BaseException as error:
            for engine in self._engines.values():
                engine.close(discard=True)
            self._fs.unlock(self._descriptor)
            if isinstance(error, OSError):
                raise StorageError(f"{root} cannot be opened: {error}", path=str(root)) from error
            raise

    # Opening ------------------------------------------------------------------------------------------

    def _take_lock(self) -> int:
        path = self._root / "LOCK"
        try:
            self._fs.make_directory(self._root)
            descriptor = self._fs.lock(path)
        except OSError as error:
            raise StorageError(f"{self._root} cannot be written: {error}", path=str(self._root)) from error
        if descriptor is None:
            raise StorageLockedError(f"{self._root} is in use by {_holder(self._fs, path)}", path=str(self._root))
        return descriptor

    def _write_owner(self) -> None:
        text = json.dumps(self._owner).encode()
        os.ftruncate(self._descriptor, 0)
        self._fs.write_at(self._descriptor, text, 0)

    def set_owner(self, **facts: Any) -> None:
        """Add facts for whoever finds the directory locked."""
        with self._lock:
            self._require_open()
            self._owner |= facts
            self._write_owner()

    def _check_format(self) -> bytes:
        path = self._root / "FORMAT"
        if not self._fs.exists(path):
            if self._fs.exists(self._root / "CATALOG") or self._fs.list(self._root / "spaces"):
                raise CorruptionError(f"{path}: this file is missing; restore a backup", file=str(path))
            store_id = secrets.token_bytes(16)
            facts = {"format": FORMAT_VERSION, "created_by": CREATED_BY, "store_id": store_id.hex()}
            self._fs.replace(path, json.dumps(facts).encode())
            return store_id
        try:
            facts = json.loads(self._fs.read(path))
            found, store_id = int(facts["format"]), bytes.fromhex(facts["store_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptionError(
                f"{path}: this file is damaged: it holds no format and store_id; restore a backup", file=str(path)
            ) from error
        if OLDEST_FORMAT <= found < FORMAT_VERSION:
            self._migrates_from = found
        elif found != FORMAT_VERSION:
            raise FormatError(
                f"{self._root} has data format {found}, this T4DM reads format {FORMAT_VERSION}: upgrade T4DM",
                expected=FORMAT_VERSION,
                found=found,
            )
        return store_id

    def _keep_old_format(self) -> None:
        """Make a backup before anything of an older format is changed; once, however often it is tried."""
        found = self._migrates_from
        if found is None:
            return
        target = self._root / "backups" / f"format-{found}"
        self._fs.make_directory(target.parent)
        if not target.exists():
            logger.warning("the store has an older format; it is backed up first", extra={"backup": str(target)})
            partial = begin(self._fs, target)
            copy_closed(self._fs, self._root, partial)
            finish(self._fs, partial, target)

    def _finish_migration(self) -> None:
        """Write every space in the present format, and say so last of all: until then it is done again."""
        if self._migrates_from is None:
            return
        for engine in self._engines.values():
            engine.flush()
        facts = json.loads(self._fs.read(self._root / "FORMAT")) | {"format": FORMAT_VERSION}
        self._fs.replace(self._root / "FORMAT", json.dumps(facts).encode())
        logger.info("the store was brought up to date", extra={"from": self._migrates_from, "to": FORMAT_VERSION})

    def _note_start(self) -> bool | None:
        """Return whether the last run ended as it should, None for a new store; this one has not yet."""
        path = self._root / "CLEAN"
        was_clean = self._fs.exists(path)
        if was_clean:
            self._fs.remove(path)
            self._fs.sync_directory(self._root)
        elif self._catalog["next"] > 1:
            logger.warning("the last run was cut short; the log was replayed", extra={"path": str(self._root)})
        return was_clean if was_clean or self._catalog["next"] > 1 else None

    def _load_catalog(self) -> dict[str, Any]:
        path = self._root / "CATALOG"
        if not self._fs.exists(path):
            if self._fs.list(self._root / "spaces"):
                raise CorruptionError(f"{path}: this file is missing; restore a backup", file=str(path))
            # Written before the first space is made, so that a missing one always means damage.
            self._fs.replace(path, checked.encode({"next": 1, "spaces": {}}))
        catalog: dict[str, Any] = checked.read(self._fs, path)
        return catalog

    def _save_catalog(self, catalog: dict[str, Any]) -> None:
        try:
            self._fs.replace(self._root / "CATALOG", checked.encode(catalog))
        except OSError as error:
            raise StorageError(f"the catalog could not be written: {error}") from error
        self._catalog = catalog

    def _directory(self, number: int) -> Path:
        return self._root / "spaces" / str(number)

    def _open(self, entry: Mapping[str, Any]) -> T4DXEngine:
        return T4DXEngine(
            self._directory(entry["directory"]),
            store_id=self._store_id,
            clock=self._clock,
            dimension=entry["attributes"].get("dimension"),
            fs=self._fs,
            archive=None if self._archive is None else self._archive / str(entry["directory"]),
            wal_key=None if self._wal_key is None else space_key(self._wal_key, entry["directory"]),
            **self._options,
        )

    def _remove_orphans(self) -> None:
        for name in self._fs.list(self._root):
            if name.startswith(STAGING):
                self._fs.remove_tree(self._root / name)
        known = {str(entry["directory"]) for entry in self._catalog["spaces"].values()}
        for name in self._fs.list(self._root / "spaces"):
            if name not in known:
                logger.warning("leftover of a deleted space removed", extra={"directory": name})
                self._fs.remove_tree(self._root / "spaces" / name)

    # Spaces -------------------------------------------------------------------------------------------

    def create_space(self, name: str, **attributes: Any) -> T4DXEngine:
        """Create a space, durably. Raises ConflictError when it exists."""
        with self._lock:
            self._require_open()
            self._require_present()
            if name in self._engines:
                raise ConflictError(f"space {name!r} exists already", space=name)
            number = self._catalog["next"]
            entry = {"directory": number, "attributes": attributes}
            try:
                self._fs.remove_tree(self._directory(number))
                engine = self._open(entry)
            except OSError as error:
                raise StorageError(f"space {name!r} could not be made: {error}", space=name) from error
            try:
                self._fs.sync_directory(self._root / "spaces")
                self._save_catalog({"next": number + 1, "spaces": self._catalog["spaces"] | {name: entry}})
            except BaseException as error:
                engine.close(discard=True)
                if isinstance(error, OSError):
                    raise StorageError(f"space {name!r} could not be made: {error}", space=name) from error
                raise
            self._engines = self._engines | {name: engine}
            return engine

    def space(self, name: str) -> T4DXEngine:
        """Return a space. Raises NotFoundError."""
        self._require_open()
        engine = self._engines.get(name)
        if engine is None:
            raise NotFoundError(f"there is no space {name!r}", space=name)
        return engine

    def attributes(self, name: str) -> dict[str, Any]:
        """Return the attributes of one space. Raises NotFoundError."""
        self._require_open()
        entry = self._catalog["spaces"].get(name)
        if entry is None:
            raise NotFoundError(f"there is no space {name!r}", space=name)
        attributes: dict[str, Any] = entry["attributes"]
        return attributes

    def spaces(self) -> dict[str, dict[str, Any]]:
        """Return the attributes of every space, by name."""
        self._require_open()
        return {name: entry["attributes"] for name, entry in self._catalog["spaces"].items()}

    def delete_space(self, name: str) -> None:
        """Delete a space and its files, for good. Raises NotFoundError."""
        with self._lock:
            self._require_open()
            self._require_present()
            if name not in self._engines:
                raise NotFoundError(f"there is no space {name!r}", space=name)
            spaces = dict(self._catalog["spaces"])
            entry = spaces.pop(name)
            self._save_catalog({"next": self._catalog["next"], "spaces": spaces})
            engine = self._engines[name]
            self._engines = {other: one for other, one in self._engines.items() if other != name}
        engine.close(discard=True, deleted_as=name)
        self._fs.remove_tree(self._directory(entry["directory"]))

    # All of it ----------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Mapping[str, Any]]:
        """Return the statistics of every space, by name."""
        self._require_open()
        found: dict[str, Mapping[str, Any]] = {}
        for name, engine in self._engines.items():
            with self._unless_deleted(name):
                found[name] = engine.stats()
        return found

    def flush(self) -> None:
        """Flush every space."""
        self._require_open()
        for name, engine in self._engines.items():
            with self._unless_deleted(name):
                engine.flush()

    def backup(self, target: Path) -> BackupReport:
        """Write a backup of all spaces as they are at one moment, while readers and writers go on.

        Args:
            target: A directory that does not exist; on the same file system it takes little room (hard links).

        Raises:
            InvalidInputError: The target exists, or lies among the spaces.
            StorageError: It could not be written; nothing is left of it.
        """
        target = target.absolute()
        if (self._root / "spaces").absolute() in (target, *target.parents):
            raise InvalidInputError("a backup does not lie among the spaces it is of", path=str(target))
        with self._lock:
            self._require_open()
            self._require_present()
            try:
                self._fs.make_directory(target.parent)
            except OSError as error:
                raise StorageError(f"{target.parent} cannot be made: {error}", path=str(target)) from error
            staging = self._root / f"{STAGING}{secrets.token_hex(4)}"
            try:
                logs = self._stage(staging)
                return write_backup(self._fs, staging, target, logs, wal_key=self._wal_key)
            except OSError as error:
                raise StorageError(f"the backup could not be written: {error}", path=str(target)) from error
            finally:
                with contextlib.suppress(OSError):  # what stays is removed at the next start
                    self._fs.remove_tree(staging)

    def _stage(self, staging: Path) -> dict[str, int]:
        """Link the files of one moment; return how much of each log belongs to it. Requires: _lock.

        Checkpoints wait for as long as the links take, writers for as long as it takes to look at the logs.
        """
        with contextlib.ExitStack() as stack:
            names: list[str] = ["FORMAT", "CATALOG"]
            engines = list(self._engines.values())
            for engine in engines:
                held = stack.enter_context(engine.files_held())
                names += [str((engine.root / name).relative_to(self._root)) for name in held]
            logs: dict[str, int] = {}
            with contextlib.ExitStack() as moment:
                for engine in engines:
                    for name, used in moment.enter_context(engine.log_held()):
                        logs[str((engine.root / "wal" / name).relative_to(self._root))] = used
            link_files(self._fs, self._root, [*names, *logs], staging)
        return logs

    def verify(self) -> VerifyReport:
        """Compare every file with its checksum, and every reference with what it leads to."""
        self._require_open()
        report = VerifyReport()
        with self._lock, contextlib.ExitStack() as stack:
            logs: dict[str, int] = {}
            try:
                self._require_present()
                for engine in self._engines.values():
                    with engine.log_held() as files:
                        logs |= {str((engine.root / "wal" / name).relative_to(self._root)): end for name, end in files}
                    if not self._read_only:
                        stack.enter_context(engine.files_held())
                check_small_files(self._fs, self._root, logs, wal_key=self._wal_key)
            except (CorruptionError, OSError) as error:
                report.problems.append(problem_of(self._root, error))
                return report
        for name, engine in self._engines.items():
            with self._unless_deleted(name):
                verify_engine(engine, report)
        return report

    @contextlib.contextmanager
    def _unless_deleted(self, name: str) -> Iterator[None]:
        """Pass over a space that is deleted while the spaces are walked."""
        try:
            yield
        except StorageClosedError:
            if name in self._engines:
                raise

    def close(self) -> None:
        """Flush everything and release the lock. Safe to call twice."""
        with self._lock:
            if self._is_closed or self._pid != os.getpid():
                return
            self._is_closed = True
            engines = list(self._engines.values())
        try:
            for engine in engines:
                engine.close()
            if all(engine.is_saved for engine in engines):
                self._fs.write_new(self._root / "CLEAN", [b"the last run ended as it should\n"])
                self._fs.sync_directory(self._root)
        except (OSError, StorageError) as error:  # the next start only takes a closer look
            logger.warning("the end of the run was not noted", extra={"reason": str(error)})
        finally:
            self._fs.unlock(self._descriptor)

    def _require_present(self) -> None:
        """Raise CorruptionError when the directory is not the one that was opened."""
        path = self._root / "LOCK"
        if not self._fs.is_named(self._descriptor, path):
            raise CorruptionError(
                f"{path}: this file was removed or moved while the store was open, and with it perhaps all others",
                file=str(path),
            )

    def _require_open(self) -> None:
        if self._pid != os.getpid():
            raise StorageError("this store was opened by the parent process; open it after the fork")
        if self._is_closed:
            raise StorageClosedError("the store is closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def hold(fs: FileSystem, root: Path) -> Iterator[None]:
    """Own a directory for a while without opening its spaces. Raises StorageLockedError."""
    path = root / "LOCK"
    existed = fs.exists(path)
    descriptor = fs.lock(path)
    if descriptor is None:
        raise StorageLockedError(f"{root} is in use by {_holder(fs, path)}", path=str(root))
    try:
        yield
    finally:
        fs.unlock(descriptor)
        if not existed:
            fs.remove(path)


def _holder(fs: FileSystem, path: Path) -> str:
    try:
        facts = json.loads(fs.read(path))
        name = "the T4DM daemon" if facts.get("kind") == "daemon" else "another process"
        where = f" at {facts['url']}" if facts.get("url") else ""
        return f"{name} with pid {facts['pid']}{where}"
    except (OSError, ValueError, KeyError, AttributeError):
        return "another process"
