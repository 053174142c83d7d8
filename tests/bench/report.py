"""Tables of measurements, as Markdown, so that they can be pasted into the log."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Return p50 and p99 in milliseconds."""
    p50, p99 = np.percentile(np.asarray(seconds) * 1e3, (50, 99))
    return float(p50), float(p99)


class Table:
    """Collect rows, print them once."""

    def __init__(self, title: str, columns: Sequence[str]) -> None:
        self._title = title
        self._columns = list(columns)
        self._rows: list[list[str]] = []

    def row(self, *cells: str | float | None) -> None:
        self._rows.append([_cell(cell) for cell in cells])

    def print(self) -> None:
        widths = [max(map(len, column)) for column in zip(self._columns, *self._rows, strict=True)]
        print(f"\n### {self._title}\n")
        for row in (self._columns, ["-" * width for width in widths], *self._rows):
            print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")


def _cell(cell: str | float | None) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 1000:
        return f"{cell:,.0f}"
    return f"{cell:.3f}" if abs(cell) < 10 else f"{cell:.1f}"
