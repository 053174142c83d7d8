"""The engine beside a plain model, through inserts, updates, deletions, flushes, restarts and crashes."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from t4dm_daemon.core.clock import OPEN, UNBOUNDED, RecordClock
from t4dm_daemon.core.errors import ConflictError, IdempotencyMismatchError, InvalidInputError
from t4dm_daemon.core.filter import Leaf
from t4dm_daemon.core.item import Edge, Item
from t4dm_daemon.storage.protocol import Deletion, EdgeChange, FieldUpdate, Outcome, Token, View, Write
from t4dm_daemon.storage.t4dx import T4DXEngine
from t4dm_daemon.storage.t4dx.compaction import SizeTiered
from tests.support.copies import copy_store
from tests.unit.storage.t4dx.items import UnsyncedFileSystem

IDS = ["a", "b", "c", "d", "é", "00000000-0000-7000-8000-000000000001"]
ids = st.sampled_from(IDS)
weights = st.sampled_from([0.0, 0.5, 1.0])
vectors = st.one_of(
    st.none(), st.tuples(*[st.sampled_from([-1.0, 0.25, 1.0])] * 3).map(lambda one: np.array(one, np.float32))
)
writes = st.builds(
    lambda name, content, vector, hashed, dedup, expected, created, valid, expires: Write(
        Item(
            id=name, content=content, vector=vector, content_hash=hashed, created_at=created, valid_from=valid[0],
            valid_to=valid[1], expires_at=expires, event_time=len(content), categories=(content,),
        ),
        expected_version=expected,
        dedup=dedup,
    ),
    ids,
    st.sampled_from(["", "x", "yy", "zzz"]),
    vectors,
    st.sampled_from([0, 1, 2, 2**64 - 1]),
    st.booleans(),
    st.sampled_from([None, None, None, None, 0, 1, 2]),
    st.sampled_from([UNBOUNDED, UNBOUNDED, 7]),
    st.sampled_from([(UNBOUNDED, OPEN), (5, OPEN), (UNBOUNDED, 10), (5, 10)]),
    st.sampled_from([OPEN, OPEN, OPEN, 1, 10**7]),
)  # fmt: skip


class Wall:
    """A clock that each look moves on by one, unless it is set back."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@dataclasses.dataclass
class Link:
    """What the model believes of one link."""

    edge: Edge
    recorded_at: int
    recorded_until: int = OPEN

    @property
    def name(self) -> tuple[str, str, str]:
        return self.edge.source, self.edge.target, self.edge.type


class EngineBesideModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="t4dm-model-"))
        self.copies = 0
        self.wall = Wall()
        self.versions: list[Item] = []  # everything that ever was, oldest first
        self.links: list[Link] = []
        self.purged_before = UNBOUNDED
        self.blobs: dict[str, bytes] = {}
        self.tokens: dict[bytes, tuple[bytes, Any]] = {}
        self.next_seq = 1
        self.moments: list[int] = []

    @initialize(flush_items=st.sampled_from([3, 8, 1000]))
    def begin(self, flush_items: int) -> None:
        self.flush_items = flush_items
        self.root = self.directory / "space"
        self.engine = self.open()

    def open(self) -> T4DXEngine:
        return T4DXEngine(
            self.root,
            fs=UnsyncedFileSystem(),
            clock=RecordClock(self.wall),
            flush_items=self.flush_items,
            ann="flat" if self.flush_items == 8 else "faiss",
            ann_min_rows=4,
            merge_policy=SizeTiered(fan_in=2, max_rows=5),
            merge_in_background=False,
        )

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()
        shutil.rmtree(self.directory)

    # The model ----------------------------------------------------------------------------------------

    def current(self, name: str) -> Item | None:
        return next((one for one in self.versions if one.id == name and one.recorded_until == OPEN), None)

    def visible(self, view: View) -> list[Item]:
        moment = self.engine.snapshot() if view.known_at is None else min(view.known_at, self.engine.snapshot())
        now = max(self.wall(), self.engine.snapshot()) if view.known_at is None else view.known_at
        return [
            one
            for one in self.versions
            if one.recorded_at <= moment < one.recorded_until
            and (view.include_expired or one.expires_at > now)
            and (view.as_of is None or one.valid_from <= view.as_of < one.valid_to)
        ]

    def current_links(self) -> list[Link]:
        return [one for one in self.links if one.recorded_until == OPEN]

    def visible_links(self, view: View) -> list[Edge]:
        moment = self.engine.snapshot() if view.known_at is None else min(view.known_at, self.engine.snapshot())
        return [one.edge for one in self.links if one.recorded_at <= moment < one.recorded_until]

    def close_version(self, one: Item, time: int) -> None:
        self.change(one, recorded_until=time)

    def change(self, version: Item, **fields: Any) -> None:
        """Replace a version in place (found by identity: arrays do not compare)."""
        self.versions = [dataclasses.replace(one, **fields) if one is version else one for one in self.versions]

    def model_insert(self, batch: list[Write], time: int) -> list[Outcome]:
        outcomes = []
        saved = list(self.versions), self.next_seq
        for one in batch:
            before = self.current(one.item.id)
            found = before.version if before else 0
            if one.expected_version is not None and one.expected_version != found:
                self.versions, self.next_seq = saved
                raise ConflictError("")
            same = [
                other
                for other in self.versions
                if other.recorded_until == OPEN and other.id != one.item.id and other.expires_at > time
                and other.content_hash == one.item.content_hash
                and other.valid_from < one.item.valid_to and one.item.valid_from < other.valid_to
            ]  # fmt: skip
            if one.dedup and one.item.content_hash and same:
                # Of several: a stored one before those of this batch, then the first inserted.
                stored = [other for other in same if other.recorded_at < time]
                best = min(stored, key=lambda other: other.seq) if stored else self.first_of_batch(same, time)
                outcomes.append(Outcome(best.id, "duplicate", best.version))
                continue
            last = max((other.version for other in self.versions if other.id == one.item.id), default=0)
            seq = before.seq if before else self.next_seq
            self.next_seq += 0 if before else 1
            created = one.item.created_at
            if created == UNBOUNDED:
                created = before.created_at if before else time
            if before:
                self.close_version(before, time)
            self.versions.append(
                dataclasses.replace(
                    one.item, version=last + 1, recorded_at=time, recorded_until=OPEN, seq=seq, created_at=created,
                    updated_at=time,
                )
            )  # fmt: skip
            outcomes.append(Outcome(one.item.id, "updated" if before else "created", last + 1))
        return outcomes

    def first_of_batch(self, same: list[Item], time: int) -> Item:
        order = [
            one.id for one in self.versions if one.recorded_at == time and one.content_hash == same[0].content_hash
        ]
        return min(same, key=lambda other: order.index(other.id))

    # What happens -------------------------------------------------------------------------------------

    @rule(batch=st.lists(writes, min_size=1, max_size=4), token=st.sampled_from([None, None, b"k1", b"k2"]))
    def insert(self, batch: list[Write], token: bytes | None) -> None:
        key = None if token is None else Token(token, repr([one.item.id for one in batch]).encode())
        try:
            result = self.engine.insert(batch, token=key)
        except IdempotencyMismatchError:
            assert key is not None
            assert self.tokens[key.key][0] != key.fingerprint
            return
        except ConflictError:
            try:
                self.model_insert(batch, self.engine.snapshot())
            except ConflictError:
                return
            raise
        if result.replayed:
            assert key is not None
            assert self.tokens[key.key] == (key.fingerprint, result)
            return
        outcomes = self.model_insert(batch, result.recorded_at)
        assert list(result.outcomes) == outcomes
        if key is not None:
            assert key.key not in self.tokens
            self.tokens[key.key] = key.fingerprint, dataclasses.replace(result, replayed=True)

    @rule(name=ids, expected=st.sampled_from([None, None, 1, 2]))
    def delete(self, name: str, expected: int | None) -> None:
        before = self.current(name)
        done = self.engine.delete([Deletion(name, expected)])

        assert done == [before is not None and expected in (None, before.version)]
        if done == [True] and before is not None:
            self.close_version(before, self.engine.snapshot())
            for link in self.current_links():
                if name in link.name[:2]:
                    link.recorded_until = self.engine.snapshot()

    @rule(
        name=ids,
        importance=st.sampled_from([0.0, 1.0]),
        count=st.sampled_from([-1, 1, 5]),
        add=st.floats(-1, 1),
        expected=st.sampled_from([None, None, 1, 2]),
    )
    def update(self, name: str, importance: float, count: int, add: float, expected: int | None) -> None:
        before = self.current(name)
        done = self.engine.update_fields(
            [
                FieldUpdate(
                    name,
                    {"importance": importance, "pinned": True},
                    {"access_count": count, "kappa": add},
                    expected_version=expected,
                )
            ]
        )

        assert done == [before is not None and expected in (None, before.version)]
        if done == [True] and before is not None:
            self.change(
                before,
                importance=importance,
                pinned=True,
                access_count=max(0, before.access_count + count),
                kappa=min(1.0, max(0.0, before.kappa + add)),
            )

    @rule(source=ids, end=ids, kind=st.sampled_from(["CAUSES", "USES"]), weight=st.sampled_from([0.0, 1.0]))
    def link(self, source: str, end: str, kind: str, weight: float) -> None:
        edge = Edge(source, end, kind, weight)
        try:
            result = self.engine.insert([], [edge])
        except InvalidInputError:
            assert self.current(source) is None or self.current(end) is None
            return
        assert self.current(source) is not None
        assert self.current(end) is not None
        old = next((one for one in self.current_links() if one.name == (source, end, kind)), None)
        if old is None:
            created = dataclasses.replace(edge, created_at=result.recorded_at)
            self.links.append(Link(created, result.recorded_at))
        else:
            old.edge = dataclasses.replace(old.edge, weight=weight)

    @rule(
        source=ids, end=ids, kind=st.sampled_from(["CAUSES", "USES"]), add=st.floats(-1, 1), value=st.none() | weights
    )
    def weigh(self, source: str, end: str, kind: str, add: float, value: float | None) -> None:
        found = [one for one in self.current_links() if one.name == (source, end, kind)]
        for one in found:
            before = one.edge.weight if value is None else value
            one.edge = dataclasses.replace(one.edge, weight=min(1.0, max(0.0, before + add)))

        weights = self.engine.update_edges([EdgeChange(source, end, kind, add=add, set=value)])

        assert weights == ([found[0].edge.weight] if found else [None])

    @rule(source=ids, end=ids, kind=st.sampled_from(["CAUSES", "USES"]))
    def unlink(self, source: str, end: str, kind: str) -> None:
        found = [one for one in self.current_links() if one.name == (source, end, kind)]
        assert self.engine.remove_edges([(source, end, kind)]) == [bool(found)]
        for one in found:
            one.recorded_until = self.engine.snapshot()

    @rule(
        multiply=st.sampled_from([0.5, 1.0, 2.0]),
        low=st.sampled_from([0.0, 0.25]),
        types=st.sampled_from([None, ["USES"], []]),
        sources=st.none() | st.lists(ids, max_size=2),
    )
    def scale(self, multiply: float, low: float, types: list[str] | None, sources: list[str] | None) -> None:
        count = 0
        for one in self.current_links():
            if (types is None or one.edge.type in types) and (sources is None or one.edge.source in sources):
                count += 1
                one.edge = dataclasses.replace(one.edge, weight=min(1.0, max(low, one.edge.weight * multiply)))
        assert self.engine.scale_edges(multiply=multiply, low=low, types=types, sources=sources) == count

    @rule(names=st.lists(ids, max_size=2), back=st.none() | st.integers(0, 3))
    def purge(self, names: list[str], back: int | None) -> None:
        before = None if back is None or not self.versions else self.engine.snapshot() - back
        gone = [
            one
            for one in self.versions
            if one.recorded_until != OPEN and (one.id in names or (before is not None and one.recorded_until <= before))
        ]
        self.versions = [one for one in self.versions if not any(one is other for other in gone)]
        self.links = [
            one
            for one in self.links
            if one.recorded_until == OPEN
            or not (set(names) & set(one.name[:2]) or (before is not None and one.recorded_until <= before))
        ]
        if before is not None:
            self.purged_before = max(self.purged_before, before)
        assert self.engine.purge(names, before=before) == len(gone)

    @rule(everything=st.booleans(), level=st.sampled_from([None, 0, 1, 2]))
    def compact(self, everything: bool, level: int | None) -> None:
        report = self.engine.compact(everything=everything, level=level)
        assert self.engine.stats()["segments"] == report.segments_after
        if everything:
            assert report.rows_after == len(self.versions)
            assert report.segments_after <= max(1, -(-report.rows_after // 5))

    @rule(name=st.sampled_from(["model", "ü/.."]), content=st.none() | st.binary(max_size=9))
    def keep_a_blob(self, name: str, content: bytes | None) -> None:
        self.engine.put_blob(name, content)
        self.blobs.pop(name, None)
        if content is not None:
            self.blobs[name] = content

    @rule(step=st.sampled_from([-5, 0, 1, 10**7]))
    def clock_moves(self, step: int) -> None:
        self.wall.now += step

    @rule()
    def remember_this_moment(self) -> None:
        self.moments = [*self.moments[-3:], self.engine.snapshot()]

    @rule()
    def flush(self) -> None:
        self.engine.flush()
        assert self.engine.stats()["memtable_rows"] == 0

    @rule()
    def reopen(self) -> None:
        self.engine.close()
        self.engine = self.open()

    @rule()
    def crash(self) -> None:
        self.copies += 1
        root = copy_store(self.root, self.directory / f"copy-{self.copies}", engine=self.engine)
        self.engine.close(discard=True)
        shutil.rmtree(self.root)
        self.root = root
        self.engine = self.open()

    # What must hold -----------------------------------------------------------------------------------

    def check_view(self, view: View) -> None:
        wanted = {one.id: one for one in self.visible(view)}
        got = dict(zip(IDS, self.engine.get(IDS, view=view, with_vectors=True), strict=True))
        for name, item in got.items():
            _assert_same(item, wanted.get(name), is_past=view.known_at is not None)
        for order in ("insertion", "created_at", "event_time"):
            field = "seq" if order == "insertion" else order
            for descending in (False, True):
                ordered = sorted(wanted.values(), key=lambda one: (getattr(one, field), one.seq), reverse=descending)
                page = self.engine.scan(view=view, order=order, descending=descending, limit=3)
                found = [item.id for item in page.items]
                assert page.total == len(ordered)
                while page.after is not None:
                    page = self.engine.scan(view=view, order=order, descending=descending, limit=3, after=page.after)
                    found += [item.id for item in page.items]
                assert found == [one.id for one in ordered]
        edges = self.visible_links(view)
        for name in IDS:
            found = {(one.source, one.type, one.target): one for one in self.engine.edges(name, view=view)}
            at_it = [one for one in edges if name in (one.source, one.target)]
            assert found == {(one.source, one.type, one.target): one for one in at_it}
            for direction in ("out", "in", "both"):
                reached = self.engine.traverse(
                    [name], depth=2, direction=direction, types=["USES", "CAUSES"], view=view
                )
                assert {one.id: one.depth for one in reached} == _reached(name, edges, direction, set(wanted))
        for where in (None, Leaf("categories", "contains", "x")):
            self.check_search(view, [one for one in wanted.values() if where is None or "x" in one.categories], where)

    def check_search(self, view: View, items: list[Item], where: Leaf | None) -> None:
        query = np.array([0.5, -0.25, 1.0], np.float32)
        scored = sorted(
            (
                -round(
                    float(
                        one.vector.astype(float)
                        @ query
                        / np.linalg.norm(one.vector.astype(float))
                        / np.linalg.norm(query.astype(float))
                    ),
                    9,
                ),
                one.id,
            )
            for one in items
            if one.vector is not None
        )
        hits = self.engine.search(query, 4, view=view, where=where)
        assert [hit.item.id for hit in hits] == [name for _, name in scored[:4]]
        assert np.allclose([hit.similarity for hit in hits], [-score for score, _ in scored[:4]], atol=2e-9)
        more = self.engine.search(query, 2, view=view, where=where, offset=1, min_similarity=-0.2)
        assert [hit.item.id for hit in more] == [name for score, name in scored if -score >= -0.2][1:3]

    @invariant()
    def the_present_is_the_models(self) -> None:
        self.check_view(View())
        self.check_view(View(as_of=7, include_expired=True))

    @invariant()
    def earlier_moments_read_the_same(self) -> None:
        for moment in self.moments[-2:]:
            if moment >= self.purged_before:
                self.check_view(View(known_at=moment))
            else:
                with pytest.raises(InvalidInputError, match="purged"):
                    self.engine.get(["a"], view=View(known_at=moment))

    @invariant()
    def histories_and_links_are_the_models(self) -> None:
        for name in IDS:
            versions = [one for one in self.versions if one.id == name]
            found = self.engine.history(name, with_vectors=True)
            assert len(found) == len(versions)
            for item, version in zip(found, versions, strict=True):
                _assert_same(item, version, is_past=False)
        assert self.engine.blob_names() == sorted(self.blobs)
        assert {name: self.engine.blob(name) for name in self.blobs} == self.blobs
        for hashed in (1, 2, 2**64 - 1):
            same = [one for one in self.visible(View()) if one.content_hash == hashed]
            first = min(same, key=lambda one: one.seq).id if same else None
            assert self.engine.find_hash(hashed) == first
            then = [one for one in same if one.valid_to > 10]
            first = min(then, key=lambda one: one.seq).id if then else None
            assert self.engine.find_hash(hashed, valid_from=10) == first
        assert self.engine.stats()["items"] == len(self.visible(View()))
        assert self.engine.stats()["versions"] == len(self.versions)


def _reached(start: str, edges: list[Edge], direction: str, visible: set[str]) -> dict[str, int]:
    """Two hops, the slow way."""
    ways = [(one.source, one.target) for one in edges if direction in ("out", "both")]
    ways += [(one.target, one.source) for one in edges if direction in ("in", "both")]
    found: dict[str, int] = {}
    frontier = {start} & visible
    for depth in (1, 2):
        frontier = {end for begin, end in ways if begin in frontier and end in visible} - {start, *found}
        found |= dict.fromkeys(frontier, depth)
    return found


def _assert_same(item: Item | None, version: Item | None, *, is_past: bool) -> None:
    assert (item is None) == (version is None)
    if item is None or version is None:
        return
    assert (item.vector is None) == (version.vector is None)
    if item.vector is not None and version.vector is not None:
        assert item.vector.tolist() == version.vector.tolist()
    left, right = dataclasses.replace(item, vector=None), dataclasses.replace(version, vector=None)
    assert left == right


class TestEngineBesideModel(EngineBesideModel.TestCase):
    settings = settings(max_examples=30, stateful_step_count=25, deadline=None, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestEngineBesideModelForLong(EngineBesideModel.TestCase):
    settings = settings(max_examples=150, stateful_step_count=30, deadline=None, derandomize=True)
