"""Counts over a space as one read sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import UnknownFieldError
from t4dm_daemon.core.filter import Filter, field_path
from t4dm_daemon.core.item import KINDS
from t4dm_daemon.storage.protocol import Group
from t4dm_daemon.storage.t4dx.component import Component, Dictionary, PathColumn
from t4dm_daemon.storage.t4dx.query import Snapshot
from t4dm_daemon.storage.t4dx.schema import LABELS, NUMBERS, PURGED

KAPPA_BANDS: Final = (("0.0-0.3", 0.0, 0.3), ("0.3-0.7", 0.3, 0.7), ("0.7-1.0", 0.7, 1.01))
"""Half-open, but for the last: episodic, transitional, semantic."""


def count(snapshot: Snapshot) -> dict[str, Any]:
    """Return items, versions, and items by kind and κ band."""
    by_kind = dict.fromkeys(KINDS, 0)
    by_kappa = {name: 0 for name, _, _ in KAPPA_BANDS}
    items = versions = 0
    for component in snapshot.components:
        recorded = component.number("recorded_at", component.rows) <= snapshot.moment
        versions += int(np.count_nonzero(recorded & (component.number("recorded_until", len(recorded)) != PURGED)))
    for component, rows, mask in snapshot.masks(None):
        chosen = slice(0, rows) if mask is None else np.nonzero(mask)[0]
        kappa = component.numbers["kappa"][chosen]
        items += len(kappa)
        for name, low, high in KAPPA_BANDS:
            by_kappa[name] += int(np.count_nonzero((kappa >= low) & (kappa < high)))
        codes, counts = np.unique(component.codes["kind"][chosen], return_counts=True)
        for code, number in zip(codes, counts, strict=True):
            kind = component.dictionaries["kind"].values[code]
            by_kind[kind] = by_kind.get(kind, 0) + int(number)
    return {"items": items, "versions": versions, "by_kind": by_kind, "by_kappa": by_kappa}


def values_with(snapshot: Snapshot, fields: Sequence[str], words: Sequence[str], where: Filter | None) -> set[str]:
    """Return the values of the fields that hold one of the words, of visible items that pass.

    Raises:
        UnknownFieldError: A field is neither a label column nor a path into the metadata.
    """
    found: set[str] = set()
    paths = _paths_of(fields)
    for component, rows, mask in snapshot.masks(where):
        for column, codes in _columns(component, fields, paths, rows):
            for code in column.words.codes(column.values, words):
                if column.values[code] in found:
                    continue
                holding = codes == code
                if (holding if mask is None else holding & mask).any():
                    found.add(column.values[code])
    return found


def _paths_of(fields: Sequence[str]) -> list[str | None]:
    """Return the metadata path of each field, None for a label column."""
    paths = [field_path(field) for field in fields]
    for field, path in zip(fields, paths, strict=True):
        if path is None and field not in LABELS:
            raise UnknownFieldError(f"the values of {field!r} cannot be listed", field=field)
    return paths


def _columns(
    component: Component, fields: Sequence[str], paths: Sequence[str | None], rows: int
) -> list[tuple[Dictionary | PathColumn, npt.NDArray[np.int32]]]:
    """Return for each field its values, and which of them each row has."""
    read = iter(component.read_paths([path for path in paths if path is not None], rows))
    columns: list[tuple[Dictionary | PathColumn, npt.NDArray[np.int32]]] = []
    for field, path in zip(fields, paths, strict=True):
        if path is None:
            columns.append((component.dictionaries[field], component.codes[field][:rows]))
        else:
            column = next(read)
            columns.append((column, column.codes[:rows]))
    return columns


def count_values(snapshot: Snapshot, fields: Sequence[str], where: Filter | None) -> list[list[tuple[Any, int]]]:
    """Return for each field its distinct values and how many visible items that pass have each, by first seen.

    Raises:
        UnknownFieldError: A field is neither a label column nor a path into the metadata.
    """
    paths = _paths_of(fields)
    totals: list[dict[tuple[type, Any], list[Any]]] = [{} for _ in fields]
    for component, rows, mask in snapshot.masks(where):
        for (column, codes), total in zip(_columns(component, fields, paths, rows), totals, strict=True):
            values = list(column.values)
            counts = np.bincount((codes if mask is None else codes[mask]) + 1, minlength=len(values) + 1)[1:]
            for at in np.nonzero(counts)[0].tolist():
                value = values[at]
                name = (type(value), repr(value) if isinstance(value, list | dict) else value)
                total.setdefault(name, [value, 0])[1] += int(counts[at])
    return [[(value, number) for value, number in total.values()] for total in totals]


def groups(snapshot: Snapshot, labels: Sequence[str], bounds: Sequence[str], where: Filter | None) -> list[Group]:
    """Return the visible items that pass, grouped by label columns, with the bounds of number columns.

    Raises:
        UnknownFieldError: There is no such label or number column.
    """
    for name, known in [*((one, LABELS) for one in labels), *((one, NUMBERS) for one in bounds)]:
        if name not in known:
            raise UnknownFieldError(f"items cannot be grouped by {name!r}", field=name)
    found: dict[tuple[Any, ...], tuple[int, list[tuple[int, int]]]] = {}
    for component, rows, mask in snapshot.masks(where):
        chosen = np.arange(rows) if mask is None else np.nonzero(mask)[0]
        group_of = np.zeros(len(chosen), np.int64)
        for name in labels:  # numbered anew after each label, so that the numbers stay small
            codes = component.codes[name][chosen].astype(np.int64) + 1
            _, group_of = np.unique(
                group_of * (len(component.dictionaries[name].values) + 1) + codes, return_inverse=True
            )
        order = np.argsort(group_of, kind="stable")
        starts = np.flatnonzero(np.diff(group_of[order], prepend=-1))
        counts = np.diff(starts, append=len(order))
        columns = [component.numbers[name][chosen][order] for name in bounds]
        least = [np.minimum.reduceat(column, starts).tolist() for column in columns]
        greatest = [np.maximum.reduceat(column, starts).tolist() for column in columns]
        for at, (row, number) in enumerate(zip(chosen[order[starts]].tolist(), counts.tolist(), strict=True)):
            found_codes = [(name, int(component.codes[name][row])) for name in labels]
            key = tuple(None if code < 0 else component.dictionaries[name].values[code] for name, code in found_codes)
            here = [(low[at], high[at]) for low, high in zip(least, greatest, strict=True)]
            before = found.get(key)
            if before is not None:
                number += before[0]
                here = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(before[1], here, strict=True)]
            found[key] = number, here
    return [Group(key, number, tuple(spans)) for key, (number, spans) in found.items()]
