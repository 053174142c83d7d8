"""One table per size: operations down, systems across, and how often ours goes into theirs.

A ratio says how many times better ours is: 3.0× means that ours takes a third of the time, needs a third of the
bytes, or stores three times as many rows a second; below 1 ours loses.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, Final

from tests.bench.peers import OURS, SYSTEMS
from tests.bench.report import Table

Facts = Mapping[str, Any]
Found = Mapping[str, Mapping[str, Facts]]
"""System, operation, facts."""
MIB: Final = 1 << 20
WRITES: Final = frozenset(("insert_one", "batch", "update", "delete"))
"""Marked where the trace of single inserts has no sync: that time bought no durability."""


@dataclass(frozen=True, slots=True)
class Row:
    """What to show of an operation.

    Attributes:
        show: Formats the facts.
        cost: Gives the number that ratios are made of, more being worse; None for a row without ratios.
    """

    label: str
    operation: str
    show: Callable[[Facts], str]
    cost: Callable[[Facts], float] | None


def _latency(facts: Facts) -> str:
    text = f"{_number(facts['p50_ms'])} / {_number(facts['p99_ms'])}"
    return text + (f", recall {facts['recall']:.3f}" if "recall" in facts else "")


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.1f}"


def _times(label: str, operation: str) -> Row:
    return Row(f"{label}, ms", operation, _latency, lambda facts: float(facts["p50_ms"]))


def _value(label: str, operation: str, name: str, unit: float = 1.0) -> Row:
    return Row(label, operation, lambda facts: _number(facts[name] / unit), lambda facts: float(facts[name]))


ROWS: Final = (
    _times("durable single insert", "insert_one"),
    Row("· raw pwrite+fdatasync in between, ms", "raw_meanwhile", _latency, None),
    Row("· syncs per single insert (strace)", "syncs", lambda facts: f"{facts['value']:.1f}", None),
    Row("batch insert, rows/s", "batch", lambda facts: _number(facts["value"]), lambda facts: 1 / facts["value"]),
    Row("· flush, merge, index or save after it, s", "settle", lambda facts: _number(facts["value"]), None),
    Row("· all of it, s", "build", lambda facts: _number(facts["value"]), lambda facts: float(facts["value"])),
    _times("search right after it, not settled", "fresh"),
    _times("search, settled and reopened", "search"),
    _times("filter 1 %, metadata", "filter_1"),
    _times("filter 10 %, metadata", "filter_10"),
    _times("filter 10 %, label column", "filter_10_label"),
    _times("filter 21 %, metadata", "filter_21"),
    _times("filter 50 %, metadata", "filter_50"),
    _times("time range 10 %", "time_10"),
    _times("get by id", "get"),
    _times("update one field", "update"),
    _times("delete one", "delete"),
    _times("traverse, depth 2", "traverse_2"),
    _value("reopen + first search, s", "reopen", "value"),
    _value("RSS after the reads, MB", "memory", "resident", MIB),
    _value("· of it the store's own, MB", "memory", "private", MIB),
    _value("· of it pages of its files, MB", "memory", "mapped", MIB),
    _value("· the store's own, bytes per item", "memory", "per_item"),
    _value("disk, MB", "disk", "value", MIB),
)


def compare(title: str, found: Found) -> str:
    """Return the table of one size, in Markdown."""
    systems = [name for name in found if "missing" not in found[name]]
    table = Table(title, ("p50 / p99, · ratio to ours", *(SYSTEMS[name].title for name in systems)))
    ours = found.get(OURS, {})
    for row in ROWS:
        if any(row.operation in found[name] for name in systems):
            table.row(row.label, *(_cell(row, found[name], ours, name) for name in systems))
    written = io.StringIO()
    with redirect_stdout(written):
        table.print()
    notes = (_about(SYSTEMS[name].title, facts) for name, facts in found.items())
    return "\n".join((written.getvalue().rstrip(), "", *notes)) + "\n"


def _cell(row: Row, found: Mapping[str, Facts], ours: Mapping[str, Facts], name: str) -> str:
    facts = found.get(row.operation)
    if facts is None:
        return "-"
    syncs = found.get("syncs", {}).get("value")
    note = facts.get("note", "")
    if len(facts) == 1 and note:
        return str(note)
    text = row.show(facts)
    if row.operation in WRITES and syncs == 0:
        text += ", no sync"
    base = ours.get(row.operation, {})
    if row.cost is not None and name != OURS and len(base) > len(base.keys() & {"note"}):
        least = row.cost(base)
        if least > 0:
            text += f" · {_number(row.cost(facts) / least)}×"
    return f"{text} ({note})" if note else text


def _about(title: str, facts: Mapping[str, Facts]) -> str:
    if "missing" in facts:
        return f"- {title}: {facts['missing']['note']}"
    about = facts.get("about", {})
    parts = (about.get("durability"), about.get("remarks"))
    ended = facts.get("ended", {}).get("note")
    text = "; ".join(part for part in (*parts, ended) if part)
    return f"- {title} {about.get('version', '')}".rstrip() + (f": {text}" if text else "")
