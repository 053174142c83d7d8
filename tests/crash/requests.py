"""Writers that send requests through the public client and keep a model of what was acknowledged."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from t4dm.sdk import ServerError, T4DMClient, TransportError
from t4dm.sdk import models as m

SETTINGS = {"T4DM_STORAGE__FLUSH_ITEMS": "16"}
"""The least that is allowed: a round of some fifty requests writes several segments."""
SPACES = ("default", "other")
MANY = 60
"""A writer that holds more memories than this deletes some."""
BIG_CHARS = 150_000
"""Seven such values are more than the first log file holds. Values are not embedded, which would take longer."""
WRITERS = 4
REQUESTS = 45

Key = tuple[str, str]
"""Space and id."""


@dataclass(frozen=True)
class Known:
    """What a memory must look like."""

    content: str
    metadata: dict[str, Any]
    importance: float
    value: Any = None
    version: int = 1
    access_count: int = 0


State = Mapping[Key, Known]


@dataclass(frozen=True)
class Request:
    """One request: how it is sent, and what it makes of the state."""

    kind: str
    space: str
    send: Callable[[T4DMClient], object]
    change: Callable[[State], State]
    is_repeatable: bool = False
    """It carries an idempotency key: sent twice, it is carried out once."""


class WrongAnswerError(AssertionError):
    """The daemon lost something, made something up, or answered what it must not."""


@dataclass
class Counts:
    """What a campaign saw."""

    rounds: int = 0
    kills: int = 0
    injected: int = 0
    acknowledged: int = 0
    refused: int = 0
    in_flight_done: int = 0
    in_flight_absent: int = 0
    reads_compared: int = 0
    losses: int = 0
    wrong_answers: int = 0
    hit: Counter[str] = field(default_factory=Counter)

    def table(self) -> str:
        rows = [(name, value) for name, value in vars(self).items() if isinstance(value, int)]
        return "\n".join(f"{name.replace('_', ' '):<20}{value:>8}" for name, value in rows)


class Writer:
    """Send requests about memories of its own, and know what must be there."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.state: State = {}
        self.maybe: dict[str, Request] = {}
        """By space (each has a log of its own): the request of which only a restart can tell what became of it."""
        self._random = random.Random(seed)
        self._number = 0

    def run(self, client: T4DMClient, counts: Counts, requests: int | None = None) -> list[ServerError]:
        """Send requests until so many were sent or the daemon is gone; return the refusals."""
        refusals: list[ServerError] = []
        sent = 0
        while requests is None or sent < requests:
            sent += 1
            refusal = self.send(client, self._next(), counts)
            if isinstance(refusal, TransportError):
                break
            if refusal is not None:
                refusals.append(refusal)
            elif self._random.random() < 0.2 and not self._read_back(client, counts):
                break
        return refusals

    def send(self, client: T4DMClient, request: Request, counts: Counts) -> ServerError | TransportError | None:
        """Send one request and note what became of it: None, the refusal, or that the daemon is gone."""
        try:
            request.send(client)
        except TransportError as error:
            self.maybe[request.space] = request
            return error
        except ServerError as error:
            counts.refused += 1
            if error.code not in {"storage_full", "wal_error", "storage_error"}:
                raise WrongAnswerError(f"{request.kind}: {error.status} {error.code}: {error}") from error
            # A full disk says that nothing was stored. After a failed sync, only a restart can tell.
            if error.code != "storage_full":
                self.maybe.setdefault(request.space, request)
            return error
        counts.acknowledged += 1
        self.state = request.change(self.state)
        self.maybe.pop(request.space, None)  # the log goes on: what was refused is not in it
        return None

    def _read_back(self, client: T4DMClient, counts: Counts) -> bool:
        """Compare one memory at once. False if the daemon is gone."""
        if self.state:
            (space, name), known = self._random.choice(list(self.state.items()))
            try:
                found = client.get(name, space=space)
            except TransportError:
                return False
            counts.reads_compared += 1
            if known_of(found) != known:
                counts.wrong_answers += 1
                raise WrongAnswerError(f"{name}: stored {known}, read {found}")
        return True

    def snapshot(self) -> tuple[State, int, Any]:
        return self.state, self._number, self._random.getstate()

    def restore(self, snapshot: tuple[State, int, Any]) -> None:
        """Go back: the same requests follow again, as far as their answers are the same."""
        self.state, self._number, state = snapshot
        self._random.setstate(state)
        self.maybe.clear()

    def restarted(self, found: State) -> list[Request]:
        """Take over what was found after a restart; return the requests that can do no harm when sent again."""
        before, self.state = self.state, found
        again = [request for request in self.maybe.values() if request.is_repeatable]
        for request in again:  # once, whether it had been carried out or not
            self.state = {**outside(found, request.space), **inside(request.change(before), request.space)}
            found = self.state
        self.maybe.clear()
        return again

    def _next(self) -> Request:
        own = f"own-{self.name}"
        if len(self.state) > MANY:
            return self._delete_many(MANY // 2)
        choices: list[tuple[Callable[[], Request], int]] = [(self._store, 30), (self._batch, 10), (self._big, 4)]
        if self.state:
            choices += [
                (self._replace, 8), (self._rewrite, 8), (self._merge, 8), (self._weigh, 5), (self._touch, 8),
                (self._delete, 8), (lambda: self._delete_many(4), 4),
            ]  # fmt: skip
        if any(space == own for space, _ in self.state):
            choices.append((lambda: self._drop_space(own), 6))
        make = self._random.choices([one for one, _ in choices], [weight for _, weight in choices])[0]
        return make()

    def _name(self) -> str:
        self._number += 1
        return f"{self.name}:{self._number}"

    def _known_new(self, chars: int = 0) -> Known:
        number = self._random.randrange(10**9)
        value = {"text": f"{number:09}" * (chars // 9)} if chars else None
        return Known(f"memory {number} of {self.name}", {"n": number, "of": self.name}, number % 101 / 100, value)

    def _space(self) -> str:
        return self._random.choices([*SPACES, f"own-{self.name}"], [6, 3, 1])[0]

    def _some(self) -> Key:
        return self._random.choice(list(self.state))

    def _store(self) -> Request:
        return self._put((self._space(), self._name()), self._known_new())

    def _replace(self) -> Request:
        return self._put(self._some(), self._known_new())

    def _put(self, key: Key, new: Known) -> Request:
        space, name = key
        token = f"{name}-{new.metadata['n']}"

        def change(state: State) -> State:
            version = state[key].version + 1 if key in state else 1  # and the count of its uses begins anew
            return {**state, key: dataclasses.replace(new, version=version)}

        record = m.StoreRequest(space=space, id=name, **sent(new))
        return Request(
            "store", space, lambda client: client.store(record, idempotency_key=token), change, is_repeatable=True
        )

    def _batch(self) -> Request:
        return self._put_all(6, 0)

    def _big(self) -> Request:
        return self._put_all(4, BIG_CHARS)

    def _put_all(self, count: int, chars: int) -> Request:
        space = self._space()
        new = {(space, self._name()): self._known_new(chars) for _ in range(count)}
        records = [m.RecordIn(id=name, **sent(known)) for (_, name), known in new.items()]
        body = m.BatchRequest(space=space, records=records, idempotency_key=f"batch-{records[0].id}")
        return Request(
            "batch", space, lambda client: client.batch(body), lambda state: {**state, **new}, is_repeatable=True
        )

    def _patch(self, kind: str, fields: dict[str, Any], change: Callable[[Known], Known]) -> Request:
        key = self._some()
        body = m.UpdateRequest(**fields)
        return Request(
            kind,
            key[0],
            lambda client: client.update(key[1], body, space=key[0]),
            lambda state: {**state, key: change(state[key])},
        )

    def _rewrite(self) -> Request:
        new = self._known_new()
        return self._patch(
            "rewrite",
            {"content": new.content},
            lambda old: dataclasses.replace(old, content=new.content, version=old.version + 1),
        )

    def _merge(self) -> Request:
        more = {f"key-{self._random.randrange(3)}": [self._random.random(), None, "ü"]}
        return self._patch(
            "merge",
            {"metadata": more},
            lambda old: dataclasses.replace(old, metadata={**old.metadata, **more}, version=old.version + 1),
        )

    def _weigh(self) -> Request:
        importance = self._random.randrange(101) / 100
        return self._patch(
            "weigh", {"importance": importance}, lambda old: dataclasses.replace(old, importance=importance)
        )

    def _touch(self) -> Request:
        space, name = self._some()
        body = m.TouchRequest(space=space, ids=[name])

        def change(state: State) -> State:
            old = state[space, name]
            return {**state, (space, name): dataclasses.replace(old, access_count=old.access_count + 1)}

        return Request("touch", space, lambda client: client.touch(body), change)

    def _delete(self) -> Request:
        space, name = self._some()
        return Request(
            "delete",
            space,
            lambda client: client.delete(name, space=space),
            lambda state: without(state, {(space, name)}),
        )

    def _delete_many(self, count: int) -> Request:
        space = self._some()[0]
        gone = [key for key in self.state if key[0] == space][:count]
        body = m.DeleteRequest(space=space, ids=[name for _, name in gone])
        return Request(
            "delete many", space, lambda client: client.delete_many(body), lambda state: without(state, set(gone))
        )

    def _drop_space(self, space: str) -> Request:
        return Request(
            "delete space",
            space,
            lambda client: client.delete_space(space),
            lambda state: outside(state, space),
        )


def without(state: State, gone: set[Key]) -> State:
    return {key: known for key, known in state.items() if key not in gone}


def inside(state: State, space: str) -> State:
    return {key: known for key, known in state.items() if key[0] == space}


def outside(state: State, space: str) -> State:
    return {key: known for key, known in state.items() if key[0] != space}


def sent(known: Known) -> dict[str, Any]:
    return {
        "content": known.content, "metadata": known.metadata, "importance": known.importance, "value": known.value,
    }  # fmt: skip


def known_of(found: m.Memory) -> Known:
    return Known(found.content, found.metadata, found.importance, found.value, found.version, found.access_count)
