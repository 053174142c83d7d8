"""The words of a space against plain BM25 over a list, under random writes, deletions, flushes, merges and restarts."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from t4dm_daemon.core.clock import RecordClock
from t4dm_daemon.core.filter import Leaf
from t4dm_daemon.core.item import Item
from t4dm_daemon.storage.protocol import PRESENT, Deletion, View, Write
from t4dm_daemon.storage.t4dx import T4DXEngine
from t4dm_daemon.storage.t4dx.analysis import analyzer
from t4dm_daemon.storage.t4dx.probe import K1, B

WORDS = [
    "walk",
    "walking",
    "walked",
    "mountain",
    "Berge",
    "river",
    "the",
    "of",
    "and",
    "tea",
    "teas",
    "naïve",
    "naive",
    "東京タワー",
    "東京",
    "42",
    "don't",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
IDS = st.sampled_from([f"m{number}" for number in range(12)])
SESSIONS = st.sampled_from([None, "one", "two"])
USERS = st.sampled_from([None, "ada", "bob"])
QUESTIONS = (
    "walking in the mountains",
    "tea",
    "naïve Berge",
    "東京",
    "the of and",
    '"walking mountain" river',
    "42 don't",
)
ALL = 10_000


@dataclass(frozen=True)
class Known:
    """One version of a memory, and when it was recorded."""

    id: str
    text: str
    session: str | None
    user: str | None
    event_time: int
    seq: int
    since: int
    until: int = 2**62


@dataclass
class Words:
    """The model: every version ever, and BM25 written down as it is defined."""

    versions: list[Known] = field(default_factory=list)

    def visible(self, moment: int, user: str | None) -> list[Known]:
        return [one for one in self.versions if one.since <= moment < one.until and (user is None or one.user == user)]

    def scores(self, question: str, moment: int, user: str | None) -> dict[str, tuple[float, float]]:
        """Return BM25 of the text and of its window, by id."""
        cut = analyzer("english")
        docs = self.visible(moment, user)
        terms = {one.id: cut.terms(one.text) for one in docs}
        wanted = list(dict.fromkeys(cut.terms(question)))
        phrases = [tuple(one) for one in cut.phrases(question)]
        counts = {one.id: Counter(terms[one.id]) for one in docs}
        for phrase in phrases:
            for one in docs:
                own = terms[one.id]
                size = len(phrase)
                counts[one.id][" ".join(phrase)] = sum(
                    tuple(own[at : at + size]) == phrase for at in range(len(own) - size + 1)
                )
        wanted += [" ".join(phrase) for phrase in phrases]
        mean = sum(map(len, terms.values())) / max(len(docs), 1)
        weights = {}
        for term in wanted:
            holding = sum(counts[one.id][term] > 0 for one in docs)
            weights[term] = math.log(1 + (len(docs) - holding + 0.5) / (holding + 0.5))

        def bm25(held: Counter[str], length: int, usual: float) -> float:
            return sum(
                weight * (K1 + 1) * held[term] / (held[term] + K1 * (1 - B + B * length / usual))
                for term, weight in weights.items()
                if held[term]
            )

        found = {}
        for one in docs:
            window = self._window(one, docs)
            joined = sum((counts[other.id] for other in window), Counter())
            length = sum(len(terms[other.id]) for other in window)
            found[one.id] = (
                bm25(counts[one.id], len(terms[one.id]), max(mean, 1e-9)),
                bm25(joined, length, max(3 * mean, 1e-9)),
            )
        return found

    @staticmethod
    def _window(one: Known, docs: list[Known]) -> list[Known]:
        if one.session is None:
            return [one]
        order = sorted((d for d in docs if d.session == one.session), key=lambda d: (d.event_time, d.seq))
        at = order.index(one)
        return order[max(0, at - 1) : at + 2]


class LexicalMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.clock = RecordClock()
        self.model = Words()
        self.next_seq = 1
        self.moments = [0]
        self.engine = self._open()

    def _open(self) -> T4DXEngine:
        return T4DXEngine(
            Path(self.directory.name) / "space",
            clock=self.clock,
            sync=False,
            flush_items=1000,
            merge_in_background=False,
        )

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()
            self.directory.cleanup()

    @rule(identifier=IDS, text=TEXTS, session=SESSIONS, user=USERS, event_time=st.integers(0, 5))
    def store(self, identifier: str, text: str, session: str | None, user: str | None, event_time: int) -> None:
        item = Item(id=identifier, content=text, session_id=session, user_id=user, event_time=event_time)
        time = self.engine.insert([Write(item)]).recorded_at
        before = self._close(identifier, time)
        seq = self.next_seq if before is None else before.seq
        self.next_seq += before is None
        self.model.versions.append(Known(identifier, text, session, user, event_time, seq, time))
        self.moments.append(time)

    def _close(self, identifier: str, time: int) -> Known | None:
        for at, one in enumerate(self.model.versions):
            if one.id == identifier and one.until == 2**62:
                self.model.versions[at] = Known(*list(vars(one).values())[:-1], until=time)
                return one
        return None

    @rule(identifier=IDS)
    def delete(self, identifier: str) -> None:
        if self.engine.delete([Deletion(identifier)])[0]:
            self._close(identifier, self.engine.snapshot())
        self.moments.append(self.engine.snapshot())

    @rule()
    def flush(self) -> None:
        self.engine.flush()

    @rule()
    def merge(self) -> None:
        self.engine.compact(everything=True)

    @precondition(lambda self: self.model.versions)
    @rule()
    def restart(self) -> None:
        self.engine.close()
        self.engine = self._open()

    @rule(question=st.sampled_from(QUESTIONS), user=USERS, back=st.integers(0, 6))
    def ask_of_the_past(self, question: str, user: str | None, back: int) -> None:
        moment = self.moments[-1 - min(back, len(self.moments) - 1)]
        if moment:
            self._compare(question, user, moment, View(known_at=moment, include_expired=True))

    @invariant()
    def answers_are_those_of_the_model(self) -> None:
        if not hasattr(self, "engine"):
            return
        for question in QUESTIONS[:2]:
            self._compare(question, None, self.engine.snapshot(), PRESENT)

    def _compare(self, question: str, user: str | None, moment: int, view: View) -> None:
        where = None if user is None else Leaf("user_id", "eq", user)
        probe = self.engine.probe(vector=None, text=question, k=ALL, where=where, view=view)
        found = {one.item.id: one for one in probe.candidates(keep=ALL, weights=(0.0, 1.0, 1.0))}
        expected = self.model.scores(question, moment, user)
        told = {one for one, (text, window) in expected.items() if text > 0 or window > 0}
        assert told <= found.keys() <= expected.keys()
        for identifier, one in found.items():
            text, window = expected[identifier]
            assert math.isclose(one.lexical, text, rel_tol=1e-9, abs_tol=1e-9), (question, identifier)
            assert math.isclose(one.window, window, rel_tol=1e-9, abs_tol=1e-9), (question, identifier)
        by_id = {one.item.id: one for one in probe.among(expected)}
        assert by_id.keys() == expected.keys()
        for identifier, (text, window) in expected.items():
            assert math.isclose(by_id[identifier].lexical, text, rel_tol=1e-9, abs_tol=1e-9)
            assert math.isclose(by_id[identifier].window, window, rel_tol=1e-9, abs_tol=1e-9)


TestWords = LexicalMachine.TestCase
TestWords.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
