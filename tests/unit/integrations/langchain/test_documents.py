"""Documents as records, and questions as requests."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_core")

from t4dm.sdk.errors import ValidationError
from t4dm_integrations.langchain import documents as d


def test_a_document_without_an_id_is_stored_even_if_its_text_is_known():
    assert d.record(0, "x", None, None, None, {}).dedup == "off"


def test_a_vector_without_a_direction_is_left_out():
    record = d.record(0, "", {}, "a", [0.0, 0.0], {})

    assert record.vector is None
    assert not record.embed


@pytest.mark.parametrize("metadata", [{"when": object()}, {"n": float("nan")}, {"pair": (1, 2)}, {1: "x"}])
def test_metadata_that_json_cannot_carry_are_refused_and_the_position_is_named(metadata: dict[str, object]):
    with pytest.raises(ValidationError, match="document 7 cannot be stored: metadata"):
        d.record(7, "x", metadata, None, None, {})


def test_an_id_that_is_empty_is_refused():
    with pytest.raises(ValidationError, match="an id is not empty"):
        d.record(0, "x", {}, "", None, {})


def test_a_question_without_words_or_vector_is_an_error():
    with pytest.raises(ValidationError, match="give a query"):
        d.search_request("  ", None, 4, "default", None, {})
