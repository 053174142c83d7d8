"""The memory service against a plain dict, under random operations with restarts and crashes.

Runs over embedded mode, the public interface of the service in this process; a crash is a copy of the store's
directory taken while it is open, opened in its place.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from t4dm._backend import MemoryBackend
from t4dm.sdk import ConflictError, NotFoundError
from t4dm.sdk import models as m
from t4dm_daemon.embedding.hashing import HashingEmbedder
from t4dm_daemon.runtime import open_embedded
from tests.support.copies import copy_store

WORDS = ("river", "stone", "lamp", "Zürich", "bread", "violin", "snow", "鍵")
ids = st.sampled_from(["1", "a/b c", "ü" * 20, "018f3c1e-0000-7000-8000-000000000001", "x", "y"])
contents = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
users = st.sampled_from([None, "ann", "bob"])
values = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(-2, 2, width=16), st.sampled_from(WORDS))
metadata = st.dictionaries(
    st.sampled_from(["p", "q", "p.q"]), st.one_of(values, st.lists(values, max_size=2)), max_size=2
)
importance = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@dataclass
class Known:
    """What the model believes of one id."""

    content: str
    metadata: dict[str, Any]
    user: str | None
    importance: float
    version: int
    order: int
    past: list[tuple[datetime, str | None]] = field(default_factory=list)


class ServiceMachine(RuleBasedStateMachine):
    """Drive a store and a dict with the same operations and compare what they say."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="t4dm-model-"))
        self.generation = 0
        self.backend: MemoryBackend = self._open()
        self.embedder = HashingEmbedder()
        self.embedder.load()
        self.live: dict[str, Known] = {}
        self.gone: dict[str, Known] = {}
        self.counter = 0

    @property
    def path(self) -> Path:
        return self.root / str(self.generation)

    def _open(self) -> MemoryBackend:
        return open_embedded(
            self.path,
            embedding_model="hashing",
            cache_path=self.root / "cache",
            storage={"flush_items": 16, "sync": "off"},
        )

    def teardown(self) -> None:
        self.backend.close()
        shutil.rmtree(self.root)

    # Writing ------------------------------------------------------------------------------------------

    def _put(self, memory: m.Memory, content: str, meta: dict[str, Any], user: str | None, weight: float) -> None:
        before = self.live.get(memory.id)
        earlier = before or self.gone.pop(memory.id, None)
        self.counter += 1
        known = Known(content, meta, user, weight, memory.version, before.order if before else self.counter)
        known.past = earlier.past if earlier else []
        known.past.append((memory.recorded_at, content))
        assert memory.version == (earlier.version + 1 if earlier else 1)
        self.live[memory.id] = known

    @rule(identifier=ids, content=contents, meta=metadata, user=users, weight=importance)
    def store_with_id(
        self, identifier: str, content: str, meta: dict[str, Any], user: str | None, weight: float
    ) -> None:
        memory = self.backend.store(
            m.StoreRequest(id=identifier, content=content, metadata=meta, user_id=user, importance=weight)
        )
        assert memory.status == ("updated" if identifier in self.live else "created")
        self._put(memory, content, meta, user, weight)

    @rule(content=contents, user=users)
    def store_without_id(self, content: str, user: str | None) -> None:
        same = {one for one, known in self.live.items() if known.content == content and known.user == user}
        memory = self.backend.store(m.StoreRequest(content=content, user_id=user))
        if same:
            assert memory.status == "duplicate"
            assert memory.id in same
        else:
            assert memory.status == "created"
            assert 0.0 < memory.importance < 1.0  # by novelty, which this model does not follow
            self._put(memory, content, {}, user, memory.importance)

    @rule(records=st.lists(st.tuples(ids, contents), min_size=1, max_size=4, unique_by=lambda pair: pair[0]))
    def batch_that_replaces(self, records: list[tuple[str, str]]) -> None:
        given = [m.RecordIn(id=identifier, content=content) for identifier, content in records]
        answer = self.backend.batch(m.BatchRequest(records=given))
        assert [one.id for one in answer.results] == [identifier for identifier, _ in records]
        stored = self.backend.get_many(m.GetRequest(ids=[identifier for identifier, _ in records]))
        for memory, (_, content) in zip(stored, records, strict=True):
            self._put(memory, content, {}, None, 0.5)

    @rule(known=ids, content=contents, fresh=st.uuids().map(str))
    def batch_that_must_not_overwrite(self, known: str, content: str, fresh: str) -> None:
        records = [m.RecordIn(id=fresh, content=content), m.RecordIn(id=known, content=content)]
        request = m.BatchRequest(records=records, on_conflict="error")
        if known in self.live:
            with pytest.raises(ConflictError):
                self.backend.batch(request)
            with pytest.raises(NotFoundError):
                self.backend.get(fresh)
            return
        self.backend.batch(request)
        for identifier in (fresh, known):
            self._put(self.backend.get(identifier), content, {}, None, 0.5)

    @rule(content=contents, key=st.uuids().map(str))
    def retry_with_an_idempotency_key(self, content: str, key: str) -> None:
        request = m.StoreRequest(content=content, dedup="off")
        first = self.backend.store(request, idempotency_key=key)
        second = self.backend.store(request, idempotency_key=key)
        assert second == first
        self._put(first, content, {}, None, first.importance)

    @rule(identifier=ids, meta=metadata, content=st.none() | contents)
    def update(self, identifier: str, meta: dict[str, Any], content: str | None) -> None:
        changes: dict[str, Any] = {"metadata": meta}
        if content is not None:
            changes["content"] = content
        request = m.UpdateRequest(**changes)
        if identifier not in self.live:
            with pytest.raises(NotFoundError):
                self.backend.update(identifier, request)
            return
        known = self.live[identifier]
        wanted = known.metadata | meta
        is_same = repr(wanted) == repr(known.metadata) and content in (None, known.content)
        memory = self.backend.update(identifier, request)
        if is_same:
            assert memory.version == known.version
        else:
            self._put(memory, content or known.content, wanted, known.user, known.importance)

    @rule(identifier=ids, weight=importance)
    def change_learning_state(self, identifier: str, weight: float) -> None:
        if identifier in self.live:
            memory = self.backend.update(identifier, m.UpdateRequest(importance=weight))
            assert memory.version == self.live[identifier].version
            self.live[identifier].importance = weight

    @rule(identifier=ids)
    def delete(self, identifier: str) -> None:
        if identifier not in self.live:
            with pytest.raises(NotFoundError):
                self.backend.delete(identifier)
            return
        self.backend.delete(identifier)
        self._forget(identifier)

    @rule(user=st.sampled_from(["ann", "bob"]))
    def delete_of_one_user(self, user: str) -> None:
        theirs = [one for one, known in self.live.items() if known.user == user]
        assert self.backend.delete_many(m.DeleteRequest(user_id=user, dry_run=True)).deleted == len(theirs)
        assert self.backend.delete_many(m.DeleteRequest(user_id=user)).deleted == len(theirs)
        for identifier in theirs:
            self._forget(identifier)

    def _forget(self, identifier: str) -> None:
        known = self.live.pop(identifier)
        ended = self.backend.history(identifier)[-1]
        assert ended.event == "DELETE"
        known.past.append((ended.recorded_at, None))
        self.gone[identifier] = known

    # Time and trouble ---------------------------------------------------------------------------------

    @rule()
    def restart(self) -> None:
        self.backend.close()
        self.backend = self._open()

    @rule()
    def crash(self) -> None:
        self.generation += 1
        copy_store(self.root / str(self.generation - 1), self.path)
        old, self.backend = self.backend, self._open()
        old.close()

    # Reading ------------------------------------------------------------------------------------------

    @invariant()
    def lists_what_the_model_knows(self) -> None:
        answer = self.backend.list(m.ListRequest(order_by="insertion"))
        assert answer.total == len(self.live)
        assert [one.id for one in answer.results] == sorted(self.live, key=lambda one: self.live[one].order)
        for memory in answer.results:
            known = self.live[memory.id]
            assert (memory.content, memory.user_id, memory.importance, memory.version) == (
                known.content, known.user, known.importance, known.version,
            )  # fmt: skip
            assert repr(memory.metadata) == repr(known.metadata)

    @rule(question=contents, k=st.integers(1, 5), user=users)
    def search(self, question: str, k: int, user: str | None) -> None:
        eligible = [one for one, known in self.live.items() if user is None or known.user == user]
        hits = self.backend.search(m.SearchRequest(query=question, k=k, user_id=user, mode="vector")).results
        assert len(hits) == min(k, len(eligible))
        if not eligible:
            return
        vectors = self.embedder.embed([self.live[one].content for one in eligible]).astype(np.float64)
        cosines = dict(zip(eligible, vectors @ self.embedder.embed([question])[0].astype(np.float64), strict=True))
        best = sorted(cosines.values(), reverse=True)[:k]
        assert [hit.similarity for hit in hits] == pytest.approx(best, abs=1e-6)
        for hit in hits:
            assert hit.similarity == pytest.approx(cosines[hit.memory.id], abs=1e-6)
        assert [(-hit.score, hit.memory.id) for hit in hits] == sorted((-hit.score, hit.memory.id) for hit in hits)

    @rule(word=st.sampled_from(WORDS), value=values)
    def filter_by_metadata(self, word: str, value: Any) -> None:
        leaf = {"and": [{"field": "p", "op": "exists"}, {"not": {"field": "p", "op": "eq", "value": value}}]}
        answer = self.backend.list(m.ListRequest(filter=m.Filter.model_validate(leaf)))
        expected = {
            one for one, known in self.live.items() if "p" in known.metadata and not _same(known.metadata["p"], value)
        }
        assert {one.id for one in answer.results} == expected
        text = {"field": "content", "op": "text_match", "value": word}
        answer = self.backend.list(m.ListRequest(filter=m.Filter.model_validate(text)))
        assert {one.id for one in answer.results} == {one for one, known in self.live.items() if word in known.content}

    @precondition(lambda self: self.live or self.gone)
    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        everyone = {**self.live, **self.gone}
        # By age, not by name: ids that the daemon makes differ from run to run.
        oldest_first = sorted(everyone, key=lambda one: everyone[one].order)
        identifier = oldest_first[data.draw(st.integers(0, len(oldest_first) - 1))]
        past = everyone[identifier].past
        at = data.draw(st.integers(0, len(past) - 1))
        moment, content = past[at]
        if at + 1 < len(past) and past[at + 1][0] == moment:
            return
        if content is None:
            with pytest.raises(NotFoundError):
                self.backend.get(identifier, known_at=moment)
        else:
            assert self.backend.get(identifier, known_at=moment).content == content
        adds = [entry for entry in self.backend.history(identifier) if entry.event != "DELETE"]
        assert [entry.new.content for entry in adds if entry.new] == [text for _, text in past if text is not None]

    @initialize()
    def begin(self) -> None:
        assert self.backend.list(m.ListRequest()).total == 0


def _same(left: Any, right: Any) -> bool:
    numbers = (int, float)
    if isinstance(left, bool) or isinstance(right, bool):
        return type(left) is type(right) and left == right
    if isinstance(left, numbers) and isinstance(right, numbers):
        return left == right
    return type(left) is type(right) and left == right


def _examples(count: int) -> settings:
    return settings(
        max_examples=count,
        derandomize=True,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


class TestService(ServiceMachine.TestCase):
    settings = _examples(20)


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestServiceForLong(ServiceMachine.TestCase):
    settings = _examples(100)
