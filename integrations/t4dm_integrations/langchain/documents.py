"""Between LangChain's documents and T4DM's memories: records to store, requests that search, documents that come back.

A document's text is a memory's content, its metadata the metadata, its id the id: nothing is added to any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pydantic
from langchain_core.documents import Document

from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error, problems, sentence
from t4dm.sdk.errors import ValidationError
from t4dm_integrations.langchain.filters import FilterLike, to_filter

RECORD_FIELDS: Final = frozenset(m.RecordIn.model_fields) - {"id", "content", "metadata", "vector", "embed", "dedup"}
"""What a writing call may say about all its documents, beside their texts: `importance`, `categories`, …"""
SEARCH_FIELDS: Final = frozenset(m.SearchRequest.model_fields) - {
    "query",
    "vector",
    "k",
    "space",
    "filter",
    "include",
    "mmr",
}
"""What a search may say, beside the question: `mode`, `as_of`, `known_at`, `kappa_min`, …"""


def to_document(memory: m.Memory) -> Document:
    return Document(id=memory.id, page_content=memory.content, metadata=memory.metadata)


def as_numbers(vector: Sequence[float]) -> list[float]:
    """Return an embedding as plain numbers, whatever numbers it is made of."""
    return [float(number) for number in vector]


def record(
    at: int,
    text: str,
    metadata: Mapping[str, Any] | None,
    id: str | None,
    vector: Sequence[float] | None,
    fields: Mapping[str, Any],
) -> m.RecordIn:
    """Return what is stored for the document at a position.

    A document given twice without an id is two documents, so duplicates are not looked for.

    Raises:
        ValidationError: T4DM cannot keep it as it is; the message names the position.
    """
    given: dict[str, Any] = {"id": id, "content": text, "metadata": {} if metadata is None else metadata}
    if vector is not None:
        # Of a vector without a direction no similarity is defined: the document is found by its id and by filters.
        given |= {"vector": as_numbers(vector)} if any(vector) else {"embed": False}
    try:
        return m.RecordIn(dedup="off", **given, **fields)
    except pydantic.ValidationError as error:
        raise ValidationError(
            f"document {at} cannot be stored: {sentence(error)}",
            code="validation_error",
            details={"document": at, "errors": problems(error)},
        ) from error


def search_request(
    query: str | None,
    vector: Sequence[float] | None,
    k: int,
    space: str,
    filter: FilterLike | None,
    fields: Mapping[str, Any],
) -> m.SearchRequest:
    """Return the request of a search.

    Raises:
        ValidationError: There is neither a question nor a vector, or something is of the wrong kind.
        ValueError: The filter is wrong.
    """
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if query is not None and query.strip():
        given["query"] = query
    if vector is not None:
        given["vector"] = as_numbers(vector)
    if (restriction := to_filter(filter)) is not None:
        given["filter"] = restriction
    with as_validation_error():
        return m.SearchRequest(k=k, space=space, **given)
