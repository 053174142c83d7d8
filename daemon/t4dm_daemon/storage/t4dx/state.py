"""What the commands of the log have made of a space: its rows, edges and idempotency tokens.

`SpaceState` applies commands one after the other. Whether a precondition holds is decided here, by the state
that all commands before have made; replay decides the same, because it applies the same commands to the same
state. A command that fails its precondition changes nothing.

The engine's apply lock guards every field and method, but for readers: they take `moment` first and `components`
(one reference to a tuple) second, and need no lock.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgpack
import numpy as np

from t4dm_daemon.core.clock import OPEN, UNBOUNDED
from t4dm_daemon.core.errors import (
    ConflictError,
    CorruptionError,
    DimensionMismatchError,
    InvalidInputError,
)
from t4dm_daemon.core.ids import KEY_BYTES, key_of
from t4dm_daemon.core.item import EDGE_TYPES, Edge
from t4dm_daemon.storage.protocol import InsertResult, Outcome, Status
from t4dm_daemon.storage.t4dx.checkpoint import Capture
from t4dm_daemon.storage.t4dx.component import Component
from t4dm_daemon.storage.t4dx.edges import EdgeBlock
from t4dm_daemon.storage.t4dx.lookup import prefixes_of
from t4dm_daemon.storage.t4dx.memtable import Memtable
from t4dm_daemon.storage.t4dx.schema import (
    ADDABLE,
    COMMANDS,
    DELETE,
    GIVEN,
    INSERT,
    LEARNED,
    PURGED,
    SCALE,
    UNLINK,
    UPDATE,
    WEIGH,
    Insert,
    Link,
    Name,
    Row,
    decode_insert,
    unpack_blob,
)
from t4dm_daemon.storage.t4dx.segment import Segment
from t4dm_daemon.storage.t4dx.tokens import Tokens
from t4dm_daemon.storage.t4dx.wal_format import Record

T = TypeVar("T")
_Places = Mapping[T, Sequence[Component]]
ONLY_DUPLICATE: Final = 2
UNCHANGED: Final = 3
_CREATED_AT: Final = GIVEN.index("created_at")
_CONTENT_HASH: Final = GIVEN.index("content_hash")
_VALID_FROM: Final = GIVEN.index("valid_from")
_VALID_TO: Final = GIVEN.index("valid_to")
_EXPIRES_AT: Final = LEARNED.index("expires_at")


class SpaceState:
    """Apply commands, and say what there is.

    Args:
        segments: Of the checkpoint in force, oldest first.
        counters: `dimension`, `next_seq`, `moment` and `purged_before` of the checkpoint; empty for a new space.
        stored: `tokens` of the checkpoint; of one in format 1 also `edges`, which then stood there.
        dimension: Of the vectors, where the checkpoint does not say; None lets the first vector fix it.
        lsn: Of the checkpoint.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        counters: Mapping[str, Any],
        stored: Mapping[str, Any],
        *,
        dimension: int | None,
        lsn: int,
    ) -> None:
        self.dimension: int | None = counters.get("dimension") or dimension
        self.moment = int(counters.get("moment", UNBOUNDED))
        self.applied_lsn = self.captured_lsn = lsn
        self.memtable = Memtable()
        self.components: tuple[Component, ...] = (*segments, self.memtable)
        self.captures: deque[Capture] = deque()
        self.frozen = 0
        """Memtables that wait to become segments."""
        self.purged_before = int(counters.get("purged_before", UNBOUNDED))
        """Versions that ended at or before this time are gone: an earlier past cannot be told."""
        self._next_seq = int(counters.get("next_seq", 1))
        self._by_key: _Places[bytes] = {}
        self._by_hash: _Places[int] = {}
        """Where the keys and content hashes of the command being applied may be, newest component first. A command of
        a thousand rows looks once into each of a hundred segments, not a hundred thousand times. What is not in them
        is looked for everywhere."""
        self.tokens = Tokens(stored.get("tokens", ()))
        for source, target, code, weight, created_at in stored.get("edges", ()):
            edge = Edge(source, target, EDGE_TYPES[code], weight, created_at)
            self.memtable.links.append(edge, created_at, min(created_at, self.moment))
        self.memtable.publish()
        self.is_outdated = "edges" in stored
        """The checkpoint is of an older format: the next one is written even if nothing has changed."""

    def publish(self, lsn: int, moment: int) -> None:
        """Let readers see what was applied."""
        self.memtable.publish()
        self.applied_lsn = lsn
        self.moment = moment

    def apply(self, kind: int, time: int, meaning: Any) -> Any:
        """Apply one command. Raises DaemonError when it changes nothing."""
        try:
            return self._apply(kind, time, meaning)
        finally:
            self._by_key, self._by_hash = {}, {}

    def _apply(self, kind: int, time: int, meaning: Any) -> Any:
        if kind == INSERT:
            return self._apply_insert(time, meaning)
        if kind == UPDATE:
            return self._apply_update(meaning)
        if kind == DELETE:
            return self._apply_delete(time, meaning)
        if kind == WEIGH:
            return self._apply_weigh(meaning)
        if kind == UNLINK:
            return self._apply_unlink(time, meaning)
        if kind == SCALE:
            return self._apply_scale(*meaning)
        return self._apply_purge(*meaning)

    def _apply_insert(self, time: int, command: Insert) -> InsertResult:
        token, rows, links = command.token, command.rows, command.links
        if token is not None and (answer := self.tokens.answered(token, time)) is not None:
            return answer
        ends = (key_of(end) for link in links for end in link[:2])
        self._look_for(
            itertools.chain((row.key for row in rows), ends), (row.given[_CONTENT_HASH] for row in rows if row.dedup)
        )
        plan = self._plan(rows, time)
        links = self._present_links(rows, plan, links)
        outcomes: list[Outcome] = []
        for row, duplicate_of in zip(rows, plan, strict=True):
            if duplicate_of is not None:
                outcomes.append(Outcome(duplicate_of[0], "duplicate", duplicate_of[1]))
            else:
                outcomes.append(self._append(row, time))
        for source, target, code, weight, created_at, is_optional in links:
            found = self._find_link(source, code, target)
            if found is not None:
                if not is_optional:
                    found[0].set_weight(found[1], weight)
                continue
            created = time if created_at == UNBOUNDED else created_at
            self.memtable.links.append(Edge(source, target, EDGE_TYPES[code], weight), created, time)
        if token is not None:
            self.tokens.use(token, time, outcomes)
        return InsertResult(tuple(outcomes), time)

    def _look_for(self, keys: Iterable[bytes], hashes: Iterable[int] = ()) -> None:
        """Find out where the keys and content hashes of a command may be."""
        if not isinstance(self.components[0], Segment):  # segments come first
            return
        wanted, known = list(dict.fromkeys(keys)), list(set(hashes) - {0})
        prefixes = prefixes_of(np.frombuffer(b"".join(wanted), np.uint8).reshape(-1, KEY_BYTES))
        values = np.array(known, np.uint64)
        self._by_key = self._places(wanted, lambda segment: segment.which_keys(prefixes)) if wanted else {}
        self._by_hash = self._places(known, lambda segment: segment.which_hashes(values)) if known else {}

    def _look_for_named(self, names: Sequence[Name]) -> None:
        if len(names) > 1:  # one is found as soon one by one
            self._look_for(_key(name) for name in names)

    def _places(self, wanted: Sequence[T], which: Callable[[Segment], list[int]]) -> _Places[T]:
        """Return for each of several values the components that may have it, newest first."""
        places: dict[T, list[Component]] = {one: [] for one in wanted}
        for component in reversed(self.components):
            if isinstance(component, Segment):
                for at in which(component):
                    places[wanted[at]].append(component)
            else:
                for found in places.values():
                    found.append(component)
        return places

    def _plan(self, rows: Sequence[Row], time: int) -> list[tuple[str, int] | None]:
        """Return per row None, or the id and version that it duplicates. Changes nothing.

        Raises:
            ConflictError, DimensionMismatchError, InvalidInputError: The batch must not be applied.
        """
        staged: dict[bytes, tuple[Row, int]] = {}  # per key: its last row in this batch, and that one's version
        hashes: dict[int, list[bytes]] = {}  # per content hash: keys that had it in this batch
        plan: list[tuple[str, int] | None] = []
        dimension = self.dimension
        for row in rows:
            if row.vector is not None:
                if dimension not in (None, len(row.vector)):
                    assert dimension is not None
                    raise DimensionMismatchError(dimension, len(row.vector))
                dimension = len(row.vector)
            before = staged.get(row.key)
            if before is None:
                version, is_open = self._latest(row.key, row.id)
            elif before[0].id == row.id:
                version, is_open = before[1], True
            else:
                raise _same_key(row.id, before[0].id)
            if row.expected_version is not None and row.expected_version != (version if is_open else 0):
                raise ConflictError(
                    f"{row.id!r} is at version {version if is_open else 0}, not {row.expected_version}"
                    if row.expected_version
                    else f"{row.id!r} exists already",
                    id=row.id,
                    expected=row.expected_version,
                    found=version if is_open else 0,
                )
            if row.dedup == UNCHANGED:
                plan.append((row.id, version))
                continue
            content_hash = row.given[_CONTENT_HASH]
            duplicate = None
            if row.dedup and content_hash:
                valid = row.given[_VALID_FROM], row.given[_VALID_TO]
                duplicate = self.current_with_hash(content_hash, time, {row.key}, staged, valid=valid)
                for key in hashes.get(content_hash, ()) if duplicate is None else ():
                    other, its_version = staged[key]
                    is_same = other.given[_CONTENT_HASH] == content_hash and other.learned[_EXPIRES_AT] > time
                    meets = other.given[_VALID_FROM] < valid[1] and valid[0] < other.given[_VALID_TO]
                    if is_same and meets and key != row.key:
                        duplicate = other.id, its_version
                        break
            if duplicate is None and row.dedup == ONLY_DUPLICATE:
                raise ConflictError(f"{row.id!r} is not known any more", id=row.id)
            if duplicate is None:
                staged[row.key] = (row, version + 1)
                if content_hash:
                    hashes.setdefault(content_hash, []).append(row.key)
            plan.append(duplicate)
        return plan

    def _present_links(
        self, rows: Sequence[Row], plan: Sequence[tuple[str, int] | None], links: Sequence[Link]
    ) -> list[Link]:
        """Return the links whose ends exist. Raises InvalidInputError when one is missing that is not optional."""
        coming = {row.key: row.id for row, duplicate in zip(rows, plan, strict=True) if duplicate is None}
        # A row that was a duplicate is not there: its edge would lead nowhere.
        present = []
        for link in links:
            source, target, *_, is_optional = link
            missing = [end for end in (source, target) if not self._is_end(end, coming)]
            if not missing:
                present.append(link)
            elif not is_optional:
                raise InvalidInputError(f"an edge's end {missing[0]!r} does not exist", id=missing[0])
        return present

    def _is_end(self, end: str, coming: Mapping[bytes, str]) -> bool:
        """Return whether an item of this id is there, or is coming. Raises ConflictError for another of its key."""
        its = coming.get(key_of(end))
        if its is not None and its != end:
            raise _same_key(end, its)
        return its is not None or self._latest(key_of(end), end)[1]

    def _append(self, row: Row, time: int) -> Outcome:
        found = self._find(row.key)
        version, seq, created_at = 1, 0, row.given[_CREATED_AT]
        status: Status = "created"
        if found is not None:
            component, at = found
            version = int(component.numbers["version"][at]) + 1
            if component.is_open(at):
                status = "updated"
                seq = int(component.numbers["seq"][at])
                if created_at == UNBOUNDED:
                    created_at = int(component.numbers["created_at"][at])
                if row.carry:
                    row = row._replace(learned=_carried(row, component, at))
                component.close_row(at, time)
        if not seq:
            seq, self._next_seq = self._next_seq, self._next_seq + 1
        if created_at == UNBOUNDED:
            created_at = time
        if row.vector is not None and self.dimension is None:
            self.dimension = len(row.vector)
        self.memtable.append(row, recorded_at=time, created_at=created_at, seq=seq, version=version)
        return Outcome(row.id, status, version)

    def _apply_update(self, changes: Sequence[Any]) -> list[bool]:
        done = []
        self._look_for_named([name for name, *_ in changes])
        for name, values, increments, *expected in changes:
            found = self._find_named(name)
            if found is None or not found[0].is_open(found[1]):
                done.append(False)
                continue
            component, at = found
            if expected and component.numbers["version"][at] != expected[0]:
                done.append(False)
                continue
            for field, value in values.items():
                component.numbers[field][at] = value
            for field, increment in increments.items():
                column = component.numbers[field]
                column[at] = min(max(column[at].item() + increment, 0), ADDABLE[field])
            if "expires_at" in values and values["expires_at"] != OPEN:
                component.may_expire = True
            component.is_dirty = True
            done.append(True)
        return done

    def _apply_delete(self, time: int, targets: Sequence[Any]) -> list[bool]:
        done = []
        self._look_for_named([name for name, _ in targets])
        for name, expected in targets:
            found = self._find_named(name)
            if found is None or not found[0].is_open(found[1]):
                done.append(False)
                continue
            component, at = found
            if expected is not None and component.numbers["version"][at] != expected:
                done.append(False)
                continue
            component.close_row(at, time)
            for one in self.components:
                one.edges.close_at(_key(name), time)
            done.append(True)
        return done

    # Links --------------------------------------------------------------------------------------------

    def _find_link(self, source: Name, code: int, target: Name) -> tuple[EdgeBlock, int] | None:
        """Return where the current link of this name is."""
        keys = _key(source), _key(target)
        for component in reversed(self.components):
            row = component.edges.find_open(keys[0], code, keys[1])
            if row >= 0:
                link = component.edges.edge(row)
                is_it = _means(source, link.source) and _means(target, link.target)
                return (component.edges, row) if is_it else None
        return None

    def _apply_weigh(self, changes: Sequence[Any]) -> list[float | None]:
        weights: list[float | None] = []
        for source, code, target, value, increment in changes:
            found = self._find_link(source, code, target)
            if found is None:
                weights.append(None)
                continue
            block, row = found
            weight = float(block.columns["weight"][row]) if value is None else value
            weight = min(max(weight + increment, 0.0), 1.0)
            block.set_weight(row, weight)
            weights.append(weight)
        return weights

    def _apply_unlink(self, time: int, names: Sequence[Any]) -> list[bool]:
        done = []
        for source, code, target in names:
            found = self._find_link(source, code, target)
            done.append(found is not None)
            if found is not None:
                found[0].close([found[1]], time)
        return done

    def _apply_scale(
        self,
        multiply: float,
        add: float,
        low: float,
        high: float,
        codes: Sequence[int] | None,
        sources: Sequence[Name] | None,
    ) -> int:
        count = 0
        for component in self.components:
            block = component.edges
            if sources is None:
                rows = np.arange(self._all_links(component))
            else:
                nodes = [node for name in sources if (node := _node(block, name)) >= 0]
                rows = np.unique(
                    np.concatenate([np.empty(0, np.int64), *(block.incident(one, "out") for one in nodes)])
                )
            chosen = block.columns["recorded_until"][rows] == OPEN
            if codes is not None:
                chosen &= np.isin(block.columns["type"][rows], codes)
            rows = rows[chosen]
            if len(rows):
                weights = block.columns["weight"]
                weights[rows] = np.clip(weights[rows] * multiply + add, low, high)
                block.is_dirty = True
            count += len(rows)
        return count

    def _all_links(self, component: Component) -> int:
        """How many links a component has, with those of commands of this group that are not published yet."""
        return component.links.written if isinstance(component, Memtable) else component.edges.rows

    # Forgetting ---------------------------------------------------------------------------------------

    def _apply_purge(self, names: Sequence[Name], before: int | None) -> int:
        """Hide ended versions from every moment: all those of `names`, and all that ended at or before `before`."""
        count = 0
        for component in self.components:
            until = component.numbers["recorded_until"]
            total = component.written if isinstance(component, Memtable) else component.rows
            ended = until[:total] <= before if before is not None else np.zeros(total, np.bool_)
            for name in names:
                rows = [row for row in component.rows_of(_key(name)) if _is_of(component, row, name)]
                ended[rows] = until[rows] != OPEN
            count += component.purge_rows(np.nonzero(ended)[0])
            block, links = component.edges, self._all_links(component)
            until = block.columns["recorded_until"]
            ended = until[:links] <= before if before is not None else np.zeros(links, np.bool_)
            for name in names:
                node = _node(block, name)
                if node >= 0:
                    at_node = block.incident(node, "both")
                    ended[at_node] |= until[at_node] != OPEN
            if (until[:links][ended] != PURGED).any():
                until[:links][ended] = PURGED
                block.is_dirty = True
        if before is not None:
            self.purged_before = max(self.purged_before, before)
        return count

    def _find(self, key: bytes) -> tuple[Component, int] | None:
        """Return where the newest version of a key is, open or not, but not purged."""
        places = self._by_key.get(key)
        for component in reversed(self.components) if places is None else places:
            for row in component.rows_of(key):
                if not component.is_purged(row):
                    return component, row
        return None

    def _find_named(self, name: Name) -> tuple[Component, int] | None:
        """Return where the newest version of an item is, open or not, but not purged."""
        found = self._find(_key(name))
        return found if found is None or _is_of(*found, name) else None

    def _latest(self, key: bytes, identifier: str) -> tuple[int, bool]:
        """Return the newest version number of an id (0 for none), and whether it is current.

        Raises:
            InvalidInputError: The key is another id's.
        """
        found = self._find(key)
        if found is None:
            return 0, False
        component, at = found
        if not component.has_id(at, identifier):
            raise _same_key(identifier, unpack_blob(component.blob(at))[0])
        return int(component.numbers["version"][at]), component.is_open(at)

    def current_with_hash(
        self, content_hash: int, now: int, *without: Container[bytes], valid: tuple[int, int]
    ) -> tuple[str, int] | None:
        """Return the id and version of the current item with a content hash, but for the keys `without`.

        An item counts when it is true at some moment of the interval `valid`, its end excluded. Of several the first
        inserted: the answer must not depend on which component a row is in, for a replay finds it in another.
        """
        first: tuple[int, str, int] | None = None
        places = self._by_hash.get(content_hash)
        for component in self.components if places is None else places:
            for at in component.rows_of_hash(content_hash):
                if not component.is_open(at) or component.numbers["expires_at"][at] <= now:
                    continue
                if component.numbers["valid_from"][at] >= valid[1] or component.numbers["valid_to"][at] <= valid[0]:
                    continue
                seq = int(component.numbers["seq"][at])
                if first is not None and first[0] < seq:
                    continue
                identifier = unpack_blob(component.blob(at))[0]
                if not without or not any(key_of(identifier) in keys for keys in without):
                    first = seq, identifier, int(component.numbers["version"][at])
        return None if first is None else first[1:]

    def capture(self, *, force: bool = False) -> None:
        """Freeze the memtable and note what a checkpoint of this moment must write."""
        if self.applied_lsn == self.captured_lsn and not (force or self.is_outdated):
            return
        if not self.memtable.is_empty:
            self.memtable = Memtable()
            self.components = (*self.components, self.memtable)
            self.frozen += 1
        order = self.components[:-1]
        changed = {one: one.copy_mutable() for one in order if isinstance(one, Memtable) or one.has_unsaved_changes}
        for component in changed:
            component.mark_saved()
        state = None
        if self.tokens.is_dirty or self.is_outdated:
            state = {"tokens": self.tokens.dump(self.moment)}
            self.is_outdated = False
        counters = {
            "dimension": self.dimension,
            "next_seq": self._next_seq,
            "moment": self.moment,
            "purged_before": self.purged_before,
        }
        self.captures.append(Capture(self.applied_lsn, order, changed, state, counters))
        self.captured_lsn = self.applied_lsn

    def take_back(self, became: Mapping[Component, Segment], lsn: int) -> None:
        """Undo captures that could not be written: what they held is captured again by the next one."""
        for capture in self.captures:
            for component in capture.changed:
                became.get(component, component).mark_saved(saved=False)
            if capture.state is not None:
                self.tokens.is_dirty = True
        self.captures.clear()
        self.captured_lsn = min(lsn, self.applied_lsn - 1)

    def replace_memtables(self, made: Mapping[Memtable, Segment]) -> None:
        """Let segments stand for the frozen memtables they were written from."""
        for memtable, segment in made.items():
            segment.take_over(memtable)
        self.components = tuple(made.get(one, one) if isinstance(one, Memtable) else one for one in self.components)
        self.frozen -= len(made)

    def replace_segments(self, old: Sequence[Segment], new: Sequence[Segment]) -> None:
        """Let merged segments stand for neighbouring ones."""
        at = self.components.index(old[0])
        assert self.components[at : at + len(old)] == tuple(old)
        self.components = (*self.components[:at], *new, *self.components[at + len(old) :])

    def count_links(self) -> int:
        return sum(component.edges.count_open() for component in self.components)


