"""Which rows of a component hold a term, and how often: the inverted index behind BM25.

Derived from the texts, as a graph is from the vectors: an index that is missing, damaged or made by other rules is
made again, and never the truth. A memtable's grows when it is asked (`GrowingTextIndex.extend`), so writes do not
pay for it; a segment's is written once:

    seg/NNNNNN/index.text   container: for each term in order of its hash (`term.hashes`, 8 bytes of BLAKE2b) its text
                            (`term.bytes`, cut by `term.offsets`) and its rows, ascending, with counts
                            (`posting.rows`, `posting.counts`, cut by `posting.offsets`); `lengths`, terms per row

Rows that have ended stay in it: whoever counts leaves out what the read does not see.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.core.errors import CorruptionError
from t4dm_daemon.storage.t4dx import container
from t4dm_daemon.storage.t4dx.analysis import Analyzer

FILE: Final = "index.text"
MAX_COUNT: Final = 2**16 - 1
_CHUNK: Final = 64
"""Rows indexed in a row: about a millisecond, for which others may have to wait."""

Rows = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
_NO_ROWS: Final = np.empty(0, np.int64)


def hash_of(term: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(term, digest_size=8).digest(), "little")


class TextIndex(ABC):
    """The terms of the rows of one component."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """How many rows are indexed."""

    @abstractmethod
    def postings(self, term: str) -> tuple[Rows, Counts]:
        """Return the rows that hold a term, ascending, and how often each does."""

    @abstractmethod
    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of terms per row."""

    @abstractmethod
    def memory_bytes(self) -> int: ...


class GrowingTextIndex(TextIndex):
    """Terms of rows that are still being added. `_lock` guards every field."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._lock = threading.Lock()
        self._postings: dict[str, tuple[array[int], array[int]]] = {}
        self._lengths = array("l")

    @property
    def rows(self) -> int:
        return len(self._lengths)

    def extend(self, text_of: Callable[[int], str], rows: int, *, pace: Callable[[], None] = lambda: None) -> None:
        """Index the rows up to `rows` that are not indexed yet; `pace` is called between parts of the work."""
        while len(self._lengths) < rows:
            with self._lock:
                first = len(self._lengths)
                for row in range(first, min(rows, first + _CHUNK)):
                    self._add(row, self._analyzer.terms(text_of(row)))
            pace()

    def _add(self, row: int, terms: Sequence[str]) -> None:
        for term, count in Counter(terms).items():
            found = self._postings.get(term)
            if found is None:
                found = self._postings[term] = array("l"), array("l")
            found[0].append(row)
            found[1].append(min(count, MAX_COUNT))
        self._lengths.append(len(terms))

    def postings(self, term: str) -> tuple[Rows, Counts]:
        with self._lock:
            found = self._postings.get(term)
            return (_NO_ROWS, _NO_ROWS) if found is None else (np.array(found[0]), np.array(found[1]))

    def lengths(self) -> npt.NDArray[np.int64]:
        with self._lock:
            return np.array(self._lengths, np.int64)

    def memory_bytes(self) -> int:
        return 8 * len(self._lengths) + 300 * len(self._postings)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what `pack` takes."""
        with self._lock:
            names = [term.encode() for term in self._postings]
            rows = [np.array(one[0]) for one in self._postings.values()]
            counts = [np.array(one[1]) for one in self._postings.values()]
            lengths = np.array(self._lengths, np.int64)
        sizes = np.array([len(one) for one in rows], np.int64)
        every_row = np.concatenate([_NO_ROWS, *rows])
        every_count = np.concatenate([_NO_ROWS, *counts])
        return _ordered(names, np.repeat(np.arange(len(names)), sizes), every_row, every_count, lengths)


class StoredTextIndex(TextIndex):
    """Terms of a segment's rows, mapped.

    Args:
        path: Of the file, for messages.
        content: Of the file, its checksum compared.
        identity: Of the analyzer that must have made it.
        rows: Of the segment.

    Raises:
        CorruptionError: It is not such a file, or made by other rules.
    """

    def __init__(self, path: Path, content: memoryview, *, identity: str, rows: int) -> None:
        meta, arrays = container.unpack(path, content)
        if meta.get("analyzer") != identity or meta.get("rows") != rows:
            raise CorruptionError(f"{path}: made by {meta.get('analyzer')}, wanted {identity}", file=str(path))
        self._hashes = arrays["term.hashes"]
        self._offsets = arrays["term.offsets"]
        self._bytes = arrays["term.bytes"]
        self._starts = arrays["posting.offsets"]
        self._rows = arrays["posting.rows"]
        self._counts = arrays["posting.counts"]
        self._lengths = arrays["lengths"]

    @property
    def rows(self) -> int:
        return len(self._lengths)

    def postings(self, term: str) -> tuple[Rows, Counts]:
        encoded = term.encode()
        wanted = np.uint64(hash_of(encoded))
        at = int(self._hashes.searchsorted(wanted, "left"))
        while at < len(self._hashes) and self._hashes[at] == wanted:
            if self.term(at) == encoded:
                part = slice(int(self._starts[at]), int(self._starts[at + 1]))
                return self._rows[part].astype(np.int64), self._counts[part].astype(np.int64)
            at += 1
        return _NO_ROWS, _NO_ROWS

    def lengths(self) -> npt.NDArray[np.int64]:
        return self._lengths

    def term(self, at: int) -> bytes:
        return self._bytes[int(self._offsets[at]) : int(self._offsets[at + 1])].tobytes()

    def terms(self) -> list[bytes]:
        """Return all terms, in order of their hashes."""
        text, offsets = self._bytes.tobytes(), self._offsets.tolist()
        return [text[first:end] for first, end in itertools.pairwise(offsets)]

    def flat(self) -> tuple[npt.NDArray[np.int64], Rows, Counts]:
        """Return all postings: term number, row, count."""
        numbers = np.repeat(np.arange(len(self._hashes)), np.diff(self._starts).astype(np.int64))
        return numbers, self._rows.astype(np.int64), self._counts.astype(np.int64)

    def memory_bytes(self) -> int:
        return 0  # mapped: the system's


