"""Files and directories as memories of one space.

A file is a memory: its text the content, embedded and found by meaning like any other; its directories the
namespace; every edit a version of its history. A directory is a memory without text that only keeps its place. Ids
are made of owner and path, so that of two programs which create the same file at once one is told that it exists.

Each operation is a generator that yields calls of a backend and is sent their answers, so that it is written once
for callers that wait and callers that await. What the model should know is raised as the SDK's ToolError.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from operator import methodcaller
from typing import Any, Final, TypeVar

from anthropic.lib.tools import ToolError

from t4dm._privacy import without_private
from t4dm.sdk import models as m
from t4dm.sdk.errors import ConflictError, NotFoundError
from t4dm_integrations.anthropic import texts
from t4dm_integrations.anthropic.paths import FilePath

T = TypeVar("T")
Steps = Generator[Callable[[Any], Any], Any, T]

_PAGE: Final = 1000
_ATTEMPTS: Final = 10
"""To edit a file that others edit at the same time; each time one of them succeeds."""
_DIRECTORY: Final = "directory"
_FILE: Final = "file"


class Files:
    """What can be done with the files of one owner."""

    def __init__(self, space: str, owner: Mapping[str, str]) -> None:
        self._space = space
        self._owner = dict(owner)

    # What the model asks ------------------------------------------------------------------------------

    def view(self, path: FilePath, view_range: Sequence[int] | None) -> Steps[str]:
        """Show a file, or what is in a directory."""
        memory = yield from self._at(path)
        if memory is not None and _is_file(memory):
            return texts.file_view(path.given, memory.content, view_range)
        below = yield from self._below(path)
        if memory is None and not below and not path.is_root:
            raise ToolError(f"The path {path.given} does not exist. Please provide a valid path.")
        sizes = _sizes(path, below)
        directories = _directories(path, below)
        shown = sorted(names for names in sizes if 1 <= len(names) <= 2 and not _is_hidden(names))
        entries = [(sizes[names], "/".join(names) + ("/" if names in directories else "")) for names in shown]
        return texts.directory_view(path.given, sizes.get((), 0), entries)

    def create(self, path: FilePath, text: str) -> Steps[str]:
        """Make a file that does not exist, and the directories above it."""
        _check_text(text)
        exists = ToolError(f"File {path.given} already exists")
        if path.is_root or (yield from self._exists(path)):
            raise exists
        yield from self._make_directories(path)
        try:
            yield self._batch([self._file(path, text)])
        except ConflictError:
            raise exists from None
        return f"File created successfully at: {path.given}"

    def replace(self, path: FilePath, old: str, new: str) -> Steps[str]:
        """Replace the one occurrence of a text in a file."""

        def edit(content: str) -> tuple[str, str]:
            return texts.replaced(path.given, content, old, new)

        return (yield from self._edit(path, edit))

    def insert(self, path: FilePath, line: int, text: str) -> Steps[str]:
        """Put lines into a file."""

        def edit(content: str) -> tuple[str, str]:
            return texts.inserted(content, line, text), f"The file {path.given} has been edited."

        return (yield from self._edit(path, edit))

    def delete(self, path: FilePath) -> Steps[str]:
        """Delete a file, or a directory with everything in it; histories stay."""
        if path.is_root:
            raise ToolError("Cannot delete the /memories directory itself")
        memory = yield from self._at(path)
        below = [] if memory is not None and _is_file(memory) else (yield from self._below(path))
        if memory is None and not below:
            raise ToolError(f"The path {path.given} does not exist")
        yield from self._remove([*below, *([] if memory is None else [memory])])
        return f"Successfully deleted {path.given}"

    def rename(self, old: FilePath, new: FilePath) -> Steps[str]:
        """Move a file, or a directory with everything in it."""
        if old.is_root:
            raise ToolError("Cannot rename the /memories directory itself")
        if new.is_root or (yield from self._exists(new)):
            raise ToolError(f"The destination {new.given} already exists")
        memory = yield from self._at(old)
        is_file = memory is not None and _is_file(memory)
        below = [] if is_file else (yield from self._below(old))
        if memory is None and not below:
            raise ToolError(f"The path {old.given} does not exist")
        if not is_file and new.within(old):
            raise ToolError(f"Cannot rename {old.given} to {new.given}: a directory cannot lie in itself")
        yield from self._make_directories(new)
        moving = [*([] if memory is None else [memory]), *below]
        try:
            for at in range(0, len(moving), _PAGE):
                yield self._batch([self._moved(one, old, new) for one in moving[at : at + _PAGE]])
        except ConflictError:
            raise ToolError(f"The destination {new.given} already exists") from None
        yield from self._remove(moving)  # after the copies: what breaks off here leaves two, never none
        return f"Successfully renamed {old.given} to {new.given}"

    def clear(self) -> Steps[str]:
        """Delete everything of this owner."""
        yield from self._remove((yield from self._below(FilePath.parse("/memories"))))
        return "All memory cleared"

    def history(self, path: FilePath) -> Steps[list[m.HistoryEntry]]:
        """Return every version of what was ever at a path. Raises NotFoundError."""
        memory_id = path.memory_id(self._owner)
        entries: list[m.HistoryEntry] = yield methodcaller("history", memory_id, space=self._space)
        return entries

    # Reading ------------------------------------------------------------------------------------------

    def _at(self, path: FilePath) -> Steps[m.Memory | None]:
        """Return the memory at a path; None for a directory that was never made, and for nothing."""
        if path.is_root:
            return None
        found = yield from self._get([path])
        return found[0] if found else None

    def _exists(self, path: FilePath) -> Steps[bool]:
        if (yield from self._at(path)) is not None:
            return True
        return bool((yield from self._below(path, most=1)))

    def _get(self, paths: Sequence[FilePath]) -> Steps[list[m.Memory]]:
        ids = [path.memory_id(self._owner) for path in paths]
        try:
            found: list[m.Memory] = yield methodcaller("get_many", m.GetRequest(ids=ids, space=self._space))
        except NotFoundError as error:
            if not error.is_missing_space:
                raise
            return []
        return found

    def _below(self, path: FilePath, *, most: int | None = None) -> Steps[list[m.Memory]]:
        """Return every file and directory in a directory, however deep, or the first of them."""
        found: list[m.Memory] = []
        cursor: str | None = None
        while True:
            request = m.ListRequest(
                space=self._space,
                namespace_prefix=list(path.names) or None,
                order_by="insertion",
                limit=most or _PAGE,
                cursor=cursor,
                **self._owner,
            )
            try:
                page: m.ListAnswer = yield methodcaller("list", request)
            except NotFoundError as error:
                if not error.is_missing_space:
                    raise
                return []
            found += page.results
            cursor = page.cursor
            if cursor is None or most is not None:
                return found

    # Writing ------------------------------------------------------------------------------------------

    def _edit(self, path: FilePath, edit: Callable[[str], tuple[str, str]]) -> Steps[str]:
        """Change the text of a file as it is when it is changed, and return what the model is told."""
        for _ in range(_ATTEMPTS):
            memory = yield from self._at(path)
            if memory is None and not (path.is_root or (yield from self._below(path, most=1))):
                raise ToolError(f"The path {path.given} does not exist. Please provide a valid path.")
            if memory is None or not _is_file(memory):
                raise ToolError(f"The path {path.given} is not a file.")
            content, told = edit(memory.content)
            _check_text(content)
            request = m.UpdateRequest(content=content, expected_version=memory.version)
            try:
                yield methodcaller("update", memory.id, request, space=self._space)
            except (ConflictError, NotFoundError):
                continue  # somebody else edited or deleted it in between: what is there now decides
            return told
        raise ToolError(f"The file {path.given} is being edited by others all the time; try again.")

    def _make_directories(self, path: FilePath) -> Steps[None]:
        """Make the directories above a path. Raises ToolError when one of them is a file."""
        if not path.parents:
            return
        there = {memory.id: memory for memory in (yield from self._get(path.parents))}
        missing: list[m.RecordIn] = []
        for parent in path.parents:
            memory = there.get(parent.memory_id(self._owner))
            if memory is None:
                missing.append(self._directory(parent))
            elif _is_file(memory):
                raise ToolError(f"Cannot create {path.given}: {parent.text} is a file, not a directory.")
        if missing:
            yield self._batch(missing, on_conflict="merge")

    def _batch(self, records: Sequence[m.RecordIn], *, on_conflict: m.OnConflict = "error") -> Callable[[Any], Any]:
        request = m.BatchRequest(records=list(records), space=self._space, on_conflict=on_conflict)
        return methodcaller("batch", request)

    def _remove(self, memories: Sequence[m.Memory]) -> Steps[None]:
        for at in range(0, len(memories), _PAGE):
            ids = [memory.id for memory in memories[at : at + _PAGE]]
            yield methodcaller("delete_many", m.DeleteRequest(ids=ids, space=self._space, **self._owner))

    def _file(self, path: FilePath, text: str, **facts: Any) -> m.RecordIn:
        return m.RecordIn(
            id=path.memory_id(self._owner),
            content=text,
            metadata={"path": path.text, "type": _FILE, **facts},
            namespace=list(path.names[:-1]),
            kind="semantic",
            **self._owner,
        )

    def _directory(self, path: FilePath, **facts: Any) -> m.RecordIn:
        return m.RecordIn(
            id=path.memory_id(self._owner),
            embed=False,
            metadata={"path": path.text, "type": _DIRECTORY, **facts},
            namespace=list(path.names[:-1]),
            kind="semantic",
            **self._owner,
        )

    def _moved(self, memory: m.Memory, old: FilePath, new: FilePath) -> m.RecordIn:
        before = path_of(memory)
        path = before.moved(old, new)
        if not _is_file(memory):
            return self._directory(path, renamed_from=before.text)
        return self._file(path, memory.content, renamed_from=before.text)


def path_of(memory: m.Memory) -> FilePath:
    """Return where a memory is."""
    return FilePath.parse(str(memory.metadata["path"]))


def _is_file(memory: m.Memory) -> bool:
    return memory.metadata.get("type") != _DIRECTORY


def _names_in(directory: FilePath, memory: m.Memory) -> tuple[str, ...]:
    return path_of(memory).names[len(directory.names) :]


def _sizes(directory: FilePath, below: Iterable[m.Memory]) -> dict[tuple[str, ...], int]:
    """Return the bytes of each file, and of the files in each directory, by its names from `directory` on."""
    sizes: dict[tuple[str, ...], int] = {}
    for memory in below:
        names = _names_in(directory, memory)
        size_bytes = len(memory.content.encode())
        for depth in range(len(names) + 1):
            sizes[names[:depth]] = sizes.get(names[:depth], 0) + size_bytes
    return sizes


def _directories(directory: FilePath, below: Iterable[m.Memory]) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for memory in below:
        names = _names_in(directory, memory)
        found |= {names[:depth] for depth in range(1, len(names))}
        if not _is_file(memory):
            found.add(names)
    return found


def _is_hidden(names: Iterable[str]) -> bool:
    return any(name.startswith(".") for name in names)


def _check_text(text: str) -> None:
    """Refuse what would not be stored as it is."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ToolError("The text holds a lone surrogate, which is not valid Unicode") from None
    if len(text) > m.MAX_CONTENT_CHARS or size > m.MAX_CONTENT_BYTES:
        raise ToolError(
            f"The file would have {len(text)} characters; at most {m.MAX_CONTENT_CHARS} are possible. "
            "Split it into several files."
        )
    if without_private(text) != text:
        raise ToolError("The text holds a <private> mark. What is marked so is never stored: leave it out.")
