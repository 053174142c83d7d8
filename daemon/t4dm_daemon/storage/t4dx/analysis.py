"""From a text to the terms it is found by.

    text → NFKC, case folded → words, CJK runs as overlapping pairs → no stop words → stem → no accents

A term is what the lexical index counts. Words are runs of letters and digits of any script; scripts written without
spaces (Han, kana, Thai, Lao, Khmer, Burmese) give overlapping pairs of characters. Stemming is Snowball's. Accents
fall away last, so that `Joaquin` finds `Joaquín` and the stemmers still see them.

The stop words are closed classes only: articles, pronouns, auxiliaries, prepositions, conjunctions, question words.
Longer lists take content words such as *work* or *home* out, which costs recall (docs/log.md).
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from functools import cache
from typing import Final

import snowballstemmer

from t4dm_daemon.core.errors import InvalidInputError
from t4dm_daemon.storage.t4dx.stop_words import STOP_WORDS

NO_LANGUAGE: Final = "none"
VERSION: Final = 1
"""Of the rules on this page: an index made by others is built again."""
MAX_WORD: Final = 64
"""Characters of a word that count: longer runs are data, not language."""
_MAX_CACHED: Final = 200_000

_UNSPACED: Final = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana and Han
)
_WORD: Final = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+")
_ASCII_WORD: Final = re.compile(r"[a-z0-9]+")
_ACCENTS: Final = re.compile("[\u0300-\u036f]")
_PHRASE: Final = re.compile(r'"([^"]+)"|[\u201c\u201e]([^\u201c\u201d\u201e]+)[\u201c\u201d]')
MAX_PHRASES: Final = 8
"""Quoted parts of one text that count."""


def languages() -> list[str]:
    """Return the names that `Analyzer` takes."""
    return [NO_LANGUAGE, *sorted(snowballstemmer.algorithms())]


@cache
def analyzer(language: str) -> Analyzer:
    """Return the analyzer of a language, one for the whole process. Raises InvalidInputError."""
    return Analyzer(language)


class Analyzer:
    """Cut texts into terms. Thread-safe: its cache only ever gains entries, or is replaced.

    Args:
        language: A name that Snowball knows (`english`, `german`, …), or `none` for words as they are.
    """

    def __init__(self, language: str) -> None:
        if language not in languages():
            raise InvalidInputError(
                f"there is no language {language!r}; known: {', '.join(languages())}", language=language
            )
        self.language = language
        self._stop = STOP_WORDS.get(language, frozenset())
        self._terms: dict[str, str | None] = {}

    @property
    def identity(self) -> str:
        """What an index must have been made with to be used."""
        return f"{self.language}/{VERSION}"

    def terms(self, text: str) -> list[str]:
        """Return the terms of a text, in order, repetitions included."""
        known = self._terms
        found = []
        for word in _words(text):
            try:
                term = known[word]
            except KeyError:
                term = self._learn(word)
            if term is not None:
                found.append(term)
        return found

    def phrases(self, text: str) -> list[list[str]]:
        """Return the terms of every quoted part that has more than one."""
        matches = itertools.islice(_PHRASE.finditer(text), MAX_PHRASES)
        quoted = (self.terms(match[1] or match[2]) for match in matches)
        return [terms for terms in quoted if len(terms) > 1]

    def _learn(self, word: str) -> str | None:
        term = None if word in self._stop else _unaccented(self._stem(word[:MAX_WORD]))
        if len(self._terms) >= _MAX_CACHED:
            self._terms = {}
        self._terms[word] = term
        return term

    def _stem(self, word: str) -> str:
        if self.language == NO_LANGUAGE or not word.isalpha():
            return word
        stem: str = snowballstemmer.stemmer(self.language).stemWord(word)  # one each: a stemmer is not thread-safe
        return stem or word


def _words(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    words = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        if word[0] < "\u0e00" or not _is_unspaced(word[0]):
            words.append(word)
        elif len(word) == 1:
            words.append(word)
        else:
            words += [word[at : at + 2] for at in range(len(word) - 1)]
    return words


@cache
def _is_unspaced(character: str) -> bool:
    return re.match(f"[{_UNSPACED}]", character) is not None


def _unaccented(word: str) -> str:
    if word.isascii():
        return word
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", word)))
