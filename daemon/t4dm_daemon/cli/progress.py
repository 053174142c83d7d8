"""A progress bar for people, on standard error, so that results on standard output stay clean."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

Advance = Callable[[int, int], None]
"""Called with how many items, and how many of the bar's units, have been done since the last call."""


@contextmanager
def progress(title: str, *, total: int | None, is_shown: bool) -> Generator[Advance]:
    """Show a bar with items/s while the block runs, if someone is looking.

    Args:
        title: What is going on.
        total: The bar's length in its own units (bytes, say); None where nobody knows.
        is_shown: False never shows it.
    """
    if not (is_shown and sys.stderr is not None and sys.stderr.isatty()):
        yield lambda _items, _units: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[items]:,} memories, {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        *([TimeRemainingColumn()] if total is not None else []),
    ]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total, items=0, rate=0.0)

        def advance(items: int, units: int) -> None:
            shown = bar.tasks[0]
            done = shown.fields["items"] + items
            elapsed_s = shown.elapsed or 0.0
            bar.update(task, advance=units, items=done, rate=done / elapsed_s if elapsed_s else 0.0)

        yield advance