def _key(name: Name) -> bytes:
    return name if isinstance(name, bytes) else key_of(name)


def _means(name: Name, identifier: str) -> bool:
    """Return whether a command that names an item means the one of this id, which has the same key."""
    return isinstance(name, bytes) or name == identifier


def _is_of(component: Component, row: int, name: Name) -> bool:
    return isinstance(name, bytes) or component.has_id(row, name)


def _node(block: EdgeBlock, name: Name) -> int:
    """Return the number of an item in a block of links, -1 when it has none there."""
    node = block.node(_key(name))
    return node if node >= 0 and _means(name, block.node_id(node)) else -1


def _same_key(given: str, stored: str) -> InvalidInputError:
    return InvalidInputError(
        f"the ids {given!r} and {stored!r} have the same key: one is a UUID that is the hash of the other; "
        "the first that was stored keeps it",
        id=given,
        stored=stored,
    )


def _carried(row: Row, component: Component, at: int) -> tuple[float, ...]:
    """Return the row's learning state, with what it carries over taken from row `at` of `component`."""
    return tuple(
        component.numbers[name].item(at) if row.carry >> bit & 1 else given
        for bit, (name, given) in enumerate(zip(LEARNED, row.learned, strict=True))
    )


def meaning_of(record: Record) -> Any:
    """Return what a record of the log stands for."""
    if record.type == INSERT:
        return decode_insert(record.body)
    if record.type in COMMANDS:
        return msgpack.unpackb(record.body)
    raise CorruptionError(f"the log holds a record of unknown type {record.type}", type=record.type, lsn=record.lsn)
