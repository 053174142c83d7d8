"""Every access to files goes through here.

One class, so that durability rests on few calls, and so that tests can put a file system in its place that
loses unsynced bytes, fails at step n, or is full.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from t4dm_daemon.core.errors import StorageError, StorageFullError

_ZEROS: Final = bytes(1024 * 1024)
FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


class FileSystem:
    """The real file system. Methods raise StorageFullError on a full disk, StorageError or OSError otherwise."""

    def make_directory(self, path: Path) -> None:
        """Make a directory and what is missing above it; `mkdir(parents=True)` would leave those open to others."""
        if not path.is_dir():
            self.make_directory(path.parent)
            with _full_disk_named():
                path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)

    def list(self, path: Path) -> list[str]:
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    def exists(self, path: Path) -> bool:
        return path.exists()

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def map(self, path: Path) -> memoryview:
        """Return a read-only view of a file, mapped into memory; an empty file is an empty view."""
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def create_zero_filled(self, path: Path, size: int) -> int:
        """Create a file of `size` zero bytes that are really on disk, and return its descriptor.

        Written, not merely allocated: only initialised extents make a later fdatasync cheap.
        """
        with _full_disk_named():
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        try:
            for offset in range(0, size, len(_ZEROS)):
                self.write_at(descriptor, _ZEROS[: size - offset], offset)
            self.sync(descriptor)
            self.sync_directory(path.parent)
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return descriptor

    def write_at(self, descriptor: int, content: bytes | bytearray | memoryview, offset: int) -> None:
        """Write all of `content`; a short write is continued."""
        view = memoryview(content)
        try:
            while view:
                written = os.pwrite(descriptor, view, offset)
                offset += written
                view = view[written:]
        except OSError as error:
            raise _storage_error(error) from error

    def sync(self, descriptor: int) -> None:
        """Wait until what was written is on disk."""
        os.fdatasync(descriptor)

    def sync_directory(self, path: Path) -> None:
        """Make creations, renames and removals in a directory durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def write_new(self, path: Path, parts: Iterable[bytes | memoryview]) -> int:
        """Write a new file durably (but not its directory entry) and return its size."""
        with _full_disk_named():
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        offset = 0
        try:
            for part in parts:
                self.write_at(descriptor, part, offset)
                offset += memoryview(part).nbytes
            self.sync(descriptor)
        finally:
            os.close(descriptor)
        return offset

    def replace(self, path: Path, content: bytes) -> None:
        """Put a file in place of another, atomically and durably: all of the new content, or all of the old."""
        temporary = path.with_name(path.name + ".new")
        self.write_new(temporary, [content])
        self.rename(temporary, path)
        self.sync_directory(path.parent)

    def adopt(self, temporary: Path, path: Path) -> None:
        """Make a file that a library wrote durable, and give it its name."""
        descriptor = self.open(temporary)
        try:
            os.fchmod(descriptor, FILE_MODE)
            self.sync(descriptor)
        finally:
            os.close(descriptor)
        self.rename(temporary, path)
        self.sync_directory(path.parent)

    def rename(self, path: Path, name: Path) -> None:
        with _full_disk_named():
            path.replace(name)

    def link(self, path: Path, name: Path) -> None:
        """Give an unchanging file a second name; across devices, copy it durably."""
        try:
            with _full_disk_named():
                os.link(path, name)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                raise
            temporary = name.with_name(name.name + ".new")
            self.write_new(temporary, [self.map(path)])
            self.rename(temporary, name)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def remove_tree(self, path: Path) -> None:
        for name in self.list(path):
            inner = path / name
            if inner.is_dir() and not inner.is_symlink():
                self.remove_tree(inner)
            else:
                self.remove(inner)
        if path.is_dir():
            path.rmdir()

    def is_named(self, descriptor: int, path: Path) -> bool:
        """Return whether a path still leads to the open file: it may have been removed, or replaced, meanwhile."""
        try:
            return os.path.samestat(os.fstat(descriptor), path.stat())
        except (FileNotFoundError, NotADirectoryError):
            return False

    def leads_somewhere(self, path: Path) -> bool:
        """Return whether there is a file of this name, without a look at the file: see `Wal._require_name`."""
        return os.access(path, os.F_OK)

    def lock(self, path: Path) -> int | None:
        """Take the exclusive lock on a file and return its descriptor, None when another holds it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            raise
        return descriptor

    def unlock(self, descriptor: int) -> None:
        """Give a lock up, and close its descriptor: closing alone leaves it with a child that was forked meanwhile."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _full_disk_named() -> Iterator[None]:
    """Raise StorageFullError where the system says that there is no room; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _storage_error(error) from error
        raise


def _storage_error(error: OSError) -> StorageError:
    if error.errno in _NO_ROOM:
        return StorageFullError("the disk is full; nothing was stored. Free some space and try again")
    return StorageError(f"writing failed: {error.strerror}", errno=error.errno)
