"""How nodes are cut into requests and come back, without a daemon."""

from __future__ import annotations

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.schema import TextNode

from t4dm._request_parts import records_in_requests
from t4dm.sdk import models as m
from t4dm_integrations.llamaindex.nodes import BATCH, to_record


def record(name: str, text: str = "", vector: list[float] | None = None) -> m.RecordIn:
    return to_record(TextNode(id_=name, text=text, embedding=vector or [1.0]), {}, is_embedded=True)


def test_requests_hold_so_many_nodes_and_so_many_bytes() -> None:
    small = [record(f"n{at}") for at in range(1100)]
    large = [record(f"n{at}", vector=[1.0] * 16_384) for at in range(100)]
    long = [record(f"n{at}", text="x" * 900_000) for at in range(10)]

    assert [len(part) for part in records_in_requests(small, most=BATCH)] == [500, 500, 100]
    for records in (large, long):
        parts = list(records_in_requests(records, most=BATCH))
        assert [one.id for part in parts for one in part] == [one.id for one in records]
        assert len(parts) > 1
        assert all(len(m.BatchRequest(records=part).model_dump_json()) < 16 * 1024 * 1024 for part in parts)


def test_a_node_is_stored_without_what_stands_elsewhere() -> None:
    node = TextNode(id_="a", text="some text", metadata={"page": 1}, embedding=[0.5])

    stored = to_record(node, {"importance": 0.25}, is_embedded=True)

    assert (stored.id, stored.content, stored.metadata, stored.importance) == ("a", "some text", {"page": 1}, 0.25)
    assert "some text" not in str(stored.value)
    assert "page" not in str(stored.value)
    assert to_record(node, {}, is_embedded=False).vector is None
