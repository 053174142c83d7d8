"""Records and ids in requests of a size that a daemon takes."""

from __future__ import annotations

import pytest

from t4dm._request_parts import ids_in_requests, records_in_requests
from t4dm.sdk import models as m


def test_big_documents_travel_in_several_requests_in_order():
    records = [m.RecordIn(id=str(at), content="x" * 900_000) for at in range(20)]

    parts = list(records_in_requests(records))

    assert len(parts) > 1
    assert [one.id for part in parts for one in part] == [str(at) for at in range(20)]
    assert all(sum(len(one.content) for one in part) < 8 * 1024 * 1024 for part in parts)


def test_a_document_larger_than_a_request_travels_alone():
    vast = m.RecordIn(content="small", value="v" * (6 * 1024 * 1024))

    assert [len(part) for part in records_in_requests([vast, m.RecordIn(content="x"), vast])] == [1, 1, 1]


def test_a_request_holds_at_most_so_many_records():
    records = [m.RecordIn(content="x")] * 7

    assert [len(part) for part in records_in_requests(records, most=3)] == [3, 3, 1]
    assert list(records_in_requests([])) == []


def test_ids_go_in_order_and_one_text_is_no_list_of_ids():
    ids = [f"{at}" for at in range(2500)]

    assert [one for part in ids_in_requests(ids, name="ids") for one in part] == ids
    with pytest.raises(ValueError, match="node_ids is a list of ids, not one id"):
        list(ids_in_requests("abc", name="node_ids"))
