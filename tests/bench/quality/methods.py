"""Ways to rank the turns of a conversation: ours, and what others do, on the same store in the same run.

`dense` and `words` are asked of the daemon; fusions are made here of their first hundred:

    RRF       1 / (60 + rank in dense) + 1 / (60 + rank in words)  (Cormack, Clarke & Büttcher 2009)
    min-max   minmax(cosine) + .6 minmax(BM25), over what either has proposed; what one lacks counts 0 there
    mem0      (cosine + bm25 + entity) / (1 + 1 + .5): the published scoring of mem0 2.x (Apache-2.0; facts from
              `mem0/utils/scoring.py` and `mem0/memory/main.py` of github.com/mem0ai/mem0, commit 01fcd26). Candidates
              are the first max(4 k, 60) by cosine, of at least .1; bm25 is 1 / (1 + exp(-s (raw - m))), where m and s
              depend on how many terms the question has; entity is .5 / (1 + .001 (n - 1)^2) for a memory that holds
              an entity of the question which n memories hold. Ours differs: BM25 over Snowball stems instead of spaCy
              lemmas (k1 = 1.2, b = .75), and entities are names, words with a capital inside a sentence, instead of
              spaCy's and a model's.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from t4dm.sdk import T4DMClient
from t4dm.sdk import models as m
from t4dm.sdk.models import SearchWeights
from t4dm_daemon.storage.t4dx.analysis import Analyzer
from tests.bench.quality.conversations import Conversation

SHOWN = 20
POOL = 100
RRF_K = 60
WORDS_WEIGHT = 0.6
SIGNALS = ("dense", "lexical", "window", "actor", "date", "statement", "time", "outdated", "graph")
"""Those whose weight is not 0 by default."""

Scores = dict[str, float]
Method = Callable[[str], Sequence[str]]

_ENTITY = re.compile(r"(?<=[\w,;'’] )[^\W\d_a-z][\w’'-]+")
_ANY_NAME = re.compile(r"[^\W\d_a-z][\w’'-]+")
_MEM0_PARAMETERS = ((3, 5.0, 0.7), (6, 7.0, 0.6), (9, 9.0, 0.5), (15, 10.0, 0.5))
_MEM0_LONG = (12.0, 0.5)
_MEM0_THRESHOLD, _MEM0_ENTITY, _MEM0_CROWD = 0.1, 0.5, 0.001
_K1, _B = 1.2, 0.75


def nothing_but(*signals: str) -> SearchWeights:
    return SearchWeights.model_validate(
        {
            name: SearchWeights.model_fields[name].default if name in signals else 0.0
            for name in SearchWeights.model_fields
        }
    )


class Methods:
    """The ways to ask one conversation, by name; `ablations` are ours without one signal each."""

    def __init__(self, client: T4DMClient, conversation: Conversation) -> None:
        self._client = client
        self._space = conversation.name
        self._published = Published({turn.id: turn.content for turn in conversation.turns})
        self.baselines: dict[str, Method] = {
            "T4DM (hybrid)": lambda text: self._ask(text, k=SHOWN, abstain_below=None),
            "dense": lambda text: list(self._dense(text)),
            "dense, names out": lambda text: list(self._hits(text, weights=nothing_but("dense"))),
            "words (BM25, stemmed)": lambda text: list(self._words(text)),
            "RRF(dense, words)": lambda text: rrf(self._dense(text), self._words(text)),
            "min-max(dense, words)": lambda text: minmax(self._dense(text), self._words(text)),
            "mem0's formula": lambda text: self._published.rank(text, self._dense(text), SHOWN),
        }
        self.ablations = {f"without {signal}": self._without(signal) for signal in SIGNALS}

    def _without(self, signal: str) -> Method:
        weights = SearchWeights.model_validate({signal: 0.0})
        return lambda text: self._ask(text, k=SHOWN, weights=weights, abstain_below=None)

    def _ask(self, text: str, **options: object) -> list[str]:
        request = m.SearchRequest.model_validate({"query": text, "space": self._space, "abstain_below": 0.0, **options})
        return [hit.memory.id for hit in self._client.search(request).results]

    def _hits(self, text: str, **options: object) -> Scores:
        request = m.SearchRequest.model_validate(
            {"query": text, "space": self._space, "abstain_below": 0.0, "k": POOL, "collapse": False, **options}
        )
        return {hit.memory.id: hit.score for hit in self._client.search(request).results}

    def _dense(self, text: str) -> Scores:
        """Return cosines: the score of mode `vector` is (1 + cosine) / 2."""
        return {name: 2.0 * score - 1.0 for name, score in self._hits(text, mode="vector").items()}

    def _words(self, text: str) -> Scores:
        return self._hits(text, mode="lexical", weights=nothing_but("lexical"))


def rrf(dense: Scores, words: Scores) -> list[str]:
    scores: Scores = {}
    for signal in (dense, words):
        for rank, name in enumerate(signal, 1):
            scores[name] = scores.get(name, 0.0) + 1.0 / (RRF_K + rank)
    return _ordered(scores)


def minmax(dense: Scores, words: Scores) -> list[str]:
    scaled, other = _scaled(dense), _scaled(words)
    return _ordered({name: scaled.get(name, 0.0) + WORDS_WEIGHT * other.get(name, 0.0) for name in {**dense, **words}})


def _scaled(scores: Scores) -> Scores:
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    return {name: (score - low) / (high - low) if high > low else 1.0 for name, score in scores.items()}


def _ordered(scores: Mapping[str, float]) -> list[str]:
    return sorted(scores, key=lambda name: (-scores[name], name))


class Published:
    """mem0's published scoring over texts by id."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._analyzer = Analyzer("english")
        self._counts = {name: Counter(self._analyzer.terms(text)) for name, text in texts.items()}
        self._mean = sum(count.total() for count in self._counts.values()) / max(1, len(texts))
        self._holding = Counter(term for count in self._counts.values() for term in count)
        self._linked: dict[str, set[str]] = {}
        for name, text in texts.items():
            for entity in _ANY_NAME.findall(text):
                self._linked.setdefault(entity.casefold(), set()).add(name)

    def rank(self, text: str, dense: Scores, k: int) -> list[str]:
        terms = self._analyzer.terms(text)
        midpoint, steepness = next(((m, s) for most, m, s in _MEM0_PARAMETERS if len(terms) <= most), _MEM0_LONG)
        boosts = self._boosts(text)
        scores: Scores = {}
        for name, cosine in list(dense.items())[: max(4 * k, 60)]:
            if cosine >= _MEM0_THRESHOLD:
                raw = self._bm25(terms, name)
                words = 1.0 / (1.0 + math.exp(-steepness * (raw - midpoint))) if raw > 0 else 0.0
                scores[name] = cosine + words + boosts.get(name, 0.0)
        return _ordered(scores)

    def _bm25(self, terms: Sequence[str], name: str) -> float:
        count, total = self._counts[name], len(self._counts)
        score = 0.0
        for term in terms:
            if held := count[term]:
                idf = math.log(1.0 + (total - self._holding[term] + 0.5) / (self._holding[term] + 0.5))
                score += idf * held * (_K1 + 1) / (held + _K1 * (1 - _B + _B * count.total() / self._mean))
        return score

    def _boosts(self, text: str) -> Scores:
        boosts: Scores = {}
        for entity in dict.fromkeys(_ENTITY.findall(text)):
            linked = self._linked.get(re.sub(r"['’]s$", "", entity).casefold(), set())
            for name in linked:
                boost = _MEM0_ENTITY / (1.0 + _MEM0_CROWD * (len(linked) - 1) ** 2)
                boosts[name] = max(boosts.get(name, 0.0), boost)
        return boosts
