from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from t4dm_daemon.core.errors import CorruptionError
from t4dm_daemon.storage.t4dx import container

ARRAYS: dict[str, Any] = {
    "floats": np.arange(5, dtype=np.float64),
    "empty": np.empty(0, np.int32),
    "matrix": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "strided": np.arange(10, dtype=np.int64)[::2],
    "flags": np.array([True, False]),
}


def _content(meta: Any, arrays: dict[str, Any]) -> bytes:
    return b"".join(bytes(part) for part in container.pack(meta, arrays))


@pytest.mark.parametrize("filler", [0, 10, 37, 200, 70_000])
def test_arrays_come_back_aligned_whatever_the_headers_length(filler: int) -> None:
    meta, arrays = container.unpack(Path("x"), memoryview(_content({"note": "x" * filler}, ARRAYS)))

    assert meta == {"note": "x" * filler}
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].tolist() == array.tolist()
        assert not arrays[name].flags.writeable


def test_a_damaged_header_is_an_error_at_every_byte() -> None:
    content = _content({}, ARRAYS)
    length = 16 + int.from_bytes(content[8:12], "little")
    for at in range(length):
        damaged = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        with pytest.raises(CorruptionError, match="x"):
            container.unpack(Path("x"), memoryview(damaged))
    for cut in range(0, len(content) - 1, 5):
        with pytest.raises(CorruptionError):
            container.unpack(Path("x"), memoryview(content[:cut]))
