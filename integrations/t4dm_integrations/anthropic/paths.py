"""Paths under /memories, and the ids of what lies there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from anthropic.lib.tools import ToolError

ROOT: Final = "/memories"
MAX_DEPTH: Final = 32
"""Labels that a memory's namespace may have."""
MAX_NAME_BYTES: Final = 255
"""As in most file systems."""


@dataclass(frozen=True, slots=True)
class FilePath:
    """A path that was checked.

    Attributes:
        given: As the model wrote it, for what it is told.
        names: From the root to the file or directory; empty for the root.
    """

    given: str
    names: tuple[str, ...]

    @classmethod
    def parse(cls, path: str) -> Self:
        """Return the path, with `.` and `..` resolved. Raises ToolError when it leads out of /memories."""
        if path != ROOT and not path.startswith(f"{ROOT}/"):
            raise ToolError(f"Path must start with {ROOT}, got: {path}")
        names: list[str] = []
        for name in path.removeprefix(ROOT).split("/"):
            if name == "..":
                if not names:
                    raise ToolError(f"Path {path} would escape {ROOT} directory")
                names.pop()
            elif name not in ("", "."):
                names.append(_checked(name, path))
        if len(names) > MAX_DEPTH:
            raise ToolError(f"Path {path} is deeper than {MAX_DEPTH} levels")
        return cls(path, tuple(names))

    @property
    def is_root(self) -> bool:
        return not self.names

    @property
    def text(self) -> str:
        """The path in its plain form."""
        return "/".join((ROOT, *self.names))

    @property
    def parents(self) -> list[FilePath]:
        """The directories above, from the top, without the root."""
        return [FilePath(self.given, self.names[:depth]) for depth in range(1, len(self.names))]

    def within(self, directory: FilePath) -> bool:
        """Say whether it lies in a directory, however deep, or is that directory."""
        return self.names[: len(directory.names)] == directory.names

    def moved(self, old: FilePath, new: FilePath) -> FilePath:
        """Return where it is when `old`, in which it lies, has become `new`."""
        return FilePath(new.given, (*new.names, *self.names[len(old.names) :]))

    def memory_id(self, owner: Mapping[str, str]) -> str:
        """Return the id of the memory at this path: one for each owner and path, so that no two files share it."""
        named = json.dumps([sorted(owner.items()), self.names], ensure_ascii=False)
        return f"file:{hashlib.sha256(named.encode()).hexdigest()[:40]}"


def _checked(name: str, path: str) -> str:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ToolError("The path holds a lone surrogate, which is not valid Unicode") from None
    if size > MAX_NAME_BYTES:
        raise ToolError(f"A name in the path {path[:100]}… is longer than {MAX_NAME_BYTES} bytes")
    if "\0" in name:
        raise ToolError("The path holds a null character")
    return name
