"""Files as sources: plain, gzip, a member of a zip, or found in a folder; bounded and counted.

Nothing is unpacked to disk. What is compressed may not become larger than `MAX_INFLATED_BYTES`, nor, past the first
`FREE_BYTES`, more than `MAX_RATIO` times as large as it is (text packs 3 to 20 times; a bomb, a thousand times). A
folder is walked without following links out of it.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, cast

from t4dm_daemon.core.errors import SourceError
from t4dm_daemon.sources.entries import Unstored

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_INFLATED_BYTES: Final = 16 * 1024**3
MAX_RATIO: Final = 200
FREE_BYTES: Final = 64 * 1024 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK"
_CHUNK: Final = 1024 * 1024


class _Stream(Protocol):
    """What files, gzip files and members of zips have in common."""

    def read1(self, size: int = ..., /) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Document:
    """One file to read: its name for people, and how it is opened."""

    name: str
    open: Callable[[], BinaryIO]


class Files:
    """Open files, and know how much of them was read.

    Attributes:
        read_bytes: How much of that was read.
    """

    def __init__(self) -> None:
        self.read_bytes = 0

    def open(self, path: Path) -> BinaryIO:
        """Open a plain or gzip file, or a pipe. Raises SourceError."""
        with failing(path):
            file = path.open("rb")
        try:
            with failing(path):
                details = os.fstat(file.fileno())
                if stat.S_ISDIR(details.st_mode):
                    raise SourceError(f"{path} is a folder, and one file is read", file=str(path))
                packed = file.peek(2)[:2] == _GZIP
                size = details.st_size if stat.S_ISREG(details.st_mode) else None
        except BaseException:
            file.close()
            raise
        if not packed:
            return self._counted(file, path, limit=None)
        return self._counted(gzip.GzipFile(fileobj=file), path, limit=_limit(size or 0), below=file)

    def documents(self, path: Path, pattern: str) -> list[Document]:
        """Return what a file, a zip or a folder holds: the file itself, or the members named by a regex.

        Raises SourceError when it cannot be opened, or holds none.
        """
        with failing(path):
            if path.is_dir():
                found = [
                    Document(one.name, lambda one=one: self.open(one))  # type: ignore[misc]
                    for one in sorted(path.iterdir())
                    if re.fullmatch(pattern, one.name) and one.is_file()
                ]
            elif is_zip(path):
                found = self._members(path, pattern)
            else:
                return [Document(path.name, lambda: self.open(path))]
        if not found:
            raise SourceError(f"{path} holds no file named like {pattern}", file=str(path))
        return found

    def member(self, path: Path, name: str) -> BinaryIO:
        """Open a member of a zip. Raises SourceError."""
        with failing(path):
            archive = zipfile.ZipFile(path)
            try:
                details = archive.getinfo(name)
                member = archive.open(details)
                limit = _limit(details.compress_size)
                inner: _Stream = gzip.GzipFile(fileobj=member) if name.endswith(".gz") else cast("_Stream", member)
                return self._counted(inner, path / name, limit=limit, below=archive)
            except BaseException:
                archive.close()
                raise

    def _members(self, path: Path, pattern: str) -> list[Document]:
        with zipfile.ZipFile(path) as archive:
            names = [one.filename for one in archive.infolist() if not one.is_dir()]
        return [
            Document(name, lambda name=name: self.member(path, name))  # type: ignore[misc]
            for name in sorted(set(names))
            if re.fullmatch(pattern, name.rpartition("/")[2]) and not name.startswith("__MACOSX/")
        ]

    def _counted(self, inner: _Stream, path: Path, *, limit: int | None, below: object = None) -> BinaryIO:
        def count(size: int) -> None:
            self.read_bytes += size

        return io.BufferedReader(_Bounded(inner, path, limit, count, below), _CHUNK)


class _Bounded(io.RawIOBase):
    """Count what is read, stop a bomb, and turn errors of reading into SourceError."""

    def __init__(
        self, inner: _Stream, path: Path, limit: int | None, count: Callable[[int], None], below: object
    ) -> None:
        self._inner, self._path, self._limit, self._count, self._below = inner, path, limit, count, below
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        with failing(self._path):
            data = self._inner.read1(len(view))  # what there is: a pipe may be slow
        view[: len(data)] = data
        self._size += len(data)
        self._count(len(data))
        if self._limit is not None and self._size > self._limit:
            raise SourceError(
                f"{self._path} unpacks to more than {self._limit:,} bytes, which is no text any more; unpack it "
                "yourself if you trust it",
                file=str(self._path),
                limit=self._limit,
            )
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
            if self._below is not None:
                self._below.close()  # type: ignore[attr-defined]
        super().close()


def plain_size(path: Path) -> int | None:
    """Return how many bytes will be read of a plain file; None for all else."""
    if not path.is_file() or is_zip(path):
        return None
    with path.open("rb") as file:
        return None if file.read(2) == _GZIP else path.stat().st_size


def is_zip(path: Path) -> bool:
    """Say whether a file is a zip, by its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == _ZIP


def walk(root: Path, pattern: str) -> Iterator[Path | Unstored]:
    """Yield the files of a folder whose names match, in order; links that lead out of it are told, not followed."""
    inside = root.resolve()
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not re.fullmatch(pattern, name):
                continue
            place = path.relative_to(root).as_posix()
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                yield Unstored(place, "a link that leads out of the folder", is_wrong=False)
            elif not path.is_file():
                yield Unstored(place, "not a file", is_wrong=False)
            else:
                yield path


@contextlib.contextmanager
def failing(path: Path) -> Generator[None]:
    """Turn what goes wrong with a file into a SourceError that names it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise SourceError(f"{path} cannot be read: {reason}", file=str(path)) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError) as error:
        raise SourceError(f"{path} cannot be unpacked: {error}", file=str(path)) from error


def _limit(packed_bytes: int) -> int:
    return min(MAX_INFLATED_BYTES, max(FREE_BYTES, packed_bytes * MAX_RATIO))


def _raise(error: OSError) -> None:
    raise SourceError(f"{error.filename} cannot be read: {error.strerror}", file=str(error.filename)) from error
