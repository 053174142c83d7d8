"""What changes in a host's configuration, and how it is written: never half, never without a copy of what was."""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from t4dm.sdk.errors import ConflictError, ValidationError
from t4dm_integrations.mcp.hosts import jsonc
from t4dm_integrations.mcp.hosts.known import Host

_OF_ADDRESSES: Final = frozenset(("type", "url", "serverUrl", "httpUrl", "headers", "auth", "oauth"))
_WRITABLE: Final = 0o222


@dataclass(frozen=True, slots=True)
class Change:
    """A file as it is and as it would be."""

    file: Path
    before: str | None
    """None: there is no such file."""
    after: str

    @property
    def is_needed(self) -> bool:
        return (self.before or "") != self.after

    @property
    def diff(self) -> str:
        """The change as a unified diff; empty where nothing changes."""
        before, after = (self.before or "").splitlines(), self.after.splitlines()
        name = "/dev/null" if self.before is None else str(self.file)
        return "\n".join(difflib.unified_diff(before, after, name, str(self.file), lineterm=""))

    def write(self) -> Path | None:
        """Write it, and return the copy of what was there before.

        Raises:
            ConflictError: The file has changed since it was read, or is marked as read-only.
            OSError: It cannot be written; it is as before then.
        """
        target = Path(os.path.realpath(self.file))
        if _text(target) != self.before:
            raise ConflictError(f"{self.file} has changed meanwhile; look again", code="file_changed")
        if self.before is not None and not target.stat().st_mode & _WRITABLE:
            raise ConflictError(f"{self.file} is read-only; make it writable, then try again", code="file_read_only")
        target.parent.mkdir(parents=True, exist_ok=True)
        backup = None
        if self.before is not None:
            backup = target.with_name(f"{target.name}.before-t4dm-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
            shutil.copy2(target, backup)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
                stream.write(self.after)
                stream.flush()
                os.fsync(stream.fileno())
            if self.before is not None:
                shutil.copymode(target, name)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return backup


def installation(host: Host, file: Path, name: str, command: str, arguments: Sequence[str]) -> Change:
    """Return the change that lets a host start a server by this command. Raises ValidationError."""
    before = _text(file)
    path = (host.key, name)
    with _Readable(host, file):
        entry = host.entry(command, list(arguments))
        known = jsonc.value_at(before or "", path)
        if isinstance(known, dict):
            # What a person has set beside it, for example which tools are allowed, stays; an address does not, nor
            # what belongs to one: the host could not tell which of the two to use.
            entry = {**{key: value for key, value in known.items() if key not in _OF_ADDRESSES}, **entry}
        after = before or "" if known == entry else jsonc.with_member(before or "", path, entry)
    return Change(file, before, after)


def removal(host: Host, file: Path, name: str) -> Change:
    """Return the change that takes a server out of a host's configuration. Raises ValidationError."""
    before = _text(file)
    with _Readable(host, file):
        after = jsonc.without_member(before, (host.key, name)) if before and before.strip() else before or ""
    return Change(file, before, after)


class _Readable:
    """Say which file it is that cannot be read as JSON."""

    def __init__(self, host: Host, file: Path) -> None:
        self._host = host
        self._file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, jsonc.JsoncError):
            raise ValidationError(
                f"{self._file} is not what {self._host.title} can read: {error}. Nothing was changed; mend the file, "
                "then try again",
                code="broken_configuration",
                details={"file": str(self._file)},
            ) from error


def _text(file: Path) -> str | None:
    try:
        content = Path(os.path.realpath(file)).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValidationError(
            f"{file} is not UTF-8 ({error.reason} at byte {error.start}); nothing was changed",
            code="broken_configuration",
            details={"file": str(file)},
        ) from None
