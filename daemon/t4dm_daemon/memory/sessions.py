"""Chat histories: ordered lists of opaque JSON messages, which are only appended to.

All messages of a store lie in one internal space, `spaces.MESSAGES`, made when the first one is written. A message
is an item without text and vector; its JSON is the item's `value`, and these columns say where it belongs:

    id          16-byte digest of (space, session) as hex, a colon, and `seq`
    kind        "message"; "cleared" for the mark that a cleared session leaves
    app_id      the space (a scope: it need not exist as a space of memories)
    session_id  the session
    event_time  `seq`, counted from 1 within the session

`seq` is never given twice: the mark's `event_time` is the greatest that was. The mark goes with its space.

Thread-safe. Who appends to a session, clears or restores it holds the lock of its stripe, so that order is total;
several sessions of one stripe wait for each other, which costs no more than the time of one write. `_lock` guards
`_greatest`. No other writer exists: the store belongs to this process.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from t4dm.sdk import models as m
from t4dm.sdk import session_models as s
from t4dm_daemon.core.clock import UNBOUNDED, to_micros
from t4dm_daemon.core.errors import ConflictError, InvalidInputError, NotFoundError
from t4dm_daemon.core.filter import Filter, Leaf, all_of
from t4dm_daemon.core.item import Item
from t4dm_daemon.memory import json_text
from t4dm_daemon.memory.spaces import MESSAGES, Catalog, open_internal
from t4dm_daemon.storage.protocol import Deletion, StorageBackend, Token, View, Write

MAX_PAGE_BYTES: Final = 32 * 1024 * 1024
"""A page that has reached this size ends, whatever its limit: as large as the largest request."""
DEFAULT_LIMIT: Final = 100
_STRIPES: Final = 64
_REMEMBERED: Final = 10_000
_CHUNK: Final = 100
_MESSAGE: Final = "message"
_CLEARED: Final = "cleared"


@dataclass(frozen=True, slots=True)
class Name:
    """A session."""

    space: str
    session: str

    @property
    def digest(self) -> str:
        space = self.space.encode()
        named = len(space).to_bytes(4) + space + self.session.encode()
        return hashlib.blake2b(named, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as it is kept: `value` is JSON text, `created_at` microseconds."""

    name: Name
    seq: int
    created_at: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Appended:
    """Which places messages got; `replayed`: they had got them before."""

    seqs: tuple[int, ...]
    created_at: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Messages in order, how many match altogether, and where the next page begins (None at the end)."""

    messages: list[Stored]
    total: int
    after: int | None


@dataclass(frozen=True, slots=True)
class Summary:
    """A session that holds messages; times in microseconds."""

    name: Name
    messages: int
    seqs: tuple[int, int]
    times: tuple[int, int]


class SessionService:
    """Everything one can do with chat histories.

    Args:
        catalog: Where the internal space is.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._greatest: OrderedDict[Name, int] = OrderedDict()
        """The greatest `seq` of sessions that were lately written to."""
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]

    # Writing ------------------------------------------------------------------------------------------

    def append(self, session_id: str, request: s.AppendRequest, *, idempotency_key: str | None = None) -> Appended:
        """Append messages, all or none; they are on disk when this returns.

        Raises:
            InvalidInputError: Names the position of the first message that is wrong.
            IdempotencyMismatchError, StorageError.
        """
        texts = [
            json_text.encode(value, field=f"messages.{at}", max_bytes=m.MAX_VALUE_BYTES)
            for at, value in enumerate(request.messages)
        ]
        if not texts:
            return Appended((), 0, replayed=False)
        name = Name(request.space, session_id)
        token = _token(name, idempotency_key, texts)
        backend = open_internal(self._catalog, MESSAGES)
        with self._alone([name]):
            first = self._greatest_seq(backend, name) + 1
            if first + len(texts) - 1 > s.MAX_SEQ:
                raise InvalidInputError(f"this session has no numbers left after {first - 1}", last_seq=first - 1)
            writes = [Write(_item(name, seq, text), expected_version=0) for seq, text in enumerate(texts, start=first)]
            try:
                result = backend.insert(writes, token=token)
            except BaseException:
                self._forget(name)  # what is on disk is looked up again
                raise
            seqs = tuple(int(outcome.id.rpartition(":")[2]) for outcome in result.outcomes)
            if not result.replayed:
                self._remember(name, seqs[-1])
        return Appended(seqs, result.recorded_at, result.replayed)

    def clear(self, session_id: str, *, space: str = "default") -> int:
        """Forget the messages of a session for good, and return how many there were. Their `seq` is not given again."""
        backend = self._existing()
        name = Name(space, session_id)
        if backend is None:
            return 0
        with self._alone([name]):
            ids = _ids(backend, _of_session(name))
            if ids:
                mark = Item(
                    id=f"{name.digest}:{_CLEARED}",
                    kind=_CLEARED,
                    app_id=space,
                    session_id=session_id,
                    event_time=self._greatest_seq(backend, name),
                )
                backend.insert([Write(mark)])  # before the deletion, so that a crash between loses no number
                _delete(backend, ids)
                backend.purge([mark.id])
        return len(ids)

    def clear_space(self, space: str) -> int:
        """Forget all sessions of a space, marks too, and return how many messages there were."""
        backend = self._existing()
        if backend is None:
            return 0
        where = Leaf("app_id", "eq", space)
        with contextlib.ExitStack() as stack:
            for stripe in self._stripes:
                stack.enter_context(stripe)
            messages = _ids(backend, all_of(where, _messages()))
            _delete(backend, messages)
            _delete(backend, _ids(backend, where))
            with self._lock:
                self._greatest = OrderedDict((name, seq) for name, seq in self._greatest.items() if name.space != space)
        return len(messages)

    def restore(self, request: s.RestoreRequest) -> tuple[int, int]:
        """Put messages back where they were, all or none; return how many were created, and how many were there.

        Raises:
            ConflictError: Another message has a place; `details` says which.
            InvalidInputError: Names the position of the first message that is wrong.
        """
        wanted: dict[str, Stored] = {}
        for at, given in enumerate(request.messages):
            text = json_text.encode(given.value, field=f"messages.{at}.value", max_bytes=m.MAX_VALUE_BYTES)
            one = Stored(Name(given.space, given.session_id), given.seq, to_micros(given.created_at), text)
            if wanted.setdefault(_id(one.name, one.seq), one).value != text:
                raise _taken(one, position=at)
        if not wanted:
            return 0, 0
        backend = open_internal(self._catalog, MESSAGES)
        names = {one.name for one in wanted.values()}
        with self._alone(names):
            found = backend.get(list(wanted), view=View(include_expired=True))
            writes = []
            for one, item in zip(wanted.values(), found, strict=True):
                if item is None:
                    writes.append(Write(_item(one.name, one.seq, one.value, one.created_at), expected_version=0))
                elif item.value_json != one.value:
                    raise _taken(one)
            for name in names:
                self._forget(name)
            if writes:
                backend.insert(writes)
        return len(writes), len(request.messages) - len(writes)

    # Reading ------------------------------------------------------------------------------------------

    def page(self, session_id: str, request: s.MessagesRequest) -> Page:
        """Return messages in order: the oldest that match, or the newest with `last`.

        A session without messages has none; that is no error. A page ends early when it is very large.
        """
        backend = self._existing()
        if backend is None:
            return Page([], 0, None)
        where = all_of(
            _of_session(Name(request.space, session_id)),
            None if request.after is None else Leaf("event_time", "gt", request.after),
            None if request.before is None else Leaf("event_time", "lt", request.before),
        )
        is_newest = request.last is not None
        limit = request.last or request.limit or DEFAULT_LIMIT
        view = View(known_at=backend.snapshot(), include_expired=True)
        found: list[Stored] = []
        total: int | None = None
        size_bytes = 0
        after: tuple[int, int] | None = None
        while True:
            part = backend.scan(
                where=where,
                view=view,
                order="event_time",
                descending=is_newest,
                limit=min(_CHUNK, limit - len(found)),
                after=after,
            )
            total = part.total if total is None else total
            for item in part.items:
                size_bytes += len(item.value_json)
                if found and size_bytes > MAX_PAGE_BYTES:
                    break
                found.append(_stored(item))
            after = part.after
            if after is None or len(found) == limit or size_bytes > MAX_PAGE_BYTES:
                break
        if is_newest:
            return Page(found[::-1], total, None)
        return Page(found, total, found[-1].seq if len(found) < total else None)

    def sessions(self, request: s.SessionsRequest) -> tuple[list[Summary], int]:
        """Return a part of the sessions that hold messages, the one with the newest message first, and their number."""
        backend = self._existing()
        if backend is None:
            return [], 0
        where = all_of(Leaf("app_id", "eq", request.space), _messages())
        found = [
            Summary(Name(request.space, group.labels[0]), group.count, group.bounds[0], group.bounds[1])
            for group in backend.groups(["session_id"], bounds=["event_time", "created_at"], where=where)
        ]
        found.sort(key=lambda one: (-one.times[1], one.name.session))
        return found[request.offset : request.offset + request.limit], len(found)

    def export(self, *, space: str | None = None) -> Iterator[Stored]:
        """Yield every message, of one space or of all, as of one moment, in the order in which they were appended."""
        backend = self._existing()
        if backend is None:
            return
        where = all_of(_messages(), None if space is None else Leaf("app_id", "eq", space))
        view = View(known_at=backend.snapshot(), include_expired=True)
        after: tuple[int, int] | None = None
        while True:
            part = backend.scan(where=where, view=view, limit=_CHUNK, after=after)
            yield from map(_stored, part.items)
            after = part.after
            if after is None:
                return

    def holds(self, space: str) -> bool:
        """Return whether a space has messages."""
        backend = self._existing()
        where = all_of(_messages(), Leaf("app_id", "eq", space))
        return backend is not None and bool(backend.scan(where=where, limit=1).items)

    def stats(self) -> tuple[int, dict[str, int]]:
        """Return how many messages there are, and the sizes of the internal space."""
        backend = self._existing()
        if backend is None:
            return 0, {}
        counted = backend.stats()
        sizes = {name: counted[name] for name in ("segments", "wal_bytes", "disk_bytes", "memory_bytes")}
        return counted["by_kind"].get(_MESSAGE, 0), sizes

    # The internal space -------------------------------------------------------------------------------

    def _existing(self) -> StorageBackend | None:
        try:
            return self._catalog.space(MESSAGES)
        except NotFoundError:
            return None

    @contextlib.contextmanager
    def _alone(self, names: Sequence[Name] | set[Name]) -> Iterator[None]:
        """Hold the stripes of sessions, in an order that is the same for everybody."""
        with contextlib.ExitStack() as stack:
            for stripe in sorted({int(name.digest[:8], 16) % _STRIPES for name in names}):
                stack.enter_context(self._stripes[stripe])
            yield

    def _greatest_seq(self, backend: StorageBackend, name: Name) -> int:
        """Return the greatest `seq` that was ever given in a session, 0 for a new one. Requires: its stripe held."""
        with self._lock:
            known = self._greatest.get(name)
        if known is None:
            where = _owned(name)
            newest = backend.scan(
                where=where, view=View(include_expired=True), order="event_time", descending=True, limit=1
            )
            known = newest.items[0].event_time if newest.items else 0
            self._remember(name, known)
        return known

    def _remember(self, name: Name, seq: int) -> None:
        with self._lock:
            self._greatest[name] = seq
            self._greatest.move_to_end(name)
            while len(self._greatest) > _REMEMBERED:
                self._greatest.popitem(last=False)

    def _forget(self, name: Name) -> None:
        with self._lock:
            self._greatest.pop(name, None)


