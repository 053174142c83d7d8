"""Find rows by a 64-bit value, in two sorted arrays: 12 bytes a row, where a dictionary takes 132."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.ids import KEY_BYTES

FEW: Final = 3
"""Up to so many values are quicker looked for one by one."""


def prefix_of(key: bytes) -> int:
    """Return 64 bits that spread keys evenly: the halves of the key, combined."""
    return int.from_bytes(key[:8], "little") ^ int.from_bytes(key[8:KEY_BYTES], "little")


def prefixes_of(keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return the same of many keys, (N, 16)."""
    halves = np.ascontiguousarray(keys).view("<u8").reshape(-1, 2)
    combined: npt.NDArray[np.uint64] = halves[:, 0] ^ halves[:, 1]
    return combined


class Lookup:
    """The sorted values, and the rows they belong to."""

    def __init__(self, ordered: npt.NDArray[np.uint64], rows: npt.NDArray[np.uint32]) -> None:
        self.ordered = ordered
        self.rows = rows

    @classmethod
    def build(cls, values: npt.NDArray[np.uint64]) -> Lookup:
        rows = np.argsort(values, kind="stable").astype(np.uint32)
        return cls(values[rows], rows)

    def find(self, value: int) -> npt.NDArray[np.uint32]:
        """Return the rows with a value, oldest first."""
        wanted = np.uint64(value)
        first = self.ordered.searchsorted(wanted, "left")
        last = self.ordered.searchsorted(wanted, "right")
        return self.rows[first:last]

    def find_all(self, values: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return (row, position in `values`) of every row with any of many values, in the order of `values`."""
        first = self.ordered.searchsorted(values, "left")
        counts = self.ordered.searchsorted(values, "right") - first
        which = np.repeat(np.arange(len(values)), counts)
        within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.rows[first[which] + within].astype(np.int64), which

    def which(self, values: npt.NDArray[np.uint64]) -> list[int]:
        """Return the positions in `values` of those that there are."""
        ordered, rows = self.ordered, len(self.ordered)
        if not rows:
            return []
        if len(values) <= FEW:
            places = [min(int(ordered.searchsorted(value)), rows - 1) for value in values]
            return [at for at, place in enumerate(places) if ordered[place] == values[at]]
        found: list[int] = np.nonzero(ordered[np.minimum(ordered.searchsorted(values), rows - 1)] == values)[0].tolist()
        return found
