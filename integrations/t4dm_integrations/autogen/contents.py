"""Between AutoGen's contents and T4DM's records.

A text is a memory's content. A dictionary is found by its JSON text; bytes and images, which have no words of their
own, are found by the texts in their metadata. What is not text is kept whole in the memory's `value`:

    {"autogen": {"form": "text" | "json" | "bytes" | "image", "mime_type", "is_enum", "content"}}

with bytes and images (as PNG) in base64. Metadata is stored as it is given.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from autogen_core import Image
from autogen_core.memory import MemoryContent, MemoryMimeType

from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import ProtocolError, ValidationError

_KEY: Final = "autogen"
_MAX_WORDS: Final = m.MAX_CONTENT_CHARS // 4
"""What is kept in `value` is found by so many characters of its text: four bytes each still fit."""
_KNOWN_TYPES: Final = {one.value: one for one in MemoryMimeType}


class _Score(float):
    """A score that a search put into the metadata, so that it is not stored when what was found is added again."""


def to_record(content: MemoryContent, owner: Mapping[str, str], namespace: list[str]) -> m.RecordIn:
    """Return what is stored for a content. The content is not changed.

    An `id` in its metadata names the memory; so does a digest where there is no text to tell duplicates by.

    Raises:
        ValidationError: It holds what JSON cannot carry, or an id that is no text.
    """
    metadata = {key: one for key, one in (content.metadata or {}).items() if not isinstance(one, _Score)}
    name = metadata.get("id")
    if name is not None and not isinstance(name, str):
        raise ValidationError(
            f"metadata['id'] names the memory, so it is a text, not {type(name).__name__}", code="validation_error"
        )
    form, kept = _kept(content)
    is_enum = isinstance(content.mime_type, MemoryMimeType)
    value = {"form": form, "mime_type": mime_text(content), "is_enum": is_enum, "content": kept}
    words = text_of(content)
    with as_validation_error():
        record = m.RecordIn(
            id=name,
            content=words if form == "text" else words[:_MAX_WORDS],
            metadata=metadata,
            value={_KEY: value},
            namespace=namespace,
            embed=bool(words.strip()),
            **owner,
        )
    return record if name is not None or form == "text" else with_digest(record)


def with_digest(record: m.RecordIn) -> m.RecordIn:
    """Return the record under an id made of all that it says, so that it is stored beside others, and once."""
    said = record.model_dump(mode="json", include={"content", "metadata", "value", "namespace", *m.Owner.model_fields})
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    return record.model_copy(update={"id": f"autogen-{digest[:32]}"})


def says_the_same(record: m.RecordIn, memory: m.Memory) -> bool:
    """Say whether a memory holds all that a record of the same text says."""
    return memory.metadata == record.metadata and memory.value == record.value


def to_content(memory: m.Memory, score: float | None) -> MemoryContent:
    """Return a memory as it was added, with its `id` and `score` where the metadata have none of their own.

    Raises:
        ProtocolError: Its `value` says that AutoGen stored it, but not in a form that is known here.
    """
    metadata = dict(memory.metadata)
    for key, told in (("id", memory.id), ("score", None if score is None else _Score(score))):
        if metadata.get(key) is None:
            metadata[key] = told
    value = memory.value.get(_KEY) if isinstance(memory.value, dict) else None
    if not isinstance(value, dict):  # another program stored it
        return MemoryContent(content=memory.content, mime_type=MemoryMimeType.TEXT, metadata=metadata)
    mime_type = str(value.get("mime_type"))
    return MemoryContent(
        content=_restored(memory, value.get("form"), value.get("content")),
        mime_type=_KNOWN_TYPES.get(mime_type, mime_type) if value.get("is_enum") else mime_type,
        metadata=metadata,
    )


def text_of(content: MemoryContent) -> str:
    """Return the words by which a content is found; none where it has neither a text nor texts in its metadata.

    Raises:
        ValidationError: A dictionary holds what JSON cannot carry.
    """
    if isinstance(content.content, str):
        return content.content
    if isinstance(content.content, dict):
        try:
            return json.dumps(content.content, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValidationError(f"the content is not JSON: {error}", code="validation_error") from error
    told = [value for key, value in (content.metadata or {}).items() if isinstance(value, str) and key != "id"]
    return "\n".join(told)


def mime_text(content: MemoryContent) -> str:
    """Return the mime type as text."""
    mime: str = content.mime_type.value if isinstance(content.mime_type, MemoryMimeType) else content.mime_type
    return mime


def _kept(content: MemoryContent) -> tuple[str, Any]:
    """Return the form of a content, and what of it is kept beside the text."""
    if isinstance(content.content, str):
        return "text", None
    if isinstance(content.content, bytes):
        return "bytes", base64.b64encode(content.content).decode()
    if isinstance(content.content, Image):
        return "image", content.content.to_base64()
    return "json", content.content


def _restored(memory: m.Memory, form: Any, kept: Any) -> str | bytes | dict[str, Any] | Image:
    if form == "text":
        return memory.content
    if form == "json" and isinstance(kept, dict):
        return kept
    if form == "bytes" and isinstance(kept, str):
        return base64.b64decode(kept)
    if form == "image" and isinstance(kept, str):
        return Image.from_base64(kept)
    raise ProtocolError(
        f"memory {memory.id!r} holds a content of the form {form!r}, which this version does not know",
        code="unknown_form",
        details={"id": memory.id, "form": form},
    )