def pack(analyzer: Analyzer, arrays: dict[str, npt.NDArray[Any]]) -> list[bytes | memoryview]:
    """Return the parts of an `index.text`."""
    return container.pack({"rows": len(arrays["lengths"]), "analyzer": analyzer.identity}, arrays)


def read(
    analyzer: Analyzer, text_of: Callable[[int], str], rows: int, *, pace: Callable[[], None] = lambda: None
) -> dict[str, npt.NDArray[Any]]:
    """Return what `pack` takes for texts that nobody has asked for yet: less work than letting an index grow.

    Args:
        analyzer: Cuts the texts into terms.
        text_of: Returns the text of a row.
        rows: How many there are.
        pace: Called between parts of the work.
    """
    numbers: dict[str, int] = {}
    found, lengths = array("l"), array("l")
    for first in range(0, rows, _CHUNK):
        for row in range(first, min(rows, first + _CHUNK)):
            terms = analyzer.terms(text_of(row))
            lengths.append(len(terms))
            found.extend([numbers.setdefault(term, len(numbers)) for term in terms])
        pace()
    counted = np.array(lengths, np.int64)
    pairs = np.array(found, np.int64) * rows + np.repeat(np.arange(rows), counted)
    pace()
    each, counts = np.unique(pairs, return_counts=True)
    terms_of, rows_of = np.divmod(each, max(1, rows))
    return _ordered([term.encode() for term in numbers], terms_of, rows_of, np.minimum(counts, MAX_COUNT), counted)


def merged(
    parts: Sequence[tuple[StoredTextIndex, Rows]], *, pace: Callable[[], None] = lambda: None
) -> dict[str, npt.NDArray[Any]]:
    """Return what `pack` takes for indexes joined in order, of the rows to keep in each. No text is read again."""
    numbers: dict[bytes, int] = {}
    terms, rows, counts, lengths = [_NO_ROWS], [_NO_ROWS], [_NO_ROWS], [_NO_ROWS]
    first = 0
    for index, kept in parts:
        pace()
        own = np.array([numbers.setdefault(term, len(numbers)) for term in index.terms()], np.int64)
        place = np.full(index.rows, -1, np.int64)
        place[kept] = np.arange(first, first + len(kept))
        its_terms, its_rows, its_counts = index.flat()
        new_rows = place[its_rows]
        stays = new_rows >= 0
        terms.append(own[its_terms[stays]])
        rows.append(new_rows[stays])
        counts.append(its_counts[stays])
        lengths.append(index.lengths()[kept].astype(np.int64))
        first += len(kept)
    pace()
    joined = [np.concatenate(one) for one in (terms, rows, counts, lengths)]
    return _ordered(list(numbers), *joined)


def _ordered(
    names: Sequence[bytes],
    terms: npt.NDArray[np.int64],
    rows: Rows,
    counts: Counts,
    lengths: npt.NDArray[np.int64],
) -> dict[str, npt.NDArray[Any]]:
    """Return postings by the hash of their term, then by row; terms without any are left out."""
    hashes = np.array([hash_of(name) for name in names], np.uint64)
    used = np.bincount(terms, minlength=len(names))
    order = np.argsort(hashes, kind="stable")
    order = order[used[order] > 0]
    rank = np.full(len(names), -1, np.int64)
    rank[order] = np.arange(len(order))
    placed = np.lexsort((rows, rank[terms]))
    kept = [names[at] for at in order.tolist()]
    offsets = np.zeros(len(kept) + 1, np.uint64)
    np.cumsum([len(name) for name in kept], out=offsets[1:])
    starts = np.zeros(len(kept) + 1, np.uint64)
    np.cumsum(used[order], out=starts[1:])
    return {
        "term.hashes": hashes[order],
        "term.offsets": offsets,
        "term.bytes": np.frombuffer(b"".join(kept), np.uint8),
        "posting.offsets": starts,
        "posting.rows": rows[placed].astype(np.uint32),
        "posting.counts": counts[placed].astype(np.uint16),
        "lengths": lengths.astype(np.uint32),
    }
