"""The wire models of operations: what keeps a store small, whole and safe."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from t4dm.sdk.model_bases import Answer, Request
from t4dm.sdk.wire_types import Bool, SpaceName

__all__ = [
    "BackupReport",
    "BackupRequest",
    "CompactAnswer",
    "CompactRequest",
    "Problem",
    "SpaceCompaction",
    "VerifyReport",
]


class CompactRequest(Request):
    """Merge segments."""

    space: SpaceName | None = Field(default=None, description="Only this space; all when absent.")
    everything: Bool = Field(
        default=False, description="Merge all segments of a space into one and leave out whatever was purged."
    )


class SpaceCompaction(Answer):
    """What a compaction did in one space."""

    space: str
    merges: int
    segments_before: int
    segments_after: int
    rows_before: int
    rows_after: int
    disk_bytes_before: int
    disk_bytes_after: int
    seconds: float


class CompactAnswer(Answer):
    results: list[SpaceCompaction]


class BackupRequest(Request):
    """Copy the store as it is at one moment."""

    path: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        default=None,
        description="An absolute path on the daemon's machine that does not exist; absent: a directory named by the "
        "time, in `backups` beside the store.",
    )


class BackupReport(Answer):
    """A backup that was made."""

    path: str
    files: int
    size_bytes: int
    seconds: float


class Problem(Answer):
    """A file that is not what was written."""

    file: str
    message: str


class VerifyReport(Answer):
    """What was read and compared, and what is wrong."""

    files: int
    size_bytes: int
    problems: list[Problem]
    is_sound: bool
