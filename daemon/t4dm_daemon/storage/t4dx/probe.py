"""One question put to all signals at once, as of one moment: nearness of vectors, words, and words nearby.

    dense     cosine of the vectors, exact or by graph as in `query.search`
    lexical   BM25 of the row's text (Robertson & Zaragoza 2009, eq. 3.15 with the idf that is never negative,
              ln(1 + (N - n + .5) / (n + .5)); k1 = .9, b = .4, the values of Anserini for passages)
    window    BM25 of three texts as one: the row's, and those before and after it in its session

N, n and the mean length are those of the rows that the read sees and that pass its filter. So an answer depends on
what one may see and on nothing else: not on other owners' texts, on what has ended, or on how rows lie in segments.

A quoted phrase counts as one more term, found where its terms follow each other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.filter import Filter
from t4dm_daemon.core.ids import key_of
from t4dm_daemon.core.item import Edge
from t4dm_daemon.storage.protocol import Candidate, Scales
from t4dm_daemon.storage.t4dx import graph
from t4dm_daemon.storage.t4dx.analysis import Analyzer
from t4dm_daemon.storage.t4dx.component import Component, Mask
from t4dm_daemon.storage.t4dx.query import Snapshot, nearest, similarities

K1: Final = 0.9
B: Final = 0.4
MAX_TERMS: Final = 512
"""Different words of a question that count, its first ones: a longer text is no question."""
_DECIMALS: Final = 9
_NO_ROWS: Final = np.empty(0, np.int64)

Rows = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Ref = tuple[int, int]
"""Which part, which row."""


@dataclass(slots=True)
class _Part:
    """A component as the read sees it."""

    component: Component
    rows: int
    mask: Mask | None
    lengths: Numbers = field(default_factory=lambda: np.empty(0))
    postings: dict[str, tuple[Rows, Numbers]] = field(default_factory=dict)
    """Per term of the question: rows that are seen and hold it, ascending, and how often."""
    scores: Numbers = field(default_factory=lambda: np.empty(0))
    windows: list[tuple[Rows, Numbers, Numbers]] = field(default_factory=list)
    """Rows whose sessions were read, or that have none, ascending, with score and coverage of their windows."""

    def seen(self, row: int) -> bool:
        return row < self.rows and (self.mask is None or bool(self.mask[row]))

    def keep(self, rows: Rows) -> npt.NDArray[np.bool_]:
        shown = rows < self.rows
        if self.mask is not None:
            shown[shown] = self.mask[rows[shown]]
        return shown


class TextProbe:
    """The answers of all signals to one question. Not thread-safe: one reader's.

    Args:
        snapshot: What the read sees.
        analyzer: Of the space.
        vector: What is looked for by meaning, (D,); None leaves that signal out.
        text: What is looked for by words; None or nothing but stop words leaves that out.
        where: What passes.
        k: Candidates that words, and windows, propose; meaning proposes a third as many, for its tail is noise, and a
            graph finds it slowly.
        with_vectors: Whether items carry theirs.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        analyzer: Analyzer,
        *,
        vector: npt.NDArray[np.float32] | None,
        text: str | None,
        where: Filter | None,
        k: int,
        with_vectors: bool,
    ) -> None:
        self._snapshot = snapshot
        self._analyzer = analyzer
        self._vector = vector
        self._k = k
        self._with_vectors = with_vectors
        self._parts = [_Part(*one) for one in snapshot.masks(where)]
        self._idf: dict[str, float] = {}
        self._held: list[str] = []
        """The terms that some row holds."""
        self._mean_length = 0.0
        self._known_sessions: set[str] = set()
        self._cosines: dict[Ref, float] = {}
        self._scales = Scales()
        self._links: dict[str, list[Edge]] = {}
        if text is not None:
            self._read_postings(text)
            self._score()

    # Words --------------------------------------------------------------------------------------------

    def _read_postings(self, text: str) -> None:
        terms = list(itertools.islice(dict.fromkeys(self._analyzer.terms(text)), MAX_TERMS))
        phrases = [one for one in self._analyzer.phrases(text) if set(one) <= set(terms)]
        if not terms:
            return
        total_length, total = 0.0, 0
        for part in self._parts:
            index = part.component.text_index(self._analyzer, part.rows)
            part.lengths = index.lengths()[: part.rows].astype(np.float64)
            chosen = part.lengths if part.mask is None else part.lengths[part.mask]
            total += len(chosen)
            total_length += float(chosen.sum())
            for term in terms:
                rows, counts = index.postings(term)
                shown = part.keep(rows)
                part.postings[term] = rows[shown], counts[shown].astype(np.float64)
            for phrase in phrases:
                part.postings[" ".join(phrase)] = self._find_phrase(part, phrase)
        self._mean_length = max(total_length / max(total, 1), 1e-9)
        for term in dict.fromkeys((*terms, *(" ".join(one) for one in phrases))):
            holding = sum(len(part.postings[term][0]) for part in self._parts)
            self._idf[term] = math.log(1.0 + (total - holding + 0.5) / (holding + 0.5))
            if holding:
                self._held.append(term)

    def _find_phrase(self, part: _Part, phrase: Sequence[str]) -> tuple[Rows, Numbers]:
        rows: Rows | None = None
        for term in phrase:
            held = part.postings[term][0]
            rows = held if rows is None else np.intersect1d(rows, held, assume_unique=True)
        found = []
        for row in () if rows is None else rows.tolist():
            terms = self._analyzer.terms(part.component.content(row))
            times = sum(terms[at : at + len(phrase)] == phrase for at in range(len(terms) - len(phrase) + 1))
            if times:
                found.append((row, times))
        return np.array([row for row, _ in found], np.int64), np.array([float(times) for _, times in found])

    def _score(self) -> None:
        for part in self._parts:
            part.scores = np.zeros(part.rows)
            for term, (rows, counts) in part.postings.items():
                part.scores[rows] += self._weigh(term, counts, part.lengths[rows], self._mean_length)

    def _weigh(self, term: str, counts: Numbers, lengths: Numbers, mean: float) -> Numbers:
        saturated: Numbers = counts / (counts + K1 * (1.0 - B + B * lengths / mean))
        return self._idf[term] * (K1 + 1.0) * saturated

    def _best_by_words(self) -> list[Ref]:
        scores, seqs, refs = [], [], []
        for at, part in enumerate(self._parts):
            (rows,) = np.nonzero(part.scores > 0)
            if len(rows) > 4 * self._k:
                kept = part.scores[rows]
                rows = rows[kept >= np.partition(kept, -self._k)[-self._k]]
            scores.append(np.round(part.scores[rows], _DECIMALS))
            seqs.append(part.component.numbers["seq"][rows])
            refs += [(at, row) for row in rows.tolist()]
        return _first(refs, np.concatenate(scores), np.concatenate(seqs), self._k) if refs else []

    # Windows ------------------------------------------------------------------------------------------

    def _read_windows(self, refs: Iterable[Ref]) -> list[Ref]:
        """Score the sessions of rows, and return the best of what they hold by their windows."""
        if not self._idf:
            return []
        names: set[str] = set()
        alone: dict[int, list[int]] = {}
        for at, row in refs:
            name = self._session(at, row)
            if name is None:
                alone.setdefault(at, []).append(row)
            elif name not in self._known_sessions:
                names.add(name)
        self._known_sessions |= names
        for at, without in alone.items():
            self._read_alone(self._parts[at], np.array(sorted(without), np.int64))
        if not names:
            return []
        order = sorted(names)
        columns: list[list[npt.NDArray[Any]]] = [[] for _ in range(6)]
        chosen: list[Rows] = []
        for at, part in enumerate(self._parts):
            component = part.component
            dictionary = component.dictionaries["session_id"]
            wanted = np.full(len(dictionary.values) + 1, -1, np.int64)  # the last entry is that of code -1
            for number, name in enumerate(order):
                wanted[dictionary.find(name)] = number
            wanted[-1] = -1
            sessions = wanted[component.codes["session_id"][: part.rows]]
            (rows,) = np.nonzero(sessions >= 0 if part.mask is None else (sessions >= 0) & part.mask)
            chosen.append(rows)
            numbers = component.numbers
            values_of = (numbers["event_time"][rows], numbers["seq"][rows], np.full(len(rows), at), rows)
            for column, value in zip(columns, (sessions[rows], *values_of, part.lengths[rows]), strict=True):
                column.append(value)
        session, event_time, seq, parts, rows, length = (np.concatenate(column) for column in columns)
        placed = np.lexsort((seq, event_time, session))
        session, seq, parts, rows = session[placed], seq[placed], parts[placed], rows[placed]

        def counts(term: str) -> Numbers:
            held = [_counts_at(own, *part.postings[term]) for own, part in zip(chosen, self._parts, strict=True)]
            return np.concatenate(held)[placed]

        scores, coverage = self._weigh_windows(session, length[placed], counts)
        for at in range(len(self._parts)):
            (own,) = np.nonzero(parts == at)
            own = own[np.argsort(rows[own])]
            self._parts[at].windows.append((rows[own], scores[own], coverage[own]))
        best = np.lexsort((seq, -np.round(scores, _DECIMALS)))[: self._k]
        return list(zip(parts[best].tolist(), rows[best].tolist(), strict=True))

    def _session(self, at: int, row: int) -> str | None:
        component = self._parts[at].component
        code = component.codes["session_id"].item(row)
        return None if code < 0 else str(component.dictionaries["session_id"].values[code])

    def _weigh_windows(
        self, session: Rows, length: Numbers, counts: Callable[[str], Numbers]
    ) -> tuple[Numbers, Numbers]:
        """Return score and coverage of windows of rows in order; `counts` tells how often each holds a term."""
        follows = session[1:] == session[:-1]

        def with_neighbours(values: Numbers) -> Numbers:
            joined = values.copy()
            joined[1:] += values[:-1] * follows
            joined[:-1] += values[1:] * follows
            return joined

        lengths = with_neighbours(length)
        scores = np.zeros(len(session))
        covered = np.zeros(len(session))
        for term in self._held:
            held = with_neighbours(counts(term))
            scores += self._weigh(term, held, lengths, 3.0 * self._mean_length)
            covered += self._idf[term] * (held > 0)
        return scores, covered / max(sum(self._idf.values()), 1e-9)

    def _read_alone(self, part: _Part, rows: Rows) -> None:
        """Score rows without a session, ascending: each is a window of one."""
        each_its_own = np.arange(len(rows))
        scores, coverage = self._weigh_windows(
            each_its_own, part.lengths[rows], lambda term: _counts_at(rows, *part.postings[term])
        )
        part.windows.append((rows, scores, coverage))

    # Vectors ------------------------------------------------------------------------------------------

    def _best_by_meaning(self) -> list[Ref]:
        if self._vector is None:
            return []
        wanted = max(1, self._k // 3)
        refs: list[Ref] = []
        cosines, seqs = [np.empty(0)], [np.empty(0, np.int64)]
        for at, part in enumerate(self._parts):
            rows = nearest(part.component, part.rows, part.mask, self._vector, wanted)
            found = similarities(part.component, rows, self._vector)
            refs += [(at, row) for row in rows.tolist()]
            cosines.append(found)
            seqs.append(part.component.numbers["seq"][rows])
        every = np.concatenate(cosines)
        self._cosines |= dict(zip(refs, every.tolist(), strict=True))
        return _first(refs, every, np.concatenate(seqs), wanted)

    def _read_cosines(self, refs: Sequence[Ref]) -> None:
        if self._vector is None:
            return
        for at, part in enumerate(self._parts):
            vectors = part.component.vectors()
            if vectors is None:
                continue
            inverse = part.component.numbers["inv_norm"]
            rows = [row for its, row in refs if its == at and (at, row) not in self._cosines and inverse[row] > 0]
            if rows:
                chosen = np.array(rows, np.int64)
                found = similarities(part.component, chosen, self._vector)
                self._cosines |= {(at, row): one for row, one in zip(rows, found.tolist(), strict=True)}

    # Answers ------------------------------------------------------------------------------------------

    @property
    def scales(self) -> Scales:
        """The best of each signal among what `candidates` weighed."""
        return self._scales

    def candidates(self, *, keep: int, weights: tuple[float, float, float]) -> list[Candidate]:
        """Return the best of what any of the signals proposes. See `storage.protocol.Probe`."""
        proposed = dict.fromkeys((*self._best_by_meaning(), *(self._best_by_words() if self._idf else ())))
        proposed |= dict.fromkeys(self._read_windows(proposed))
        refs = list(proposed)
        if not refs:
            return []
        self._read_cosines(refs)
        signals = self._signals(refs)[:, :3]
        best = signals.max(axis=0, initial=0.0)
        self._scales = Scales(*best.tolist())
        total = (np.maximum(signals, 0.0) / np.where(best > 0, best, 1.0)) @ np.array(weights)
        seqs = np.array([self._parts[at].component.numbers["seq"][row] for at, row in refs])
        return self._answers(_first(refs, np.round(total, _DECIMALS), seqs, keep))

    def _signals(self, refs: Sequence[Ref]) -> Numbers:
        """Return cosine (0 where there is none), lexical score, window score and coverage of each row, (N, 4)."""
        signals = np.zeros((len(refs), 4))
        signals[:, 0] = [self._cosines.get(ref, 0.0) for ref in refs]
        if not self._idf:
            return signals
        at, rows = np.array(refs, np.int64).reshape(-1, 2).T
        for number, part in enumerate(self._parts):
            (own,) = np.nonzero(at == number)
            wanted = rows[own]
            signals[own, 1] = part.scores[wanted]
            for known, scores, coverage in part.windows:
                places = np.minimum(known.searchsorted(wanted), max(len(known) - 1, 0))
                (found,) = np.nonzero(known[places] == wanted) if len(known) else (_NO_ROWS,)
                signals[own[found], 2] = scores[places[found]]
                signals[own[found], 3] = coverage[places[found]]
        return signals

    def among(self, ids: Iterable[str]) -> list[Candidate]:
        """Return the same of given items, of those that are seen and pass."""
        refs = [ref for one in ids if (ref := self._find(one)) is not None]
        self._read_windows(refs)
        return self._answers(refs)

    def links(self, item_id: str) -> list[Edge]:
        """Return the links at an item whose other ends are seen and pass, as of the same moment."""
        if item_id not in self._links:
            found = graph.links(self._snapshot, key_of(item_id), "both")
            own = [one for one in found if item_id in (one.source, one.target)]
            others = ((one, one.target if one.source == item_id else one.source) for one in own)
            self._links[item_id] = [one for one, other in others if self._find(other) is not None]
        return self._links[item_id]

    def _find(self, item_id: str) -> Ref | None:
        key = key_of(item_id)
        for at in range(len(self._parts) - 1, -1, -1):
            part = self._parts[at]
            for row in part.component.rows_of(key):
                if part.seen(row):
                    return (at, row) if part.component.has_id(row, item_id) else None
        return None

    def _answers(self, refs: Sequence[Ref]) -> list[Candidate]:
        self._read_cosines(refs)
        answers = []
        for (at, row), (_, lexical, window, coverage) in zip(refs, self._signals(refs).tolist(), strict=True):
            item = self._parts[at].component.item(row, with_vector=self._with_vectors)
            answers.append(Candidate(item, self._cosines.get((at, row)), lexical, window, coverage))
        return answers


def _counts_at(wanted: Rows, rows: Rows, counts: Numbers) -> Numbers:
    """Return the counts at `wanted` rows, 0 where there is none."""
    if not len(rows):
        return np.zeros(len(wanted))
    places = np.minimum(rows.searchsorted(wanted), len(rows) - 1)
    found: Numbers = np.where(rows[places] == wanted, counts[places], 0.0)
    return found


def _first(refs: Sequence[Ref], scores: Numbers, seqs: npt.NDArray[np.int64], k: int) -> list[Ref]:
    """Return the k best that have a score above 0 (cosines: any), ties by the order of insertion."""
    order = np.lexsort((seqs, -scores))[:k]
    return [refs[at] for at in order.tolist()]
