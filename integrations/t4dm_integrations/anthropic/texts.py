"""What the model reads: lines with numbers, listings with sizes, and what became of an edit.

The sentences are those of the SDK's own `BetaLocalFilesystemMemoryTool`, on which models are trained; a differential
test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from anthropic.lib.tools import ToolError

MAX_LINES: Final = 999_999
_WIDTH: Final = len(str(MAX_LINES))
_AROUND: Final = 2
"""Lines shown before and after a change."""


def numbered(lines: Sequence[str], first: int) -> str:
    """Return lines with their numbers, from `first`."""
    return "\n".join(f"{number:>{_WIDTH}}\t{line}" for number, line in enumerate(lines, first))


def file_view(path: str, content: str, view_range: Sequence[int] | None) -> str:
    """Return a file, or the lines of a range that begins at 1 and ends with its end, -1 for the last line."""
    lines = content.split("\n")
    if len(lines) > MAX_LINES:
        raise ToolError(f"File {path} exceeds maximum line limit of 999,999 lines.")
    start = 0
    if view_range and len(view_range) == 2:
        start = max(1, view_range[0]) - 1
        lines = lines[start : len(lines) if view_range[1] == -1 else view_range[1]]
    return f"Here's the content of {path} with line numbers:\n{numbered(lines, start + 1)}"


def directory_view(path: str, size_bytes: int, entries: Sequence[tuple[int, str]]) -> str:
    """Return a listing of sizes and names, which are relative to the directory."""
    lines = [f"{size_text(size_bytes)}\t{path}", *(f"{size_text(size)}\t{path}/{name}" for size, name in entries)]
    header = f"Here're the files and directories up to 2 levels deep in {path}, excluding hidden items:"
    return "\n".join([header, *lines])


def size_text(size_bytes: int) -> str:
    """Return a size with its unit: 17B, 1.5K, 2M."""
    unit = 0
    size = float(size_bytes)
    while size >= 1024 and unit < 3:
        size /= 1024
        unit += 1
    return f"{int(size)}{'BKMG'[unit]}" if size == int(size) else f"{size:.1f}{'BKMG'[unit]}"


def replaced(path: str, content: str, old: str, new: str) -> tuple[str, str]:
    """Return a text in which its one occurrence of `old` is `new`, and what the model is told."""
    places = _occurrences(content, old)
    if not places or content.count(old) == 0:
        raise ToolError(f"No replacement was performed, old_str `{old}` did not appear verbatim in {path}.")
    if content.count(old) > 1:
        lines = ", ".join(str(content.count("\n", 0, place) + 1) for place in places)
        raise ToolError(
            f"No replacement was performed. Multiple occurrences of old_str `{old}` in lines: {lines}. "
            "Please ensure it is unique"
        )
    changed = content.replace(old, new)
    line = content.count("\n", 0, places[0])
    lines_now = changed.split("\n")
    first = max(0, line - _AROUND)
    snippet = numbered(lines_now[first : line + _AROUND + 1], first + 1)
    return (
        changed,
        f"The memory file has been edited. Here is the snippet showing the change (with line numbers):\n{snippet}",
    )


def inserted(content: str, at: int, text: str) -> str:
    """Return a text with a line, or several, put in after line `at`; it ends with a newline."""
    lines = content.split("\n")
    if lines[-1] == "":
        lines.pop()
    if not 0 <= at <= len(lines):
        raise ToolError(f"Invalid `insert_line` parameter: {at}. It should be within the range [0, {len(lines)}].")
    lines.insert(at, text.rstrip("\n"))
    whole = "\n".join(lines)
    return whole if whole.endswith("\n") else f"{whole}\n"


def _occurrences(content: str, part: str) -> list[int]:
    """Return where a part begins, those that overlap too."""
    places: list[int] = []
    place = content.find(part)
    while place != -1:
        places.append(place)
        place = content.find(part, place + 1)
    return places
