"""What a question asks, beside its words: of whom, of when, of what is or of what was.

Names of people whom the space knows are taken out of the text that is embedded: in a store of what two people said,
a name says who speaks and not what about, and an embedding cannot tell the two apart (docs/log.md: recall@10 of
dense search alone rises from .50 to .66).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from t4dm_daemon.memory.dates import When, dates_in

_NAME: Final = re.compile(r"[^\W\d_]+")
_POSSESSIVE: Final = re.compile(r"^['’]s?\b")
_SPACES: Final = re.compile(r"\s+")
_WHEN: Final = re.compile(
    r"\s*(?:when\b|how long\b|since when\b|(?:on |in |at )?what (?:date|day|month|year|time)\b)", re.IGNORECASE
)
_PAST: Final = re.compile(
    r"\b(?:before|previous(?:ly)?|former(?:ly)?|used to|original(?:ly)?|initial(?:ly)?|at first|earlier|back then|"
    r"in the past|no longer|anymore|any more)\b|(?:['’]s|\b(?:the|my|his|her|its|our|your|their)) old\b",
    re.IGNORECASE,
)
_ORIGIN: Final = re.compile(r"\b(?:original(?:ly)?|initial(?:ly)?|at first)\b", re.IGNORECASE)
_COMMON: Final = frozenset(("will", "may", "mark", "art", "hope", "grace", "rose", "sue", "bill", "pat", "rich", "guy"))
"""Names that are words, too: they are names where they are written with a capital inside a sentence."""
MIN_NAME: Final = 2


@dataclass(frozen=True, slots=True)
class Understood:
    """What was found in a question.

    Attributes:
        text: The question as it was asked.
        nameless: The same without names that are known; what is embedded.
        actors: Known actors that it names, as they are stored.
        dates: Times that it names.
        asks_when: It asks for a time.
        asks_past: It asks for what was, not for what is.
        asks_origin: It asks how things were at first.
    """

    text: str
    nameless: str
    actors: frozenset[str]
    dates: tuple[When, ...]
    asks_when: bool
    asks_past: bool
    asks_origin: bool


def words_of(text: str) -> list[str]:
    """Return the words of a question that may be names, case folded."""
    return list({word.casefold() for word in _NAME.findall(text) if len(word) >= MIN_NAME})


def understand(text: str, actors: Iterable[str], *, now: int) -> Understood:
    """Read a question.

    Args:
        text: The question.
        actors: Names of those who speak or act in the memories.
        now: What "yesterday" counts from, in microseconds.
    """
    named: set[str] = set()
    spans: list[tuple[int, int]] = []
    by_word: dict[str, set[str]] = {}
    for actor in actors:
        for word in _NAME.findall(actor):
            if len(word) >= MIN_NAME:
                by_word.setdefault(word.casefold(), set()).add(actor)
    for match in _NAME.finditer(text) if by_word else ():
        word = match[0]
        known = by_word.get(word.casefold())
        is_capital_inside = word[0].isupper() and match.start() > 0
        if known is None or (word.casefold() in _COMMON and not is_capital_inside):
            continue
        named |= known
        possessive = _POSSESSIVE.match(text[match.end() :])
        spans.append((match.start(), match.end() + (possessive.end() if possessive else 0)))
    return Understood(
        text=text,
        nameless=_without(text, spans),
        actors=frozenset(named),
        dates=tuple(dates_in(text, now=now)),
        asks_when=_WHEN.match(text) is not None,
        asks_past=_PAST.search(text) is not None,
        asks_origin=_ORIGIN.search(text) is not None,
    )


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    kept, at = [], 0
    for first, end in spans:
        kept.append(text[at:first])
        at = end
    rest = _SPACES.sub(" ", "".join((*kept, text[at:]))).strip()
    return rest if _NAME.search(rest) else text
