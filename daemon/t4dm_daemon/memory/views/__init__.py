"""Typed views over memories: what happened, what is known, how something is done.

A view adds fields of its own and sensible defaults to what the memory service does; it keeps nothing itself. Its
query policy is a set of search parameters: *episodic* κ ≤ .3 and a tight time window, *semantic* κ ≥ .7 and no window,
*procedural* by kind alone, ranked by how often it worked.
"""

from __future__ import annotations

from dataclasses import dataclass

from t4dm_daemon.memory.views.entities import EntityService
from t4dm_daemon.memory.views.episodes import EpisodeService
from t4dm_daemon.memory.views.procedures import ProcedureService

__all__ = ["EntityService", "EpisodeService", "ProcedureService", "Views"]


@dataclass(frozen=True, slots=True)
class Views:
    """The three of them."""

    episodes: EpisodeService
    entities: EntityService
    procedures: ProcedureService
