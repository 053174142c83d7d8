"""Counts over the present of a space."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from t4dm_daemon.core.item import KINDS
from t4dm_daemon.storage.t4dx.query import Snapshot
from t4dm_daemon.storage.t4dx.schema import PURGED

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
