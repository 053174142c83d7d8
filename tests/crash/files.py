"""File systems that fail, stop, and forget."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
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


SECTOR_BYTES = 512


@dataclass
class _Unsynced:
    """Bytes that were written and not synced, and what stood there before."""

    path: Path
    descriptor: int
    offset: int
    before: bytes
    after: bytes
    size: int

    def undo(self, keeps: Callable[[], bool]) -> None:
        """Put back what stood there, but for the sectors that had reached the disk; never more than there was."""
        end = self.offset + len(self.after)
        is_whole = True
        for start in range(self.offset - self.offset % SECTOR_BYTES, end, SECTOR_BYTES):
            first, last = max(start, self.offset), min(start + SECTOR_BYTES, end)
            if keeps():
                continue
            is_whole = False
            old = self.before[first - self.offset : last - self.offset]
            os.pwrite(self.descriptor, old.ljust(last - first, b"\0"), first)
        if not is_whole and end > self.size and not keeps():
            os.ftruncate(self.descriptor, max(self.size, 0))

    def close(self) -> None:
        os.close(self.descriptor)


class ForgetfulFileSystem(FileSystem):
    """Remember how to undo what was not synced, as a power failure would.

    Content is safe after `sync` of its file; a name (created, renamed, removed) after `sync_directory`.
    """

    def __init__(self) -> None:
        self._content: list[_Unsynced] = []
        self._names: list[tuple[Path, Callable[[], None]]] = []

    def forget(self, seed: int | None = None) -> None:
        """Undo what was not synced, newest first: all of it, or with a seed some sectors and the last names."""
        chance = None if seed is None else random.Random(seed)
        for one in reversed(self._content):
            one.undo(lambda: chance is not None and chance.random() < 0.5)
            one.close()
        self._content = []
        kept = 0 if chance is None else chance.randint(0, len(self._names))
        for _, undo in reversed(self._names[kept:]):
            undo()
        self._names = []

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
        length = memoryview(content).nbytes
        before = os.pread(descriptor, length, offset)
        after = bytes(memoryview(content))
        one = _Unsynced(self._path(descriptor), os.dup(descriptor), offset, before, after, inode.st_size)
        self._content.append(one)
        super().write_at(descriptor, content, offset)

    def sync(self, descriptor: int) -> None:
        path = self._path(descriptor)
        for one in self._content:
            if one.path == path:
                one.close()
        self._content = [one for one in self._content if one.path != path]

    def sync_directory(self, path: Path) -> None:
        self._names = [(one, undo) for one, undo in self._names if one != path]

    def rename(self, path: Path, name: Path) -> None:
        old = name.read_bytes() if name.exists() else None
        for one in self._content:
            if one.path == path:
                one.path = name

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


class PowerCutFileSystem(ForgetfulFileSystem):
    """Count the steps that change the disk; at the `at`-th the power goes: it and all later ones fail.

    What was not synced by then is undone by `forget`. The bytes of the last write are on their way: some of their
    sectors may arrive.
    """

    def __init__(self, at: int | None = None) -> None:
        super().__init__()
        self.at = at
        self.steps = 0

    def _step(self) -> None:
        self.steps += 1
        if self.at is not None and self.steps >= self.at:
            raise OSError(errno.EIO, "the power is gone")

    def write_at(self, descriptor: int, content: bytes | bytearray | memoryview, offset: int) -> None:
        try:
            self._step()
        except OSError:
            if self.steps == self.at:
                super().write_at(descriptor, content, offset)
            raise
        super().write_at(descriptor, content, offset)

    def sync(self, descriptor: int) -> None:
        self._step()
        super().sync(descriptor)

    def sync_directory(self, path: Path) -> None:
        self._step()
        super().sync_directory(path)

    def rename(self, path: Path, name: Path) -> None:
        self._step()
        super().rename(path, name)

    def remove(self, path: Path) -> None:
        if path.exists():
            self._step()
        super().remove(path)
