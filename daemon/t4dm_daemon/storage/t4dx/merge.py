"""Merging segments: several neighbours become one (or more, when one would be too large), without their dead rows.

Purely physical: no reader of any moment sees a difference. Rows keep their order, so the newest version of an id
is still found first; purged rows and links (`schema.PURGED`) are left out. The graph of the first segment, by far
the largest where merging is worth its cost, is extended and not built again, unless rows of it go. Where there is none
to extend, none is built here: that takes minutes, in which many small segments may come, and they go first.

A graph cannot lose rows, and building one again for each few that were purged would cost more than all merging: a
segment with a graph keeps its purged rows, as invisible as before, until they are many or forgetting for good is asked
for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from t4dm_daemon.storage.t4dx import edges
from t4dm_daemon.storage.t4dx.checkpoint import Checkpoints, Pace
from t4dm_daemon.storage.t4dx.component import Dictionary
from t4dm_daemon.storage.t4dx.fs import FileSystem
from t4dm_daemon.storage.t4dx.schema import IMMUTABLE, LABELS, PURGED
from t4dm_daemon.storage.t4dx.segment import Origin, Segment, merged_columns
from t4dm_daemon.storage.t4dx.segment_files import RowSource, write_segment
from t4dm_daemon.storage.t4dx.text_index import StoredTextIndex
from t4dm_daemon.storage.t4dx.text_index import merged as merged_text

_CHUNK_ROWS: Final = 4096
KEPT_PURGED_SHARE: Final = 0.2
"""A graph is built again when more of its rows than this are purged: as when a policy has a segment rewritten."""
EXTENDED_SHARE: Final = 1 / 3
"""A graph of a smaller share of the rows is left behind: extending it takes as long as building one, and that waits."""
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Merged:
    """A new segment, and where its rows come from."""

    segment: Segment
    origins: list[Origin]
    has_failed: bool
    """There is no graph, though one was to be extended."""


def plan(segments: Sequence[Segment], max_rows: int, *, forget: bool) -> list[list[Origin]]:
    """Return which rows and links of which segments each new segment takes.

    Args:
        segments: Neighbours, oldest first.
        max_rows: Of a new segment.
        forget: Leave every purged row out, whatever it costs.
    """
    outputs: list[list[Origin]] = [[]]
    room = max_rows
    keeps = not forget and len(segments) > 1 and _keeps_purged(segments[0], max_rows)
    for segment in segments:
        (kept,) = np.nonzero(segment.number("recorded_until", segment.rows) != PURGED)
        if keeps and segment is segments[0]:
            kept = np.arange(segment.rows)
        block = segment.edges
        (links,) = np.nonzero(block.columns["recorded_until"][: block.rows] != PURGED)
        while True:
            if not room and len(kept):
                outputs.append([])
                room = max_rows
            taken, kept = kept[:room], kept[room:]
            room -= len(taken)
            outputs[-1].append(Origin(segment, taken, links))
            links = links[:0]
            if not len(kept):
                break
    return [one for one in outputs if any(len(origin.rows) or len(origin.links) for origin in one)]


def _keeps_purged(segment: Segment, max_rows: int) -> bool:
    """Whether a segment's graph is worth more than the room of its purged rows."""
    if segment.index is None or segment.rows > max_rows:
        return False
    return segment.purged_rows <= KEPT_PURGED_SHARE * segment.rows


def merge(
    fs: FileSystem, checkpoints: Checkpoints, origins: list[Origin], *, level: int, pace: Pace, reserved: list[int]
) -> Merged:
    """Write one new segment durably; no reader sees it yet.

    Args:
        fs: The file system.
        checkpoints: Gives the number and builds the graph.
        origins: Of its rows, oldest first.
        level: Of the new segment.
        pace: Rests, and says when to stop.
        reserved: Takes the segment's number, for the caller to give up.
    """
    number, directory = checkpoints.reserve()
    reserved.append(number)
    facts = write_segment(fs, directory, _source(origins), pace=pace)
    # As they are now; what changes until readers see the segment is taken over then.
    segment = Segment(fs, directory, number=number, facts=facts, mutable=merged_columns(origins), level=level)
    segment.adopt_paths(origins)
    texts = [one.segment.text for one in origins]
    stored = [one for one in texts if isinstance(one, StoredTextIndex)]
    if len(stored) == len(origins):
        parts = [(index, one.rows) for index, one in zip(stored, origins, strict=True)]
        checkpoints.write_text(segment, merged_text(parts, pace=pace), pace=pace)
    else:
        checkpoints.build_text(segment, pace=pace)
    first = origins[0]
    is_whole = first.segment.index is not None and len(first.rows) == first.segment.rows
    extends = is_whole and len(first.rows) >= EXTENDED_SHARE * segment.rows
    if extends:
        segment.index = checkpoints.build_index(segment, first.segment, pace=pace)
    return Merged(segment, origins, has_failed=extends and segment.index is None)


def _source(origins: Sequence[Origin]) -> RowSource:
    dictionaries = {name: Dictionary() for name in LABELS}
    codes: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in LABELS}
    for origin in origins:
        for name in LABELS:
            old = origin.segment.codes[name][origin.rows]
            renumbered = np.full(len(origin.segment.dictionaries[name].values) + 1, -1, np.int32)
            for code in np.unique(old[old >= 0]):
                renumbered[code] = dictionaries[name].code(origin.segment.dictionaries[name].values[code])
            codes[name].append(renumbered[old])  # -1 is the last entry
    keys, lengths, crcs = [], [], []
    for origin in origins:
        its_keys, offsets, its_crcs, _ = origin.segment.source_parts()
        keys.append(its_keys[origin.rows])
        lengths.append((offsets[1:] - offsets[:-1])[origin.rows])
        crcs.append(its_crcs[origin.rows])
    dimension = max((one.segment.dimension for one in origins), default=0)
    ids, links = edges.merge([one.segment.edges for one in origins], [one.links for one in origins])
    return RowSource(
        keys=np.concatenate(keys),
        numbers={name: np.concatenate([one.segment.numbers[name][one.rows] for one in origins]) for name in IMMUTABLE},
        codes={name: np.concatenate(parts) for name, parts in codes.items()},
        labels={name: dictionaries[name].values for name in LABELS},
        blob_lengths=np.concatenate(lengths),
        blob_crcs=np.concatenate(crcs),
        blobs=_blobs(origins),
        dimension=dimension,
        vectors=_vectors(origins, dimension),
        link_ids=ids,
        links=links,
    )


def _runs(rows: Rows) -> Iterator[tuple[int, int]]:
    """Yield (first, last + 1) of the runs of consecutive rows, none longer than a chunk."""
    breaks = np.nonzero(np.diff(rows) != 1)[0] + 1
    for run in np.split(rows, breaks):
        for start in range(0, len(run), _CHUNK_ROWS):
            part = run[start : start + _CHUNK_ROWS]
            yield int(part[0]), int(part[-1]) + 1


def _blobs(origins: Sequence[Origin]) -> Iterator[memoryview]:
    for origin in origins:
        _, offsets, _, blobs = origin.segment.source_parts()
        for first, end in _runs(origin.rows):
            yield blobs[int(offsets[first]) : int(offsets[end])]


def _vectors(origins: Sequence[Origin], dimension: int) -> Iterator[memoryview]:
    for origin in origins:
        vectors = origin.segment.vectors()
        for first, end in _runs(origin.rows):
            if vectors is None:
                yield memoryview(bytes(4 * dimension * (end - first)))
            else:
                yield vectors[first:end].data.cast("B")
