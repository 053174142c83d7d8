"""What commands print: tables for people, tab-separated lines for programs.

A person is a terminal. Memories are other people's text: control characters are shown, never sent, so that
no memory can move the cursor, start a line of its own, or change the terminal.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_AGES: Final = (
    ("year", 365.25 * 86_400),
    ("month", 30.44 * 86_400),
    ("day", 86_400.0),
    ("hour", 3600.0),
    ("minute", 60.0),
)


def is_person() -> bool:
    """Say whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def safe(text: str) -> str:
    """Return a text with its control characters shown as escapes; line ends and tabs stay."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str) -> str:
    """Return a text without line ends and tabs, which separate lines and columns for programs."""
    return safe(text).replace("\n", "\\n").replace("\t", "\\t")


def when(moment: datetime | None, *, now: datetime | None = None) -> str:
    """Return a time: local and with its age for people, RFC 3339 for programs."""
    if moment is None:
        return "-"
    if not is_person():
        return moment.isoformat().replace("+00:00", "Z")
    return f"{moment.astimezone():%Y-%m-%d %H:%M} ({age(moment, now or datetime.now(UTC))})"


def age(moment: datetime, now: datetime) -> str:
    """Return how long ago a time is, or how far ahead, in one unit."""
    seconds = (now - moment).total_seconds()
    for unit, length_s in _AGES:
        count = int(abs(seconds) / length_s)
        if count:
            text = f"{count} {unit}{'s' if count > 1 else ''}"
            return f"{text} ago" if seconds > 0 else f"in {text}"
    return "just now" if seconds >= 0 else "in a moment"


def duration(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))


def size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def memories(count: int) -> str:
    return "1 memory" if count == 1 else f"{count:,} memories"


def messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count:,} messages"


def links(count: int) -> str:
    return "1 link" if count == 1 else f"{count:,} links"


def line(text: str = "") -> None:
    print(safe(text))


def note(text: str) -> None:
    """Tell a person something beside the result: on standard error."""
    if sys.stderr is not None:  # closed; print would take stdout
        print(safe(text), file=sys.stderr)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[str] = ()) -> None:
    """Print rows, the last column the widest.

    Args:
        columns: Headings; shown to people only.
        rows: Texts.
        numbers: The columns that are aligned to the right.
    """
    if not is_person():
        for row in rows:
            print("\t".join(one_line(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    right = set(numbers)
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        is_last = column == columns[-1]
        drawn.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=not is_last,
            overflow="fold" if is_last else "ellipsis",
        )
    for row in rows:
        drawn.add_row(*(Text(safe(cell)) for cell in row))
    Console().print(drawn)


def fields(pairs: Iterable[tuple[str, str]]) -> None:
    """Print named values, one a line."""
    known = [(name, value) for name, value in pairs if value]
    if is_person():
        width = max((len(name) for name, _ in known), default=0)
        for name, value in known:
            print(f"{name:<{width}}  {safe(value)}")
    else:
        for name, value in known:
            print(f"{name}\t{one_line(value)}")
