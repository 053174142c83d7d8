"""The write-ahead log: what has been acknowledged, whatever happens next.

A log is a sequence of files `NNNNNNNNNNNN.wal` (`wal_format.py`), each zero-filled before its first use, because
overwriting initialised extents needs no metadata to be flushed.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from t4dm_daemon.core.errors import CorruptionError, StorageError, StorageFullError, WalError, WalKeyError
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.wal_format import (
    CRC,
    FILE_HEADER,
    FILE_MAGIC,
    FRAME,
    FRAME_BYTES,
    FRAME_MAGIC,
    MAC_HEADER,
    MAC_MAGIC,
    RECORD,
    FileHeader,
    LogEnd,
    Record,
    any_frame,
    check_frame,
    is_signed,
    mac_of,
    read_header,
    records_in,
)
from t4dm_daemon.storage.t4dx.wal_mac import MAC_BYTES, NO_MAC, LogKey

logger = logging.getLogger(__name__)
MIN_FILE_BYTES: Final = 1024 * 1024
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
LOOK_EVERY_S: Final = 1.0


@dataclass(slots=True)
class _File:
    number: int
    path: Path
    size: int
    salt: int
    first_lsn: int
    last_lsn: int


class Wal:
    """Append records durably, replay them, drop what is no longer needed.

    Not thread-safe: the engine's commit leader is the only writer. A helper thread fills the next file with
    zeros; `_spare_lock` guards `_spare`.
    """

    def __init__(
        self,
        fs: FileSystem,
        directory: Path,
        *,
        store_id: bytes,
        sync: bool,
        archive: Path | None = None,
        key: LogKey | None = None,
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._store_id = store_id
        self._sync = sync
        self._archive = archive
        self._files: list[_File] = []
        self._descriptor = -1
        self._offset = 0
        self._next_lsn = 1
        self._chain = 0
        self._key = key
        self._mac = NO_MAC
        self._is_own = True
        """Whether the last file is authenticated as this log is to be: the same key, or none."""
        self._in_frame: list[tuple[int, int, memoryview]] = []
        """While a frame is recovered, its records before the one that was yielded last."""
        self._failure: BaseException | None = None
        self._seen_at = 0.0
        """When the file being written was last seen under its name."""
        self._spare_lock = threading.Lock()
        self._spare: tuple[Path, int, int] | None = None
        self._filling: threading.Thread | None = None
        fs.make_directory(directory)

    @property
    def last_lsn(self) -> int:
        return self._next_lsn - 1

    @property
    def used_bytes(self) -> int:
        """Bytes of frames in the log (files are larger: they are filled ahead)."""
        return sum(file.size for file in self._files[:-1]) + (self._offset if self._files else 0)

    @property
    def disk_bytes(self) -> int:
        return sum(file.size for file in self._files)

    @property
    def failure(self) -> BaseException | None:
        """Why the log can no longer be written, None while it can."""
        return self._failure

    def require_present(self) -> None:
        """Raise CorruptionError, and take no more writes, when the file being written has lost its name.

        What is written to it then is gone when it is closed, and files that are made beside it make no store.
        """
        if self._descriptor < 0 or self._fs.is_named(self._descriptor, self._files[-1].path):
            self._seen_at = time.monotonic()
            return
        path = self._files[-1].path
        error = CorruptionError(
            f"{path}: this file was removed or moved while the store was open; what it held can be read until the "
            "store is closed. Export it, then restore a backup",
            file=str(path),
        )
        if self._failure is None:
            self.poison(error)
        raise error

    def _require_name(self) -> None:
        """Ask on every write whether the path is still there, and once a second whether it leads to this file.

        Looking at the file itself (`stat`) makes the next sync slower by a quarter to three quarters: where time stamps
        are fine-grained (Linux 6.13 and later), a write after a look has to record a new one, in the journal.
        """
        is_due = time.monotonic() - self._seen_at > LOOK_EVERY_S
        if is_due or not self._fs.leads_somewhere(self._files[-1].path):
            self.require_present()

    # Recovery -----------------------------------------------------------------------------------------

    def recover(self, after_lsn: int, *, until: int | None = None) -> Iterator[Record]:
        """Yield the records after `after_lsn`, then be ready to append.

        A torn tail is zeroed and logged. Run to the end before appending; with `until`, a transaction time, `restart`
        then: it ends before a file of another key that begins later.

        Raises:
            CorruptionError: Damage that is not a torn tail, or a mac that is not of this key.
            WalKeyError: Records that are needed were written with another key, or without; nothing was touched.
        """
        names = [name for name in self._fs.list(self._directory) if name.endswith(".wal")]
        for name in self._fs.list(self._directory):
            if not name.endswith(".wal"):
                self._fs.remove(self._directory / name)
        self._next_lsn = after_lsn + 1
        torn = 0
        if after_lsn and not names:
            raise CorruptionError(
                f"{self._directory}: the log is missing; what it held is lost. Restore a backup",
                file=str(self._directory),
            )
        expected: int | None = None
        for position, name in enumerate(names):
            path = self._directory / name
            is_last = position == len(names) - 1
            content = self._fs.map(path)
            header = self._read_header(path, content)
            if header is None:
                if not is_last or any_frame(content, 0, None, 0) is not None:
                    raise CorruptionError(f"{path}: the header of this log file is damaged", file=str(path), offset=0)
                content.release()
                break  # created, never used
            number, salt, first_lsn, chain = header.number, header.salt, header.first_lsn, header.chain
            is_gap = expected is not None and not header.follows(LogEnd(expected - 1, self._chain, self._mac))
            if is_gap and max(first_lsn, expected or 0) <= after_lsn + 1:
                expected = None  # what is missing before it is in the checkpoint
            if expected is None:
                if first_lsn > after_lsn + 1:
                    raise CorruptionError(
                        f"{path}: the log begins at record {first_lsn}, but the checkpoint ends at {after_lsn}",
                        file=str(path), expected=after_lsn + 1, found=first_lsn,
                    )  # fmt: skip
                self._chain = chain
                expected = first_lsn
            elif is_gap:
                raise CorruptionError(
                    f"{path}: it begins at record {first_lsn}, but the file before ends at {expected - 1}; "
                    "a frame is missing or damaged at the end of that file",
                    file=str(path), expected=expected, found=first_lsn,
                )  # fmt: skip
            self._mac = header.mac
            offset = header.size
            while (frame := self._frame_at(content, offset, salt, expected)) is not None:
                count, payload_bytes, crc = frame
                mac = self._check_mac(path, content, offset, payload_bytes, header)
                mac_bytes = MAC_BYTES if header.key_id else 0
                start = offset + FRAME_BYTES + mac_bytes
                if not self._is_own and expected + count - 1 > after_lsn:
                    if until is not None and RECORD.unpack_from(content, start)[2] > until:
                        return
                    raise self._needs_another_key(path, offset, header, max(expected, after_lsn + 1))
                for at, record in enumerate(records_in(path, content, start, payload_bytes - mac_bytes, count)):
                    if expected + at > after_lsn:
                        yield Record(expected + at, *record)
                    self._in_frame.append(record)
                self._in_frame.clear()
                expected += count
                self._chain, self._mac = crc, mac
                offset += FRAME_BYTES + payload_bytes
            self._files.append(_File(number, path, len(content), salt, first_lsn, expected - 1))
            self._offset = offset
            torn = self._torn_bytes(path, content, offset, salt, expected)
            content.release()
            self._next_lsn = max(expected, after_lsn + 1)
        if torn:
            self._zero_tail(torn)
        self._begin_appending([self._directory / name for name in names], after_lsn)

    def _read_header(self, path: Path, content: memoryview) -> FileHeader | None:
        header = read_header(content)
        if header is not None and header.store_id != self._store_id:
            raise CorruptionError(f"{path}: this log belongs to another store", file=str(path))
        if header is not None:
            self._is_own = header.key_id == (b"" if self._key is None else self._key.id)
            if not is_signed(header, self._key):
                raise CorruptionError(
                    f"{path}: the header of this log file was not written with this key (byte 0); it was changed "
                    "or forged. Restore a backup",
                    file=str(path), offset=0,
                )  # fmt: skip
        return header

    def _check_mac(self, path: Path, content: memoryview, offset: int, payload_bytes: int, header: FileHeader) -> bytes:
        """Return the mac of a frame; if it was made with this log's key, it is the right one."""
        mac = mac_of(content, offset, payload_bytes, header, self._mac, self._key)
        if mac is None:
            raise CorruptionError(
                f"{path}: the frame at byte {offset} was not written with this key, or not in this place; it was "
                "changed or forged. Restore a backup",
                file=str(path), offset=offset,
            )  # fmt: skip
        return mac

    def _needs_another_key(self, path: Path, offset: int, header: FileHeader, lsn: int) -> WalKeyError:
        if not header.key_id:
            text = (
                "is not authenticated, but a key was given. If T4DM_STORAGE__WAL_MAC has just been switched on, open "
                "the store without it and close it, then switch it on; if not, this was forged: restore a backup"
            )
        elif self._key is None:
            text = "is authenticated, and no key was given: set T4DM_STORAGE__WAL_MAC and T4DM_STORAGE__WAL_KEY_FILE"
        else:
            text = (
                "is authenticated with another key than the one given: open the store with that one "
                "(T4DM_STORAGE__WAL_KEY_FILE). To change the key, close the store with the old one, then open it"
            )
        return WalKeyError(
            f"{path}: the log from byte {offset} (record {lsn}) on {text}",
            file=str(path), offset=offset, lsn=lsn, key_id=header.key_id.hex(),
            given="" if self._key is None else self._key.id.hex(),
        )  # fmt: skip

    def _frame_at(self, content: memoryview, offset: int, salt: int, lsn: int) -> tuple[int, int, int] | None:
        found = check_frame(content, offset, salt)
        if found is None:
            return None
        first_lsn, count, payload_bytes, chain, crc = found
        return (count, payload_bytes, crc) if first_lsn == lsn and chain == self._chain else None

    def _torn_bytes(self, path: Path, content: memoryview, offset: int, salt: int, lsn: int) -> int:
        """Return how many bytes follow the last whole frame.

        In a file that is not the last, the chain of the next tells whether a frame is among them.
        """
        rest = bytes(content[offset:]).rstrip(b"\0")
        if not rest:
            return 0
        later = any_frame(content, offset, salt, lsn)
        if later is not None:
            raise CorruptionError(
                f"{path}: the frame at byte {offset} is damaged, but a later one (byte {later}) is whole; "
                "restore a backup",
                file=str(path), offset=offset, later=later, expected_lsn=lsn,
            )  # fmt: skip
        return len(rest)

    def _zero_tail(self, torn: int) -> None:
        path = self._files[-1].path
        logger.warning("torn tail of the log dropped", extra={"file": path.name, "offset": self._offset, "bytes": torn})
        descriptor = self._fs.open(path)
        try:
            self._fs.write_at(descriptor, bytes(torn), self._offset)
            self._fs.sync(descriptor)
        finally:
            self._fs.close(descriptor)

    def _begin_appending(self, found: Sequence[Path], after_lsn: int) -> None:
        """Open the last file, or begin one when the log ends before the checkpoint. Remove what is not used."""
        if self._files and self._files[-1].last_lsn >= after_lsn and self._is_own:
            self._descriptor = self._fs.open(self._files[-1].path)
        elif after_lsn or self._files:
            if self._files and not self._is_own:
                with_key = "" if self._key is None else self._key.id.hex()
                logger.warning("the log goes on with another key, or without", extra={"key_id": with_key})
            # Never without a file once there was a checkpoint: an empty log would look like a lost one.
            self._begin_file(0)
            self._files = [one for one in self._files[:-1] if one.last_lsn > after_lsn] + self._files[-1:]
        used = {file.path for file in self._files}
        for path in found:
            if path not in used:
                header = read_header(self._fs.map(path)) if self._archive is not None else None
                if header is not None and header.first_lsn <= after_lsn + 1:
                    self._put_away(path, header.number, header.salt)
                self._fs.remove(path)

    # Appending ----------------------------------------------------------------------------------------

    def append(self, records: Sequence[tuple[int, int, bytes]]) -> int:
        """Write records `(type, transaction time, body)` as one frame and return the LSN of the first.

        They are on disk when this returns.

        Raises:
            StorageFullError: No room; nothing was written, and the log goes on.
            CorruptionError: The file has lost its name, and what was written with it; the log refuses everything.
            WalError: Writing failed for good; the log refuses everything until it is opened again, for after
                a failed sync nobody knows what is on disk.
        """
        if self._failure is not None:
            raise WalError(f"the log cannot be written any more: {self._failure}; restart to recover")
        parts = [b"", b""]
        for kind, moment, body in records:
            parts.append(RECORD.pack(len(body), kind, moment))
            parts.append(body)
        payload_bytes = sum(map(len, parts)) + (0 if self._key is None else MAC_BYTES)
        size = FRAME_BYTES + payload_bytes
        if not self._files or self._offset + size > self._files[-1].size:
            self._begin_file(size)
        file = self._files[-1]
        first_lsn = self._next_lsn
        header = FRAME.pack(FRAME_MAGIC, payload_bytes, file.salt, first_lsn, len(records), self._chain)
        mac = self._mac
        if self._key is not None:
            parts[1] = mac = self._key.mac(self._mac, header, *parts[2:])
        crc = zlib.crc32(b"".join(parts), zlib.crc32(header))
        parts[0] = header + CRC.pack(crc)
        try:
            self._fs.write_at(self._descriptor, b"".join(parts), self._offset)
            if self._sync:
                self._fs.sync(self._descriptor)
        except StorageFullError as error:
            self._erase(size, error)
            raise
        except BaseException as error:
            self.poison(error)
            raise WalError(
                f"the log could not be written: {error}; the store is read-only until it is restarted"
            ) from error
        self._offset += size
        self._chain, self._mac = crc, mac
        self._next_lsn += len(records)
        file.last_lsn = self._next_lsn - 1
        self._require_name()
        if self._offset * 2 > file.size:
            self._prepare_spare()
        return first_lsn

    def _erase(self, size: int, cause: StorageFullError) -> None:
        """Remove what a write that failed halfway left behind, so that it is never taken for a frame."""
        try:
            self._fs.write_at(self._descriptor, bytes(size), self._offset)
            self._fs.sync(self._descriptor)
        except StorageFullError:
            pass  # half a frame is none: recovery passes over it
        except (OSError, StorageError):
            self.poison(cause)

    def poison(self, cause: BaseException) -> None:
        """Refuse every later write: memory and log may differ, and only recovery can tell."""
        self._failure = cause
        logger.error("the log cannot be written; the store is read-only", extra={"reason": str(cause)})

    def _begin_file(self, needed: int, *, after: int = 0, size: int | None = None) -> None:
        number = (self._files[-1].number if self._files else after) + 1
        path = self._directory / f"{number:012}.wal"
        salt = int.from_bytes(secrets.token_bytes(8), "little")
        header, mac = self._new_header(number, salt)
        wanted = max(size or self._next_size(), len(header) + needed)
        descriptor = -1
        try:
            spare = self._take_spare(wanted)
            if spare is None:
                descriptor, size = self._fs.create_zero_filled(path, wanted), wanted
            else:
                spare_path, descriptor, size = spare
                self._fs.rename(spare_path, path)
                self._fs.sync_directory(self._directory)
            self._fs.write_at(descriptor, header, 0)
            self._fs.sync(descriptor)  # files before it may be released before a frame is written
        except (OSError, StorageError) as error:
            if descriptor >= 0:
                self._fs.close(descriptor)
            self._undo_begin(path)
            if isinstance(error, StorageFullError):
                raise
            raise WalError(f"a new log file could not be begun: {error}") from error
        if self._descriptor >= 0:
            self._fs.close(self._descriptor)
        self._descriptor = descriptor
        self._files.append(_File(number, path, size, salt, self._next_lsn, self._next_lsn - 1))
        self._offset, self._mac, self._is_own = len(header), mac, True

    def _new_header(self, number: int, salt: int) -> tuple[bytes, bytes]:
        """Return a file header and its mac."""
        magic = FILE_MAGIC if self._key is None else MAC_MAGIC
        fields = FILE_HEADER.pack(magic, self._store_id, number, salt, self._next_lsn, self._chain)
        if self._key is None:
            return fields + CRC.pack(zlib.crc32(fields)) + bytes(8), NO_MAC
        mac = self._key.mac(fields, self._key.id, self._mac)
        rest = MAC_HEADER.pack(self._key.id, self._mac, mac)
        return fields + CRC.pack(zlib.crc32(rest, zlib.crc32(fields))) + rest, mac

    def _undo_begin(self, path: Path) -> None:
        """Remove a file that could not be begun: what goes on in the file before must not be followed by it."""
        try:
            if self._fs.exists(path):
                self._fs.remove(path)
                self._fs.sync_directory(self._directory)
        except (OSError, StorageError) as error:
            self.poison(error)

    def _next_size(self) -> int:
        return min(MAX_FILE_BYTES, max(MIN_FILE_BYTES, self._files[-1].size * 2)) if self._files else MIN_FILE_BYTES

    def _prepare_spare(self) -> None:
        with self._spare_lock:
            if self._spare is not None or self._filling is not None:
                return  # also after a failure: a full disk is not filled again and again
            self._filling = threading.Thread(target=self._fill, args=(self._next_size(),), name="t4dx-wal", daemon=True)
            self._filling.start()

    def _fill(self, size: int) -> None:
        path = self._directory / "spare.tmp"
        try:
            descriptor = self._fs.create_zero_filled(path, size)
        except (OSError, StorageError) as error:
            logger.warning("no log file could be prepared ahead", extra={"reason": str(error)})
            return
        with self._spare_lock:
            self._spare = (path, descriptor, size)

    def _take_spare(self, wanted: int) -> tuple[Path, int, int] | None:
        if self._filling is not None:
            self._filling.join()
            self._filling = None
        with self._spare_lock:
            spare, self._spare = self._spare, None
        if spare is not None and spare[2] < wanted:
            self._fs.close(spare[1])
            with contextlib.suppress(OSError):
                self._fs.remove(spare[0])
            return None
        return spare

    def acknowledged(self) -> list[tuple[str, int]]:
        """Return the log files and how many bytes of each are frames: those bytes never change.

        Requires: the engine's commit lock.
        """
        whole = [(file.path.name, file.size) for file in self._files[:-1]]
        return whole + [(file.path.name, self._offset) for file in self._files[-1:]]

    def restart(self, lsn: int) -> None:
        """Drop every file, and begin a new one at `lsn`: what follows is not wanted, what was before is applied.

        When that is inside the frame that is being recovered, its records before `lsn` are written again: a file
        always follows a whole frame, so that others can tell which.
        """
        again = [(kind, time, bytes(body)) for kind, time, body in self._in_frame]
        self._in_frame.clear()
        self._next_lsn = lsn - len(again)
        found = [self._directory / name for name in self._fs.list(self._directory)]
        self._files = []
        self._begin_file(0, after=max((int(path.stem) for path in found if path.stem.isdecimal()), default=0))
        if again:
            self.append(again)
        for path in found:
            self._fs.remove(path)

    def rotate(self) -> None:
        """Begin a new file, so that the one before can be released. Requires: the engine's commit lock."""
        if self._failure is None and self._files and self._files[-1].last_lsn >= self._files[-1].first_lsn:
            self._begin_file(0, size=MIN_FILE_BYTES)

    # The end ------------------------------------------------------------------------------------------

    def release(self, lsn: int) -> None:
        """Remove the files whose records are all at or before `lsn`; the one being written stays.

        With an archive they are put there first, and stay here until that has worked.
        """
        try:
            while len(self._files) > 1 and self._files[0].last_lsn <= lsn:
                if self._archive is not None:
                    self._put_away(self._files[0].path, self._files[0].number, self._files[0].salt)
                self._fs.remove(self._files[0].path)
                self._files = self._files[1:]
        except (OSError, StorageError) as error:  # it is tried again after the next checkpoint
            logger.warning("a log file could not be removed", extra={"reason": str(error)})

    def _put_away(self, path: Path, number: int, salt: int) -> None:
        assert self._archive is not None
        self._fs.make_directory(self._archive)
        name = self._archive / f"{number:012}-{salt:016x}.wal"
        if self._fs.exists(name):
            if self._fs.size(name) >= self._fs.size(path):
                return  # put there before, or by the store that this one was copied from: that is kept
            self._fs.remove(name)
        self._fs.link(path, name)
        self._fs.sync_directory(self._archive)

    def close(self) -> None:
        """Release the descriptors. What was appended is on disk already (or, without sync, with the system)."""
        spare = self._take_spare(0)
        if spare is not None:
            self._fs.close(spare[1])
            with contextlib.suppress(OSError):  # if it stays, the next open removes it
                self._fs.remove(spare[0])
        if self._descriptor >= 0:
            self._fs.close(self._descriptor)
            self._descriptor = -1
