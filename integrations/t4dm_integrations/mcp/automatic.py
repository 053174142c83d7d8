"""Memory as automatic as the protocol allows: keep what was said, sum a session up, say what state the memory is in.

A server is never told what is said in the host; the model (or a hook of the host) has to call these tools. What is
known at the beginning comes with the server's instructions and as `memory://context`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from t4dm._backend import MemoryBackend
from t4dm._privacy import without_private
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import ValidationError
from t4dm.sdk.model_bases import Request
from t4dm.sdk.wire_types import Time
from t4dm.tools.arguments import ToolArguments
from t4dm_integrations.mcp.protocol import Json
from t4dm_integrations.mcp.scope import Scope
from t4dm_integrations.mcp.sessions import SessionLog

_MOST_TURNS: Final = 200


class Turn(Request):
    """Something that was said."""

    role: Annotated[Literal["user", "assistant"], Field(description="Who said it.")]
    content: Annotated[str, Field(description="What was said, word for word.")]
    time: Time | None = Field(default=None, description="When it was said, RFC 3339. null: now.")


class Capture(ToolArguments):
    """Keep turns of the conversation word for word.

    Use it at the end of a piece of work, or when the user asks to keep the conversation. For a single fact or
    preference use t4dm_remember. Passages between <private> and </private> are not kept; what is known already is not
    stored twice.
    """

    tool = "t4dm_capture"

    turns: Annotated[
        list[Turn], Field(min_length=1, max_length=_MOST_TURNS, description="The turns, in the order of the talk.")
    ]

    @property
    def texts(self) -> list[str]:
        """What is kept of each turn of which something is kept."""
        return [text for turn in self.turns if (text := without_private(turn.content).strip())]


class Summary(ToolArguments):
    """Sum up what this session remembered, changed and forgot; with store, remember the summary as well.

    The summary lists what was done through these tools; what was only said is not in it.
    """

    tool = "t4dm_session_summary"

    store: bool = Field(default=False, description="true: also remember the summary, linked to what it sums up.")


class SleepStatus(ToolArguments):
    """Say how much is stored, and how far it is consolidated.

    This version has no sleep cycle: nothing is consolidated, merged or forgotten by itself.
    """

    tool = "t4dm_sleep_status"


def capture(backend: MemoryBackend, given: Capture, scope: Scope, _: SessionLog | None) -> Json:
    """Store turns as episodic memories, all or none."""
    kept = [(turn, text) for turn in given.turns if (text := without_private(turn.content).strip())]
    left_out = len(given.turns) - len(kept)
    if not kept:
        raise ValidationError("turns: there is nothing to keep in them", code="validation_error")
    with as_validation_error():
        records = [
            m.RecordIn(
                content=text,
                metadata={"role": turn.role},
                **({} if turn.time is None else {"event_time": turn.time}),
                **scope.owner_fields,
            )
            for turn, text in kept
        ]
        request = m.BatchRequest(records=records, space=scope.space)
    results = [{"id": one.id, "status": one.status, "version": one.version} for one in backend.batch(request).results]
    return {"results": results, "left_out": left_out}


def summary(backend: MemoryBackend, given: Summary, scope: Scope, log: SessionLog | None) -> Json:
    """Return what the session's log says, and store it where that is asked for."""
    if log is None:
        raise ValidationError(
            "this connection has no session (the protocol of 2026-07-28 has none over HTTP), so there is nothing to "
            "sum up; t4dm_timeline lists what was stored since a time",
            code="no_session",
        )
    stored_id = None
    if given.store:
        stored_id = _store(backend, scope, log)
    return {
        "summary": log.summary,
        "remembered": list(log.remembered),
        "changed": list(log.changed),
        "forgotten": log.forgotten,
        "searches": log.searches,
        "began": log.began.isoformat().replace("+00:00", "Z"),
        **({} if stored_id is None else {"stored_id": stored_id}),
    }


def _store(backend: MemoryBackend, scope: Scope, log: SessionLog) -> str:
    if not log.remembered and not log.changed:
        raise ValidationError(
            "nothing was remembered or changed in this session, so there is no summary to store", code="nothing_done"
        )
    request = m.StoreRequest(
        content=log.summary,
        metadata={"type": "session_summary"},
        event_time=log.began,
        space=scope.space,
        **scope.owner_fields,
    )
    stored = backend.store(request)
    ids = [*log.remembered, *log.changed]
    there = [one.id for one in backend.get_many(m.GetRequest(ids=ids, space=scope.space)) if one.id != stored.id]
    if there:
        edges = [g.EdgeIn(source=stored.id, target=one, type="DERIVED_FROM") for one in there]
        backend.link(g.LinkRequest(edges=edges, space=scope.space))
    return stored.id


def sleep_status(backend: MemoryBackend, _: SleepStatus, scope: Scope, __: SessionLog | None) -> Json:
    """Return counts, and that there is no sleep."""
    stats, version = backend.stats(), backend.version()
    own = next((one for one in stats.spaces if one.space == scope.space), None)
    return {
        "has_sleep": False,
        "note": f"T4DM {version.version} has no sleep cycle: nothing was or will be consolidated by itself. Compaction "
        "merges files of the store, and changes no memory.",
        "features": version.features,
        "everything": _counts(stats),
        "space": None if own is None else _counts(own),
    }


def _counts(found: m.Stats | m.SpaceStats) -> Json:
    return {
        "memories": found.items,
        "versions": found.versions,
        "by_kind": found.by_kind,
        "by_kappa": found.by_kappa,
        "links": found.edges,
        "segments": found.segments,
        "disk_bytes": found.disk_bytes,
    }
