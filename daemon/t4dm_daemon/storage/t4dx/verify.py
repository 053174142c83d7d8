"""What checksums cannot tell: that the parts of a segment fit together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from t4dm_daemon.core.errors import CorruptionError
from t4dm_daemon.core.ids import key_of
from t4dm_daemon.storage.t4dx.schema import LABELS, unpack_blob
from t4dm_daemon.storage.t4dx.segment import Segment

CHUNK_ROWS: Final = 16_384


def find_broken(segment: Segment) -> Iterator[tuple[str, str]]:
    """Yield (where, what) of everything in a segment that does not fit.

    Every text is read and belongs to the key of its row; labels have values; vectors have the length that was
    noted; links have both ends, and are found from both.
    """
    where = str(segment.directory)
    keys, *_ = segment.source_parts()
    for row in range(segment.rows):
        try:
            identifier = unpack_blob(segment.blob(row))[0]
        except CorruptionError as error:
            yield where, error.message
            continue
        if key_of(identifier) != keys[row].tobytes():
            yield where, f"row {row}: its id {identifier!r} does not lead to it"
    yield from ((where, message) for message in segment.broken_lookups())
    for name in LABELS:
        if segment.rows and int(segment.codes[name].max()) >= len(segment.dictionaries[name].values):
            yield where, f"column {name} names values that are not there"
    vectors = segment.vectors()
    if vectors is not None:
        for start in range(0, segment.rows, CHUNK_ROWS):
            norms = np.linalg.norm(vectors[start : start + CHUNK_ROWS].astype(np.float64), axis=1)
            inverse = segment.number("inv_norm", segment.rows)[start : start + CHUNK_ROWS].astype(np.float64)
            if not np.allclose(norms * inverse, (inverse > 0).astype(float), rtol=1e-5, atol=1e-5):
                yield where, f"vectors from row {start} on are not of the length that was noted with them"
    block = segment.edges
    if block.rows:
        ends = np.concatenate((block.columns["source"][: block.rows], block.columns["target"][: block.rows]))
        if int(ends.max()) >= block.nodes:
            yield where, "links lead to items that are not named"
            return
        for node in range(block.nodes):
            if block.node(key_of(block.node_id(node))) != node:
                yield where, f"node {node} is not found by its id"
        counted = sum(len(block.incident(node, "out")) for node in range(block.nodes))
        if counted != block.rows:
            yield where, f"{counted} of {block.rows} links are found from their source"
