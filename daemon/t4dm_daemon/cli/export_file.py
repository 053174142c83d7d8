"""Write an export line by line as the daemon sent it, into a file that is complete whenever it is there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from t4dm.sdk._export import ExportLine
from t4dm.sdk.graph_models import Edge
from t4dm.sdk.models import Memory
from t4dm_daemon.cli.progress import Advance


def write_lines(lines: Iterable[ExportLine], stream: IO[bytes], advance: Advance) -> tuple[int, int, int]:
    """Write all and return how many memories, links and bytes."""
    count = edges = size_bytes = 0
    for line in lines:
        stream.write(line.raw + b"\n")
        size_bytes += len(line.raw) + 1
        if isinstance(line.says, Memory):
            count += 1
            advance(1, 1)
        edges += isinstance(line.says, Edge)
    stream.flush()
    return count, edges, size_bytes


def write_file(lines: Iterable[ExportLine], file: Path, advance: Advance) -> tuple[int, int, int]:
    """Write to a file: replaced whole or left alone. A pipe or a device is written to as it is.

    A link stays and what it points to is replaced; a file that is there keeps its mode.
    """
    try:
        if file.exists() and not file.is_file():
            with file.open("wb") as stream:
                return write_lines(lines, stream, advance)
        return _replace(lines, file.resolve(), advance)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(file)) from error


def _replace(lines: Iterable[ExportLine], target: Path, advance: Advance) -> tuple[int, int, int]:
    """Write to a temporary file beside the target, sync, rename."""
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=f".{target.name}.", suffix=".partial", delete=False
    ) as partial:
        try:
            written = write_lines(lines, partial, advance)
            if target.exists():
                os.fchmod(partial.fileno(), target.stat().st_mode & 0o7777)
            os.fsync(partial.fileno())
            Path(partial.name).replace(target)
        except BaseException:
            Path(partial.name).unlink(missing_ok=True)
            raise
    return written
