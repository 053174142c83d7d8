"""Find rows by a 64-bit value, in two sorted arrays: 12 bytes a row, where a dictionary takes 132."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.ids import KEY_BYTES


def prefix_of(key: bytes) -> int:
    """Return 64 bits that spread keys evenly: the halves of the key, combined."""
    return int.from_bytes(key[:8], "little") ^ int.from_bytes(key[8:KEY_BYTES], "little")


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
