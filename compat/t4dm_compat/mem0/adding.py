"""Remember messages: word for word, and with `infer` also the facts that rules find in them.

A message is an episodic memory. A fact is a semantic one that is linked to the message it was found in
(DERIVED_FROM), has its rule as category, and says in its value that a rule found it. With `infer` what is told
again is not stored again; if it comes with other metadata or another expiration date, the memory takes those on.
A run is also a session of T4DM's: its messages are chained in their order, and found with their neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from t4dm._backend import MemoryBackend
from t4dm._privacy import without_private
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk.errors import NotFoundError, ValidationError
from t4dm_compat.mem0 import facts, moments, selections, shapes
from t4dm_compat.mem0.bodies import AddBody, Message, Part
from t4dm_compat.mem0.refusals import as_wrong, unserved, wrong

_EVENTS: Final = {"created": "ADD", "updated": "UPDATE", "duplicate": "NOOP"}
_LINKS: Final = 1000


@dataclass(frozen=True, slots=True)
class _Told:
    """A memory to store, and the position of the message it was found in."""

    record: m.RecordIn
    source: int | None = None


def add(backend: MemoryBackend, body: AddBody) -> list[dict[str, Any]]:
    """Store what the messages say and return what became of each memory, messages first.

    Raises:
        ValidationError: Nobody is named, there is no text, or a field is wrong. Nothing is stored then.
        HTTPException: 501 for what is not text.
    """
    told = _told(body)
    done = backend.batch(m.BatchRequest(records=[one.record for one in told]))
    ids = [one.id for one in done.results]
    links = [
        g.EdgeIn(source=ids[at], target=ids[one.source], type="DERIVED_FROM")
        for at, one in enumerate(told)
        if one.source is not None and ids[at] != ids[one.source]
    ]
    _link(backend, links)
    events = [_EVENTS[one.status] for one in done.results]
    for at, one in enumerate(told):
        if events[at] == "NOOP" and _takes_on(backend, ids[at], one.record):
            events[at] = "UPDATE"
    return [
        shapes.added(memory_id, one.record.content, event)
        for memory_id, one, event in zip(ids, told, events, strict=True)
    ]


def _told(body: AddBody) -> list[_Told]:
    messages = body.messages if isinstance(body.messages, list) else [body.messages]
    heard = [
        (one.role, _text(one, at))
        for at, one in enumerate(Message(content=one) if isinstance(one, str) else one for one in messages)
        if one.role != "system"
    ]
    spoken = [(role, text, text == whole) for role, whole in heard if (text := without_private(whole)).strip()]
    if not spoken:
        raise wrong("the messages hold no text of a user, an assistant or a tool; there is nothing to remember")
    infer = body.infer is not False
    shared = _shared(body)
    with as_wrong():
        told = [
            _Told(
                m.RecordIn(
                    content=text,
                    value=_marked(body, role=role),
                    kind="episodic",
                    dedup="exact" if infer else "off",
                    session_id=shared.get("run_id"),
                    **shared,
                )
            )
            for role, text, _ in spoken
        ]
        if infer:
            told += [
                _Told(
                    m.RecordIn(
                        content=fact.text,
                        value=_marked(body, extracted=f"rule:{fact.rule}"),
                        kind="semantic",
                        categories=[fact.rule],
                        **shared,
                    ),
                    source=at,
                )
                for at, (role, text, is_whole) in enumerate(spoken)
                if role == "user" and is_whole  # what is left around a private span may say something else
                for fact in facts.extract(text)
            ]
    if len(told) > m.MAX_BATCH:
        raise wrong(f"{len(told)} memories at once are more than {m.MAX_BATCH}; send the messages in parts")
    return told


def _shared(body: AddBody) -> dict[str, Any]:
    """Return what all memories of one add have in common."""
    shared: dict[str, Any] = {**selections.owner(body), **selections.expiry(body.expiration_date)}
    if body.metadata:
        shared["metadata"] = body.metadata
    if body.timestamp is not None:
        said = moments.moment(body.timestamp, "timestamp")
        shared |= {"event_time": said, "created_at": said}
    return shared


def _marked(body: AddBody, **marks: str) -> dict[str, Any]:
    return {shapes.MARK: {**marks, "immutable": True} if body.immutable else marks}


def _text(message: Message, at: int) -> str:
    content = message.content
    if content is None or isinstance(content, str):
        return content or ""
    parts = [content] if isinstance(content, Part) else content
    for part in parts:
        if part.type not in ("text", "input_text", "output_text"):
            raise unserved(
                f"messages[{at}]: a part of type {part.type[:100]!r} is not text; T4DM remembers text, "
                "so describe it in words or send its text"
            )
    return "\n".join(part.text for part in parts if part.text and part.text.strip())


def _link(backend: MemoryBackend, links: Sequence[g.EdgeIn]) -> None:
    """Link facts to their messages; not those of which an end was deleted since it was stored."""
    for start in range(0, len(links), _LINKS):
        part = list(links[start : start + _LINKS])
        try:
            backend.link(g.LinkRequest(edges=part))
        except (ValidationError, NotFoundError):
            if len(part) > 1:
                for one in part:
                    _link(backend, [one])


def _takes_on(backend: MemoryBackend, memory_id: str, record: m.RecordIn) -> bool:
    """Give a known memory what it is told with this time; say whether that changed anything."""
    new = {name: getattr(record, name) for name in ("metadata", "expires_at") if name in record.model_fields_set}
    if not new:
        return False
    try:
        known = backend.get(memory_id)
        changed = backend.update(memory_id, m.UpdateRequest(**new))
    except NotFoundError:
        return False  # deleted since it was found to be known
    return (changed.version, changed.expires_at) != (known.version, known.expires_at)
