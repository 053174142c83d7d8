"""Contents become records and come back as they were."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("autogen_core")

from autogen_core import Image
from autogen_core.memory import MemoryContent, MemoryMimeType
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from t4dm.sdk import Memory, ProtocolError, RecordIn, ValidationError
from t4dm_integrations.autogen import contents as c

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def stored(record: RecordIn) -> Memory:
    """Return what a daemon would answer for a record, after a journey as JSON."""
    facts: dict[str, Any] = record.model_dump(mode="json") | {"id": record.id or "made", "space": "default"}
    times = dict.fromkeys(("event_time", "recorded_at", "created_at", "updated_at"), NOW)
    return Memory.model_validate(facts | times | {"version": 1})


def back(content: MemoryContent) -> MemoryContent:
    return c.to_content(stored(c.to_record(content, {}, [])), 0.5)


numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text("ab. ", max_size=3), inner))
objects = st.dictionaries(st.text("abc", min_size=1, max_size=3), values, max_size=4)
mime_types = st.sampled_from([*MemoryMimeType, "text/plain", "image/png", "text/x-own"])
contents = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.binary(max_size=20) | objects


@settings(max_examples=50)
@given(contents, mime_types, st.none() | objects)
def test_every_content_comes_back_as_it_was(content: Any, mime_type: Any, metadata: dict[str, Any] | None):
    given = MemoryContent(content=content, mime_type=mime_type, metadata=metadata)
    before = copy.deepcopy(given)

    found = back(given)

    assert found.content == content
    assert type(found.content) is type(content)
    assert (found.mime_type, type(found.mime_type)) == (mime_type, type(mime_type))
    assert found.metadata is not None
    assert found.metadata.pop("score") == 0.5
    assert found.metadata.pop("id")
    assert found.metadata == (metadata or {})
    assert given == before


def test_an_image_comes_back_with_every_pixel():
    picture = Picture.new("RGB", (3, 2))
    picture.putdata([(i, 2 * i, 255 - i) for i in range(6)])

    found = back(MemoryContent(content=Image(picture), mime_type=MemoryMimeType.IMAGE, metadata={"caption": "A gull"}))

    assert isinstance(found.content, Image)
    assert found.content.image.tobytes() == picture.tobytes()


def test_pictures_and_bytes_are_found_by_the_texts_in_their_metadata():
    metadata = {"caption": "A gull", "id": "gull-1", "width": 3, "place": "pier six"}

    record = c.to_record(MemoryContent(content=b"\x00", mime_type=MemoryMimeType.BINARY, metadata=metadata), {}, [])

    assert record.content == "A gull\npier six"
    assert record.embed
    assert not c.to_record(MemoryContent(content=b"\x00", mime_type=MemoryMimeType.BINARY), {}, []).embed


@pytest.mark.parametrize(
    "content",
    [
        MemoryContent(content={"when": NOW}, mime_type=MemoryMimeType.JSON),
        MemoryContent(content={"rate": float("nan")}, mime_type=MemoryMimeType.JSON),
        MemoryContent(content="text", mime_type=MemoryMimeType.TEXT, metadata={"when": NOW}),
        MemoryContent(content="text", mime_type=MemoryMimeType.TEXT, metadata={"id": 7}),
    ],
)
def test_what_cannot_come_back_as_it_was_is_refused(content: MemoryContent):
    with pytest.raises(ValidationError):
        c.to_record(content, {}, [])


def test_the_same_bytes_with_other_metadata_are_another_memory():
    one, other = (
        c.to_record(MemoryContent(content=b"\x00", mime_type="x/y", metadata={"name": name}), {}, []) for name in "ab"
    )

    assert one.id != other.id


def test_a_memory_of_another_program_is_a_text():
    memory = stored(RecordIn(content="The ferry leaves.", value={"of": "another"}))

    found = c.to_content(memory, None)

    assert (found.content, found.mime_type) == ("The ferry leaves.", MemoryMimeType.TEXT)


def test_a_form_of_a_later_version_is_an_error_and_no_wrong_content():
    value = {"autogen": {"form": "video", "mime_type": "video/mp4", "content": "AAAA"}}

    with pytest.raises(ProtocolError, match="video"):
        c.to_content(stored(RecordIn(content="A gull", value=value)), None)
