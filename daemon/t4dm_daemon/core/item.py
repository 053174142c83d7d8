"""What the storage engine keeps: items and edges.

An `Item` is one version of one memory. Its text fields are kept as the caller sent them: `metadata` and
`value` are JSON text, so that what comes out is what went in, number for number and key for key.
Times are microseconds (see `core.clock`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.clock import OPEN, UNBOUNDED

KINDS: Final = ("episodic", "semantic", "procedural")
ENTITY_COLUMNS: Final = ("user_id", "agent_id", "app_id", "run_id", "session_id")
MUTABLE_FIELDS: Final = ("importance", "kappa", "pinned", "access_count", "last_accessed", "expires_at")
"""Learning state: changed in place, not versioned, held in columns beside the immutable vectors."""

EDGE_TYPES: Final = (
    "CAUSES",
    "TEMPORAL_BEFORE",
    "PART_OF",
    "SIMILAR_TO",
    "MERGED_FROM",
    "SUPERSEDES",
    "RELATES_TO",
    "CONSOLIDATED_INTO",
    "IMPLEMENTS",
    "HAS_CONTEXT",
    "DERIVED_FROM",
    "DEPENDS_ON",
    "USES",
    "PRODUCES",
    "REQUIRES",
    "CONTRADICTS",
    "SUPPORTS",
)
"""Append only: the position of a type in this tuple is its code on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One version of one memory.

    On the way in, `created_at`, `updated_at` and `event_time` may be `UNBOUNDED`, which means "the
    transaction time" (`created_at` of an existing id is kept). `version`, `recorded_at`, `recorded_until`
    and `seq` are the engine's and ignored on the way in.
    """

    id: str
    content: str = ""
    vector: npt.NDArray[np.float32] | None = None
    metadata_json: bytes = b"{}"
    value_json: bytes = b"null"
    kind: str = "episodic"
    namespace: tuple[str, ...] = ()
    user_id: str | None = None
    agent_id: str | None = None
    app_id: str | None = None
    run_id: str | None = None
    session_id: str | None = None
    categories: tuple[str, ...] = ()
    event_time: int = UNBOUNDED
    valid_from: int = UNBOUNDED
    valid_to: int = OPEN
    created_at: int = UNBOUNDED
    updated_at: int = UNBOUNDED
    importance: float = 0.5
    kappa: float = 0.0
    pinned: bool = False
    access_count: int = 0
    last_accessed: int = UNBOUNDED
    expires_at: int = OPEN
    content_hash: int = 0
    """Identity of the text within its owner (`memory.dedup`), 64 bits unsigned; 0 means none."""
    version: int = 0
    recorded_at: int = UNBOUNDED
    recorded_until: int = OPEN
    seq: int = 0
    """Position in the order of first insertion within the space; a replacement keeps it."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A typed, weighted, directed link between two items of one space."""

    source: str
    target: str
    type: str
    weight: float = 1.0
    created_at: int = UNBOUNDED
