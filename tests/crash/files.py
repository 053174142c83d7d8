"""File systems that fail, stop, and forget."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from t4dm_daemon.core.errors import StorageFullError
from t4dm_daemon.storage.t4dx.fs import FileSystem


class SteppedFileSystem(FileSystem):
    """Count every step that changes the disk, and let the `at`-th one fail.

    Args:
        at: Number of the step, from 1; None only counts.
        error: What it fails with: ENOSPC or EIO.
        for_good: Every later step fails, too: the process is as good as dead, or the disk stays full.
    """

    def __init__(self, at: int | None = None, *, error: int = errno.EIO, for_good: bool = False) -> None:
        self.at = at
        self.steps = 0
        self.failed: list[str] = []
        self._error = error
        self._for_good = for_good

    def _step(self, name: str) -> None:
        self.steps += 1
        if self.at is not None and (self.steps == self.at or (self._for_good and self.steps > self.at)):
            self.failed.append(name)
            raise OSError(self._error, os.strerror(self._error))

    def write_at(self, descriptor: int, content: bytes | bytearray | memoryview, offset: int) -> None:
        try:
            self._step("write")
        except OSError as error:
            view = memoryview(content)
            if len(self.failed) == 1:  # half of it arrives
                super().write_at(descriptor, view[: len(view) // 2], offset)
            if error.errno == errno.ENOSPC:
                raise StorageFullError("the disk is full") from error
            raise
        super().write_at(descriptor, content, offset)

    def sync(self, descriptor: int) -> None:
        self._step("sync")

    def sync_directory(self, path: Path) -> None:
        self._step("sync directory")

    def rename(self, path: Path, name: Path) -> None:
        self._step("rename")
        super().rename(path, name)

    def remove(self, path: Path) -> None:
        if path.exists():
            self._step("remove")
        super().remove(path)


class ForgetfulFileSystem(FileSystem):
    """Remember how to undo what was not synced, as a power failure would.

    Content is safe after `sync` of its file; a name (created, renamed, removed) after `sync_directory`.
    """

    def __init__(self) -> None:
        self._content: list[tuple[Path, Callable[[], None]]] = []
        self._names: list[tuple[Path, Callable[[], None]]] = []

    def forget(self) -> None:
        """Undo everything that was not synced, newest first."""
        for _, undo in reversed(self._content):
            undo()
        for _, undo in reversed(self._names):
            undo()

    @staticmethod
    def _path(descriptor: int) -> Path:
        return Path(f"/proc/self/fd/{descriptor}").readlink()

    def _created(self, path: Path) -> None:
        self._names.append((path.parent, lambda: path.unlink(missing_ok=True)))

    def create_zero_filled(self, path: Path, size: int) -> int:
        self._created(path)
        return super().create_zero_filled(path, size)

    def write_new(self, path: Path, parts: list[bytes | memoryview]) -> int:  # type: ignore[override]
        self._created(path)
        return super().write_new(path, parts)

    def write_at(self, descriptor: int, content: bytes | bytearray | memoryview, offset: int) -> None:
        inode = os.fstat(descriptor)
        before = os.pread(descriptor, memoryview(content).nbytes, offset)
        size = inode.st_size
        copy = os.dup(descriptor)

        def undo() -> None:
            os.pwrite(copy, before, offset)
            os.ftruncate(copy, size)

        self._content.append((self._path(descriptor), undo))
        super().write_at(descriptor, content, offset)

    def sync(self, descriptor: int) -> None:
        path = self._path(descriptor)
        self._content = [(one, undo) for one, undo in self._content if one != path]

    def sync_directory(self, path: Path) -> None:
        self._names = [(one, undo) for one, undo in self._names if one != path]

    def rename(self, path: Path, name: Path) -> None:
        old = name.read_bytes() if name.exists() else None
        self._content = [(name if one == path else one, undo) for one, undo in self._content]

        def undo() -> None:
            if not name.exists():
                return
            name.rename(path)
            if old is not None:
                name.write_bytes(old)

        super().rename(path, name)
        self._names.append((name.parent, undo))

    def remove(self, path: Path) -> None:
        if path.exists():
            old = path.read_bytes()

            def undo() -> None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(old)

            self._names.append((path.parent, undo))
        super().remove(path)

    def make_directory(self, path: Path) -> None:
        if not path.is_dir():
            self.make_directory(path.parent)

            def undo() -> None:
                for inner in sorted(path.rglob("*"), reverse=True):
                    inner.rmdir() if inner.is_dir() else inner.unlink()
                if path.is_dir():
                    path.rmdir()

            self._names.append((path.parent, undo))
        super().make_directory(path)