def _id(name: Name, seq: int) -> str:
    return f"{name.digest}:{seq}"


def _item(name: Name, seq: int, text: bytes, created_at: int = UNBOUNDED) -> Item:
    return Item(
        id=_id(name, seq),
        kind=_MESSAGE,
        app_id=name.space,
        session_id=name.session,
        event_time=seq,
        value_json=text,
        created_at=created_at,
    )


def _stored(item: Item) -> Stored:
    assert item.app_id is not None
    assert item.session_id is not None
    return Stored(Name(item.app_id, item.session_id), item.event_time, item.created_at, item.value_json)


def _messages() -> Filter:
    return Leaf("kind", "eq", _MESSAGE)


def _owned(name: Name) -> Filter | None:
    return all_of(Leaf("session_id", "eq", name.session), Leaf("app_id", "eq", name.space))


def _of_session(name: Name) -> Filter | None:
    return all_of(_owned(name), _messages())


def _ids(backend: StorageBackend, where: Filter | None) -> list[str]:
    """Return the ids of all that match as of one moment."""
    view = View(known_at=backend.snapshot(), include_expired=True)
    found: list[str] = []
    after: tuple[int, int] | None = None
    while True:
        part = backend.scan(where=where, view=view, limit=_CHUNK, after=after)
        found += [item.id for item in part.items]
        after = part.after
        if after is None:
            return found


def _delete(backend: StorageBackend, ids: Sequence[str]) -> None:
    """Delete in one write, and forget."""
    backend.delete([Deletion(one) for one in ids])
    backend.purge(ids)


def _taken(one: Stored, *, position: int | None = None) -> ConflictError:
    return ConflictError(
        f"place {one.seq} of session {one.name.session!r} in space {one.name.space!r} has another message",
        space=one.name.space,
        session_id=one.name.session,
        seq=one.seq,
        **({} if position is None else {"position": position}),
    )


def _token(name: Name, key: str | None, texts: Sequence[bytes]) -> Token | None:
    """Return the token of a key: the same key in another session is another one."""
    if key is None:
        return None
    body = hashlib.blake2b(digest_size=16)
    for text in texts:
        body.update(len(text).to_bytes(8) + text)
    named = hashlib.blake2b(f"{name.digest}:{key}".encode(), digest_size=16)
    return Token(key=named.digest(), fingerprint=body.digest())
